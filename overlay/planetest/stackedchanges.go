package planetest

import (
	"net/netip"
	"testing"

	"roam6/overlay"
)

// RFC 5380 §6.1: moves within the domain change the anchor's tunnel alone, and lose
// nothing, in neither direction.
// Covers: P7.
func stackedSwap(t *testing.T, open Open) {
	w := newStackedWorld(t, open)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	for i := range 2 { // resolve the neighbours of both links
		w.enter(i)
		w.passes(correspondent, node)
		w.passes(node, correspondent)
	}
	const packets, moves = 6000, 30
	sent := make(chan struct{}, 2*packets)
	down, up := stream(t, correspondent, node, packets, sent), stream(t, node, correspondent, packets, sent)
	for i := range moves {
		for range 2 * packets / (moves + 1) {
			<-sent
		}
		w.enter(i % 2)
	}
	for name, lost := range map[string]<-chan int{"down": down, "up": up} {
		if n := <-lost; n != 0 {
			t.Errorf("%s: %d of %d packets lost over %d moves; drops: agent %v, anchor %v, mobile %v",
				name, n, packets, moves, w.agentEngine.Drops(), w.anchorEngine.Drops(), w.mobileEngine.Drops())
		}
	}
	// And so do moves into the domain and out of it.
	sent = make(chan struct{}, 2*packets)
	down, up = stream(t, correspondent, node, packets, sent), stream(t, node, correspondent, packets, sent)
	for i := range moves {
		for range 2 * packets / (moves + 1) {
			<-sent
		}
		if i%2 == 0 {
			w.attach(0)
		} else {
			w.stack()
		}
	}
	for name, lost := range map[string]<-chan int{"down": down, "up": up} {
		if n := <-lost; n != 0 {
			t.Errorf("in and out, %s: %d of %d packets lost over %d moves; drops: agent %v, anchor %v, mobile %v",
				name, n, packets, moves, w.agentEngine.Drops(), w.anchorEngine.Drops(), w.mobileEngine.Drops())
		}
	}
}

// The two tunnels come and go in any order. Without the lower one nothing leaves from
// the regional care-of address by an uplink.
func stackedOrder(t *testing.T, open Open) {
	w := makeStackedWorld(t, open)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	both := func() {
		t.Helper()
		w.passes(correspondent, node)
		w.passes(node, correspondent)
	}
	lower := overlay.Key{Home: regionalCareOf, Side: overlay.MobileSide}
	w.apply(w.anchorEngine, overlay.Change{Set: w.regional(overlay.AgentSide, 0)})
	w.apply(w.agentEngine, overlay.Change{Set: w.upper(overlay.AgentSide)})
	// The upper one first, and in one Apply.
	w.apply(w.mobileEngine, overlay.Change{Set: w.upper(overlay.MobileSide)})
	w.apply(w.mobileEngine, overlay.Change{Set: w.regional(overlay.MobileSide, 0)})
	both()
	w.attach(0)
	both()
	w.apply(w.agentEngine, overlay.Change{Set: w.upper(overlay.AgentSide)})
	w.apply(w.mobileEngine, overlay.Change{Remove: lower})
	w.apply(w.mobileEngine, overlay.Change{Set: w.upper(overlay.MobileSide)}, overlay.Change{Set: w.regional(overlay.MobileSide, 0)})
	both()

	w.apply(w.mobileEngine, overlay.Change{Remove: lower})
	for range 2 {
		before, sent := w.mobileEngine.Drops()[overlay.DropUnreachable], w.mobile.Link("wan1").Attrs().Statistics.TxPackets
		const packets = 20
		for range packets {
			if _, err := node.WriteToUDPAddrPort([]byte("x"), addrPort(correspondent)); err != nil {
				t.Fatal(err)
			}
		}
		w.eventually("drops without the lower tunnel", func() bool {
			return w.mobileEngine.Drops()[overlay.DropUnreachable] == before+packets
		})
		if n := w.mobile.Link("wan1").Attrs().Statistics.TxPackets - sent; n >= packets {
			t.Errorf("%d packets leave without the lower tunnel", n)
		}
		w.apply(w.mobileEngine, overlay.Change{Set: w.upper(overlay.MobileSide)}) // again: it does not help
	}
	w.attach(0) // its path changes
	both()
	w.apply(w.mobileEngine, overlay.Change{Set: w.regional(overlay.MobileSide, 0)})
	w.stack()
	both()
	w.apply(w.mobileEngine, overlay.Change{Remove: lower})
	w.enter(1) // the lower one is set again
	both()
}

// RFC 6275 §11.5.5 and the grace of former paths at both levels: what was on its way
// arrives.
func stackedInFlight(t *testing.T, open Open) {
	w := newStackedWorld(t, open)
	correspondent, home := w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress)
	w.passes(correspondent, home)
	for name, change := range map[string]overlay.Change{
		"the mobile has left the domain": {Set: w.tunnel(overlay.MobileSide, 0)},
		"the anchor's tunnel has gone":   {Remove: overlay.Key{Home: regionalCareOf, Side: overlay.MobileSide}},
		"the home agent's has gone":      {Remove: overlay.Key{Home: homeAddress, Side: overlay.MobileSide}},
	} {
		before := w.mobileEngine.Drops()
		w.apply(w.mobileEngine, change)
		w.passes(correspondent, home)
		after := w.mobileEngine.Drops()
		for _, r := range []overlay.DropReason{overlay.DropNoTunnel, overlay.DropOuterSource} {
			if n := after[r] - before[r]; n != 0 {
				t.Errorf("%s: %d drops: %v", name, n, r)
			}
		}
		w.enter(0)
		w.stack()
	}
}

// A tunnel that would be on itself, in a circle or the third of a stack is refused,
// whichever comes first, and the others of its batch hold.
func stackedFailures(t *testing.T, open Open) {
	w := newStackedWorld(t, open)
	third := netip.MustParseAddr("2001:db8:aa::77")
	tunnel := func(home, local netip.Addr) *overlay.Tunnel {
		return &overlay.Tunnel{
			Key: overlay.Key{Home: home, Side: overlay.MobileSide}, Inner: []netip.Prefix{netip.PrefixFrom(home, 128)},
			Paths: []overlay.Path{{Local: local, Remote: agentAddress}},
		}
	}
	network := *tunnel(third, third)
	network.Inner = []netip.Prefix{netip.MustParsePrefix("2001:db8:77::/64")}
	for name, bad := range map[string]overlay.Change{
		"on itself":               {Set: tunnel(third, third)},
		"on itself, network only": {Set: &network},
		"circle":                  {Set: tunnel(regionalCareOf, homeAddress)},
		"third on two":            {Set: tunnel(third, homeAddress)},
		"third below two":         {Set: func() *overlay.Tunnel { s := w.regional(overlay.MobileSide, 0); s.Paths[0].Local = third; return s }()},
		"route on two":            {Optimise: &overlay.Route{Pair: pair(overlay.MobileSide), CareOf: homeAddress}},
	} {
		changes := []overlay.Change{bad, {Set: w.regional(overlay.MobileSide, 1)}}
		if name == "third below two" { // the third is there first
			if err := w.mobileEngine.Apply([]overlay.Change{{Set: tunnel(third, firstCareOf)}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.mobileEngine.Apply(changes); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := w.status(w.mobileEngine, regionalCareOf).Paths[0].Local; got != secondCareOf {
			t.Errorf("%s: the other change does not hold: %v", name, got)
		}
		if got := w.status(w.mobileEngine, homeAddress).Paths[0].Local; got != regionalCareOf {
			t.Errorf("%s: the tunnel on it is from %v", name, got)
		}
		if err := w.mobileEngine.Apply([]overlay.Change{{Remove: overlay.Key{Home: third, Side: overlay.MobileSide}}}); err != nil {
			t.Fatal(err)
		}
	}
	w.enter(0)
	w.passes(w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress))
}
