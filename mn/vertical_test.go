package mn

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// second brings the node to ar2 by the less preferred link, registered.
func (b *bench) second() {
	b.Helper()
	b.handle(upLink(2, "up1", true))
	b.handle(advertisement(2, ar2, nil))
	b.acknowledge()
	if !b.node.reg.registered || b.node.current.link != 2 {
		b.Fatal("not registered by the second link")
	}
	b.pass(2 * time.Second)
}

// prepared lets the better link come and be good for long enough.
func (b *bench) prepared() []role.Action {
	b.Helper()
	b.second()
	b.carrier(true)
	b.hear(ar1)
	did := b.pass(DefaultHysteresis)
	if b.node.pending == nil {
		b.Fatalf("nothing is prepared: %v", did)
	}
	return did
}

// undisturbed asserts that the less preferred link is in use as before.
func (b *bench) undisturbed() {
	b.Helper()
	if b.kernel.tunnel == nil || b.kernel.tunnel.Paths[0].Local != careOf2 || b.kernel.tunnel.Paths[0].Link != 2 {
		b.Errorf("tunnel %+v", b.kernel.tunnel)
	}
	if d := b.kernel.plainDefaults(); len(d) != 1 || d[0].Link != 2 {
		b.Errorf("default routes %v", d)
	}
	if b.kernel.addresses[placedAddress{2, netip.PrefixFrom(careOf2, 64)}] {
		b.Error("the care-of address in use is deprecated")
	}
}

// From a working link to a better one: the update leaves by the new link from
// the new care-of address, whose default route is its own (RFC 8028 §3.2); path,
// care-of address and default route in use stay until it is acknowledged; then
// one swap completes the handover (RFC 6275 §11.5.4).
//
// Covers: M8, B9.
func TestMakeBeforeBreak(t *testing.T) {
	b := newBench(t, nil)
	did := b.prepared()
	b.undisturbed()
	if f := only[role.Forward](did); len(f) != 0 {
		t.Errorf("the data plane was touched: %v", f)
	}
	sends := only[role.Send](did)
	if len(sends) != 1 || sends[0].Link != 1 || sends[0].Packet.Source != careOf1 || sends[0].Packet.HomeAddress != homeAddress {
		t.Fatalf("updates %+v", sends)
	}
	if _, ok := b.kernel.routes["::/0 from 2001:db8:a1::/64 dev 1 via fe80::a1"]; !ok {
		t.Errorf("the new care-of address has no route of its own: %v", b.kernel.routes)
	}
	if s := b.node.Snapshot(b.now); s.Pending.CareOf != careOf1 || s.Attachment.CareOf != careOf2 {
		t.Errorf("snapshot %+v, pending %+v", s.Attachment, s.Pending)
	}

	b.pass(20 * time.Millisecond)
	did = b.acknowledge()
	if f := only[role.Forward](did); len(f) != 1 || len(f[0].Changes) != 1 || f[0].Changes[0].Set == nil || f[0].Changes[0].Set.Paths[0].Local != careOf1 {
		t.Errorf("not one swap: %v", f)
	}
	if d := b.kernel.plainDefaults(); len(d) != 1 || d[0].Link != 1 {
		t.Errorf("default routes %v", d)
	}
	h := only[role.HandoverDone](did)
	if len(h) != 1 || h[0].Handover.Trigger != role.TriggerLink || h[0].Handover.Acknowledged.Sub(h[0].Handover.Start) != 20*time.Millisecond {
		t.Errorf("handover %+v", h)
	}
	if !b.kernel.addresses[placedAddress{2, netip.PrefixFrom(careOf2, 64)}] {
		t.Error("the old care-of address is not kept for what is on its way to it")
	}
	b.pass(retireAfter)
	as, rs := b.kernelState()
	if want := []string{"2001:db8:10::100/128 dev 0", careOf1.String() + "/64 dev 1"}; !slices.Equal(as, want) {
		t.Errorf("addresses %v", as)
	}
	if want := []string{"2001:db8:a1::/64 dev 1", "::/0 dev 1 via fe80::a1", "::/0 from 2001:db8:a1::/64 dev 1 via fe80::a1"}; !slices.Equal(rs, want) {
		t.Errorf("routes %v", rs)
	}
}

// A better link that comes and goes is not believed before it stays: the working
// one serves all the time, and no update is sent.
//
// Covers: B9.
func TestHysteresis(t *testing.T) {
	b := newBench(t, nil)
	b.second()
	for range 20 {
		b.carrier(true)
		did := append(b.hear(ar1), b.pass(DefaultHysteresis-100*time.Millisecond)...)
		did = append(did, b.carrier(false)...)
		did = append(did, b.pass(300*time.Millisecond)...)
		if n := len(updates(did)); n != 0 {
			t.Fatalf("%d updates", n)
		}
		b.undisturbed()
	}
	if in := b.node.Snapshot(b.now).Uplinks; in[0].SteadyIn != 0 {
		t.Errorf("a link that is down: %+v", in[0])
	}
	b.carrier(true)
	b.hear(ar1)
	b.pass(400 * time.Millisecond)
	if in := b.node.Snapshot(b.now).Uplinks; in[0].SteadyIn != 600*time.Millisecond {
		t.Errorf("steady in %v", in[0].SteadyIn)
	}
}

// A link that died is left at once, and with the care-of address that the other
// one had a while ago, if it still has it.
//
// Covers: M8.
func TestLeaveDeadLinkAtOnce(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.handle(upLink(2, "up1", true))
	b.handle(advertisement(2, ar2, nil))
	if b.node.pending != nil {
		t.Fatal("a worse link is prepared")
	}
	did := b.carrier(false)
	if path, ok := tunnelPath(did); !ok || path.Local != careOf2 || path.Link != 2 || len(updates(did)) != 1 {
		t.Errorf("not moved in the same call: %v", did)
	}
}

// A handover that nobody answers is given up without having disturbed anything;
// the home agent is told again where the node is, since it may have got the
// update; the link is left alone for a time that grows.
//
// Covers: M8.
func TestHandoverUnanswered(t *testing.T) {
	b := newBench(t, nil)
	b.prepared()
	b.pass(6900 * time.Millisecond)
	if b.node.pending == nil {
		t.Fatal("given up early")
	}
	b.undisturbed()
	did := b.pass(200 * time.Millisecond)
	if b.node.pending != nil || len(updates(did)) != 1 {
		t.Fatalf("not given up: %v", updates(did))
	}
	if _, p := b.lastUpdate(); p.Source != careOf2 {
		t.Errorf("update from %v", p.Source)
	}
	b.acknowledge()
	b.undisturbed()
	b.pass(retireAfter)
	if as, _ := b.kernelState(); slices.Contains(as, careOf1.String()+"/64 dev 1") {
		t.Errorf("addresses %v", as)
	}
	if d := b.node.Snapshot(b.now).Uplinks[0].AvoidedFor; d <= 0 || d > leastAvoidance {
		t.Errorf("avoided for %v", d)
	}
	b.hear(ar1)
	b.pass(leastAvoidance)
	if b.node.pending == nil {
		t.Fatal("not tried again")
	}
	b.acknowledge()
	if b.node.current.link != 1 || b.node.reg.careOf != careOf1 {
		t.Errorf("registration %+v", b.node.reg)
	}
}

// Whatever becomes of the new link, of the old one, or of the new care-of address
// while a handover is prepared: no update goes astray, and the node ends where it
// should.
//
// Covers: M8.
func TestWhilePrepared(t *testing.T) {
	for _, c := range []struct {
		name   string
		event  func(*bench)
		careOf func(netip.Addr) bool // of the last update
		link   int                   // of the tunnel when all is over
	}{
		{"new link down", func(b *bench) { b.carrier(false) }, func(a netip.Addr) bool { return a == careOf2 }, 2},
		{"new link gone", func(b *bench) { b.handle(role.LinkGone{Index: 1}) }, func(a netip.Addr) bool { return a == careOf2 }, 2},
		{"old link down", func(b *bench) { b.handle(upLink(2, "up1", false)) }, func(a netip.Addr) bool { return a == careOf1 }, 1},
		{"old link gone", func(b *bench) { b.handle(role.LinkGone{Index: 2}) }, func(a netip.Addr) bool { return a == careOf1 }, 1},
		{"new care-of address taken", func(b *bench) {
			b.handle(role.NeighborHeard{Link: 1, From: netip.MustParseAddr("fe80::99"), Target: careOf1})
		}, func(a netip.Addr) bool { return a != careOf1 && ar1.prefix.Contains(a) }, 1},
		{"new router's lifetime ends", func(b *bench) {
			b.handle(advertisement(1, ar1, func(ra *nd.RouterAdvertisement) { ra.RouterLifetime = 0 }))
		}, func(a netip.Addr) bool { return a == careOf2 }, 2},
		{"refused", func(b *bench) { b.handle(b.answer(mip6.StatusInvalidCareOfAddress, nil)) },
			func(a netip.Addr) bool { return a == careOf2 }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.prepared()
			b.pass(500 * time.Millisecond)
			c.event(b)
			b.pass(900 * time.Millisecond)
			if _, p := b.lastUpdate(); !c.careOf(p.Source) {
				t.Errorf("last update from %v", p.Source)
			}
			b.acknowledge()
			b.pass(3 * time.Second)
			if b.kernel.tunnel == nil || b.kernel.tunnel.Paths[0].Link != c.link {
				t.Errorf("tunnel %+v", b.kernel.tunnel)
			}
			if b.node.reg.careOf != b.kernel.tunnel.Paths[0].Local || !b.node.reg.registered {
				t.Errorf("registered %v, tunnel from %v", b.node.reg.careOf, b.kernel.tunnel.Paths[0].Local)
			}
			b.handle(role.Stop{})
			b.pass(3 * time.Second)
			b.empty()
		})
	}
}

// When the link in use dies while a better one is prepared, the better one is in
// use at once; when both die, the one that returns is registered, since the home
// agent may have heard of the other.
//
// Covers: M8.
func TestDeathWhilePrepared(t *testing.T) {
	b := newBench(t, nil)
	b.prepared()
	if path, ok := tunnelPath(b.handle(upLink(2, "up1", false))); !ok || path.Local != careOf1 || path.Link != 1 {
		t.Errorf("not swapped at once: %+v", path)
	}

	b = newBench(t, nil)
	b.prepared()
	late := b.answer(mip6.StatusAccepted, nil)
	b.handle(upLink(1, "up0", false))
	b.handle(upLink(2, "up1", false))
	b.handle(late)
	b.pass(10 * time.Second)
	b.handle(upLink(2, "up1", true))
	did := b.handle(advertisement(2, ar2, nil))
	if n := len(updates(did)); n != 1 {
		t.Fatalf("%d updates by the link that returned", n)
	}
	b.acknowledge()
	b.undisturbed()
	if b.node.reg.careOf != careOf2 {
		t.Errorf("registered %v", b.node.reg.careOf)
	}
}

// Home by another link while the foreign one works: the tunnel serves until the
// home agent has answered, from the home link (RFC 6275 §11.5.5).
//
// Covers: M9, B3.
func TestHomeByAnotherLink(t *testing.T) {
	b := newBench(t, nil)
	b.second()
	b.carrier(true)
	b.hear(atHome)
	did := b.pass(DefaultHysteresis)
	u, p := b.lastUpdate()
	if u.Lifetime != 0 || p.Source != homeAddress || only[role.Send](did)[0].Link != 1 {
		t.Fatalf("no de-registration by the home link: %v from %v", u, p.Source)
	}
	b.undisturbed()
	did = b.acknowledge()
	if b.kernel.tunnel != nil || !b.node.atHome() || len(only[role.AnnounceAddress](did)) != 1 {
		t.Errorf("tunnel %v, home %v, %v", b.kernel.tunnel, b.node.atHome(), did)
	}
	b.pass(3 * time.Second)
	if as, _ := b.kernelState(); !slices.Equal(as, []string{"2001:db8:10::100/64 dev 1"}) {
		t.Errorf("addresses %v", as)
	}
}

// Two links come and go at boot: at most one update for each care-of address
// that stays, the first within 300 ms of the first one that can be used.
//
// Covers: B9.
func TestLinksAtBoot(t *testing.T) {
	for _, order := range [][]int{{1, 2, 3}, {1, 3, 2}, {2, 1, 3}, {2, 3, 1}, {3, 1, 2}, {3, 2, 1}} {
		for _, answered := range []bool{true, false} {
			t.Run(fmt.Sprint(order, answered), func(t *testing.T) {
				b := newBench(t, func(c *Config) { c.Uplinks = []string{"up0", "up1", "up2"}; c.FirstTimeout = 10 * time.Second })
				cells := map[int]cell{1: ar1, 2: ar2, 3: {netip.MustParseAddr("fe80::a3"), netip.MustParsePrefix("2001:db8:a3::/64")}}
				seen := map[netip.Addr]int{}
				note := func(did []role.Action) {
					for _, s := range only[role.Send](did) {
						seen[s.Packet.Source]++
						if answered {
							b.acknowledge()
						}
					}
				}
				first := b.now
				for _, l := range order {
					b.handle(upLink(l, fmt.Sprintf("up%d", l-1), true))
					note(b.handle(advertisement(l, cells[l], nil)))
					note(b.pass(80 * time.Millisecond))
					b.handle(upLink(l, fmt.Sprintf("up%d", l-1), true)) // said again: nothing
				}
				if b.now.Sub(first) > 300*time.Millisecond || len(seen) == 0 {
					t.Fatalf("no update within %v", b.now.Sub(first))
				}
				for range 50 {
					note(b.pass(100 * time.Millisecond))
				}
				for a, n := range seen {
					if n > 1 {
						t.Errorf("%d updates for %v", n, a)
					}
				}
				if _, p := b.lastUpdate(); p.Source != careOf1 {
					t.Errorf("ends at %v", p.Source)
				}
			})
		}
	}
}

// Fifty moves between two links, by every kind of event, the return home and the
// end leave nothing in the kernel.
//
// Covers: B2.
func TestNothingPilesUpOnTwoLinks(t *testing.T) {
	for _, prepared := range []bool{true, false} {
		b := newBench(t, nil)
		b.second()
		for i := range 50 {
			c := []cell{ar1, ar2, {netip.MustParseAddr("fe80::a3"), netip.MustParsePrefix("2001:db8:a3::/64")}}[i%3]
			b.carrier(true)
			b.hear(c)
			b.pass(1500 * time.Millisecond)
			if prepared {
				b.acknowledge()
			}
			b.carrier(false)
			b.handle(advertisement(2, ar2, nil))
			b.pass(1500 * time.Millisecond)
			b.acknowledge()
			b.pass(5 * time.Second)
			if as, rs := b.kernelState(); len(as) != 2 || len(rs) != 3 {
				t.Fatalf("after %d moves: %v %v", i, as, rs)
			}
		}
		b.carrier(true)
		b.hear(atHome)
		b.pass(2 * time.Second)
		b.acknowledge()
		b.pass(5 * time.Second)
		as, rs := b.kernelState()
		if want := []string{"2001:db8:10::100/64 dev 1"}; !slices.Equal(as, want) {
			t.Errorf("addresses at home %v", as)
		}
		if want := []string{"2001:db8:10::/64 dev 1", "::/0 dev 1 via fe80::1"}; !slices.Equal(rs, want) {
			t.Errorf("routes at home %v", rs)
		}
		b.handle(role.Stop{})
		b.empty()
	}
}
