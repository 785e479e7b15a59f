package mip6

import (
	"net/netip"
	"time"
)

// OptionType is the type of a mobility option (RFC 6275 §6.2).
type OptionType uint8

// Mobility option types.
const (
	OptionPad1                OptionType = 0  // RFC 6275 §6.2.2
	OptionPadN                OptionType = 1  // RFC 6275 §6.2.3
	OptionRefreshAdvice       OptionType = 2  // RFC 6275 §6.2.4
	OptionAlternateCareOf     OptionType = 3  // RFC 6275 §6.2.5
	OptionNonceIndices        OptionType = 4  // RFC 6275 §6.2.6
	OptionAuthorizationData   OptionType = 5  // RFC 6275 §6.2.7
	OptionMobileNetworkPrefix OptionType = 6  // RFC 3963 §4.3
	OptionMobileNodeID        OptionType = 8  // RFC 4283 §3
	OptionAuthentication      OptionType = 9  // RFC 4285 §5
	OptionReplayProtection    OptionType = 10 // RFC 4285 §6
)

// known reports whether the type is one of the above.
func (t OptionType) known() bool {
	switch t {
	case OptionPad1, OptionPadN, OptionRefreshAdvice, OptionAlternateCareOf, OptionNonceIndices,
		OptionAuthorizationData, OptionMobileNetworkPrefix, OptionMobileNodeID, OptionAuthentication,
		OptionReplayProtection:
		return true
	default:
		return false
	}
}

// Option is one mobility option. The set is closed; what this package does not
// know is an UnknownOption.
type Option interface {
	OptionType() OptionType
	isOption()
}

// RefreshAdvice is the interval after which the home agent advises to renew
// the binding (RFC 6275 §6.2.4).
type RefreshAdvice struct{ Interval Lifetime }

// AlternateCareOf is the care-of address to bind instead of the packet's
// source (RFC 6275 §6.2.5).
type AlternateCareOf struct{ Addr netip.Addr }

// NonceIndices tells a correspondent which nonces the tokens came from
// (RFC 6275 §6.2.6).
type NonceIndices struct{ Home, CareOf uint16 }

// AuthorizationData is the Binding Authorization Data option, whose
// authenticator covers all that precedes it (RFC 6275 §6.2.7). It is the last
// option of its message.
type AuthorizationData struct{ Authenticator [12]byte }

// MobileNetworkPrefix names a prefix of a mobile router's network
// (RFC 3963 §4.3).
type MobileNetworkPrefix struct{ Prefix netip.Prefix }

// MobileNodeID is the identity of a mobile node (RFC 4283 §3). Subtype 1 is a
// network access identifier of the form user@realm.
type MobileNodeID struct {
	Subtype    uint8
	Identifier []byte
}

// Authentication subtypes of RFC 4285 §5.
const (
	AuthenticationMNHA  uint8 = 1
	AuthenticationMNAAA uint8 = 2
)

// Authentication is the mobility message authentication option
// (RFC 4285 §5). It is the last option of its message.
type Authentication struct {
	Subtype uint8
	SPI     uint32
	Data    []byte
}

// Timestamp is a 64-bit NTP timestamp (RFC 1305): seconds since 1900 in the
// upper half, fractions of a second in the lower.
type Timestamp uint64

// ReplayProtection carries the sender's time of day (RFC 4285 §6).
type ReplayProtection struct{ Timestamp Timestamp }

// UnknownOption is an option this package does not know; it survives a decode
// and is skipped by every role (RFC 6275 §6.2).
type UnknownOption struct {
	Type OptionType
	Data []byte
}

// ntpEpoch is the number of seconds from 1900 to 1970.
const ntpEpoch = 2208988800

// TimestampFrom returns t as an NTP timestamp.
func TimestampFrom(t time.Time) Timestamp {
	s := uint64(t.Unix() + ntpEpoch)
	f := uint64(t.Nanosecond()) << 32 / 1e9
	return Timestamp(s<<32 | f)
}

// Time returns the time of day. A timestamp does not tell its era: those with
// the highest bit clear are taken to be of the era that begins in 2036
// (RFC 4330 §3).
func (t Timestamp) Time() time.Time {
	seconds := int64(t >> 32)
	if t>>63 == 0 {
		seconds += 1 << 32
	}
	return time.Unix(seconds-ntpEpoch, int64(uint64(t)&0xffffffff*1e9>>32)).UTC()
}

// Sub returns the time from u to t; it is right for differences below 68 years
// and across the wrap of 2036.
func (t Timestamp) Sub(u Timestamp) time.Duration {
	d := int64(t - u)
	return time.Duration(d>>32)*time.Second + time.Duration(uint64(d)&0xffffffff*1e9>>32)
}

// After reports whether t is later than u, exactly, where Sub rounds to nanoseconds. It is
// right under the same conditions.
func (t Timestamp) After(u Timestamp) bool { return int64(t-u) > 0 }

// OptionType implements Option.
func (RefreshAdvice) OptionType() OptionType       { return OptionRefreshAdvice }
func (AlternateCareOf) OptionType() OptionType     { return OptionAlternateCareOf }
func (NonceIndices) OptionType() OptionType        { return OptionNonceIndices }
func (AuthorizationData) OptionType() OptionType   { return OptionAuthorizationData }
func (MobileNetworkPrefix) OptionType() OptionType { return OptionMobileNetworkPrefix }
func (MobileNodeID) OptionType() OptionType        { return OptionMobileNodeID }
func (Authentication) OptionType() OptionType      { return OptionAuthentication }
func (ReplayProtection) OptionType() OptionType    { return OptionReplayProtection }
func (o UnknownOption) OptionType() OptionType     { return o.Type }

func (RefreshAdvice) isOption()       {}
func (AlternateCareOf) isOption()     {}
func (NonceIndices) isOption()        {}
func (AuthorizationData) isOption()   {}
func (MobileNetworkPrefix) isOption() {}
func (MobileNodeID) isOption()        {}
func (Authentication) isOption()      {}
func (ReplayProtection) isOption()    {}
func (UnknownOption) isOption()       {}

// Find returns the first option of type T of a message.
func Find[T Option](m Message) (T, bool) {
	for _, o := range m.MobilityOptions() {
		if t, ok := o.(T); ok {
			return t, true
		}
	}
	var none T
	return none, false
}

// All returns the options of type T of a message, in their order; nil if there
// is none.
func All[T Option](m Message) []T {
	var all []T
	for _, o := range m.MobilityOptions() {
		if t, ok := o.(T); ok {
			all = append(all, t)
		}
	}
	return all
}
