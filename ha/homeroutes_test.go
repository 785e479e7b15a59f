package ha

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// viaHome is a route to a network of a mobile router at home.
func viaHome(network netip.Prefix, home netip.Addr) role.Route {
	return role.Route{Destination: network, Via: home, Link: homeIndex}
}

func (w *world) wantRoutes(when string, want ...role.Route) {
	w.t.Helper()
	for _, r := range want {
		if !w.routes[r] {
			w.t.Errorf("%s: no route %+v", when, r)
		}
	}
	if len(want) != len(w.routes) {
		w.t.Errorf("%s: routes %v, want %v", when, w.routes, want)
	}
}

// steps renders tunnels and routes in their order.
func steps(actions []role.Action) (list []string) {
	for _, a := range actions {
		switch a := a.(type) {
		case role.AddRoute:
			list = append(list, fmt.Sprintf("route %v via %v", a.Route.Destination, a.Route.Via))
		case role.RemoveRoute:
			list = append(list, fmt.Sprintf("unroute %v", a.Route.Destination))
		case role.Forward:
			list = append(list, kinds([]role.Action{a})...)
		}
	}
	return list
}

// A network is in the tunnel of its mobile router, or on the home link, and never
// nowhere: the one comes before the other goes (RFC 3963 §5.8, §6.7).
//
// Covers: R7, N4, N5.
func TestRoutesOfRoutersAtHome(t *testing.T) {
	w := newWorld(t, testConfig())
	a, b := viaHome(networkA, homeA), viaHome(networkB, homeB)
	w.wantRoutes("at start", a, b)
	actions := append(w.send(at(homeA, careOf1, 1)), w.run(time.Second)...)
	if got, want := steps(actions), []string{"set [2001:db8:1::a/128 2001:db8:a::/48] via 2001:db8:f1::1", "unroute 2001:db8:a::/48"}; !slices.Equal(got, want) {
		t.Errorf("leaves home: %q", got)
	}
	w.wantRoutes("a is away", b)
	if got := steps(w.send(at(homeA, careOf2, 2))); len(got) != 1 {
		t.Errorf("moves: %q", got)
	}
	back := at(homeA, homeA, 3)
	back.atHome, back.lifetime = true, 0
	if got, want := steps(w.send(back)), []string{"route 2001:db8:a::/48 via 2001:db8:1::a", "remove 2001:db8:1::a"}; !slices.Equal(got, want) {
		t.Errorf("returns: %q", got)
	}
	w.wantRoutes("both at home", a, b)
	w.registered(at(homeA, careOf1, 4))
	w.run(time.Hour) // the binding expires
	w.wantRoutes("nobody knows where a is", a, b)
}

// Explicit mode with a part of what it may have, and at home all of it.
func TestRoutesOfExplicitRouters(t *testing.T) {
	w := newWorld(t, testConfig())
	r := at(homeA, careOf1, 1)
	r.options = prefixOptions("2001:db8:a:1::/64")
	w.registered(r)
	w.wantRoutes("away", viaHome(networkB, homeB))
	// What is not registered does not go round between here and the default router.
	if !w.unreachable[networkA] || len(w.unreachable) != 1 {
		t.Errorf("unreachable: %v", w.unreachable)
	}
	all := at(homeA, careOf1, 2)
	all.options = prefixOptions(networkA.String())
	w.send(all)
	if len(w.unreachable) != 0 {
		t.Errorf("all is registered, and unreachable: %v", w.unreachable)
	}
	r.sequence = 3
	w.send(r)
	if !w.unreachable[networkA] {
		t.Error("what was withdrawn is not unreachable")
	}
	back := at(homeA, careOf1, 4)
	back.lifetime = 0
	w.send(back)
	w.wantRoutes("back", viaHome(networkA, homeA), viaHome(networkB, homeB))
	if len(w.unreachable) != 0 {
		t.Errorf("at home, and unreachable: %v", w.unreachable)
	}
}

// The routes follow the configuration and the home link, and a host at the home
// address of a router changes nothing for others.
//
// Covers: R7.
func TestRoutesFollowTheConfiguration(t *testing.T) {
	a, b := viaHome(networkA, homeA), viaHome(networkB, homeB)
	moved := func(r role.Route) role.Route { r.Link = 9; return r }
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   []role.Route
	}{
		{"nothing", func(*Config) {}, []role.Route{a, b}},
		{"removed", func(c *Config) { c.Mobiles = c.Mobiles[1:] }, []role.Route{b}},
		{"disabled", func(c *Config) { c.Mobiles[0].Disabled = true }, []role.Route{b}},
		{"no router", func(c *Config) { c.Mobiles[0].Router, c.Mobiles[0].Prefixes = false, nil }, []role.Route{b}},
		{"taken by another", func(c *Config) {
			c.Mobiles[0].Prefixes, c.Mobiles[1].Prefixes = nil, []netip.Prefix{networkA, networkB}
		}, []role.Route{viaHome(networkA, homeB), b}},
		{"virtual home network", func(c *Config) { c.HomeLink = "" }, nil},
		{"another home link", func(c *Config) { c.HomeLink = "eth9" }, []role.Route{moved(a), moved(b)}},
		{"all removed", func(c *Config) { c.Mobiles = nil }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			w.handle(role.LinkChanged{Link: role.Link{Index: 9, Name: "eth9", Up: true}})
			c := testConfig()
			tt.change(&c)
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			if c.HomeLink == "eth9" {
				w.link.Index = 9
			}
			for _, action := range w.agent.Reconfigure(w.now, c) {
				switch action := action.(type) {
				case role.AddRoute:
					for r := range w.routes {
						if r.Destination == action.Route.Destination {
							t.Errorf("%v is routed twice", r.Destination)
						}
					}
					w.routes[action.Route] = true
				case role.RemoveRoute:
					delete(w.routes, action.Route)
				}
			}
			w.wantRoutes("reconfigured", tt.want...)
			if got := steps(w.agent.Reconfigure(w.now, c)); len(got) != 0 {
				t.Errorf("the same again: %q", got)
			}
		})
	}
	w := newWorld(t, testConfig())
	w.handle(role.LinkGone{Index: homeIndex})
	w.wantRoutes("the home link is gone")
	w.handle(role.LinkChanged{Link: w.link})
	w.wantRoutes("it is back", a, b)
}

// Several home addresses of one router: away with any of them is away.
func TestRoutesWithSeveralHomeAddresses(t *testing.T) {
	w := newWorld(t, renumbering())
	second := at(under(newPrefix, homeA), careOf1, 1)
	second.sa = association(homeA)
	w.registered(second)
	w.wantRoutes("away", viaHome(networkB, homeB))
	w.registered(at(homeA, careOf1, 1))
	end := func(r request) {
		r.lifetime, r.sequence = 0, 2
		if ba := onlyAck(t, w.send(r)); ba.Status != mip6.StatusAccepted {
			t.Errorf("status %v", ba.Status)
		}
	}
	end(second)
	w.wantRoutes("away with the other one", viaHome(networkB, homeB))
	end(at(homeA, careOf1, 1))
	w.wantRoutes("at home", viaHome(networkA, homeA), viaHome(networkB, homeB))
}

// The answer to a mobile that comes home is not kept back by an address resolution
// that was in vain before it came: that ends before anything is sent to it. And where
// one was that has left is forgotten, so that it is not looked for there when its
// binding ends.
func TestNeighborIsResolvedAnew(t *testing.T) {
	w := newWorld(t, testConfig())
	forgets := func(actions []role.Action) int {
		return slices.Index(actions, role.Action(role.ForgetNeighbor{Link: homeIndex, Addr: homeA}))
	}
	w.send(at(homeA, careOf1, 1))
	if actions := w.run(time.Second); forgets(actions) < 0 {
		t.Errorf("registered: %q", kinds(actions))
	}
	if actions := w.send(at(homeA, careOf2, 2)); forgets(actions) >= 0 {
		t.Errorf("moved: %q", kinds(actions))
	}
	if actions := w.send(request{home: homeA, atHome: true, sequence: 3, flags: flagsMR}); forgets(actions) != 0 {
		t.Errorf("at home, with a binding: %q", kinds(actions))
	}
	w.run(time.Minute)
	if actions := w.send(request{home: homeA, atHome: true, sequence: 4, flags: flagsMR}); forgets(actions) != 0 {
		t.Errorf("at home, without: %q", kinds(actions))
	}
}
