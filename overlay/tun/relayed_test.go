package tun

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

// dhcp is a datagram between ports.
func dhcp(from, to netip.Addr, fromPort, toPort uint16) []byte {
	p := udp(from, to, text(30))
	binary.BigEndian.PutUint16(p[headerLength:], fromPort)
	binary.BigEndian.PutUint16(p[headerLength+2:], toPort)
	binary.BigEndian.PutUint16(p[headerLength+offsetUDPChecksum:], 0)
	binary.BigEndian.PutUint16(p[headerLength+offsetUDPChecksum:], ^slowChecksum(p, headerLength, protocolUDP))
	return p
}

// behind puts headers before the payload of a packet.
func behind(p []byte, headers ...func(next uint8) (uint8, []byte)) []byte {
	next, payload := p[offsetNextHeader], p[headerLength:]
	for _, f := range slices.Backward(headers) {
		protocol, octets := f(next)
		next, payload = protocol, slices.Concat(octets, payload)
	}
	return ipv6(source(p).netip(), destination(p).netip(), next, payload)
}

// fragmentOf is a fragment header.
func fragmentOf(offset uint16) func(next uint8) (uint8, []byte) {
	return func(next uint8) (uint8, []byte) {
		return protocolFragment, []byte{next, 0, byte(offset >> 8), byte(offset)&^7 | 1, 0, 0, 0, 9}
	}
}

// RFC 6276 §4, RFC 4301 §7: what is, or may be, a DHCPv6 message of a relay.
func TestMayHoldDHCP(t *testing.T) {
	message := dhcp(home, agent, 547, 547)
	hops := func(next uint8) (uint8, []byte) { return protocolHopByHop, []byte{next, 0, 1, 4, 0, 0, 0, 0} }
	through := func(next uint8) (uint8, []byte) { return protocolRouting, []byte{next, 0, 0, 0, 0, 0, 0, 0} }
	for _, test := range []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"between relays and servers", message, true},
		{"to one", dhcp(home, agent, 40000, 547), true},
		{"from one", dhcp(home, agent, 547, 40000), true},
		{"of a client", dhcp(home, agent, 546, 546), false},
		{"data", udp(home, agent, text(20)), false},
		{"TCP", tcp(tcpOptions{from: home, to: agent}, nil), false},
		{"behind options", behind(message, padded), true},
		{"data behind options", behind(udp(home, agent, text(20)), padded), false},
		{"behind everything", behind(message, hops, through, padded, fragmentOf(0), padded), true},
		{"a first fragment", behind(message, fragmentOf(0)), true},
		{"a later fragment", behind(message, fragmentOf(8)), false},
		{"a first fragment of data", behind(udp(home, agent, text(20)), fragmentOf(0)), false},
		{"a first fragment that ends before the ports", behind(message, fragmentOf(0))[:headerLength+fragmentLength+3], true},
		{"a first fragment that ends in the options", behind(message, fragmentOf(0), padded)[:headerLength+fragmentLength+4], true},
		{"options that are longer than the packet", ipv6(home, agent, protocolDestinationOptions, []byte{protocolUDP, 9, 1, 4, 0, 0, 0, 0}), true},
		{"half of a fragment header", ipv6(home, agent, protocolFragment, []byte{protocolUDP, 0, 0}), true},
		{"ESP", ipv6(home, agent, protocolESP, message[headerLength:]), false},
		{"a packet in a packet", ipv6(home, agent, protocolIPv6, message), false},
		{"nothing", ipv6(home, agent, 59, nil), false},
	} {
		if got := mayHoldDHCP(test.packet); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// RFC 6276 §4: between a home address and its agent no DHCPv6 message passes without
// ESP, whichever way it takes, out or in, at either end; all else does, and everything
// where nobody asks for ESP.
//
// Covers: D1, Attack: prefix hijack.
func TestUnprotectedRelay(t *testing.T) {
	ends := func(side overlay.Side) (local, remote netip.Addr) {
		if side == overlay.MobileSide {
			return home, agent
		}
		return agent, home
	}
	for _, side := range []overlay.Side{overlay.MobileSide, overlay.AgentSide} {
		local, remote := ends(side)
		for _, protected := range []bool{true, false} {
			// The optimised route that roles ask for between the two is there, or not.
			for _, optimised := range []bool{true, false} {
				b := newBench(t, side)
				if protected {
					b.table.relayed = func(l, r netip.Addr) bool { return l == local && r == remote }
				}
				if optimised {
					b.route(side)
				}
				what := func(packet []byte) (got []overlay.DropReason, sent int) {
					out, _ := b.send(packet, virtioHeader{}, 0)
					return b.dropped(), len(out)
				}
				if reasons, sent := what(dhcp(local, remote, 547, 547)); protected != slices.Equal(reasons, []overlay.DropReason{overlay.DropUnprotected}) || protected != (sent == 0) {
					t.Errorf("side %d, protected %v, optimised %v: a message is sent: %d, dropped %v", side, protected, optimised, sent, reasons)
				}
				if reasons, sent := what(udp(local, remote, text(20))); len(reasons) != 0 || sent != 1 {
					t.Errorf("side %d, protected %v, optimised %v: data is sent: %d, dropped %v", side, protected, optimised, sent, reasons)
				}

				// Through the tunnel.
				d := decapsulator{arrivals: b.arrivals(), joined: newCoalescer(4, 1460)}
				o := outer{source: addressOf(agent), destination: addressOf(careOf)}
				if side == overlay.AgentSide {
					o = outer{source: addressOf(careOf), destination: addressOf(agent)}
				}
				for _, packet := range [][]byte{dhcp(remote, local, 547, 547), behind(dhcp(remote, local, 547, 40000), padded), behind(dhcp(remote, local, 547, 547), fragmentOf(0))} {
					reason := d.packet(slices.Concat(make([]byte, receiveHeadroom), packet), o, 0)
					if (reason == overlay.DropUnprotected) != protected || !protected && reason != 0 {
						t.Errorf("side %d, protected %v: a message comes through the tunnel: %v", side, protected, reason)
					}
				}
				if reason := d.packet(slices.Concat(make([]byte, receiveHeadroom), udp(remote, local, text(20))), o, 0); reason != 0 {
					t.Errorf("side %d, protected %v: data comes through the tunnel: %v", side, protected, reason)
				}

				// With the home address in an extension header, on its own and in the tunnel.
				if !optimised {
					continue
				}
				packet := ipv6(agent, careOf, protocolRouting, slices.Concat(routeHeader(protocolUDP, home), dhcp(agent, home, 547, 547)[headerLength:]))
				if side == overlay.AgentSide {
					packet = ipv6(careOf, agent, protocolDestinationOptions, slices.Concat(homeOptions(protocolUDP, home), dhcp(home, agent, 547, 547)[headerLength:]))
				}
				a := b.arrivals()
				before := b.counted(side)
				_, ours, reason := a.take(slices.Clone(packet), 0)
				if !ours || (reason == overlay.DropUnprotected) != protected || !protected && reason != 0 || protected != (b.counted(side) == before) {
					t.Errorf("side %d, protected %v: a message comes with headers: %v, %v", side, protected, ours, reason)
				}
				b.dropped()
			}
		}
	}
}

// route adds the optimised route between home address and agent.
func (b *bench) route(side overlay.Side) {
	o := &optimised{pair: overlay.Pair{Home: home, Peer: agent, Side: side}}
	p := overlay.Path{Local: careOf, Remote: agent, Link: 7}
	if side == overlay.AgentSide {
		o.pair.Side = overlay.CorrespondentSide
		p = overlay.Path{Local: agent, Remote: careOf}
	}
	o.paths.Store(o.paths.Load().swap([]*path{newPath(p, DefaultPathMTU)}, 0, DefaultGrace))
	b.table.routes(o.pair.Side).insert(o)
}

// counted is how many packets have come along that route.
func (b *bench) counted(side overlay.Side) uint64 {
	routes := &b.table.mobileRoutes
	if side == overlay.AgentSide {
		routes = &b.table.correspondentRoutes
	}
	return routes.get(addressOf(home), addressOf(agent)).decapsulated.packets.Load()
}

// RFC 6275 §10.4.5, §11.3.3: where a mobile is, and that what comes in ESP comes from
// there, also when it has just moved.
func TestPathAndAccept(t *testing.T) {
	for _, side := range []overlay.Side{overlay.MobileSide, overlay.AgentSide} {
		b := newBench(t, side)
		key := overlay.Key{Home: home, Side: side}
		e := &Engine{config: Config{Grace: DefaultGrace}, start: time.Now(), tunnels: map[overlay.Key]*tunnel{}}
		from := func(at netip.Addr) (source, destination netip.Addr) {
			if side == overlay.MobileSide {
				return agent, at
			}
			return at, agent
		}
		if _, ok := e.Path(key); ok {
			t.Errorf("side %d: a path of no tunnel", side)
		}
		source, destination := from(careOf)
		if err := e.Accept(key, source, destination); err == nil || e.table.drops[overlay.DropNoTunnel].Load() != 1 {
			t.Errorf("side %d: accepted without a tunnel: %v", side, err)
		}
		e.tunnels[key] = b.add(side, 0)
		if err := e.Accept(key, source, destination); err != nil {
			t.Errorf("side %d: %v", side, err)
		}
		other, elsewhere := from(newCareOf)
		if err := e.Accept(key, other, elsewhere); err == nil || e.table.drops[overlay.DropOuterSource].Load() != 1 {
			t.Errorf("side %d: accepted from elsewhere: %v", side, err)
		}
		b.add(side, e.now(), newCareOf)
		if p, ok := e.Path(key); !ok || p.Local != newCareOf && p.Remote != newCareOf {
			t.Errorf("side %d: path %+v, %v", side, p, ok)
		}
		for _, at := range []netip.Addr{newCareOf, careOf} {
			if s, d := from(at); e.Accept(key, s, d) != nil {
				t.Errorf("side %d: not accepted from %v behind the move", side, at)
			}
		}
		if err := e.Accept(key, correspondent, destination); err == nil {
			t.Errorf("side %d: accepted from a stranger", side)
		}
		if err := e.Accept(key, source, correspondent); err == nil {
			t.Errorf("side %d: accepted to a stranger", side)
		}
		e.closed = true
		if err := e.Accept(key, source, destination); !errors.Is(err, ErrClosed) {
			t.Errorf("side %d: after Close: %v", side, err)
		}
	}
}

// Whatever it is, to look at it neither reads beyond it nor takes long.
func FuzzMayHoldDHCP(f *testing.F) {
	f.Add(dhcp(home, agent, 547, 547))
	f.Add(behind(dhcp(home, agent, 547, 547), padded, fragmentOf(0), padded))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := trim(b); ok {
			mayHoldDHCP(p)
			x, _ := endsOf(p)
			if x.next == protocolUDP && x.payload+4 <= len(p) && binary.BigEndian.Uint16(p[x.payload+2:]) == portDHCP && !mayHoldDHCP(p) {
				t.Errorf("a message is not seen: %x", p)
			}
		}
	})
}
