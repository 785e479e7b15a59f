package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/rtnl/nstest"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
	"roam6/overlay/planetest"
	"roam6/overlay/tun"
)

// What can pass in the kernel does, both ways, and is counted.
func TestPassesInKernel(t *testing.T) { everyKernel(t, passesInKernel) }

func passesInKernel(t *testing.T, w *world) {
	w.attach(0)
	correspondent, home, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress), w.udp(w.node, nodeAddress)
	all := func() {
		for _, c := range []*net.UDPConn{home, node} {
			w.passes(correspondent, c)
			w.passes(c, correspondent)
		}
	}
	all() // resolve neighbours
	user := carried(w.agent, "roam6") + carried(w.mobile, "roam6")
	agent, mobile := carried(w.agent, "roam6-k"), carried(w.mobile, "roam6-k1")
	before := w.agentEngine.Tunnels()[0].Counters
	for range 10 {
		all()
	}
	if n := carried(w.agent, "roam6") + carried(w.mobile, "roam6") - user; n != 0 {
		t.Errorf("%d packets in user space", n)
	}
	if n := carried(w.agent, "roam6-k") - agent; n != 40 {
		t.Errorf("%d packets by the agent's device, want 40", n)
	}
	if n := carried(w.mobile, "roam6-k1") - mobile; n != 40 {
		t.Errorf("%d packets by the mobile's device, want 40", n)
	}
	after := w.agentEngine.Tunnels()[0].Counters
	got := overlay.Counters{
		EncapPackets: after.EncapPackets - before.EncapPackets, EncapBytes: after.EncapBytes - before.EncapBytes,
		DecapPackets: after.DecapPackets - before.DecapPackets, DecapBytes: after.DecapBytes - before.DecapBytes,
	}
	if want := (overlay.Counters{EncapPackets: 20, EncapBytes: 20 * 49, DecapPackets: 20, DecapBytes: 20 * 49}); got != want {
		t.Errorf("counters %+v, want %+v", got, want)
	}
	// A move keeps the counters.
	w.attach(1)
	if now := w.agentEngine.Tunnels()[0].Counters; now != after {
		t.Errorf("after a move %+v, want %+v", now, after)
	}
}

// A swap of paths loses nothing and takes nothing to user space.
func TestSwapInKernel(t *testing.T) {
	w := newWorld(t)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	for i := range 2 {
		w.attach(i)
		w.passes(correspondent, node)
		w.passes(node, correspondent)
	}
	user := carried(w.mobile, "roam6")
	const packets, moves = 3000, 20
	numbers := func(from, to *net.UDPConn) (lost chan int) {
		lost = make(chan int, 1)
		go func() {
			for i := range uint32(packets) {
				_, _ = from.WriteTo(binary.BigEndian.AppendUint32(nil, i), to.LocalAddr())
				time.Sleep(20 * time.Microsecond)
			}
		}()
		raw, err := to.SyscallConn()
		if err == nil { // the machine may be slow
			err = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) })
		}
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			seen := make(map[string]bool)
			b := make([]byte, 10)
			for len(seen) < packets {
				_ = to.SetReadDeadline(time.Now().Add(2 * time.Second))
				n, err := to.Read(b)
				if err != nil {
					break
				}
				seen[string(b[:n])] = true
			}
			lost <- packets - len(seen)
		}()
		return lost
	}
	down, up := numbers(correspondent, node), numbers(node, correspondent)
	for i := range moves {
		w.attach(i % 2)
		time.Sleep(5 * time.Millisecond) // some packets by this path
	}
	if a, b := <-down, <-up; a != 0 || b != 0 {
		t.Errorf("lost %d of %d down, %d up; drops: agent %v, mobile %v", a, packets, b, w.agentEngine.Drops(), w.mobileEngine.Drops())
	}
	// Downwards what was under way when the agent had moved on may take the engine; none
	// of the mobile's own.
	if n := carried(w.mobile, "roam6") - user; n > packets/10 {
		t.Errorf("%d of %d packets in user space", n, packets)
	}
}

// RFC 6040: the traffic class of the inner packet is that of the tunnel packet, and a
// congestion mark on the way is not lost; one on a packet that cannot have it drops that.
func TestTrafficClass(t *testing.T) { everyKernel(t, trafficClass) }

func trafficClass(t *testing.T, w *world) {
	w.attach(0)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	w.passes(correspondent, node)
	w.passes(node, correspondent)
	for name, c := range map[string]struct {
		from, to *net.UDPConn
		s        *nstest.Space
		link     string
	}{"down": {correspondent, node, w.mobile, "wan1"}, "up": {node, correspondent, w.agent, "mr1"}} {
		var tap int
		c.s.Do(func() (err error) {
			tap, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			return unix.Bind(tap, &unix.SockaddrLinklayer{Protocol: 0xdd86, Ifindex: c.s.Index(c.link)})
		})
		defer unix.Close(tap)
		_ = unix.SetsockoptTimeval(tap, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
		raw, err := c.from.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for _, class := range []int{0xb8, 0x02, 0x03, 0x49} {
			_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, class) })
			if err != nil {
				t.Fatal(err)
			}
			w.passes(c.from, c.to)
			b := make([]byte, 2048)
			for {
				n, err := unix.Read(tap, b)
				if err != nil {
					t.Fatalf("%s: no tunnel packet seen: %v", name, err)
				}
				if n > 80 && b[6] == unix.IPPROTO_IPV6 && bytes.Contains(b[80:n], []byte("x")) {
					break
				}
			}
			if got := int(binary.BigEndian.Uint16(b) >> 4 & 0xff); got != class {
				t.Errorf("%s: traffic class %#x of the tunnel packet, want %#x", name, got, class)
			}
		}
	}
	// From the wire, with a congestion mark.
	inner := func(ecn byte) []byte {
		return packet(correspondentAddress, nodeAddress, unix.IPPROTO_UDP, ecn, udpHeader(node))
	}
	send := w.sender(w.agent)
	for _, c := range []struct {
		inner, outer byte
		passes       bool
	}{{0, 0, true}, {2, 2, true}, {2, 3, true}, {0, 3, false}} {
		before := w.mobileEngine.Drops()[overlay.DropCongestion]
		send(packet(agentAddress, careOf[0], unix.IPPROTO_IPV6, c.outer, inner(c.inner)))
		if c.passes {
			if !arrives(node, patience) {
				t.Errorf("ECN %d in %d does not arrive", c.inner, c.outer)
			}
			continue
		}
		w.eventually("a drop for congestion", func() bool { return w.mobileEngine.Drops()[overlay.DropCongestion] == before+1 })
		if arrives(node, time.Millisecond) {
			t.Errorf("ECN %d in %d arrives", c.inner, c.outer)
		}
	}
}

// A longer prefix of another mobile's decides, whatever the order in which they came.
func TestPrefixInPrefix(t *testing.T) { everyKernel(t, prefixInPrefix) }

func prefixInPrefix(t *testing.T, w *world) {
	w.attach(0)
	around := netip.MustParsePrefix("2001:db8:4::/46")
	w.apply(w.agentEngine, overlay.Change{Set: tunnelOf(overlay.AgentSide, agentAddress, careOf[1], 0, netip.MustParseAddr("2001:db8:6::1"), around)})
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	w.passes(node, correspondent)
	send := w.sender(w.agent)
	for _, c := range []struct {
		from   netip.Addr
		source string
		passes bool
	}{
		{careOf[0], "2001:db8:5::77", true}, {careOf[1], "2001:db8:5::77", false},
		{careOf[1], "2001:db8:6::9", true}, {careOf[0], "2001:db8:6::9", false},
	} {
		before := w.agentEngine.Drops()[overlay.DropOuterSource]
		send(packet(c.from, agentAddress, unix.IPPROTO_IPV6, 0, packet(netip.MustParseAddr(c.source), correspondentAddress, unix.IPPROTO_UDP, 0, udpHeader(correspondent))))
		if c.passes {
			if !arrives(correspondent, patience) {
				t.Errorf("%s from %v does not arrive", c.source, c.from)
			}
			continue
		}
		w.eventually("a drop", func() bool { return w.agentEngine.Drops()[overlay.DropOuterSource] == before+1 })
		if arrives(correspondent, time.Millisecond) {
			t.Errorf("%s from %v arrives", c.source, c.from)
		}
	}
}

// Somebody flushes the ruleset: the table comes back, and all is as it was.
func TestTableRestored(t *testing.T) { everyKernel(t, tableRestored) }

func tableRestored(t *testing.T, w *world) {
	w.attach(0)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	w.passes(correspondent, node)
	for _, s := range []*nstest.Space{w.agent, w.mobile} {
		s.Do(deleteTable)
		w.eventually("the table is back", func() bool { return s.Try(tableExists) == nil })
	}
	w.eventually("packets in the kernel", func() bool {
		user := carried(w.agent, "roam6") + carried(w.mobile, "roam6")
		w.passes(correspondent, node)
		w.passes(node, correspondent)
		return carried(w.agent, "roam6")+carried(w.mobile, "roam6") == user
	})
}

func deleteTable() error {
	s, err := nft.Open()
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Commit(func(b *nft.Batch) { b.DeleteTable(tableName) })
}

func tableExists() error {
	s, err := nft.Open()
	if err != nil {
		return err
	}
	defer s.Close()
	names, err := s.Sets(tableName)
	if err == nil && len(names) == 0 {
		err = errors.New("no table")
	}
	return err
}

// What an engine leaves when it is killed, Clean removes, and the engine in user space
// is left.
func TestClean(t *testing.T) {
	w := newWorld(t)
	before := planetest.Snapshot(w.correspondent)
	w.attach(0)
	for _, p := range w.paths {
		p.abandon()
	}
	for _, s := range []*nstest.Space{w.agent, w.mobile, w.correspondent} {
		s.Do(func() error { return Clean(slog.New(slog.DiscardHandler)) })
		if s.Try(tableExists) == nil {
			t.Error("the table is there")
		}
		links, err := s.Handle.LinkList()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			if l.Type() == tunnelKind && l.Attrs().Name != "ip6tnl0" {
				t.Errorf("%s is there", l.Attrs().Name)
			}
		}
		rules, err := s.Handle.RuleList(unix.AF_INET6)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules {
			if r.Priority == tun.DefaultRulePriority-1 {
				t.Errorf("rule %v is there", r)
			}
		}
	}
	if after := planetest.Snapshot(w.correspondent); after != before {
		t.Errorf("a namespace without an engine is changed:\n%s\nbefore:\n%s", after, before)
	}
}

// A second device in external mode cannot be; that is said, and nothing is left.
func TestExternalTaken(t *testing.T) {
	needed(t)
	s := nstest.New(t)
	s.Do(func() error {
		c, err := rtbatch.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		p := path{route: c}
		return p.commitAll("foreign device", []rtbatch.Request{link{name: "foreign", external: true, mtu: 1400}.create()})
	})
	err := s.Try(func() error {
		e, err := Open(tun.Config{})
		if err == nil {
			e.Close()
		}
		return err
	})
	if !errors.Is(err, ErrExternalTaken) {
		t.Errorf("%v, want %v", err, ErrExternalTaken)
	}
	if s.Try(tableExists) == nil {
		t.Error("an nftables table is left")
	}
}

// Whether a kernel has tunnels is known without making a device, and one without them is
// refused before anything is made.
func TestKnowsTunnels(t *testing.T) {
	var has bool
	nstest.New(t).Do(func() error {
		c, err := rtbatch.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		p := path{route: c}
		has = p.commitAll("a tunnel", []rtbatch.Request{link{name: "t", external: true, mtu: 1400}.create()}) == nil
		return nil
	})
	s := nstest.New(t)
	// The kernel counts the devices that a namespace has ever had.
	next := func(name string) int {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = name
		if err := s.Handle.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}); err != nil {
			t.Fatal(err)
		}
		return s.Index(name)
	}
	before := next("before")
	ask := knowsTunnels
	if !has {
		ask = func() error {
			e, err := Open(tun.Config{})
			if err == nil {
				e.Close()
			}
			return err
		}
	}
	if err := s.Try(ask); has && err != nil || !has && !errors.Is(err, ErrNoTunnels) {
		t.Errorf("a kernel with tunnels: %v; found %v", has, err)
	}
	if after := next("after"); after != before+1 {
		t.Errorf("the next device has index %d, the one before %d: another has been there", after, before)
	}
}

// A tunnel of somebody else's on the same nodes works beside ours.
func TestForeignTunnel(t *testing.T) {
	w := newWorld(t)
	remove := bare(t, alone(planetest.Ends{Agent: w.agent, Mobile: w.mobile, AgentAddress: agentAddress, CareOf: careOf[0], Network: networkPrefix}))
	defer remove()
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	w.passes(correspondent, node)
	w.passes(node, correspondent)
	if carried(w.agent, "bare") < 2 || carried(w.mobile, "bare") < 2 {
		t.Error("not by the foreign tunnel")
	}
}

func TestShapeOfNames(t *testing.T) {
	var s shape
	for _, name := range []string{"agent_64", "agent_in_128", "mobile_out_48", "mobile_in_48", setSeen, "agent_0", "agent_064", "mobile_129", "other"} {
		s.add(name)
	}
	if want := (shape{agent: []int{128, 64}, mobile: []int{48}}); !s.equal(want) {
		t.Errorf("%+v, want %+v", s, want)
	}
}

// packet is an IPv6 packet.
func packet(from, to netip.Addr, next, class byte, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, 6<<28|uint32(class)<<20)
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	b = append(b, next, 64)
	return slices.Concat(b, from.AsSlice(), to.AsSlice(), payload)
}

// udpHeader is a datagram to a socket, without a checksum that is right: see sender.
func udpHeader(to *net.UDPConn) []byte {
	b := binary.BigEndian.AppendUint16(nil, 9)
	b = binary.BigEndian.AppendUint16(b, uint16(to.LocalAddr().(*net.UDPAddr).Port))
	return append(b, 0, 9, 0, 0, 'x')
}

// sender sends whole packets from a namespace. Checksums of the datagrams within are
// completed.
func (w *world) sender(s *nstest.Space) func([]byte) {
	w.Helper()
	var fd int
	s.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_RAW)
		return err
	})
	w.Cleanup(func() { unix.Close(fd) })
	return func(b []byte) {
		w.Helper()
		complete(b[40:])
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet6{Addr: [16]byte(b[24:40])}); err != nil {
			w.Fatal(err)
		}
	}
}

// complete puts the checksum into a packet of a datagram.
func complete(b []byte) {
	sum := uint32(unix.IPPROTO_UDP) + uint32(len(b)-40)
	for pair := range slices.Chunk(append(slices.Clone(b[8:]), 0), 2) {
		if len(pair) == 2 {
			sum += uint32(pair[0])<<8 | uint32(pair[1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[46:], ^uint16(sum))
}
