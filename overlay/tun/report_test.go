package tun

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

// A pair is reported with its first packet, and then once in an interval,
// whichever way its packets go.
func TestTrafficSeen(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	u := b.table.mobile.get(network)
	var seen []overlay.Pair
	b.watch.traffic = func(h, p netip.Addr, s overlay.Side) { seen = append(seen, overlay.Pair{Home: h, Peer: p, Side: s}) }
	receive := decapsulator{arrivals: arrivals{&b.table, &watcher{reporter: b.watch.reporter}}, joined: newCoalescer(1, 1460)}
	through := outer{source: addressOf(agent), destination: addressOf(careOf)}
	out := func(p []byte, now time.Duration) { b.send(p, virtioHeader{}, now) }
	in := func(p []byte, now time.Duration) {
		receive.packet(append(make([]byte, receiveHeadroom), p...), through, now)
		receive.joined.reset()
	}
	expect := func(what string, want ...overlay.Pair) {
		t.Helper()
		if len(seen) != len(want) || len(want) == 1 && seen[0] != want[0] {
			t.Errorf("%s: reported %v, want %v", what, seen, want)
		}
		seen = nil
	}
	pair := overlay.Pair{Home: home, Peer: correspondent, Side: overlay.MobileSide}
	const second = time.Second

	out(udp(home, correspondent, nil), second)
	expect("not watched")
	u.watch.Store(true)
	out(udp(home, correspondent, nil), second)
	expect("first", pair)
	for range 10 {
		out(udp(home, correspondent, nil), 2*second)
		in(udp(correspondent, home, nil), 2*second)
	}
	expect("again")
	in(udp(correspondent, home, nil), second+overlay.TrafficInterval)
	expect("after the interval", pair)
	out(udp(home, correspondent, nil), second+overlay.TrafficInterval)
	expect("the other way")

	out(udp(nodeBehind, correspondent, nil), time.Hour)
	in(udp(correspondent, nodeBehind, nil), time.Hour)
	out(ipv6(home, correspondent, protocolMobility, text(8)), time.Hour)
	in(ipv6(correspondent, home, protocolMobility, text(8)), time.Hour)
	in(ipv6(correspondent, home, 60, append(extension(135, 0, 0, 0, 0, 0, 0), text(8)...)), time.Hour)
	out(udp(home, netip.MustParseAddr("ff0e::1"), nil), time.Hour)
	expect("mobile network, signalling, multicast")
	// On its way past the tunnel when its sender left home: the destination is a
	// care-of address.
	rest := udp(home, farHome, nil)[headerLength:]
	out(ipv6(home, farCareOf, protocolRouting, slices.Concat(routeHeader(protocolUDP, farHome), rest)), time.Hour)
	expect("a routing header of its own")

	b.optimise(mobileRoute(correspondent), time.Hour)
	b.optimise(correspondentRoute(correspondent), time.Hour)
	for range 3 {
		out(udp(home, correspondent, nil), time.Hour)
	}
	expect("optimised", pair)
	for range 3 {
		out(udp(correspondent, farHome, nil), time.Hour+second)
	}
	expect("correspondent", overlay.Pair{Home: farHome, Peer: correspondent, Side: overlay.CorrespondentSide})
	out(udp(correspondent, farHome, nil), time.Hour+second+overlay.TrafficInterval)
	expect("later", overlay.Pair{Home: farHome, Peer: correspondent, Side: overlay.CorrespondentSide})
}

// Strangers cannot make the engine report without end, nor its memory grow.
func TestSightingsAreLimited(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	u := b.table.mobile.get(network)
	u.watch.Store(true)
	n := 0
	b.watch.traffic = func(netip.Addr, netip.Addr, overlay.Side) { n++ }
	for i := range 100_000 {
		a := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 12: byte(i >> 16), 13: byte(i >> 8), 14: byte(i), 15: 1})
		b.watch.received(u, udp(a, home, nil), time.Second)
	}
	if n == 0 || n > sightingsPerSecond {
		t.Errorf("%d reports", n)
	}
	if n := testing.AllocsPerRun(100, func() { b.watch.received(u, udpHome, 2*time.Second) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var udpHome = udp(correspondent, home, nil)

// A tunnel is silent when it took packets all the time and brought none back.
func TestSilence(t *testing.T) {
	const ms = time.Millisecond
	type step struct {
		at    time.Duration
		heard bool
		want  bool
	}
	every := func(from, to, d time.Duration) (s []step) {
		for at := from; at < to; at += d {
			s = append(s, step{at: at})
		}
		return s
	}
	for name, steps := range map[string][]step{
		"one packet an hour":  {{at: 1}, {at: time.Hour}, {at: 2 * time.Hour}},
		"nothing comes back":  append(every(1, 3000*ms, 100*ms), step{at: 3001 * ms, want: true}, step{at: 3002 * ms}, step{at: 5900 * ms}, step{at: 6001 * ms, want: true}),
		"an answer in time":   append(every(1, 2900*ms, 100*ms), step{at: 2950 * ms, heard: true}, step{at: 3100 * ms}, step{at: 6000 * ms}, step{at: 6100 * ms, want: true}),
		"answered later":      {{at: 1}, {at: 2900 * ms}, {at: 3100 * ms, want: true}, {at: 3200 * ms, heard: true}, {at: 6000 * ms}, {at: 6200 * ms}},
		"retransmissions":     {{at: 1}, {at: 200 * ms}, {at: 600 * ms}, {at: 1400 * ms}, {at: 3000 * ms}, {at: 5900 * ms, want: true}},
		"begins at time zero": {{at: 0}, {at: 1500 * ms}, {at: 2900 * ms}, {at: 3100 * ms, want: true}},
	} {
		var s silence
		for _, step := range steps {
			if step.heard {
				s.heard()
				continue
			}
			if got := s.sent(step.at); got != step.want {
				t.Errorf("%s: at %v: %v", name, step.at, got)
			}
		}
	}
}

// Traffic that comes back along an optimised route says nothing about the tunnel,
// whose home agent may be dead; signalling does not begin a silence.
func TestSilenceOfATunnel(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	u := b.table.mobile.get(network)
	reports := 0
	b.watch.silent = func(h netip.Addr) {
		if h != home {
			t.Errorf("tunnel of %v", h)
		}
		reports++
	}
	second := func(n int) time.Duration { return time.Duration(n) * time.Second }
	for i := range 20 {
		b.send(ipv6(home, correspondent, protocolMobility, text(8)), virtioHeader{}, second(i))
	}
	if reports != 0 || u.silence.since.Load() != 0 {
		t.Error("signalling")
	}
	b.optimise(mobileRoute(correspondent), 0)
	routed := udp(correspondent, home, text(8))
	routed = ipv6(correspondent, careOf, protocolRouting, append(routeHeader(protocolUDP, home), routed[headerLength:]...))
	a := b.arrivals()
	for i := 20; i < 30; i++ {
		b.send(udp(home, agent, nil), virtioHeader{}, second(i))
		if _, ours, reason := a.take(append([]byte(nil), routed...), second(i)); !ours || reason != 0 {
			t.Fatalf("not taken: %v", reason)
		}
	}
	if reports != 3 {
		t.Errorf("%d reports in ten seconds", reports)
	}
}
