package mip6

import "net/netip"

// Envelope is an IPv6 packet of signalling taken apart at its payload: a
// Mobility Header, an ICMPv6 message, or what hides one of them, ESP. IPsec
// changes the payload and nothing before it, so that the headers of Mobile IPv6
// stay in front of ESP (RFC 3776 §3).
type Envelope struct {
	Source, Destination    netip.Addr
	HomeAddress, RouteHome netip.Addr // invalid where there is none
	// Protocol is ProtocolMobility, ProtocolICMPv6 or ProtocolESP.
	Protocol uint8
	// Payload are its octets, in the packet.
	Payload []byte

	packet []byte
	named  int // offset of the next header field that names the payload
}

// ParseEnvelope walks the headers of an IPv6 packet as ParsePacket does, with the
// same errors: what it takes for malformed ParsePacket does, too. The payload is
// not looked at. The result aliases b.
func ParseEnvelope(b []byte) (Envelope, error) {
	c, err := parseChain(b, ProtocolMobility, ProtocolICMPv6, ProtocolESP)
	if err != nil {
		return Envelope{}, err
	}
	return Envelope{
		Source: c.source, Destination: c.destination, HomeAddress: c.home, RouteHome: c.route,
		Protocol: c.protocol, Payload: c.payload, packet: b[:c.offset], named: c.named,
	}, nil
}

// From is the logical sender, as Packet.From.
func (e Envelope) From() netip.Addr {
	return Packet{Source: e.Source, HomeAddress: e.HomeAddress}.From()
}

// To is the logical receiver, as Packet.To.
func (e Envelope) To() netip.Addr {
	return Packet{Destination: e.Destination, RouteHome: e.RouteHome}.To()
}

// AppendHeaders appends the headers before the payload, which now name a payload
// of another protocol. When that is behind them, SetPayloadLength finishes the
// packet.
func (e Envelope) AppendHeaders(b []byte, protocol uint8) []byte {
	start := len(b)
	b = append(b, e.packet...)
	b[start+e.named] = protocol
	return b
}

// AppendTunnelHeader appends the IPv6 header of a packet between two nodes that
// has no extension headers; SetPayloadLength finishes the packet. It fails for
// addresses that are not IPv6, and returns b as it was.
func AppendTunnelHeader(b []byte, source, destination netip.Addr, protocol uint8) ([]byte, error) {
	return AppendHomeHeaders(b, source, destination, netip.Addr{}, netip.Addr{}, protocol)
}

// AppendHomeHeaders appends the IPv6 header of a packet from or to the care-of address
// of a mobile, with a Home Address option that has the address home and a type 2
// routing header that has route, each where it is valid; SetPayloadLength finishes the
// packet. It fails for addresses that are not IPv6, and returns b as it was.
func AppendHomeHeaders(b []byte, source, destination, home, route netip.Addr, protocol uint8) ([]byte, error) {
	out, _, err := appendChain(b, chain{source: source, destination: destination, home: home, route: route}, protocol)
	if err != nil {
		return b, err
	}
	return out, nil
}

// SetPayloadLength writes the payload length of a packet that begins with its
// IPv6 header and ends with its payload. The error is ErrTooLong.
func SetPayloadLength(packet []byte) error { return setPayloadLength(packet) }
