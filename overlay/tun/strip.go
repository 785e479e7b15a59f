package tun

import (
	"encoding/binary"

	"roam6/overlay"
)

// ends is what the extension headers of a packet say about its two ends: which
// home addresses stand for the care-of addresses of its IPv6 header.
type ends struct {
	home, route       address // of the Home Address option, of the type 2 routing header
	hasHome, hasRoute bool

	routing  header // the routing header
	segments uint8  // left, in it
	options  header // the destination options header with the option
	option   int    // offset of the option
	alone    bool   // nothing but padding beside the option

	next    uint8 // the first header that is neither of hop-by-hop and destination options nor routing
	payload int   // its offset
}

// header is where an extension header is.
type header struct {
	at, length int
	link       int // offset of the next header field that names it
}

// endsOf reads the extension headers up to the first that is not one of those in
// which addresses may be. What is not well-formed and not about home addresses is
// the kernel's to judge: the reading ends there. reason is not 0 for what can
// have no meaning: two Home Address options (RFC 6275 §6.3), two type 2 routing
// headers, an option of another length or cut off.
func endsOf(packet []byte) (x ends, reason overlay.DropReason) {
	x.next, x.payload = packet[offsetNextHeader], headerLength
	link := offsetNextHeader
	for {
		switch x.next {
		case protocolHopByHop, protocolDestinationOptions, protocolRouting:
		default:
			return x, 0
		}
		at := x.payload
		if at+8 > len(packet) {
			return x, 0
		}
		h := header{at: at, length: 8 + int(packet[at+1])*8, link: link}
		if at+h.length > len(packet) {
			return x, 0
		}
		switch x.next {
		case protocolRouting:
			if packet[at+2] != routingType2 {
				if packet[at+3] != 0 {
					return x, 0 // to be forwarded
				}
				break
			}
			if x.hasRoute {
				return x, overlay.DropMalformed
			}
			x.hasRoute, x.routing, x.segments = true, h, packet[at+3]
			if h.length == routeHeaderLength {
				x.route = addressAt(packet[at+8:])
			}
		case protocolDestinationOptions:
			if !x.read(packet, h) {
				return x, overlay.DropMalformed
			}
		}
		link, x.next, x.payload = at, packet[at], at+h.length
	}
}

// read looks for the Home Address option in a destination options header.
func (x *ends) read(packet []byte, h header) (ok bool) {
	others, here := false, false
	end := h.at + h.length
	for i := h.at + 2; i < end; {
		kind := packet[i]
		if kind == optionPad1 {
			i++
			continue
		}
		if i+2 > end || i+2+int(packet[i+1]) > end {
			return kind != optionHomeAddress && !here
		}
		switch kind {
		case optionPadN:
		case optionHomeAddress:
			if packet[i+1] != 16 || x.hasHome {
				return false
			}
			x.hasHome, here = true, true
			x.home, x.option, x.options = addressAt(packet[i+2:]), i, h
		default:
			others = true
		}
		i += 2 + int(packet[i+1])
	}
	if here {
		x.alone = !others
	}
	return true
}

// any reports whether there is anything about home addresses.
func (x *ends) any() bool { return x.hasHome || x.hasRoute }

// proper reports whether the routing header is as RFC 6275 §6.4.1 wants it.
func (x *ends) proper() bool { return x.routing.length == routeHeaderLength && x.segments == 1 }

// signalling reports whether the packet is a message of Mobile IPv6: a Mobility
// Header, or one of ICMPv6 (RFC 6275 §6.5 to §6.8). Those are captured as they are.
func (x *ends) signalling(packet []byte) bool {
	const first, last = 144, 147 // ICMPv6 types
	if x.payload >= len(packet) {
		return x.next == protocolMobility
	}
	switch at := packet[x.payload]; x.next {
	case protocolFragment:
		return at == protocolMobility
	case protocolICMPv6:
		return at >= first && at <= last
	default:
		return x.next == protocolMobility
	}
}

// strip puts the home addresses into the IPv6 header and takes out the headers
// they came in: the packet begins so many octets later. A Home Address option
// beside others becomes padding.
func (x *ends) strip(packet []byte) (removed int) {
	if x.hasHome {
		x.home.put(packet[offsetSource:])
	}
	if x.hasRoute {
		x.route.put(packet[offsetDestination:])
	}
	var out [2]header // the one further back first
	n := 0
	if x.hasRoute {
		out[n] = x.routing
		n++
	}
	if x.hasHome {
		if x.alone {
			out[n] = x.options
			n++
		} else {
			packet[x.option] = optionPadN
			clear(packet[x.option+2 : x.option+18])
		}
	}
	if n == 2 && out[0].at < out[1].at {
		out[0], out[1] = out[1], out[0]
	}
	for _, h := range out[:n] {
		packet[removed+h.link] = packet[removed+h.at]
		copy(packet[removed+h.length:], packet[removed:removed+h.at])
		removed += h.length
	}
	p := packet[removed:]
	binary.BigEndian.PutUint16(p[offsetPayloadLength:], binary.BigEndian.Uint16(p[offsetPayloadLength:])-uint16(removed))
	return removed
}
