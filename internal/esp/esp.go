// Package esp is IPsec ESP (RFC 4303) for the signalling of Mobile IPv6 between a
// mobile and its home agent (RFC 3776, RFC 4877), or a mobility anchor point (RFC 5380
// §12.1), with keys that both are configured with or that a key exchange has made
// (Policy.Negotiated). It is done here and not by the kernel because a kernel without
// Mobile IPv6 cannot match a home address that travels in the Home Address option
// or in the type 2 routing header, and the security associations belong to home
// addresses (RFC 4877 §4.2). Bytes in, bytes out: no I/O and no clock.
//
//	binding update            IPv6(CoA→HA) | destination options (HoA) | ESP | MH
//	binding acknowledgement   IPv6(HA→CoA) | type 2 routing header (HoA) | ESP | MH
//	at home, both ways        IPv6 | ESP | MH
//	prefix solicitation and
//	advertisement             the same with ICMPv6 in place of MH
//	DHCPv6 of a relay away    IPv6(CoA→HA) | destination options (HoA) | ESP | UDP
//	and back                  IPv6(HA→CoA) | type 2 routing header (HoA) | ESP | UDP
//	local binding update      IPv6(LCoA→MAP) | destination options (RCoA) | ESP | MH
//	and acknowledgement       IPv6(MAP→LCoA) | type 2 routing header (RCoA) | ESP | MH
//	home test init            IPv6(CoA→HA) | ESP | IPv6(HoA→CN) | MH
//	home test                 IPv6(HA→CoA) | ESP | IPv6(CN→HoA) | MH
//
// Outbound and Inbound turn payloads into ESP and back; Policies decides which messages
// those are, and which association belongs to whom.
//
// # Keys that never change
//
// A key that is configured outlives a restart, and what counts packets does not. Three
// things follow, of which none goes for keys that are negotiated anew with each start.
//
// The initialization vector of AES-CBC is random for each packet (RFC 3602 §3),
// so that a restart means nothing to it. It is the algorithm to choose: of those
// that RFC 8221 §3 allows with manual keys it is the only one here.
//
// AES-GCM must never see the same initialization vector twice under a key, or
// whoever has both packets can read and forge. RFC 4106 §2 and RFC 8221 §3 forbid
// it with manual keys for that reason. It is here for peers that have nothing
// else, and made as good as it can be: the 64 bits begin at a random number with
// each start and count up. Two lives of n packets each meet with a probability of
// 2n/2^64, some of m lives with one of m²n/2^64: 5·10^-7 for ten thousand lives of a
// hundred thousand packets. Random ones for each packet would be worse,
// (mn)²/2^65 or 3·10^-2. No key and salt may serve two associations; Policies sees to
// that as far as its own go.
//
// Sequence numbers begin at 1 with each start. A receiver that insisted on
// increasing ones would lock out a router that rebooted, until it has sent as many
// packets as before. So the anti-replay window is off, as RFC 4303 §3.3.3 and §5
// want it with manual keys, and what is recorded and sent again is recognised by
// Mobile IPv6: updates and acknowledgements by their sequence numbers and
// timestamps, prefix advertisements by the identifier of the solicitation, tests by
// their cookies (RFC 4877 §4.3). A replayed solicitation or home test init asks for
// an answer that goes to the mobile. So does a replayed DHCPv6 message of a mobile
// router, if it comes from the care-of address of the moment; at most it renews or makes
// a lease of that router's own, since roam6's routers never send a Release to a home
// agent; and replies are recognised by their transaction identifiers. A sender that
// keeps its counter across restarts may be given a window (Association.Window). Ours
// does not keep it, but it never wraps: ErrExhausted comes before.
package esp

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"roam6/internal/role"
)

// Errors of packets. DropReason makes a metric label of those of receiving.
var (
	ErrMalformed     = errors.New("malformed ESP packet")
	ErrUnknownSPI    = errors.New("no security association with this SPI")
	ErrIntegrity     = errors.New("integrity check value does not verify")
	ErrReplay        = errors.New("sequence number is not in the anti-replay window, or was there before")
	ErrPadding       = errors.New("padding is not what RFC 4303 §2.4 prescribes: encrypted with another key")
	ErrSelector      = errors.New("packet is not one that its security association is for")
	ErrUnprotected   = errors.New("signalling that must be protected by ESP is not")
	ErrDummy         = errors.New("dummy packet")                                // RFC 4303 §2.6: to be discarded without a word
	ErrForeign       = errors.New("not for a security association of this node") // the kernel's, maybe
	ErrExhausted     = errors.New("sequence numbers are exhausted: the key must be replaced")
	ErrNoAssociation = errors.New("no security association for this packet")
	ErrTooMany       = errors.New("too many packets for this security association")
)

// ErrInvalid is an association or policy that cannot be.
var ErrInvalid = errors.New("invalid")

// DropReason is the reason for dropping a received packet with which Open or
// Unprotect has failed. A dummy packet and one that is none of ours have none: zero.
func DropReason(err error) role.DropReason {
	switch {
	case err == nil, errors.Is(err, ErrDummy), errors.Is(err, ErrForeign):
		return 0
	case errors.Is(err, ErrUnprotected):
		return role.DropUnauthenticated
	case errors.Is(err, ErrUnknownSPI):
		return role.DropUnknownSPI
	case errors.Is(err, ErrIntegrity):
		return role.DropBadAuthenticator
	case errors.Is(err, ErrPadding):
		return role.DropUndecipherable
	case errors.Is(err, ErrReplay):
		return role.DropReplay
	case errors.Is(err, ErrSelector):
		return role.DropProhibited
	default:
		return role.DropMalformed
	}
}

// Algorithm protects the packets of an association.
type Algorithm uint8

// The algorithms. Of each there are those with 128 and with 256 bits of AES key,
// told apart by the length of the key.
const (
	// AESCBCSHA256 is AES-CBC (RFC 3602) with HMAC-SHA-256-128 (RFC 4868).
	AESCBCSHA256 Algorithm = iota + 1
	// AESGCM is AES-GCM with an integrity check value of 16 octets (RFC 4106). Not
	// to be chosen with keys that outlive a restart, if there is a choice: see
	// the package comment.
	AESGCM
)

func (a Algorithm) String() string {
	switch a {
	case AESCBCSHA256:
		return "aes-cbc-sha256"
	case AESGCM:
		return "aes-gcm"
	default:
		return fmt.Sprintf("algorithm %d", uint8(a))
	}
}

// KeyLengths are the lengths in octets that a key of the algorithm may have: an
// AES key of 128 or 256 bits, followed by what else there is.
func (a Algorithm) KeyLengths() [2]int {
	switch a {
	case AESCBCSHA256:
		return [2]int{16 + hmacKeyLen, 32 + hmacKeyLen}
	case AESGCM:
		return [2]int{16 + saltLen, 32 + saltLen}
	default:
		return [2]int{}
	}
}

const (
	hmacKeyLen = 32 // RFC 4868 §2.1.1
	saltLen    = 4  // RFC 4106 §4, §8.1
)

// Key is the keying material of an association, as octets: first the AES key of 16
// or 32 octets, then with AESCBCSHA256 the HMAC key of 32 octets, with AESGCM the
// salt of 4 octets (RFC 4106 §8.1). It prints as "[redacted]" by every verb, as an
// slog value and as text; only a struct that holds it in an unexported field and is
// printed with %v escapes that, since package fmt then does not ask.
type Key string

// redacted is what is printed instead of a key.
const redacted = "[redacted]"

func (Key) String() string               { return redacted }
func (Key) GoString() string             { return redacted }
func (Key) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Key) Format(s fmt.State, _ rune)   { io.WriteString(s, redacted) }
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MaxWindow is the widest anti-replay window.
const MaxWindow = 1024

// Association is a security association of one direction. Two are the same when
// they are equal.
type Association struct {
	// SPI is chosen by the receiver; those below 256 are reserved (RFC 4303 §2.1).
	SPI       uint32
	Algorithm Algorithm
	Key       Key
	// Window, of a receiver, is the width of the anti-replay window in packets, a
	// multiple of 64 up to MaxWindow. Zero is none: see the package comment.
	Window int
}

// Check reports what is wrong with an association; the error wraps ErrInvalid and
// has nothing of the key in it.
func (a Association) Check() error {
	lengths := a.Algorithm.KeyLengths()
	switch {
	case a.SPI < 256:
		return fmt.Errorf("%w SPI %d: those below 256 are reserved", ErrInvalid, a.SPI)
	case lengths[0] == 0:
		return fmt.Errorf("SPI %d: %w: %v", a.SPI, ErrInvalid, a.Algorithm)
	case len(a.Key) != lengths[0] && len(a.Key) != lengths[1]:
		return fmt.Errorf("SPI %d: %w key of %d octets: %v needs %d or %d", a.SPI, ErrInvalid, len(a.Key), a.Algorithm, lengths[0], lengths[1])
	case a.Window < 0 || a.Window > MaxWindow || a.Window%64 != 0:
		return fmt.Errorf("SPI %d: %w anti-replay window of %d packets: a multiple of 64 up to %d, or 0", a.SPI, ErrInvalid, a.Window, MaxWindow)
	}
	return nil
}
