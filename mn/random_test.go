package mn

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/ro"
	"roam6/nd"
	"roam6/overlay"
)

// chance is a source of events that may happen to a node, in any order.
type chance struct {
	*bench
	*rand.Rand
}

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

var someCells = []cell{ar1, ar2, eui, atHome, {netip.MustParseAddr("fe80::a3"), ar1.prefix}, {ar1.router, ar2.prefix}}

// event makes one.
func (c chance) event() {
	index := 1 + c.IntN(3)
	name := fmt.Sprintf("up%d", c.IntN(3))
	if c.IntN(10) > 0 {
		name = fmt.Sprintf("up%d", index-1)
	}
	switch c.IntN(20) {
	case 0, 1:
		e := upLink(index, name, c.IntN(3) > 0)
		e.Link.Carriers = uint32(c.IntN(2))
		c.handle(e)
	case 2:
		if c.IntN(5) == 0 {
			c.handle(role.LinkGone{Index: index})
		}
	case 3, 4, 5, 6:
		c.handle(advertisement(index, pick(c.Rand, someCells...), func(ra *nd.RouterAdvertisement) {
			ra.RouterLifetime = pick(c.Rand, 0, time.Minute, 9000*time.Second)
			ra.Interval = pick(c.Rand, 0, time.Second)
			ra.Preference = pick(c.Rand, nd.PreferenceLow, nd.PreferenceMedium, nd.PreferenceHigh)
			ra.Prefixes[0].ValidLifetime = pick(c.Rand, 0, time.Minute, time.Hour, mip6.InfiniteLifetime)
			ra.Prefixes[0].PreferredLifetime = pick(c.Rand, 0, ra.Prefixes[0].ValidLifetime)
			ra.Anchors = c.someAnchors()
			ra.Managed, ra.OtherConfig, ra.Prefixes[0].Autonomous = c.IntN(2) == 0, c.IntN(3) == 0, c.IntN(3) > 0
			if c.IntN(10) == 0 {
				ra.Prefixes = nil
			}
		}))
	case 7, 8:
		target := pick(c.Rand, someCells...).router
		if c.IntN(4) == 0 {
			target = pick(c.Rand, careOf1, careOf2, homeAddress, leased1, leased2, leasedX, foreign1)
		}
		c.handle(role.NeighborHeard{Link: index, From: target, Target: target, Solicited: c.IntN(4) > 0, Solicitation: c.IntN(10) == 0})
	case 9, 10, 11:
		c.answerSomething()
	case 12:
		rcoa := c.someRegional()
		c.handle(pick[role.Event](c.Rand, role.TunnelSilent{Home: homeAddress}, role.TunnelRefused{Home: homeAddress},
			role.TunnelSilent{Home: rcoa}, role.TunnelRefused{Home: rcoa}, role.TrafficSeen{Home: homeAddress, Peer: neighbor, Side: overlay.MobileSide},
			role.PeerRefused{Local: homeAddress, Peer: peer}, role.UnknownHomeAddress{}))
	case 13:
		c.handle(role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide})
	case 14:
		if c.IntN(5) == 0 {
			x := config()
			x.HomeAgents = pick(c.Rand, []netip.Addr{homeAgent}, []netip.Addr{agentB, homeAgent}, nil)
			x.DiscoverHomeAgent = len(x.HomeAgents) == 0
			x.Uplinks = pick(c.Rand, []string{"up0", "up1", "up2"}, []string{"up1"}, []string{"up2", "up0"})
			x.DefaultSource, x.WaitForDAD = c.IntN(2) == 0, c.IntN(2) == 0
			x.Addressing = c.addressing()
			if c.IntN(3) > 0 {
				hierarchical(&x)
				x.Hierarchy.Selection = AnchorSelection(c.IntN(3))
				x.Hierarchy.Lifetime = pick(c.Rand, 0, 30*time.Second, time.Hour)
			}
			x.RouteOptimisation = pick(c.Rand, ro.Policy{}, ro.Policy{Mode: ro.On})
			c.did(c.node.Reconfigure(c.now, x))
		}
	case 15:
		c.correspondent(c.actions)
	case 16, 17:
		c.handle(c.leases(index))
	case 18, 19:
		c.handle(role.ForeignAddresses{Link: index, Addresses: c.list(64, foreign1, foreign2)})
	}
}

// neighbor is a correspondent on the link of ar1.
var neighbor = netip.MustParseAddr("2001:db8:a1::99")

// heir1 is another anchor of the prefix of anchor1.
var heir1 = netip.MustParseAddr("2001:db8:71::2")

// someAnchors are what a router may say of anchors.
func (c chance) someAnchors() []mip6.MobilityAnchorPoint {
	var all []mip6.MobilityAnchorPoint
	for _, a := range []netip.Addr{anchor1, heir1, anchor2, netip.MustParseAddr("2001:db8:a2::1"), netip.MustParseAddr("2001:db8:10::2")} {
		if c.IntN(3) > 0 {
			continue
		}
		o := offered(a, uint8(1+c.IntN(15)), uint8(c.IntN(16)))
		o.ValidLifetime = pick(c.Rand, 0, 20*time.Second, time.Minute, time.Hour, time.Hour, mip6.InfiniteLifetime)
		o.Allocated = c.IntN(10) == 0
		all = append(all, o)
	}
	return all
}

// someRegional is a regional care-of address of the node, or none.
func (c chance) someRegional() netip.Addr {
	if all := c.node.regionals; len(all) > 0 {
		return all[c.IntN(len(all))].rcoa
	}
	return anchor1
}

// answerAnchor answers a local update in some way.
func (c chance) answerAnchor(p mip6.Packet) {
	status := mip6.StatusAccepted
	if c.IntN(4) == 0 {
		status = pick(c.Rand, mip6.StatusAdministrativelyProhibited, mip6.StatusDuplicateAddress, mip6.StatusSequenceOutOfWindow,
			mip6.StatusReasonUnspecified, mip6.StatusIDMismatch, mip6.Status(c.IntN(256)))
	}
	if !c.node.Takes(mip6.Packet{Source: p.Destination, Destination: p.Source, RouteHome: p.HomeAddress}) {
		return
	}
	c.handle(c.anchorAnswer(p, status, func(a *mip6.BindingAcknowledgement) {
		if c.IntN(10) == 0 {
			a.Lifetime = mip6.Lifetime(c.IntN(20))
		}
	}))
}

// addressing says for some uplinks where their addresses come from.
func (c chance) addressing() map[string]Addressing {
	m := make(map[string]Addressing)
	for i := range 3 {
		m[fmt.Sprintf("up%d", i)] = pick(c.Rand, AddressingAuto, AddressingAuto, AddressingSLAAC, AddressingDHCP, AddressingForeign)
	}
	return m
}

// leases is what a client may tell, whether it was asked or not.
func (c chance) leases(link int) role.LeaseChanged {
	return role.LeaseChanged{Link: link, Lease: role.Lease{Addresses: c.list(128, leased1, leased1b, leased2, leasedX)}}
}

// list is some of the addresses, with any lifetimes.
func (c chance) list(bits int, all ...netip.Addr) []role.LeasedPrefix {
	var list []role.LeasedPrefix
	for range c.IntN(3) {
		valid := pick(c.Rand, time.Second, time.Minute, time.Hour, mip6.InfiniteLifetime)
		list = append(list, role.LeasedPrefix{Prefix: netip.PrefixFrom(pick(c.Rand, all...), bits), Preferred: pick(c.Rand, 0, valid, valid), Valid: valid})
	}
	return list
}

// answerSomething answers the last update, a former one, or the last discovery.
func (c chance) answerSomething() {
	sends := only[role.Send](c.all)
	for range 5 {
		if len(sends) == 0 {
			break
		}
		s := sends[len(sends)-1-c.IntN(min(len(sends), 3))]
		if u, ok := s.Packet.Message.(mip6.BindingUpdate); ok && u.Flags&mip6.UpdateMAP != 0 {
			c.answerAnchor(s.Packet)
			break
		}
		if u, ok := s.Packet.Message.(mip6.BindingUpdate); ok && u.Flags&mip6.UpdateHome != 0 {
			status := mip6.StatusAccepted
			if c.IntN(4) == 0 {
				status = pick(c.Rand, mip6.StatusPrefixDiscoveryNecessary, mip6.StatusReasonUnspecified, mip6.StatusAdministrativelyProhibited,
					mip6.StatusNotHomeAgent, mip6.StatusSequenceOutOfWindow, mip6.StatusTypeChangeDisallowed, mip6.StatusIDMismatch,
					mip6.StatusInvalidCareOfAddress, mip6.Status(c.IntN(256)))
			}
			if status == mip6.StatusDuplicateAddress && c.IntN(10) > 0 {
				return // it would end the most of the ride
			}
			c.handle(c.answerTo(s.Packet, status, func(a *mip6.BindingAcknowledgement) {
				if c.IntN(10) == 0 {
					a.Lifetime = mip6.Lifetime(c.IntN(4))
				}
			}))
			break
		}
	}
	if icmp := only[role.SendICMP](c.actions); len(icmp) > 0 {
		if m, ok := icmp[0].Packet.Message.(mip6.HomeAgentRequest); ok {
			c.handle(role.ICMPReceived{Link: 1, Packet: mip6.ICMPPacket{Source: agentB, Destination: icmp[0].Packet.Source,
				Message: mip6.HomeAgentReply{Identifier: m.Identifier, HomeAgents: []netip.Addr{agentB, homeAgent}}}})
		}
	}
}

// rideAtRandom lets a node live through anything and then come to rest.
func rideAtRandom(t *testing.T, seed uint64, router bool) *bench {
	change := func(c *Config) {
		c.Uplinks, c.Seed = []string{"up0", "up1", "up2"}, seed
		c.HomeAgents = []netip.Addr{homeAgent, agentB}
		c.Addressing = map[string]Addressing{"up2": Addressing(seed / 2 % 4)}
		if seed%8 >= 2 {
			hierarchical(c)
		}
	}
	b := newBench(t, change)
	r := rand.New(rand.NewPCG(seed, 99))
	calm := false
	if router {
		b = newRouterBenchWith(t, change, func() Verdict {
			if calm || r.IntN(4) > 0 {
				return VerdictPlain
			}
			return pick(r, VerdictRetry, VerdictElsewhere, VerdictElsewhere, VerdictWithdraw, VerdictReject, VerdictStop)
		})
	}
	defer func() { calm = true }()
	c := chance{b, r}
	for range 300 {
		c.event()
		if len(b.all) > 100 {
			b.all = append(b.all[:0], b.all[len(b.all)-100:]...)
		}
		b.pass(pick(c.Rand, 0, time.Millisecond, 50*time.Millisecond, time.Second, 10*time.Second, time.Minute))
		if b.Failed() {
			t.Fatalf("seed %d: %+v", seed, b.node.current)
		}
	}
	return b
}

// Whatever happens in whatever order: there is at most one default route, nothing
// leaves beside the tunnel, no update has a source that is not on its link (see
// bench.did), what is on an uplink is accounted for and what somebody else manages
// is left alone (see bench.accounted and kernel.spares), no anchor is told a regional
// care-of address and none is used without its tunnel (see kernel), the node rests between
// events, works again when the world is in order, and leaves nothing when it ends.
//
// Covers: B2, B5, B9, B10, P6.
func TestAnythingMayHappen(t *testing.T) {
	seeds := uint64(600)
	if testing.Short() {
		seeds = 60
	}
	for seed := range seeds {
		router := seed%2 == 1
		b := rideAtRandom(t, seed, router)
		calm := config()
		regional := seed%3 > 0
		if regional {
			hierarchical(&calm)
		}
		b.did(b.node.Reconfigure(b.now, calm)) // ends a halt
		for i := range 3 {
			b.handle(upLink(1+i, fmt.Sprintf("up%d", i), false))
			b.handle(lent(1 + i))
		}
		b.pass(4 * time.Hour) // every hint and refusal is forgiven, every lifetime over
		b.carrier(true)
		for range 3 { // what it said of other anchors before is over
			b.hearOn(1, ar1, offered(anchor1, 2, 10))
			b.pass(50 * time.Millisecond)
		}
		b.handle(lease(1)) // the client that was asked for has nothing here
		for range 20 {
			b.answerAnchors()
			u, p := b.lastUpdateAnyway()
			if r := b.node.registrationOf(p.Destination); r != nil {
				if _, ok := r.find(u.Sequence); ok {
					b.acknowledge()
				}
			}
			b.answering(10 * time.Second)
		}
		domain := ar1.prefix
		if regional {
			domain = netip.PrefixFrom(anchor1, 64)
		}
		if s := b.node.Snapshot(b.now); !s.Update.Registered || !domain.Contains(s.Update.CareOf) || s.Lost {
			t.Fatalf("seed %d: %+v lost %v, %+v, %+v", seed, s.Update, s.Lost, s.Anchors, s.Regional)
		}
		if len(b.kernel.regional) > 0 != regional {
			t.Fatalf("seed %d: tunnels %v", seed, b.kernel.regional)
		}
		b.handle(role.Stop{})
		b.pass(3 * time.Second)
		b.empty()
		if !b.node.Done() || b.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// answerAnchors answers the last update to each anchor that waits for an answer.
func (b *bench) answerAnchors() {
	b.Helper()
	for _, r := range slices.Clone(b.node.regionals) {
		all := sends(b.all, true)
		i := slices.IndexFunc(all, func(p mip6.Packet) bool {
			return p.Destination == r.agent && p.HomeAddress == r.rcoa && p.Message.(mip6.BindingUpdate).Sequence == r.sequence
		})
		if _, ok := r.find(r.sequence); ok && i >= 0 {
			b.anchorAccepts(all[i])
		}
	}
}

// lastUpdateAnyway is lastUpdate to a home agent, or nothing.
func (b *bench) lastUpdateAnyway() (mip6.BindingUpdate, mip6.Packet) {
	sends := only[role.Send](b.all)
	for i := len(sends) - 1; i >= 0; i-- {
		if u, ok := sends[i].Packet.Message.(mip6.BindingUpdate); ok && u.Flags&mip6.UpdateHome != 0 {
			return u, sends[i].Packet
		}
	}
	return mip6.BindingUpdate{}, mip6.Packet{}
}

// The same events give the same actions.
func TestDeterministic(t *testing.T) {
	for seed := range uint64(10) {
		a, b := rideAtRandom(t, seed, true), rideAtRandom(t, seed, true)
		if !reflect.DeepEqual(a.all, b.all) || !reflect.DeepEqual(a.node.Snapshot(a.now), b.node.Snapshot(b.now)) {
			t.Fatalf("seed %d: not the same twice", seed)
		}
	}
}
