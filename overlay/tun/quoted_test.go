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

// RFC 6275 §9.3.4, §11.3.5, RFC 2473 §8 by analogy: what becomes of errors about
// optimised packets.
func TestRouteErrors(t *testing.T) {
	router, stranger := netip.MustParseAddr("2001:db8:f::1"), netip.MustParseAddr("2001:db8:ffff::1")
	type way struct {
		routes   []overlay.Route
		from, to netip.Addr
	}
	mobile := way{[]overlay.Route{mobileRoute(correspondent)}, home, correspondent}
	peer := way{[]overlay.Route{correspondentRoute(correspondent)}, correspondent, farHome}
	both := way{[]overlay.Route{mobileRoute(farHome), correspondentRoute(home)}, home, farHome}
	changed := func(at int, v byte) func([]byte) { return func(p []byte) { p[at] = v } }
	swapped := func(p []byte) { // as the far mobile quotes it that has followed the routing header
		p[43] = 0
		for i := range 16 {
			p[24+i], p[48+i] = p[48+i], p[24+i]
		}
	}
	foreign := func(p []byte) { addressOf(stranger).put(p[24:]) }
	for _, test := range []struct {
		name       string
		way        way
		kind, code uint8
		parameter  uint32
		change     func([]byte)
		want       *relay
		mtu        int // of the path afterwards
	}{
		{"too big, mobile", mobile, icmpPacketTooBig, 0, 1400, nil, &relay{icmpPacketTooBig, 0, 1376}, 1400},
		{"too big, correspondent", peer, icmpPacketTooBig, 0, 1400, nil, &relay{icmpPacketTooBig, 0, 1376}, 1400},
		{"too big, both", both, icmpPacketTooBig, 0, 1400, nil, &relay{icmpPacketTooBig, 0, 1352}, 1400},
		{"too big, near the minimum", mobile, icmpPacketTooBig, 0, 1290, nil, &relay{icmpPacketTooBig, 0, 1280}, 1290},
		{"too big, below the minimum", mobile, icmpPacketTooBig, 0, 100, nil, nil, 1500},
		{"too big, larger than the packet", mobile, icmpPacketTooBig, 0, 9000, nil, nil, 1500},
		{"unreachable", peer, icmpUnreachable, 0, 0, nil, &relay{icmpUnreachable, 0, 0}, 1500},
		{"port unreachable, segments left 0", peer, icmpUnreachable, icmpCodePortUnreachable, 0, swapped, &relay{icmpUnreachable, icmpCodePortUnreachable, 0}, 1500},
		{"hop limit", both, icmpTimeExceeded, 0, 0, nil, &relay{icmpTimeExceeded, 0, 0}, 1500},
		{"reassembly time", mobile, icmpTimeExceeded, 1, 0, nil, &relay{icmpTimeExceeded, 1, 0}, 1500},
		{"parameter in the IPv6 header", mobile, icmpParameterProblem, 0, 4, nil, &relay{icmpParameterProblem, 0, 4}, 1500},
		{"parameter behind our headers", both, icmpParameterProblem, 0, 40 + 48 + 3, nil, &relay{icmpParameterProblem, 0, 43}, 1500},
		{"protocol unknown there", mobile, icmpParameterProblem, 1, 40, nil, &relay{icmpParameterProblem, 1, 6}, 1500},
		{"protocol unknown there, both", both, icmpParameterProblem, 1, 64, nil, &relay{icmpParameterProblem, 1, 6}, 1500},
		{"our option unknown there", mobile, icmpParameterProblem, 2, 46, nil, nil, 1500},
		{"our routing header refused", peer, icmpParameterProblem, 0, 42, nil, nil, 1500},
		{"our header unknown there", peer, icmpParameterProblem, 1, 6, nil, nil, 1500},
		{"echo request", mobile, 128, 0, 0, nil, nil, 1500},
		{"other type", mobile, 100, 0, 0, nil, nil, 1500},

		{"forged: other care-of address", peer, icmpPacketTooBig, 0, 1400, foreign, nil, 1500},
		{"forged: other source", mobile, icmpPacketTooBig, 0, 1400, changed(9, 0xee), nil, 1500},
		{"forged: other home address", mobile, icmpPacketTooBig, 0, 1400, changed(63, 0xee), nil, 1500},
		{"forged: other home address, routed", peer, icmpPacketTooBig, 0, 1400, changed(63, 0xee), nil, 1500},
		{"forged: headers we do not make", both, icmpPacketTooBig, 0, 1400, changed(66, 30), nil, 1500},
		{"forged: segments left", peer, icmpPacketTooBig, 0, 1400, changed(43, 3), nil, 1500},
		{"not IPv6", mobile, icmpPacketTooBig, 0, 1400, changed(0, 0x45), nil, 1500},
	} {
		b := newBench(t, overlay.MobileSide)
		for _, r := range test.way.routes {
			b.optimise(r, 0)
		}
		original := udp(test.way.from, test.way.to, text(1380-48))
		out, _ := b.send(slices.Clone(original), virtioHeader{}, 0)
		if len(out) != 1 {
			t.Fatalf("%s: %d packets", test.name, len(out))
		}
		c, _ := b.choose(original, 0)
		message := binary.BigEndian.AppendUint32([]byte{test.kind, test.code, 0, 0}, test.parameter)
		message = append(message, out[0][:1232]...)
		if test.change != nil {
			test.change(message[icmpHeaderLength:])
		}
		var got *relay
		if e, ok := parseRouteError(message); ok {
			if _, r, ok := b.table.about(&e, 0); ok {
				got = &r
				reply := b.encapsulator.errors.reply(e.original(), addressOf(router), r.kind, r.code, r.parameter, 0)
				icmp := icmpReply(t, reply, router, test.way.from)
				quoted := icmp[icmpHeaderLength:]
				if n := len(quoted); n < 1000 || !bytes.Equal(quoted, original[:n]) {
					t.Errorf("%s: about\n%x, was\n%x", test.name, quoted[:60], original[:60])
				}
			}
		}
		if (got == nil) != (test.want == nil) || got != nil && *got != *test.want {
			t.Errorf("%s: tells %+v, want %+v", test.name, got, test.want)
		}
		if m := c.path.mtu(0); m != test.mtu {
			t.Errorf("%s: path MTU %d, want %d", test.name, m, test.mtu)
		}
	}
}

// An error that quotes a route that has gone, or has another care-of address by
// now, changes nothing.
func TestErrorsAboutThePast(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	o := b.optimise(mobileRoute(correspondent), 0)
	out, _ := b.send(udp(home, correspondent, text(1300)), virtioHeader{}, 0)
	message := slices.Concat([]byte{icmpPacketTooBig, 0, 0, 0, 0, 0, 5, 0x14}, out[0][:1232])
	moved := mobileRoute(correspondent)
	moved.CareOf = newCareOf
	b.optimise(moved, 0)
	e, ok := parseRouteError(slices.Clone(message))
	if p, _, _ := b.table.about(&e, 0); !ok || p != nil || o.path().mtu(0) != DefaultPathMTU {
		t.Errorf("believed after a move: %v", p)
	}
	b.optimise(mobileRoute(correspondent), 0)
	if p, _, _ := b.table.about(&e, 0); p == nil || p.mtu(0) != 1300 {
		t.Errorf("not believed: %v", p)
	}
	b.mobileRoutes.remove(o, 0)
	if p, _, _ := b.table.about(&e, 0); p != nil {
		t.Error("believed without the route")
	}
	// What was learned about a path stays with it.
	b.mobileRoutes.insert(o)
	b.optimise(mobileRoute(correspondent), time.Second)
	if m := o.path().mtu(time.Second); m != 1300 {
		t.Errorf("path MTU %d after the same route again", m)
	}
	if m := o.path().mtu(time.Hour); m != DefaultPathMTU {
		t.Errorf("path MTU %d after an hour (RFC 8201 §4)", m)
	}
}
