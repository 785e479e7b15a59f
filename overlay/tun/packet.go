package tun

import "encoding/binary"

// The IPv6 header (RFC 8200 §3) and what is read of the headers behind it.

const (
	headerLength   = 40
	fragmentLength = 8 // fragment header (RFC 8200 §4.5)
	limitLength    = 8 // destination options header with an encapsulation limit (RFC 2473 §5.1)
	limitOffset    = 4 // of the limit in it
	minimumMTU     = 1280

	offsetPayloadLength = 4
	offsetNextHeader    = 6
	offsetSource        = 8
	offsetDestination   = 24
)

// Next header values.
const (
	protocolHopByHop           = 0
	protocolTCP                = 6
	protocolUDP                = 17
	protocolIPv6               = 41
	protocolRouting            = 43
	protocolFragment           = 44
	protocolICMPv6             = 58
	protocolDestinationOptions = 60
)

// trim checks that b begins with a whole IPv6 packet and cuts off what is
// behind it.
func trim(b []byte) ([]byte, bool) {
	if len(b) < headerLength || b[0]>>4 != 6 {
		return nil, false
	}
	n := headerLength + int(binary.BigEndian.Uint16(b[offsetPayloadLength:]))
	if n > len(b) {
		return nil, false
	}
	return b[:n], true
}

func source(packet []byte) address      { return addressAt(packet[offsetSource:]) }
func destination(packet []byte) address { return addressAt(packet[offsetDestination:]) }

// trafficClass returns the traffic class octet: DSCP and ECN.
func trafficClass(packet []byte) uint8 { return packet[0]<<4 | packet[1]>>4 }

// flowLabel returns the flow label of a tunnel header: a hash of what makes the
// inner flow, so that routers on the way can spread flows over several links
// and keep each one in order (RFC 6438 §3). It is not zero for a packet that
// has none.
func flowLabel(packet []byte) uint32 {
	s, d := source(packet), destination(packet)
	h := uint64(binary.BigEndian.Uint32(packet)&0xfffff)<<8 | uint64(packet[offsetNextHeader])
	switch packet[offsetNextHeader] {
	case protocolTCP, protocolUDP:
		if len(packet) >= headerLength+4 { // the ports
			h |= uint64(binary.BigEndian.Uint32(packet[headerLength:])) << 32
		}
	}
	for _, w := range [...]uint64{s.hi, s.lo, d.hi, d.lo} {
		h = mix(h, w)
	}
	return uint32(h>>20) & 0xfffff
}

// mix adds a word to a hash.
func mix(h, w uint64) uint64 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio: spreads bits well
	h = (h ^ w) * odd
	return h ^ h>>32
}

// nesting is what a packet says about the tunnels that it has entered already.
type nesting struct {
	// tunnelled: it is itself a tunnel packet.
	tunnelled bool
	// limit is where the limit of a tunnel encapsulation limit option stands; 0
	// if there is none.
	limit int
}

// nestingOf examines the headers as RFC 2473 §4.1.1 (a) says: from left to
// right, up to the first one that is no extension header or cannot be parsed.
func nestingOf(packet []byte) nesting {
	next, at := packet[offsetNextHeader], headerLength
	for {
		switch next {
		case protocolIPv6:
			return nesting{tunnelled: true}
		case protocolHopByHop, protocolDestinationOptions, protocolRouting, protocolFragment:
		default:
			return nesting{}
		}
		if at+8 > len(packet) {
			return nesting{}
		}
		length := 8
		if next == protocolFragment {
			if binary.BigEndian.Uint16(packet[at+2:])&^7 != 0 {
				return nesting{} // not the first fragment: no headers here
			}
		} else {
			length += int(packet[at+1]) * 8
		}
		if at+length > len(packet) {
			return nesting{}
		}
		if next == protocolDestinationOptions {
			if o := encapsulationLimit(packet[at : at+length]); o != 0 {
				return nesting{tunnelled: true, limit: at + o}
			}
		}
		next, at = packet[at], at+length
	}
}

// encapsulationLimit finds the limit octet of a tunnel encapsulation limit
// option among destination options; 0 if there is none.
func encapsulationLimit(header []byte) int {
	const optionPad1, optionLimit = 0, 4
	for i := 2; i < len(header); {
		if header[i] == optionPad1 {
			i++
			continue
		}
		if i+2 > len(header) {
			return 0
		}
		n := int(header[i+1])
		if header[i] == optionLimit && n == 1 && i+2 < len(header) {
			return i + 2
		}
		i += 2 + n
	}
	return 0
}

// Explicit congestion notification (RFC 3168): the last two bits of the
// traffic class.
const (
	ecnMask    = 0b11
	ecnNotECT  = 0b00
	ecnECT1    = 0b01
	ecnECT0    = 0b10
	ecnCE      = 0b11
	ecnShift   = 4 // in the second octet of the header
	ecnMaskTwo = ecnMask << ecnShift
)

// decapsulateECN carries the congestion mark of a tunnel header into the inner
// packet (RFC 6040 §4.2, figure 4). It returns false if the packet must be
// dropped: it met congestion and its transport cannot be told.
func decapsulateECN(inner []byte, outerClass uint8) bool {
	outer := outerClass & ecnMask
	if outer == ecnNotECT || outer == ecnECT0 {
		return true // the inner field stays
	}
	switch trafficClass(inner) & ecnMask {
	case ecnNotECT:
		return outer != ecnCE
	case ecnCE:
		return true
	default:
		inner[1] = inner[1]&^ecnMaskTwo | outer<<ecnShift
		return true
	}
}
