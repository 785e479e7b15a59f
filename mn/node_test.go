package mn

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// The first attachment: solicitation at once, and one Handle from the
// advertisement to the binding update (RFC 6275 §11.5.1, §11.7.1).
//
// Covers: M1, M8.
func TestFirstRegistration(t *testing.T) {
	b := newBench(t, nil)
	if got := only[role.SolicitRouter](b.carrier(true)); len(got) != 1 || got[0].Link != 1 {
		t.Fatalf("link up: %v", b.actions)
	}
	b.pass(5 * time.Millisecond)
	b.hear(ar1)

	order := []string{}
	for _, a := range b.actions {
		switch a := a.(type) {
		case role.AssignAddress:
			if a.Link == 1 {
				order = append(order, "assign")
			}
		case role.AddRoute:
			switch {
			case a.Route.From.IsValid():
				order = append(order, "source route")
			case a.Route.Destination.Bits() == 0:
				order = append(order, "route")
			}
		case role.LearnNeighbor:
			order = append(order, "neighbor")
		case role.Send:
			order = append(order, "update")
		case role.Forward:
			order = append(order, "forward")
		case role.ProbeAddress:
			order = append(order, "probe")
		}
	}
	if want := []string{"assign", "source route", "neighbor", "forward", "route", "update", "probe"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}

	u, p := b.lastUpdate()
	if p.Source != careOf1 || p.Destination != homeAgent || p.HomeAddress != homeAddress {
		t.Errorf("packet %v -> %v, home address option %v", p.Source, p.Destination, p.HomeAddress)
	}
	if want := mip6.UpdateAcknowledge | mip6.UpdateHome; u.Flags != want {
		t.Errorf("flags %016b, want %016b", u.Flags, want)
	}
	if o, ok := mip6.Find[mip6.AlternateCareOf](u); !ok || o.Addr != careOf1 {
		t.Errorf("alternate care-of address option %v %v", o, ok)
	}
	if u.Lifetime.Duration() != 600*time.Second {
		t.Errorf("lifetime %v", u.Lifetime)
	}
	q := b.wire(p)
	if err := sa.Verify(q.MH, careOf1, homeAddress); err != nil {
		t.Errorf("authentication: %v", err)
	}

	b.pass(20 * time.Millisecond)
	b.acknowledge()
	done := only[role.HandoverDone](b.actions)
	if len(done) != 1 {
		t.Fatalf("no handover reported: %v", b.actions)
	}
	h := done[0].Handover
	if h.Trigger != role.TriggerStart || h.To.CareOf != careOf1 || h.Advertised.Sub(h.LinkUp) != 5*time.Millisecond ||
		h.Acknowledged.Sub(h.Updated) != 20*time.Millisecond || h.Updates != 1 {
		t.Errorf("timeline %+v", h)
	}
}

// A move with a link event is one swap of the path and leaves nothing of the
// old attachment.
//
// Covers: M8, B2.
func TestMove(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.pass(3 * time.Second)
	b.carrier(false)
	b.pass(50 * time.Millisecond)
	b.carrier(true)
	b.pass(2 * time.Millisecond)
	b.hear(ar2)
	if path, ok := tunnelPath(b.actions); !ok || path.Local != careOf2 || path.Remote != homeAgent || path.Link != 1 {
		t.Errorf("tunnel path %+v %v", path, ok)
	}
	for _, f := range only[role.Forward](b.actions) {
		for _, c := range f.Changes {
			if c.Set == nil {
				t.Error("the tunnel was removed during a move")
			}
		}
	}
	if as, _ := b.kernelState(); !slices.Contains(as, careOf1.String()+"/64 dev 1") {
		t.Errorf("old care-of address is gone before the acknowledgement: %v", as)
	}
	b.pass(10 * time.Millisecond)
	b.acknowledge()
	h := only[role.HandoverDone](b.actions)[0].Handover
	if h.Trigger != role.TriggerLink || h.LinkUp.Sub(h.Start) != 50*time.Millisecond || h.Updated.Sub(h.LinkUp) != 2*time.Millisecond {
		t.Errorf("timeline %+v", h)
	}
	b.pass(retireAfter)
	as, rs := b.kernelState()
	if want := []string{"2001:db8:10::100/128 dev 0", careOf2.String() + "/64 dev 1"}; !slices.Equal(as, want) {
		t.Errorf("addresses %v, want %v", as, want)
	}
	if want := []string{"2001:db8:a2::/64 dev 1", "::/0 dev 1 via fe80::a2", "::/0 from 2001:db8:a2::/64 dev 1 via fe80::a2"}; !slices.Equal(rs, want) {
		t.Errorf("routes %v, want %v", rs, want)
	}
}

// Fifty moves, the return home and a stop leave nothing at all.
//
// Covers: B2.
func TestNothingPilesUp(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	for i := range 50 {
		b.carrier(false)
		b.pass(100 * time.Millisecond)
		b.carrier(true)
		b.hear([]cell{ar2, ar1}[i%2])
		b.acknowledge()
		b.pass(700 * time.Millisecond)
		if n := len(b.node.careOfs); n > 2 {
			t.Fatalf("after move %d: %d care-of addresses", i, n)
		}
	}
	b.carrier(false)
	b.carrier(true)
	b.hear(atHome)
	b.acknowledge()
	b.pass(5 * time.Second)
	as, rs := b.kernelState()
	if want := []string{"2001:db8:10::100/64 dev 1"}; !slices.Equal(as, want) {
		t.Errorf("addresses at home %v, want %v", as, want)
	}
	if want := []string{"2001:db8:10::/64 dev 1", "::/0 dev 1 via fe80::1"}; !slices.Equal(rs, want) {
		t.Errorf("routes at home %v, want %v", rs, want)
	}
	b.handle(role.Stop{})
	if as, rs := b.kernelState(); !b.node.Done() || len(as)+len(rs) != 0 {
		t.Errorf("after stop: done %v, addresses %v, routes %v", b.node.Done(), as, rs)
	}
}

// numbered is one of many access routers.
func numbered(i int) cell {
	return cell{netip.MustParseAddr(fmt.Sprintf("fe80::%x", 0x1000+i)), netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", 0x1000+i))}
}

// A ride on which no home agent ever answers: what was left goes all the same, but for
// the address that is registered.
//
// Covers: B2.
func TestNothingPilesUpWithoutHomeAgent(t *testing.T) {
	for _, registered := range []bool{false, true} {
		b := newBench(t, nil)
		b.carrier(true)
		b.hear(ar1)
		if registered {
			b.acknowledge()
		}
		for i := range 50 {
			b.carrier(false)
			b.carrier(true)
			b.hear(numbered(i))
			b.pass(5 * time.Second)
			most := 1
			if b.node.reg.registered {
				most++
			}
			as, rs := b.kernelState()
			if uplink := len(as) - 1; uplink > most || len(rs) > 1+2*most || len(b.node.careOfs) > most+maxDormant {
				t.Fatalf("registered %t, move %d: %v, %v, %d remembered", b.node.reg.registered, i, as, rs, len(b.node.careOfs))
			}
		}
		b.handle(role.Stop{})
		b.pass(3 * time.Second)
		b.empty()
	}
}

// Somebody who advertises ever new prefixes and has every address in them already
// fills no memory.
//
// Covers: Attack: rogue router.
func TestRogueDuplicates(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	for i := range 3 * maxDuplicates {
		b.hear(numbered(i))
		for range maxIdentifiers {
			for _, c := range slices.Clone(b.node.careOfs) {
				if c.state == careOfProbing {
					b.handle(role.NeighborHeard{Link: 1, From: c.addr, Target: c.addr})
				}
			}
		}
		b.pass(time.Second)
		if n := len(b.node.careOfs); n > maxDuplicates+maxDormant+2 {
			t.Fatalf("%d addresses after %d prefixes", n, i+1)
		}
	}
}

// Without a link event a new router's advertisement is enough, once the old
// router does not answer; within the time its round trip suggests.
func TestSilentMove(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.pass(2 * time.Millisecond)
	b.handle(role.NeighborHeard{Link: 1, From: ar1.router, Target: ar1.router, Solicited: true}) // answers the priming probe
	b.pass(time.Second)
	b.hear(ar2)
	if len(updates(b.actions)) != 0 || len(only[role.ProbeNeighbor](b.actions)) != 1 {
		t.Fatalf("a new router was believed at once: %v", b.actions)
	}
	did := b.pass(queryMin)
	if len(updates(did)) != 1 {
		t.Fatalf("no update within %v: %v", queryMin, did)
	}
	if u, p := b.lastUpdate(); p.Source != careOf2 {
		t.Errorf("update %v from %v", u, p.Source)
	}
}

// A carrier that went and came in one notification is a link event too.
func TestMergedCarrierEvents(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	e := upLink(1, "up0", true)
	e.Link.Carriers++
	if did := b.handle(e); len(only[role.SolicitRouter](did)) != 1 {
		t.Fatalf("not noticed: %v", did)
	}
	if did := b.hear(ar2); len(updates(did)) != 1 {
		t.Errorf("no update at the new router: %v", did)
	}
}

// A rogue router does not move a node whose own router answers, and is not
// asked about again and again.
//
// Covers: Attack: rogue router.
func TestRogueRouter(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.pass(time.Second)
	b.hear(ar2)
	b.handle(role.NeighborHeard{Link: 1, From: ar1.router, Target: ar1.router, Solicited: true})
	for range 100 {
		did := slices.Concat(b.pass(50*time.Millisecond), b.hear(ar2), b.hear(ar1))
		if len(updates(did))+len(only[role.ProbeNeighbor](did)) != 0 {
			t.Fatalf("moved or asked again: %v", did)
		}
	}
}

// A router that misses three advertised intervals is asked, and left for
// another one that is known.
//
// Covers: B1.
func TestSilentRouter(t *testing.T) {
	b := newBench(t, nil)
	every := func(ra *nd.RouterAdvertisement) {
		ra.Interval = 70 * time.Millisecond
		ra.RouterLifetime = 9000 * time.Second
	}
	b.carrier(true)
	b.handle(advertisement(1, ar1, every))
	b.acknowledge()
	b.handle(upLink(2, "up1", true))
	b.handle(advertisement(2, ar2, nil))
	b.pass(200 * time.Millisecond)
	if len(updates(b.actions)) != 0 {
		t.Fatal("left a router that missed less than three intervals")
	}
	did := b.pass(300 * time.Millisecond)
	if len(updates(did)) == 0 {
		t.Fatalf("stayed with a silent router: %v", did)
	}
	if _, p := b.lastUpdate(); p.Source != careOf2 {
		t.Errorf("update from %v, want %v", p.Source, careOf2)
	}
}

// Router lifetime 9000 s and no Advertisement Interval option: the carrier
// event alone leads to a binding update as soon as the new router answers.
//
// Covers: B1.
func TestLongRouterLifetime(t *testing.T) {
	b := newBench(t, nil)
	long := func(ra *nd.RouterAdvertisement) { ra.RouterLifetime = 9000 * time.Second }
	b.carrier(true)
	b.handle(advertisement(1, ar1, long))
	b.acknowledge()
	b.pass(time.Minute)
	b.carrier(false)
	if did := b.carrier(true); len(only[role.SolicitRouter](did)) != 1 {
		t.Fatalf("no solicitation on link up: %v", did)
	}
	if did := b.handle(advertisement(1, ar2, long)); len(updates(did)) != 1 {
		t.Fatalf("no update: %v", did)
	}
}

// Three links at boot: at most one update per final care-of address.
//
// Covers: B9.
func TestManyLinksAtBoot(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Uplinks = []string{"up0", "up1", "up2"} })
	b.handle(upLink(3, "up2", true))
	b.handle(upLink(2, "up1", true))
	b.handle(upLink(1, "up0", true))
	b.handle(advertisement(3, ar2, nil))
	b.pass(50 * time.Millisecond)
	b.handle(advertisement(1, ar1, nil))
	b.pass(400 * time.Millisecond)
	seen := map[netip.Addr]int{}
	for _, s := range only[role.Send](b.all) {
		seen[s.Packet.Source]++
	}
	for a, n := range seen {
		if n > 1 {
			t.Errorf("%d updates for %v", n, a)
		}
	}
	if _, p := b.lastUpdate(); p.Source != careOf1 {
		t.Errorf("attached by %v, the preferred link has %v", p.Source, careOf1)
	}
}

// An advertisement without prefixes, a renamed and a removed interface do no
// harm.
//
// Covers: B5.
func TestOddInterfaces(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.handle(advertisement(1, ar2, func(ra *nd.RouterAdvertisement) { ra.Prefixes = nil }))
	b.handle(upLink(1, "wan7", true)) // renamed: no uplink any more
	if as, _ := b.kernelState(); slices.Contains(as, careOf1.String()+"/64 dev 1") {
		t.Errorf("address stays on a link that is not ours: %v", as)
	}
	b.handle(role.LinkGone{Index: 1})
	b.handle(role.LinkGone{Index: 99})
	b.handle(upLink(5, "up0", true))
	b.handle(advertisement(5, ar2, nil))
	if _, p := b.lastUpdate(); p.Source != careOf2 {
		t.Errorf("update from %v after hot-plug", p.Source)
	}
}

// A care-of address that somebody else has is replaced (RFC 4862 §5.4.5,
// RFC 4429 §3.3).
func TestDuplicateCareOf(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.handle(role.NeighborHeard{Link: 1, From: netip.MustParseAddr("fe80::99"), Target: careOf1})
	_, p := b.lastUpdate()
	if p.Source == careOf1 || !ar1.prefix.Contains(p.Source) {
		t.Fatalf("update from %v", p.Source)
	}
	if as, _ := b.kernelState(); slices.Contains(as, careOf1.String()+"/64 dev 1") {
		t.Errorf("the duplicate stays assigned: %v", as)
	}
	// Once the probing is over, a claim is not a duplicate but an attack or an
	// accident: the address is defended by using it.
	b.acknowledge()
	b.pass(2 * time.Second)
	did := b.handle(role.NeighborHeard{Link: 1, From: netip.MustParseAddr("fe80::99"), Target: p.Source})
	if len(only[role.UnassignAddress](did)) != 0 {
		t.Errorf("a late claim took the address: %v", did)
	}
}

// With WaitForDAD nothing is sent before the probing ended.
func TestWaitForDAD(t *testing.T) {
	b := newBench(t, func(c *Config) { c.WaitForDAD = true })
	b.carrier(true)
	if did := b.hear(ar1); len(updates(did)) != 0 || len(only[role.ProbeAddress](did)) != 1 {
		t.Fatalf("%v", did)
	}
	if did := b.pass(retransTimer); len(updates(did)) != 1 {
		t.Fatalf("no update after the probing: %v", did)
	}
}

// Renumbering: when the prefix in use is deprecated and another is there, the
// node moves to it (RFC 6275 §11.5.3).
//
// Covers: M8.
func TestRenumbering(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.pass(time.Minute)
	fresh := netip.MustParsePrefix("2001:db8:b1::/64")
	b.handle(advertisement(1, ar1, func(ra *nd.RouterAdvertisement) {
		ra.Prefixes[0].PreferredLifetime = 0
		ra.Prefixes = append(ra.Prefixes, mip6.PrefixInformation{Prefix: fresh, OnLink: true, Autonomous: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour})
	}))
	if _, p := b.lastUpdate(); !fresh.Contains(p.Source) {
		t.Errorf("update from %v, want one from %v", p.Source, fresh)
	}
}

// Advertisements renew the lifetime of the care-of address in use; without
// them it ends with its prefix (RFC 4862 §5.5.3, §5.5.4).
//
// Covers: M2.
func TestCareOfLifetime(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	keep := func() {
		b.hear(ar1)
		if !b.node.reg.retransmit.IsZero() {
			b.acknowledge()
		}
	}
	for range 60 {
		b.pass(10 * time.Minute)
		keep()
	}
	if as, _ := b.kernelState(); !slices.Contains(as, careOf1.String()+"/64 dev 1") {
		t.Fatalf("the care-of address ended although its prefix is advertised: %v", as)
	}
	b.pass(61 * time.Minute)
	if as, _ := b.kernelState(); slices.Contains(as, careOf1.String()+"/64 dev 1") {
		t.Errorf("the care-of address outlives its prefix: %v", as)
	}
}

// A link that comes back at the same router sends at once what was lost, not
// when the back-off has run out.
func TestRestoredLink(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.hear(ar1)
	b.carrier(false)
	b.pass(5 * time.Minute)
	b.carrier(true)
	if did := b.hear(ar1); len(updates(did)) != 1 {
		t.Errorf("no update: %v", did)
	}
}

func TestConfigValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"home address not routable": func(c *Config) { c.HomeAddress = netip.MustParseAddr("fe80::1") },
		"outside home prefix":       func(c *Config) { c.HomeAddress = netip.MustParseAddr("2001:db8:99::1") },
		"home agent is us":          func(c *Config) { c.HomeAgents = []netip.Addr{c.HomeAddress} },
		"no uplink":                 func(c *Config) { c.Uplinks = nil },
		"lifetime":                  func(c *Config) { c.Lifetime = time.Second },
		"addressing":                func(c *Config) { c.Addressing = map[string]Addressing{"up1": AddressingForeign + 1} },
	} {
		c := config()
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := errors.Join(config().Validate()); err != nil {
		t.Error(err)
	}
}
