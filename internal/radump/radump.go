// Package radump words router advertisements: for people, as JSON, and as the
// configuration that would send the same. It does no I/O.
package radump

import (
	"fmt"
	"strings"

	"roam6/internal/radump/report"
	"roam6/nd"
)

// Describe adds all that an advertisement says to a report.
func Describe(r *report.Report, ra nd.RouterAdvertisement) {
	header(r, ra)
	link(r, ra)
	r.Prefixes(ra.Prefixes)
	anchors(r, ra)
	routes(r, ra)
	resolvers(r, ra)
	nat64Prefixes(r, ra)
	lowpan(r, ra)
	others := make([]report.Object, len(ra.Others))
	for i, o := range ra.Others {
		r.Line("option", "type %d, %x", o.Type, o.Data)
		others[i].Number("type", int64(o.Type))
		others[i].Hex("data", o.Data)
	}
	r.Object.Objects("other_options", others)
	if ra.Malformed > 0 {
		r.Integer("malformed options", ra.Malformed)
	}
}

func header(r *report.Report, ra nd.RouterAdvertisement) {
	r.Flags(
		report.Flag{Set: ra.Managed, Letter: "M", Name: "managed"},
		report.Flag{Set: ra.OtherConfig, Letter: "O", Name: "other configuration"},
		report.Flag{Set: ra.HomeAgent, Letter: "H", Name: "home agent"},
	)
	r.Integer("cur hop limit", int(ra.CurHopLimit))
	r.Line("preference", "%v", ra.Preference)
	r.Object.Text("preference", ra.Preference.String())
	r.Line("router lifetime", "%v", ra.RouterLifetime)
	r.Object.Seconds("router_lifetime_seconds", ra.RouterLifetime)
	r.Line("reachable time", "%v", ra.ReachableTime)
	r.Object.Milliseconds("reachable_time_milliseconds", ra.ReachableTime)
	r.Line("retrans timer", "%v", ra.RetransTimer)
	r.Object.Milliseconds("retrans_timer_milliseconds", ra.RetransTimer)
}

func link(r *report.Report, ra nd.RouterAdvertisement) {
	if ra.SourceLinkAddr != nil {
		r.Line("source link-layer address", "%v", ra.SourceLinkAddr)
		r.Object.Text("source_link_layer_address", ra.SourceLinkAddr.String())
	}
	if ra.MTU != 0 {
		r.Line("MTU", "%d", ra.MTU)
		r.Object.Number("mtu", int64(ra.MTU))
	}
	if ra.Interval != 0 {
		r.Line("advertisement interval", "%v", ra.Interval)
		r.Object.Milliseconds("advertisement_interval_milliseconds", ra.Interval)
	}
	if h := ra.HomeAgentInfo; h != nil {
		text := fmt.Sprintf("preference %d, lifetime %v", h.Preference, h.Lifetime)
		if h.MobileRouter {
			text += ", mobile router"
		}
		r.Line("home agent information", "%s", text)
		var o report.Object
		o.Number("preference", int64(h.Preference))
		o.Seconds("lifetime_seconds", h.Lifetime)
		o.Boolean("mobile_router", h.MobileRouter)
		r.Object.Nested("home_agent_information", o)
	}
	if ra.CaptivePortal != "" {
		r.Line("captive portal", "%s", ra.CaptivePortal)
		r.Object.Text("captive_portal", ra.CaptivePortal)
	}
}

func anchors(r *report.Report, ra nd.RouterAdvertisement) {
	objects := make([]report.Object, len(ra.Anchors))
	for i, a := range ra.Anchors {
		text := fmt.Sprintf("%v, distance %d, preference %d, valid %s", a.Address, a.Distance, a.Preference, report.Lifetime(a.ValidLifetime))
		if a.Allocated {
			text += ", allocates care-of addresses"
		}
		r.Line("mobility anchor point", "%s", text)
		o := &objects[i]
		o.Addr("address", a.Address)
		o.Number("distance", int64(a.Distance))
		o.Number("preference", int64(a.Preference))
		o.Boolean("allocated", a.Allocated)
		o.Seconds("valid_lifetime_seconds", a.ValidLifetime)
	}
	r.Object.Objects("mobility_anchor_points", objects)
}

func routes(r *report.Report, ra nd.RouterAdvertisement) {
	objects := make([]report.Object, len(ra.Routes))
	for i, route := range ra.Routes {
		r.Line("route", "%v, %v preference, lifetime %s", route.Prefix, route.Preference, report.Lifetime(route.Lifetime))
		o := &objects[i]
		o.Text("prefix", route.Prefix.String())
		o.Text("preference", route.Preference.String())
		o.Seconds("lifetime_seconds", route.Lifetime)
	}
	r.Object.Objects("routes", objects)
}

// resolvers adds what is about DNS.
func resolvers(r *report.Report, ra nd.RouterAdvertisement) {
	servers := make([]report.Object, len(ra.DNSServers))
	for i, d := range ra.DNSServers {
		addrs := make([]string, len(d.Servers))
		for j, a := range d.Servers {
			addrs[j] = a.String()
		}
		r.Line("DNS servers", "%s, lifetime %s", strings.Join(addrs, " "), report.Lifetime(d.Lifetime))
		servers[i].Texts("servers", addrs)
		servers[i].Seconds("lifetime_seconds", d.Lifetime)
	}
	r.Object.Objects("dns_servers", servers)
	search := make([]report.Object, len(ra.DNSSearch))
	for i, d := range ra.DNSSearch {
		r.Line("DNS search list", "%s, lifetime %s", strings.Join(d.Domains, " "), report.Lifetime(d.Lifetime))
		search[i].Texts("domains", d.Domains)
		search[i].Seconds("lifetime_seconds", d.Lifetime)
	}
	r.Object.Objects("dns_search", search)
}

func nat64Prefixes(r *report.Report, ra nd.RouterAdvertisement) {
	objects := make([]report.Object, len(ra.NAT64))
	for i, n := range ra.NAT64 {
		r.Line("NAT64 prefix", "%v, lifetime %v", n.Prefix, n.Lifetime)
		objects[i].Text("prefix", n.Prefix.String())
		objects[i].Seconds("lifetime_seconds", n.Lifetime)
	}
	r.Object.Objects("nat64_prefixes", objects)
}

func lowpan(r *report.Report, ra nd.RouterAdvertisement) {
	routers := make([]report.Object, len(ra.BorderRouters))
	for i, b := range ra.BorderRouters {
		r.Line("border router", "%v, version %d, valid %v", b.Router, b.Version, b.ValidLifetime)
		o := &routers[i]
		o.Addr("address", b.Router)
		o.Number("version", int64(b.Version))
		o.Seconds("valid_lifetime_seconds", b.ValidLifetime)
	}
	r.Object.Objects("border_routers", routers)
	contexts := make([]report.Object, len(ra.Contexts))
	for i, c := range ra.Contexts {
		text := fmt.Sprintf("%d is %v, valid %v", c.ID, c.Prefix, c.ValidLifetime)
		if c.Compression {
			text += ", for compression"
		}
		r.Line("6LoWPAN context", "%s", text)
		o := &contexts[i]
		o.Number("id", int64(c.ID))
		o.Text("prefix", c.Prefix.String())
		o.Boolean("compression", c.Compression)
		o.Seconds("valid_lifetime_seconds", c.ValidLifetime)
	}
	r.Object.Objects("contexts", contexts)
}
