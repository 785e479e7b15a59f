package mn

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/nd"
)

// Default routes. Every care-of address has one of its own, by which packets
// from its prefix go to a router that advertises the prefix, on its link
// (RFC 8028 §3.2): so updates leave by either of two links, and tunnels too.
// Beside them there is one without a source, of the attachment in use: for what
// this host sends with no address of ours. There is never a second, which the
// kernel would take for a path of equal cost. On a foreign uplink the default
// route without a source is somebody else's, and ours is there only to make the
// home address the source of what this host sends; the one of the care-of address
// is installed there too, since updates would not leave by that link otherwise.

// routeMetric is the metric of the routes a mobile node installs: better than
// the 1024 of the kernel's own, so that the node's choice of router holds.
const routeMetric = 512

var anywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)

// onLinkRoute is the route to a prefix that is on-link.
func onLinkRoute(p netip.Prefix, link int) role.Route {
	return role.Route{Destination: p, Link: link, Metric: routeMetric}
}

// settleOnLink takes back the routes to prefixes of care-of addresses that no
// router of the link says to be there: they were on the link of before, which
// came by the same interface. Their nodes are reached like any other now.
func (n *Node) settleOnLink(link int) {
	for _, c := range n.careOfs {
		if c.link != link || !c.onLink || n.isOnLink(link, c.prefix) {
			continue
		}
		c.onLink = false
		n.setRoutes(c, slices.DeleteFunc(slices.Clone(c.routes), func(r role.Route) bool {
			return r == onLinkRoute(c.prefix, c.link)
		}))
	}
}

// isOnLink reports whether a router of the link says that a prefix is there.
func (n *Node) isOnLink(link int, prefix netip.Prefix) bool {
	return slices.ContainsFunc(n.routers.On(link), func(r *nd.Router) bool {
		return slices.ContainsFunc(r.Prefixes, func(p nd.Prefix) bool {
			return p.Info.OnLink && p.Info.Prefix.Masked() == prefix
		})
	})
}

// sourceRoute is the default route of a care-of address.
func sourceRoute(c *careOf) role.Route {
	return role.Route{Destination: anywhere, From: c.prefix, Link: c.link, Via: c.router, Metric: routeMetric}
}

// settleDefault makes the default route that of the attachment in use. Away,
// a router has none without a tunnel: its network's packets would leave beside
// it. With Config.DefaultSource what has no source gets the home address, and
// the way into the tunnel with it: a connected socket keeps the route by which
// it found its source.
func (n *Node) settleDefault() {
	n.setDefault(n.defaultRoute())
	if n.placed && n.placedOn == 0 && n.deprecated == n.isDefaultSource() {
		n.assignHome(0)
	}
}

// isDefaultSource reports whether away from home what chooses no source is to have
// the home address.
func (n *Node) isDefaultSource() bool { return n.config.DefaultSource && !n.fallenBack }

// defaultRoute is what settleDefault makes the default route; the zero value is none.
func (n *Node) defaultRoute() role.Route {
	a := n.current
	if a == nil || !a.home && n.extension != nil && n.tunnel == nil {
		return role.Route{}
	}
	via := a.router
	if a.home {
		if via = n.homeRouter(a); !via.IsValid() {
			return role.Route{}
		}
	}
	r := role.Route{Destination: anywhere, Link: a.link, Via: via, Metric: routeMetric}
	switch {
	case a.home && a.homeState != homeDuplicate && n.config.DefaultSource:
		r.Source = n.config.HomeAddress // not the care-of address that was left a moment ago
	case !a.home && n.isDefaultSource():
		return role.Route{Destination: anywhere, Source: n.config.HomeAddress, Metric: routeMetric - 1}
	}
	if n.isForeign(r.Link) && !r.Source.IsValid() {
		return role.Route{} // whoever manages the interface has one
	}
	return r
}

// fallbackTime is how long a host away from home waits for a home agent before
// what it begins gets its care-of address: a conversation from there does not
// survive the next move.
const fallbackTime = 30 * time.Second

// watchService follows whether a home agent serves the node.
func (n *Node) watchService(now time.Time) {
	a := n.current
	was := n.fallenBack
	switch {
	case a == nil || a.home || n.carrier().registered:
		n.fallback, n.fallenBack = time.Time{}, false
	case n.fallback.IsZero():
		n.fallback = now.Add(fallbackTime)
	case !now.Before(n.fallback):
		n.fallenBack = true
	}
	if n.halted && a != nil && !a.home {
		n.fallenBack = true
	}
	if was != n.fallenBack {
		n.settleDefault()
	}
}

// fallbackDue is when watchService has something to do.
func (n *Node) fallbackDue() time.Time {
	if n.fallenBack {
		return time.Time{}
	}
	return n.fallback
}

// settleHomeDefault follows a change of the routers of a link that is the home
// link: there another one than that of the attachment may be the default router.
func (n *Node) settleHomeDefault(link int) {
	if n.atHome() && n.current.link == link {
		n.settleDefault()
	}
}

// homeRouter is the default router at home. The one that told of the home
// prefix may be a home agent that is no default router.
func (n *Node) homeRouter(a *attachment) netip.Addr {
	var via netip.Addr
	for _, r := range n.routers.On(a.link) {
		if r.RA.RouterLifetime > 0 && (!via.IsValid() || r.Addr == a.router) {
			via = r.Addr
		}
	}
	if len(n.routers.On(a.link)) == 0 && n.plain.Link == a.link {
		return n.plain.Via // the link may be down for the moment
	}
	return via
}

// setDefault installs the default route in place of the one there is; the zero
// value is none. The new one is added first, so that no packet finds neither.
func (n *Node) setDefault(r role.Route) {
	old := n.plain
	if r == old {
		return
	}
	n.plain = r
	if r.Destination.IsValid() {
		n.act(role.AddRoute{Route: r})
	}
	if old.Destination.IsValid() && (!r.Destination.IsValid() || old.Link != r.Link || old.Via != r.Via) {
		n.act(role.RemoveRoute{Route: old})
	}
}
