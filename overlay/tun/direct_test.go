package tun

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"roam6/overlay"
)

// RFC 6275 §9.3.2, RFC 8201 §4: what is too big with the headers is answered with
// the size that is not; RFC 8200 §5: the minimum MTU passes always, in fragments,
// each with the headers (RFC 6275 §6.3).
func TestTooBigForTheRoute(t *testing.T) {
	one, both := []overlay.Route{mobileRoute(farHome)}, []overlay.Route{mobileRoute(farHome), correspondentRoute(home)}
	tunnelled := []overlay.Route{correspondentRoute(home)} // and by our home agent
	for _, test := range []struct {
		name   string
		routes []overlay.Route
		mtu    int
		size   int
		want   int // MTU of the answer; 0: passes
		pieces int
	}{
		{"one, fits", one, 1500, 1476, 0, 1},
		{"one, too big", one, 1500, 1477, 1476, 0},
		{"both, fit", both, 1500, 1452, 0, 1},
		{"both, too big", both, 1500, 1453, 1452, 0},
		{"one, small path", one, 1300, 1281, 1280, 0},
		{"one, minimum", one, 1300, 1280, 0, 2},
		{"one, smaller", one, 1300, 1276, 0, 1},
		{"both, minimum", both, 1280, 1280, 0, 2},
		{"routing header in the tunnel, fits", tunnelled, 1500, 1436, 0, 1},
		{"routing header in the tunnel, too big", tunnelled, 1500, 1437, 1436, 0},
		{"routing header in the tunnel, minimum", tunnelled, 1280, 1280, 0, 2},
	} {
		b := newBench(t, overlay.MobileSide)
		for _, r := range test.routes {
			b.optimise(r, 0)
		}
		c, _ := b.choose(udp(home, farHome, nil), 0)
		c.path.tooBig(test.mtu, 0)
		original := udp(home, farHome, text(test.size-48))
		out, reply := b.send(slices.Clone(original), virtioHeader{}, 0)
		if test.want != 0 {
			if len(out) != 0 || reply == nil {
				t.Errorf("%s: %d packets, no answer", test.name, len(out))
				continue
			}
			icmp := icmpReply(t, reply, home, home)
			if mtu := binary.BigEndian.Uint32(icmp[4:]); icmp[0] != icmpPacketTooBig || mtu != uint32(test.want) {
				t.Errorf("%s: type %d, MTU %d", test.name, icmp[0], mtu)
			}
			continue
		}
		if len(out) != test.pieces || reply != nil {
			t.Errorf("%s: %d packets, reply %x, drops %v", test.name, len(out), reply, b.dropped())
			continue
		}
		if c.tunnel != nil {
			continue // TestRouteInTheTunnel
		}
		if got := undo(t, out, test.mtu); !bytes.Equal(got, original) {
			t.Errorf("%s:\n%x, want\n%x", test.name, got, original)
		}
	}
}

// undo takes the inserted headers off packets, checks their size and puts
// fragments together.
func undo(t testing.TB, out [][]byte, mtu int) []byte {
	t.Helper()
	var whole, head []byte
	for i, o := range out {
		if len(o) > mtu {
			t.Errorf("%d octets, path MTU %d", len(o), mtu)
		}
		if p, ok := trim(o); !ok || len(p) != len(o) {
			t.Fatalf("%x is not a whole packet", o)
		}
		x, reason := endsOf(o)
		if reason != 0 || !x.any() {
			t.Fatalf("%x has no headers", o)
		}
		o = o[x.strip(o):]
		if len(out) == 1 {
			return o
		}
		p, ok := placeOf(o)
		if !ok || p.fragment == 0 {
			t.Fatalf("%x is no fragment", o)
		}
		f := o[p.fragment:]
		field := binary.BigEndian.Uint16(f[2:])
		if int(field&^7) != len(whole) || field&1 != 1 != (i == len(out)-1) {
			t.Errorf("fragment %d: offset %d, more %d", i, field&^7, field&1)
		}
		if i == 0 {
			head = slices.Clone(o[:p.fragment])
			head[p.link] = f[0]
		}
		whole = append(whole, f[fragmentLength:]...)
	}
	binary.BigEndian.PutUint16(head[offsetPayloadLength:], uint16(len(head)+len(whole)-headerLength))
	return append(head, whole...)
}

// RFC 8200 §4.5: a fragment that is too big becomes two of the same whole.
func TestFragmentOfAFragment(t *testing.T) {
	for name, before := range map[string][][]byte{"first": nil, "behind options": {extension(protocolFragment, 30, 4, 1, 2, 3, 4)}} {
		next := uint8(protocolFragment)
		if before != nil {
			next = protocolDestinationOptions
		}
		payload := text(1280 - 40 - 8 - 16)
		original := ipv6(home, correspondent, next, slices.Concat(slices.Concat(before...), []byte{17, 0, 0x10, 1, 1, 2, 3, 4}, payload))
		b := newBench(t, overlay.MobileSide)
		b.optimise(mobileRoute(correspondent), 0).path().tooBig(1280, 0)
		out, _ := b.send(slices.Clone(original), virtioHeader{}, 0)
		if len(out) != map[bool]int{true: 1, false: 2}[before == nil] && len(out) != 2 {
			t.Fatalf("%s: %d packets, drops %v", name, len(out), b.dropped())
		}
		offset, got := 0x1000, []byte(nil)
		for _, o := range out {
			x, _ := endsOf(o)
			o = o[x.strip(o):]
			p, _ := placeOf(o)
			f := o[p.fragment:]
			if field := binary.BigEndian.Uint16(f[2:]); int(field) != offset|1 || f[0] != 17 || !bytes.Equal(f[4:8], []byte{1, 2, 3, 4}) {
				t.Errorf("%s: fragment header %x, want offset %#x", name, f[:8], offset)
			}
			got = append(got, f[8:]...)
			offset += len(f) - 8
			if len(o)+24 > 1280 {
				t.Errorf("%s: %d octets", name, len(o)+24)
			}
		}
		if !bytes.Equal(got, payload) {
			t.Errorf("%s: payload changed", name)
		}
	}
}

// A mobile that has no optimised route of its own to a mobile bound to its home
// address sends the routing header through its tunnel; errors about that come
// back as ones about the packet as it was.
func TestRouteInTheTunnel(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	b.optimise(correspondentRoute(home), 0)
	whole, h := partial(tcp(tcpOptions{from: home, to: farHome}, text(2500)))
	original := slices.Clone(whole)
	h.gso, h.segment = gsoTCP6, 1300
	out, _ := b.send(whole, h, 0)
	if len(out) != 2 {
		t.Fatalf("%d packets, drops %v", len(out), b.dropped())
	}
	for i, o := range out {
		if source(o) != addressOf(careOf) || destination(o) != addressOf(agent) || o[offsetNextHeader] != protocolIPv6 {
			t.Fatalf("not in the tunnel: %x", o[:40])
		}
		inner, ok := trim(slices.Clone(o[headerLength:]))
		x, reason := endsOf(inner)
		if !ok || reason != 0 || !x.hasRoute || x.route != addressOf(farHome) || destination(inner) != addressOf(farCareOf) || source(inner) != addressOf(home) {
			t.Fatalf("inner packet %x", inner)
		}
		inner = inner[x.strip(inner):]
		if !correct(inner) || !bytes.Equal(inner[60:], original[60+i*1300:min(60+(i+1)*1300, len(original))]) {
			t.Errorf("packet %d: %x", i, inner)
		}
	}

	message := slices.Concat([]byte{icmpPacketTooBig, 0, 0, 0, 0, 0, 5, 0x78}, out[0][:1232]) // 1400
	e, ok := parseTunnelError(message)
	if !ok {
		t.Fatal("not parsed")
	}
	_, p, r, ok := b.table.received(&e, 0)
	if want := (relay{icmpPacketTooBig, 0, 1336}); !ok || r != want {
		t.Errorf("tells %+v %v, want %+v", r, ok, want)
	}
	if source(e.inner) != addressOf(home) || destination(e.inner) != addressOf(farHome) || e.inner[offsetNextHeader] != protocolTCP {
		t.Errorf("about %x", e.inner[:60])
	}
	// Behind the tunnel the way to the care-of address is smaller yet.
	fresh := newBench(t, overlay.MobileSide)
	fresh.optimise(correspondentRoute(home), 0).path().tooBig(1400, 0)
	if _, reply := fresh.send(udp(home, farHome, text(1377-48)), virtioHeader{}, 0); reply == nil || binary.BigEndian.Uint32(icmpReply(t, reply, home, home)[4:]) != 1376 {
		t.Errorf("reply %x", reply)
	}
	if out, _ := fresh.send(udp(home, farHome, text(1376-48)), virtioHeader{}, 0); len(out) != 1 || len(out[0]) != 1440 {
		t.Errorf("%d packets", len(out))
	}
	p.tooBig(1300, 0)
	b.optimise(correspondentRoute(home), 0).path().tooBig(1290, 0)
	if _, reply := b.send(udp(home, farHome, text(1300)), virtioHeader{}, 0); binary.BigEndian.Uint32(icmpReply(t, reply, home, home)[4:]) != 1280 {
		t.Errorf("reply %x", reply)
	}
	out, _ = b.send(udp(home, farHome, text(1280-48)), virtioHeader{}, 0)
	if len(out) == 0 || len(out) > 2 {
		t.Fatalf("%d packets", len(out))
	}
	if inner := reassemble(t, out, 1300); destination(inner) != addressOf(farHome) || len(inner) != 1280 {
		t.Errorf("a packet of the minimum goes to the home address: %x", inner)
	}
}
