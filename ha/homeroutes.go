package ha

import (
	"maps"
	"net/netip"
	"slices"

	"roam6/internal/binding"
	"roam6/internal/role"
)

// A mobile router without a binding is taken to be at home: its networks are
// routed to its home address on the home link, as for any other router there
// (RFC 3963 §5.8: ordinary routing resumes). So each network is at any time either
// in one tunnel or on the home link, also after a restart of this agent, when it
// cannot know; and where another home agent of the link serves the router, the
// packets go to that one, which defends the home address. For a router that is
// nowhere, senders are told "address unreachable", where without the route packets
// would go round between this node and its default router. Against that there is a
// route that leads nowhere for what a router which is away has not registered.

// unreachableMetric is that of routes that lead nowhere: while there are two, the one
// on the home link has precedence.
const unreachableMetric = 2048

// settleRoutes makes the routes of a mobile's networks what they must be. leaving
// is an entry that is about to end; nil: none. A new route comes before the old
// ones go. In a registration this comes after the tunnel is there, in its end
// before it goes: the tunnel's routes have precedence while there are both.
func (a *Agent) settleRoutes(m *mobile, leaving *binding.Entry) {
	want := a.homeRoutes(m, leaving)
	had := a.routed[m.HomeAddress]
	if slices.Equal(had, want) {
		return
	}
	for _, r := range want {
		if !slices.Contains(had, r) {
			a.do(role.AddRoute{Route: r})
		}
	}
	a.unroute(slices.DeleteFunc(slices.Clone(had), func(r role.Route) bool { return slices.Contains(want, r) }))
	if len(want) == 0 {
		delete(a.routed, m.HomeAddress)
	} else {
		a.routed[m.HomeAddress] = want
	}
}

// homeRoutes are the routes that a mobile's networks have on the home link.
func (a *Agent) homeRoutes(m *mobile, leaving *binding.Entry) []role.Route {
	if a.link.Index == 0 || !m.Router || m.Disabled || !a.configured(m) || a.prefixOf(m.HomeAddress) == nil {
		return nil
	}
	away := false
	var tunnelled []netip.Prefix
	for _, h := range m.homes {
		if e := a.bindings.Get(h.addr); e != nil && e != leaving && e.State == binding.Active {
			away, tunnelled = true, append(tunnelled, e.Prefixes...)
		}
	}
	networks := a.networksOf(m)
	if a.elsewhere(m) {
		networks = m.Prefixes
	}
	var list []role.Route
	for _, p := range networks {
		switch {
		case slices.Contains(tunnelled, p):
		case away:
			list = append(list, role.Route{Destination: p, Unreachable: true, Metric: unreachableMetric})
		default:
			list = append(list, role.Route{Destination: p, Via: m.HomeAddress, Link: a.link.Index})
		}
	}
	return list
}

// elsewhere reports whether another home agent of the link serves a mobile: as far as
// it has told. It forwards what is configured; but not what this one delegates, and
// would send that on by its default route, from where it comes back here.
func (a *Agent) elsewhere(m *mobile) bool {
	return slices.ContainsFunc(m.homes, func(h *home) bool {
		return slices.ContainsFunc(a.agents, func(o homeAgent) bool { return o.router == h.teller })
	})
}

// announced takes in who has told the home link that it has a home address. It may be
// heard before the advertisement that tells it from the mobile (see agentAppeared).
func (a *Agent) announced(h *home, n role.NeighborHeard) {
	if !n.Solicitation {
		a.served(h, n.From)
	}
}

// served notes by whom a mobile is served at a home address; invalid: not by another
// home agent.
func (a *Agent) served(h *home, by netip.Addr) {
	if h.teller == by {
		return
	}
	h.teller = by
	if len(a.networksOf(h.mobile)) > len(h.Prefixes) {
		a.settleRoutes(h.mobile, nil)
	}
}

// agentAppeared follows another home agent on the link, which has announced some home
// addresses before, perhaps.
func (a *Agent) agentAppeared(router netip.Addr) {
	for _, addr := range slices.SortedFunc(maps.Keys(a.delegations), netip.Addr.Compare) {
		if h := a.homes[addr]; h != nil && slices.ContainsFunc(h.homes, func(o *home) bool { return o.teller == router }) {
			a.settleRoutes(h.mobile, nil)
		}
	}
}

// configured reports whether a mobile is in the configuration, and not a memory of
// an earlier one.
func (a *Agent) configured(m *mobile) bool {
	h := a.homes[m.HomeAddress]
	return h != nil && h.mobile == m
}

// settleAllRoutes does settleRoutes for every mobile, after the home link has changed.
func (a *Agent) settleAllRoutes() {
	a.settleRoutesAt(slices.SortedFunc(maps.Keys(a.homes), netip.Addr.Compare))
}

// settleRoutesAt does settleRoutes for the mobiles that have, or had, these home
// addresses. What goes goes first: a network may have become another mobile's.
func (a *Agent) settleRoutesAt(homes []netip.Addr) {
	for _, home := range homes {
		had := a.routed[home]
		if len(had) == 0 {
			continue
		}
		var want []role.Route
		if h := a.homes[home]; h != nil && h.HomeAddress == home {
			want = a.homeRoutes(h.mobile, nil)
		}
		kept := slices.DeleteFunc(slices.Clone(had), func(r role.Route) bool { return !slices.Contains(want, r) })
		a.unroute(slices.DeleteFunc(slices.Clone(had), func(r role.Route) bool { return slices.Contains(want, r) }))
		if a.routed[home] = kept; len(kept) == 0 {
			delete(a.routed, home)
		}
	}
	for _, home := range homes {
		if h := a.homes[home]; h != nil && h.HomeAddress == home {
			a.settleRoutes(h.mobile, nil)
		}
	}
}

func (a *Agent) unroute(routes []role.Route) {
	for _, r := range routes {
		a.do(role.RemoveRoute{Route: r})
	}
}
