package tun

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

// Addresses of the tests of stacked tunnels: the anchor and the regional care-of
// address; the on-link one is careOf.
var (
	anchor   = netip.MustParseAddr("2001:db8:3::1")
	regional = netip.MustParseAddr("2001:db8:3::5")
)

// stackBench is a mobile in an anchor's domain.
type stackBench struct {
	*bench
	lower, upper *tunnel
}

func newStackBench(t testing.TB) *stackBench {
	t.Helper()
	b := &stackBench{bench: newBench(t, overlay.MobileSide)}
	b.upper = b.table.mobile.get(network)
	b.lower = &tunnel{key: overlay.Key{Home: regional, Side: overlay.MobileSide}, home: addressOf(regional)}
	b.table.mobile.insert(netip.PrefixFrom(regional, 128), b.lower)
	b.move(0, careOf)
	b.onto(overlay.Path{Local: regional, Remote: agent}, &b.upper.paths, 0)
	return b
}

// move gives the lower tunnel another on-link care-of address.
func (b *stackBench) move(now time.Duration, to netip.Addr) {
	p := newPath(overlay.Path{Local: to, Remote: anchor, Link: 7}, DefaultPathMTU)
	b.lower.paths.Store(b.lower.paths.Load().swap([]*path{p}, now, DefaultGrace))
}

// onto puts a path on the lower tunnel.
func (b *stackBench) onto(way overlay.Path, paths interface {
	Load() *pathSet
	Store(*pathSet)
}, now time.Duration) {
	p := newPath(way, DefaultPathMTU)
	p.below.Store(b.lower)
	paths.Store(paths.Load().swap([]*path{p}, now, DefaultGrace))
}

// optimise makes the optimised route to the correspondent.
func (b *stackBench) optimise() *optimised {
	o := &optimised{pair: overlay.Pair{Home: home, Peer: correspondent, Side: overlay.MobileSide}}
	b.onto(overlay.Path{Local: regional, Remote: correspondent}, &o.paths, 0)
	b.table.mobileRoutes.insert(o)
	return o
}

func (b *stackBench) learned(lower, upper int) {
	b.lower.paths.Load().preferred().tooBig(lower, 0)
	b.upper.paths.Load().preferred().tooBig(upper, 0)
}

// unwrap takes the packets of a node apart as those on the way do: it puts the
// fragments of each tunnel together and takes its header off.
func unwrap(t *testing.T, packets [][]byte, from, to netip.Addr, mtu int) (inner [][]byte) {
	t.Helper()
	whole := make(map[uint32][]byte)
	for _, o := range packets {
		p, ok := trim(o)
		if !ok || len(p) != len(o) || len(p) > mtu || source(p) != addressOf(from) || destination(p) != addressOf(to) || p[7] != outerHopLimit {
			t.Fatalf("%d octets (at most %d) from %v to %v: %x", len(o), mtu, source(p).netip(), destination(p).netip(), p[:headerLength])
		}
		next, rest := p[offsetNextHeader], p[headerLength:]
		var id uint32
		more := false
		if next == protocolFragment {
			id = binary.BigEndian.Uint32(rest[4:])
			field := binary.BigEndian.Uint16(rest[2:])
			if int(field&^7) != len(whole[id]) {
				t.Fatalf("fragment at %d, %d octets before it", field&^7, len(whole[id]))
			}
			more = field&1 != 0
			next, rest = rest[0], slices.Concat(whole[id], rest[fragmentLength:])
			whole[id] = rest
		}
		if more {
			continue
		}
		if next == protocolDestinationOptions {
			next, rest = rest[0], rest[limitLength:]
		}
		if next != protocolIPv6 {
			t.Fatalf("next header %d", next)
		}
		inner = append(inner, rest)
	}
	return inner
}

// RFC 5380 §6.1: both headers, the same mark and flow in each, the hop limit of a
// tunnel; a packet that is tunnelled already has its limit lowered twice (RFC 2473
// §4.1.1 (c)), others have none.
//
// Covers: P7.
func TestStackedHeaders(t *testing.T) {
	limited := func(n byte) []byte {
		return ipv6(nodeBehind, correspondent, protocolDestinationOptions, slices.Concat([]byte{protocolIPv6, 0, 4, 1, n, 1, 1, 0}, udp(nodeBehind, correspondent, nil)))
	}
	plain := udp(nodeBehind, correspondent, text(100))
	plain[0], plain[1] = 0x6b, 0x90 // class 0b10111001
	for _, test := range []struct {
		name   string
		packet []byte
		limits []byte // of upper and lower header
	}{
		{"plain", plain, nil},
		{"home", udp(home, correspondent, text(1372)), nil},
		{"tunnelled", ipv6(nodeBehind, correspondent, protocolIPv6, plain), []byte{4, 3}},
		{"limit 9", limited(9), []byte{8, 7}},
		{"limit 2", limited(2), []byte{1, 0}},
	} {
		b := newStackBench(t)
		out, reply := b.send(slices.Clone(test.packet), virtioHeader{}, 0)
		if len(out) != 1 || reply != nil {
			t.Fatalf("%s: %d packets, reply %x, drops %v", test.name, len(out), reply, b.dropped())
		}
		if want := len(test.packet) + 2*headerLength + len(test.limits)*limitLength; len(out[0]) != want {
			t.Errorf("%s: %d octets, want %d", test.name, len(out[0]), want)
		}
		middle := unwrap(t, out, careOf, anchor, 1500)
		inner := unwrap(t, middle, regional, agent, 1460)
		if !bytes.Equal(inner[0], test.packet) {
			t.Errorf("%s: inner packet changed", test.name)
		}
		for i, o := range [][]byte{middle[0], out[0]} {
			if trafficClass(o) != trafficClass(test.packet) || binary.BigEndian.Uint32(o)&0xfffff != flowLabel(test.packet) {
				t.Errorf("%s: header %x", test.name, o[:headerLength])
			}
			n := nestingOf(o)
			if (n.limit != 0) != (test.limits != nil) || n.limit != 0 && o[n.limit] != test.limits[i] {
				t.Errorf("%s: limit at level %d: %x", test.name, i, o[headerLength:headerLength+limitLength])
			}
		}
		u, l := &b.upper.encapsulated, &b.lower.encapsulated
		if u.packets.Load() != 1 || u.bytes.Load() != uint64(len(test.packet)) || l.packets.Load() != 1 || l.bytes.Load() != uint64(len(middle[0])) {
			t.Errorf("%s: counted %d/%d and %d/%d", test.name, u.packets.Load(), u.bytes.Load(), l.packets.Load(), l.bytes.Load())
		}
	}
	// (b): at the first level a Parameter Problem, at the second what the first makes of
	// one (§8.2).
	for n, want := range map[byte]uint8{0: icmpParameterProblem, 1: icmpUnreachable} {
		b := newStackBench(t)
		out, reply := b.send(limited(n), virtioHeader{}, 0)
		if got := b.dropped(); len(out) != 0 || !slices.Equal(got, []overlay.DropReason{overlay.DropNesting}) {
			t.Errorf("limit %d: %d packets, drops %v", n, len(out), got)
		}
		if m := icmpReply(t, reply, home, nodeBehind); m[0] != want {
			t.Errorf("limit %d: %x", n, m[:8])
		}
	}
}

// RFC 5380 §11, RFC 2473 §7.1: what the source is told, and what goes in fragments at
// which level, by what is known of the way to the anchor and behind it.
//
// Covers: P7.
func TestStackedTooBig(t *testing.T) {
	for _, test := range []struct {
		lower, upper int // path MTUs
		size         int
		mtu          uint32 // of Packet Too Big; 0: passes
		middle, out  int    // packets
	}{
		{1500, 1500, 1420, 0, 1, 1},
		{1500, 1500, 1421, 1420, 0, 0},
		{1500, 1400, 1360, 0, 1, 1},
		{1500, 1400, 1361, 1360, 0, 0},
		{1400, 1500, 1320, 0, 1, 1},
		{1400, 1500, 1321, 1320, 0, 0},
		{1400, 1350, 1310, 0, 1, 1},
		{1400, 1350, 1311, 1310, 0, 0},
		{1360, 1500, 1280, 0, 1, 1},
		{1359, 1500, 1280, 0, 2, 2}, // the upper one's
		{1359, 1500, 1281, 1280, 0, 0},
		{1320, 1500, 1280, 0, 2, 2},
		{1319, 1500, 1280, 0, 2, 3}, // the first of them in fragments of the lower one
		{1280, 1280, 1280, 0, 2, 3},
		{1280, 1500, 1240, 0, 1, 2}, // the lower one's alone
		{1280, 1500, 1200, 0, 1, 1},
		{1500, 1300, 1280, 0, 2, 2},
		{1280, 1280, 1281, 1280, 0, 0},
	} {
		b := newStackBench(t)
		b.learned(test.lower, test.upper)
		packet := udp(nodeBehind, correspondent, text(test.size-48))
		out, reply := b.send(packet, virtioHeader{}, 0)
		if len(out) != test.out {
			t.Errorf("%+v: %d packets", test, len(out))
			continue
		}
		if test.mtu != 0 {
			m := icmpReply(t, reply, home, nodeBehind)
			if m[0] != icmpPacketTooBig || binary.BigEndian.Uint32(m[4:]) != test.mtu || !bytes.Equal(m[8:], packet[:len(m)-8]) {
				t.Errorf("%+v: %x", test, m[:8])
			}
			continue
		}
		middle := unwrap(t, out, careOf, anchor, test.lower)
		if len(middle) != test.middle || b.lower.encapsulated.packets.Load() != uint64(test.middle) {
			t.Errorf("%+v: %d packets in the lower tunnel, %d counted", test, len(middle), b.lower.encapsulated.packets.Load())
		}
		if inner := unwrap(t, middle, regional, agent, test.upper); len(inner) != 1 || !bytes.Equal(inner[0], packet) {
			t.Errorf("%+v: other content", test)
		}
	}
	// A packet of a tunnel takes 48 octets at each level.
	b := newStackBench(t)
	for size, passes := range map[int]bool{1500 - 2*48: true, 1500 - 2*48 + 1: false} {
		packet := ipv6(nodeBehind, correspondent, protocolIPv6, udp(nodeBehind, correspondent, text(size-88)))
		out, reply := b.send(packet, virtioHeader{}, 0)
		if passes != (len(out) == 1 && len(out[0]) == 1500) {
			t.Errorf("tunnelled, %d octets: %d packets", size, len(out))
		}
		if !passes {
			if m := icmpReply(t, reply, home, nodeBehind); binary.BigEndian.Uint32(m[4:]) != 1404 {
				t.Errorf("tunnelled: %x", m[:8])
			}
		}
	}
}

// An aggregate becomes packets in two tunnels, at any size in as many fragments as
// that takes.
func TestStackedAggregate(t *testing.T) {
	for _, lower := range []int{1500, 1330, 1280} {
		b := newStackBench(t)
		b.learned(lower, 1500)
		const segment = 1200
		data := text(10 * segment)
		whole, h := partial(tcp(tcpOptions{sequence: 77}, data))
		h.gso, h.segment = gsoTCP6, segment
		out, reply := b.send(whole, h, 0)
		if reply != nil {
			t.Fatalf("%d: reply %x", lower, reply)
		}
		inner := unwrap(t, unwrap(t, out, careOf, anchor, lower), regional, agent, 1500)
		if len(inner) != 10 {
			t.Fatalf("%d: %d packets", lower, len(inner))
		}
		for i, p := range inner {
			from := i * segment
			if !bytes.Equal(p, tcp(tcpOptions{sequence: 77 + uint32(from)}, data[from:from+segment])) {
				t.Errorf("%d: packet %d differs", lower, i)
			}
		}
	}
}

// An optimised route with the regional care-of address (RFC 5380 §6.1.1): its headers,
// in the anchor's tunnel, also in fragments of both.
func TestStackedRoute(t *testing.T) {
	for _, test := range []struct{ lower, size, mtu, middle, out int }{
		{1500, 1436, 0, 1, 1},
		{1500, 1437, 1436, 0, 0},
		{1344, 1280, 0, 1, 1},
		{1343, 1280, 0, 2, 2},
		{1343, 1281, 1280, 0, 0},
		{1300, 1280, 0, 2, 3},
	} {
		b := newStackBench(t)
		o := b.optimise()
		b.learned(test.lower, 1500)
		packet := udp(home, correspondent, text(test.size-48))
		out, reply := b.send(packet, virtioHeader{}, 0)
		if len(out) != test.out {
			t.Fatalf("%+v: %d packets, drops %v", test, len(out), b.dropped())
		}
		if test.mtu != 0 {
			if m := icmpReply(t, reply, home, home); binary.BigEndian.Uint32(m[4:]) != uint32(test.mtu) {
				t.Errorf("%+v: %x", test, m[:8])
			}
			continue
		}
		middle := unwrap(t, out, careOf, anchor, test.lower)
		if len(middle) != test.middle || o.encapsulated.packets.Load() != 1 || b.lower.encapsulated.packets.Load() != uint64(test.middle) || b.upper.encapsulated.packets.Load() != 0 {
			t.Errorf("%+v: %d packets in the lower tunnel", test, len(middle))
		}
		var octets int
		for _, m := range middle {
			x, reason := endsOf(m)
			if reason != 0 || !x.hasHome || x.home != addressOf(home) || source(m) != addressOf(regional) || destination(m) != addressOf(correspondent) {
				t.Errorf("%+v: %x", test, m)
			}
			octets += len(m) - headerLength - homeHeaderLength
			if x.next == protocolFragment {
				octets -= fragmentLength
			}
		}
		if octets != test.size-headerLength {
			t.Errorf("%+v: %d octets arrive", test, octets)
		}
	}
}

// With a peer that is a mobile itself, away: its care-of address is in a routing header,
// within the home agent's tunnel or, with a route of our own, beside our home address;
// all of it in the anchor's tunnel, also when that is another one.
func TestStackedTwoMobiles(t *testing.T) {
	b := newStackBench(t)
	peer := &optimised{pair: overlay.Pair{Home: correspondent, Peer: home, Side: overlay.CorrespondentSide}}
	peer.paths.Store((*pathSet)(nil).swap([]*path{newPath(overlay.Path{Local: home, Remote: innerCareOf}, DefaultPathMTU)}, 0, 0))
	b.table.correspondentRoutes.insert(peer)
	packet := udp(home, correspondent, text(100))

	out, _ := b.send(slices.Clone(packet), virtioHeader{}, 0)
	inner := unwrap(t, unwrap(t, out, careOf, anchor, 1500), regional, agent, 1460)
	if len(inner) != 1 || source(inner[0]) != addressOf(home) || destination(inner[0]) != addressOf(innerCareOf) {
		t.Fatalf("in the home agent's tunnel: %x", inner)
	}
	b.optimise()
	for range 2 {
		out, _ = b.send(slices.Clone(packet), virtioHeader{}, 0)
		middle := unwrap(t, out, careOf, anchor, 1500)
		if x, _ := endsOf(middle[0]); !x.hasHome || !x.hasRoute || source(middle[0]) != addressOf(regional) || destination(middle[0]) != addressOf(innerCareOf) {
			t.Errorf("with both headers: %x", middle[0])
		}
		if p := peer.joint.Load(); p.mtu(0) != 1460 {
			t.Errorf("path MTU %d of both", p.mtu(0))
		}
		// The anchor's tunnel has gone and is there again: another one.
		old := b.lower
		old.gone.Store(true)
		b.lower = &tunnel{key: old.key, home: old.home}
		b.table.mobile.insert(netip.PrefixFrom(regional, 128), b.lower)
		b.move(0, careOf)
		b.optimise()
	}
}

// A swap of the lower path takes effect with the next packet, and what was learned of
// the old one is forgotten, but not what is known of the way behind the anchor. Without
// the lower tunnel nothing leaves, until the upper path changes.
func TestStackedSwap(t *testing.T) {
	b := newStackBench(t)
	p := b.upper.paths.Load().preferred()
	packet := udp(nodeBehind, correspondent, text(20))
	b.learned(1350, 1390)
	if m := p.mtu(0); m != 1310 {
		t.Errorf("path MTU %d, want 1310", m)
	}
	b.move(0, newCareOf)
	out, _ := b.send(packet, virtioHeader{}, 0)
	if len(out) != 1 || source(out[0]) != addressOf(newCareOf) {
		t.Errorf("%d packets after the swap", len(out))
	}
	if m := p.mtu(0); m != 1390 {
		t.Errorf("after the swap: path MTU %d, want 1390", m)
	}
	b.lower.gone.Store(true)
	for range 2 {
		out, reply := b.send(packet, virtioHeader{}, 0)
		if got := b.dropped(); len(out) != 0 || reply != nil || !slices.Equal(got, []overlay.DropReason{overlay.DropUnreachable}) {
			t.Errorf("without the lower tunnel: %d packets, drops %v", len(out), got)
		}
		again := newPath(overlay.Path{Local: regional, Remote: innerAgent}, DefaultPathMTU) // Set once more, even to another agent
		b.upper.paths.Store(b.upper.paths.Load().swap([]*path{again}, 0, DefaultGrace))
	}
	b.add(overlay.MobileSide, 0, careOf)
	if out, _ := b.send(packet, virtioHeader{}, 0); len(out) != 1 || source(out[0]) != addressOf(careOf) {
		t.Errorf("%d packets by the new path", len(out))
	}
}

// What Apply refuses, and what for.
func TestCheckStack(t *testing.T) {
	addresses := []netip.Addr{home, regional, innerHome}
	tunnelOn := func(h netip.Addr, local netip.Addr) *overlay.Tunnel {
		return &overlay.Tunnel{Key: overlay.Key{Home: h, Side: overlay.MobileSide}, Inner: []netip.Prefix{netip.PrefixFrom(h, 128)}, Paths: []overlay.Path{{Local: local, Remote: agent}}}
	}
	for _, test := range []struct {
		name string
		on   map[netip.Addr]netip.Addr // tunnels that are there, and where from
		set  *overlay.Tunnel
		want error
	}{
		{"alone", nil, tunnelOn(home, careOf), nil},
		{"on another", map[netip.Addr]netip.Addr{regional: careOf}, tunnelOn(home, regional), nil},
		{"before another", map[netip.Addr]netip.Addr{home: regional}, tunnelOn(regional, careOf), nil},
		{"two on one", map[netip.Addr]netip.Addr{regional: careOf, home: regional}, tunnelOn(innerHome, regional), nil},
		{"circle", map[netip.Addr]netip.Addr{regional: home}, tunnelOn(home, regional), ErrLoop},
		{"on two", map[netip.Addr]netip.Addr{regional: careOf, home: regional}, tunnelOn(innerHome, home), ErrStack},
		{"below two", map[netip.Addr]netip.Addr{innerHome: home, home: regional}, tunnelOn(regional, careOf), ErrStack},
		{"between two", map[netip.Addr]netip.Addr{innerHome: home, regional: careOf}, tunnelOn(home, regional), ErrStack},
		{"off again", map[netip.Addr]netip.Addr{regional: careOf, home: regional}, tunnelOn(home, careOf), nil},
	} {
		e := &Engine{mobiles: map[netip.Addr]*tunnel{}}
		for _, h := range addresses {
			if local, ok := test.on[h]; ok {
				u := &tunnel{key: overlay.Key{Home: h, Side: overlay.MobileSide}, home: addressOf(h)}
				u.paths.Store((*pathSet)(nil).swap([]*path{newPath(overlay.Path{Local: local, Remote: agent}, 1500)}, 0, 0))
				e.mobiles[h] = u
			}
		}
		if err := e.checkStack(test.set); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	own := tunnelOn(home, home)
	own.Inner = []netip.Prefix{network}
	if err := (&Engine{}).checkStack(own); !errors.Is(err, ErrLoop) {
		t.Errorf("on itself: %v", err)
	}
}

func TestStackedAllocatesNothing(t *testing.T) {
	b := newStackBench(t)
	b.optimise()
	b.out.flush = func([]datagram) {}
	one, optimised := udp(nodeBehind, correspondent, text(1200)), udp(home, correspondent, text(1200))
	whole, h := partial(tcp(tcpOptions{}, text(60_000)))
	h.gso, h.segment = gsoTCP6, 1340
	big := udp(nodeBehind, correspondent, text(1480))
	d := decapsulator{arrivals: b.arrivals(), joined: newCoalescer(16, 1460)}
	o := outer{source: addressOf(anchor), destination: addressOf(careOf)}
	received := slices.Concat(make([]byte, receiveHeadroom), ipv6(agent, regional, protocolIPv6, tcp(tcpOptions{from: correspondent, to: nodeBehind}, text(1300))))
	if n := testing.AllocsPerRun(100, func() {
		b.packet(one, virtioHeader{}, 0)
		b.packet(whole, h, 0)
		b.packet(big, virtioHeader{}, time.Hour)
		b.packet(optimised, virtioHeader{}, 0)
		b.out.send()
		d.packet(received, o, 0)
		d.joined.reset()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever is read from the device, what is sent are whole packets to the anchor that
// do not exceed the path MTU, with packets of the upper tunnel in them that do not
// exceed that one's.
func FuzzStackedEncapsulate(f *testing.F) {
	add := func(p []byte, h virtioHeader, lower, upper uint16) {
		b := make([]byte, virtioLength)
		h.put(b)
		f.Add(b, p, lower, upper)
	}
	whole, h := partial(tcp(tcpOptions{}, text(5000)))
	h.gso, h.segment = gsoTCP6, 1220
	add(whole, h, 1300, 1290)
	add(udp(nodeBehind, correspondent, text(1232)), virtioHeader{}, 1280, 1280)
	add(udp(home, correspondent, text(1232)), virtioHeader{}, 1310, 1500)
	add(ipv6(nodeBehind, correspondent, protocolDestinationOptions, slices.Concat([]byte{protocolIPv6, 0, 4, 1, 3, 1, 1, 0}, udp(home, agent, text(1100)))), virtioHeader{}, 1280, 1400)
	f.Fuzz(func(t *testing.T, virtio, packet []byte, lower, upper uint16) {
		if len(virtio) < virtioLength {
			return
		}
		var h virtioHeader
		h.parse(virtio)
		b := newStackBench(t)
		route := b.optimise().path()
		b.learned(int(lower), int(upper))
		p, q := b.lower.paths.Load().preferred(), b.upper.paths.Load().preferred()
		if whole, ok := trim(packet); ok && source(whole) == b.lower.home {
			return // the lower tunnel's own
		}
		out, reply := b.send(packet, h, 0)
		for _, o := range out {
			w, ok := trim(o)
			if !ok || len(w) != len(o) || len(w) > p.mtu(0) || source(w) != p.local || destination(w) != p.remote {
				t.Fatalf("sent %x", o)
			}
			at, ok := tunnelledIn(w)
			if !ok {
				continue
			}
			middle := w[at:]
			if source(middle) != b.lower.home || destination(middle) != q.remote && destination(middle) != route.remote ||
				headerLength+int(binary.BigEndian.Uint16(middle[offsetPayloadLength:])) > max(q.mtu(0), route.mtu(0)) {
				t.Fatalf("in the lower tunnel: %x", middle)
			}
		}
		if reply != nil {
			w, ok := trim(reply[virtioLength:])
			if !ok || len(w) != len(reply)-virtioLength || len(w) > minimumMTU || !correct(w) {
				t.Fatalf("reply %x", reply)
			}
		}
		if len(out) == 0 && len(b.dropped()) != 1 {
			t.Fatal("neither sent nor dropped for one reason")
		}
	})
}
