package mip6

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
)

const (
	ipv6HeaderLen    = 40
	offsetNextHeader = 6
	defaultHopLimit  = 64

	protocolHopByHop = 0
	protocolFragment = 44

	// Both extension headers that we send are 24 octets long.
	extensionLen = 24
)

// chain is an IPv6 header with what Mobile IPv6 puts between it and the
// payload.
type chain struct {
	source, destination netip.Addr
	home                netip.Addr // Home Address option, if valid
	route               netip.Addr // type 2 routing header, if valid
	hopLimit            uint8
	protocol            uint8 // of the payload
	payload             []byte
	offset              int // of payload in the packet
	named               int // offset of the next header field that names the payload
}

// parseChain walks the headers of an IPv6 packet up to the first payload of a
// protocol wanted. Extension headers are taken in any order (RFC 8200 §4.1),
// a hop-by-hop options header only as the first. A packet that turns out to
// carry something else gives ErrNotMobility, whatever its extension headers:
// they are then not ours to judge.
func parseChain(b []byte, want ...uint8) (chain, error) {
	if len(b) < 1 {
		return chain{}, truncated(0, "IPv6 header", 0, ipv6HeaderLen)
	}
	if v := b[0] >> 4; v != 6 {
		return chain{}, &ParseError{Offset: 0, Reason: ReasonVersion, have: int(v)}
	}
	if len(b) < ipv6HeaderLen {
		return chain{}, truncated(0, "IPv6 header", len(b), ipv6HeaderLen)
	}
	w := chainWalk{chain: chain{
		source:      netip.AddrFrom16([16]byte(b[8:])),
		destination: netip.AddrFrom16([16]byte(b[24:])),
		hopLimit:    b[7],
	}}
	if end := ipv6HeaderLen + int(binary.BigEndian.Uint16(b[4:])); end <= len(b) {
		b = b[:end]
	} else {
		w.fail(truncated(4, "IPv6 packet", len(b), end))
	}
	next, named, at := b[offsetNextHeader], offsetNextHeader, ipv6HeaderLen
	for {
		if slices.Contains(want, next) {
			if w.bad != nil {
				return chain{}, w.bad
			}
			w.protocol, w.named, w.payload, w.offset = next, named, b[at:], at
			return w.chain, nil
		}
		switch next {
		case protocolHopByHop, ProtocolDestination, ProtocolRouting, protocolFragment:
		default:
			return chain{}, ErrNotMobility
		}
		if len(b)-at < 8 {
			return chain{}, truncated(at, "extension header", len(b)-at, 8)
		}
		n := 8
		if next != protocolFragment {
			n += int(b[at+1]) * 8
		}
		if len(b)-at < n {
			return chain{}, truncated(at, "extension header", len(b)-at, n)
		}
		header := b[at : at+n]
		switch next {
		case protocolHopByHop:
			if at != ipv6HeaderLen {
				w.fail(&ParseError{Offset: at, Reason: ReasonExtensionHeader, what: "hop-by-hop options header is not the first"})
			}
			w.options(next, header, at)
		case ProtocolDestination:
			w.options(next, header, at)
		case ProtocolRouting:
			w.routing(header, at)
		case protocolFragment:
			// A fragment header that says it is all (RFC 6946) changes nothing.
			if binary.BigEndian.Uint16(header[2:])&0xfff9 != 0 {
				if !slices.Contains(want, header[0]) {
					return chain{}, ErrNotMobility
				}
				return chain{}, &ParseError{Offset: at, Reason: ReasonFragment, what: "packet is a fragment"}
			}
		}
		next, named, at = header[0], at, at+n
	}
}

// chainWalk is a chain while it is walked. The first fault is kept until it
// is known that the packet is one of ours.
type chainWalk struct {
	chain
	bad *ParseError
}

func (w *chainWalk) fail(e *ParseError) {
	if w.bad == nil {
		w.bad = e
	}
}

// options reads a hop-by-hop or destination options header that is at offset
// base of the packet.
func (w *chainWalk) options(kind uint8, header []byte, base int) {
	for at := 2; at < len(header); {
		option := header[at]
		if option == 0 { // Pad1
			at++
			continue
		}
		left := len(header) - at
		if left < 2 {
			w.fail(truncated(base+at, "destination option", left, 2))
			return
		}
		n := 2 + int(header[at+1])
		if left < n {
			w.fail(truncated(base+at, "destination option", left, n))
			return
		}
		switch {
		case option == 1: // PadN
		case option == OptionTypeHomeAddress && kind == ProtocolDestination:
			w.homeAddress(header[at+2:at+n], base+at)
		default:
			w.unknownOption(option, base+at)
		}
		at += n
	}
}

// homeAddress takes the Home Address option, of which there is at most one
// (RFC 6275 §6.3).
func (w *chainWalk) homeAddress(data []byte, at int) {
	switch {
	case len(data) != 16:
		w.fail(&ParseError{Offset: at + 1, Reason: ReasonHomeAddress, what: "Home Address option is not of length 16"})
	case w.home.IsValid():
		w.fail(&ParseError{Offset: at, Reason: ReasonHomeAddress, what: "second Home Address option"})
	default:
		w.home = netip.AddrFrom16([16]byte(data))
	}
}

// unknownOption does what the two highest bits of an option type demand of
// those who do not know it (RFC 8200 §4.2).
func (w *chainWalk) unknownOption(option uint8, at int) {
	e := &ParseError{Offset: at, Reason: ReasonDestinationOption, what: "unknown option forbids to process the packet"}
	switch option >> 6 {
	case 0: // skip
		return
	case 1: // discard
	case 2: // discard and tell
		e.icmpCode = 1 + 2
	case 3: // discard and tell, unless it was sent to many
		if !w.destination.IsMulticast() {
			e.icmpCode = 1 + 2
		}
	}
	w.fail(e)
}

// routing takes a routing header: of type 2 as in RFC 6275 §6.4.1 and §11.3.3,
// of another type only when there is nothing left to do (RFC 8200 §4.4).
func (w *chainWalk) routing(header []byte, at int) {
	kind, segmentsLeft := header[2], header[3]
	switch {
	case kind != RoutingType2 && segmentsLeft == 0:
	case kind != RoutingType2:
		w.fail(&ParseError{Offset: at + 2, Reason: ReasonRoutingHeader, what: "routing header of an unknown type", icmpCode: 1})
	case len(header) != extensionLen:
		w.fail(&ParseError{Offset: at + 1, Reason: ReasonRoutingHeader, what: "type 2 routing header is not of length 2"})
	case segmentsLeft != 1:
		w.fail(&ParseError{Offset: at + 3, Reason: ReasonRoutingHeader, what: "type 2 routing header does not have one segment left"})
	case w.route.IsValid():
		w.fail(&ParseError{Offset: at, Reason: ReasonRoutingHeader, what: "second type 2 routing header"})
	default:
		w.route = netip.AddrFrom16([16]byte(header[8:]))
	}
}

// appendChain appends the headers of c up to the payload of the given
// protocol, and returns where the IPv6 header starts in the result. The payload
// length is left to setPayloadLength.
func appendChain(b []byte, c chain, protocol uint8) ([]byte, int, error) {
	for _, a := range []struct {
		what     string
		addr     netip.Addr
		required bool
	}{
		{"source", c.source, true},
		{"destination", c.destination, true},
		{"home address", c.home, false},
		{"home address of the routing header", c.route, false},
	} {
		if a.addr.Is6() || !a.required && !a.addr.IsValid() {
			continue
		}
		return nil, 0, fmt.Errorf("%s: %w: %v", a.what, ErrNotIPv6, a.addr)
	}
	// Each header names the next: what follows the routing header, and what
	// follows the IPv6 header.
	afterRoute := protocol
	if c.home.IsValid() {
		afterRoute = ProtocolDestination
	}
	first := afterRoute
	if c.route.IsValid() {
		first = ProtocolRouting
	}
	hopLimit := c.hopLimit
	if hopLimit == 0 {
		hopLimit = defaultHopLimit
	}
	start := len(b)
	b = append(b, 6<<4, 0, 0, 0, 0, 0, first, hopLimit)
	b = append16(append16(b, c.source), c.destination)
	if c.route.IsValid() {
		b = append(b, afterRoute, extensionLen/8-1, RoutingType2, 1, 0, 0, 0, 0)
		b = append16(b, c.route)
	}
	if c.home.IsValid() {
		// Four octets of padding bring the option to its 8n + 6.
		b = append(b, protocol, extensionLen/8-1, 1, 2, 0, 0, OptionTypeHomeAddress, 16)
		b = append16(b, c.home)
	}
	return b, start, nil
}

// appendPacket appends the headers of c and a payload, which payload appends. When either
// fails b is returned as it was.
func (c chain) appendPacket(b []byte, protocol uint8, payload func([]byte) ([]byte, error)) ([]byte, error) {
	out, start, err := appendChain(b, c, protocol)
	if err != nil {
		return b, err
	}
	if out, err = payload(out); err != nil {
		return b, err
	}
	if err = setPayloadLength(out[start:]); err != nil {
		return b, err
	}
	return out, nil
}

// append16 appends an address that is known to be IPv6.
func append16(b []byte, a netip.Addr) []byte {
	a16 := a.As16()
	return append(b, a16[:]...)
}

// setPayloadLength writes the payload length of a packet that begins with its
// IPv6 header.
func setPayloadLength(packet []byte) error {
	n := len(packet) - ipv6HeaderLen
	if n > math.MaxUint16 {
		return fmt.Errorf("payload of %d octets: %w in an IPv6 packet", n, ErrTooLong)
	}
	binary.BigEndian.PutUint16(packet[4:], uint16(n))
	return nil
}
