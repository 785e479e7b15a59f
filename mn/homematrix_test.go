package mn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// goHome takes the node from where it is to the home link.
func (b *bench) goHome() []role.Action {
	b.Helper()
	b.carrier(false)
	b.pass(50 * time.Millisecond)
	b.carrier(true)
	return b.hear(atHome)
}

// answered answers the last de-registration.
func (b *bench) answered(status mip6.Status) []role.Action {
	b.Helper()
	if u, _ := b.lastUpdate(); u.Lifetime != 0 {
		b.Fatalf("the last update is no de-registration: %+v", u)
	}
	return b.handle(b.answer(status, nil))
}

// lost is an answer that does not come before the node has sent again.
func (b *bench) lost() { b.answering(1500 * time.Millisecond) }

// Returning home in every order of events, with and without the home agent's
// answer, as host and as router (RFC 6275 §11.5.5): in the end the home address
// is on the home link and announced, the tunnel and every care-of address are
// gone, nothing is sent any more; the node can leave again; and the end leaves
// nothing.
//
// Covers: B3, M9, R7.
func TestReturnHomeMatrix(t *testing.T) {
	for _, c := range []struct {
		name      string
		ride      func(*bench)
		probes    int // solicitations for the home address
		announced int
	}{
		{"answered", func(b *bench) { b.away(); b.goHome(); b.answered(mip6.StatusAccepted) }, 0, 3},
		{"home agent restarted meanwhile", func(b *bench) { b.away(); b.goHome(); b.answered(mip6.StatusNotHomeAgent) }, 0, 3},
		{"binding had run out", func(b *bench) {
			b.away()
			b.carrier(false)
			b.pass(time.Hour)
			b.goHome()
			b.answered(mip6.StatusNotHomeAgent)
		}, 1, 3},
		{"first de-registration lost", func(b *bench) { b.away(); b.goHome(); b.lost(); b.answered(mip6.StatusAccepted) }, 0, 3},
		{"first answer lost", func(b *bench) { b.away(); b.goHome(); b.lost(); b.answered(mip6.StatusNotHomeAgent) }, 0, 3},
		{"home agent dead", func(b *bench) { b.away(); b.goHome(); b.answering(time.Minute) }, 0, 3},
		{"answered late", func(b *bench) {
			b.away()
			b.goHome()
			b.answering(time.Minute)
			b.answered(mip6.StatusAccepted)
		}, 0, 6},
		{"left before the answer", func(b *bench) {
			b.away()
			b.goHome()
			late := b.answer(mip6.StatusAccepted, nil)
			b.carrier(false)
			b.carrier(true)
			b.hear(ar2)
			b.handle(late)
			b.acknowledge()
			b.pass(5 * time.Second)
			b.goHome()
			b.answered(mip6.StatusAccepted)
		}, 0, 3},
		{"back and forth, never answered", func(b *bench) {
			b.away()
			for range 10 {
				b.goHome()
				b.pass(2 * time.Second)
				b.carrier(false)
				b.carrier(true)
				b.hear(ar2)
				b.pass(2 * time.Second)
			}
			b.goHome()
			b.answering(time.Minute)
		}, 0, 3},
		{"no advertisement at first", func(b *bench) {
			b.away()
			b.carrier(false)
			b.carrier(true)
			did := b.pass(time.Minute)
			if n := len(only[role.SolicitRouter](did)); n < 3 {
				b.Errorf("%d solicitations", n)
			}
			b.hear(atHome)
			b.answered(mip6.StatusAccepted)
		}, 0, 3},
		{"carrier flaps before the answer", func(b *bench) {
			b.away()
			b.goHome()
			b.goHome()
			b.goHome()
			b.answered(mip6.StatusAccepted)
		}, 0, 3},
		{"carrier flaps after the answer", func(b *bench) {
			b.away()
			b.goHome()
			b.answered(mip6.StatusAccepted)
			b.pass(5 * time.Second)
			if did := b.goHome(); len(updates(did)) != 0 {
				b.Errorf("de-registers again: %v", did)
			}
		}, 0, 3},
		{"starts at home", func(b *bench) { b.carrier(true); b.hear(atHome); b.answered(mip6.StatusNotHomeAgent) }, 1, 3},
		{"starts at home with a binding of before", func(b *bench) { b.carrier(true); b.hear(atHome); b.answered(mip6.StatusAccepted) }, 0, 3},
		{"starts at home, home agent dead", func(b *bench) { b.carrier(true); b.hear(atHome); b.answering(time.Minute) }, 0, 3},
		{"never registered away", func(b *bench) {
			b.carrier(true)
			b.hear(ar1)
			b.goHome()
			b.answered(mip6.StatusNotHomeAgent)
		}, 1, 3},
		{"refused, then answered", func(b *bench) {
			b.away()
			b.goHome()
			b.answered(mip6.StatusReasonUnspecified)
			b.pass(10 * time.Second)
			b.answered(mip6.StatusAccepted)
		}, 0, 3},
		{"home address taken, its owner leaves", func(b *bench) {
			b.carrier(true)
			b.hear(atHome)
			b.answered(mip6.StatusNotHomeAgent)
			b.handle(role.NeighborHeard{Link: 1, From: netip.MustParseAddr("2001:db8:10::66"), Target: homeAddress})
			if as, _ := b.kernelState(); len(as) != 0 {
				b.Errorf("a duplicate is used: %v", as)
			}
			b.pass(time.Minute)
			b.goHome()
			b.answered(mip6.StatusNotHomeAgent)
		}, 2, 3},
		{"home agent defends the address", func(b *bench) {
			b.away()
			b.goHome()
			b.handle(role.NeighborHeard{Link: 1, From: homeAgent, Target: homeAddress})
			b.answered(mip6.StatusAccepted)
		}, 0, 3},
	} {
		for _, router := range []bool{false, true} {
			name := c.name + ", host"
			if router {
				name = c.name + ", router"
			}
			t.Run(name, func(t *testing.T) {
				b := newBench(t, nil)
				if router {
					b = newRouterBench(t, nil)
				}
				b.T = t
				c.ride(b)
				b.answering(20 * time.Minute)

				var probes, announced int
				for _, p := range only[role.ProbeAddress](b.all) {
					if p.Addr == homeAddress {
						probes++
					}
				}
				for _, a := range only[role.AnnounceAddress](b.all) {
					if a.Addr == homeAddress && a.Router == router {
						announced++
					}
				}
				if probes != c.probes || announced != c.announced {
					t.Errorf("%d solicitations for the home address, want %d; %d announcements, want %d", probes, c.probes, announced, c.announced)
				}
				as, rs := b.kernelState()
				if !slices.Equal(as, []string{"2001:db8:10::100/64 dev 1"}) || b.kernel.tunnel != nil {
					t.Errorf("at home: addresses %v, tunnel %+v", as, b.kernel.tunnel)
				}
				if !slices.Equal(rs, []string{"2001:db8:10::/64 dev 1", "::/0 dev 1 via fe80::1"}) {
					t.Errorf("at home: routes %v", rs)
				}
				if n := len(updates(b.answering(time.Hour))); n != 0 {
					t.Errorf("%d updates at home", n)
				}

				b.carrier(false)
				b.carrier(true)
				b.hear(ar2)
				b.acknowledge()
				if s := b.node.Snapshot(b.now); !s.Update.Registered || s.Update.CareOf != careOf2 {
					t.Errorf("after leaving: %+v", s.Update)
				}
				b.handle(role.Stop{})
				b.pass(3 * time.Second)
				b.empty()
			})
		}
	}
}

// A node that starts at home and knows no home agent learns one from its
// advertisement, and de-registers with it in the same call (RFC 6275 §10.5.1,
// §11.5.5). Without any the home address serves all the same.
//
// Covers: B3, M10.
func TestStartAtHomeWithDiscovery(t *testing.T) {
	discover := func(c *Config) { c.HomeAgents, c.DiscoverHomeAgent = nil, true }
	b := newBench(t, discover)
	b.carrier(true)
	did := b.handle(advertisement(1, atHome, func(ra *nd.RouterAdvertisement) { ra.HomeAgent = true }))
	if to := updatesTo(did, homeAgent); len(to) != 1 || lifetimeOf(to[0]) != 0 || to[0].Source != homeAddress {
		t.Fatalf("%v", did)
	}
	b.answered(mip6.StatusNotHomeAgent)
	b.pass(5 * time.Second)
	if b.node.current.homeState != homeSettled {
		t.Errorf("state %d", b.node.current.homeState)
	}

	b = newBench(t, discover)
	b.carrier(true)
	b.hear(atHome)
	did = b.answering(20 * time.Minute)
	if len(only[role.AnnounceAddress](did)) != maxAnnouncements || b.node.current.homeState != homeSettled {
		t.Errorf("state %d, %v", b.node.current.homeState, only[role.AnnounceAddress](did))
	}
	if t0 := b.node.reg.retransmit; !t0.IsZero() {
		t.Errorf("still asks, at %v", t0)
	}
}

// At home the home agent's link-layer address comes from its advertisement, or
// from a solicitation with the link-local address as its source, never with the
// home address that it defends (RFC 6275 §11.5.5).
//
// Covers: M9.
func TestHomeAgentsLinkLayerAddress(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.carrier(false)
	b.carrier(true)
	did := b.hear(cell{netip.MustParseAddr("fe80::2"), netip.PrefixFrom(netip.MustParseAddr("2001:db8:10::2"), 64)})
	asked := only[role.ProbeNeighbor](did)
	if len(asked) != 1 || asked[0] != (role.ProbeNeighbor{Link: 1, Source: linkLocal, Target: homeAgent}) {
		t.Fatalf("asked %v", asked)
	}
	order := []string{}
	for _, a := range did {
		switch a.(type) {
		case role.ProbeNeighbor:
			order = append(order, "probe")
		case role.Send:
			order = append(order, "update")
		}
	}
	if !slices.Equal(order, []string{"probe", "update"}) {
		t.Errorf("order %v", order)
	}
}

// With the L bit the home agent has defended the link-local address, too; it is
// announced with the home address (RFC 6275 §11.5.5).
//
// Covers: M9.
func TestLinkLocalAnnounced(t *testing.T) {
	home := netip.MustParseAddr("2001:db8:10::ff:fe00:42")
	b := newBench(t, func(c *Config) { c.HomeAddress = home })
	b.carrier(true)
	b.hear(atHome)
	u, p := b.lastUpdate()
	m, err := sa.Seal(mip6.BindingAcknowledgement{Sequence: u.Sequence, Options: u.Options[1:2]}, p.Source, home)
	if err != nil {
		t.Fatal(err)
	}
	did := b.handle(role.MessageReceived{Link: 1, Packet: b.wire(mip6.Packet{Source: homeAgent, Destination: home, Message: m})})
	var announced []netip.Addr
	for _, a := range only[role.AnnounceAddress](did) {
		announced = append(announced, a.Addr)
	}
	if !slices.Equal(announced, []netip.Addr{home, linkLocal}) {
		t.Errorf("announced %v", announced)
	}
}

// The answer to an update of before the return home says nothing of it: not a
// refusal, and not that the home agent is none for mobile routers (RFC 6275 §11.5.5,
// RFC 3963 §5.3).
//
// Covers: B3.
func TestLateAnswersAtHome(t *testing.T) {
	for name, verdict := range map[string]Verdict{"plain": VerdictPlain, "withdraw": VerdictWithdraw, "reject": VerdictReject,
		"elsewhere": VerdictElsewhere, "stop": VerdictStop} {
		b := newRouterBenchWith(t, nil, func() Verdict { return verdict })
		b.carrier(true)
		b.hear(ar1)
		status := mip6.StatusRouterNotPermitted
		if verdict == VerdictWithdraw {
			status = mip6.StatusAccepted
		}
		late := b.answer(status, nil)
		b.goHome()
		b.handle(late)
		if u, _ := b.lastUpdate(); u.Lifetime != 0 {
			t.Fatalf("%s: last update %+v", name, u)
		}
		b.answered(mip6.StatusAccepted)
		b.pass(5 * time.Second)
		if a := b.node.current; a.homeState != homeSettled || b.node.halted || b.node.withdrawing() {
			t.Errorf("%s: home state %d, halted %t, withdrawing %t", name, a.homeState, b.node.halted, b.node.withdrawing())
		}
	}
}

// A registration that was being ended for another home agent is ended by the return
// home: what leaves home next is a registration.
//
// Covers: B3.
func TestWithdrawalEndsAtHome(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	c := b.node.config
	c.HomeAgents = []netip.Addr{agentB}
	b.pass(10 * time.Second)
	b.did(b.node.Reconfigure(b.now, c))
	if !b.node.withdrawing() {
		t.Fatal("the registration is not ended first")
	}
	b.goHome()
	b.answered(mip6.StatusAccepted)
	b.pass(5 * time.Second)
	b.carrier(false)
	b.carrier(true)
	b.hear(ar2)
	if u, p := b.lastUpdate(); u.Lifetime == 0 || p.Destination != agentB {
		t.Errorf("%+v to %v", u, p.Destination)
	}
}

// A new configuration while the registration with a home agent that does not serve
// routers is being ended: it is asked again, and not given up afterwards.
func TestReconfigureWhileWithdrawing(t *testing.T) {
	verdict := VerdictWithdraw
	b := newRouterBenchWith(t, nil, func() Verdict { return verdict })
	b.carrier(true)
	b.hear(ar1)
	b.acknowledge()
	if !b.node.withdrawing() {
		t.Fatal("not ended")
	}
	verdict = VerdictPlain
	b.pass(10 * time.Millisecond)
	b.did(b.node.Reconfigure(b.now, b.node.config))
	b.acknowledge()
	b.pass(time.Second) // the rate limit
	if u, _ := b.lastUpdate(); b.node.halted || u.Lifetime == 0 {
		t.Fatalf("halted %t, last update %+v", b.node.halted, u)
	}
	b.acknowledge()
	if !b.node.reg.registered {
		t.Error("not registered")
	}
}
