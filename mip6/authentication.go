package mip6

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
)

// Errors of verification. A message that is not in order structurally gives a
// *ParseError instead.
var (
	ErrNoAuthentication = errors.New("no authentication option")
	ErrUnknownSPI       = errors.New("unknown SPI")
	ErrBadAuthenticator = errors.New("authenticator does not verify")

	errNotLast        = fmt.Errorf("option follows the authentication: %w", ErrBadAuthenticator)
	errNotBindingType = errors.New("only binding updates and acknowledgements carry an authenticator")
)

// authenticatorLen is the length of both authenticators, First(96, HMAC_SHA1).
const authenticatorLen = 12

// redacted is what is printed instead of a key.
const redacted = "[redacted]"

// SharedKey is the key of a security association (RFC 4285 §5.1: 16 octets).
// It prints as "[redacted]" by every verb, as an slog value and as text; only
// a struct that holds it in an unexported field and is printed with %v escapes
// that, since package fmt then does not ask.
type SharedKey [16]byte

func (SharedKey) String() string               { return redacted }
func (SharedKey) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (SharedKey) Format(s fmt.State, _ rune)   { io.WriteString(s, redacted) }
func (SharedKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// SecurityAssociation is a mobility security association between a mobile node
// and its home agent (RFC 4285 §5.1). The algorithm is always HMAC_SHA1. SPIs
// below 256 are reserved.
type SecurityAssociation struct {
	SPI uint32
	Key SharedKey
}

// AuthenticationOf returns the MN-HA Authentication option of a message.
func AuthenticationOf(m Message) (Authentication, bool) {
	for _, o := range m.MobilityOptions() {
		if a, ok := o.(Authentication); ok && a.Subtype == AuthenticationMNHA {
			return a, true
		}
	}
	return Authentication{}, false
}

// Seal returns a copy of a binding update or acknowledgement whose last option
// is the MN-HA Authentication option, with the authentication data of exactly
// the octets that AppendMessage makes of the copy. One that m already has is
// replaced. careOf is the care-of address of the binding, home its home
// address, whatever addresses the packet has. Other messages, and those with an
// option that must itself be the last (Binding Authorization Data, MN-AAA
// Authentication), cannot be sealed.
func (sa SecurityAssociation) Seal(m Message, careOf, home netip.Addr) (Message, error) {
	options := make([]Option, 0, len(m.MobilityOptions())+1)
	for _, o := range m.MobilityOptions() {
		if a, ok := o.(Authentication); ok && a.Subtype == AuthenticationMNHA {
			continue
		}
		options = append(options, o)
	}
	data := make([]byte, authenticatorLen)
	options = append(options, Authentication{Subtype: AuthenticationMNHA, SPI: sa.SPI, Data: data})
	sealed, err := withOptions(m, options)
	if err != nil {
		return nil, err
	}
	var buffer [256]byte
	mh, err := appendUnsummed(buffer[:0], sealed)
	if err != nil {
		return nil, err
	}
	at, perr := findAuthentication(mh)
	if perr != nil {
		return nil, perr
	}
	mac, err := authenticator(sa.Key[:], careOf, home, mh[:at.covered])
	if err != nil {
		return nil, err
	}
	copy(data, mac[:])
	return sealed, nil
}

// Verify verifies the MN-HA Authentication option in the octets of a binding
// update or acknowledgement as they were received (Packet.MH). careOf and home
// are as for Seal. An option that nobody authenticated must not be acted upon,
// so only padding and an MN-AAA Authentication option may follow.
//
// The errors are ErrNoAuthentication, ErrUnknownSPI where the option is of
// another association, ErrBadAuthenticator, or a *ParseError; and an error for
// any other message.
func (sa SecurityAssociation) Verify(mh []byte, careOf, home netip.Addr) error {
	n, perr := headerLength(mh)
	if perr != nil {
		return perr
	}
	at, err := findAuthentication(mh[:n])
	if err != nil {
		return err
	}
	switch {
	case at.spi != sa.SPI:
		return fmt.Errorf("%w %d", ErrUnknownSPI, at.spi)
	case !at.last:
		return errNotLast
	}
	mac, err := authenticator(sa.Key[:], careOf, home, mh[:at.covered])
	if err != nil {
		return err
	}
	if !hmac.Equal(mac[:], at.data) {
		return ErrBadAuthenticator
	}
	return nil
}

// authenticationAt is the MN-HA Authentication option in a Mobility Header.
type authenticationAt struct {
	spi     uint32
	covered int // octets of the header that the data protects
	data    []byte
	last    bool // nothing but padding and an MN-AAA option follows
}

func findAuthentication(mh []byte) (authenticationAt, error) {
	var found rawOption // kind zero, Pad1, while there is none
	at := authenticationAt{last: true}
	if t := MessageType(mh[2]); t != TypeBindingUpdate && t != TypeBindingAcknowledgement {
		return at, errNotBindingType
	}
	for offset := bindingOptionsOffset; offset < len(mh); {
		raw, next, err := nextOption(mh, offset)
		if err != nil {
			return at, err
		}
		offset = next
		if raw.kind <= OptionPadN {
			continue
		}
		var subtype uint8
		if raw.kind == OptionAuthentication {
			if len(raw.data) < minAuthentication {
				return at, raw.badLength(minAuthentication)
			}
			subtype = raw.data[0]
		}
		switch {
		case found.kind == OptionPad1 && subtype == AuthenticationMNHA:
			found = raw
		case found.kind != OptionPad1 && subtype != AuthenticationMNAAA:
			at.last = false
		}
	}
	if found.kind == OptionPad1 {
		return at, ErrNoAuthentication
	}
	at.spi = binary.BigEndian.Uint32(found.data[1:])
	at.data = found.data[minAuthentication:]
	at.covered = found.offset + 2 + minAuthentication
	return at, nil
}

// withOptions returns a binding update or acknowledgement with other options.
func withOptions(m Message, options []Option) (Message, error) {
	switch m := m.(type) {
	case BindingUpdate:
		m.Options = options
		return m, nil
	case BindingAcknowledgement:
		m.Options = options
		return m, nil
	default:
		return nil, fmt.Errorf("%v: %w", m.Type(), errNotBindingType)
	}
}

// authenticator is First(96, HMAC_SHA1(key, a | b | mh)) with the checksum of
// mh taken as zero, the form shared by RFC 4285 §5.1 and RFC 6275 §6.2.7.
func authenticator(key []byte, a, b netip.Addr, mh []byte) ([authenticatorLen]byte, error) {
	if !a.Is6() || !b.Is6() {
		return [authenticatorLen]byte{}, fmt.Errorf("authenticator over %v and %v: %w", a, b, ErrNotIPv6)
	}
	var head [16 + 16 + checksumOffset + 2]byte // the checksum stays zero
	a16, b16 := a.As16(), b.As16()
	copy(head[:], a16[:])
	copy(head[16:], b16[:])
	copy(head[32:], mh[:checksumOffset])
	h := hmac.New(sha1.New, key)
	h.Write(head[:])
	h.Write(mh[checksumOffset+2:])
	var sum [sha1.Size]byte
	return [authenticatorLen]byte(h.Sum(sum[:0])), nil
}
