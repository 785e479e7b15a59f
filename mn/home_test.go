package mn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// Returning home: de-registration from the home address, no duplicate address
// detection, the tunnel ends, and after the acknowledgement the address is
// announced to all nodes (RFC 6275 §11.5.5).
//
// Covers: M9.
func TestReturnHome(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.pass(10 * time.Second)
	b.carrier(false)
	b.pass(20 * time.Millisecond)
	b.carrier(true)
	did := b.hear(atHome)
	u, p := b.lastUpdate()
	if p.Source != homeAddress || p.HomeAddress.IsValid() || u.Lifetime != 0 {
		t.Errorf("de-registration from %v, option %v, lifetime %v", p.Source, p.HomeAddress, u.Lifetime)
	}
	if want := mip6.UpdateAcknowledge | mip6.UpdateHome; u.Flags != want {
		t.Errorf("flags %016b", u.Flags)
	}
	if len(only[role.ProbeAddress](did)) != 0 {
		t.Error("duplicate address detection while the home agent defends the address")
	}
	if !slices.Contains(only[role.LearnNeighbor](did), role.LearnNeighbor{Link: 1, Addr: homeAgent, Ethernet: [6]byte{2, 0, 0, 0, 0, 1}}) {
		t.Errorf("home agent's link-layer address not learned from its advertisement: %v", only[role.LearnNeighbor](did))
	}
	if len(only[role.AnnounceAddress](did)) != 0 {
		t.Error("announced before the acknowledgement")
	}
	removed := slices.ContainsFunc(only[role.Forward](did), func(f role.Forward) bool { return f.Changes[0].Set == nil })
	if !removed {
		t.Error("the tunnel stays")
	}
	b.pass(5 * time.Millisecond)
	did = b.acknowledge()
	if a := only[role.AnnounceAddress](did); len(a) != 1 || a[0].Addr != homeAddress {
		t.Errorf("announcements %v", a)
	}
	if h := only[role.HandoverDone](did); len(h) != 1 || !h[0].Handover.To.AtHome {
		t.Errorf("handover %v", h)
	}
	if a := only[role.AnnounceAddress](b.pass(10 * time.Second)); len(a) != maxAnnouncements-1 {
		t.Errorf("%d further announcements, want %d", len(a), maxAnnouncements-1)
	}
	if len(updates(b.pass(time.Hour))) != 0 {
		t.Error("updates are sent at home")
	}
}

// Home without the home agent's answer: the node uses its address, goes on asking
// with back-off until the binding has run out, does not loop, and leaves again
// when it moves.
//
// Covers: B3.
func TestReturnHomeWithoutAnswer(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.carrier(false)
	b.carrier(true)
	b.hear(atHome)
	n := len(updates(b.pass(10 * time.Minute)))
	if n < 10 || n > 40 {
		t.Errorf("%d de-registrations in ten minutes", n)
	}
	if as, _ := b.kernelState(); !slices.Contains(as, "2001:db8:10::100/64 dev 1") {
		t.Errorf("home address is not configured: %v", as)
	}
	b.carrier(false)
	b.carrier(true)
	b.hear(ar1)
	u, p := b.lastUpdate()
	if p.Source != careOf1 || u.Lifetime == 0 {
		t.Errorf("after leaving: update from %v, lifetime %v", p.Source, u.Lifetime)
	}
	b.acknowledge()
	b.pass(10 * time.Second)
	if as, _ := b.kernelState(); !slices.Equal(as, []string{"2001:db8:10::100/128 dev 0", careOf1.String() + "/64 dev 1"}) {
		t.Errorf("addresses %v", as)
	}
}

// The answer to a return home that comes after the node left again is not
// taken for the registration's.
func TestLateDeregistration(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.carrier(false)
	b.carrier(true)
	b.hear(atHome)
	late := b.answer(mip6.StatusAccepted, nil)
	b.carrier(false)
	b.carrier(true)
	b.hear(ar2)
	did := b.handle(late)
	if len(only[role.AnnounceAddress](did)) != 0 || b.node.current.home {
		t.Errorf("settled at home while away: %v", did)
	}
	b.acknowledge()
	if !b.node.reg.registered || b.node.reg.careOf != careOf2 {
		t.Errorf("registration %+v", b.node.reg)
	}
}

// Starting at home: the home agent says that there was no binding, then the
// home address is probed; a conflict takes it away (§11.5.5).
func TestStartAtHome(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.hear(atHome)
	did := b.handle(b.answer(mip6.StatusNotHomeAgent, nil))
	if p := only[role.ProbeAddress](did); len(p) != 1 || p[0].Addr != homeAddress {
		t.Fatalf("no probing: %v", did)
	}
	b.handle(role.NeighborHeard{Link: 1, From: netip.MustParseAddr("2001:db8:10::66"), Target: homeAddress})
	if as, _ := b.kernelState(); len(as) != 0 {
		t.Errorf("the duplicate stays assigned: %v", as)
	}
}

// The home agent's own defence before it has processed the de-registration is
// no conflict.
func TestHomeAgentDefends(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.carrier(false)
	b.carrier(true)
	b.hear(atHome)
	b.handle(role.NeighborHeard{Link: 1, From: homeAgent, Target: homeAddress})
	if as, _ := b.kernelState(); !slices.Contains(as, "2001:db8:10::100/64 dev 1") {
		t.Errorf("gave the home address up: %v", as)
	}
}

// Stop away from home: the binding is ended from the care-of address, and all
// is removed when the answer comes, or after two seconds without one.
func TestStopAway(t *testing.T) {
	for _, answered := range []bool{true, false} {
		b := newBench(t, nil)
		b.away()
		b.pass(10 * time.Second)
		b.handle(role.Stop{})
		u, p := b.lastUpdate()
		if u.Lifetime != 0 || p.HomeAddress != homeAddress || p.Source != careOf1 {
			t.Errorf("de-registration %v from %v", u.Lifetime, p.Source)
		}
		if answered {
			b.acknowledge()
		} else {
			b.pass(3 * time.Second)
		}
		as, rs := b.kernelState()
		if !b.node.Done() || !b.node.Next().IsZero() || len(as)+len(rs) != 0 {
			t.Errorf("answered %v: done %v, left %v %v", answered, b.node.Done(), as, rs)
		}
	}
}
