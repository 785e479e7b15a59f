package tun

import "encoding/binary"

// The headers of route optimisation, as they are put into packets: a type 2
// routing header (RFC 6275 §6.4) and a destination options header with a Home
// Address option (§6.3).
const (
	routeHeaderLength = 24
	homeHeaderLength  = 24

	protocolESP      = 50
	protocolAH       = 51
	protocolMobility = 135

	routingType2      = 2
	optionPad1        = 0
	optionPadN        = 1
	optionHomeAddress = 0xc9
)

// place is where in a packet those headers go.
type place struct {
	at   int   // offset
	link int   // offset of the next header field that names what stands there
	next uint8 // what stands there
	// fragment is the offset of the packet's own fragment header, 0 if there is none.
	fragment int
}

// placeOf finds the place: behind the hop-by-hop options and any routing header,
// before the fragment header, IPsec and all else (RFC 6275 §6.3, §6.4.1,
// §11.3.2, RFC 8200 §4.1). ok is false for a packet that must not carry these
// headers: a Mobility Header message (§6.1), neighbour discovery and multicast
// listener discovery (§9.3.2, §11.3.1, §11.3.4), one that is source-routed, so
// that its destination is not the peer, or that has a Home Address option (§6.3)
// or a type 2 routing header already. It is false, too, where the headers before the place are longer
// than we keep.
func placeOf(packet []byte) (p place, ok bool) {
	next, at := packet[offsetNextHeader], headerLength
	p = place{at: at, link: offsetNextHeader, next: next}
	mayMove := true // no header seen that must stay behind
	for {
		length := 0
		switch next {
		case protocolHopByHop, protocolRouting, protocolDestinationOptions:
			if at+8 > len(packet) {
				return p, false
			}
			length = 8 + int(packet[at+1])*8
		case protocolFragment:
			length = fragmentLength
		case protocolAH:
			if at+8 > len(packet) {
				return p, false
			}
			length = (int(packet[at+1]) + 2) * 4
		case protocolMobility:
			return p, false
		case protocolICMPv6:
			return p, p.kept() && at < len(packet) && !linkMessage(packet[at])
		default:
			return p, p.kept()
		}
		if at+length > len(packet) {
			return p, false
		}
		header := packet[at : at+length]
		kind := next
		next, at = header[0], at+length
		switch kind {
		case protocolHopByHop, protocolRouting:
			if kind == protocolRouting && (header[2] == routingType2 || header[3] != 0) {
				return p, false
			}
			if mayMove {
				p.at, p.link, p.next = at, at-length, next
			}
		case protocolDestinationOptions:
			if hasHomeAddress(header) {
				return p, false
			}
		case protocolFragment:
			if p.fragment == 0 {
				p.fragment = at - length
			}
			if binary.BigEndian.Uint16(header[2:])&^7 != 0 {
				return p, p.kept() && next != protocolMobility // what it carries cannot be seen
			}
			mayMove = false
		default:
			mayMove = false
		}
	}
}

// kept reports whether the headers up to the place, and those that each fragment
// repeats, are as few as can be kept.
func (p place) kept() bool {
	return p.at <= maximumInnerHeaders && p.fragment+fragmentLength <= maximumInnerHeaders
}

// linkMessage tells the ICMPv6 messages of neighbour discovery (RFC 4861 §4) and
// multicast listener discovery (RFC 2710 §3, RFC 3810 §5) from others.
func linkMessage(kind uint8) bool {
	const (
		listenerQuery, listenerDone   = 130, 132
		routerSolicitation, redirect  = 133, 137
		inverseSolicitation, listener = 141, 143
	)
	return kind >= listenerQuery && kind <= listenerDone || kind >= routerSolicitation && kind <= redirect ||
		kind >= inverseSolicitation && kind <= listener
}

// hasHomeAddress reports whether a destination options header holds a Home
// Address option. One that is malformed may.
func hasHomeAddress(header []byte) bool {
	for i := 2; i < len(header); {
		switch {
		case header[i] == optionPad1:
			i++
			continue
		case header[i] == optionHomeAddress, i+2 > len(header):
			return true
		}
		i += 2 + int(header[i+1])
	}
	return false
}

// inserted is how many octets the headers of a course take.
func (c *course) inserted() (n int) {
	if c.correspondent != nil {
		n += routeHeaderLength
	}
	if c.mobile != nil {
		n += homeHeaderLength
	}
	return n
}

// insert writes the headers of a packet, at least up to the place, to b, with
// those of the course among them and its addresses in the IPv6 header, and
// returns their length. payload is how much follows the headers.
func (c *course) insert(b, headers []byte, payload int) int {
	n := copy(b, headers[:c.at])
	binary.BigEndian.PutUint16(b[offsetPayloadLength:], uint16(len(headers)+payload-headerLength+c.inserted()))
	next := c.next
	first := next
	if c.mobile != nil {
		first = protocolDestinationOptions
	}
	if c.correspondent != nil {
		h := b[n : n+routeHeaderLength]
		h[0], h[1], h[2], h[3] = first, routeHeaderLength/8-1, routingType2, 1
		h[4], h[5], h[6], h[7] = 0, 0, 0, 0
		copy(h[8:], b[offsetDestination:headerLength])
		c.behind.remote.put(b[offsetDestination:])
		first, n = protocolRouting, n+routeHeaderLength
	}
	if c.mobile != nil {
		h := b[n : n+homeHeaderLength]
		h[0], h[1] = next, homeHeaderLength/8-1
		h[2], h[3], h[4], h[5] = optionPadN, 2, 0, 0 // the option's alignment is 8n + 6
		h[6], h[7] = optionHomeAddress, 16
		copy(h[8:], b[offsetSource:offsetDestination])
		c.path.local.put(b[offsetSource:])
		n += homeHeaderLength
	}
	b[c.link] = first
	return n + copy(b[n:], headers[c.at:])
}
