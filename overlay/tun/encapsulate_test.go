package tun

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

// RFC 2473 §3.1, §5; RFC 6040 §4.1.
func TestTunnelHeader(t *testing.T) {
	for _, test := range []struct {
		side          overlay.Side
		packet        []byte
		local, remote netip.Addr
	}{
		{overlay.AgentSide, udp(correspondent, nodeBehind, text(100)), agent, careOf},
		{overlay.AgentSide, udp(correspondent, home, text(0)), agent, careOf},
		{overlay.MobileSide, udp(nodeBehind, correspondent, text(1412)), careOf, agent},
		{overlay.MobileSide, udp(home, correspondent, text(7)), careOf, agent},
		{overlay.MobileSide, udp(home, agent, text(7)), careOf, agent},
	} {
		b := newBench(t, test.side)
		const class = 0b10111001
		test.packet[0], test.packet[1] = 0x60|class>>4, class&0xf<<4
		out, reply := b.send(slices.Clone(test.packet), virtioHeader{}, 0)
		if len(out) != 1 || reply != nil {
			t.Fatalf("%d packets, reply %x, drops %v", len(out), reply, b.dropped())
		}
		o, ok := trim(out[0])
		if !ok || len(o) != len(out[0]) {
			t.Fatalf("%x is not a whole packet", out[0])
		}
		if trafficClass(o) != class || o[offsetNextHeader] != protocolIPv6 || o[7] != 64 {
			t.Errorf("tunnel header %x", o[:headerLength])
		}
		if source(o) != addressOf(test.local) || destination(o) != addressOf(test.remote) {
			t.Errorf("from %v to %v", source(o).netip(), destination(o).netip())
		}
		if !bytes.Equal(o[headerLength:], test.packet) {
			t.Errorf("inner packet changed:\n%x, was\n%x", o[headerLength:], test.packet)
		}
		c := &b.table.side(test.side).get(network).encapsulated
		if c.packets.Load() != 1 || c.bytes.Load() != uint64(len(test.packet)) {
			t.Errorf("counted %d packets, %d octets", c.packets.Load(), c.bytes.Load())
		}
	}
}

func TestOutboundDrops(t *testing.T) {
	linkLocal, multicast := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::1")
	stranger := netip.MustParseAddr("2001:db8:ffff::1")
	both := []overlay.Side{overlay.AgentSide, overlay.MobileSide}
	for _, test := range []struct {
		name   string
		sides  []overlay.Side
		packet []byte
		h      virtioHeader
		want   overlay.DropReason
	}{
		{"nothing", both, nil, virtioHeader{}, overlay.DropMalformed},
		{"IPv4", both, append([]byte{0x45}, text(60)...), virtioHeader{}, overlay.DropMalformed},
		{"cut off", both, udp(nodeBehind, correspondent, text(50))[:60], virtioHeader{}, overlay.DropMalformed},
		{"link-local source", both, udp(linkLocal, nodeBehind, nil), virtioHeader{}, overlay.DropLinkScope},                // RFC 6275 §10.4.2
		{"link-scope multicast", both, udp(nodeBehind, multicast, nil), virtioHeader{}, overlay.DropLinkScope},             // RFC 6275 §10.4.2
		{"unspecified source", both, udp(netip.IPv6Unspecified(), nodeBehind, nil), virtioHeader{}, overlay.DropLinkScope}, // RFC 4291 §2.5.2
		{"stranger's source", both[1:], udp(stranger, correspondent, nil), virtioHeader{}, overlay.DropInnerSource},        // RFC 3963 §6
		{"to no mobile", both[:1], udp(correspondent, stranger, nil), virtioHeader{}, overlay.DropNoTunnel},                //
		{"same pair, agent", both[:1], ipv6(agent, nodeBehind, 59, nil), virtioHeader{}, 0},                                //
		{"checksum beyond", both[1:], udp(nodeBehind, correspondent, nil), virtioHeader{flags: virtioNeedsChecksum, start: 40, offset: 90}, overlay.DropOffload},
		{"no aggregate", both[1:], udp(nodeBehind, correspondent, nil), virtioHeader{gso: gsoTCP6}, overlay.DropOffload},
	} {
		for _, side := range test.sides {
			b := newBench(t, side)
			out, reply := b.send(test.packet, test.h, 0)
			got := b.dropped()
			if test.want == 0 {
				if len(out) != 1 || len(got) != 0 {
					t.Errorf("%s: %d packets, drops %v", test.name, len(out), got)
				}
				continue
			}
			if len(out) != 0 || reply != nil || !slices.Equal(got, []overlay.DropReason{test.want}) {
				t.Errorf("%s: %d packets, reply %x, drops %v, want %v", test.name, len(out), reply, got, test.want)
			}
		}
	}
}

// RFC 2473 §4.1.2: the tunnel's own packets do not enter it.
func TestLoopbackEncapsulation(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	// An inner prefix that holds the care-of address, which Apply refuses.
	b.table.mobile.insert(netip.PrefixFrom(careOf, 64).Masked(), b.table.mobile.get(network))
	out, _ := b.send(ipv6(careOf, agent, protocolIPv6, udp(nodeBehind, correspondent, nil)), virtioHeader{}, 0)
	if got := b.dropped(); len(out) != 0 || !slices.Equal(got, []overlay.DropReason{overlay.DropLoop}) {
		t.Errorf("%d packets, drops %v", len(out), got)
	}
}

// RFC 2473 §4.1.1 (b) to (d).
func TestEncapsulationLimit(t *testing.T) {
	inner := udp(nodeBehind, correspondent, text(20))
	limited := func(n byte) []byte {
		return ipv6(nodeBehind, correspondent, protocolDestinationOptions, slices.Concat([]byte{protocolIPv6, 0, 4, 1, n, 1, 1, 0}, inner))
	}
	for _, test := range []struct {
		name   string
		packet []byte
		want   byte
	}{{"without", ipv6(nodeBehind, correspondent, protocolIPv6, inner), 4}, {"1", limited(1), 0}, {"9", limited(9), 8}} {
		b := newBench(t, overlay.MobileSide)
		out, _ := b.send(test.packet, virtioHeader{}, 0)
		if len(out) != 1 {
			t.Fatalf("%s: drops %v", test.name, b.dropped())
		}
		o, ok := trim(out[0])
		if !ok || o[offsetNextHeader] != protocolDestinationOptions || o[headerLength] != protocolIPv6 {
			t.Fatalf("%s: %x", test.name, out[0])
		}
		if n := nestingOf(o); n.limit != headerLength+4 || o[n.limit] != test.want {
			t.Errorf("%s: limit %x, want %d", test.name, o[headerLength:headerLength+limitLength], test.want)
		}
		if !bytes.Equal(o[headerLength+limitLength:], test.packet) {
			t.Errorf("%s: inner packet changed", test.name)
		}
	}
	b := newBench(t, overlay.MobileSide)
	out, reply := b.send(limited(0), virtioHeader{}, 0)
	if got := b.dropped(); len(out) != 0 || !slices.Equal(got, []overlay.DropReason{overlay.DropNesting}) {
		t.Errorf("limit 0: %d packets, drops %v", len(out), got)
	}
	m := icmpReply(t, reply, home, nodeBehind)
	if m[0] != icmpParameterProblem || m[1] != 0 || binary.BigEndian.Uint32(m[4:]) != headerLength+4 {
		t.Errorf("limit 0: %x", m[:8])
	}
}

// RFC 2473 §7.1, §8.2.
func TestTooBigForTheTunnel(t *testing.T) {
	for _, test := range []struct {
		path, size int
		mtu        uint32 // of Packet Too Big; 0: passes
		packets    int
	}{
		{1500, 1460, 0, 1},
		{1500, 1461, 1460, 0},
		{1400, 1360, 0, 1},
		{1400, 1361, 1360, 0},
		{1300, 1260, 0, 1},
		{1300, 1261, 0, 2}, // (b): the minimum MTU goes in fragments
		{1300, 1280, 0, 2},
		{1300, 1281, 1280, 0}, // (a)
		{1280, 1240, 0, 1},
		{1280, 1280, 0, 2},
	} {
		for _, side := range []overlay.Side{overlay.AgentSide, overlay.MobileSide} {
			b := newBench(t, side)
			from, to, errorsFrom := correspondent, nodeBehind, agent
			if side == overlay.MobileSide {
				from, to, errorsFrom = nodeBehind, correspondent, home
			}
			b.table.side(side).get(network).paths.Load().preferred().tooBig(test.path, 0)
			packet := udp(from, to, text(test.size-48))
			out, reply := b.send(packet, virtioHeader{}, 0)
			if len(out) != test.packets {
				t.Errorf("path MTU %d, packet %d: %d packets, want %d", test.path, test.size, len(out), test.packets)
				continue
			}
			if test.mtu != 0 {
				m := icmpReply(t, reply, errorsFrom, from)
				if m[0] != icmpPacketTooBig || m[1] != 0 || binary.BigEndian.Uint32(m[4:]) != test.mtu || !bytes.Equal(m[8:], packet[:len(m)-8]) {
					t.Errorf("path MTU %d, packet %d: %x", test.path, test.size, m[:8])
				}
				if got := b.dropped(); !slices.Equal(got, []overlay.DropReason{overlay.DropTooBig}) {
					t.Errorf("drops %v", got)
				}
				continue
			}
			if got := reassemble(t, out, test.path); !bytes.Equal(got, packet) {
				t.Errorf("path MTU %d, packet %d: other content", test.path, test.size)
			}
		}
	}
}

// reassemble takes the tunnel headers off and puts fragments together.
func reassemble(t *testing.T, outer [][]byte, mtu int) (inner []byte) {
	t.Helper()
	for i, o := range outer {
		p, ok := trim(o)
		if !ok || len(p) != len(o) || len(p) > mtu {
			t.Fatalf("packet %d of %d octets, path MTU %d", i, len(o), mtu)
		}
		if len(outer) == 1 {
			return p[headerLength:]
		}
		f := p[headerLength:]
		offset := binary.BigEndian.Uint16(f[2:])
		if p[offsetNextHeader] != protocolFragment || int(offset&^7) != len(inner) || (offset&1 == 1) != (i < len(outer)-1) {
			t.Fatalf("fragment %d: %x", i, p[headerLength:headerLength+fragmentLength])
		}
		if !bytes.Equal(f[4:8], outer[0][headerLength+4:headerLength+8]) {
			t.Fatalf("fragment %d has another identification", i)
		}
		if f[0] == protocolDestinationOptions && i == 0 {
			f = f[limitLength:]
		}
		inner = append(inner, f[fragmentLength:]...)
	}
	return inner
}

// An aggregate becomes tunnel packets that each hold one of its packets; also
// where these need fragments.
func TestEncapsulateAggregate(t *testing.T) {
	for _, test := range []struct {
		path, segment int
		fragments     int
		tooBig        bool
	}{{1500, 1400, 1, false}, {1500, 1401, 0, true}, {1300, 1200, 1, false}, {1300, 1220, 2, false}, {1300, 1221, 0, true}} {
		b := newBench(t, overlay.MobileSide)
		u := b.table.mobile.get(network)
		u.paths.Load().preferred().tooBig(test.path, 0)
		data := text(10 * test.segment)
		whole, h := partial(tcp(tcpOptions{sequence: 77}, data))
		h.gso, h.segment = gsoTCP6, uint16(test.segment)
		out, reply := b.send(whole, h, 0)
		if test.tooBig {
			if len(out) != 0 || reply == nil {
				t.Errorf("%+v: %d packets, reply %x", test, len(out), reply)
			}
			continue
		}
		if len(out) != 10*test.fragments {
			t.Fatalf("%+v: %d packets", test, len(out))
		}
		for i, o := range slices.Collect(slices.Chunk(out, test.fragments)) {
			from := i * test.segment
			want := tcp(tcpOptions{sequence: 77 + uint32(from)}, data[from:from+test.segment])
			if got := reassemble(t, o, test.path); !bytes.Equal(got, want) {
				t.Errorf("%+v: packet %d differs", test, i)
			}
		}
		if n, octets := u.encapsulated.packets.Load(), u.encapsulated.bytes.Load(); n != 10 || octets != uint64(10*(test.segment+60)) {
			t.Errorf("%+v: counted %d packets, %d octets", test, n, octets)
		}
	}
}

// A checksum that was left to do is done.
func TestCompleteChecksum(t *testing.T) {
	for n := range 40 {
		for _, p := range [][]byte{udp(nodeBehind, correspondent, text(n)), tcp(tcpOptions{}, text(n))} {
			b := newBench(t, overlay.MobileSide)
			unfinished, h := partial(slices.Clone(p))
			out, _ := b.send(unfinished, h, 0)
			if len(out) != 1 || !bytes.Equal(out[0][headerLength:], p) {
				t.Fatalf("%x, want %x", out, p)
			}
		}
	}
	// RFC 8200 §8.1: a UDP checksum of zero is sent as all ones.
	zero := udp(nodeBehind, correspondent, []byte{0, 0})
	copy(zero[48:], zero[46:48]) // with its own checksum as payload the sum becomes zero
	unfinished, h := partial(zero)
	b := newBench(t, overlay.MobileSide)
	out, _ := b.send(unfinished, h, 0)
	if len(out) != 1 || binary.BigEndian.Uint16(out[0][headerLength+46:]) != 0xffff {
		t.Errorf("checksum %x", out[0][headerLength+46:headerLength+48])
	}
}

// A swap changes where packets go from the next one on; RFC 8201 §4: what was
// learned about a path lasts ten minutes, and no longer than the path.
func TestSwapAndPathMTU(t *testing.T) {
	b := newBench(t, overlay.AgentSide)
	to := func(now time.Duration) (address, int) {
		out, _ := b.send(udp(correspondent, nodeBehind, nil), virtioHeader{}, now)
		return destination(out[0]), b.table.agent.get(network).paths.Load().preferred().mtu(now)
	}
	check := func(now time.Duration, want netip.Addr, mtu int) {
		t.Helper()
		if a, m := to(now); a != addressOf(want) || m != mtu {
			t.Errorf("after %v: to %v with MTU %d, want %v with %d", now, a.netip(), m, want, mtu)
		}
	}
	p := b.table.agent.get(network).paths.Load().preferred()
	if !p.tooBig(1400, 0) || p.tooBig(1450, 0) {
		t.Error("a path MTU is lowered, never raised")
	}
	check(time.Minute, careOf, 1400)
	b.add(overlay.AgentSide, time.Minute, careOf)
	check(2*time.Minute, careOf, 1400)
	check(10*time.Minute-1, careOf, 1400)
	check(10*time.Minute, careOf, 1500)
	p.tooBig(3, 11*time.Minute) // less than the minimum
	b.add(overlay.AgentSide, 11*time.Minute, newCareOf, careOf)
	check(11*time.Minute, newCareOf, 1500)
	b.add(overlay.AgentSide, 11*time.Minute, careOf, newCareOf)
	check(11*time.Minute, careOf, 1500) // forgotten: the path it was for was replaced
}

func TestEncapsulateAllocatesNothing(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	b.out.flush = func([]datagram) {}
	one := udp(nodeBehind, correspondent, text(1200))
	whole, h := partial(tcp(tcpOptions{}, text(60_000)))
	h.gso, h.segment = gsoTCP6, 1400
	big := udp(nodeBehind, correspondent, text(1480))
	nested := ipv6(nodeBehind, correspondent, protocolIPv6, one)
	if n := testing.AllocsPerRun(100, func() {
		b.packet(one, virtioHeader{}, 0)
		b.packet(whole, h, 0)
		b.packet(big, virtioHeader{}, time.Hour)
		b.packet(nested, virtioHeader{}, 0)
		b.packet(one[:30], virtioHeader{}, 0)
		b.out.send()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEncapsulate(b *testing.B) {
	whole, h := partial(tcp(tcpOptions{}, text(1400*46)))
	h.gso, h.segment = gsoTCP6, 1400
	for _, c := range []struct {
		name   string
		packet []byte
		h      virtioHeader
	}{{"Packet", udp(nodeBehind, correspondent, text(1400)), virtioHeader{}}, {"Aggregate", whole, h}} {
		b.Run(c.name, func(b *testing.B) {
			w := newBench(b, overlay.MobileSide)
			w.out = newBatch(sendBatch, func([]datagram) {})
			b.ReportAllocs()
			b.SetBytes(int64(len(c.packet)))
			for b.Loop() {
				w.packet(c.packet, c.h, 0)
			}
		})
	}
}
