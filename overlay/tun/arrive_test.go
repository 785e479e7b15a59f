package tun

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

// homeOptions is a destination options header with the Home Address option, and
// perhaps others before it.
func homeOptions(next uint8, a netip.Addr, before ...byte) []byte {
	for len(before)%8 != 4 {
		before = append(before, 0)
	}
	return extension(next, slices.Concat(before, []byte{0xc9, 16}, a.AsSlice())...)
}

// routeHeader is a type 2 routing header.
func routeHeader(next uint8, a netip.Addr) []byte {
	return slices.Concat([]byte{next, 2, 2, 1, 9, 9, 9, 9}, a.AsSlice()) // reserved: ignored
}

// RFC 6275 §6.3, §6.4, §9.3.1, §11.3.3: which packets are taken for what home
// address, and what becomes of the others.
// Covers: C1, C3, M6, A7, Attack: routing header, Attack: reflection.
func TestArrivals(t *testing.T) {
	stranger, here := netip.MustParseAddr("2001:db8:ffff::1"), netip.MustParseAddr("2001:db8:c::2")
	group, linkLocal := netip.MustParseAddr("ff0e::1"), netip.MustParseAddr("fe80::1")
	local := []netip.Addr{correspondent, here, careOf, home, group}
	option := func(from, to, h netip.Addr) []byte {
		p := udp(h, to, text(20))
		return ipv6(from, to, protocolDestinationOptions, slices.Concat(homeOptions(protocolUDP, h), p[headerLength:]))
	}
	routed := func(from, to, h netip.Addr) []byte {
		p := udp(from, h, text(20))
		return ipv6(from, to, protocolRouting, slices.Concat(routeHeader(protocolUDP, h), p[headerLength:]))
	}
	changed := func(p []byte, at int, v byte) []byte { p[at] = v; return p }
	both := func(from, to, h, r netip.Addr) []byte {
		p := udp(h, r, text(20))
		return ipv6(from, to, protocolRouting, slices.Concat(routeHeader(protocolDestinationOptions, r), homeOptions(protocolUDP, h), p[headerLength:]))
	}
	behind := func(next uint8, from, to, h netip.Addr) []byte {
		return ipv6(from, to, protocolDestinationOptions, slices.Concat(homeOptions(next, h), text(24)))
	}
	reversed := func(from, to, h, r netip.Addr) []byte { // option first
		p := udp(h, r, text(20))
		return ipv6(from, to, protocolDestinationOptions, slices.Concat(homeOptions(protocolRouting, h), routeHeader(protocolUDP, r), p[headerLength:]))
	}
	// The far mobile is bound to correspondent and to our home address; it moved
	// from farOld a second ago.
	farOld := netip.MustParseAddr("2001:db8:4::7")
	const ignored = overlay.DropReason(255)
	for _, test := range []struct {
		name     string
		packet   []byte
		want     overlay.DropReason // 0: taken
		from, to netip.Addr         // then
		unknown  bool
	}{
		{"option, bound", option(farCareOf, correspondent, farHome), 0, farHome, correspondent, false},
		{"option, former care-of address, on its way", option(farOld, correspondent, farHome), 0, farHome, correspondent, false},
		{"option, to our home address", option(farCareOf, home, farHome), 0, farHome, home, false},
		{"option, other care-of address", option(stranger, correspondent, farHome), overlay.DropHomeAddress, home, home, true},
		{"option, bound to another address of ours", option(farCareOf, here, farHome), overlay.DropHomeAddress, home, home, true},
		{"option, nobody's binding", option(farCareOf, correspondent, stranger), overlay.DropHomeAddress, home, home, true},
		{"option, to somebody else", option(farCareOf, stranger, farHome), ignored, home, home, false},
		{"option, to many", option(farCareOf, group, farHome), ignored, home, home, false},
		{"option, multicast home address", option(farCareOf, correspondent, group), overlay.DropHomeAddress, home, home, false},
		{"option, link-local home address", option(farCareOf, correspondent, linkLocal), overlay.DropHomeAddress, home, home, false},
		{"option, link-local source", option(linkLocal, correspondent, farHome), overlay.DropLinkScope, home, home, false},
		{"option, multicast source", option(group, correspondent, farHome), overlay.DropLinkScope, home, home, false},
		{"option of another length", changed(option(farCareOf, correspondent, farHome), 47, 15), overlay.DropMalformed, home, home, false},
		{"option cut off", changed(option(farCareOf, correspondent, farHome), 47, 40), overlay.DropMalformed, home, home, false},
		{"two options in two headers", ipv6(farCareOf, correspondent, 60, slices.Concat(homeOptions(60, farHome), homeOptions(17, farHome), text(8))), overlay.DropMalformed, home, home, false},
		{"two options in one header", ipv6(farCareOf, correspondent, 60, slices.Concat(homeOptions(17, farHome, slices.Concat([]byte{0xc9, 16}, farHome.AsSlice())...), text(8))), overlay.DropMalformed, home, home, false},
		{"option before ESP", behind(protocolESP, stranger, correspondent, stranger), 0, stranger, correspondent, false},
		{"option before AH", behind(protocolAH, stranger, correspondent, stranger), 0, stranger, correspondent, false},
		{"option before ESP, to somebody else", behind(protocolESP, stranger, stranger, farHome), ignored, home, home, false},
		{"option before a Mobility Header", behind(protocolMobility, stranger, correspondent, stranger), ignored, home, home, false},
		{"option before a Mobile Prefix Solicitation", changed(behind(protocolICMPv6, farCareOf, correspondent, farHome), 64, 146), ignored, home, home, false},
		{"option before an echo request", changed(behind(protocolICMPv6, farCareOf, correspondent, farHome), 64, 128), 0, farHome, correspondent, false},

		{"routing header", routed(stranger, careOf, home), 0, stranger, home, false},
		{"routing header, our home address, elsewhere", routed(stranger, here, home), overlay.DropRoutingHeader, home, home, false},
		{"routing header, address in the mobile network", routed(stranger, careOf, nodeBehind), overlay.DropRoutingHeader, home, home, false},
		{"routing header to somebody else", routed(stranger, careOf, stranger), overlay.DropRoutingHeader, home, home, false},
		{"routing header to a bound mobile", routed(stranger, careOf, farHome), overlay.DropRoutingHeader, home, home, false},
		{"routing header to who is no mobile", routed(stranger, correspondent, correspondent), overlay.DropRoutingHeader, home, home, false},
		{"routing header on its way", routed(stranger, farCareOf, farHome), ignored, home, home, false},
		{"routing header, length", changed(routed(stranger, careOf, home), 41, 4), overlay.DropRoutingHeader, home, home, false},
		{"routing header, segments left 0", changed(routed(stranger, careOf, home), 43, 0), overlay.DropRoutingHeader, home, home, false},
		{"routing header, segments left 2", changed(routed(stranger, careOf, home), 43, 2), overlay.DropRoutingHeader, home, home, false},
		{"routing header of another type", changed(routed(stranger, careOf, home), 42, 0), ignored, home, home, false},
		{"routing header, link-local source", routed(linkLocal, careOf, home), overlay.DropLinkScope, home, home, false},
		{"two routing headers", ipv6(stranger, careOf, 43, slices.Concat(routeHeader(43, home), routeHeader(17, home), text(8))), overlay.DropMalformed, home, home, false},

		{"both", both(farCareOf, careOf, farHome, home), 0, farHome, home, false},
		{"both, option first", reversed(farCareOf, careOf, farHome, home), 0, farHome, home, false},
		{"both, not bound", both(stranger, careOf, farHome, home), overlay.DropHomeAddress, home, home, true},
		{"both, routing header not for us", both(farCareOf, careOf, farHome, stranger), overlay.DropRoutingHeader, home, home, false},
		{"neither", ipv6(farCareOf, correspondent, 60, slices.Concat(extension(17, 1, 4, 0, 0, 0, 0), text(8))), ignored, home, home, false},
	} {
		b := newBench(t, overlay.MobileSide)
		b.table.local = func(a netip.Addr) bool { return slices.Contains(local, a) }
		for _, own := range []netip.Addr{correspondent, home} {
			r := correspondentRoute(own)
			r.CareOf = farOld
			b.optimise(r, 0)
			b.optimise(correspondentRoute(own), time.Second)
		}
		var unknown [][3]netip.Addr
		b.watch.unknown = func(s, d, h netip.Addr) { unknown = append(unknown, [3]netip.Addr{s, d, h}) }
		a := b.arrivals()
		original := slices.Clone(test.packet)
		removed, ours, reason := a.take(test.packet, time.Second+DefaultGrace/2)
		if ours != (test.want != ignored) || ours && reason != test.want {
			t.Errorf("%s: ours %v, %v; want %v", test.name, ours, reason, test.want)
			continue
		}
		if !ours && (removed != 0 || !bytes.Equal(test.packet, original)) {
			t.Errorf("%s: changed", test.name)
		}
		if ours && reason == 0 {
			p := test.packet[removed:]
			if q, ok := trim(p); !ok || len(q) != len(p) || source(p) != addressOf(test.from) || destination(p) != addressOf(test.to) {
				t.Errorf("%s: %x", test.name, p)
			}
			if p[offsetNextHeader] == protocolUDP && !correct(p) {
				t.Errorf("%s: checksum of %x", test.name, p)
			}
		}
		want := []overlay.DropReason{test.want}
		if test.want == 0 || test.want == ignored {
			want = nil
		}
		if got := b.dropped(); !slices.Equal(got, want) {
			t.Errorf("%s: counted %v", test.name, got)
		}
		if (len(unknown) == 1) != test.unknown {
			t.Errorf("%s: reported %v", test.name, unknown)
		} else if test.unknown && unknown[0][0] != source(original).netip() {
			t.Errorf("%s: reported %v", test.name, unknown)
		}
	}

	// Later the former care-of address is a stranger's.
	b := newBench(t, overlay.MobileSide)
	r := correspondentRoute(correspondent)
	r.CareOf = farOld
	b.optimise(r, 0)
	b.optimise(correspondentRoute(correspondent), time.Second)
	a := b.arrivals()
	if _, _, reason := a.take(option(farOld, correspondent, farHome), time.Second+DefaultGrace); reason != overlay.DropHomeAddress {
		t.Errorf("former care-of address after the grace: %v", reason)
	}
}

// A correspondent may have been told another care-of address than the home agent has: the
// on-link one beside a regional one (RFC 5380 §6.1), or the other way round for a moment.
// What it sends there is taken, what others do is not.
// Covers: M6, C1.
func TestArrivalsWhereThePeerWasTold(t *testing.T) {
	stranger, onLink, farPeer := netip.MustParseAddr("2001:db8:ffff::1"), netip.MustParseAddr("2001:db8:c::2"), netip.MustParseAddr("2001:db8:c::9")
	b := newBench(t, overlay.MobileSide)
	b.table.local = func(a netip.Addr) bool { return slices.Contains([]netip.Addr{onLink, careOf, home}, a) }
	for _, peer := range []netip.Addr{farPeer, farHome} {
		r := mobileRoute(peer)
		r.CareOf = onLink
		b.optimise(r, 0)
	}
	b.optimise(correspondentRoute(home), 0)
	a := b.arrivals()
	for _, test := range []struct {
		name     string
		from, to netip.Addr
		home     netip.Addr // of who sends, too, where it is mobile
		want     overlay.DropReason
	}{
		{"who was told it", farPeer, onLink, netip.Addr{}, 0},
		{"by the other one", farPeer, careOf, netip.Addr{}, 0},
		{"who was not", stranger, onLink, netip.Addr{}, overlay.DropRoutingHeader},
		{"a mobile that was", farCareOf, onLink, farHome, 0},
		{"a mobile that was, from nowhere", stranger, onLink, farHome, overlay.DropHomeAddress},
	} {
		p := udp(test.from, home, text(20))
		packet := slices.Concat(routeHeader(protocolUDP, home), p[headerLength:])
		if test.home.IsValid() {
			p = udp(test.home, home, text(20))
			packet = slices.Concat(routeHeader(protocolDestinationOptions, home), homeOptions(protocolUDP, test.home), p[headerLength:])
		}
		if _, ours, reason := a.take(ipv6(test.from, test.to, protocolRouting, packet), time.Second); !ours || reason != test.want {
			t.Errorf("%s: %v, want %v", test.name, reason, test.want)
		}
	}
	b.table.mobileRoutes.remove(b.table.mobileRoutes.get(addressOf(home), addressOf(farPeer)), 0)
	p := udp(farPeer, home, text(20))
	if _, _, reason := a.take(ipv6(farPeer, onLink, protocolRouting, slices.Concat(routeHeader(protocolUDP, home), p[headerLength:])), time.Second); reason != overlay.DropRoutingHeader {
		t.Errorf("without a route: %v", reason)
	}
}

// RFC 8200 §4.2: other options beside the Home Address option stay where they
// are, for the kernel to judge.
func TestOtherOptionsStay(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	b.optimise(correspondentRoute(correspondent), 0)
	whole := udp(farHome, correspondent, text(30))
	options := homeOptions(protocolUDP, farHome, 0x1e, 2, 7, 7)
	p := ipv6(farCareOf, correspondent, protocolDestinationOptions, slices.Concat(options, whole[headerLength:]))
	a := b.arrivals()
	removed, ours, reason := a.take(p, 0)
	if removed != 0 || !ours || reason != 0 {
		t.Fatalf("removed %d, ours %v, %v", removed, ours, reason)
	}
	padded := slices.Concat(options[:6], []byte{optionPadN, 16}, make([]byte, 16))
	if want := ipv6(farHome, correspondent, protocolDestinationOptions, slices.Concat(padded, whole[headerLength:])); !bytes.Equal(p, want) {
		t.Errorf("%x, want\n%x", p, want)
	}
}

// What is left to do for a packet moves with it, and its aggregates stay.
func TestCapturedOffloads(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	b.optimise(correspondentRoute(correspondent), 0)
	whole, h := partial(tcp(tcpOptions{from: farHome, to: correspondent}, text(3000)))
	p := ipv6(farCareOf, correspondent, protocolDestinationOptions, slices.Concat(homeOptions(protocolTCP, farHome), whole[headerLength:]))
	h.start += homeHeaderLength
	h.gso, h.segment, h.headerLength = gsoTCP6, 1000, 84
	c := newCoalescer(1, 1460)
	a := b.arrivals()
	a.receive(slices.Concat(make([]byte, receiveHeadroom), p, []byte("frame padding")), h, c, 0)
	if c.n != 1 {
		t.Fatalf("%d items, drops %v", c.n, b.dropped())
	}
	head, ok := c.finish(&c.items[0])
	var got virtioHeader
	got.parse(head)
	if want := (virtioHeader{flags: virtioNeedsChecksum, gso: gsoTCP6, headerLength: 60, segment: 1000, start: 40, offset: 16}); !ok || got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if !bytes.Equal(head[virtioLength:], whole) {
		t.Errorf("%x, want\n%x", head[virtioLength:], whole)
	}
	if packets := split(t, got, head[virtioLength:]); len(packets) != 3 {
		t.Errorf("%d packets", len(packets))
	}

	// A checksum among the headers that are taken off is nonsense.
	c.reset()
	h = virtioHeader{flags: virtioNeedsChecksum, start: 41, offset: 16}
	a.receive(slices.Concat(make([]byte, receiveHeadroom), p), h, c, 0)
	if got := b.dropped(); c.n != 0 || !slices.Equal(got, []overlay.DropReason{overlay.DropOffload}) {
		t.Errorf("%d items, drops %v", c.n, got)
	}
}

// Packets of a TCP flow along an optimised route are joined, and all that without
// allocating.
func TestArrivalsAllocateNothing(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	b.optimise(correspondentRoute(correspondent), 0)
	var packets [][]byte
	for i := range 8 {
		p := tcp(tcpOptions{from: farHome, to: correspondent, sequence: uint32(1000 * i)}, text(1000))
		packets = append(packets, ipv6(farCareOf, correspondent, protocolDestinationOptions, slices.Concat(homeOptions(protocolTCP, farHome), p[headerLength:])))
	}
	c := newCoalescer(8, 1460)
	a := b.arrivals()
	buffers := make([][]byte, len(packets))
	for i, p := range packets {
		buffers[i] = make([]byte, receiveHeadroom+len(p))
	}
	n := testing.AllocsPerRun(100, func() {
		for i, p := range packets {
			copy(buffers[i][receiveHeadroom:], p)
			a.receive(buffers[i], virtioHeader{}, c, time.Second)
		}
		if c.n != 1 || len(c.items[0].more) != 7 {
			t.Fatalf("%d items, %d joined", c.n, len(c.items[0].more))
		}
		c.reset()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// From the tunnel: a packet to our home address of a mobile that is bound to it
// arrives there with the option, since its own packets go to the home address.
func TestOptionFromTheTunnel(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	b.optimise(correspondentRoute(home), 0)
	inner := udp(farHome, home, text(20))
	inside := ipv6(farCareOf, home, protocolDestinationOptions, slices.Concat(homeOptions(protocolUDP, farHome), inner[headerLength:]))
	o := outer{source: addressOf(agent), destination: addressOf(careOf)}
	d := decapsulator{arrivals: b.arrivals(), joined: newCoalescer(3, 1460)}
	if reason := d.packet(slices.Concat(make([]byte, receiveHeadroom), inside), o, 0); reason != 0 {
		t.Fatalf("dropped: %v", reason)
	}
	if got := d.joined.items[0].head[receiveHeadroom:]; !bytes.Equal(got, inner) {
		t.Errorf("%x, want\n%x", got, inner)
	}
	// To a node of the mobile network it is none of our business, and neither is
	// signalling; without a binding it is not accepted.
	b.table.local = func(a netip.Addr) bool { return a == home }
	for _, test := range []struct {
		packet []byte
		want   overlay.DropReason
	}{
		{ipv6(farCareOf, nodeBehind, 60, slices.Concat(homeOptions(17, farHome), text(8))), 0},
		{ipv6(farCareOf, home, 60, slices.Concat(homeOptions(135, farHome), text(8))), 0},
		{ipv6(farCareOf, home, 60, slices.Concat(homeOptions(17, nodeBehind), text(8))), overlay.DropHomeAddress},
	} {
		d.joined.reset()
		reason := d.packet(slices.Concat(make([]byte, receiveHeadroom), test.packet), o, 0)
		if reason != test.want {
			t.Errorf("%x: %v, want %v", test.packet, reason, test.want)
		}
		if reason == 0 && !bytes.Equal(d.joined.items[0].head[receiveHeadroom:], test.packet) {
			t.Errorf("%x changed", test.packet)
		}
	}
}

// BenchmarkArrivals takes a batch of packets of one flow.
func BenchmarkArrivals(b *testing.B) {
	w := newBench(b, overlay.MobileSide)
	w.optimise(correspondentRoute(correspondent), 0)
	packet := tcp(tcpOptions{from: farHome, to: correspondent}, text(1400))
	packet = ipv6(farCareOf, correspondent, protocolDestinationOptions, slices.Concat(homeOptions(protocolTCP, farHome), packet[headerLength:]))
	buffer := make([]byte, receiveHeadroom+len(packet))
	c := newCoalescer(1, 1460)
	a := w.arrivals()
	b.ReportAllocs()
	b.SetBytes(int64(len(packet)))
	for b.Loop() {
		copy(buffer[receiveHeadroom:], packet)
		a.receive(buffer, virtioHeader{}, c, time.Second)
		c.reset()
	}
}
