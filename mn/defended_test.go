package mn

import (
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// turned brings the node to the second home agent, while the first may have a
// binding for it: it was asked for one from another place, or its answer was lost.
func turned(t *testing.T, acknowledged bool) *bench {
	b := newBench(t, twoAgents)
	if acknowledged {
		b.away()
		b.carrier(false)
	}
	b.carrier(true)
	b.hear(ar2)
	b.answering(12 * time.Second)
	if b.node.Agent() != agentB {
		t.Fatalf("registers with %v", b.node.Agent())
	}
	return b
}

// A home agent finds the home address in use because another one still defends
// it: for the care-of address of another place, or without this node's knowledge.
// That ends in the registration of one of them, never in silence.
//
// Covers: M10, B3.
func TestDefendedByAnotherHomeAgent(t *testing.T) {
	for name, acknowledged := range map[string]bool{"at another place": true, "its answers were lost": false} {
		t.Run(name, func(t *testing.T) {
			b := turned(t, acknowledged)
			for range 8 {
				before := len(b.all)
				b.handle(b.answer(mip6.StatusDuplicateAddress, nil))
				b.answering(defendedRetry + time.Second)
				if len(updates(b.all[before:])) == 0 {
					t.Fatal("nobody is asked any more")
				}
			}
			b.acknowledge()
			if !b.node.reg.registered {
				t.Error("not registered")
			}
		})
	}
}

// The same after a restart: the home agent of an earlier life may be another one,
// and defends the home address as long as its binding lasts. After that somebody
// else has it (RFC 6275 §11.7.1).
//
// Covers: M10, B3.
func TestDefendedForEarlierLife(t *testing.T) {
	b := newBench(t, twoAgents)
	b.carrier(true)
	b.hear(ar1)
	for range 3000 {
		if len(b.node.reg.outstanding) > 0 {
			b.handle(b.answer(mip6.StatusDuplicateAddress, nil))
		}
		if b.node.halted {
			break
		}
		b.pass(500 * time.Millisecond)
	}
	if after := b.now.Sub(b.node.began); after < b.node.config.Lifetime {
		t.Errorf("gave the home address up after %v", after)
	}
	if !b.node.halted {
		t.Error("goes on for ever")
	}
}

// At home no duplicate address detection is done while another home agent may
// still defend the home address: it would find that one. It is told to let go.
//
// Covers: M9, B3.
func TestHomeWhileAnotherDefends(t *testing.T) {
	b := turned(t, true)
	b.carrier(false)
	b.carrier(true)
	b.hear(atHome)
	did := b.handle(b.answer(mip6.StatusNotHomeAgent, nil))
	if len(only[role.ProbeAddress](did)) != 0 || len(only[role.AnnounceAddress](did)) == 0 {
		t.Errorf("probed, or not announced: %v", did)
	}
	if end := updatesTo(did, homeAgent); len(end) != 1 || lifetimeOf(end[0]) != 0 || end[0].Source != homeAddress {
		t.Errorf("the other home agent is not told: %v", end)
	}
	b.handle(role.NeighborHeard{Link: 1, From: homeAgent, Target: homeAddress})
	if !b.kernel.has(1, homeAddress) {
		t.Error("the home address is given up")
	}
}

// What a former home agent is told keeps to the rate limit, too (RFC 6275 §11.8).
//
// Covers: M3.
func TestFarewellKeepsToRateLimit(t *testing.T) {
	b := newBench(t, twoAgents)
	for _, c := range []cell{ar2, ar1, ar2} {
		b.carrier(false)
		b.carrier(true)
		b.hear(c)
	}
	b.handle(b.answer(mip6.StatusAdministrativelyProhibited, nil))
	if n := len(updatesTo(b.all, homeAgent)); n != MaxUpdateRate || b.node.Agent() != agentB {
		t.Fatalf("%d updates, registers with %v", n, b.node.Agent())
	}
	did := b.acknowledge()
	if n := len(updatesTo(did, homeAgent)); n != 0 {
		t.Error("a fourth update within a second")
	}
	did = b.pass(1100 * time.Millisecond)
	if end := updatesTo(did, homeAgent); len(end) == 0 || lifetimeOf(end[0]) != 0 {
		t.Errorf("no farewell is said: %v", did)
	}
}

// The home agent's duplicate address detection finds this node itself, which has
// come home meanwhile: that is no duplicate.
//
// Covers: B3, M9.
func TestDuplicateIsOurselves(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.hear(ar1)
	_, first := b.lastUpdate()
	b.carrier(false)
	b.carrier(true)
	b.hear(atHome)
	b.handle(b.answerTo(first, mip6.StatusDuplicateAddress, nil))
	if b.node.halted {
		t.Fatal("gave the home address up")
	}
	b.handle(b.answer(mip6.StatusNotHomeAgent, nil))
	b.pass(5 * time.Second)
	b.carrier(false)
	b.carrier(true)
	b.hear(ar1)
	b.acknowledge()
	if !b.node.reg.registered {
		t.Error("does not register any more")
	}
}

// The registration runs out while the node returns home and before the home agent
// answers: that ends the return as an answer would have.
//
// Covers: B2, B3.
func TestExpiryWhileReturning(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.answering(b.node.config.Lifetime - time.Second)
	b.carrier(false)
	b.carrier(true)
	b.hear(atHome)
	did := b.pass(10 * time.Second)
	if len(only[role.AnnounceAddress](did)) != maxAnnouncements {
		t.Errorf("announced %d times", len(only[role.AnnounceAddress](did)))
	}
	if as, _ := b.kernelState(); len(as) != 1 {
		t.Errorf("addresses %v", as)
	}
}

// At home without the home agent's answer the correspondents are told all the same
// that the mobile node is there: the home address serves by then.
//
// Covers: B3, B6.
func TestCorrespondentsToldWithoutHomeAgent(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.carrier(false)
	b.carrier(true)
	b.hear(atHome)
	if b.node.reported.Registered {
		t.Error("before the home agent could answer")
	}
	b.pass(10 * time.Second)
	if a := b.node.reported; !a.AtHome || !a.Registered {
		t.Errorf("%+v", a)
	}
}

// A binding begins when the home agent has got the update and probed the home address:
// it ends later than counted from the sending of an update whose answer was lost, and
// as long another home agent finds the address in use. Taken for somebody else's it
// would end all updates.
//
// Covers: M10, B3.
func TestBindingEndsLaterThanSent(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lost := sent{sequence: 7, lifetime: 30, at: now}
	life := lost.lifetime.Duration()
	refused := sent{sequence: 8, lifetime: 30, at: now.Add(time.Minute)}
	for name, c := range map[string]struct {
		do   func(r *registration)
		ends time.Duration // after now
	}{
		"unanswered":            {func(r *registration) {}, life + bindingDelay},
		"a later one, refused":  {func(r *registration) { r.record(refused); r.declined(refused) }, life + bindingDelay},
		"accepted":              {func(r *registration) { r.accept(lost, lost.lifetime, 0) }, life + bindingDelay},
		"accepted, one refused": {func(r *registration) { r.accept(lost, lost.lifetime, 0); r.record(refused); r.declined(refused) }, life + bindingDelay},
		"refused":               {func(r *registration) { r.declined(lost) }, 0},
		"ended":                 {func(r *registration) { r.released(lost) }, 0},
	} {
		r := &registration{sequence: lost.sequence}
		r.record(lost)
		c.do(r)
		if c.ends > 0 && !r.mayHold(now.Add(c.ends-time.Nanosecond)) || r.mayHold(now.Add(c.ends)) {
			t.Errorf("%s: held until %v", name, r.held.Sub(now))
		}
	}
}
