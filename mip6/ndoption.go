package mip6

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"
)

// Neighbour discovery option types of Mobile IPv6.
const (
	NDOptionPrefixInformation     = 3 // RFC 4861 §4.6.2, RFC 6275 §7.2
	NDOptionAdvertisementInterval = 7 // RFC 6275 §7.3
	NDOptionHomeAgentInformation  = 8 // RFC 6275 §7.4
)

// PrefixInformation is the Prefix Information option with Mobile IPv6's R bit
// (RFC 6275 §7.2). Infinite lifetimes are InfiniteLifetime.
type PrefixInformation struct {
	// Prefix is the advertised prefix. With RouterAddress set its address keeps
	// the host bits, being the whole address of the router; otherwise they mean
	// nothing and are zero in both directions (RFC 4861 §4.6.2).
	Prefix                           netip.Prefix
	OnLink, Autonomous               bool
	RouterAddress                    bool // R
	ValidLifetime, PreferredLifetime time.Duration
}

// InfiniteLifetime stands for the all-ones lifetime of neighbour discovery.
const InfiniteLifetime = 0xffffffff * time.Second

// AdvertisementInterval is the longest time between unsolicited router
// advertisements (RFC 6275 §7.3), in whole milliseconds.
type AdvertisementInterval struct{ Interval time.Duration }

// HomeAgentInformation is the Home Agent Information option (RFC 6275 §7.4;
// the flag for mobile routers is RFC 3963 §7.3).
type HomeAgentInformation struct {
	Preference   int16         // higher is preferred
	Lifetime     time.Duration // whole seconds; zero ends the service (RFC 6275 §10.5.1), never sent to begin it
	MobileRouter bool          // the home agent serves mobile routers
}

// Content lengths of the options, without the octets of type and length.
const (
	lenPrefixInformation     = 30
	lenAdvertisementInterval = 6
	lenHomeAgentInformation  = 6
)

// Flags of the Prefix Information option.
const (
	prefixOnLink        = 1 << 7
	prefixAutonomous    = 1 << 6
	prefixRouterAddress = 1 << 5
)

// homeAgentMobileRouter is the R flag of the Home Agent Information option in
// its first 16 bits (RFC 3963 §7.3).
const homeAgentMobileRouter = 1 << 15

// Append appends the whole option, type and length included. An invalid prefix
// is sent as ::/0, lifetimes are rounded down to seconds and limited to what
// the field can hold.
func (p PrefixInformation) Append(b []byte) []byte {
	prefix := p.Prefix
	if !prefix.IsValid() || !prefix.Addr().Is6() {
		prefix = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	var flags byte
	if p.OnLink {
		flags |= prefixOnLink
	}
	if p.Autonomous {
		flags |= prefixAutonomous
	}
	if p.RouterAddress {
		flags |= prefixRouterAddress
	} else {
		prefix = prefix.Masked()
	}
	b = append(b, NDOptionPrefixInformation, (lenPrefixInformation+2)/8, byte(prefix.Bits()), flags)
	b = binary.BigEndian.AppendUint32(b, units(p.ValidLifetime, time.Second, math.MaxUint32))
	b = binary.BigEndian.AppendUint32(b, units(p.PreferredLifetime, time.Second, math.MaxUint32))
	b = append(b, 0, 0, 0, 0)
	return append16(b, prefix.Addr())
}

// ParsePrefixInformation decodes the content of a Prefix Information option,
// the octets after type and length. The error is a *ParseError.
func ParsePrefixInformation(data []byte) (PrefixInformation, error) {
	if len(data) != lenPrefixInformation {
		return PrefixInformation{}, badNDLength("Prefix Information option", len(data), lenPrefixInformation)
	}
	if data[0] > 128 {
		return PrefixInformation{}, &ParseError{Offset: 0, Reason: ReasonOptionValue, what: "prefix length", have: int(data[0]), want: 128}
	}
	p := PrefixInformation{
		Prefix:            netip.PrefixFrom(netip.AddrFrom16([16]byte(data[14:])), int(data[0])),
		OnLink:            data[1]&prefixOnLink != 0,
		Autonomous:        data[1]&prefixAutonomous != 0,
		RouterAddress:     data[1]&prefixRouterAddress != 0,
		ValidLifetime:     time.Duration(binary.BigEndian.Uint32(data[2:])) * time.Second,
		PreferredLifetime: time.Duration(binary.BigEndian.Uint32(data[6:])) * time.Second,
	}
	if !p.RouterAddress {
		p.Prefix = p.Prefix.Masked()
	}
	return p, nil
}

// Append appends the whole option, type and length included. The interval is
// rounded down to milliseconds and limited to what the field can hold.
func (a AdvertisementInterval) Append(b []byte) []byte {
	b = append(b, NDOptionAdvertisementInterval, (lenAdvertisementInterval+2)/8, 0, 0)
	return binary.BigEndian.AppendUint32(b, units(a.Interval, time.Millisecond, math.MaxUint32))
}

// ParseAdvertisementInterval decodes the content of an Advertisement Interval
// option, the octets after type and length. The error is a *ParseError.
func ParseAdvertisementInterval(data []byte) (AdvertisementInterval, error) {
	if len(data) != lenAdvertisementInterval {
		return AdvertisementInterval{}, badNDLength("Advertisement Interval option", len(data), lenAdvertisementInterval)
	}
	return AdvertisementInterval{Interval: time.Duration(binary.BigEndian.Uint32(data[2:])) * time.Millisecond}, nil
}

// Append appends the whole option, type and length included. The lifetime is
// rounded down to seconds and limited to what the field can hold.
func (h HomeAgentInformation) Append(b []byte) []byte {
	var flags uint16
	if h.MobileRouter {
		flags = homeAgentMobileRouter
	}
	b = append(b, NDOptionHomeAgentInformation, (lenHomeAgentInformation+2)/8)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(h.Preference))
	return binary.BigEndian.AppendUint16(b, uint16(units(h.Lifetime, time.Second, math.MaxUint16)))
}

// ParseHomeAgentInformation decodes the content of a Home Agent Information
// option, the octets after type and length. The error is a *ParseError.
func ParseHomeAgentInformation(data []byte) (HomeAgentInformation, error) {
	if len(data) != lenHomeAgentInformation {
		return HomeAgentInformation{}, badNDLength("Home Agent Information option", len(data), lenHomeAgentInformation)
	}
	return HomeAgentInformation{
		Preference:   int16(binary.BigEndian.Uint16(data[2:])),
		Lifetime:     time.Duration(binary.BigEndian.Uint16(data[4:])) * time.Second,
		MobileRouter: binary.BigEndian.Uint16(data)&homeAgentMobileRouter != 0,
	}, nil
}

func badNDLength(what string, have, want int) *ParseError {
	return &ParseError{Offset: 0, Reason: ReasonOptionLength, what: what, have: have, want: want}
}

// units returns d in whole units, between 0 and most.
func units(d, unit time.Duration, most uint32) uint32 {
	switch n := d / unit; {
	case n <= 0:
		return 0
	case n >= time.Duration(most):
		return most
	default:
		return uint32(n)
	}
}
