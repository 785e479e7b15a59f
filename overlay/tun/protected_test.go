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

// mobility is a packet with a Mobility Header of a type, behind the headers given.
func mobility(from, to netip.Addr, kind uint8, before ...func(next uint8) (protocol uint8, octets []byte)) []byte {
	next, payload := uint8(protocolMobility), []byte{59, 1, kind, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	for _, f := range slices.Backward(before) {
		protocol, octets := f(next)
		next, payload = protocol, slices.Concat(octets, payload)
	}
	return ipv6(from, to, next, payload)
}

// padded is a destination options header with nothing in it.
func padded(next uint8) (uint8, []byte) {
	return protocolDestinationOptions, []byte{next, 0, 1, 4, 0, 0, 0, 0}
}

// RFC 6275 §10.4.6, RFC 4877 §6.2: what a protected tunnel hands over when it is to
// leave, and drops when it comes; the path is that of the moment.
//
// Covers: H11.
func TestProtectedTunnel(t *testing.T) {
	const hoti, coti, hot, update = mobilityHomeTestInit, 2, mobilityHomeTest, 5
	for _, test := range []struct {
		name      string
		side      overlay.Side
		packet    []byte
		direction direction
		guarded   bool
	}{
		{"home test init from home", overlay.MobileSide, mobility(home, correspondent, hoti), outbound, true},
		{"behind options", overlay.MobileSide, mobility(home, correspondent, hoti, padded, padded), outbound, true},
		{"home test to home", overlay.MobileSide, mobility(correspondent, home, hot), inbound, true},
		{"home test to home behind options", overlay.MobileSide, mobility(correspondent, home, hot, padded), inbound, true},
		{"home test init from home, at the agent", overlay.AgentSide, mobility(home, correspondent, hoti), inbound, true},
		{"home test to home, at the agent", overlay.AgentSide, mobility(correspondent, home, hot), outbound, true},
		{"home test from home: we are the correspondent", overlay.MobileSide, mobility(home, correspondent, hot), outbound, false},
		{"home test init to home, likewise", overlay.MobileSide, mobility(correspondent, home, hoti), inbound, false},
		{"home test init of a node behind", overlay.MobileSide, mobility(nodeBehind, correspondent, hoti), outbound, false},
		{"home test to a node behind", overlay.AgentSide, mobility(correspondent, nodeBehind, hot), outbound, false},
		{"care-of test init", overlay.MobileSide, mobility(home, correspondent, coti), outbound, false},
		{"update to a correspondent", overlay.MobileSide, mobility(home, correspondent, update), outbound, false},
		{"data", overlay.MobileSide, udp(home, correspondent, text(20)), outbound, false},
		{"cut off", overlay.MobileSide, ipv6(home, correspondent, protocolMobility, []byte{59, 1}), outbound, false},
	} {
		for _, protected := range []bool{true, false} {
			b := newBench(t, test.side)
			u := b.add(test.side, 0)
			u.protected.Store(protected)
			var handed [][]byte
			var paths []overlay.Path
			b.homeTest = func(k overlay.Key, p overlay.Path, packet []byte) {
				if k != u.key {
					t.Errorf("%s: handed over for %v", test.name, k)
				}
				handed, paths = append(handed, slices.Clone(packet)), append(paths, p)
			}
			d := decapsulator{arrivals: b.arrivals(), joined: newCoalescer(4, 1460)}
			want := test.guarded && protected
			for _, at := range []netip.Addr{careOf, newCareOf} {
				b.add(test.side, time.Hour, at)
				handed, paths = nil, nil
				if test.direction == outbound {
					out, _ := b.send(slices.Clone(test.packet), virtioHeader{}, time.Hour)
					if got := len(handed) == 1 && len(out) == 0; got != want || len(handed)+len(out) != 1 {
						t.Errorf("%s, protected %v: %d handed over, %d sent", test.name, protected, len(handed), len(out))
					}
					if want && (!bytes.Equal(handed[0], test.packet) || paths[0].Local != at && paths[0].Remote != at) {
						t.Errorf("%s: handed over %x for %+v, want %x for %v", test.name, handed[0], paths[0], test.packet, at)
					}
					continue
				}
				o := outer{source: addressOf(agent), destination: addressOf(at)}
				if test.side == overlay.AgentSide {
					o = outer{source: addressOf(at), destination: addressOf(agent)}
				}
				reason := d.packet(slices.Concat(make([]byte, receiveHeadroom), test.packet), o, time.Hour)
				if (reason == overlay.DropUnprotected) != want || !want && reason != 0 {
					t.Errorf("%s, protected %v: dropped for %v", test.name, protected, reason)
				}
				if !test.guarded {
					continue
				}
				// And the same when it was in ESP.
				before := u.decapsulated.packets.Load()
				switch reason := b.table.homeTest(u.key, o, test.packet, time.Hour); {
				case protected && (reason != 0 || u.decapsulated.packets.Load() != before+1):
					t.Errorf("%s, in ESP: dropped for %v", test.name, reason)
				case !protected && reason != overlay.DropProhibited:
					t.Errorf("%s, in ESP that is not asked for: %v", test.name, reason)
				}
			}
			if test.guarded && protected && test.direction == outbound {
				b.homeTest = nil
				if out, _ := b.send(slices.Clone(test.packet), virtioHeader{}, time.Hour); len(out) != 0 || !slices.Equal(b.dropped(), []overlay.DropReason{overlay.DropUnprotected}) {
					t.Errorf("%s: with nobody to hand it over to: %d sent", test.name, len(out))
				}
			}
		}
	}
}

// RFC 6275 §10.4.5: what was in ESP is taken from the ends of the tunnel only, and
// is nothing else than what ESP is for.
func TestHomeTestReceived(t *testing.T) {
	b := newBench(t, overlay.AgentSide)
	b.add(overlay.AgentSide, 0).protected.Store(true)
	key := overlay.Key{Home: home, Side: overlay.AgentSide}
	from := func(s, d netip.Addr) outer { return outer{source: addressOf(s), destination: addressOf(d)} }
	good := mobility(home, correspondent, mobilityHomeTestInit)
	for _, test := range []struct {
		name   string
		key    overlay.Key
		outer  outer
		packet []byte
		want   overlay.DropReason
	}{
		{"right", key, from(careOf, agent), good, 0},
		{"another care-of address", key, from(newCareOf, agent), good, overlay.DropOuterSource},
		{"to another of our addresses", key, from(careOf, correspondent), good, overlay.DropOuterSource},
		{"another home address", overlay.Key{Home: nodeBehind, Side: overlay.AgentSide}, from(careOf, agent), good, overlay.DropProhibited},
		{"the other side", overlay.Key{Home: home, Side: overlay.MobileSide}, from(careOf, agent), good, overlay.DropProhibited},
		{"an unknown home address", key, from(careOf, agent), mobility(correspondent, agent, mobilityHomeTestInit), overlay.DropNoTunnel},
		{"an update", key, from(careOf, agent), mobility(home, correspondent, 5), overlay.DropProhibited},
		{"data", key, from(careOf, agent), udp(home, correspondent, text(20)), overlay.DropProhibited},
		{"more than a packet", key, from(careOf, agent), append(slices.Clone(good), 0), overlay.DropMalformed},
		{"less", key, from(careOf, agent), good[:50], overlay.DropMalformed},
		{"nothing", key, from(careOf, agent), nil, overlay.DropMalformed},
	} {
		if got := b.table.homeTest(test.key, test.outer, test.packet, 0); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// ESP that is signalling is taken from the wire by somebody else, whatever home
// addresses are in front of it; the rest stays the kernel's.
func TestSignallingESP(t *testing.T) {
	esp := func(spi uint32) []byte { return binary.BigEndian.AppendUint32(nil, spi) }
	for _, test := range []struct {
		name  string
		spi   uint32
		known func(uint32) bool
		ours  bool
	}{
		{"signalling", 1000, func(spi uint32) bool { return spi == 1000 }, false},
		{"another SPI", 1001, func(spi uint32) bool { return spi == 1000 }, true},
		{"nobody asks", 1000, nil, true},
	} {
		b := newBench(t, overlay.MobileSide)
		b.table.espOurs = test.known
		b.table.local = func(a netip.Addr) bool { return a == correspondent || a == careOf }
		a := b.arrivals()
		payload := append(esp(test.spi), text(40)...)
		for _, packet := range [][]byte{
			ipv6(farCareOf, correspondent, protocolDestinationOptions, slices.Concat(homeOptions(protocolESP, farHome), payload)),
			ipv6(agent, careOf, protocolRouting, slices.Concat(routeHeader(protocolESP, home), payload)),
		} {
			given := slices.Clone(packet)
			_, ours, reason := a.take(packet, 0)
			if ours != test.ours || reason != 0 || !ours && !bytes.Equal(packet, given) {
				t.Errorf("%s: ours %v, %v", test.name, ours, reason)
			}
		}
	}
}

// The flag costs nothing that others notice.
func TestProtectedAllocatesNothing(t *testing.T) {
	b := newBench(t, overlay.MobileSide)
	b.add(overlay.MobileSide, 0).protected.Store(true)
	b.homeTest = func(overlay.Key, overlay.Path, []byte) {}
	data, test := udp(home, correspondent, text(20)), mobility(home, correspondent, mobilityHomeTestInit)
	b.out.flush = func([]datagram) {}
	if n := testing.AllocsPerRun(100, func() {
		b.packet(data, virtioHeader{}, 0)
		b.packet(test, virtioHeader{}, 0)
		b.out.send()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
