package nd

import (
	"encoding/binary"
	"math"
	"time"

	"roam6/mip6"
)

// Flags of a router advertisement (RFC 4861 §4.2, RFC 6275 §7.1, RFC 4191 §2.2).
const (
	flagManaged     = 0x80
	flagOtherConfig = 0x40
	flagHomeAgent   = 0x20
	preferenceShift = 3
	preferenceMask  = 0x3
)

const lenRouterAdvertisement = 16

// ParseRouterAdvertisement decodes the ICMPv6 message b. An option that is
// malformed in itself or unknown does no harm (RFC 4861 §6.1.2): the first is
// counted, the second kept. Where an option that must be single comes twice,
// the first counts. The error is a *ParseError. The result does not alias b.
func ParseRouterAdvertisement(b []byte) (RouterAdvertisement, error) {
	if err := checkMessage(b, TypeRouterAdvertisement, lenRouterAdvertisement); err != nil {
		return RouterAdvertisement{}, err
	}
	be := binary.BigEndian
	ra := RouterAdvertisement{
		CurHopLimit:    b[4],
		Managed:        b[5]&flagManaged != 0,
		OtherConfig:    b[5]&flagOtherConfig != 0,
		HomeAgent:      b[5]&flagHomeAgent != 0,
		RouterLifetime: time.Duration(be.Uint16(b[6:])) * time.Second,
		ReachableTime:  time.Duration(be.Uint32(b[8:])) * time.Millisecond,
		RetransTimer:   time.Duration(be.Uint32(b[12:])) * time.Millisecond,
	}
	if ra.RouterLifetime > 0 { // RFC 4191 §2.2
		switch b[5] >> preferenceShift & preferenceMask {
		case 0b01:
			ra.Preference = PreferenceHigh
		case 0b11:
			ra.Preference = PreferenceLow
		}
	}
	for kind, data := range options(b[lenRouterAdvertisement:]) {
		if !ra.takeOption(kind, data) {
			ra.Malformed++
		}
	}
	return ra, nil
}

// takeOption takes in one option and reports whether it is in order.
func (ra *RouterAdvertisement) takeOption(kind uint8, data []byte) bool {
	switch kind {
	case optionSourceLinkAddr:
		if ra.SourceLinkAddr == nil {
			ra.SourceLinkAddr = append(ra.SourceLinkAddr, data...)
		}
	case optionMTU:
		if len(data) != lenMTU {
			return false
		}
		if ra.MTU == 0 {
			ra.MTU = binary.BigEndian.Uint32(data[2:])
		}
	case optionPrefix:
		p, err := mip6.ParsePrefixInformation(data)
		if err != nil {
			return false
		}
		ra.Prefixes = append(ra.Prefixes, p)
	case optionInterval:
		i, err := mip6.ParseAdvertisementInterval(data)
		if err != nil {
			return false
		}
		if ra.Interval == 0 {
			ra.Interval = i.Interval
		}
	case optionHomeAgent:
		h, err := mip6.ParseHomeAgentInformation(data)
		if err != nil {
			return false
		}
		if ra.HomeAgentInfo == nil {
			ra.HomeAgentInfo = &h
		}
	case optionAnchor:
		m, err := mip6.ParseMobilityAnchorPoint(data)
		return take(&ra.Anchors, m, err == nil)
	case optionRoute:
		r, ok := parseRouteInformation(data)
		return take(&ra.Routes, r, ok)
	case optionDNSServers:
		d, ok := parseRecursiveDNS(data)
		return take(&ra.DNSServers, d, ok)
	case optionDNSSearch:
		d, ok := parseDNSSearch(data)
		return take(&ra.DNSSearch, d, ok)
	case optionNAT64:
		n, ok := parseNAT64Prefix(data)
		return take(&ra.NAT64, n, ok)
	case optionCaptivePortal:
		uri, ok := parseCaptivePortal(data)
		if ok && ra.CaptivePortal == "" {
			ra.CaptivePortal = uri
		}
		return ok
	case optionBorderRouter:
		r, ok := parseBorderRouter(data)
		return take(&ra.BorderRouters, r, ok)
	case optionContext:
		c, ok := parseContext(data)
		return take(&ra.Contexts, c, ok)
	default:
		if len(ra.Others) == maxRawOptions {
			return false
		}
		ra.Others = append(ra.Others, RawOption{Type: kind, Data: append([]byte(nil), data...)})
	}
	return true
}

// Append appends the ICMPv6 message with a checksum of zero. Times are rounded
// down to the unit of their field and limited to what it can hold; a router
// lifetime of zero is sent without a preference, as RFC 4191 §2.2 wants it. An
// option that cannot be sent as it is, as its own Append says, is left out.
func (ra RouterAdvertisement) Append(b []byte) []byte {
	var flags byte
	if ra.Managed {
		flags |= flagManaged
	}
	if ra.OtherConfig {
		flags |= flagOtherConfig
	}
	if ra.HomeAgent {
		flags |= flagHomeAgent
	}
	lifetime := uint16(units(ra.RouterLifetime, time.Second, math.MaxUint16))
	if lifetime > 0 {
		flags |= ra.Preference.bits()
	}
	be := binary.BigEndian
	b = append(b, TypeRouterAdvertisement, 0, 0, 0, ra.CurHopLimit, flags)
	b = be.AppendUint16(b, lifetime)
	b = be.AppendUint32(b, units(ra.ReachableTime, time.Millisecond, math.MaxUint32))
	b = be.AppendUint32(b, units(ra.RetransTimer, time.Millisecond, math.MaxUint32))
	b = appendOption(b, optionSourceLinkAddr, ra.SourceLinkAddr)
	if ra.MTU != 0 {
		b = append(b, optionMTU, (optionHeader+lenMTU)/optionUnit, 0, 0)
		b = be.AppendUint32(b, ra.MTU)
	}
	b = appendAll(b, ra.Prefixes)
	if ra.Interval >= time.Millisecond {
		b = mip6.AdvertisementInterval{Interval: ra.Interval}.Append(b)
	}
	if ra.HomeAgentInfo != nil {
		b = ra.HomeAgentInfo.Append(b)
	}
	b = appendAll(b, ra.Anchors)
	b = appendAll(b, ra.Routes)
	b = appendAll(b, ra.DNSServers)
	b = appendAll(b, ra.DNSSearch)
	b = appendAll(b, ra.NAT64)
	b = appendCaptivePortal(b, ra.CaptivePortal)
	b = appendAll(b, ra.BorderRouters)
	b = appendAll(b, ra.Contexts)
	return appendAll(b, ra.Others)
}

// wireOption is an option that knows its form on the wire.
type wireOption interface{ Append(b []byte) []byte }

func appendAll[T wireOption](b []byte, list []T) []byte {
	for _, o := range list {
		b = o.Append(b)
	}
	return b
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
