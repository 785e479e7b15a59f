package tun

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

// Addresses of the tests of optimised routes: a mobile that is the other end.
var (
	farHome   = netip.MustParseAddr("2001:db8:bb::7")
	farCareOf = netip.MustParseAddr("2001:db8:3::7")
)

// optimise installs a route, or swaps its care-of address.
func (b *bench) optimise(r overlay.Route, now time.Duration) *optimised {
	way := overlay.Path{Local: r.CareOf, Remote: r.Peer, Link: r.Link}
	if r.Side == overlay.CorrespondentSide {
		way = overlay.Path{Local: r.Peer, Remote: r.CareOf}
	}
	routes := b.table.routes(r.Side)
	o := routes.get(addressOf(r.Home), addressOf(r.Peer))
	if o == nil {
		o = &optimised{pair: r.Pair}
		o.paths.Store(o.paths.Load().swap([]*path{newPath(way, DefaultPathMTU)}, now, DefaultGrace))
		routes.insert(o)
		return o
	}
	o.paths.Store(o.paths.Load().swap([]*path{newPath(way, DefaultPathMTU)}, now, DefaultGrace))
	return o
}

// mobileRoute is the home address's to a peer, correspondentRoute ours to the
// far mobile.
func mobileRoute(peer netip.Addr) overlay.Route {
	return overlay.Route{Pair: overlay.Pair{Home: home, Peer: peer, Side: overlay.MobileSide}, CareOf: careOf, Link: 7}
}

func correspondentRoute(own netip.Addr) overlay.Route {
	return overlay.Route{Pair: overlay.Pair{Home: farHome, Peer: own, Side: overlay.CorrespondentSide}, CareOf: farCareOf}
}

// extension is an extension header with some content.
func extension(next uint8, content ...byte) []byte {
	b := append([]byte{next, 0}, content...)
	for len(b)%8 != 0 {
		b = append(b, 0) // Pad1 in options
	}
	b[1] = byte(len(b)/8 - 1)
	return b
}

// A swap of either care-of address shows in the next packet, and in where it is
// sent.
func TestSwapOfCareOfAddresses(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	ours, theirs := mobileRoute(farHome), correspondentRoute(home)
	for i, change := range []func(){
		func() {},
		func() { ours.CareOf, ours.Link = newCareOf, 8 },
		func() { theirs.CareOf = netip.MustParseAddr("2001:db8:4::7") },
		func() { ours.Link = 9 },
	} {
		change()
		b.optimise(ours, 0)
		b.optimise(theirs, 0)
		var sent []path
		b.out.flush = func(all []datagram) {
			for _, d := range all {
				sent = append(sent, path{Path: d.path.Path})
				if o := d.headers[:]; source(o) != addressOf(ours.CareOf) || destination(o) != addressOf(theirs.CareOf) {
					t.Errorf("step %d: %x", i, o[:40])
				}
			}
		}
		b.send(udp(home, farHome, nil), virtioHeader{}, 0)
		if len(sent) != 1 || sent[0].Local != ours.CareOf || sent[0].Remote != theirs.CareOf || sent[0].Link != ours.Link {
			t.Errorf("step %d: sent along %v", i, sent[0].Path)
		}
	}
}

// What was inserted comes off again, whatever the packet is made of; nothing
// grows by more than both headers; nothing of it is accepted without a binding.
func TestRandomPackets(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 20_000 {
		checkRoundTrip(t, randomPacket(r), 1500)
	}
}

// randomPacket has random extension headers before some transport.
func randomPacket(r *rand.Rand) []byte {
	kinds := []uint8{protocolDestinationOptions, protocolRouting, protocolFragment, protocolAH, protocolDestinationOptions}
	var chain []uint8
	if r.IntN(3) == 0 {
		chain = append(chain, protocolHopByHop)
	}
	for range r.IntN(4) {
		chain = append(chain, kinds[r.IntN(len(kinds))])
	}
	chain = append(chain, []uint8{protocolUDP, protocolTCP, protocolESP, 59, protocolIPv6, protocolICMPv6, protocolMobility}[r.IntN(7)])
	var body []byte
	for i, kind := range chain[:len(chain)-1] {
		next := chain[i+1]
		switch kind {
		case protocolFragment:
			body = append(body, next, 0, 0, byte(r.IntN(3))*8|byte(r.IntN(2)), 1, 2, 3, byte(r.IntN(256)))
		case protocolAH:
			body = append(body, append([]byte{next, 4, 0, 0}, make([]byte, 20)...)...)
		case protocolRouting:
			body = append(body, extension(next, 4, byte(r.IntN(4)/3), 0, 0, 0, 0)...)
		default:
			options := make([]byte, 6+8*r.IntN(4))
			if r.IntN(2) == 0 {
				options[0], options[1] = 30, byte(len(options)-2)
			}
			body = append(body, extension(next, options...)...)
		}
	}
	content := make([]byte, r.IntN(200))
	for i := range content {
		content[i] = byte(r.IntN(256))
	}
	return ipv6(home, farHome, chain[0], append(body, content...))
}

// checkRoundTrip sends a packet with no route, one, the other and both.
func checkRoundTrip(t *testing.T, original []byte, mtu int) {
	t.Helper()
	_, may := placeOf(original)
	for _, routes := range [][]overlay.Route{
		{mobileRoute(farHome)}, {correspondentRoute(home)}, {mobileRoute(farHome), correspondentRoute(home)},
	} {
		b := newBench(t, overlay.MobileSide)
		for _, r := range routes {
			b.optimise(r, 0)
		}
		b.table.mobile = trie[tunnel]{} // no tunnel to fall back to
		out, reply := b.send(slices.Clone(original), virtioHeader{}, 0)
		if c, _ := b.choose(original, 0); c.path != nil {
			c.path.tooBig(mtu, 0)
			out, reply = b.send(slices.Clone(original), virtioHeader{}, 0)
		}
		if !may {
			for _, o := range out {
				if !bytes.Equal(o, original) {
					t.Fatalf("must not be optimised: %x, was %x", o, original)
				}
			}
			continue
		}
		if reply != nil || len(out) == 0 {
			continue // too big
		}
		if len(out) == 1 && len(out[0]) != len(original)+24*len(routes) {
			t.Fatalf("%d octets of %d", len(out[0]), len(original))
		}
		for _, o := range out {
			stranger := newBench(t, overlay.MobileSide)
			stranger.table.local = func(netip.Addr) bool { return true }
			x, _ := endsOf(o)
			next := o[x.options.at]
			exempt := x.hasHome && !x.hasRoute && (next == protocolESP || next == protocolAH)
			a := stranger.arrivals()
			if _, ours, reason := a.take(slices.Clone(o), 0); ours && reason == 0 && !exempt {
				t.Fatalf("accepted without a binding: %x", o)
			}
		}
		if p, _ := placeOf(original); p.fragment != 0 && len(out) > 1 {
			continue // TestFragmentOfAFragment
		}
		if got := undo(t, out, max(mtu, minimumMTU)); !bytes.Equal(got, original) {
			t.Fatalf("\n%x, was\n%x", got, original)
		}
	}
}

// BenchmarkOptimise is BenchmarkEncapsulate for an optimised route, among ten
// thousand.
func BenchmarkOptimise(b *testing.B) {
	w := newBench(b, overlay.MobileSide)
	w.out = newBatch(sendBatch, func([]datagram) {})
	for i := range 10_000 {
		r := correspondentRoute(correspondent)
		r.Home = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 4: byte(i >> 8), 5: byte(i), 15: 1})
		w.optimise(r, 0)
	}
	w.optimise(mobileRoute(correspondent), 0)
	w.optimise(correspondentRoute(correspondent), 0)
	for name, to := range map[string][2]netip.Addr{"Mobile": {home, correspondent}, "Correspondent": {correspondent, farHome}} {
		p := udp(to[0], to[1], text(1400))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				w.packet(p, virtioHeader{}, time.Second)
			}
		})
	}
}

// The hot path does not allocate.
func TestOptimisedRoutesAllocateNothing(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	b.out = newBatch(4, func([]datagram) {})
	b.optimise(mobileRoute(farHome), 0)
	b.optimise(correspondentRoute(home), 0)
	b.optimise(mobileRoute(correspondent), 0)
	out := udp(home, farHome, text(1000))
	single := udp(home, correspondent, text(1000))
	whole, h := partial(tcp(tcpOptions{from: home, to: farHome}, text(5000)))
	h.gso, h.segment = gsoTCP6, 1000
	b.send(out, virtioHeader{}, 0) // makes the joint path
	if n := testing.AllocsPerRun(100, func() {
		b.packet(out, virtioHeader{}, time.Second)
		b.packet(single, virtioHeader{}, time.Second)
		b.packet(whole, h, time.Second)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
