package tun

import (
	"encoding/binary"
	"sync"
	"time"
)

// ICMPv6 errors (RFC 4443 §3).
const (
	icmpUnreachable      = 1
	icmpPacketTooBig     = 2
	icmpTimeExceeded     = 3
	icmpParameterProblem = 4

	icmpCodeAddressUnreachable = 3
	icmpCodePortUnreachable    = 4
	icmpCodeNextHeader         = 1 // of a Parameter Problem: unrecognized

	icmpHeaderLength = 8
	icmpFirstInfo    = 128 // types from here on are no errors
)

// errorSender builds ICMPv6 errors about inner packets, not too many. It serves
// one goroutine; the limit may be shared.
type errorSender struct {
	limit  *bucket
	buffer [virtioLength + minimumMTU]byte
}

// reply returns an ICMPv6 error about a packet, behind an empty virtio header:
// ready for the device. It returns nil where RFC 4443 §2.4 (e) forbids an error
// or (f) the limit is reached.
func (e *errorSender) reply(packet []byte, from address, kind, code uint8, parameter uint32, now time.Duration) []byte {
	if !mayAnswer(packet, kind) || !e.limit.take(now) {
		return nil
	}
	clear(e.buffer[:virtioLength])
	m := e.buffer[virtioLength:]
	quoted := copy(m[headerLength+icmpHeaderLength:], packet)
	length := icmpHeaderLength + quoted
	binary.BigEndian.PutUint32(m, 6<<28)
	binary.BigEndian.PutUint16(m[offsetPayloadLength:], uint16(length))
	m[offsetNextHeader], m[7] = protocolICMPv6, outerHopLimit
	from.put(m[offsetSource:])
	source(packet).put(m[offsetDestination:])
	icmp := m[headerLength : headerLength+length]
	icmp[0], icmp[1], icmp[2], icmp[3] = kind, code, 0, 0
	binary.BigEndian.PutUint32(icmp[4:], parameter)
	putChecksum(icmp[2:], sum(icmp, pseudoSum(m[offsetSource:], length, protocolICMPv6)), protocolICMPv6)
	return e.buffer[:virtioLength+headerLength+length]
}

// mayAnswer tells whether a packet may be answered with an ICMPv6 error
// (RFC 4443 §2.4 (e)): not an ICMPv6 error, not one to a multicast address
// (Packet Too Big excepted), not one whose source is not one node.
func mayAnswer(packet []byte, kind uint8) bool {
	if s := source(packet); s.multicast() || s.unspecified() {
		return false
	}
	if destination(packet).multicast() && kind != icmpPacketTooBig {
		return false
	}
	next, at := packet[offsetNextHeader], headerLength
	for {
		switch next {
		case protocolICMPv6:
			return at < len(packet) && packet[at] >= icmpFirstInfo
		case protocolHopByHop, protocolDestinationOptions, protocolRouting, protocolFragment:
		default:
			return true
		}
		if at+8 > len(packet) {
			return false
		}
		length := 8
		if next == protocolFragment {
			if binary.BigEndian.Uint16(packet[at+2:])&^7 != 0 {
				return true // what it carries cannot be seen
			}
		} else {
			length += int(packet[at+1]) * 8
		}
		next, at = packet[at], at+length
	}
}

// bucket is the token bucket of RFC 4443 §2.4 (f).
type bucket struct {
	every time.Duration // one token
	most  int

	mu     sync.Mutex
	tokens int
	last   time.Duration
	ready  bool
}

func newBucket(perSecond, most int) *bucket {
	return &bucket{every: time.Second / time.Duration(perSecond), most: most}
}

func (b *bucket) take(now time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ready {
		b.ready, b.tokens, b.last = true, b.most, now
	}
	if n := (now - b.last) / b.every; n > 0 {
		b.tokens = int(min(int64(b.tokens)+int64(n), int64(b.most)))
		b.last += n * b.every
	}
	if b.tokens == 0 {
		return false
	}
	b.tokens--
	return true
}

// tunnelError is an ICMPv6 error about an outer packet of ours.
type tunnelError struct {
	kind, code    uint8
	parameter     uint32
	local, remote address // of the outer packet
	inner         []byte  // as much of the inner packet as was quoted
	headers       int     // length of the tunnel headers
	below         bool    // it is what an error about the tunnel below means for this one
}

// parseTunnelError reads an ICMPv6 message. ok is false if it is not an error
// about a tunnel packet, or quotes too little to know whose.
func parseTunnelError(b []byte) (e tunnelError, ok bool) {
	const least = icmpHeaderLength + 2*headerLength
	if len(b) < least || b[0] >= icmpFirstInfo {
		return e, false
	}
	e.kind, e.code = b[0], b[1]
	e.parameter = binary.BigEndian.Uint32(b[4:])
	quoted := b[icmpHeaderLength:]
	if quoted[0]>>4 != 6 {
		return e, false
	}
	e.local, e.remote = source(quoted), destination(quoted)
	at, ok := tunnelledIn(quoted)
	if !ok {
		return e, false
	}
	e.inner, e.headers = quoted[at:], at
	return e, true
}

// tunnelledIn finds what is in a tunnel packet, perhaps the first fragment of one,
// that may be cut off. ok is false where nobody can tell whose that is.
func tunnelledIn(packet []byte) (at int, ok bool) {
	next, at := packet[offsetNextHeader], headerLength
	for next != protocolIPv6 {
		if next != protocolFragment && next != protocolDestinationOptions || at+8 > len(packet) {
			return 0, false
		}
		length := 8
		if next == protocolFragment {
			if binary.BigEndian.Uint16(packet[at+2:])&^7 != 0 {
				return 0, false
			}
		} else {
			length += int(packet[at+1]) * 8
		}
		next, at = packet[at], at+length
	}
	return at, at+headerLength <= len(packet) && packet[at]>>4 == 6
}

// relay is what the source of the inner packet is told (RFC 2473 §8.2).
type relay struct {
	kind, code uint8
	parameter  uint32
}

// received acts on an error about a tunnel packet: it lowers the path MTU, and
// returns what to tell the source of the inner packet, if that is to be told;
// e.inner is as that source sent it afterwards. An error that quotes no packet of a present path is not believed.
func (t *table) received(e *tunnelError, now time.Duration) (u *tunnel, p *path, r relay, ok bool) {
	if u = t.agent.lookup(destination(e.inner)); u != nil {
		p = u.paths.Load().between(e.local, e.remote)
	}
	if p == nil {
		if u = t.mobile.lookup(source(e.inner)); u != nil {
			p = u.paths.Load().between(e.local, e.remote)
		}
	}
	if p == nil {
		return nil, nil, r, false
	}
	inner, routing := t.withoutRoute(e.inner)
	e.inner = inner
	switch e.kind {
	case icmpPacketTooBig:
		if e.parameter < minimumMTU {
			return nil, nil, r, false // forged: no link may say so (RFC 8201 §4)
		}
		if !e.below { // which knows it
			p.tooBig(int(min(e.parameter, 1<<16)), now)
		}
		overhead := headerLength
		if n := nestingOf(e.inner); n.limit != 0 {
			overhead += limitLength
		} else if _, ours := t.above(u, e.inner); n.tunnelled && !ours && !u.withoutLimit() {
			overhead += limitLength
		}
		mtu := max(p.mtuOver(overhead, now)-overhead-routing, minimumMTU)
		size := headerLength + int(binary.BigEndian.Uint16(e.inner[offsetPayloadLength:]))
		// §7.1: only where the packet is larger than what is let through in fragments.
		return u, p, relay{icmpPacketTooBig, 0, uint32(mtu)}, size > minimumMTU && size > mtu
	case icmpUnreachable:
		// A port cannot be unreachable for a protocol that has none. It is how Linux
		// with a tunnel driver answers when none of its own tunnels matches, also
		// when a raw socket took the packet.
		return u, p, relay{icmpUnreachable, icmpCodeAddressUnreachable, 0}, e.code != icmpCodePortUnreachable && !e.refused()
	case icmpTimeExceeded:
		const hopLimit = 0
		return u, p, relay{icmpUnreachable, icmpCodeAddressUnreachable, 0}, e.code == hopLimit
	case icmpParameterProblem:
		// Of the tunnel headers only the encapsulation limit can be the fault.
		const erroneousField = 0
		inLimit := e.headers > headerLength && e.parameter >= headerLength && int(e.parameter) < e.headers
		return u, p, relay{icmpUnreachable, icmpCodeAddressUnreachable, 0}, e.code == erroneousField && inLimit
	default:
		return u, p, r, false
	}
}
