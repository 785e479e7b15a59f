package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"roam6/mip6"
	"roam6/nd"
)

// errRAChecksum is a router advertisement with a wrong checksum.
var errRAChecksum = errors.New("the checksum of the router advertisement is wrong")

// routerAdvertisement reports a router advertisement, which has no extension
// headers (RFC 4861 §4.2). For every other packet the error is
// mip6.ErrNotMobility.
func (r *packetReport) routerAdvertisement(b []byte) error {
	if len(b) <= ipv6HeaderLen || b[6] != mip6.ProtocolICMPv6 || b[ipv6HeaderLen] != nd.TypeRouterAdvertisement {
		return mip6.ErrNotMobility
	}
	end := ipv6HeaderLen + int(binary.BigEndian.Uint16(b[4:]))
	if end > len(b) {
		return mip6.ErrNotMobility // cut short by the capture
	}
	source, destination := packetAddresses(b)
	message := b[ipv6HeaderLen:end]
	octet, reason := ipv6HeaderLen, ""
	ra, err := nd.ParseRouterAdvertisement(message)
	var perr *nd.ParseError
	switch {
	case errors.As(err, &perr):
		reason = perr.Reason.String()
	case err == nil && !mip6.ICMPChecksumOK(source, destination, message):
		err, octet, reason = errRAChecksum, ipv6HeaderLen+2, "checksum"
	}
	if err != nil {
		r.object.addr("source", source)
		r.object.addr("destination", destination)
		r.malformed(fmt.Sprintf("packet %v > %v", source, destination), octet, reason, fmt.Sprintf("octet %d: %v", octet, err))
		return err
	}
	r.addresses(source, destination, b[7], netip.Addr{}, netip.Addr{})
	r.heading("router advertisement", "icmpv6_type", nd.TypeRouterAdvertisement, source, destination)
	r.advertisement(ra)
	return nil
}

func (r *packetReport) advertisement(ra nd.RouterAdvertisement) {
	r.flags(
		flagFact{ra.Managed, "M", "managed"},
		flagFact{ra.OtherConfig, "O", "other configuration"},
		flagFact{ra.HomeAgent, "H", "home agent"},
	)
	r.integer("cur hop limit", int(ra.CurHopLimit))
	r.line("preference", "%v", ra.Preference)
	r.object.text("preference", ra.Preference.String())
	r.line("router lifetime", "%v", ra.RouterLifetime)
	r.object.seconds("router_lifetime_seconds", ra.RouterLifetime)
	r.line("reachable time", "%v", ra.ReachableTime)
	r.object.milliseconds("reachable_time_milliseconds", ra.ReachableTime)
	r.line("retrans timer", "%v", ra.RetransTimer)
	r.object.milliseconds("retrans_timer_milliseconds", ra.RetransTimer)
	if ra.SourceLinkAddr != nil {
		r.line("source link-layer address", "%v", ra.SourceLinkAddr)
		r.object.text("source_link_layer_address", ra.SourceLinkAddr.String())
	}
	if ra.MTU != 0 {
		r.line("MTU", "%d", ra.MTU)
		r.object.number("mtu", int64(ra.MTU))
	}
	if ra.Interval != 0 {
		r.line("advertisement interval", "%v", ra.Interval)
		r.object.milliseconds("advertisement_interval_milliseconds", ra.Interval)
	}
	if h := ra.HomeAgentInfo; h != nil {
		text := fmt.Sprintf("preference %d, lifetime %v", h.Preference, h.Lifetime)
		if h.MobileRouter {
			text += ", mobile router"
		}
		r.line("home agent information", "%s", text)
		var o jsonObject
		o.number("preference", int64(h.Preference))
		o.seconds("lifetime_seconds", h.Lifetime)
		o.boolean("mobile_router", h.MobileRouter)
		r.object.nested("home_agent_information", o)
	}
	r.prefixes(ra.Prefixes)
	others := make([]jsonObject, len(ra.Others))
	for i, o := range ra.Others {
		name, text := explainOption(o)
		if name == "" {
			name, text = "option", fmt.Sprintf("type %d, %x", o.Type, o.Data)
		} else {
			others[i].text("name", name)
			others[i].text("text", text)
		}
		r.line(name, "%s", text)
		others[i].number("type", int64(o.Type))
		others[i].hex("data", o.Data)
	}
	r.object.objects("other_options", others)
	if ra.Malformed > 0 {
		r.integer("malformed options", ra.Malformed)
	}
}
