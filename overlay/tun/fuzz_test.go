package tun

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

// Whatever is read from the device, what is sent are whole tunnel packets of
// the path that do not exceed its MTU, and whole ICMPv6 errors come back.
func FuzzEncapsulate(f *testing.F) {
	add := func(p []byte, h virtioHeader) {
		b := make([]byte, virtioLength)
		h.put(b)
		f.Add(b, p, uint16(1300))
	}
	whole, h := partial(tcp(tcpOptions{}, text(5000)))
	h.gso, h.segment = gsoTCP6, 1220
	add(whole, h)
	datagrams, h := partial(udp(nodeBehind, correspondent, text(4000)))
	h.gso, h.segment = gsoUDP, 1000
	add(datagrams, h)
	add(udp(nodeBehind, correspondent, text(1232)), virtioHeader{})
	add(ipv6(nodeBehind, correspondent, protocolDestinationOptions, slices.Concat([]byte{protocolIPv6, 0, 4, 1, 3, 1, 1, 0}, udp(home, agent, text(1100)))), virtioHeader{})
	add(ipv6(nodeBehind, correspondent, protocolFragment, []byte{protocolICMPv6, 0, 0, 0, 0, 0, 0, 0}), virtioHeader{})
	f.Fuzz(func(t *testing.T, virtio, packet []byte, mtu uint16) {
		if len(virtio) < virtioLength {
			return
		}
		var h virtioHeader
		h.parse(virtio)
		b := newBench(t, overlay.MobileSide)
		p := b.table.mobile.get(network).paths.Load().preferred()
		p.tooBig(int(mtu), 0)
		out, reply := b.send(packet, h, 0)
		for _, o := range out {
			q, ok := trim(o)
			if !ok || len(q) != len(o) || source(q) != addressOf(careOf) || destination(q) != addressOf(agent) {
				t.Fatalf("sent %x", o)
			}
			if len(q) > p.mtu(0) {
				t.Fatalf("sent %d octets, path MTU %d", len(q), p.mtu(0))
			}
		}
		if reply != nil {
			q, ok := trim(reply[virtioLength:])
			if !ok || len(q) != len(reply)-virtioLength || len(q) > minimumMTU || !correct(q) {
				t.Fatalf("reply %x", reply)
			}
		}
		if len(out) == 0 && len(b.dropped()) != 1 {
			t.Fatal("neither sent nor dropped for one reason")
		}
	})
}

// Whatever comes out of the tunnel, what goes to the device is what came in,
// whole, from a source that may send it.
func FuzzDecapsulate(f *testing.F) {
	f.Add(tcp(tcpOptions{from: correspondent, to: nodeBehind}, text(100)), tcp(tcpOptions{from: correspondent, to: nodeBehind, sequence: 100}, text(50)), uint8(0))
	whole, _ := partial(tcp(tcpOptions{from: correspondent, to: nodeBehind}, text(4000)))
	f.Add(whole, udp(correspondent, home, text(9)), uint8(3))
	unfinished, _ := partial(udp(correspondent, home, text(9)))
	f.Add(unfinished, ipv6(correspondent, home, protocolTCP, nil), uint8(2))
	f.Fuzz(func(t *testing.T, first, second []byte, class uint8) {
		b := newBench(t, overlay.MobileSide)
		c := newCoalescer(2, 1460)
		d := decapsulator{arrivals: b.arrivals(), joined: c}
		o := outer{source: addressOf(agent), destination: addressOf(careOf), class: class}
		accepted := 0
		for _, p := range [][]byte{first, second} {
			if d.packet(slices.Concat(make([]byte, receiveHeadroom), p), o, 0) == 0 {
				accepted++
			}
		}
		if c.n > accepted || (c.n == 0) != (accepted == 0) {
			t.Fatalf("%d for the device of %d accepted", c.n, accepted)
		}
		for i := range c.items[:c.n] {
			head, ok := c.finish(&c.items[i])
			if !ok {
				continue
			}
			var h virtioHeader
			h.parse(head)
			q := slices.Concat(head[virtioLength:], slices.Concat(c.items[i].more...))
			if whole, ok := trim(q); !ok || len(whole) != len(q) {
				t.Fatalf("to the device: %x", q)
			}
			split(t, h, q)
		}
	})
}

// An ICMPv6 error changes a path only if it quotes a packet of that path, and
// never below the minimum MTU.
func FuzzTunnelError(f *testing.F) {
	inner := udp(nodeBehind, correspondent, text(1352))
	quoted := ipv6(careOf, agent, protocolIPv6, inner)
	f.Add(slices.Concat([]byte{2, 0, 0, 0, 0, 0, 5, 0x78}, quoted[:1232]))
	f.Add(slices.Concat([]byte{1, 3, 0, 0, 0, 0, 0, 0}, quoted[:100]))
	f.Add(slices.Concat([]byte{4, 0, 0, 0, 0, 0, 0, 44}, ipv6(careOf, agent, protocolDestinationOptions, slices.Concat([]byte{protocolIPv6, 0, 4, 1, 0, 1, 1, 0}, inner))[:200]))
	f.Add(slices.Concat([]byte{2, 0, 0, 0, 0, 0, 5, 0}, ipv6(careOf, agent, protocolFragment, slices.Concat([]byte{protocolIPv6, 0, 0, 1, 0, 0, 0, 7}, inner))[:400]))
	f.Fuzz(func(t *testing.T, message []byte) {
		b := newBench(t, overlay.MobileSide)
		p := b.table.mobile.get(network).paths.Load().preferred()
		e, ok := parseTunnelError(message)
		if !ok {
			return
		}
		u, _, r, ok := b.table.received(&e, 0)
		if p.mtu(0) < minimumMTU || p.mtu(0) > DefaultPathMTU {
			t.Fatalf("path MTU %d", p.mtu(0))
		}
		if p.mtu(0) != DefaultPathMTU && (e.local != p.local || e.remote != p.remote || u == nil) {
			t.Fatal("somebody else's error was believed")
		}
		if ok {
			reply := b.encapsulator.errors.reply(e.inner, u.errorSource(p), r.kind, r.code, r.parameter, time.Second)
			if reply == nil {
				return
			}
			if q, ok := trim(reply[virtioLength:]); !ok || !correct(q) || source(q) != addressOf(netip.MustParseAddr("2001:db8:aa::5")) {
				t.Fatalf("reply %x", reply)
			}
		}
	})
}
