package nd

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"
)

// Content lengths of the options, without the octets of type and length.
const (
	lenRouteInformation = 6 // and the octets of the prefix
	lenNAT64            = 14
)

// bits are the preference in the octet of flags; a value that there is not is
// medium.
func (p Preference) bits() byte {
	if p < PreferenceLow || p > PreferenceHigh {
		p = PreferenceMedium
	}
	return byte(p&preferenceMask) << preferenceShift
}

// Append appends the whole option; one without an IPv6 prefix is left out. The
// lifetime is rounded down to seconds, but not to zero.
func (r RouteInformation) Append(b []byte) []byte {
	addr, bits, ok := sendable(r.Prefix)
	if !ok {
		return b
	}
	octets := (bits + 63) / 64 * 8
	b = append(b, optionRoute, byte(1+octets/optionUnit), byte(bits), r.Preference.bits())
	b = binary.BigEndian.AppendUint32(b, leastUnits(r.Lifetime, time.Second, math.MaxUint32))
	return append(b, addr[:octets]...)
}

// parseRouteInformation decodes the content of a Route Information option. One of
// the reserved preference is to be ignored (RFC 4191 §2.3).
func parseRouteInformation(data []byte) (RouteInformation, bool) {
	if n := len(data) - lenRouteInformation; n != 0 && n != 8 && n != 16 {
		return RouteInformation{}, false
	}
	r := RouteInformation{
		Prefix:   shortPrefix(data[lenRouteInformation:], data[0]),
		Lifetime: time.Duration(binary.BigEndian.Uint32(data[2:])) * time.Second,
	}
	switch data[1] >> preferenceShift & preferenceMask {
	case 0b01:
		r.Preference = PreferenceHigh
	case 0b11:
		r.Preference = PreferenceLow
	case 0b10:
		return RouteInformation{}, false
	}
	return r, r.Prefix.IsValid()
}

// nat64Bits are the lengths of a NAT64 prefix by their code (RFC 8781 §4).
func nat64Bits() [6]uint8 { return [...]uint8{96, 64, 56, 48, 40, 32} }

const (
	nat64Unit         = 8 * time.Second
	nat64CodeBits     = 3
	maxNAT64Lifetime  = math.MaxUint16 >> nat64CodeBits * nat64Unit
	nat64PrefixOctets = 12
)

// Append appends the whole option; one whose prefix has none of the lengths is left
// out. The lifetime is rounded up to units of 8 seconds (RFC 8781 §4.1).
func (n NAT64Prefix) Append(b []byte) []byte {
	addr, bits, ok := sendable(n.Prefix)
	if !ok {
		return b
	}
	for code, length := range nat64Bits() {
		if int(length) != bits {
			continue
		}
		scaled := uint16(units(min(n.Lifetime, maxNAT64Lifetime)+nat64Unit-1, nat64Unit, math.MaxUint16>>nat64CodeBits))
		b = append(b, optionNAT64, (optionHeader+lenNAT64)/optionUnit)
		b = binary.BigEndian.AppendUint16(b, scaled<<nat64CodeBits|uint16(code))
		return append(b, addr[:nat64PrefixOctets]...)
	}
	return b
}

// parseNAT64Prefix decodes the content of a PREF64 option.
func parseNAT64Prefix(data []byte) (NAT64Prefix, bool) {
	if len(data) != lenNAT64 {
		return NAT64Prefix{}, false
	}
	first := binary.BigEndian.Uint16(data)
	lengths, code := nat64Bits(), int(first&(1<<nat64CodeBits-1))
	if code >= len(lengths) {
		return NAT64Prefix{}, false
	}
	n := NAT64Prefix{Prefix: shortPrefix(data[2:], lengths[code]), Lifetime: time.Duration(first>>nat64CodeBits) * nat64Unit}
	return n, n.Prefix.IsValid()
}

// isUnicast reports whether an option may name a as the address of a node.
func isUnicast(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}
