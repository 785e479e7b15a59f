package mn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/ro"
	"roam6/nd"
	"roam6/overlay"
)

var (
	// Leased addresses of two links and of none that tells a prefix.
	leased1  = netip.MustParseAddr("2001:db8:a1::1000")
	leased1b = netip.MustParseAddr("2001:db8:a1::1001")
	leased2  = netip.MustParseAddr("2001:db8:a2::1000")
	leasedX  = netip.MustParseAddr("2001:db8:ee::1000")
)

// managed makes an advertisement one of a link where DHCPv6 gives the addresses,
// and nobody forms any.
func managed(ra *nd.RouterAdvertisement) {
	ra.Managed = true
	ra.Prefixes[0].Autonomous = false
}

// both makes an advertisement one of a link where addresses are formed and leased.
func both(ra *nd.RouterAdvertisement) { ra.Managed = true }

// bare makes an advertisement one without any prefix, of a managed link.
func bare(ra *nd.RouterAdvertisement) { ra.Managed, ra.Prefixes = true, nil }

// lease is what a client tells when it has addresses for an hour.
func lease(link int, addresses ...netip.Addr) role.LeaseChanged {
	return leaseFor(link, time.Hour, time.Hour, addresses...)
}

func leaseFor(link int, preferred, valid time.Duration, addresses ...netip.Addr) role.LeaseChanged {
	e := role.LeaseChanged{Link: link}
	for _, a := range addresses {
		e.Lease.Addresses = append(e.Lease.Addresses, role.LeasedPrefix{Prefix: netip.PrefixFrom(a, 128), Preferred: preferred, Valid: valid})
	}
	return e
}

// byLease brings the node to ar1 with a leased address, registered.
func (b *bench) byLease() {
	b.Helper()
	b.carrier(true)
	b.handle(advertisement(1, ar1, managed))
	b.handle(lease(1, leased1))
	b.acknowledge()
	if b.node.reg.careOf != leased1 {
		b.Fatalf("registered %v", b.node.reg.careOf)
	}
}

// source asserts where the last update came from.
func (b *bench) source(want netip.Addr) {
	b.Helper()
	if _, p := b.lastUpdate(); p.Source != want {
		b.Errorf("update from %v, want %v", p.Source, want)
	}
}

// On a managed link without autonomous prefixes the node attaches when the lease
// arrives, in the same call: address and its default route, neighbour, tunnel,
// update, duplicate address detection behind. The address has a length of 128 and
// makes no prefix on-link (RFC 6275 §11.5.3, RFC 8415 §18.2.10.1, RFC 5942 §4).
//
// Covers: M8.
func TestLeasedCareOf(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.pass(5 * time.Millisecond)
	if did := b.handle(advertisement(1, ar1, managed)); len(updates(did)) != 0 {
		t.Fatalf("attached without an address: %v", did)
	}
	b.pass(30 * time.Millisecond)
	did := b.handle(lease(1, leased1))
	b.source(leased1)
	if p := only[role.ProbeAddress](did); !slices.Equal(p, []role.ProbeAddress{{Link: 1, Addr: leased1}}) {
		t.Errorf("probes %v", p)
	}
	if path, _ := tunnelPath(did); path.Local != leased1 {
		t.Errorf("tunnel from %v", path.Local)
	}
	if h := b.node.handover; h.CareOf.Sub(h.Advertised) != 30*time.Millisecond {
		t.Errorf("timeline %+v", h)
	}
	b.acknowledge()
	as, rs := b.kernelState()
	if want := []string{"2001:db8:10::100/128 dev 0", "2001:db8:a1::1000/128 dev 1"}; !slices.Equal(as, want) {
		t.Errorf("addresses %v", as)
	}
	if want := []string{"::/0 dev 1 via fe80::a1", "::/0 from 2001:db8:a1::1000/128 dev 1 via fe80::a1"}; !slices.Equal(rs, want) {
		t.Errorf("routes %v", rs)
	}
	if c := b.node.Snapshot(b.now).CareOfs; len(c) != 1 || !c[0].Leased || !c[0].Optimistic {
		t.Errorf("snapshot %+v", c)
	}
	b.handle(role.Stop{})
	b.pass(3 * time.Second)
	b.empty()
}

// The lease may be there before the router is heard: then the advertisement is all
// that is missing (RFC 8415 needs no router).
func TestLeaseBeforeRouter(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Addressing = map[string]Addressing{"up0": AddressingDHCP} })
	b.carrier(true)
	if did := b.handle(lease(1, leased1)); len(updates(did)) != 0 {
		t.Fatalf("attached without a router: %v", did)
	}
	b.hear(ar1) // its prefix is autonomous, and not used
	b.source(leased1)
	if as, _ := b.kernelState(); slices.Contains(as, careOf1.String()+"/64 dev 1") {
		t.Errorf("formed all the same: %v", as)
	}
}

// Where addresses are formed and leased, the formed one serves at once, and the
// leased one takes its place without losing the binding: update from the leased
// one, tunnel and formed one until the acknowledgement, one swap, and the formed
// one two seconds longer (RFC 6275 §11.5.4). It does not flap back.
//
// Covers: M8, B9.
func TestLeasedTakesPlaceOfFormed(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.handle(advertisement(1, ar1, both))
	b.source(careOf1)
	b.acknowledge()
	b.pass(40 * time.Millisecond)
	did := b.handle(lease(1, leased1))
	b.source(leased1)
	if f := only[role.Forward](did); len(f) != 0 {
		t.Errorf("the tunnel is touched before the acknowledgement: %v", f)
	}
	if deprecated, there := b.kernel.addresses[placedAddress{1, netip.PrefixFrom(careOf1, 64)}]; !there || deprecated {
		t.Errorf("the formed address: there %v, deprecated %v", there, deprecated)
	}
	if b.node.reg.careOf != careOf1 || !b.node.reg.registered {
		t.Errorf("registered %v", b.node.reg.careOf)
	}
	b.pass(20 * time.Millisecond)
	did = b.acknowledge()
	if f := only[role.Forward](did); len(f) != 1 || f[0].Changes[0].Set == nil || f[0].Changes[0].Set.Paths[0].Local != leased1 {
		t.Errorf("not one swap: %v", f)
	}
	h := only[role.HandoverDone](did)
	if len(h) != 1 || h[0].Handover.From.CareOf != careOf1 || h[0].Handover.To.CareOf != leased1 ||
		h[0].Handover.Acknowledged.Sub(h[0].Handover.Start) != 20*time.Millisecond {
		t.Errorf("handover %+v", h)
	}
	b.pass(retireAfter - time.Millisecond)
	if !b.kernel.has(1, careOf1) {
		t.Error("the formed address is gone, with what was on the way to it")
	}
	b.pass(time.Millisecond)
	if as, _ := b.kernelState(); slices.Contains(as, careOf1.String()+"/64 dev 1") {
		t.Errorf("the formed address stays: %v", as)
	}
	n := b.node.stats.UpdatesSent
	for range 20 {
		b.pass(5 * time.Second)
		b.handle(advertisement(1, ar1, both))
		b.handle(lease(1, leased1))
	}
	if b.node.stats.UpdatesSent != n || b.node.current.careOf != leased1 {
		t.Errorf("%d updates more, at %v", b.node.stats.UpdatesSent-n, b.node.current.careOf)
	}
}

// The lease arrives while the first registration is under way, or the node waits
// for duplicate address detection: one update for each address, and it ends with
// the leased one.
//
// Covers: B9.
func TestLeaseWhileRegistering(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		ride   func(*bench)
	}{
		{"not acknowledged", nil, func(b *bench) { b.handle(lease(1, leased1)); b.acknowledge() }},
		{"acknowledged late", nil, func(b *bench) {
			late := b.answer(mip6.StatusAccepted, nil)
			b.handle(lease(1, leased1))
			b.handle(late)
			b.acknowledge()
		}},
		{"waiting for duplicates", func(c *Config) { c.WaitForDAD = true }, func(b *bench) {
			b.handle(lease(1, leased1))
			b.pass(retransTimer)
			b.acknowledge()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, c.change)
			b.carrier(true)
			b.handle(advertisement(1, ar1, both))
			b.pass(10 * time.Millisecond)
			c.ride(b)
			b.pass(10 * time.Second)
			seen := map[netip.Addr]int{}
			for _, s := range only[role.Send](b.all) {
				seen[s.Packet.Source]++
			}
			h := only[role.HandoverDone](b.all)
			if len(h) == 0 || h[0].Handover.Trigger != role.TriggerStart || h[0].Handover.From != (role.Attachment{}) {
				t.Errorf("handovers %+v", h)
			}
			if seen[careOf1] > 1 || seen[leased1] != 1 || b.node.reg.careOf != leased1 || b.kernel.tunnel.Paths[0].Local != leased1 {
				t.Errorf("updates %v, registered %v, tunnel %+v", seen, b.node.reg.careOf, b.kernel.tunnel)
			}
		})
	}
}

// The router that both addresses go by falls silent while the leased one is being
// registered: it is asked, and the registration goes on when it answers.
//
// Covers: B1.
func TestSilenceWhileReaddressing(t *testing.T) {
	for _, answers := range []bool{true, false} {
		b := newBench(t, nil)
		b.carrier(true)
		b.handle(advertisement(1, ar1, func(ra *nd.RouterAdvertisement) { both(ra); ra.Interval = time.Second }))
		b.acknowledge()
		b.handle(lease(1, leased1))
		if answers {
			b.answering(5 * time.Second)
		} else {
			b.pass(5 * time.Second)
		}
		if prepared := b.node.pending != nil; prepared != answers || b.node.current.lost == answers {
			t.Errorf("answers %v: prepared %v, lost %v", answers, prepared, b.node.current.lost)
		}
	}
}

// A better router does not keep the leased address of the one in use from being
// used.
func TestLeaseWithTwoRouters(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.handle(advertisement(1, ar1, both))
	b.acknowledge()
	b.handle(advertisement(1, ar2, func(ra *nd.RouterAdvertisement) { both(ra); ra.Preference = nd.PreferenceHigh }))
	b.answering(time.Second)
	b.handle(lease(1, leased1))
	b.acknowledge()
	if a := b.node.current; a.careOf != leased1 || a.router != ar1.router {
		t.Errorf("at %v by %v", a.careOf, a.router)
	}
}

// A care-of address that ends is not used any more in the moment in which it ends,
// not by route optimisation either (RFC 8415 §18.2.10.1).
func TestLeaseEndsInAnExchange(t *testing.T) {
	b := newBench(t, func(c *Config) { c.RouteOptimisation = ro.Policy{Mode: ro.On} })
	b.carrier(true)
	b.handle(advertisement(1, ar1, both))
	b.handle(leaseFor(1, time.Minute, time.Minute, leased1))
	b.acknowledge()
	for range 590 {
		b.pass(100 * time.Millisecond)
		if _, ok := b.node.reg.find(b.node.reg.sequence); ok {
			b.acknowledge()
		}
	}
	b.handle(role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide})
	did := b.pass(time.Second) // the tests are repeated now
	for _, s := range only[role.Send](did) {
		if s.Packet.Source == leased1 {
			t.Errorf("sent from it: %T", s.Packet.Message)
		}
	}
	if b.node.current.careOf != careOf1 {
		t.Errorf("at %v", b.node.current.careOf)
	}
}

// A leased address that nobody hears the home agent by is given up for a while: the
// formed one goes on, and the home agent is told again. The link is not avoided.
func TestLeasedUnanswered(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.handle(advertisement(1, ar1, both))
	b.acknowledge()
	b.handle(lease(1, leased1))
	b.answering(7 * time.Second)
	if b.node.pending != nil {
		t.Fatal("not given up")
	}
	b.source(careOf1)
	b.acknowledge()
	if s := b.node.Snapshot(b.now); s.Update.CareOf != careOf1 || s.Uplinks[0].AvoidedFor != 0 {
		t.Errorf("%+v, %+v", s.Update, s.Uplinks)
	}
	b.pass(leastAvoidance)
	b.source(leased1)
	b.acknowledge()
	if b.node.reg.careOf != leased1 {
		t.Errorf("registered %v", b.node.reg.careOf)
	}
}

// A renewal changes lifetimes only. The lifetime of the binding is no longer than
// what remains of the lease (RFC 6275 §11.7.1), and follows when that is renewed.
//
// Covers: M2.
func TestRenewal(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.handle(advertisement(1, ar1, managed))
	b.handle(leaseFor(1, time.Minute, 2*time.Minute, leased1))
	if u, _ := b.lastUpdate(); u.Lifetime.Duration() != 2*time.Minute {
		t.Errorf("lifetime %v", u.Lifetime.Duration())
	}
	b.acknowledge()
	b.pass(30 * time.Second)
	if did := b.handle(leaseFor(1, time.Minute, 2*time.Minute, leased1)); len(did) != 0 {
		t.Errorf("a renewal did %v", did)
	}
	did := b.pass(time.Minute) // three quarters of the binding's lifetime
	if u := updates(did); len(u) != 1 || u[0].Lifetime.Duration() != time.Minute {
		t.Errorf("refreshed %v", u)
	}
}

// What ends a leased address: it is not in the lease any more, its valid lifetime
// ends, it is deprecated while there is something else (RFC 8415 §18.2.10.1,
// RFC 4862 §5.5.4).
//
// Covers: B2.
func TestLeaseEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		ra    func(*nd.RouterAdvertisement)
		event func(*bench)
		want  netip.Addr // registered afterwards; invalid: none
		kept  bool       // the address stays
	}{
		{"lost", managed, func(b *bench) { b.handle(lease(1)) }, netip.Addr{}, false},
		{"lost, formed instead", both, func(b *bench) { b.handle(lease(1)) }, careOf1, false},
		{"another one", managed, func(b *bench) { b.handle(lease(1, leased1b)) }, leased1b, false},
		{"expired", managed, func(b *bench) { b.pass(time.Hour) }, netip.Addr{}, false},
		{"deprecated, nothing else", managed, func(b *bench) { b.handle(leaseFor(1, 0, time.Hour, leased1)) }, leased1, true},
		{"deprecated, formed instead", both, func(b *bench) { b.handle(leaseFor(1, 0, time.Hour, leased1)) }, careOf1, false},
		{"deprecated in time", both, func(b *bench) {
			b.handle(leaseFor(1, time.Second, time.Hour, leased1))
			b.pass(time.Second)
		}, careOf1, false},
		{"one of two stays", managed, func(b *bench) { b.handle(lease(1, leased1b, leased1)) }, leased1, true},
		{"of another interface", managed, func(b *bench) { b.handle(lease(2)) }, leased1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.carrier(true)
			b.handle(advertisement(1, ar1, c.ra))
			b.handle(lease(1, leased1))
			b.acknowledge()
			b.pass(5 * time.Second)
			c.event(b)
			if c.want.IsValid() {
				b.source(c.want)
				if _, ok := b.node.reg.find(b.node.reg.sequence); ok {
					b.acknowledge()
				}
				if b.node.reg.careOf != c.want || !b.node.current.works() {
					t.Errorf("registered %v", b.node.reg.careOf)
				}
			} else if b.node.current.works() {
				t.Errorf("works at %v", b.node.current.careOf)
			}
			b.pass(retireAfter)
			if b.kernel.has(1, leased1) != c.kept {
				t.Errorf("addresses %v", b.kernel.addresses)
			}
			b.handle(role.Stop{})
			b.pass(3 * time.Second)
			b.empty()
		})
	}
}

// A leased address that somebody else has is declined and taken off, no other
// interface identifier is tried, and the next lease serves; not the same one again.
// After three the link's leases are left alone for a time, lest somebody who
// answers for everything keep us busy (RFC 8415 §18.2.8, RFC 4862 §5.4).
//
// Covers: M8, B2.
func TestLeasedDuplicate(t *testing.T) {
	b := newBench(t, nil)
	b.byLease()
	taken := func(a netip.Addr) []role.Action {
		return b.handle(role.NeighborHeard{Link: 1, From: netip.MustParseAddr("fe80::99"), Target: a})
	}
	did := taken(leased1)
	if d := only[role.DeclineAddress](did); !slices.Equal(d, []role.DeclineAddress{{Link: 1, Addr: leased1}}) {
		t.Fatalf("declined %v", d)
	}
	if b.kernel.has(1, leased1) || len(only[role.ProbeAddress](did)) != 0 || b.node.current.works() {
		t.Errorf("still there, or another one is tried: %v", did)
	}
	if did := b.handle(lease(1, leased1)); len(updates(did)) != 0 {
		t.Errorf("used although it is taken: %v", did)
	}
	b.handle(lease(1))
	// A server that has forgotten its lease, and so what was declined.
	if d := only[role.DeclineAddress](b.handle(lease(1, leased1))); !slices.Equal(d, []role.DeclineAddress{{Link: 1, Addr: leased1}}) {
		t.Errorf("leased again, declined %v", d)
	}
	b.handle(lease(1))
	if d := only[role.DeclineAddress](b.handle(lease(1, leased1b))); len(d) != 0 {
		t.Errorf("another one, declined %v", d)
	}
	b.source(leased1b)
	b.acknowledge()
	taken(leased1b)
	b.handle(lease(1, leasedX))
	b.source(leasedX)
	taken(leasedX)
	if did := b.handle(lease(1, leased1.Next().Next())); len(updates(did))+len(only[role.ProbeAddress](did)) != 0 {
		t.Errorf("after three: %v", did)
	}
	b.pass(duplicateFor)
	b.source(leased1.Next().Next())
	b.handle(role.Stop{})
	b.pass(3 * time.Second)
	b.empty()
}

// Which router a leased address goes by: one that advertises a prefix with it, else
// any default router, but not while another one does (RFC 8028 §3.1, §3.2). What
// serves is not left on another router's word.
//
// Covers: M8.
func TestRouterOfLease(t *testing.T) {
	via := func(b *bench) netip.Addr {
		for _, r := range b.kernel.routes {
			if r.From.IsSingleIP() {
				return r.Via
			}
		}
		return netip.Addr{}
	}
	first := func(r cell, change func(*nd.RouterAdvertisement)) role.RouterHeard {
		return advertisement(1, r, change)
	}
	for _, c := range []struct {
		name  string
		heard []role.RouterHeard
		lease netip.Addr
		want  netip.Addr
	}{
		{"its own", []role.RouterHeard{first(ar1, managed), first(ar2, managed)}, leased2, ar2.router},
		{"its own, heard first", []role.RouterHeard{first(ar1, managed), first(ar2, managed)}, leased1, ar1.router},
		{"nobody's", []role.RouterHeard{first(ar1, managed)}, leasedX, ar1.router},
		{"without any prefix", []role.RouterHeard{first(ar1, bare)}, leasedX, ar1.router},
		{"no default router's", []role.RouterHeard{first(ar1, func(ra *nd.RouterAdvertisement) { managed(ra); ra.RouterLifetime = 0 })}, leased1, netip.Addr{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.carrier(true)
			for _, e := range c.heard {
				b.handle(e)
			}
			b.handle(lease(1, c.lease))
			if got := via(b); got != c.want {
				t.Errorf("by %v, want %v", got, c.want)
			}
		})
	}
	t.Run("rogue", func(t *testing.T) {
		b := newBench(t, nil)
		b.carrier(true)
		b.handle(advertisement(1, ar1, bare))
		b.handle(lease(1, leasedX))
		b.acknowledge()
		n := b.node.stats.UpdatesSent
		b.handle(advertisement(1, cell{netip.MustParseAddr("fe80::bad"), netip.PrefixFrom(leasedX, 64).Masked()}, nil))
		b.answering(time.Second)
		if via(b) != ar1.router || b.node.stats.UpdatesSent != n {
			t.Errorf("left for %v", via(b))
		}
	})
}

// What no client should say does no harm: addresses that are none, ours, or too
// many.
//
// Covers: A5.
func TestOddLeases(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.handle(advertisement(1, ar1, managed))
	b.handle(lease(1, netip.MustParseAddr("fe80::5"), netip.MustParseAddr("ff02::1"), homeAddress, netip.IPv6Unspecified()))
	b.handle(leaseFor(1, 0, 0, leased1))
	b.handle(role.LeaseChanged{Link: 1, Lease: role.Lease{Addresses: []role.LeasedPrefix{{}}}})
	b.handle(lease(99, leased1))
	if b.node.current != nil || len(b.node.given[1]) != 0 {
		t.Errorf("attached %+v, given %v", b.node.current, b.node.given)
	}
	b.handle(role.LinkGone{Index: 99})
	var many []netip.Addr
	for a := leased1; len(many) < 100; a = a.Next() {
		many = append(many, a, a)
	}
	b.handle(lease(1, many...))
	if n := len(b.node.given[1]); n != maxGiven {
		t.Errorf("%d are remembered", n)
	}
	b.source(leased1)
	if len(b.node.given) != 1 {
		t.Errorf("given %v", b.node.given)
	}
}
