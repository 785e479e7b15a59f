package mip6

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"
)

// Neighbour discovery option types of Mobile IPv6.
const (
	NDOptionPrefixInformation     = 3  // RFC 4861 §4.6.2, RFC 6275 §7.2
	NDOptionAdvertisementInterval = 7  // RFC 6275 §7.3
	NDOptionHomeAgentInformation  = 8  // RFC 6275 §7.4
	NDOptionMobilityAnchorPoint   = 23 // RFC 5380 §5
)

// PrefixInformation is the Prefix Information option with Mobile IPv6's R bit
// (RFC 6275 §7.2). Infinite lifetimes are InfiniteLifetime.
type PrefixInformation struct {
	// Prefix is the advertised prefix. With RouterAddress set its address keeps
	// the host bits, being the whole address of the router; otherwise they mean
	// nothing and are zero in both directions (RFC 4861 §4.6.2).
	Prefix             netip.Prefix
	OnLink, Autonomous bool
	RouterAddress      bool // R
	// PreferDelegation is flag P: hosts are to ask for a prefix of their own by
	// DHCPv6 (RFC 9762 §4).
	PreferDelegation                 bool
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
	prefixDelegation    = 1 << 4
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
	if p.PreferDelegation {
		flags |= prefixDelegation
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
		PreferDelegation:  data[1]&prefixDelegation != 0,
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

// MobilityAnchorPoint is the MAP option (RFC 5380 §5).
type MobilityAnchorPoint struct {
	// Address is a global address of the anchor. Its first 64 bits are the prefix
	// under which mobiles form their regional care-of addresses.
	Address netip.Addr
	// Distance in hops, 1 (on the link) to 15.
	Distance uint8
	// Preference is 0 (not for new bindings) to 15.
	Preference uint8
	// Allocated is flag R: the anchor allocates regional care-of addresses by the
	// procedures of RFC 4877 §9.
	Allocated bool
	// ValidLifetime of the anchor's address and of regional care-of addresses, in
	// whole seconds; zero tells that the anchor has failed.
	ValidLifetime time.Duration
}

// Content of the MAP option: without the octets of type and length.
const (
	lenMobilityAnchorPoint = 22
	anchorAllocated        = 1 << 7
	maxAnchorField         = 15 // distance and preference
)

// Append appends the whole option, type and length included. Distance and
// preference are limited to what their fields can hold, a distance of zero is
// sent as one.
func (m MobilityAnchorPoint) Append(b []byte) []byte {
	distance, preference := min(max(m.Distance, 1), maxAnchorField), min(m.Preference, maxAnchorField)
	var flags byte
	if m.Allocated {
		flags = anchorAllocated
	}
	b = append(b, NDOptionMobilityAnchorPoint, (lenMobilityAnchorPoint+2)/8, distance<<4|preference, flags)
	b = binary.BigEndian.AppendUint32(b, units(m.ValidLifetime, time.Second, math.MaxUint32))
	return append16(b, m.Address)
}

// ParseMobilityAnchorPoint decodes the content of a MAP option, the octets after
// type and length. A distance of zero and an address that is not routable are not
// in order (RFC 5380 §5). The error is a *ParseError.
func ParseMobilityAnchorPoint(data []byte) (MobilityAnchorPoint, error) {
	const what = "MAP option"
	if len(data) != lenMobilityAnchorPoint {
		return MobilityAnchorPoint{}, badNDLength(what, len(data), lenMobilityAnchorPoint)
	}
	m := MobilityAnchorPoint{
		Address:       netip.AddrFrom16([16]byte(data[6:])),
		Distance:      data[0] >> 4,
		Preference:    data[0] & maxAnchorField,
		Allocated:     data[1]&anchorAllocated != 0,
		ValidLifetime: time.Duration(binary.BigEndian.Uint32(data[2:])) * time.Second,
	}
	if m.Distance == 0 {
		return MobilityAnchorPoint{}, &ParseError{Offset: 0, Reason: ReasonOptionValue, what: what + " distance", want: 1}
	}
	if !Routable(m.Address) {
		return MobilityAnchorPoint{}, &ParseError{Offset: 6, Reason: ReasonOptionValue, what: what + " address"}
	}
	return m, nil
}
