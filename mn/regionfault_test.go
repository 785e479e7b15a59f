package mn

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// preparedBetween brings a node that is registered by anchor1 on up0 to prepare ar3 on
// up1, where anchor2 is asked first, and returns that local update.
func preparedBetween(t *testing.T) (*bench, mip6.Packet) {
	b := newRegion(t, func(c *Config) { c.Uplinks = []string{"up1", "up0"} })
	b.inRegion()
	b.handle(upLink(2, "up1", true))
	b.hearOn(2, ar3, offered(anchor2, 2, 10))
	did := b.pass(1100 * time.Millisecond)
	b.quietAtHome(did)
	return b, b.localTo(did, anchor2)
}

// The anchor for which the home agent is not told of a better link yet may not be used
// any more before it has answered: then the home agent is told of the link at once.
func TestProspectVanishesInPreparation(t *testing.T) {
	for name, offers := range map[string][]mip6.MobilityAnchorPoint{
		"drained":                 {offered(anchor2, 2, 0)},
		"failed":                  {{Address: anchor2, Distance: 2, Preference: 10}},
		"not advertised any more": nil,
	} {
		b, _ := preparedBetween(t)
		var did []role.Action
		for range 3 {
			did = append(did, b.hearOn(2, ar3, offers...)...)
			did = append(did, b.pass(20*time.Millisecond)...)
		}
		home := sends(did, false)
		if len(home) != 1 || home[0].Source != careOf3 {
			t.Errorf("%s: the home agent is told %v", name, home)
			continue
		}
		b.homeAccepts(home[0])
		if b.node.current.link != 2 {
			t.Errorf("%s: at %+v", name, b.node.current)
		}
	}
}

// An update to the home agent of a better link that got lost is repeated, whatever
// becomes of a second anchor there.
func TestSecondProspectInPreparation(t *testing.T) {
	b, _ := preparedBetween(t)
	did := b.pass(FirstBindAckTimeout) // anchor2 is slow
	if p := b.homeUpdate(did); p.Source != careOf3 {
		t.Fatalf("told %v", p.Source)
	}
	did = b.hearOn(2, ar3, offered(anchor2, 2, 10), offered(netip.MustParseAddr("2001:db8:73::1"), 2, 15))
	did = append(did, b.pass(InitialBindAckTimeout+time.Millisecond)...)
	did = append(did, b.hearOn(2, ar3, offered(anchor2, 2, 10), mip6.MobilityAnchorPoint{Address: netip.MustParseAddr("2001:db8:73::1"), Distance: 1})...)
	did = append(did, b.pass(time.Second)...)
	if all := sends(did, false); len(all) == 0 {
		t.Error("the home agent is not told again")
	}
}

// Anchors of one prefix, of which one takes over from the other (RFC 5380 §10), give the
// same regional care-of address: its tunnel is that of the anchor in use, and stays when
// the other one is left.
func TestAnchorsOfOnePrefix(t *testing.T) {
	b := newRegion(t, nil)
	rcoa := b.inRegion()
	heir := netip.MustParseAddr("2001:db8:71::2")
	local := b.localTo(b.hearOn(1, ar1, offered(anchor1, 2, 0), offered(heir, 2, 10)), heir)
	if local.HomeAddress != rcoa {
		t.Fatalf("regional care-of address %v, was %v", local.HomeAddress, rcoa)
	}
	for _, p := range sends(b.anchorAccepts(local), false) {
		b.homeAccepts(p)
	}
	b.stacked(rcoa, heir, careOf1)
	for range 20 {
		did := b.pass(time.Second)
		for _, p := range sends(did, true) {
			b.anchorAccepts(p)
		}
		b.stacked(rcoa, heir, careOf1)
	}
	if !b.kernel.has(0, rcoa) {
		t.Error("the regional care-of address is not assigned")
	}
	// It serves as any other: a move is one update to it.
	did := b.moveTo(ar2, offered(anchor1, 2, 0), offered(heir, 2, 10))
	b.quietAtHome(did)
	b.quietAtHome(b.anchorAccepts(b.localTo(did, heir)))
	b.stacked(rcoa, heir, careOf2)
}

// deadBeyondAnchor answers the updates of a node for a while: local ones always, those to the home
// agent unless they go by an anchor. It returns those.
func (b *bench) deadBeyondAnchor(d time.Duration, rounds int) (lost int) {
	b.Helper()
	for range rounds {
		did := b.answering(d)
		for len(did) > 0 {
			var next []role.Action
			for _, p := range sends(did, true) {
				next = append(next, b.anchorAccepts(p)...)
			}
			for _, p := range sends(did, false) {
				if b.node.isRegional(p.Source) {
					lost++
					continue
				}
				next = append(next, b.homeAccepts(p)...)
			}
			did = next
		}
	}
	return lost
}

// An anchor that answers and forwards nothing, since its prefix is not routed to it for
// instance: the home agent that does not answer by way of it is asked without it, and the
// anchor is left for a while that doubles. Nothing arrives by it meanwhile.
func TestAnchorForwardsNothing(t *testing.T) {
	for _, later := range []bool{false, true} {
		b := newRegion(t, nil)
		if later {
			b.inRegion()
			b.handle(role.TunnelSilent{Home: homeAddress})
			did := b.handle(role.NeighborHeard{Link: 1, From: ar1.router, Target: ar1.router, Solicited: true})
			b.anchorAccepts(b.localTo(did, anchor1)) // and then the home agent is asked
			b.deadBeyondAnchor(100*time.Millisecond, 100)
		} else {
			b.carrier(true)
			did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
			b.homeAccepts(b.homeUpdate(did))
			b.anchorAccepts(b.localTo(did, anchor1))
			b.deadBeyondAnchor(100*time.Millisecond, 100)
		}
		b.direct(careOf1)
		lost := 0
		for range 60 {
			b.hearOn(1, ar1, offered(anchor1, 2, 10))
			lost += b.deadBeyondAnchor(time.Second, 30)
			if s := b.node.Snapshot(b.now); !s.Update.Registered {
				t.Fatalf("later %v: the home registration has ended: %+v", later, s.Update)
			}
		}
		b.direct(careOf1)
		if lost > 40 {
			t.Errorf("later %v: %d updates lost beyond the anchor in half an hour", later, lost)
		}
	}
}

// The same on a better link: it is not given up because of its anchor.
func TestPreparedAnchorForwardsNothing(t *testing.T) {
	b, local := preparedBetween(t)
	b.anchorAccepts(local)
	for range 20 {
		did := b.answering(time.Second)
		for _, p := range sends(did, true) {
			b.anchorAccepts(p)
		}
		for _, p := range sends(did, false) {
			if p.Source == careOf3 {
				b.homeAccepts(p)
			}
		}
	}
	if b.node.current.link != 2 {
		t.Errorf("at %+v, pending %+v", b.node.current, b.node.pending)
	}
	b.direct(careOf3)
}

// A home agent that does not take the regional care-of address is told the on-link one:
// the link is in order.
func TestHomeAgentRefusesRegionalAddress(t *testing.T) {
	b := newRegion(t, nil)
	b.inRegion()
	home := b.homeUpdate(b.handle(role.TunnelRefused{Home: homeAddress}))
	home = b.homeUpdate(b.handle(b.answerTo(home, mip6.StatusInvalidCareOfAddress, nil)))
	if home.Source != careOf1 {
		t.Errorf("told %v", home.Source)
	}
	b.homeAccepts(home)
	b.direct(careOf1)

	b = newRegion(t, nil)
	b.carrier(true)
	did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
	b.homeAccepts(b.homeUpdate(did))
	home = b.homeUpdate(b.anchorAccepts(b.localTo(did, anchor1)))
	b.quietAtHome(b.handle(b.answerTo(home, mip6.StatusInvalidCareOfAddress, nil))) // it has that one still
	b.direct(careOf1)
	b.quietAtHome(b.pass(5 * time.Second))
	if s := b.node.Snapshot(b.now); !s.Update.Registered || s.Update.CareOf != careOf1 || s.Anchors[0].Obstacle.String() != "avoided" {
		t.Errorf("%+v, %+v", s.Update, s.Anchors)
	}
}

// Preferences, flags and lifetimes that go up and down with each advertisement do not make
// the home agent hear of each.
//
// Covers: P2, Attack: rogue router.
func TestAnchorsFlap(t *testing.T) {
	dead := offered(anchor2, 2, 11)
	dead.ValidLifetime = 0
	allocates := offered(anchor2, 2, 11)
	allocates.Allocated = true
	for name, other := range map[string]mip6.MobilityAnchorPoint{
		"preference": offered(anchor2, 2, 9), "drained": offered(anchor2, 2, 0), "failed": dead, "allocates": allocates,
	} {
		b := newRegion(t, nil)
		b.inRegion()
		home, local := 0, 0
		for i := range 600 {
			second := offered(anchor2, 2, 11)
			if i%2 == 1 {
				second = other
			}
			did := b.hearOn(1, ar1, offered(anchor1, 2, 10), second)
			did = append(did, b.pass(100*time.Millisecond)...)
			for _, p := range sends(did, true) {
				local++
				did = append(did, b.anchorAccepts(p)...)
			}
			for _, p := range sends(did, false) {
				home++
				b.homeAccepts(p)
			}
		}
		t.Log(name, home, local)
		if home > 10 || local > 20 {
			t.Errorf("%s: %d updates to the home agent and %d to anchors in a minute", name, home, local)
		}
		// What stays is followed.
		for range 10 {
			did := append(b.hearOn(1, ar1, offered(anchor1, 2, 10), offered(anchor2, 2, 11)), b.pass(35*time.Second)...)
			for _, p := range sends(did, true) {
				did = append(did, b.anchorAccepts(p)...)
			}
			for _, p := range sends(did, false) {
				b.homeAccepts(p)
			}
		}
		if a := b.node.current.anchor; a == nil || a.agent != anchor2 {
			t.Errorf("%s: the better one is never chosen", name)
		}
	}
}

// An anchor that takes no correction for an answer is not asked three times a second for
// ever.
func TestAnchorNeverSatisfied(t *testing.T) {
	for _, status := range []mip6.Status{mip6.StatusSequenceOutOfWindow, mip6.StatusIDMismatch} {
		b := newRegion(t, nil)
		b.carrier(true)
		did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
		b.homeAccepts(b.homeUpdate(did))
		count := 0
		for range 600 {
			var next []role.Action
			for _, p := range sends(did, true) {
				count++
				next = append(next, b.handle(b.anchorAnswer(p, status, nil))...)
			}
			did = append(next, b.pass(100*time.Millisecond)...)
			b.quietAtHome(did)
		}
		if count > 25 {
			t.Errorf("%v: %d updates in a minute", status, count)
		}
		if s := b.node.Snapshot(b.now); s.Stats.AnchorFailures == 0 {
			t.Errorf("%v: no failure is counted", status)
		}
	}
}

// An advertisement may come in several packets (RFC 4861 §6.2.3), of which one has the
// option: the anchor is advertised all the time.
//
// Covers: P2.
func TestAdvertisementInPackets(t *testing.T) {
	b := newRegion(t, nil)
	b.carrier(true)
	for i := range 10 {
		did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
		for range 5 {
			did = append(did, b.hearOn(1, ar1)...)
		}
		if s := b.node.Snapshot(b.now); len(s.Anchors) != 1 {
			t.Fatalf("advertisement %d: anchors %+v", i, s.Anchors)
		}
		for _, p := range sends(did, false) {
			b.homeAccepts(p)
		}
		b.pass(100 * time.Millisecond)
	}
}

// On the link of the anchor itself no binding is of use: the on-link care-of address has
// the prefix of the regional one. The home agent is told it at once, and the anchor is not
// asked.
//
// Covers: P6.
func TestOnLinkOfAnchor(t *testing.T) {
	at := cell{netip.MustParseAddr("fe80::71"), netip.MustParsePrefix("2001:db8:71::/64")}
	b := newRegion(t, nil)
	b.carrier(true)
	for range 10 {
		did := b.hearOn(1, at, offered(anchor1, 1, 10))
		did = append(did, b.pass(time.Minute)...)
		if all := sends(did, true); len(all) != 0 {
			t.Fatalf("asked: %v", all)
		}
		for _, p := range sends(did, false) {
			b.homeAccepts(p)
		}
	}
	if s := b.node.Snapshot(b.now); len(s.Anchors) != 1 || s.Anchors[0].Obstacle.String() != "on this link" {
		t.Errorf("anchors %+v", s.Anchors)
	}
	b = newRegion(t, nil)
	b.inRegion()
	did := b.moveTo(at, offered(anchor1, 1, 10))
	if p := b.homeUpdate(did); p.Source != b.node.current.careOf {
		t.Errorf("told %v", p.Source)
	}
}

// A node that starts again has the regional care-of address that it had: what is left of
// the binding of before is renewed, and does not count against what it may have.
func TestRegionalAddressAfterRestart(t *testing.T) {
	var was netip.Addr
	for seed := range uint64(3) {
		b := newRegion(t, func(c *Config) { c.Seed = seed })
		if rcoa := b.inRegion(); was.IsValid() && rcoa != was {
			t.Errorf("seed %d: %v, was %v", seed, rcoa, was)
		} else {
			was = rcoa
		}
	}
	b := newRegion(t, func(c *Config) { c.HomeAddress = homeAddress.Next() })
	b.carrier(true)
	if p := b.localTo(b.hearOn(1, ar1, offered(anchor1, 2, 10)), anchor1); p.HomeAddress == was {
		t.Error("two nodes have the same")
	}
}

// The anchor may come to grant less while an update to the home agent is on its way: what
// that grants is shortened then.
//
// Covers: P5.
func TestAnchorGrantsLessMeanwhile(t *testing.T) {
	b := newRegion(t, nil)
	b.carrier(true)
	did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
	b.homeAccepts(b.homeUpdate(did))
	rcoa := b.localTo(did, anchor1).HomeAddress
	home := b.homeUpdate(b.anchorAccepts(b.localTo(did, anchor1)))
	b.pass(400 * time.Millisecond)
	ask := b.wire(mip6.Packet{Source: anchor1, Destination: rcoa, Message: mip6.BindingRefreshRequest{}})
	local := b.localTo(b.handle(role.MessageReceived{Link: 1, Packet: ask}), anchor1)
	did = b.handle(b.anchorAnswer(local, mip6.StatusAccepted, func(a *mip6.BindingAcknowledgement) { a.Lifetime = mip6.LifetimeFrom(40 * time.Second) }))
	did = append(did, b.homeAccepts(home)...)
	all := sends(did, false)
	if len(all) == 0 {
		t.Fatal("the home agent is not told")
	}
	last := all[len(all)-1]
	if l := last.Message.(mip6.BindingUpdate).Lifetime.Duration(); last.Source != rcoa || l > 40*time.Second {
		t.Errorf("told %v for %v", last.Source, l)
	}
	b.homeAccepts(last)
}

// At home no anchor is asked for a binding any more.
func TestNoBindingBeginsAtHome(t *testing.T) {
	b := newRegion(t, nil)
	b.carrier(true)
	did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
	b.homeAccepts(b.homeUpdate(did))
	did = append(b.moveTo(atHome), b.pass(time.Minute)...)
	for _, p := range sends(did, true) {
		if u := p.Message.(mip6.BindingUpdate); u.Lifetime > 0 {
			t.Errorf("an update for %v from %v", u.Lifetime.Duration(), p.Source)
		}
	}
}

// An anchor that does not serve outside its domain does what it may (RFC 5380 §8): that is
// no failure, and nothing to warn of.
func TestFormerAnchorRefuses(t *testing.T) {
	for _, offers := range [][]mip6.MobilityAnchorPoint{nil, {offered(anchor2, 2, 10)}} {
		b := newRegion(t, nil)
		b.inRegion()
		old := b.localTo(b.moveTo(ar3, offers...), anchor1)
		did := b.handle(b.anchorAnswer(old, mip6.StatusAdministrativelyProhibited, nil))
		for _, l := range only[role.Log](did) {
			if l.Level > slog.LevelInfo {
				t.Errorf("said: %+v", l)
			}
		}
		if s := b.node.Snapshot(b.now); s.Stats.AnchorFailures != 0 {
			t.Errorf("%d failures", s.Stats.AnchorFailures)
		}
	}
}

// A home agent that has asked for a pause has it, whatever the anchor says meanwhile.
func TestHomeAgentPauseInRegion(t *testing.T) {
	b := newRegion(t, nil)
	b.carrier(true)
	did := b.hearOn(1, ar1, offered(anchor1, 2, 10))
	b.handle(b.answerTo(b.homeUpdate(did), mip6.StatusHomeRegistrationNotSupported, nil))
	b.quietAtHome(b.anchorAccepts(b.localTo(did, anchor1)))
	did = b.pass(slowRetry)
	if p := b.homeUpdate(did); !b.node.isRegional(p.Source) {
		t.Errorf("told %v", p.Source)
	}
}

// Access routers that prefer different anchors do not make each move one to the home
// agent.
func TestRoutersPreferDifferentAnchors(t *testing.T) {
	b := newRegion(t, nil)
	b.inRegion()
	home := 0
	for i := range 60 {
		to, first, second := ar2, uint8(9), uint8(10)
		if i%2 == 1 {
			to, first, second = ar1, 10, 9
		}
		did := b.moveTo(to, offered(anchor1, 2, first), offered(anchor2, 2, second))
		for range 20 {
			for len(did) > 0 {
				var next []role.Action
				for _, p := range sends(did, true) {
					if p.Source == b.node.current.careOf {
						next = append(next, b.anchorAccepts(p)...)
					}
				}
				for _, p := range sends(did, false) {
					home++
					next = append(next, b.homeAccepts(p)...)
				}
				did = next
			}
			did = b.pass(100 * time.Millisecond)
		}
	}
	if home > 12 {
		t.Errorf("%d updates to the home agent in %d moves between routers that both have both anchors", home, 60)
	}
}

// Anybody can send a refresh request in the name of an anchor: not each costs an update.
func TestForgedRefreshRequests(t *testing.T) {
	b := newRegion(t, nil)
	rcoa := b.inRegion()
	count := 0
	for range 100 {
		p := b.wire(mip6.Packet{Source: anchor1, Destination: rcoa, Message: mip6.BindingRefreshRequest{}})
		for _, p := range sends(append(b.handle(role.MessageReceived{Link: 1, Packet: p}), b.pass(100*time.Millisecond)...), true) {
			count++
			b.anchorAccepts(p)
		}
	}
	if count == 0 || count > 5 {
		t.Errorf("%d updates in ten seconds", count)
	}
}

// Of several home agents the one that has answered through the anchor before, and does not
// now, is left first, as elsewhere: the anchor stays.
func TestHomeAgentDiesBehindAnchor(t *testing.T) {
	second := netip.MustParseAddr("2001:db8:10::2")
	b := newRegion(t, func(c *Config) { c.HomeAgents = append(c.HomeAgents, second) })
	rcoa := b.inRegion()
	b.handle(role.TunnelRefused{Home: homeAddress})
	asked := b.now
	for b.now.Sub(asked) < 8*time.Second {
		did := b.answering(100 * time.Millisecond)
		for _, p := range sends(did, true) {
			b.anchorAccepts(p)
		}
		for _, p := range sends(did, false) {
			if p.Source != rcoa {
				t.Fatalf("%v is told %v", p.Destination, p.Source)
			}
			if p.Destination == second {
				b.homeAccepts(p)
				b.pass(time.Second)
				if path := b.kernel.tunnel.Paths[0]; path.Local != rcoa || path.Remote != second {
					t.Errorf("tunnel %+v", path)
				}
				return
			}
		}
	}
	t.Error("the second home agent is not told")
}
