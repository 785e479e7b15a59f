package ha

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
)

// Another home agent of the link tells that it has a router's home address: it
// forwards what is configured, but what this one delegates it would send back. Such
// prefixes are routed to nobody until the router is there itself, or talks to this
// home agent again.
//
// Covers: D2, R7.
func TestDelegatedPrefixOfRouterElsewhere(t *testing.T) {
	const delegated = "2001:db8:d:100::/56"
	fixed, given := viaHome(networkB, homeB), viaHome(netip.MustParsePrefix(delegated), homeB)
	told := func(from netip.Addr) role.NeighborHeard {
		return role.NeighborHeard{Link: homeIndex, From: from, Target: homeB}
	}
	mobile := netip.MustParseAddr("fe80::b")
	for name, back := range map[string]func(w *world){
		"it announces itself": func(w *world) { w.handle(told(mobile)) },
		"it asks for prefixes": func(w *world) {
			w.delegate(homeB, 2*time.Hour, delegated)
		},
		"it says that it is at home": func(w *world) {
			r := at(homeB, homeB, 1)
			r.atHome, r.lifetime = true, 0
			w.send(r)
		},
		"it registers, and comes home": func(w *world) {
			w.registered(at(homeB, careOf1, 1))
			w.wantRoutes("registered")
			r := at(homeB, homeB, 2)
			r.atHome, r.lifetime = true, 0
			w.send(r)
		},
	} {
		w := newWorld(t, delegatingConfig())
		w.delegate(homeB, time.Hour, delegated)
		w.handle(told(routerX))
		w.wantRoutes("somebody", fixed, given)
		w.handle(role.RouterHeard{Link: homeIndex, Router: routerX, RA: homeAgentRA(agentX)})
		w.wantRoutes("it was another home agent", fixed)
		w.handle(told(mobile))
		w.handle(role.NeighborHeard{Link: homeIndex, From: netip.IPv6Unspecified(), Target: homeB, Solicitation: true})
		w.wantRoutes("the router itself, and a probe", fixed, given)
		w.handle(told(routerX))
		w.wantRoutes("another home agent", fixed)
		w.handle(told(routerX))
		back(w)
		w.wantRoutes(name, fixed, given)
	}
}
