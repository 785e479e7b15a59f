package mn

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// The mobile node notices that it moved, whatever the routers tell of themselves
// and whatever the link tells: by a carrier event within a second, without one
// within three intervals of the old router, or when the tunnel falls silent, or
// when an update is not answered (RFC 6275 §11.5.1).
//
// Covers: B1, M8.
func TestMovementIsNoticed(t *testing.T) {
	long := func(ra *nd.RouterAdvertisement) { ra.RouterLifetime = 9000 * time.Second }
	often := func(ra *nd.RouterAdvertisement) { long(ra); ra.Interval = time.Second }
	// sameName is a router with the address of the first one, on another link.
	sameName := cell{ar1.router, ar2.prefix}
	for _, c := range []struct {
		name   string
		old    func(*nd.RouterAdvertisement)
		event  func(b *bench) // what the node gets to know
		within time.Duration
		next   cell // whose advertisement answers a solicitation
	}{
		{"carrier event", long, func(b *bench) { b.carrier(false); b.carrier(true) }, time.Second, ar2},
		{"carrier event, notified at once", long, func(b *bench) {
			e := upLink(1, "up0", true)
			e.Link.Carriers++
			b.handle(e)
		}, time.Second, ar2},
		{"carrier event, router of the same name", long, func(b *bench) { b.carrier(false); b.carrier(true) }, time.Second, sameName},
		{"three intervals without a word", often, func(*bench) {}, 3100*time.Millisecond + 2*queryMax, ar2},
		{"three intervals, router of the same name", often, func(*bench) {}, 3100*time.Millisecond + 2*queryMax, sameName},
		{"the next router is heard", long, func(b *bench) { b.hear(ar2) }, time.Second, ar2},
		{"router of the same name is heard", long, func(b *bench) {
			b.handle(advertisement(1, sameName, func(ra *nd.RouterAdvertisement) { ra.SourceLinkAddr = net.HardwareAddr{2, 0, 0, 0, 0, 0x78} }))
		}, time.Second, sameName},
		{"silent tunnel", long, func(b *bench) { b.handle(role.TunnelSilent{Home: homeAddress}) }, time.Second, ar2},
		{"refused tunnel, home agent silent", long, func(b *bench) { b.handle(role.TunnelRefused{Home: homeAddress}) }, 3 * time.Second, ar2},
		{"renewal without an answer", long, func(b *bench) { b.pass(450 * time.Second) }, 3 * time.Second, ar2},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.carrier(true)
			b.handle(advertisement(1, ar1, c.old))
			b.acknowledge()
			b.pass(10 * time.Millisecond)
			// It moves now: nobody here answers a question to the old router.
			c.event(b)
			start := b.now
			did := slices.Clone(b.actions)
			for len(only[role.SolicitRouter](did)) == 0 && b.node.current.careOf == careOf1 && b.now.Sub(start) < c.within {
				did = append(did, b.pass(10*time.Millisecond)...)
			}
			if b.node.current.careOf == careOf1 {
				if len(only[role.SolicitRouter](did)) == 0 {
					t.Fatalf("not noticed within %v", c.within)
				}
				did = b.handle(advertisement(1, c.next, func(ra *nd.RouterAdvertisement) {
					long(ra)
					ra.SourceLinkAddr = net.HardwareAddr{2, 0, 0, 0, 0, 0x77}
				}))
			}
			if _, p := b.lastUpdate(); p.Source != careOf2 || len(updates(did)) == 0 {
				t.Errorf("update from %v: %v", p.Source, did)
			}
			if d := b.now.Sub(start); d > c.within {
				t.Errorf("after %v", d)
			}
		})
	}
}

// The same router on two links, with one link-local and one link-layer address:
// after three advertisements without our prefix we are on the other link
// (RFC 6275 §11.5.1, RFC 6059 §5.10).
//
// Covers: B1.
func TestSameRouterOnAnotherLink(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	for i := range 3 {
		b.pass(time.Second)
		did := b.handle(advertisement(1, cell{ar1.router, ar2.prefix}, func(ra *nd.RouterAdvertisement) {
			ra.SourceLinkAddr = net.HardwareAddr{2, 0, 0, 0, 0, 0xa1}
		}))
		if moved := len(updates(did)) > 0; moved != (i == 2) {
			t.Fatalf("advertisement %d: moved %v", i, moved)
		}
	}
	if _, p := b.lastUpdate(); p.Source != careOf2 {
		t.Errorf("update from %v", p.Source)
	}
}

// A rogue router cannot lead a node with a working link astray, whatever it
// advertises: the home prefix, a high preference, ours.
//
// Covers: M8, Attack: rogue router.
func TestRogueAdvertisements(t *testing.T) {
	rogue := netip.MustParseAddr("fe80::bad")
	for name, e := range map[string]role.RouterHeard{
		"other prefix":    advertisement(1, cell{rogue, ar2.prefix}, nil),
		"high preference": advertisement(1, cell{rogue, ar2.prefix}, func(ra *nd.RouterAdvertisement) { ra.Preference = nd.PreferenceHigh }),
		"home prefix":     advertisement(1, cell{rogue, atHome.prefix}, nil),
		"our prefix ends": advertisement(1, cell{rogue, ar1.prefix}, func(ra *nd.RouterAdvertisement) {
			ra.Prefixes[0].ValidLifetime, ra.Prefixes[0].PreferredLifetime = 0, 0
		}),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.away()
			for range 50 {
				b.pass(100 * time.Millisecond)
				b.handle(e)
				did := b.answering(100 * time.Millisecond)
				b.hear(ar1)
				if len(updates(did)) != 0 {
					t.Fatalf("moved: %v", updates(did))
				}
			}
			// Nor does something else make it believe afterwards.
			b.handle(upLink(2, "up1", true))
			b.handle(upLink(2, "up1", false))
			did := b.answering(10 * time.Second)
			if n := len(updates(did)); n != 0 || b.node.current.careOf != careOf1 {
				t.Errorf("%d updates, at %v", n, b.node.current.careOf)
			}
		})
	}
}

// Solicitations back off from 4 s to an hour with a random tenth more or less,
// and end with the first router that offers itself (RFC 7559 §2, §2.1).
func TestSolicitations(t *testing.T) {
	var all [][]time.Duration
	for _, seed := range []uint64{1, 2} {
		b := newBench(t, func(c *Config) { c.Seed = seed })
		var gaps []time.Duration
		b.carrier(true)
		last := b.now
		for len(gaps) < 14 {
			b.now = b.node.Next()
			if n := len(only[role.SolicitRouter](b.handle(role.Timeout{}))); n != 1 {
				t.Fatalf("%d solicitations", n)
			}
			gaps = append(gaps, b.now.Sub(last))
			last = b.now
		}
		for i, g := range gaps {
			want := solicitInterval
			if i > 0 {
				want = min(2*gaps[i-1], solicitMax)
			}
			if g < want*9/10-time.Second || g > want*11/10+time.Second {
				t.Errorf("gap %d is %v, about %v is due", i, g, want)
			}
		}
		if gaps[2] == 2*gaps[1] && gaps[3] == 2*gaps[2] {
			t.Errorf("only the first is random: %v", gaps)
		}
		if gaps[13] < solicitMax*9/10 {
			t.Errorf("%v in the end", gaps[13])
		}
		all = append(all, gaps)

		// A router that is none for default does not end them, one that is does.
		b.handle(advertisement(1, ar1, func(ra *nd.RouterAdvertisement) { ra.RouterLifetime = 0 }))
		if b.node.links[1].solicit.IsZero() {
			t.Error("ended by a router lifetime of zero")
		}
		b.hear(ar1)
		if !b.node.links[1].solicit.IsZero() {
			t.Error("not ended by a router")
		}
	}
	if slices.Equal(all[0], all[1]) {
		t.Error("two nodes solicit at the same times")
	}
}

// eui is a router whose link-local address nobody else has.
var eui = cell{netip.MustParseAddr("fe80::ff:fe00:a5"), netip.MustParsePrefix("2001:db8:a5::/64")}

// Simple DNA: when the carrier returns the routers of before are asked by
// unicast beside the solicitation; the one that answers is used at once with the
// care-of address of before, without waiting for duplicate address detection even
// where a new one has to (RFC 6059 §5.5, §5.7, §5.8).
//
// Covers: M8.
func TestSimpleDNA(t *testing.T) {
	b := newBench(t, func(c *Config) { c.WaitForDAD = true })
	b.carrier(true)
	b.hear(eui)
	b.pass(retransTimer)
	b.acknowledge()
	careOf := b.node.current.careOf
	b.carrier(false)
	b.pass(time.Second)
	b.carrier(true)
	b.hear(ar2)
	b.pass(retransTimer)
	b.acknowledge()
	b.pass(time.Minute)
	if as, _ := b.kernelState(); slices.Contains(as, careOf.String()+"/64 dev 1") || b.node.HasCareOf(careOf) {
		t.Fatalf("addresses %v", as)
	}
	b.carrier(false)
	b.pass(time.Second)
	did := b.carrier(true)
	asked := only[role.ProbeNeighbor](did)
	if len(only[role.SolicitRouter](did)) != 1 || !slices.Equal(asked, []role.ProbeNeighbor{{Link: 1, Source: linkLocal, Target: eui.router}}) {
		t.Fatalf("asked %v", did)
	}
	if l := only[role.LearnNeighbor](did); len(l) != 0 {
		t.Errorf("traffic may leave by the old router before it has answered: %v", l)
	}
	b.pass(2 * time.Millisecond)
	did = b.handle(role.NeighborHeard{Link: 1, From: eui.router, Target: eui.router, Solicited: true})
	if _, p := b.lastUpdate(); len(updates(did)) != 1 || p.Source != careOf {
		t.Fatalf("not used at once: %v", did)
	}
	b.acknowledge()
	// The advertisement that follows confirms it.
	if did := b.hear(eui); len(updates(did)) != 0 {
		t.Errorf("%v", did)
	}
}

// What makes Simple DNA not be fooled (RFC 6059 §5.5, §5.7): an answer without a
// question, a router whose address others have, an advertisement that says
// otherwise, a memory that is too old, a link that flaps.
//
// Covers: B1, Attack: rogue router.
func TestSimpleDNAIsNotFooled(t *testing.T) {
	answer := role.NeighborHeard{Link: 1, From: eui.router, Target: eui.router, Solicited: true}
	start := func(t *testing.T, c cell) *bench {
		b := newBench(t, nil)
		b.carrier(true)
		b.hear(c)
		b.acknowledge()
		b.pass(2 * time.Second)
		return b
	}
	t.Run("not asked", func(t *testing.T) {
		b := newBench(t, nil)
		b.carrier(true)
		if did := b.handle(answer); len(updates(did)) != 0 {
			t.Error(did)
		}
	})
	t.Run("unsolicited", func(t *testing.T) {
		b := start(t, eui)
		b.carrier(false)
		b.carrier(true)
		e := answer
		e.Solicited = false
		b.handle(e)
		if !b.node.current.lost {
			t.Error("believed")
		}
	})
	t.Run("address that many routers have", func(t *testing.T) {
		b := start(t, ar1)
		b.carrier(false)
		if did := b.carrier(true); len(only[role.ProbeNeighbor](did)) != 0 {
			t.Error(did)
		}
		b.handle(role.NeighborHeard{Link: 1, From: ar1.router, Target: ar1.router, Solicited: true})
		if !b.node.current.lost {
			t.Error("believed")
		}
	})
	t.Run("global address tells it apart", func(t *testing.T) {
		b := newBench(t, nil)
		global := netip.MustParseAddr("2001:db8:a1::1")
		b.carrier(true)
		b.handle(advertisement(1, ar1, func(ra *nd.RouterAdvertisement) {
			ra.Prefixes[0].Prefix, ra.Prefixes[0].RouterAddress = netip.PrefixFrom(global, 64), true
		}))
		b.acknowledge()
		b.carrier(false)
		b.pass(time.Second)
		if did := b.carrier(true); !slices.Equal(only[role.ProbeNeighbor](did), []role.ProbeNeighbor{{Link: 1, Source: linkLocal, Target: global}}) {
			t.Errorf("asked %v", did)
		}
		if l := only[role.LearnNeighbor](b.actions); !slices.Equal(l, []role.LearnNeighbor{{Link: 1, Addr: global, Ethernet: [6]byte{2, 0, 0, 0, 0, 0xa1}}}) {
			t.Errorf("not asked at its link-layer address: %v", l)
		}
		b.handle(role.NeighborHeard{Link: 1, From: global, Target: global, Solicited: true})
		if b.node.current.lost {
			t.Error("not believed")
		}
	})
	t.Run("advertisement says otherwise", func(t *testing.T) {
		b := start(t, eui)
		b.carrier(false)
		b.carrier(true)
		b.handle(advertisement(1, cell{eui.router, ar2.prefix}, nil))
		did := b.handle(answer)
		if _, p := b.lastUpdate(); p.Source != careOf2 || len(updates(did)) != 0 {
			t.Errorf("update from %v", p.Source)
		}
	})
	t.Run("too old", func(t *testing.T) {
		b := start(t, eui)
		b.carrier(false)
		b.pass(11 * time.Minute)
		if did := b.carrier(true); len(only[role.ProbeNeighbor](did)) != 0 {
			t.Error(did)
		}
	})
	t.Run("flapping", func(t *testing.T) {
		b := start(t, eui)
		asked := 0
		for range 20 {
			b.carrier(false)
			b.pass(50 * time.Millisecond)
			asked += len(only[role.ProbeNeighbor](b.carrier(true)))
			b.pass(50 * time.Millisecond)
			b.hear(eui)
		}
		if asked > 3 {
			t.Errorf("asked %d times in two seconds", asked)
		}
	})
	t.Run("many routers", func(t *testing.T) {
		b := start(t, eui)
		for i := range 20 {
			a := eui.router.As16()
			a[15] = byte(i)
			b.hear(cell{netip.AddrFrom16(a), eui.prefix})
			b.answering(10 * time.Millisecond)
		}
		b.carrier(false)
		if n := len(only[role.ProbeNeighbor](b.carrier(true))); n == 0 || n > 6 {
			t.Errorf("%d asked", n)
		}
	})
}

// A care-of address that somebody else has is given up, also when it is
// registered already: another one under the same prefix is registered; after
// three the prefix is given up for a time, and others serve (RFC 4862 §5.4.5,
// RFC 7217 §6).
//
// Covers: M8.
func TestDuplicatesToTheEnd(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	seen := map[netip.Addr]bool{}
	for range maxIdentifiers {
		b.acknowledge()
		taken := b.node.current.careOf
		seen[taken] = true
		b.pass(100 * time.Millisecond)
		b.handle(role.NeighborHeard{Link: 1, From: netip.MustParseAddr("fe80::99"), Target: taken})
		if b.kernel.has(1, taken) {
			t.Errorf("%v stays assigned", taken)
		}
		b.pass(500 * time.Millisecond)
	}
	if len(seen) != maxIdentifiers || b.node.current.works() {
		t.Fatalf("%d addresses, works %v", len(seen), b.node.current.works())
	}
	if n := len(updates(b.pass(5 * time.Minute))); n != 0 {
		t.Errorf("%d updates without an address", n)
	}
	b.hear(ar2)
	if _, p := b.lastUpdate(); p.Source != careOf2 {
		t.Errorf("update from %v, not by the other prefix", p.Source)
	}
	b.handle(role.Stop{})
	b.pass(3 * time.Second)
	b.empty()

	// On another occasion the owner is gone.
	b = newBench(t, nil)
	b.carrier(true)
	b.hear(ar1)
	for range maxIdentifiers {
		b.handle(role.NeighborHeard{Link: 1, From: netip.MustParseAddr("fe80::99"), Target: b.node.current.careOf})
	}
	b.carrier(false)
	b.carrier(true)
	b.pass(2 * time.Second)
	b.hear(ar1)
	if _, p := b.lastUpdate(); p.Source != careOf1 {
		t.Errorf("update from %v", p.Source)
	}
}

// Uplinks that vanish and return in every state do not stop the node, and it
// registers again as soon as it can (the shell reports failed sends as nothing:
// they are lost packets to the role).
//
// Covers: B10, B5.
func TestUplinkPulled(t *testing.T) {
	for _, state := range []struct {
		name string
		set  func(*bench)
	}{
		{"solicited", func(b *bench) { b.carrier(true) }},
		{"registering", func(b *bench) { b.carrier(true); b.hear(ar1) }},
		{"registered", (*bench).away},
		{"asking", func(b *bench) { b.away(); b.hear(ar2) }},
		{"prepared", func(b *bench) { b.prepared() }},
		{"at home", func(b *bench) { b.carrier(true); b.hear(atHome) }},
		{"withdrawing", func(b *bench) {
			b.away()
			c := b.node.config
			c.HomeAgents = []netip.Addr{agentB}
			b.did(b.node.Reconfigure(b.now, c))
		}},
	} {
		for _, gone := range []bool{true, false} {
			t.Run(fmt.Sprint(state.name, " ", gone), func(t *testing.T) {
				b := newBench(t, nil)
				state.set(b)
				for index := range 3 {
					if gone {
						b.handle(role.LinkGone{Index: index})
					} else if index > 0 {
						b.handle(upLink(index, fmt.Sprintf("up%d", index-1), false))
					}
				}
				b.pass(time.Minute)
				b.handle(upLink(7, "up0", true))
				b.handle(advertisement(7, ar2, nil))
				b.pass(10 * time.Second)
				for range 3 {
					u, p := b.lastUpdate()
					if _, ok := b.node.registrationOf(p.Destination).find(u.Sequence); ok {
						b.acknowledge()
					}
					b.answering(5 * time.Second)
				}
				if s := b.node.Snapshot(b.now); !s.Update.Registered || s.Update.CareOf != careOf2 {
					t.Errorf("%+v", s.Update)
				}
				b.handle(role.Stop{})
				b.pass(3 * time.Second)
				for a := range b.kernel.addresses {
					if !gone || a.link == 7 || a.link == 0 {
						t.Errorf("left behind: %v", a)
					}
				}
			})
		}
	}
}

// Which messages are for this node.
func TestTakes(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	other := netip.MustParseAddr("2001:db8:ff::1")
	for _, c := range []struct {
		p    mip6.Packet
		want bool
	}{
		{mip6.Packet{Destination: homeAddress}, true},
		{mip6.Packet{Destination: careOf1}, true},
		{mip6.Packet{Destination: careOf1, RouteHome: homeAddress}, true},
		{mip6.Packet{Destination: careOf1, RouteHome: other}, false}, // another mobile node of this host
		{mip6.Packet{Destination: careOf2}, false},
		{mip6.Packet{Destination: other, RouteHome: homeAddress}, true},
	} {
		if got := b.node.Takes(c.p); got != c.want {
			t.Errorf("to %v (%v): %v", c.p.Destination, c.p.RouteHome, got)
		}
	}
	if !b.node.HasCareOf(careOf1) || b.node.HasCareOf(careOf2) || b.node.HasCareOf(homeAddress) {
		t.Error("care-of addresses")
	}
}
