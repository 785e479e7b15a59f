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

// decapsulate puts a packet that came out of the tunnel header o through both levels
// and returns what is for the device.
func (b *stackBench) decapsulate(t *testing.T, packet []byte, o outer, now time.Duration) (device []byte, reason overlay.DropReason) {
	t.Helper()
	d := decapsulator{arrivals: b.arrivals(), joined: newCoalescer(1, 1460)}
	reason = d.packet(slices.Concat(make([]byte, receiveHeadroom), packet), o, now)
	if (reason == 0) != (d.joined.n == 1) {
		t.Fatalf("reason %v, %d for the device", reason, d.joined.n)
	}
	if reason != 0 {
		return nil, reason
	}
	head, ok := d.joined.finish(&d.joined.items[0])
	if !ok {
		t.Fatal("not for the device")
	}
	return head[virtioLength:], 0
}

// Correspondents may still have the on-link care-of address, when the home agent and others
// have the regional one: what they send there by a type 2 routing header is taken, too, as
// long as the anchor's tunnel begins there (RFC 6275 §6.4, RFC 5380 §6.1).
//
// Covers: M6.
func TestStackedRoutingHeader(t *testing.T) {
	b := newStackBench(t)
	b.table.local = func(a netip.Addr) bool { return slices.Contains([]netip.Addr{careOf, newCareOf, regional, home}, a) }
	a := b.arrivals()
	reason := func(to netip.Addr, now time.Duration) overlay.DropReason {
		p := udp(correspondent, home, text(20))
		_, _, reason := a.take(ipv6(correspondent, to, protocolRouting, slices.Concat(routeHeader(protocolUDP, home), p[headerLength:])), now)
		return reason
	}
	want := func(when string, to netip.Addr, now time.Duration, want overlay.DropReason) {
		t.Helper()
		if got := reason(to, now); got != want {
			t.Errorf("%s, to %v: %v, want %v", when, to, got, want)
		}
	}
	want("in the domain", regional, 0, 0)
	want("in the domain", careOf, 0, 0)
	want("in the domain", newCareOf, 0, overlay.DropRoutingHeader)
	b.move(0, newCareOf)
	want("after a move", newCareOf, 0, 0)
	want("on its way", careOf, DefaultGrace/2, 0)
	want("later", careOf, DefaultGrace, overlay.DropRoutingHeader)
	b.lower.gone.Store(true)
	want("without the anchor's tunnel", newCareOf, 0, overlay.DropRoutingHeader)
}

// RFC 6275 §11.3 and RFC 6040 §4.2 at each level; what is not plainly for the upper
// tunnel stays as it came out of the lower one.
func TestStackedDecapsulation(t *testing.T) {
	data := udp(correspondent, nodeBehind, text(50))
	in := func(from netip.Addr, inner []byte) []byte { return ipv6(from, regional, protocolIPv6, inner) }
	limited := ipv6(agent, regional, protocolDestinationOptions, slices.Concat([]byte{protocolIPv6, 0, 4, 1, 3, 1, 1, 0}, data))
	strange := ipv6(agent, regional, protocolDestinationOptions, slices.Concat([]byte{protocolIPv6, 0, 1, 4, 0, 0, 0, 0}, data))
	fragment := ipv6(agent, regional, protocolFragment, slices.Concat([]byte{protocolIPv6, 0, 0, 1, 0, 0, 0, 1}, data[:40]))
	test := mobility(correspondent, home, mobilityHomeTest)
	capable := slices.Clone(data)
	capable[1] |= ecnECT0 << ecnShift
	marked := slices.Clone(capable)
	marked[1] |= ecnCE << ecnShift
	esp := ipv6(agent, regional, protocolESP, text(40))
	route := slices.Concat([]byte{protocolMobility, 2, routingType2, 1, 0, 0, 0, 0}, home.AsSlice(), mobility(agent, home, 6)[headerLength:])
	acknowledgement := ipv6(agent, regional, protocolRouting, route)
	ect := func(p []byte) []byte { p = slices.Clone(p); p[1] |= ecnECT0 << ecnShift; return p }
	wire := outer{source: addressOf(anchor), destination: addressOf(careOf)}
	with := func(class uint8) outer { o := wire; o.class = class; return o }
	for _, c := range []struct {
		name         string
		packet       []byte
		o            outer
		device       []byte // nil: dropped
		reason       overlay.DropReason
		lower, upper uint64 // packets counted
	}{
		{"both", in(agent, data), wire, data, 0, 1, 1},
		{"with a limit", limited, wire, data, 0, 1, 1},
		{"from the anchor within", in(anchor, data), wire, nil, overlay.DropOuterSource, 1, 0},
		{"from a stranger within", in(correspondent, data), wire, nil, overlay.DropOuterSource, 1, 0},
		{"not from the anchor", in(agent, data), outer{source: addressOf(agent), destination: addressOf(careOf)}, nil, overlay.DropOuterSource, 0, 0},
		{"past the anchor", data, outer{source: addressOf(agent), destination: addressOf(regional)}, nil, overlay.DropOuterSource, 0, 0},
		{"by the device, from a fragment", data, outer{source: addressOf(agent), destination: addressOf(regional), tunnelled: true}, data, 0, 0, 1},
		{"to the on-link address, on its way before", data, outer{source: addressOf(agent), destination: addressOf(careOf)}, data, 0, 0, 1},
		{"of nobody's within", in(agent, udp(correspondent, innerNode, nil)), wire, in(agent, udp(correspondent, innerNode, nil)), 0, 1, 0},
		{"no packet within", in(agent, text(30)), wire, in(agent, text(30)), 0, 1, 0},
		{"another option", strange, wire, strange, 0, 1, 0},
		{"fragment", fragment, wire, fragment, 0, 1, 0},
		{"the regional address's own", udp(correspondent, regional, text(9)), wire, udp(correspondent, regional, text(9)), 0, 1, 0},
		{"IPsec", esp, wire, esp, 0, 1, 0},
		{"acknowledgement", acknowledgement, wire, acknowledgement, 0, 1, 0},
		{"home test without ESP", in(agent, test), wire, nil, overlay.DropUnprotected, 1, 0},
		{"congestion on this side", ect(in(agent, capable)), with(ecnCE), marked, 0, 1, 1},
		{"congestion behind the anchor", func() []byte { p := in(agent, capable); p[1] |= ecnCE << ecnShift; return p }(), with(ecnECT0), marked, 0, 1, 1},
		{"congestion that cannot be told within", ect(in(agent, data)), with(ecnCE), nil, overlay.DropCongestion, 1, 0},
		{"congestion that the agent does not take", in(agent, capable), with(ecnCE), nil, overlay.DropCongestion, 0, 0},
		{"three deep", in(agent, ipv6(correspondent, home, protocolIPv6, data)), wire, ipv6(correspondent, home, protocolIPv6, data), 0, 1, 1},
	} {
		b := newStackBench(t)
		b.upper.protected.Store(true)
		got, reason := b.decapsulate(t, slices.Clone(c.packet), c.o, 0)
		if reason != c.reason || !bytes.Equal(got, c.device) {
			t.Errorf("%s: %v, %x, want %v, %x", c.name, reason, got, c.reason, c.device)
		}
		var want []overlay.DropReason
		if c.reason != 0 {
			want = append(want, c.reason)
		}
		if d := b.dropped(); !slices.Equal(d, want) {
			t.Errorf("%s: drops %v", c.name, d)
		}
		if l, u := b.lower.decapsulated.packets.Load(), b.upper.decapsulated.packets.Load(); l != c.lower || u != c.upper {
			t.Errorf("%s: counted %d and %d, want %d and %d", c.name, l, u, c.lower, c.upper)
		}
	}
	// A home test that was in ESP, wherever that came from.
	b := newStackBench(t)
	b.upper.protected.Store(true)
	if reason := b.table.homeTest(b.upper.key, outer{source: addressOf(agent), destination: addressOf(regional), tunnelled: true}, test, 0); reason != 0 {
		t.Errorf("home test in ESP: %v", reason)
	}
	// And one that leaves is handed over with the path of its own level.
	var handed overlay.Path
	b.homeTest = func(_ overlay.Key, p overlay.Path, _ []byte) { handed = p }
	if out, _ := b.send(mobility(home, correspondent, mobilityHomeTestInit), virtioHeader{}, 0); len(out) != 0 || handed.Local != regional || handed.Remote != agent {
		t.Errorf("home test init: %d packets, handed over for %+v", len(out), handed)
	}
}

// The grace of former paths: of the lower tunnel while it lasts, of the upper one, and
// of a lower one that is no more.
func TestStackedGrace(t *testing.T) {
	data := udp(correspondent, nodeBehind, nil)
	b := newStackBench(t)
	b.table.local = func(a netip.Addr) bool { return a == regional }
	second := netip.MustParseAddr("2001:db8:33::1")
	p := newPath(overlay.Path{Local: newCareOf, Remote: second, Link: 7}, DefaultPathMTU)
	b.lower.paths.Store(b.lower.paths.Load().swap([]*path{p}, time.Hour, DefaultGrace))
	b.onto(overlay.Path{Local: regional, Remote: innerAgent}, &b.upper.paths, time.Hour)
	for _, c := range []struct {
		anchor, agent netip.Addr
		now           time.Duration
		want          overlay.DropReason
	}{
		{second, innerAgent, time.Hour + DefaultGrace, 0},
		{anchor, agent, time.Hour + DefaultGrace - 1, 0},
		{anchor, innerAgent, time.Hour + DefaultGrace, overlay.DropOuterSource},
		{second, agent, time.Hour + DefaultGrace, overlay.DropOuterSource},
	} {
		_, reason := b.decapsulate(t, ipv6(c.agent, regional, protocolIPv6, data), outer{source: addressOf(c.anchor), destination: addressOf(careOf)}, c.now)
		if reason != c.want {
			t.Errorf("%v in %v after %v: %v, want %v", c.agent, c.anchor, c.now, reason, c.want)
		}
	}
	const now = 2 * time.Hour
	b.table.mobile.remove(netip.PrefixFrom(regional, 128))
	b.lower.gone.Store(true)
	b.table.returned.add(b.lower, now, DefaultGrace)
	for after, want := range map[time.Duration]overlay.DropReason{DefaultGrace - 1: 0, DefaultGrace: overlay.DropNoTunnel} {
		if _, reason := b.decapsulate(t, ipv6(innerAgent, regional, protocolIPv6, data), outer{source: addressOf(second), destination: addressOf(newCareOf)}, now+after); reason != want {
			t.Errorf("%v after the lower tunnel has gone: %v, want %v", after, reason, want)
		}
	}
}

// tell gives an ICMPv6 error about an outer packet to whom it concerns, as the engine
// does, and returns what the source of the innermost packet is told.
func (b *stackBench) tell(kind, code uint8, parameter uint32, quoted []byte) (told relay, source address, ok bool) {
	e, ok := parseTunnelError(slices.Concat([]byte{kind, code, 0, 0}, binary.BigEndian.AppendUint32(nil, parameter), quoted[:min(len(quoted), 1232)]))
	if !ok {
		return told, source, false
	}
	for range 3 {
		u, _, r, ok := b.table.received(&e, 0)
		if !ok {
			return told, source, false
		}
		if route, is := b.table.routeAbove(u, &e, r); is {
			_, r, ok = b.table.about(&route, 0)
			return r, addressAt(route.original()[offsetSource:]), ok
		}
		upper, is := b.table.tunnelAbove(u, &e, r)
		if !is {
			return r, addressAt(e.inner[offsetSource:]), true
		}
		e = upper
	}
	return told, source, false
}

// RFC 2473 §8.2 at each level, RFC 8201 §4: an error from this side of the anchor is
// about the lower path, one from behind it about the upper one, and the source of the
// inner packet is told what it means for it.
//
// Covers: P7.
func TestStackedErrors(t *testing.T) {
	inner := udp(nodeBehind, correspondent, text(1420-48))
	upper := ipv6(regional, agent, protocolIPv6, inner)
	whole := ipv6(careOf, anchor, protocolIPv6, upper)
	own := ipv6(careOf, anchor, protocolIPv6, udp(regional, correspondent, text(1460-48)))
	option := slices.Concat([]byte{protocolUDP, 2, optionPadN, 2, 0, 0, optionHomeAddress, 16}, home.AsSlice(), udp(home, correspondent, text(1436-48))[headerLength:])
	direct := ipv6(careOf, anchor, protocolIPv6, ipv6(regional, correspondent, protocolDestinationOptions, option))
	stranger := ipv6(careOf, anchor, protocolIPv6, ipv6(regional, anchor, protocolIPv6, inner))
	unreachable := relay{icmpUnreachable, icmpCodeAddressUnreachable, 0}
	for _, test := range []struct {
		name         string
		kind, code   uint8
		parameter    uint32
		quoted       []byte
		want         relay
		source       netip.Addr // invalid: nobody is told
		lower, upper int        // path MTUs afterwards, the upper one's of its own
	}{
		{"too big near", icmpPacketTooBig, 0, 1400, whole, relay{icmpPacketTooBig, 0, 1320}, nodeBehind, 1400, 1500},
		{"too big far", icmpPacketTooBig, 0, 1400, upper, relay{icmpPacketTooBig, 0, 1360}, nodeBehind, 1500, 1400},
		{"as small as can be", icmpPacketTooBig, 0, 1280, whole, relay{icmpPacketTooBig, 0, 1280}, nodeBehind, 1280, 1500},
		{"forged, near", icmpPacketTooBig, 0, 1279, whole, relay{}, netip.Addr{}, 1500, 1500},
		{"forged, far", icmpPacketTooBig, 0, 3, upper, relay{}, netip.Addr{}, 1500, 1500},
		{"of the regional address", icmpPacketTooBig, 0, 1400, own, relay{icmpPacketTooBig, 0, 1360}, regional, 1400, 1500},
		{"of the optimised route", icmpPacketTooBig, 0, 1400, direct, relay{icmpPacketTooBig, 0, 1336}, home, 1400, 1500},
		{"of a tunnel of nobody's", icmpPacketTooBig, 0, 1400, stranger, relay{icmpPacketTooBig, 0, 1352}, regional, 1400, 1500},
		{"unreachable near", icmpUnreachable, 0, 0, whole, unreachable, nodeBehind, 1500, 1500},
		{"unreachable far", icmpUnreachable, 3, 0, upper, unreachable, nodeBehind, 1500, 1500},
		{"unreachable, of the route", icmpUnreachable, 0, 0, direct, unreachable, home, 1500, 1500},
		{"hop limit near", icmpTimeExceeded, 0, 0, whole, unreachable, nodeBehind, 1500, 1500},
		{"refused by the anchor", icmpUnreachable, icmpCodePolicy, 0, whole, relay{}, netip.Addr{}, 1500, 1500},
	} {
		b := newStackBench(t)
		b.optimise()
		r, from, ok := b.tell(test.kind, test.code, test.parameter, slices.Clone(test.quoted))
		if ok != test.source.IsValid() || ok && (r != test.want || from != addressOf(test.source)) {
			t.Errorf("%s: %v told %+v, %v", test.name, from.netip(), r, ok)
		}
		if l, u := b.lower.paths.Load().preferred().mtu(0), b.upper.paths.Load().preferred().beyond(0); l != test.lower || u != test.upper {
			t.Errorf("%s: path MTUs %d and %d, want %d and %d", test.name, l, u, test.lower, test.upper)
		}
	}
	// A route of two mobiles that leads nowhere because the anchor does is not reported
	// as the other one's.
	b := newStackBench(t)
	b.optimise()
	e, ok := parseTunnelError(slices.Concat([]byte{icmpUnreachable, 0, 0, 0, 0, 0, 0, 0}, direct[:1232]))
	u, _, r, _ := b.table.received(&e, 0)
	if route, is := b.table.routeAbove(u, &e, r); !ok || !is || route.unreachable() {
		t.Errorf("read as %+v, %v", route, is)
	}
}

// Refusals name the tunnel that they are about: the anchor's, or the home agent's in it.
func TestStackedRefusal(t *testing.T) {
	upper := ipv6(regional, agent, protocolIPv6, udp(nodeBehind, correspondent, text(100)))
	r := refuser{limit: newBucket(10, 10)}
	b := newStackBench(t)
	for _, c := range []struct {
		inner []byte
		o     outer // as the one that refuses saw it
		want  *tunnel
	}{
		{upper, outer{source: addressOf(careOf), destination: addressOf(anchor)}, b.lower},
		{upper[headerLength:], outer{source: addressOf(regional), destination: addressOf(agent)}, b.upper},
	} {
		e, ok := parseTunnelError(r.message(c.inner, c.o, 0))
		if !ok || !e.refused() {
			t.Fatalf("%+v", e)
		}
		if u, _, _, relayed := b.table.received(&e, 0); u != c.want || relayed {
			t.Errorf("refusal from %v: of %v, relayed %v", c.o.destination.netip(), u.key.Home, relayed)
		}
	}
}

// The lower tunnel is silent when nothing comes back for the upper one, either, or for
// an optimised route on it.
func TestStackedSilence(t *testing.T) {
	for _, route := range []bool{false, true} {
		b := newStackBench(t)
		if route {
			b.optimise()
		}
		var silent []netip.Addr
		b.watch.silent = func(home netip.Addr) { silent = append(silent, home) }
		packet := udp(home, correspondent, nil)
		for now := time.Second; now <= time.Second+overlay.SilenceInterval; now += time.Second {
			b.send(packet, virtioHeader{}, now)
		}
		want := []netip.Addr{regional, home}
		if route {
			want = want[:1]
		}
		if !slices.Equal(silent, want) {
			t.Errorf("route %v: silent %v, want %v", route, silent, want)
		}
		b.decapsulate(t, ipv6(correspondent, regional, protocolICMPv6, text(20)), outer{source: addressOf(anchor), destination: addressOf(careOf)}, 5*time.Second)
		if b.lower.silence.since.Load() != 0 || !route && b.upper.silence.since.Load() == 0 {
			t.Error("what came back is of the lower tunnel alone")
		}
	}
}

// Whatever comes out of the lower tunnel, what goes to the device is a whole packet,
// the one that came or what was in it, and never from the upper tunnel unless the
// home agent sent it.
func FuzzStackedDecapsulate(f *testing.F) {
	data := udp(correspondent, nodeBehind, text(50))
	f.Add(ipv6(agent, regional, protocolIPv6, data), uint8(0))
	f.Add(ipv6(correspondent, regional, protocolIPv6, data), uint8(1))
	f.Add(ipv6(agent, regional, protocolDestinationOptions, slices.Concat([]byte{protocolIPv6, 0, 4, 1, 3, 1, 1, 0}, data)), uint8(3))
	f.Add(ipv6(agent, regional, protocolIPv6, ipv6(agent, home, protocolIPv6, data)), uint8(2))
	f.Add(ipv6(agent, regional, protocolIPv6, nil), uint8(0))
	f.Fuzz(func(t *testing.T, packet []byte, class uint8) {
		b := newStackBench(t)
		d := decapsulator{arrivals: b.arrivals(), joined: newCoalescer(1, 1460)}
		reason := d.packet(slices.Concat(make([]byte, receiveHeadroom), packet), outer{source: addressOf(anchor), destination: addressOf(careOf), class: class}, 0)
		drops := b.dropped()
		if (reason == 0) != (d.joined.n == 1) || (reason == 0) == (len(drops) == 1) {
			t.Fatalf("reason %v, %d for the device, drops %v", reason, d.joined.n, drops)
		}
		if b.upper.decapsulated.packets.Load() > 0 && source(packet) != addressOf(agent) {
			t.Fatal("out of the home agent's tunnel, but not from there")
		}
		if reason != 0 {
			return
		}
		if head, ok := d.joined.finish(&d.joined.items[0]); ok {
			if q, ok := trim(head[virtioLength:]); !ok || len(q) != len(head)-virtioLength {
				t.Fatalf("to the device: %x", head)
			}
		}
	})
}
