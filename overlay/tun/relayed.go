package tun

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"roam6/overlay"
)

// DHCPv6 messages between the relay of a mobile router that is away and its home agent
// are in IPsec ESP where there are keys (RFC 6276 §4). They do not pass the device:
// what comes out of it may be forwarded for somebody who has no more than the right
// addresses to put into a packet, and must not leave in ESP. So all that is done here
// is to say where the mobile is, and to drop what has those addresses and no ESP.

const portDHCP = 547 // of relays and servers (RFC 8415 §7.2)

// bare reports whether a packet between two addresses, of which the first is this
// node's, must be in ESP and is not.
func (t *table) bare(packet []byte, local, remote address) bool {
	return t.relayed != nil && mayHoldDHCP(packet) && t.relayed(local.netip(), remote.netip())
}

// mayHoldDHCP reports whether a packet is a UDP datagram from or to the port of DHCPv6
// relays and servers, or the beginning of something that may be one: what cannot be
// told is taken for it. Of fragments that is the first one, without which the others
// are nothing.
func mayHoldDHCP(packet []byte) bool {
	next, at := packet[offsetNextHeader], headerLength
	for {
		length := 8
		switch next {
		case protocolUDP:
			return at+4 > len(packet) || binary.BigEndian.Uint16(packet[at:]) == portDHCP || binary.BigEndian.Uint16(packet[at+2:]) == portDHCP
		case protocolHopByHop, protocolRouting, protocolDestinationOptions:
			if at+length <= len(packet) {
				length += int(packet[at+1]) * 8
			}
		case protocolFragment:
			if at+length <= len(packet) && binary.BigEndian.Uint16(packet[at+2:])&^7 != 0 {
				return false
			}
		default:
			return false
		}
		if at+length > len(packet) {
			return true
		}
		next, at = packet[at], at+length
	}
}

// Path returns the path that a tunnel prefers now; ok is false if there is no such
// tunnel. It may be called by any goroutine, but not from the engine's callbacks.
func (e *Engine) Path(k overlay.Key) (p overlay.Path, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tunnels[k]
	if t == nil {
		return p, false
	}
	return t.paths.Load().preferred().Path, true
}

// Accept judges the outer addresses of a packet that came in ESP by an association of
// a home address. If they are not those of the home address's tunnel, such as a
// care-of address that the binding does not have, the packet must be dropped, and is
// counted; that, or ErrClosed, is the error. It may be called by any goroutine, but not
// from the engine's callbacks.
func (e *Engine) Accept(home overlay.Key, from, to netip.Addr) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	reason := overlay.DropNoTunnel
	if t := e.tunnels[home]; t != nil {
		paths, now := t.paths.Load(), e.now()
		if paths.accepts(home.Side, addressOf(from), addressOf(to), now) && paths.begins(addressOf(to), now) {
			return nil
		}
		reason = overlay.DropOuterSource
	}
	e.table.drops.count(reason)
	return fmt.Errorf("packet in ESP of %v, from %v to %v, dropped: %v", home.Home, from, to, reason)
}
