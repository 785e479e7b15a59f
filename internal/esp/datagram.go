package esp

import (
	"encoding/binary"
	"net/netip"

	"roam6/mip6"
	"roam6/overlay"
)

// DHCPv6 messages between the relay of a mobile router that is away and its home agent
// (RFC 6276 §3.1) are for the associations of transport mode (§4). They come with their
// UDP header, whose checksum is that of the home address and the agent's.

const (
	protocolUDP  = 17
	udpHeaderLen = 8
	portDHCP     = 547 // of relays and servers (RFC 8415 §7.2)
)

// Datagram is a DHCPv6 message that was in ESP. That it came from, or to, the care-of
// address of the moment is for the data plane to see.
type Datagram struct {
	TunnelEnd
	Agent netip.Addr
	UDP   []byte // the whole datagram, whose length field is right
}

// From and To are the logical sender and receiver.
func (d Datagram) From() netip.Addr {
	if d.Side == overlay.MobileSide {
		return d.Agent
	}
	return d.Home
}

// To is the logical receiver.
func (d Datagram) To() netip.Addr {
	if d.Side == overlay.MobileSide {
		return d.Home
	}
	return d.Agent
}

// Enclose appends the packet in which a UDP datagram with a DHCPv6 message goes between
// a home address and its agent in ESP, from local to remote: the care-of address of
// the moment, named beside the home address in a Home Address option or a type 2
// routing header (RFC 6276 §3), and the agent's. The errors are ErrNoAssociation,
// ErrSelector, ErrExhausted and mip6.ErrTooLong; b is then returned as it was.
func (p *Policies) Enclose(b []byte, home overlay.Key, local, remote netip.Addr, datagram []byte) ([]byte, error) {
	agent := remote
	var option, route netip.Addr
	if home.Side == overlay.AgentSide {
		agent, route = local, home.Home
	} else {
		option = home.Home
	}
	e := p.table.Load().protected[endpoints{home.Home, agent, home.Side}]
	switch {
	case e == nil || e.out == nil:
		return b, ErrNoAssociation
	case !isDHCP(datagram):
		return b, ErrSelector
	}
	start := len(b)
	out, err := mip6.AppendHomeHeaders(b, local, remote, option, route, mip6.ProtocolESP)
	if err != nil {
		return b, err
	}
	if out, err = e.out.Seal(out, protocolUDP, datagram); err != nil {
		return b, err
	}
	if err = mip6.SetPayloadLength(out[start:]); err != nil {
		return b, err
	}
	return out, nil
}

// relayed reports whether a datagram in transport mode is one that the associations
// are for: a DHCPv6 message of a mobile that is away. At home none of them goes
// between its home address and its agent (RFC 6276 §3.2).
func (e *protection) relayed(x *mip6.Envelope, datagram []byte) bool {
	if e.side == overlay.AgentSide {
		return x.HomeAddress.IsValid() && !x.RouteHome.IsValid() && isDHCP(datagram)
	}
	return x.RouteHome.IsValid() && !x.HomeAddress.IsValid() && isDHCP(datagram)
}

// isDHCP reports whether a whole UDP datagram is from or to the port of DHCPv6 relays
// and servers.
func isDHCP(datagram []byte) bool {
	return len(datagram) >= udpHeaderLen && int(binary.BigEndian.Uint16(datagram[4:])) == len(datagram) &&
		(binary.BigEndian.Uint16(datagram) == portDHCP || binary.BigEndian.Uint16(datagram[2:]) == portDHCP)
}
