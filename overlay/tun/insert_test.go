package tun

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

// RFC 6275 §6.3, §6.4.1, §11.3.2, RFC 8200 §4.1: where the headers go; §6.1,
// §9.3.2, §11.3.1, §11.3.4: which packets do not get any.
// Covers: A4, M7.
func TestPlace(t *testing.T) {
	dst := func(next uint8) []byte { return extension(next, 30, 4, 1, 2, 3, 4) }
	hop := dst
	rh := func(next, left uint8) []byte { return extension(next, 4, left, 0, 0, 0, 0) }
	fragment := func(next, offset byte) []byte { return []byte{next, 0, 0, offset, 0, 0, 0, 9} }
	ah := func(next uint8) []byte { return append([]byte{next, 4, 0, 0}, make([]byte, 20)...) }
	hao := func(next uint8) []byte {
		return extension(next, slices.Concat([]byte{1, 2, 0, 0, 0xc9, 16}, home.AsSlice())...)
	}
	icmp := func(kind byte) []byte { return []byte{kind, 0, 0, 0, 0, 0, 0, 0} }
	for _, test := range []struct {
		name    string
		next    uint8
		headers [][]byte
		at      int // 0: none
	}{
		{"nothing", 59, nil, 40},
		{"UDP", 17, [][]byte{make([]byte, 8)}, 40},
		{"hop-by-hop", 0, [][]byte{hop(17), make([]byte, 8)}, 48},
		{"destination options", 60, [][]byte{dst(17)}, 40},
		{"routing header used up", 43, [][]byte{rh(17, 0)}, 48},
		{"options, then routing header", 60, [][]byte{dst(43), rh(17, 0)}, 56},
		{"all that may be before", 0, [][]byte{hop(60), dst(43), rh(60, 0), dst(17)}, 64},
		{"fragment", 44, [][]byte{fragment(17, 0)}, 40},
		{"hop-by-hop, fragment", 0, [][]byte{hop(44), fragment(17, 0)}, 48},
		{"later fragment", 44, [][]byte{fragment(17, 8)}, 40},
		{"AH", 51, [][]byte{ah(17)}, 40},
		{"ESP", 50, [][]byte{make([]byte, 16)}, 40},
		{"routing header behind a fragment header", 44, [][]byte{fragment(43, 0), rh(17, 0)}, 40},
		{"echo request", 58, [][]byte{icmp(128)}, 40},
		{"ICMPv6 error", 58, [][]byte{icmp(1)}, 40},
		{"home agent discovery", 58, [][]byte{icmp(144)}, 40},

		{"Mobility Header", 135, [][]byte{make([]byte, 8)}, 0},
		{"Mobility Header behind options", 60, [][]byte{dst(135), make([]byte, 8)}, 0},
		{"Mobility Header behind all", 0, [][]byte{hop(43), rh(44, 0), fragment(51, 0), ah(135)}, 0},
		{"later fragment of a Mobility Header", 44, [][]byte{fragment(135, 8)}, 0},
		{"router solicitation", 58, [][]byte{icmp(133)}, 0},
		{"redirect", 58, [][]byte{icmp(137)}, 0},
		{"listener query", 58, [][]byte{icmp(130)}, 0},
		{"listener report, version 2", 0, [][]byte{hop(58), icmp(143)}, 0},
		{"source-routed", 43, [][]byte{rh(17, 1)}, 0},
		{"Home Address option already", 60, [][]byte{hao(17)}, 0},
		{"type 2 routing header already", 43, [][]byte{extension(17, slices.Concat([]byte{2, 1, 0, 0, 0, 0}, home.AsSlice())...)}, 0},
		{"cut off", 60, [][]byte{{17, 5, 0, 0, 0, 0, 0, 0}}, 0},
		{"ICMPv6 cut off", 58, nil, 0},
		{"too long to keep", 0, [][]byte{extension(17, make([]byte, 200)...)}, 0},
		{"too long to repeat", 60, [][]byte{extension(44, make([]byte, 200)...), fragment(17, 0)}, 0},
	} {
		p := ipv6(home, correspondent, test.next, slices.Concat(test.headers...))
		got, ok := placeOf(p)
		if ok != (test.at != 0) || ok && got.at != test.at {
			t.Errorf("%s: %+v %v, want %d", test.name, got, ok, test.at)
		}
	}
}

// RFC 6275 §9.3.2, §11.3.1: what leaves on the mobile side, on the correspondent
// side and with both.
// Covers: C2.
func TestInsertedHeaders(t *testing.T) {
	type ends struct{ source, destination, home, route netip.Addr }
	none := netip.Addr{}
	for _, test := range []struct {
		name   string
		routes []overlay.Route
		from   netip.Addr
		to     netip.Addr
		want   ends
	}{
		{"mobile", []overlay.Route{mobileRoute(correspondent)}, home, correspondent, ends{careOf, correspondent, home, none}},
		{"correspondent", []overlay.Route{correspondentRoute(correspondent)}, correspondent, farHome, ends{correspondent, farCareOf, none, farHome}},
		{"both", []overlay.Route{mobileRoute(farHome), correspondentRoute(home)}, home, farHome, ends{careOf, farCareOf, home, farHome}},
	} {
		b := newBench(t, overlay.MobileSide)
		for _, r := range test.routes {
			b.optimise(r, 0)
		}
		original := udp(test.from, test.to, text(100))
		original[1], original[3], original[7] = 0x9f, 0x77, 64
		out, reply := b.send(slices.Clone(original), virtioHeader{}, 0)
		if len(out) != 1 || reply != nil {
			t.Fatalf("%s: %d packets, reply %x, drops %v", test.name, len(out), reply, b.dropped())
		}
		o, ok := trim(out[0])
		if !ok || len(o) != len(out[0]) || len(o) != len(original)+24*len(test.routes) {
			t.Fatalf("%s: %x is not a whole packet", test.name, out[0])
		}
		if !bytes.Equal(o[:4], original[:4]) || o[7] != 64 {
			t.Errorf("%s: class, label or hop limit changed: %x", test.name, o[:8])
		}
		// Octet by octet, as §6.3 and §6.4.1 draw it.
		got := ends{source: source(o).netip(), destination: destination(o).netip()}
		next, at := o[offsetNextHeader], headerLength
		if next == protocolRouting {
			if !bytes.Equal(o[at+1:at+8], []byte{2, 2, 1, 0, 0, 0, 0}) {
				t.Errorf("%s: routing header %x", test.name, o[at:at+24])
			}
			got.route = netip.AddrFrom16([16]byte(o[at+8 : at+24]))
			next, at = o[at], at+24
		}
		if next == protocolDestinationOptions {
			if !bytes.Equal(o[at+1:at+8], []byte{2, 1, 2, 0, 0, 0xc9, 16}) {
				t.Errorf("%s: destination options %x", test.name, o[at:at+24])
			}
			got.home = netip.AddrFrom16([16]byte(o[at+8 : at+24]))
			next, at = o[at], at+24
		}
		if got != test.want || next != protocolUDP || !bytes.Equal(o[at:], original[headerLength:]) {
			t.Errorf("%s: %+v, want %+v; then %d %x", test.name, got, test.want, next, o[at:])
		}
		for _, r := range test.routes {
			c := &b.table.routes(r.Side).get(addressOf(r.Home), addressOf(r.Peer)).encapsulated
			if c.packets.Load() != 1 || c.bytes.Load() != uint64(len(original)) {
				t.Errorf("%s: counted %d packets, %d octets", test.name, c.packets.Load(), c.bytes.Load())
			}
		}
	}
}

// What must not have the headers takes the tunnel, or leaves as it is where the
// kernel led it here only because of a binding.
// Covers: A4, M7.
func TestPastTheRoute(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	b.optimise(mobileRoute(correspondent), 0)
	b.optimise(correspondentRoute(correspondent), 0)
	message := func(from, to netip.Addr) []byte { return ipv6(from, to, protocolMobility, text(16)) }
	for _, test := range []struct {
		name     string
		packet   []byte
		from, to netip.Addr // of what leaves
		grows    int
	}{
		{"Mobility Header from home", message(home, correspondent), careOf, agent, headerLength},
		{"other peer", udp(home, agent, text(8)), careOf, agent, headerLength},
		{"from the mobile network", udp(nodeBehind, correspondent, text(8)), careOf, agent, headerLength},
		{"Mobility Header to a bound mobile", message(correspondent, farHome), correspondent, farHome, 0},
		{"from another address of ours", udp(farCareOf, farHome, text(8)), farCareOf, farHome, 0},
		{"from home to a mobile bound to another address", udp(home, farHome, text(8)), careOf, agent, headerLength},
	} {
		out, reply := b.send(slices.Clone(test.packet), virtioHeader{}, time.Second)
		if len(out) != 1 || reply != nil {
			t.Errorf("%s: %d packets, reply %x, drops %v", test.name, len(out), reply, b.dropped())
			continue
		}
		if o := out[0]; source(o) != addressOf(test.from) || destination(o) != addressOf(test.to) || !bytes.Equal(o[test.grows:], test.packet) {
			t.Errorf("%s: %x", test.name, o)
		}
	}
	// Aggregates are cut there, too, and checksums completed.
	whole, h := partial(tcp(tcpOptions{from: farCareOf, to: farHome}, text(3000)))
	h.gso, h.segment = gsoTCP6, 1000
	out, _ := b.send(whole, h, time.Second)
	if len(out) != 3 {
		t.Fatalf("%d packets", len(out))
	}
	for _, o := range out {
		if !correct(o) {
			t.Errorf("checksum of %x", o)
		}
	}
	// No way out but the device: dropped, and asked for again after a while.
	b.wayOut = func(address, address) (int, bool) { return 0, false }
	if out, _ := b.send(udp(newCareOf, farHome, text(8)), virtioHeader{}, time.Second); len(out) != 0 || !slices.Equal(b.dropped(), []overlay.DropReason{overlay.DropUnreachable}) {
		t.Errorf("%d packets without a way out", len(out))
	}
	b.wayOut = func(address, address) (int, bool) { return 9, true }
	if out, _ := b.send(udp(newCareOf, farHome, text(8)), virtioHeader{}, time.Second+bypassLifetime); len(out) != 1 {
		t.Errorf("%d packets when there is a way again", len(out))
	}
	// The last route has gone: for a moment packets are still led here.
	o := b.optimise(correspondentRoute(correspondent), 0)
	b.correspondentRoutes.remove(o, 10*time.Second)
	if out, _ := b.send(udp(correspondent, farHome, text(8)), virtioHeader{}, 10*time.Second-1); len(out) != 1 || len(out[0]) != 56 {
		t.Errorf("%d packets after the route has gone", len(out))
	}
	if out, _ := b.send(udp(correspondent, farHome, text(8)), virtioHeader{}, 10*time.Second); len(out) != 0 || !slices.Equal(b.dropped(), []overlay.DropReason{overlay.DropInnerSource}) {
		t.Errorf("%d packets long after", len(out))
	}
}
