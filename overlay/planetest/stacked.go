package planetest

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/mhsock"
	"roam6/internal/rtnl/nstest"
	"roam6/mip6"
	"roam6/overlay"
)

// RFC 5380 §6.1, §6.1.1, §6.2: everything passes in both tunnels, and from and to the
// regional care-of address in the anchor's alone. Each level counts what is in it, and
// adds 40 octets.
// Covers: P7.
func stackedForwarding(t *testing.T, open Open, traits Traits) {
	w := newStackedWorld(t, open)
	w.everything(w.correspondent, correspondentAddress, w.mobile, regionalCareOf)
	for s, at := range map[*nstest.Space]netip.Addr{w.mobile: homeAddress, w.node: nodeAddress} {
		lower, upper := w.status(w.mobileEngine, regionalCareOf).Counters, w.status(w.mobileEngine, homeAddress).Counters
		w.everything(w.correspondent, correspondentAddress, s, at)
		var l, u overlay.Counters
		w.eventually("the same packets at both levels", func() bool {
			l, u = w.status(w.mobileEngine, regionalCareOf).Counters, w.status(w.mobileEngine, homeAddress).Counters
			for _, c := range [][2]*uint64{
				{&l.EncapPackets, &lower.EncapPackets}, {&l.EncapBytes, &lower.EncapBytes}, {&l.DecapPackets, &lower.DecapPackets}, {&l.DecapBytes, &lower.DecapBytes},
				{&u.EncapPackets, &upper.EncapPackets}, {&u.EncapBytes, &upper.EncapBytes}, {&u.DecapPackets, &upper.DecapPackets}, {&u.DecapBytes, &upper.DecapBytes},
			} {
				*c[0] -= *c[1]
			}
			u.EncapBytes += 40 * u.EncapPackets
			u.DecapBytes += 40 * u.DecapPackets
			return l == u
		})
		if u.EncapBytes < 2<<20 || u.DecapBytes < 2<<20 {
			t.Errorf("%v: counters %+v", at, u)
		}
	}
	for _, c := range []struct {
		e    Engine
		home netip.Addr
		mtu  int
	}{{w.mobileEngine, regionalCareOf, 1460}, {w.mobileEngine, homeAddress, 1420}, {w.anchorEngine, regionalCareOf, 1460}, {w.agentEngine, homeAddress, 1420 - traits.limit()}} {
		if s := w.status(c.e, c.home); s.MTU != c.mtu {
			t.Errorf("tunnel of %v: MTU %d, want %d", c.home, s.MTU, c.mtu)
		}
	}
	if s := w.status(w.mobileEngine, homeAddress); len(s.Paths) != 1 || s.Paths[0] != w.upper(overlay.MobileSide).Paths[0] {
		t.Errorf("paths %+v", s.Paths)
	}
	for name, e := range map[string]Engine{"mobile": w.mobileEngine, "anchor": w.anchorEngine, "agent": w.agentEngine} {
		d := e.Drops()
		delete(d, overlay.DropLinkScope) // the kernel's own, when the device comes up
		delete(d, overlay.DropTooBig)    // path MTU discovery
		if len(d) != 0 {
			t.Errorf("%s: drops %v", name, d)
		}
	}
}

// RFC 6275 §11.3 at both levels: the outer source is the anchor, then the home agent.
func stackedSourceCheck(t *testing.T, open Open) {
	w := newStackedWorld(t, open)
	correspondent, node, own := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress), w.udp(w.mobile, regionalCareOf)
	w.passes(correspondent, node)
	w.core.Route(regionalCareOf.String()+"/128", firstCareOf.String(), "mr1")
	send := w.rawSocket(w.core)
	inner := udpPacket(netip.AddrPortFrom(correspondentAddress, 9), addrPort(node))
	limited := ipv6Packet(agentAddress, regionalCareOf, unix.IPPROTO_DSTOPTS, append([]byte{unix.IPPROTO_IPV6, 0, 4, 1, 3, 1, 1, 0}, inner...))
	// The first of two fragments and the second.
	half := (len(inner) / 2) &^ 7
	fragment := func(more byte, offset int, part []byte) []byte {
		return ipv6Packet(agentAddress, regionalCareOf, unix.IPPROTO_FRAGMENT, append([]byte{unix.IPPROTO_IPV6, 0, 0, byte(offset) | more, 0, 0, 0, 77}, part...))
	}
	for _, test := range []struct {
		name   string
		packet []byte
		reason overlay.DropReason // 0: passes
	}{
		{"anchor, agent", tunnelled(anchorAddress, firstCareOf, tunnelled(agentAddress, regionalCareOf, inner)), 0},
		{"with an encapsulation limit", tunnelled(anchorAddress, firstCareOf, limited), 0},
		{"not the agent", tunnelled(anchorAddress, firstCareOf, tunnelled(foreignAddress, regionalCareOf, inner)), overlay.DropOuterSource},
		{"the anchor twice", tunnelled(anchorAddress, firstCareOf, tunnelled(anchorAddress, regionalCareOf, inner)), overlay.DropOuterSource},
		{"not the anchor", tunnelled(foreignAddress, firstCareOf, tunnelled(agentAddress, regionalCareOf, inner)), overlay.DropOuterSource},
		{"the agent twice", tunnelled(agentAddress, firstCareOf, tunnelled(agentAddress, regionalCareOf, inner)), overlay.DropOuterSource},
		{"past the anchor", tunnelled(agentAddress, regionalCareOf, inner), overlay.DropOuterSource},
		{"from the anchor without the agent", tunnelled(anchorAddress, firstCareOf, inner), overlay.DropOuterSource},
		{"link-local within", tunnelled(anchorAddress, firstCareOf, tunnelled(agentAddress, regionalCareOf, udpPacket(netip.MustParseAddrPort("[fe80::1]:9"), addrPort(node)))), overlay.DropLinkScope},
	} {
		w.judges(test.name, w.mobileEngine, test.reason, func() { send(test.packet) },
			func(limit time.Duration) bool { return received(node, limit) })
	}
	for _, f := range [][]byte{fragment(1, 0, inner[:half]), fragment(0, half, inner[half:])} {
		send(tunnelled(anchorAddress, firstCareOf, f))
	}
	if !received(node, patience) {
		t.Errorf("fragments of the agent's do not arrive; drops %v", w.mobileEngine.Drops())
	}
	send(tunnelled(anchorAddress, firstCareOf, udpPacket(netip.AddrPortFrom(correspondentAddress, 9), addrPort(own))))
	if !received(own, patience) {
		t.Error("a packet to the regional care-of address does not arrive")
	}
}

// RFC 5380 §11, RFC 2473 §7.1, §8.2: wherever the path is too small, on this side of the
// anchor or beyond it, each sender finds out, to the octet.
// Covers: P7.
func stackedMTU(t *testing.T, open Open, traits Traits) {
	for _, test := range []struct {
		name                  string
		first, near, far      int // MTU of the mobile's link, between core and anchor, behind the anchor
		tunnel, up, down, own int // of the anchor's tunnel at the mobile; that senders must learn; likewise with the regional care-of address
	}{
		// Down, the anchor is a node on the way of a tunnel, and may add an encapsulation
		// limit. (Here it does.)
		{"nowhere", 1500, 1500, 1500, 1460, 1420, 1412, 1460},
		{"first link", 1400, 1500, 1500, 1360, 1320, 1312, 1360},
		{"near", 1500, 1400, 1500, 1360, 1320, 1312, 1360},
		{"far", 1500, 1500, 1400, 1460, 1360, 1360, 1400},
		{"near, less far", 1500, 1420, 1440, 1380, 1340, 1332, 1380},
		{"far, less near", 1500, 1480, 1400, 1440, 1360, 1360, 1400},
		{"fragments of the agent's", 1500, 1350, 1500, 1310, 1280, 1280, 1310},
		{"fragments of both", 1500, 1290, 1500, 1280, 1280, 1280, 1280},
		{"fragments of both, at the first link", 1285, 1500, 1300, 1280, 1280, 1280, 1280},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.down == test.up-8 {
				test.down = test.up - traits.limit()
			}
			w := newStackedWorld(t, open)
			w.firstLinkMTU(test.first)
			w.linkMTU(w.anchor, "ar", w.core, "map", test.near)
			w.linkMTU(w.transit, "map", w.anchor, "up", test.far)
			w.enter(0)
			correspondent, home, node, own := w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress), w.udp(w.node, nodeAddress), w.udp(w.mobile, regionalCareOf)
			w.exactly(w.mobile, homeAddress, correspondent, test.up)
			w.exactly(w.node, nodeAddress, correspondent, test.up)
			w.exactly(w.correspondent, correspondentAddress, home, test.down)
			w.exactly(w.correspondent, correspondentAddress, node, test.down)
			// To another address, since a kernel knows path MTUs by destination.
			w.exactly(w.mobile, regionalCareOf, w.udp(w.correspondent, peerSecond), test.own)
			w.exactly(w.correspondent, correspondentAddress, own, test.own)
			for home, want := range map[netip.Addr]int{regionalCareOf: test.tunnel, homeAddress: test.up} {
				if got := w.status(w.mobileEngine, home).MTU; got != want {
					t.Errorf("tunnel of %v: MTU %d, want %d", home, got, want)
				}
			}
			w.transfers(w.correspondent, correspondentAddress, w.node, nodeAddress)
			w.transfers(w.node, nodeAddress, w.correspondent, correspondentAddress)
			// Another link, another path: what was learned of the one near is not of that.
			if test.near == 1500 && test.first == 1500 {
				w.enter(1)
				want := min(1420, test.far-40)
				if got := w.status(w.mobileEngine, homeAddress).MTU; got != want {
					t.Errorf("after a move: MTU %d, want %d", got, want)
				}
			}
		})
	}
}

// RFC 2473 §8 at both levels: that the anchor, or the home agent behind it, is
// unreachable is told to the source of the inner packet.
func stackedUnreachable(t *testing.T, open Open) {
	for name, from := range map[string]func(w *stackedWorld) *nstest.Space{
		"anchor": func(w *stackedWorld) *nstest.Space { return w.core },
		"agent":  func(w *stackedWorld) *nstest.Space { return w.anchor },
	} {
		t.Run(name, func(t *testing.T) {
			w := newStackedWorld(t, open)
			correspondent, node, home := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress), w.udp(w.mobile, homeAddress)
			w.passes(node, correspondent)
			w.passes(home, correspondent)
			w.withoutDefaultRoute(from(w))
			w.fails(w.mobile, homeAddress, addrPort(correspondent), unix.EHOSTUNREACH)
			w.fails(w.node, nodeAddress, addrPort(correspondent), unix.EHOSTUNREACH)
		})
	}
}

// RFC 5380 §6.1.1: an optimised route with the regional care-of address goes by the
// anchor, past the home agent, and follows moves within the domain.
func stackedOptimised(t *testing.T, open Open) {
	w := newStackedWorld(t, open)
	bind := func() {
		t.Helper()
		for e, side := range map[Engine]overlay.Side{w.correspondentEngine: overlay.CorrespondentSide, w.mobileEngine: overlay.MobileSide} {
			w.apply(e, overlay.Change{Optimise: &overlay.Route{Pair: pair(side), CareOf: regionalCareOf}})
		}
	}
	bind()
	correspondent, home := w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress)
	for i := range 2 {
		w.enter(i)
		before := w.status(w.anchorEngine, regionalCareOf).Counters
		w.direct("optimised", func() {
			w.everything(w.correspondent, correspondentAddress, w.mobile, homeAddress)
			w.exactly(w.correspondent, correspondentAddress, home, 1436)
			w.exactly(w.mobile, homeAddress, correspondent, 1436)
		})
		after := w.status(w.anchorEngine, regionalCareOf).Counters
		if after.EncapPackets-before.EncapPackets < 10 || after.DecapPackets-before.DecapPackets < 10 {
			t.Errorf("the anchor has carried %+v, before %+v", after, before)
		}
	}
	for name, e := range map[string]Engine{"mobile": w.mobileEngine, "correspondent": w.correspondentEngine} {
		all := e.Routes()
		if len(all) != 1 || all[0].CareOf != regionalCareOf || all[0].EncapPackets < 10 || all[0].DecapPackets < 10 {
			t.Errorf("%s: routes %+v", name, all)
		}
	}
	// A smaller link on this side of the anchor; beyond it.
	w.enter(0)
	w.linkMTU(w.anchor, "ar", w.core, "map", 1400)
	w.direct("near", func() {
		w.exactly(w.mobile, homeAddress, correspondent, 1336)
		w.exactly(w.correspondent, correspondentAddress, home, 1336)
	})
	w.linkMTU(w.transit, "map", w.anchor, "up", 1340)
	w.direct("far", func() {
		w.exactly(w.mobile, homeAddress, correspondent, 1316)
		w.exactly(w.correspondent, correspondentAddress, home, 1316)
	})
	w.withoutDefaultRoute(w.core)
	w.fails(w.mobile, homeAddress, addrPort(correspondent), unix.EHOSTUNREACH)
	w.core.Route("::/0", "2001:db8:e::1", "map")
	w.passes(home, correspondent)
	// Without the lower tunnel it leads nowhere.
	w.apply(w.mobileEngine, overlay.Change{Remove: overlay.Key{Home: regionalCareOf, Side: overlay.MobileSide}})
	before := w.mobileEngine.Drops()[overlay.DropUnreachable]
	if _, err := home.WriteToUDPAddrPort([]byte("x"), addrPort(correspondent)); err != nil {
		t.Fatal(err)
	}
	w.eventually("a drop without the lower tunnel", func() bool { return w.mobileEngine.Drops()[overlay.DropUnreachable] > before })
	w.enter(1)
	w.direct("again", func() { w.passes(home, correspondent) })
}

// RFC 5380 §6.1: signalling from the regional care-of address goes by the anchor's
// tunnel, marked as ours is, and what comes back is seen by a packet socket at the
// device, whatever the home agent's tunnel guards.
func stackedSignalling(t *testing.T, open Open) {
	w := newStackedWorld(t, open)
	type message struct {
		packet mip6.Packet
		link   int
	}
	listen := func(s *nstest.Space, local ...netip.Addr) (*mhsock.Conn, <-chan message) {
		heard := make(chan message, 16)
		var c *mhsock.Conn
		s.Do(func() (err error) {
			c, err = mhsock.Open(mhsock.Options{
				TableName: "planetest", Mark: 0x62750000,
				Local: func(a netip.Addr) bool {
					for _, l := range local {
						if a == l {
							return true
						}
					}
					return false
				},
				Deliver: func(b []byte, link int) {
					if p, err := mip6.ParsePacket(b); err == nil {
						heard <- message{p, link}
					}
				},
			})
			return err
		})
		t.Cleanup(func() { c.Close() })
		return c, heard
	}
	mobile, atMobile := listen(w.mobile, regionalCareOf, homeAddress)
	agent, atAgent := listen(w.agent, agentAddress)
	correspondent, atCorrespondent := listen(w.correspondent, correspondentAddress)
	update := mip6.BindingUpdate{Sequence: 7, Flags: mip6.UpdateAcknowledge | mip6.UpdateHome, Lifetime: 60}
	for _, protected := range []bool{false, true} {
		upper := w.upper(overlay.MobileSide)
		upper.Protected = protected
		w.apply(w.mobileEngine, overlay.Change{Set: upper})
		for _, test := range []struct {
			name   string
			from   *mhsock.Conn
			source netip.Addr
			at     <-chan message
			packet mip6.Packet
		}{
			{"update", mobile, regionalCareOf, atAgent, mip6.Packet{Source: regionalCareOf, Destination: agentAddress, HomeAddress: homeAddress, Message: update}},
			{"acknowledgement", agent, agentAddress, atMobile, mip6.Packet{Source: agentAddress, Destination: regionalCareOf, RouteHome: homeAddress, Message: mip6.BindingAcknowledgement{Sequence: 7}}},
			{"care-of test init", mobile, regionalCareOf, atCorrespondent, mip6.Packet{Source: regionalCareOf, Destination: correspondentAddress, Message: mip6.CareOfTestInit{}}},
			{"care-of test", correspondent, correspondentAddress, atMobile, mip6.Packet{Source: correspondentAddress, Destination: regionalCareOf, Message: mip6.CareOfTest{}}},
			{"update to a correspondent", mobile, regionalCareOf, atCorrespondent, mip6.Packet{Source: regionalCareOf, Destination: correspondentAddress, HomeAddress: homeAddress, Message: update}},
		} {
			b, err := test.packet.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			before := w.status(w.anchorEngine, regionalCareOf).Counters
			if err := test.from.Send(b, 0, test.source); err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			select {
			case m := <-test.at:
				if m.packet.Source != test.packet.Source || m.packet.HomeAddress != test.packet.HomeAddress || m.packet.RouteHome != test.packet.RouteHome {
					t.Errorf("%s arrives as %+v", test.name, m.packet)
				}
				if test.from != mobile && m.link != w.mobileEngine.Link() {
					t.Errorf("%s arrives by link %d, want the device %d", test.name, m.link, w.mobileEngine.Link())
				}
			case <-time.After(patience):
				t.Fatalf("%s does not arrive; drops: mobile %v, anchor %v", test.name, w.mobileEngine.Drops(), w.anchorEngine.Drops())
			}
			after := w.status(w.anchorEngine, regionalCareOf).Counters
			if n := after.EncapPackets + after.DecapPackets - before.EncapPackets - before.DecapPackets; n != 1 {
				t.Errorf("%s: the anchor carried %d packets", test.name, n)
			}
		}
	}
}

// Of two tunnels on each other each is reported silent for itself.
func stackedSilence(t *testing.T, open Open) {
	w := newStackedWorld(t, open)
	correspondent, home, own := w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress), w.udp(w.mobile, regionalCareOf)
	count := func(home netip.Addr) (n int) {
		w.mobileSees.mu.Lock()
		defer w.mobileSees.mu.Unlock()
		for _, a := range w.mobileSees.silent {
			if a == home {
				n++
			}
		}
		return n
	}
	w.passes(correspondent, home)
	// The home agent knows nothing any more, the anchor works.
	w.apply(w.agentEngine, overlay.Change{Remove: overlay.Key{Home: homeAddress, Side: overlay.AgentSide}})
	w.eventually("report of the home agent's tunnel", func() bool {
		if _, err := home.WriteToUDPAddrPort([]byte("x"), addrPort(correspondent)); err != nil {
			t.Fatal(err)
		}
		if err := pass(own, correspondent, patience); err != nil {
			t.Fatal(err)
		}
		if err := pass(correspondent, own, patience); err != nil {
			t.Fatal(err)
		}
		return count(homeAddress) > 0
	})
	if n := count(regionalCareOf); n != 0 {
		t.Errorf("%d reports of the anchor's tunnel, which answers", n)
	}
	w.stack()
	w.passes(correspondent, home)
	w.apply(w.anchorEngine, overlay.Change{Remove: overlay.Key{Home: regionalCareOf, Side: overlay.AgentSide}})
	before := count(homeAddress)
	w.eventually("reports of both tunnels", func() bool {
		if _, err := home.WriteToUDPAddrPort([]byte("x"), addrPort(correspondent)); err != nil && !errors.Is(err, unix.EHOSTUNREACH) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		return count(homeAddress) > before && count(regionalCareOf) > 0
	})
}

// Close leaves nothing of two tunnels in the kernel.
func stackedClose(t *testing.T, open Open) {
	w := newStackedWorld(t, open)
	w.apply(w.mobileEngine, overlay.Change{Optimise: &overlay.Route{Pair: pair(overlay.MobileSide), CareOf: regionalCareOf}})
	w.passes(w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress))
	if err := w.mobileEngine.Close(); err != nil {
		t.Error(err)
	}
	if after := Snapshot(w.mobile); after != w.before[w.mobile] {
		t.Errorf("left behind:\n%s", difference(w.before[w.mobile], after))
	}
}
