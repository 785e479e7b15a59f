package tun

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

// RFC 6275 §10.4.5, RFC 3963 §9 for the agent, RFC 6275 §11.3 for the mobile.
//
// Covers: H9, M6, R8, Attack: prefix hijack.
func TestInbound(t *testing.T) {
	stranger := netip.MustParseAddr("2001:db8:ffff::1")
	type packet struct {
		from, to           netip.Addr // inner
		outerFrom, outerTo netip.Addr
	}
	for _, test := range []struct {
		name string
		side overlay.Side
		packet
		at   time.Duration
		want overlay.DropReason
	}{
		{"agent: newest care-of address", overlay.AgentSide, packet{nodeBehind, correspondent, newCareOf, agent}, time.Hour, 0},
		{"agent: home address", overlay.AgentSide, packet{home, correspondent, newCareOf, agent}, time.Hour, 0},
		{"agent: former one, on its way", overlay.AgentSide, packet{nodeBehind, correspondent, careOf, agent}, time.Second + DefaultGrace - 1, 0},
		{"agent: former one, too late", overlay.AgentSide, packet{nodeBehind, correspondent, careOf, agent}, time.Second + DefaultGrace, overlay.DropOuterSource},
		{"agent: foreign care-of address", overlay.AgentSide, packet{nodeBehind, correspondent, stranger, agent}, 0, overlay.DropOuterSource},
		{"agent: other address of the agent", overlay.AgentSide, packet{nodeBehind, correspondent, newCareOf, stranger}, time.Hour, overlay.DropOuterSource},
		{"agent: nobody's inner source", overlay.AgentSide, packet{stranger, correspondent, newCareOf, agent}, 0, overlay.DropNoTunnel},
		{"agent: link-local inner source", overlay.AgentSide, packet{netip.MustParseAddr("fe80::5"), correspondent, newCareOf, agent}, 0, overlay.DropLinkScope},
		{"agent: link-scope multicast", overlay.AgentSide, packet{nodeBehind, netip.MustParseAddr("ff02::1"), newCareOf, agent}, 0, overlay.DropLinkScope},
		{"mobile: agent", overlay.MobileSide, packet{correspondent, nodeBehind, agent, newCareOf}, time.Hour, 0},
		{"mobile: agent, to the former care-of address", overlay.MobileSide, packet{correspondent, home, agent, careOf}, time.Hour, 0},
		{"mobile: not the agent", overlay.MobileSide, packet{correspondent, nodeBehind, stranger, newCareOf}, 0, overlay.DropOuterSource},
		{"mobile: not to the mobile network", overlay.MobileSide, packet{correspondent, stranger, agent, newCareOf}, 0, overlay.DropNoTunnel},
		{"mobile: link-local inner destination", overlay.MobileSide, packet{correspondent, netip.MustParseAddr("fe80::5"), agent, newCareOf}, 0, overlay.DropLinkScope},
	} {
		b := newBench(t, test.side)
		b.add(test.side, time.Second, newCareOf)
		o := outer{source: addressOf(test.outerFrom), destination: addressOf(test.outerTo)}
		d := decapsulator{arrivals: b.arrivals(), joined: newCoalescer(1, 1460)}
		p := udp(test.from, test.to, nil)
		if got := d.packet(slices.Concat(make([]byte, receiveHeadroom), p), o, test.at); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		want := []overlay.DropReason{test.want}
		if test.want == 0 {
			want = nil
		}
		if got := b.dropped(); !slices.Equal(got, want) {
			t.Errorf("%s: counted %v", test.name, got)
		}
		if (d.joined.n == 1) != (test.want == 0) {
			t.Errorf("%s: %d packets for the device", test.name, d.joined.n)
		}
	}
}

// Many moves within the grace keep the memory of former paths small.
func TestFormerPathsAreFew(t *testing.T) {
	b := newBench(t, overlay.AgentSide)
	for i := range 1000 {
		a := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)})
		b.add(overlay.AgentSide, time.Duration(i)*time.Microsecond, a)
	}
	if n := len(b.table.agent.get(network).paths.Load().former); n > 8 {
		t.Errorf("%d former paths", n)
	}
}

// join puts packets through a coalescer and returns what goes to the device.
func join(t testing.TB, packets ...[]byte) (heads []virtioHeader, out [][]byte) {
	t.Helper()
	c := newCoalescer(len(packets), 1460)
	for _, p := range packets {
		c.add(slices.Concat(make([]byte, receiveHeadroom), p))
	}
	for i := range c.items[:c.n] {
		head, ok := c.finish(&c.items[i])
		if !ok {
			heads, out = append(heads, virtioHeader{}), append(out, nil)
			continue
		}
		var h virtioHeader
		h.parse(head)
		heads, out = append(heads, h), append(out, slices.Concat(head[virtioLength:], slices.Concat(c.items[i].more...)))
	}
	return heads, out
}

// split takes apart what goes to the device, as the kernel would.
func split(t testing.TB, h virtioHeader, p []byte) (packets [][]byte) {
	t.Helper()
	if h.gso == gsoNone {
		if h.flags&virtioNeedsChecksum != 0 && !h.completeChecksum(p) {
			t.Fatalf("checksum cannot be completed: %+v", h)
		}
		return [][]byte{p}
	}
	a, ok := aggregateOf(p, h)
	if !ok {
		t.Fatalf("not an aggregate: %+v, %x", h, p[:60])
	}
	for i := range a.segments(p) {
		headers := make([]byte, a.payload)
		payload := a.cut(p, i, headers)
		packets = append(packets, slices.Concat(headers, payload))
	}
	return packets
}

// flow is n packets of a TCP connection.
func flow(n, segment int, sequence uint32) (packets [][]byte) {
	for i := range n {
		packets = append(packets, tcp(tcpOptions{sequence: sequence + uint32(i*segment)}, text(segment + i)[i:]))
	}
	return packets
}

// What is joined comes apart into the same packets, in the same order.
func TestCoalesce(t *testing.T) {
	long := flow(60, 1400, 0xfffff000)
	short := flow(5, 1400, 9)
	short[4] = tcp(tcpOptions{sequence: 9 + 4*1400, flags: tcpAck | tcpPush}, text(100))
	pushed := flow(4, 1000, 9)
	pushed[1] = tcp(tcpOptions{sequence: 1009, flags: tcpAck | tcpPush}, text(1000))
	gap := slices.Delete(flow(6, 1000, 9), 3, 4)
	swapped := flow(4, 1000, 9)
	swapped[1], swapped[2] = swapped[2], swapped[1]
	corrupt := flow(4, 1000, 9)
	corrupt[2][80] ^= 1
	other := flow(3, 1000, 9)
	for _, p := range other {
		p[headerLength+1]++ // another port
		binary.BigEndian.PutUint16(p[headerLength+16:], 0)
		binary.BigEndian.PutUint16(p[headerLength+16:], ^slowChecksum(p, headerLength, protocolTCP))
	}
	three := flow(3, 1000, 9)
	marked := flow(4, 1000, 9)
	marked[2][1] |= ecnCE << ecnShift
	acknowledged := flow(4, 1000, 9)
	acknowledged[2] = tcp(tcpOptions{sequence: 2009, acknowledgment: 5}, text(1000))
	options := flow(4, 1000, 9)
	options[2] = tcp(tcpOptions{sequence: 2009, options: []byte{1, 1, 1, 1}}, text(1000))
	grows := [][]byte{tcp(tcpOptions{sequence: 1}, text(500)), tcp(tcpOptions{sequence: 501}, text(600))}
	fin := flow(3, 1000, 9)
	fin[2] = tcp(tcpOptions{sequence: 2009, flags: tcpAck | 1}, text(1000))
	for _, test := range []struct {
		name    string
		packets [][]byte
		writes  int
	}{
		{"one", flow(1, 1400, 1), 1},
		{"two", flow(2, 1400, 1), 1},
		{"more than 64 KB", long, 2},
		{"short last", short, 1},
		{"push in the middle", pushed, 2},
		{"gap", gap, 2},
		{"out of order", swapped, 4},
		{"corrupt", corrupt, 3},
		{"two flows", []([]byte){three[0], other[0], three[1], other[1], three[2], other[2]}, 2},
		{"congestion mark", marked, 3},
		{"acknowledgement", acknowledged, 3},
		{"options", options, 3},
		{"longer than the first", grows, 2},
		{"FIN", fin, 2},
		{"pure acknowledgements", [][]byte{tcp(tcpOptions{}, nil), tcp(tcpOptions{}, nil)}, 2},
		{"UDP", [][]byte{udp(nodeBehind, correspondent, text(9)), udp(nodeBehind, correspondent, text(9))}, 2},
	} {
		heads, out := join(t, test.packets...)
		if len(out) != test.writes {
			t.Errorf("%s: %d writes, want %d", test.name, len(out), test.writes)
		}
		var got [][]byte
		for i := range out {
			got = append(got, split(t, heads[i], out[i])...)
		}
		// Flows may be exchanged, packets of one flow may not.
		sortStable := func(all [][]byte) [][]byte {
			c := slices.Clone(all)
			slices.SortStableFunc(c, func(a, b []byte) int {
				return bytes.Compare(a[headerLength:headerLength+2], b[headerLength:headerLength+2])
			})
			return c
		}
		if !slices.EqualFunc(sortStable(got), sortStable(test.packets), bytes.Equal) {
			t.Errorf("%s: the packets differ", test.name)
		}
	}
}

// Whatever happens to a stream, coalescing loses and changes nothing.
func TestCoalesceRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for round := range 300 {
		packets := flow(1+r.IntN(30), 1+r.IntN(1400), r.Uint32())
		for i := range packets {
			switch r.IntN(12) {
			case 0:
				j := r.IntN(len(packets))
				packets[i], packets[j] = packets[j], packets[i]
			case 1:
				packets[i][headerLength+13] ^= byte(1 << r.IntN(8))
				binary.BigEndian.PutUint16(packets[i][headerLength+16:], 0)
				binary.BigEndian.PutUint16(packets[i][headerLength+16:], ^slowChecksum(packets[i], headerLength, protocolTCP))
			}
		}
		heads, out := join(t, packets...)
		var got [][]byte
		for i := range out {
			got = append(got, split(t, heads[i], out[i])...)
		}
		if !slices.EqualFunc(got, packets, bytes.Equal) {
			t.Fatalf("round %d: the packets differ", round)
		}
	}
}

// Aggregates of the kernel and unfinished packets are recognised by their
// checksum field; everything else is passed on as it is.
func TestReceivedAggregate(t *testing.T) {
	finished := func(p []byte) []byte { q, _ := partial(slices.Clone(p)); return q }
	for _, test := range []struct {
		name   string
		packet []byte
		gso    uint8
		flags  uint8
		drop   bool
	}{
		{"TCP aggregate", finished(tcp(tcpOptions{}, text(40_000))), gsoTCP6, virtioNeedsChecksum, false},
		{"unfinished TCP", finished(tcp(tcpOptions{}, text(400))), gsoNone, virtioNeedsChecksum, false},
		{"unfinished UDP", finished(udp(nodeBehind, correspondent, text(400))), gsoNone, virtioNeedsChecksum, false},
		{"UDP aggregate", finished(udp(nodeBehind, correspondent, text(4000))), gsoNone, 0, true},
		{"whole TCP", tcp(tcpOptions{}, text(1000)), gsoNone, 0, false},
		{"large whole TCP", tcp(tcpOptions{flags: tcpAck | 1}, text(8000)), gsoNone, 0, false},
		{"whole UDP", udp(nodeBehind, correspondent, text(8000)), gsoNone, 0, false},
		{"something else", ipv6(nodeBehind, correspondent, 59, nil), gsoNone, 0, false},
		{"cut-off TCP", ipv6(nodeBehind, correspondent, protocolTCP, text(10)), gsoNone, 0, false},
	} {
		heads, out := join(t, test.packet)
		if (out[0] == nil) != test.drop {
			t.Errorf("%s: dropped %v", test.name, out[0] == nil)
			continue
		}
		if h := heads[0]; !test.drop && (h.gso != test.gso || h.flags != test.flags) {
			t.Errorf("%s: %+v", test.name, h)
			continue
		}
		if test.drop {
			continue
		}
		octets := 0
		for _, p := range split(t, heads[0], out[0]) {
			if test.flags != 0 && (len(p) > minimumMTU || !correct(p)) {
				t.Errorf("%s: packet of %d octets, checksum right: %v", test.name, len(p), correct(p))
			}
			octets += len(p) - headerLength - 20
		}
		if test.gso == gsoTCP6 && octets != 40_000 {
			t.Errorf("%s: %d octets", test.name, octets)
		}
	}
}

func TestDecapsulateAllocatesNothing(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	d := decapsulator{arrivals: b.arrivals(), joined: newCoalescer(16, 1460)}
	o := outer{source: addressOf(agent), destination: addressOf(careOf)}
	var buffers [][]byte
	for i := range 16 {
		p := tcp(tcpOptions{from: correspondent, to: nodeBehind, sequence: uint32(i * 1400)}, text(1400))
		buffers = append(buffers, slices.Concat(make([]byte, receiveHeadroom), p))
	}
	pristine := slices.Clone(buffers[0])
	if n := testing.AllocsPerRun(100, func() {
		copy(buffers[0], pristine) // its header is made that of the aggregate
		for _, p := range buffers {
			d.packet(p, o, 0)
		}
		for i := range d.joined.items[:d.joined.n] {
			d.joined.finish(&d.joined.items[i])
		}
		if d.joined.n != 1 {
			t.Errorf("%d writes", d.joined.n)
		}
		d.joined.reset()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecapsulate(b *testing.B) {
	w := newBench(b, overlay.MobileSide)
	d := decapsulator{arrivals: w.arrivals(), joined: newCoalescer(32, 1460)}
	o := outer{source: addressOf(agent), destination: addressOf(careOf)}
	var buffers [][]byte
	for i := range 32 {
		p := tcp(tcpOptions{from: correspondent, to: nodeBehind, sequence: uint32(i * 1400)}, text(1400))
		buffers = append(buffers, slices.Concat(make([]byte, receiveHeadroom), p))
	}
	pristine := slices.Clone(buffers[0])
	b.ReportAllocs()
	b.SetBytes(32 * 1460)
	for b.Loop() {
		copy(buffers[0], pristine)
		for _, p := range buffers {
			d.packet(p, o, 0)
		}
		for i := range d.joined.items[:d.joined.n] {
			d.joined.finish(&d.joined.items[i])
		}
		d.joined.reset()
	}
}
