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
// would go round between this node and its default router.

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
	for _, h := range m.homes {
		if e := a.bindings.Get(h.addr); e != nil && e != leaving && e.State == binding.Active {
			return nil
		}
	}
	var list []role.Route
	for _, p := range a.networksOf(m) {
		list = append(list, role.Route{Destination: p, Via: m.HomeAddress, Link: a.link.Index})
	}
	return list
}

// configured reports whether a mobile is in the configuration, and not a memory of
// an earlier one.
func (a *Agent) configured(m *mobile) bool {
	h := a.homes[m.HomeAddress]
	return h != nil && h.mobile == m
}

// settleAllRoutes does settleRoutes for every mobile, after the configuration or
// the home link has changed. What goes goes first: a network may have become
// another mobile's.
func (a *Agent) settleAllRoutes() {
	mobiles := make(map[netip.Addr]*mobile)
	for _, h := range a.homes {
		mobiles[h.HomeAddress] = h.mobile
	}
	for _, home := range slices.SortedFunc(maps.Keys(a.routed), netip.Addr.Compare) {
		var want []role.Route
		if m := mobiles[home]; m != nil {
			want = a.homeRoutes(m, nil)
		}
		kept := slices.DeleteFunc(slices.Clone(a.routed[home]), func(r role.Route) bool { return !slices.Contains(want, r) })
		a.unroute(slices.DeleteFunc(slices.Clone(a.routed[home]), func(r role.Route) bool { return slices.Contains(want, r) }))
		if a.routed[home] = kept; len(kept) == 0 {
			delete(a.routed, home)
		}
	}
	for _, home := range slices.SortedFunc(maps.Keys(mobiles), netip.Addr.Compare) {
		a.settleRoutes(mobiles[home], nil)
	}
}

func (a *Agent) unroute(routes []role.Route) {
	for _, r := range routes {
		a.do(role.RemoveRoute{Route: r})
	}
}
