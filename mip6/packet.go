package mip6

import (
	"net/netip"
	"slices"
)

// Packet is a signalling packet: an IPv6 header, at most one Home Address
// option (RFC 6275 §6.3), at most one type 2 routing header (§6.4), and a
// Mobility Header.
type Packet struct {
	// Source and Destination are the addresses of the IPv6 header: of a mobile
	// node away from home, its care-of address.
	Source, Destination netip.Addr
	// HomeAddress is the address of the Home Address option; invalid if there
	// is none.
	HomeAddress netip.Addr
	// RouteHome is the home address in the type 2 routing header; invalid if
	// there is none. Segments left is always 1.
	RouteHome netip.Addr
	// HopLimit of the IPv6 header; when sending, zero means the default of 64.
	HopLimit uint8
	// Message is the decoded Mobility Header.
	Message Message
	// MH holds the octets of the Mobility Header as they were received, for
	// verification of authenticators (checksum field included). Not used when
	// sending.
	MH []byte
}

// From is the logical sender: the home address where a Home Address option is
// present, otherwise the source (RFC 6275 §6.3).
func (p Packet) From() netip.Addr {
	if p.HomeAddress.IsValid() {
		return p.HomeAddress
	}
	return p.Source
}

// To is the logical receiver: the address in the type 2 routing header where
// one is present, otherwise the destination.
func (p Packet) To() netip.Addr {
	if p.RouteHome.IsValid() {
		return p.RouteHome
	}
	return p.Destination
}

// ParsePacket decodes an IPv6 packet as it is on the wire, beginning with the
// IPv6 header; octets after its end are ignored. It returns ErrNotMobility
// for a packet without a Mobility Header that can be read (ESP among them),
// and a *ParseError, whose offset counts from the IPv6 header, for one that is
// malformed. The result does not alias b.
//
// Whether the packet may have a Home Address option or a type 2 routing header
// at all depends on its message and on who receives it (RFC 6275 §6.1, §6.4),
// and so does whether the addresses are acceptable; that is for the receiver
// to judge.
func ParsePacket(b []byte) (Packet, error) {
	c, err := parseChain(b, ProtocolMobility)
	if err != nil {
		return Packet{}, err
	}
	n, perr := headerLength(c.payload)
	if perr != nil {
		return Packet{}, perr.shift(c.offset)
	}
	p := Packet{
		Source:      c.source,
		Destination: c.destination,
		HomeAddress: c.home,
		RouteHome:   c.route,
		HopLimit:    c.hopLimit,
	}
	if perr = checkMessage(p.From(), p.To(), c.payload[:n]); perr != nil {
		return Packet{}, perr.shift(c.offset)
	}
	p.MH = slices.Clone(c.payload[:n])
	// The message gets octets of its own, too: MH must stay what was received
	// whatever is done with the message.
	if p.Message, perr = decodeMessage(slices.Clone(p.MH)); perr != nil {
		return Packet{}, perr.shift(c.offset)
	}
	return p, nil
}

// Append appends the whole IPv6 packet: IPv6 header, type 2 routing header,
// destination options header with the Home Address option, in the order of
// RFC 6275 §6.3, and the Mobility Header. It fails for addresses that are not
// IPv6 and for messages that cannot be sent; b is then returned as it was.
func (p Packet) Append(b []byte) ([]byte, error) {
	headers := chain{source: p.Source, destination: p.Destination, home: p.HomeAddress, route: p.RouteHome, hopLimit: p.HopLimit}
	return headers.appendPacket(b, ProtocolMobility, func(b []byte) ([]byte, error) { return AppendMessage(b, p.From(), p.To(), p.Message) })
}
