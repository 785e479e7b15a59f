package tun

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"roam6/overlay"
)

// Home test init and home test messages of a tunnel that is Protected go through it
// in IPsec ESP (RFC 6275 §10.4.6, RFC 3776 §3.2). ESP is somebody else's: here such
// packets are only told from others, handed over with the path of the moment, and
// taken back, as if they had come out of the tunnel plainly, when they were in ESP.

// direction is that of a packet in a tunnel, seen from here.
type direction bool

const (
	inbound  direction = false
	outbound direction = true
)

// Mobility Header types (RFC 6275 §6.1.3, §6.1.5).
const (
	mobilityHomeTestInit = 1
	mobilityHomeTest     = 3
)

// guards reports whether a packet must not be in the tunnel without ESP: a home
// test init message from the home address, which is a mobile's, or a home test
// message to it, which is an agent's. What is addressed to or from the mobile's
// networks concerns somebody behind it.
func (t *tunnel) guards(packet []byte, d direction) bool {
	if !t.protected.Load() {
		return false
	}
	if (t.key.Side == overlay.MobileSide) == (d == outbound) {
		return source(packet) == t.home && mobilityType(packet) == mobilityHomeTestInit
	}
	return destination(packet) == t.home && mobilityType(packet) == mobilityHomeTest
}

// mobilityType returns the type of the Mobility Header in a packet, or -1 if there
// is none, or not in one piece: nobody takes a part of one for a message.
func mobilityType(packet []byte) int {
	const offsetType = 2
	switch packet[offsetNextHeader] {
	case protocolTCP, protocolUDP, protocolICMPv6:
		return -1
	}
	x, _ := endsOf(packet)
	if x.next != protocolMobility || x.payload+offsetType >= len(packet) {
		return -1
	}
	return int(packet[x.payload+offsetType])
}

// protectedSignalling reports whether ESP that somebody else takes from the wire
// stands behind the home addresses.
func (t *table) protectedSignalling(packet []byte, x *ends) bool {
	return x.next == protocolESP && t.espOurs != nil && x.payload+4 <= len(packet) &&
		t.espOurs(binary.BigEndian.Uint32(packet[x.payload:]))
}

// handOver gives a packet that the tunnel guards to whoever puts it into ESP.
func (e *encapsulator) handOver(c *course, packet []byte) {
	if e.homeTest == nil {
		e.drops.count(overlay.DropUnprotected)
		return
	}
	c.count(1, len(packet))
	e.homeTest(c.tunnel.key, c.path.Path, packet)
}

// HomeTestReceived takes a home test init or home test message that came in ESP by
// an association of the tunnel's home address, from and to the given outer
// addresses, and treats it as if it had come out of the tunnel. One that may not come
// from there is dropped and counted: above all, one from a care-of address that the
// binding does not have (RFC 6275 §10.4.5). That, or ErrClosed, is the error. It
// may be called by any goroutine, but not from the engine's callbacks.
func (e *Engine) HomeTestReceived(home overlay.Key, from, to netip.Addr, packet []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	b := make([]byte, virtioLength+len(packet))
	copy(b[virtioLength:], packet)
	if reason := e.table.homeTest(home, outer{source: addressOf(from), destination: addressOf(to), tunnelled: true, sealed: true}, b[virtioLength:], e.now()); reason != 0 {
		e.table.drops.count(reason)
		return fmt.Errorf("home test message in ESP of %v, from %v to %v, dropped: %v", home.Home, from, to, reason)
	}
	e.inject(b)
	return nil
}

// homeTest judges a home test or home test init message that was in ESP.
func (t *table) homeTest(home overlay.Key, o outer, packet []byte, now time.Duration) overlay.DropReason {
	if p, ok := trim(packet); !ok || len(p) != len(packet) {
		return overlay.DropMalformed
	}
	u, reason := t.inbound(packet, o, now)
	switch {
	case u == nil:
		return reason
	case u.key != home || !u.guards(packet, inbound):
		return overlay.DropProhibited
	}
	u.decapsulated.add(1, len(packet))
	if home.Side == overlay.MobileSide {
		u.silence.heard()
	}
	return 0
}
