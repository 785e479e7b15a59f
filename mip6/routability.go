package mip6

import (
	"crypto/hmac"
	"crypto/sha1"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
)

// NodeKey is a correspondent node's secret key Kcn, 20 random octets
// (RFC 6275 §5.2.1). It prints as "[redacted]".
type NodeKey [20]byte

// Nonce is a correspondent node's nonce (RFC 6275 §5.2.2). It prints as
// "[redacted]".
type Nonce [8]byte

// BindingKey is the binding management key Kbm (RFC 6275 §5.2.5). It prints as
// "[redacted]".
type BindingKey [sha1.Size]byte

func (NodeKey) String() string               { return redacted }
func (NodeKey) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (NodeKey) Format(s fmt.State, _ rune)   { io.WriteString(s, redacted) }
func (NodeKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func (Nonce) String() string               { return redacted }
func (Nonce) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Nonce) Format(s fmt.State, _ rune)   { io.WriteString(s, redacted) }
func (Nonce) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func (BindingKey) String() string               { return redacted }
func (BindingKey) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (BindingKey) Format(s fmt.State, _ rune)   { io.WriteString(s, redacted) }
func (BindingKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// HomeToken is the home keygen token of a home address,
// First(64, HMAC_SHA1(Kcn, home address | nonce | 0)) (RFC 6275 §5.2.5).
func (k NodeKey) HomeToken(home netip.Addr, n Nonce) KeygenToken { return k.token(home, n, 0) }

// CareOfToken is the care-of keygen token of a care-of address,
// First(64, HMAC_SHA1(Kcn, care-of address | nonce | 1)) (RFC 6275 §5.2.5).
func (k NodeKey) CareOfToken(careOf netip.Addr, n Nonce) KeygenToken { return k.token(careOf, n, 1) }

func (k NodeKey) token(a netip.Addr, n Nonce, which byte) KeygenToken {
	var input [16 + len(n) + 1]byte
	a16 := a.As16()
	copy(input[:], a16[:])
	copy(input[16:], n[:])
	input[len(input)-1] = which
	h := hmac.New(sha1.New, k[:])
	h.Write(input[:])
	return KeygenToken(h.Sum(nil))
}

// NewBindingKey is the key that authorizes a binding,
// SHA1(home keygen token | care-of keygen token) (RFC 6275 §5.2.5).
func NewBindingKey(home, careOf KeygenToken) BindingKey {
	var tokens [2 * len(home)]byte
	copy(tokens[:], home[:])
	copy(tokens[len(home):], careOf[:])
	return sha1.Sum(tokens[:])
}

// NewDeregistrationKey is the key that authorizes the deletion of a binding,
// SHA1(home keygen token) (RFC 6275 §5.2.5).
func NewDeregistrationKey(home KeygenToken) BindingKey { return sha1.Sum(home[:]) }

// SealAuthorization returns a copy of a binding update or acknowledgement
// whose last option is the Binding Authorization Data option, with the
// authenticator of exactly the octets that AppendMessage makes of the copy. One
// that m already has is replaced. careOf is the care-of address that is
// registered, the home address in a de-registration (RFC 6275 §6.2.7).
func (k BindingKey) SealAuthorization(m Message, careOf, correspondent netip.Addr) (Message, error) {
	options := make([]Option, 0, len(m.MobilityOptions())+1)
	for _, o := range m.MobilityOptions() {
		if _, ok := o.(AuthorizationData); !ok {
			options = append(options, o)
		}
	}
	options = append(options, AuthorizationData{})
	sealed, err := withOptions(m, options)
	if err != nil {
		return nil, err
	}
	var buffer [256]byte
	mh, err := appendUnsummed(buffer[:0], sealed)
	if err != nil {
		return nil, err
	}
	mac, err := authenticator(k[:], careOf, correspondent, mh[:len(mh)-authenticatorLen])
	if err != nil {
		return nil, err
	}
	options[len(options)-1] = AuthorizationData{Authenticator: mac}
	return sealed, nil
}

// VerifyAuthorization verifies the Binding Authorization Data option in the
// octets of a binding update or acknowledgement as they were received
// (Packet.MH). careOf and correspondent are as for SealAuthorization.
//
// The errors are ErrNoAuthentication, ErrBadAuthenticator, or a *ParseError.
func (k BindingKey) VerifyAuthorization(mh []byte, careOf, correspondent netip.Addr) error {
	n, perr := headerLength(mh)
	if perr != nil {
		return perr
	}
	mh = mh[:n]
	if t := MessageType(mh[2]); t != TypeBindingUpdate && t != TypeBindingAcknowledgement {
		return errNotBindingType
	}
	var last rawOption
	for offset := bindingOptionsOffset; offset < len(mh); {
		var err *ParseError
		if last, offset, err = nextOption(mh, offset); err != nil {
			return err
		}
		if last.kind == OptionAuthorizationData && len(last.data) != authenticatorLen {
			return last.badLength(authenticatorLen)
		}
	}
	if last.kind != OptionAuthorizationData {
		return ErrNoAuthentication
	}
	mac, err := authenticator(k[:], careOf, correspondent, mh[:len(mh)-authenticatorLen])
	if err != nil {
		return err
	}
	if !hmac.Equal(mac[:], last.data) {
		return ErrBadAuthenticator
	}
	return nil
}
