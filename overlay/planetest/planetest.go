package planetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// Traits are what engines may differ in.
type Traits struct {
	// SurvivesCrash: packets of tunnels pass while the process is gone.
	SurvivesCrash bool
	// NoLimit: an agent adds no encapsulation limit to packets that are tunnel packets
	// already (RFC 2473 §4.1.1 (d) does not demand it), which makes them 8 octets shorter.
	NoLimit bool
	// Again: the engine passes all of the suite otherwise set up, and runs what depends on
	// how it is attached to the kernel: no optimised routes, which are user space's, and no
	// great number of tunnels.
	Again bool
	// Delegates: busy optimised routes are carried by the kernel's Mobile IPv6, where it has
	// that.
	Delegates bool
}

// limit is how many octets an agent adds to tunnel packets beside the tunnel header.
func (t Traits) limit() int {
	if t.NoLimit {
		return 0
	}
	return 8
}

// Run runs the conformance tests.
func Run(t *testing.T, open Open, traits Traits) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"Forwarding", forwarding},
		{"Links", byLink},
		{"Visitor", visitor},
		{"ReturnHome", returnHome},
		{"InFlight", inFlight},
		{"SourceCheck", sourceCheck},
		{"PacketTooBig", packetTooBig},
		{"Unreachable", unreachable},
		{"TCP", transfer},
		{"Swap", swap},
		{"ManyBindings", manyBindings},
		{"Failures", failures},
		{"Close", closing},
		{"Crash", crash},
		{"Adopt", func(t *testing.T, open Open) { adopt(t, open, traits) }},
		{"Sweep", sweep},
		{"Optimised", optimisedRoute},
		{"OptimisedMobiles", mobiles},
		{"OptimisedMTU", optimisedMTU},
		{"OptimisedUnreachable", optimisedUnreachable},
		{"OptimisedSwap", optimisedSwap},
		{"OptimisedHostile", hostile},
		{"OptimisedSockets", sockets},
		{"OptimisedManySockets", manySockets},
		{"MobileSockets", mobileSockets},
		{"OptimisedMany", manyRoutes},
		{"OptimisedFailures", optimisedFailures},
		{"OptimisedClose", optimisedClose},
		{"Watch", watching},
		{"Silence", silent},
		{"Stacked", func(t *testing.T, open Open) { stackedForwarding(t, open, traits) }},
		{"StackedSourceCheck", stackedSourceCheck},
		{"StackedMTU", func(t *testing.T, open Open) { stackedMTU(t, open, traits) }},
		{"StackedUnreachable", stackedUnreachable},
		{"StackedSwap", stackedSwap},
		{"StackedOrder", stackedOrder},
		{"StackedInFlight", stackedInFlight},
		{"StackedFailures", stackedFailures},
		{"StackedOptimised", stackedOptimised},
		{"StackedSignalling", stackedSignalling},
		{"StackedSilence", stackedSilence},
		{"StackedClose", stackedClose},
	} {
		if traits.Again && (strings.Contains(test.name, "Optimised") || strings.Contains(test.name, "Many") || strings.Contains(test.name, "Sockets")) {
			continue
		}
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
	if traits.Delegates {
		t.Run("OptimisedDelegated", func(t *testing.T) { delegatedRoute(t, open) })
	}
}

// Packets pass between a correspondent and the home address and the mobile
// network, both ways, and are counted; those within the mobile network do not
// enter the tunnel.
func forwarding(t *testing.T, open Open) {
	w := newWorld(t)
	w.openBoth(open)
	w.attach(0)
	correspondent := w.udp(w.correspondent, correspondentAddress)
	home := w.udp(w.mobile, homeAddress)
	node := w.udp(w.node, nodeAddress)
	for _, inner := range []*net.UDPConn{home, node} {
		w.passes(correspondent, inner)
		w.passes(inner, correspondent)
	}
	for name, e := range map[string]Engine{"agent": w.agentEngine, "mobile": w.mobileEngine} {
		all := e.Tunnels()
		if len(all) != 1 {
			t.Fatalf("%s has %d tunnels, want 1", name, len(all))
		}
		s := all[0]
		if s.Home != homeAddress || len(s.Inner) != 2 || len(s.Paths) != 1 || s.Since.IsZero() {
			t.Errorf("%s: tunnel %+v", name, s)
		}
		if s.MTU != 1460 {
			t.Errorf("%s: MTU %d, want 1460", name, s.MTU)
		}
		if c := s.Counters; c.EncapPackets < 2 || c.DecapPackets < 2 || c.EncapBytes < 2*48 || c.DecapBytes < 2*48 {
			t.Errorf("%s: counters %+v", name, c)
		}
	}
	before := w.mobileEngine.Tunnels()[0].Counters
	w.passes(node, home)
	w.passes(home, node)
	if after := w.mobileEngine.Tunnels()[0].Counters; after != before {
		t.Errorf("packets within the mobile network were tunnelled: %+v, before %+v", after, before)
	}
	// A part of the mobile network that is not there must not make packets turn
	// round between agent and mobile until their hop limit ends.
	nowhere := netip.MustParseAddrPort("[2001:db8:5:0:1::9]:9")
	w.removeAddress(w.mobile, "lan", "2001:db8:5::1/64")
	w.core.Route(networkPrefix.String(), agentAddress.String(), "ha") // as the Internet has it
	before = w.agentEngine.Tunnels()[0].Counters
	if _, err := correspondent.WriteToUDPAddrPort([]byte("x"), nowhere); err != nil {
		t.Fatal(err)
	}
	for range 5 { // in the meantime it would turn round as often
		w.passes(correspondent, home)
		w.passes(home, correspondent)
	}
	if n := w.agentEngine.Tunnels()[0].Counters.EncapPackets - before.EncapPackets; n >= 10 {
		t.Errorf("%d packets to the mobile network, 6 were sent", n)
	}
}

// Tunnel packets leave by the link of their path, also where the routing table
// prefers another.
func byLink(t *testing.T, open Open) {
	w := newWorld(t)
	w.openBoth(open)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	sent := func(name string) uint64 { return w.mobile.Link(name).Attrs().Statistics.TxPackets }
	names := [2]string{"wan1", "wan2"}
	for i := range names {
		w.attach(i)
		w.passes(node, correspondent)
		own, other := sent(names[i]), sent(names[1-i])
		const packets = 20
		for range packets {
			w.passes(node, correspondent)
		}
		own, other = sent(names[i])-own, sent(names[1-i])-other
		if own < packets || other >= packets {
			t.Errorf("path by %s: %d packets by it, %d by the other link", names[i], own, other)
		}
	}
}

// Without a tunnel nothing is left in the way of ordinary routing.
func returnHome(t *testing.T, open Open) {
	w := newWorld(t)
	w.openBoth(open)
	w.attach(0)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	w.passes(correspondent, node)
	w.detach()
	if n := len(w.agentEngine.Tunnels()) + len(w.mobileEngine.Tunnels()); n != 0 {
		t.Errorf("%d tunnels after removal", n)
	}
	// Again: to remove what is not there is no failure.
	w.detach()
	w.agent.Route(networkPrefix.String(), "2001:db8:a::ff", "up")
	w.core.Route(networkPrefix.String(), "2001:db8:1::2", "mr1")
	w.passes(correspondent, node)
	w.passes(node, correspondent)
}

// RFC 6275 §11.5.5: what was on its way to the care-of address arrives when the
// mobile is at home, as long as it has that.
func inFlight(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	correspondent, home := w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress)
	passes := func(what string) {
		t.Helper()
		before := w.mobileEngine.Drops()
		w.apply(w.mobileEngine, overlay.Change{Remove: overlay.Key{Home: homeAddress, Side: overlay.MobileSide}})
		w.passes(correspondent, home)
		after := w.mobileEngine.Drops()
		for _, r := range []overlay.DropReason{overlay.DropNoTunnel, overlay.DropOuterSource, overlay.DropRoutingHeader} {
			if n := after[r] - before[r]; n != 0 {
				t.Errorf("%s: %d drops: %v", what, n, r)
			}
		}
		w.attach(0)
	}
	passes("in the tunnel")
	w.bind(0)
	w.direct("optimised", func() { passes("optimised") })
}

// RFC 6275 §10.4.5, RFC 3963 §9 on the agent's side, RFC 6275 §11.3 on the
// mobile's: a tunnel packet must come from the other end.
func sourceCheck(t *testing.T, open Open) {
	w := newWorld(t)
	w.openBoth(open)
	w.attach(0)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	w.passes(correspondent, node)
	send := w.rawSocket(w.core)
	toCorrespondent := func(from netip.Addr) []byte {
		return udpPacket(netip.AddrPortFrom(from, 9), addrPort(correspondent))
	}
	toNode := udpPacket(netip.AddrPortFrom(correspondentAddress, 9), addrPort(node))
	linkLocal := netip.MustParseAddr("fe80::1")

	for _, test := range []struct {
		name   string
		engine Engine
		packet []byte
		reason overlay.DropReason // 0: passes
		to     *net.UDPConn
	}{
		{"agent: care-of address", w.agentEngine, tunnelled(firstCareOf, agentAddress, toCorrespondent(nodeAddress)), 0, correspondent},
		{"agent: foreign outer source", w.agentEngine, tunnelled(foreignAddress, agentAddress, toCorrespondent(nodeAddress)), overlay.DropOuterSource, correspondent},
		{"agent: inner source of nobody", w.agentEngine, tunnelled(firstCareOf, agentAddress, toCorrespondent(foreignAddress)), overlay.DropNoTunnel, correspondent},
		{"agent: link-local inner source", w.agentEngine, tunnelled(firstCareOf, agentAddress, toCorrespondent(linkLocal)), overlay.DropLinkScope, correspondent},
		{"agent: not IPv6", w.agentEngine, tunnelled(firstCareOf, agentAddress, make([]byte, 60)), overlay.DropMalformed, correspondent},
		{"mobile: agent", w.mobileEngine, tunnelled(agentAddress, firstCareOf, toNode), 0, node},
		{"mobile: other care-of address of its own", w.mobileEngine, tunnelled(agentAddress, secondCareOf, toNode), 0, node},
		{"mobile: foreign outer source", w.mobileEngine, tunnelled(foreignAddress, firstCareOf, toNode), overlay.DropOuterSource, node},
	} {
		w.judges(test.name, test.engine, test.reason, func() { send(test.packet) },
			func(limit time.Duration) bool { return received(test.to, limit) })
	}

	// RFC 3963 §6: only sources from the mobile network enter the tunnel.
	if err := routeInto(w.mobile, "2001:db8:c::1/128", w.mobileEngine.Link()); err != nil {
		t.Fatal(err)
	}
	stranger := w.udp(w.mobile, firstCareOf)
	before := w.mobileEngine.Drops()[overlay.DropInnerSource]
	if _, err := stranger.WriteToUDPAddrPort([]byte("x"), addrPort(correspondent)); err != nil {
		t.Fatal(err)
	}
	w.eventually("drop of a source that is not the mobile network's", func() bool {
		return w.mobileEngine.Drops()[overlay.DropInnerSource] > before
	})
}

// RFC 2473 §6.7, §7.1, §8.2; RFC 6275 §10.4.5: the source of a packet that is
// too big for the tunnel learns the tunnel's MTU, whether the tunnel begins at
// a link that is too small or meets it on the way.
func packetTooBig(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		link int // MTU of the link between core and mobile
		mtu  int // that the source must learn
	}{
		{"1500", 1500, 1460},
		{"1400", 1400, 1360},
		{"1290", 1290, 1280}, // the tunnel's MTU is 1250: the minimum goes in fragments
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.openBoth(open)
			w.firstLinkMTU(test.link)
			w.attach(0)
			correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
			for _, c := range []struct {
				name     string
				from, to *net.UDPConn
				s        *nstest.Space
			}{{"down", correspondent, node, w.correspondent}, {"up", node, correspondent, w.node}} {
				if got := w.discover(c.s, c.from, c.to, test.mtu); got != test.mtu {
					t.Errorf("%s: path MTU %d, want %d", c.name, got, test.mtu)
				}
				// Exactly that much passes.
				b := make([]byte, test.mtu-48)
				w.eventually(c.name+": the largest packet", func() bool {
					if _, err := c.from.WriteToUDPAddrPort(b, addrPort(c.to)); err != nil {
						t.Fatal(err)
					}
					return received(c.to, 50*time.Millisecond)
				})
			}
		})
	}
}

// RFC 2473 §8: an unreachable end of the tunnel is told to the source of the
// inner packet as an unreachable address.
func unreachable(t *testing.T, open Open) {
	w := newWorld(t)
	w.openBoth(open)
	w.attach(0)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	w.passes(correspondent, node)
	w.removeAddress(w.core, "mr1", "2001:db8:1::ff/64") // and with it the route to the care-of address

	var dial net.Conn
	w.correspondent.Do(func() (err error) {
		dial, err = net.DialUDP("udp6", nil, net.UDPAddrFromAddrPort(addrPort(node)))
		return err
	})
	defer dial.Close()
	if err := setSocketOption(dial.(*net.UDPConn), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1); err != nil {
		t.Fatal(err)
	}
	w.eventually("an unreachable error at the correspondent", func() bool {
		_, err := dial.Write([]byte("x"))
		return errors.Is(err, unix.EHOSTUNREACH)
	})
}

// A swap of paths loses no packet while both deliver, in neither direction.
func swap(t *testing.T, open Open) {
	w := newWorld(t)
	w.openBoth(open)
	w.attach(0)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	w.passes(correspondent, node)
	w.passes(node, correspondent)
	w.attach(1) // resolve the neighbours of the other link, too
	w.passes(correspondent, node)
	w.passes(node, correspondent)

	const packets, moves = 6000, 30
	sent := make(chan struct{}, 2*packets)
	down, up := stream(t, correspondent, node, packets, sent), stream(t, node, correspondent, packets, sent)
	for i := range moves {
		for range 2 * packets / (moves + 1) {
			<-sent
		}
		// The agent first: a mobile whose both paths are up keeps the old one until
		// the binding update of the new one has arrived.
		for _, step := range []struct {
			e    Engine
			side overlay.Side
		}{{w.agentEngine, overlay.AgentSide}, {w.mobileEngine, overlay.MobileSide}} {
			if err := step.e.Apply([]overlay.Change{{Set: w.tunnel(step.side, i%2)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, lost := range map[string]<-chan int{"down": down, "up": up} {
		if n := <-lost; n != 0 {
			t.Errorf("%s: %d of %d packets lost over %d swaps; drops: agent %v, mobile %v",
				name, n, packets, moves, w.agentEngine.Drops(), w.mobileEngine.Drops())
		}
	}
}

// underWay is how many datagrams of a stream are on their way at most: several streams
// fit into the queue of 500 that a device has, and a slow machine loses none there.
const underWay = 100

// stream sends numbered datagrams and tells how many did not arrive.
func stream(t *testing.T, from, to *net.UDPConn, packets int, sent chan<- struct{}) (lost <-chan int) {
	room := make(chan struct{}, underWay)
	go func() {
		b := make([]byte, 8)
		for i := range packets {
			select {
			case room <- struct{}{}:
			case <-time.After(100 * time.Millisecond): // those before are lost
			}
			binary.BigEndian.PutUint64(b, uint64(i))
			if _, err := from.WriteToUDPAddrPort(b, addrPort(to)); err != nil {
				t.Errorf("from %v: %v", from.LocalAddr(), err)
			}
			sent <- struct{}{}
			time.Sleep(20 * time.Microsecond)
		}
	}()
	// All that is sent while a slow machine is busy with a move must have room.
	if err := setSocketOption(to, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
		t.Fatal(err)
	}
	result := make(chan int, 1)
	go func() {
		seen := make([]bool, packets)
		missing := packets
		b := make([]byte, 64)
		for missing > 0 {
			_ = to.SetReadDeadline(time.Now().Add(2 * time.Second))
			m, err := to.Read(b)
			if err != nil {
				break
			}
			if i := binary.BigEndian.Uint64(b); m == 8 && i < uint64(packets) && !seen[i] {
				seen[i] = true
				missing--
				select {
				case <-room:
				default:
				}
			}
		}
		result <- missing
	}()
	return result
}

// Many bindings are installed and removed in one batch each, and the kernel
// has a route for each of them as long as it lasts.
func manyBindings(t *testing.T, open Open) {
	w := newWorld(t)
	w.openBoth(open)
	before := Snapshot(w.agent)
	const n = 10_000
	var set, remove []overlay.Change
	for i := range n {
		home := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xaa, 0xaa, byte(i >> 8), byte(i), 15: 1})
		k := overlay.Key{Home: home, Side: overlay.AgentSide}
		set = append(set, overlay.Change{Set: &overlay.Tunnel{
			Key: k, Inner: []netip.Prefix{netip.PrefixFrom(home, 64).Masked()},
			Paths: []overlay.Path{{Local: agentAddress, Remote: firstCareOf}},
		}})
		remove = append(remove, overlay.Change{Remove: k})
	}
	if err := w.agentEngine.Apply(set); err != nil {
		t.Fatal(err)
	}
	if got := len(w.agentEngine.Tunnels()); got != n {
		t.Errorf("%d tunnels, want %d", got, n)
	}
	// The last of them works.
	last := set[n-1].Set
	if err := w.mobileEngine.Apply([]overlay.Change{{Set: &overlay.Tunnel{
		Key: overlay.Key{Home: last.Home, Side: overlay.MobileSide}, Inner: last.Inner, Paths: []overlay.Path{w.path(overlay.MobileSide, 0)},
	}}}); err != nil {
		t.Fatal(err)
	}
	l, err := w.mobile.Handle.LinkByIndex(w.mobileEngine.Link())
	if err != nil {
		t.Fatal(err)
	}
	w.mobile.Address(l.Attrs().Name, last.Home.String()+"/128")
	w.passes(w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, last.Home))
	if err := w.agentEngine.Apply(remove); err != nil {
		t.Fatal(err)
	}
	if after := Snapshot(w.agent); after != before {
		t.Errorf("left behind:\n%s", difference(before, after))
	}
}

// A change that fails leaves the others of its batch standing.
func failures(t *testing.T, open Open) {
	w := newWorld(t)
	w.openBoth(open)
	good := w.tunnel(overlay.AgentSide, 0)
	path := good.Paths
	other := netip.MustParseAddr("2001:db8:bb::1")
	key := overlay.Key{Home: other, Side: overlay.AgentSide}
	host := []netip.Prefix{netip.PrefixFrom(other, 128)}
	for name, bad := range map[string]overlay.Tunnel{
		"no side":              {Key: overlay.Key{Home: other}, Inner: host, Paths: path},
		"no path":              {Key: key, Inner: host},
		"no prefix":            {Key: key, Paths: path},
		"prefix of another":    {Key: key, Inner: []netip.Prefix{networkPrefix}, Paths: path},
		"care-of within":       {Key: key, Inner: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/64")}, Paths: path},
		"link-local care-of":   {Key: key, Inner: host, Paths: []overlay.Path{{Local: agentAddress, Remote: netip.MustParseAddr("fe80::1")}}},
		"link-local prefix":    {Key: key, Inner: []netip.Prefix{netip.MustParsePrefix("fe80::/64")}, Paths: path},
		"whole address space":  {Key: key, Inner: []netip.Prefix{netip.MustParsePrefix("::/0")}, Paths: path},
		"invalid home address": {Key: overlay.Key{Side: overlay.AgentSide}, Inner: host, Paths: path},
	} {
		err := w.agentEngine.Apply([]overlay.Change{{Set: good}, {Set: &bad}})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if n := len(w.agentEngine.Tunnels()); n != 1 {
			t.Errorf("%s: %d tunnels, want the good one alone", name, n)
		}
	}
	if err := w.mobileEngine.Apply([]overlay.Change{{Set: w.tunnel(overlay.MobileSide, 0)}}); err != nil {
		t.Fatal(err)
	}
	w.passes(w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress))

	// A care-of address that has gone, and a link that has gone, end nothing.
	node := w.udp(w.node, nodeAddress)
	w.removeAddress(w.mobile, "wan1", "2001:db8:1::2/64")
	before := w.mobileEngine.Drops()[overlay.DropNoSource]
	w.eventually("drops for want of the care-of address", func() bool {
		_, _ = node.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(correspondentAddress, 9))
		return w.mobileEngine.Drops()[overlay.DropNoSource] > before
	})
	w.attach(1)
	w.passes(node, w.udp(w.correspondent, correspondentAddress))
}

// Close leaves nothing in the kernel, and may be called again.
func closing(t *testing.T, open Open) {
	w := newWorld(t)
	agent, mobile := Snapshot(w.agent), Snapshot(w.mobile)
	w.openBoth(open)
	w.attach(0)
	w.passes(w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress))
	w.attach(1)
	for name, c := range map[string]struct {
		e      Engine
		s      *nstest.Space
		before string
	}{"agent": {w.agentEngine, w.agent, agent}, "mobile": {w.mobileEngine, w.mobile, mobile}} {
		if err := c.e.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
		if err := c.e.Close(); err != nil {
			t.Errorf("%s: close again: %v", name, err)
		}
		if after := Snapshot(c.s); after != c.before {
			t.Errorf("%s: left behind:\n%s", name, difference(c.before, after))
		}
		if err := c.e.Apply([]overlay.Change{{Set: w.tunnel(overlay.AgentSide, 0)}}); err == nil {
			t.Errorf("%s: Apply after Close gives no error", name)
		}
	}
}

// difference lists the lines that are only in one of two texts.
func difference(before, after string) string {
	var b strings.Builder
	was := map[string]bool{}
	for l := range strings.Lines(before) {
		was[l] = true
	}
	for l := range strings.Lines(after) {
		if !was[l] {
			fmt.Fprintf(&b, "+ %s", l)
		}
		delete(was, l)
	}
	for l := range was {
		fmt.Fprintf(&b, "- %s", l)
	}
	return b.String()
}
