package ha

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

// What this agent has not defended for a while, since its process or the home link was
// away, may be another home agent's by now, or the mobile's itself: the link is asked
// before such an address is announced, and a binding ends by an answer. Nobody else's does.
//
// Covers: H12.
func TestInquiry(t *testing.T) {
	answer := role.NeighborHeard{Link: homeIndex, From: routerX, Target: homeA}
	restarted := func(w *world) { w.restart(testConfig()) }
	unplugged := func(w *world) {
		w.link.Up = false
		w.handle(role.LinkChanged{Link: w.link})
		w.run(5 * time.Second)
		w.link.Up = true
		w.handle(role.LinkChanged{Link: w.link})
	}
	for name, c := range map[string]struct {
		away func(w *world)
		then func(w *world)
		ends bool
	}{
		"another home agent has it after a restart":   {restarted, func(w *world) { w.handle(answer) }, true},
		"another home agent has it, the link is back": {unplugged, func(w *world) { w.handle(answer) }, true},
		"the mobile itself has it": {restarted, func(w *world) {
			w.handle(role.NeighborHeard{Link: homeIndex, From: linkLocalA, Target: homeA})
		}, true},
		"nobody answers": {restarted, func(*world) {}, false},
		"somebody asks, too": {restarted, func(w *world) {
			w.handle(role.NeighborHeard{Link: homeIndex, From: netip.IPv6Unspecified(), Target: homeA, Solicitation: true})
		}, false},
		"an answer that is too late": {restarted, func(w *world) {
			w.run(2 * time.Second)
			w.handle(answer)
		}, false},
		"its mobile has registered anew": {restarted, func(w *world) {
			w.send(at(homeA, careOf2, 2))
			w.handle(answer)
		}, false},
		"on another link": {restarted, func(w *world) {
			w.handle(role.NeighborHeard{Link: 7, From: routerX, Target: homeA})
		}, false},
		"about the address of another": {restarted, func(w *world) {
			w.handle(role.NeighborHeard{Link: homeIndex, From: routerX, Target: homeB})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			w.registered(at(homeA, careOf1, 1))
			w.registered(request{home: homeN, source: careOf2, sequence: 1, lifetime: 5 * time.Minute, flags: flagsNode})
			w.run(20 * time.Second)
			w.probes, w.changes = 0, nil
			c.away(w)
			first := w.run(10 * time.Millisecond)
			if asked := kinds(first); !slices.Equal(asked, []string{"probe 2001:db8:1::a", "probe 2001:db8:1::c"}) {
				t.Errorf("at first: %q", asked)
			}
			c.then(w)
			actions := w.run(10 * time.Second)
			announced := slices.Contains(kinds(actions), "announce 2001:db8:1::a router=true")
			if w.agent.Serves(homeA) == c.ends || announced && c.ends || w.defended[homeA] == c.ends {
				t.Errorf("serves it: %t; announced: %t; defended: %t", w.agent.Serves(homeA), announced, w.defended[homeA])
			}
			if _, forwards := w.tunnels[homeA]; forwards == c.ends {
				t.Errorf("forwards it: %t", forwards)
			}
			if !w.agent.Serves(homeN) || w.agent.Stats().Bindings != len(w.tunnels) {
				t.Errorf("the other one's binding: %t; %+v", w.agent.Serves(homeN), w.agent.Stats())
			}
			elsewhere := func(b role.BindingChanged) bool {
				return b.Cause == role.CauseElsewhere && b.Home == homeA && b.From == careOf1 && !b.To.IsValid()
			}
			if slices.ContainsFunc(w.changes, elsewhere) != c.ends {
				t.Errorf("changes told: %+v", w.changes)
			}
			// And it stays so with the next process.
			w.restart(testConfig())
			if w.agent.Serves(homeA) == c.ends {
				t.Errorf("after another restart it is served: %t", w.agent.Serves(homeA))
			}
		})
	}
}

// The one that came later keeps the mobile where two home agents of a link have a binding
// of it: the one that was away gives way, and not the other one.
//
// Covers: H12.
func TestInquiryBetweenTwoAgents(t *testing.T) {
	one, two := newWorld(t, testConfig()), newWorld(t, testConfig())
	one.registered(at(homeA, careOf1, 1))
	one.run(20 * time.Second)
	two.now = one.now
	two.registered(at(homeA, careOf2, 2)) // while one was away
	two.run(20 * time.Second)
	one.now = two.now
	one.restart(testConfig())
	for _, action := range one.run(10 * time.Millisecond) {
		if p, ok := action.(role.ProbeAddress); ok {
			two.handle(role.NeighborHeard{Link: homeIndex, From: netip.IPv6Unspecified(), Target: p.Addr, Solicitation: true})
			if two.defended[p.Addr] {
				one.handle(role.NeighborHeard{Link: homeIndex, From: routerX, Target: p.Addr})
			}
		}
	}
	if one.agent.Serves(homeA) || !two.agent.Serves(homeA) || two.tunnels[homeA].Paths[0].Remote != careOf2 {
		t.Errorf("the one that was away serves it: %t; the other one: %t", one.agent.Serves(homeA), two.agent.Serves(homeA))
	}
	// What protects against old updates is as before, and the mobile may come back.
	if got := drops(one.send(at(homeA, careOf1, 1))); !slices.Contains(got, role.DropReplay) {
		t.Errorf("the update of before: %v", got)
	}
	if s := onlyAck(t, append(one.send(at(homeA, careOf1, 3)), one.run(2*time.Second)...)).Status; s != mip6.StatusAccepted {
		t.Errorf("a new one: %v", s)
	}
	if b := one.memories[binding.Key{Home: homeA}]; b.State != binding.Active {
		t.Errorf("remembered: %+v", b)
	}
}
