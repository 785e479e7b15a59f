package tun

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"roam6/overlay"
)

// What is inserted comes off again, whatever the packet, in one piece or several
// (checkRoundTrip).
func FuzzInsert(f *testing.F) {
	f.Add(uint8(protocolUDP), text(1240), uint16(1300))
	f.Add(uint8(protocolHopByHop), slices.Concat(extension(protocolFragment, 1, 4), []byte{17, 0, 0, 1, 1, 2, 3, 4}, text(64)), uint16(1500))
	f.Add(uint8(protocolAH), append([]byte{17, 4, 0, 0}, text(64)...), uint16(1280))
	f.Fuzz(func(t *testing.T, next uint8, body []byte, mtu uint16) {
		if len(body) > 1400 {
			return
		}
		checkRoundTrip(t, ipv6(home, farHome, next, body), max(int(mtu), minimumMTU))
	})
}

// Whatever arrives, what is taken is a whole packet between home addresses whose
// binding permits it; what is not is left alone or counted for one reason.
func FuzzArrivals(f *testing.F) {
	whole := udp(farHome, home, text(30))
	f.Add(ipv6(farCareOf, careOf, 43, slices.Concat(routeHeader(60, home), homeOptions(17, farHome), whole[headerLength:])), []byte(nil))
	f.Add(ipv6(farCareOf, correspondent, 60, slices.Concat(homeOptions(17, farHome), whole[headerLength:])), []byte{1, 4, 84, 0, 10, 0, 64, 0, 16, 0})
	f.Add(ipv6(farCareOf, correspondent, 0, slices.Concat(extension(60, 5, 2, 0, 0), homeOptions(50, nodeBehind, 30, 0), text(16))), []byte(nil))
	f.Fuzz(func(t *testing.T, packet, virtio []byte) {
		if len(packet) < headerLength {
			return
		}
		b := newBench(t, overlay.MobileSide)
		b.table.local = func(a netip.Addr) bool { return a != farHome }
		b.optimise(correspondentRoute(home), 0)
		b.optimise(correspondentRoute(correspondent), 0)
		var h virtioHeader
		if len(virtio) >= virtioLength {
			h.parse(virtio)
		}
		c := newCoalescer(1, 1460)
		a := b.arrivals()
		original := slices.Clone(packet)
		a.receive(slices.Concat(make([]byte, receiveHeadroom), packet), h, c, 0)
		dropped := b.dropped()
		if c.n == 0 {
			if len(dropped) > 1 {
				t.Fatalf("dropped for %v", dropped)
			}
			return
		}
		if len(dropped) != 0 {
			t.Fatalf("taken and dropped for %v", dropped)
		}
		head, ok := c.finish(&c.items[0])
		if !ok {
			t.Fatal("not finished")
		}
		p := head[virtioLength:]
		if q, ok := trim(p); !ok || len(q) != len(p) || len(p) > len(original) {
			t.Fatalf("to the device: %x", p)
		}
		var left virtioHeader
		left.parse(head)
		if left.flags&virtioNeedsChecksum != 0 && (int(left.start) < headerLength || int(left.start)+int(left.offset)+2 > len(p)) {
			t.Fatalf("checksum at %d + %d of %d", left.start, left.offset, len(p))
		}
		original, _ = trim(original)
		x, reason := endsOf(original)
		if reason != 0 || !x.any() || x.signalling(original) {
			t.Fatalf("taken: %x", original)
		}
		if x.hasRoute && (x.route != addressOf(home) || destination(original) != addressOf(careOf) || x.segments != 1) {
			t.Fatalf("routing header taken: %x", original)
		}
		if next := original[x.options.at]; x.hasHome && next != protocolESP && next != protocolAH &&
			(x.home != addressOf(farHome) || source(original) != addressOf(farCareOf)) {
			t.Fatalf("option taken: %x", original)
		}
		if y, _ := endsOf(p); y.any() {
			t.Fatalf("still there: %x", p)
		}
	})
}

// An ICMPv6 error changes a path only if it quotes a packet of that route, and
// never below the minimum MTU; what is told is about home addresses.
func FuzzRouteError(f *testing.F) {
	b := newBench(f, overlay.MobileSide)
	b.optimise(mobileRoute(farHome), 0)
	b.optimise(correspondentRoute(home), 0)
	out, _ := b.send(udp(home, farHome, text(1300)), virtioHeader{}, 0)
	f.Add(slices.Concat([]byte{2, 0, 0, 0, 0, 0, 5, 0x78}, out[0][:1232]))
	f.Add(slices.Concat([]byte{4, 1, 0, 0, 0, 0, 0, 64}, out[0][:100]))
	f.Add(slices.Concat([]byte{1, 4, 0, 0, 0, 0, 0, 0}, out[0][:88]))
	f.Fuzz(func(t *testing.T, message []byte) {
		b := newBench(t, overlay.MobileSide)
		b.optimise(mobileRoute(farHome), 0)
		b.optimise(correspondentRoute(home), 0)
		b.send(udp(home, farHome, nil), virtioHeader{}, 0)
		c, _ := b.choose(udp(home, farHome, nil), 0)
		e, ok := parseRouteError(message)
		if !ok {
			return
		}
		quoted := slices.Clone(e.packet)
		p, r, ok := b.table.about(&e, 0)
		if m := c.path.mtu(0); m < minimumMTU || m > DefaultPathMTU || m != DefaultPathMTU && p != c.path {
			t.Fatalf("path MTU %d", m)
		}
		if p == nil && !bytes.Equal(quoted, e.packet) {
			t.Fatal("changed and not believed")
		}
		if !ok {
			return
		}
		reply := b.encapsulator.errors.reply(e.original(), addressOf(agent), r.kind, r.code, r.parameter, 0)
		if reply == nil {
			return
		}
		q, whole := trim(reply[virtioLength:])
		if !whole || !correct(q) || destination(q) != addressOf(home) {
			t.Fatalf("reply %x", reply)
		}
		if q[headerLength] == icmpPacketTooBig && binary.BigEndian.Uint32(q[headerLength+4:]) < minimumMTU {
			t.Fatalf("reply %x", reply)
		}
		if inner := q[headerLength+icmpHeaderLength:]; source(inner) != addressOf(home) || destination(inner) != addressOf(farHome) && len(inner) >= headerLength && p == c.path {
			t.Fatalf("about %x", inner)
		}
	})
}
