package esp

import (
	"encoding/binary"
	"net/netip"
	"time"

	"roam6/mip6"
	"roam6/overlay"
)

// Protect returns what is to be sent for a whole packet of signalling: the packet
// as it is, or with its payload in ESP, appended to b, if a policy demands that.
// Of an error other than nil nothing may be sent; it is ErrExhausted, ErrNoAssociation
// where a key exchange has made none yet, or one of the packet's length. Packets that are no signalling are none of its business.
func (p *Policies) Protect(b, packet []byte) (out []byte, protected bool, err error) {
	t := p.table.Load()
	if len(t.protected) == 0 {
		return packet, false, nil
	}
	e, err := mip6.ParseEnvelope(packet)
	if err != nil || e.Protocol == mip6.ProtocolESP {
		return packet, false, nil
	}
	policy := t.transport(&e, outgoing)
	switch {
	case policy == nil:
		return packet, false, nil
	case policy.out == nil:
		return nil, false, ErrNoAssociation
	}
	if out, err = seal(b, &e, policy.out); err != nil {
		return nil, false, err
	}
	return out, true, nil
}

// seal appends a packet with its payload in ESP, in transport mode.
func seal(b []byte, e *mip6.Envelope, by *Outbound) ([]byte, error) {
	start := len(b)
	out, err := by.Seal(e.AppendHeaders(b, mip6.ProtocolESP), e.Protocol, e.Payload)
	if err != nil {
		return nil, err
	}
	if err = mip6.SetPayloadLength(out[start:]); err != nil {
		return nil, err
	}
	return out, nil
}

// Received is a packet after IPsec.
type Received struct {
	// Packet is the packet as it was before its sender protected it; as it came if
	// it was not protected. In tunnel mode it is the inner packet.
	Packet []byte
	// Protected: it was in ESP, and its home address is that of the association.
	Protected bool
	// Regional: it was in ESP by the association of an AnchorPolicy, with this inbound
	// SPI. Its home address may be any regional care-of address, so that it is not
	// Protected: whose the association is, and what he may have, is for others to say.
	Regional bool
	SPI      uint32
	// Tunnel, when not nil, is the tunnel that the packet came through.
	Tunnel *TunnelEnd
	// Datagram, when not nil, is the DHCPv6 message in the packet.
	Datagram *Datagram
}

// TunnelEnd says which tunnel a packet came through, and between which addresses.
type TunnelEnd struct {
	overlay.Key
	Source, Destination netip.Addr // of the outer packet
}

// Unprotect takes a whole packet that was received, and judges it: one in ESP by
// the association that its SPI names, and any other by whether a policy demands that
// it were in ESP. The errors are those of Inbound.Open, ErrSelector if the packet is
// not what its association is for (above all, if its home address is another's,
// RFC 4877 §4.2), ErrUnprotected, and ErrForeign if its SPI is unknown and nothing says
// that it is signalling. A packet that mip6.ParsePacket and
// ParseICMPPacket do not take, either, is returned as it is.
func (p *Policies) Unprotect(packet []byte) (Received, error) {
	t := p.table.Load()
	if t.empty() {
		return Received{Packet: packet}, nil
	}
	e, err := mip6.ParseEnvelope(packet)
	switch {
	case err != nil:
		return Received{Packet: packet}, nil
	case e.Protocol != mip6.ProtocolESP:
		if t.transport(&e, incoming) != nil {
			return Received{}, ErrUnprotected
		}
		return Received{Packet: packet}, nil
	case len(e.Payload) < headerLen:
		return Received{}, ErrMalformed
	}
	in, ok := t.bySPI[spiOf(e.Payload)]
	switch {
	case !ok && t.concerns(&e):
		return Received{}, ErrUnknownSPI
	case !ok:
		return Received{}, ErrForeign
	case in.regional != nil:
		return in.openRegional(t, &e)
	case in.tunnel:
		return in.openTunnel(&e)
	default:
		return in.openTransport(&e)
	}
}

// concerns reports whether a packet in ESP is by its addresses signalling that this node's
// policies are for, whatever its SPI: it has a home address, and is for a home agent that
// has associations, or for a mobile that has some with its sender; or it is between a
// regional care-of address and its anchor. Without a header of Mobile IPv6, as at home or in
// the tunnel, nobody can tell it from what the kernel's IPsec is for.
func (t *policyTable) concerns(e *mip6.Envelope) bool {
	switch {
	case e.HomeAddress.IsValid():
		return t.agents[e.To()] || t.anchored(e.From(), e.To(), overlay.AgentSide)
	case e.RouteHome.IsValid():
		return t.protected[endpoints{e.To(), e.From(), overlay.MobileSide}] != nil || t.anchored(e.To(), e.From(), overlay.MobileSide)
	default:
		return false
	}
}

// openTransport opens a packet in transport mode: the headers stay, and what was
// in ESP is signalling of the association's two ends (RFC 4301 §5.2, step 4).
func (r receiver) openTransport(e *mip6.Envelope) (Received, error) {
	payload, next, err := r.Open(nil, e.Payload)
	if err != nil {
		return Received{}, err
	}
	from, to := r.home, r.agent
	if r.side == overlay.MobileSide {
		from, to = to, from
	}
	if e.From() != from || e.To() != to {
		return Received{}, ErrSelector
	}
	var datagram *Datagram
	switch next {
	case mip6.ProtocolMobility, mip6.ProtocolICMPv6:
	case protocolUDP:
		if !r.relayed(e, payload) {
			return Received{}, ErrSelector
		}
		datagram = &Datagram{TunnelEnd{overlay.Key{Home: r.home, Side: r.side}, e.Source, e.Destination}, r.agent, payload}
	default:
		return Received{}, ErrSelector
	}
	out := append(e.AppendHeaders(make([]byte, 0, len(e.Payload)+headersLen), next), payload...)
	if err := mip6.SetPayloadLength(out); err != nil {
		return Received{}, ErrMalformed
	}
	return Received{Packet: out, Protected: true, Datagram: datagram}, nil
}

const (
	ipv6HeaderLen = 40
	// headersLen is that with a Home Address option or a type 2 routing header.
	headersLen = ipv6HeaderLen + 24
)

// openTunnel opens a packet in tunnel mode. That the care-of address of the outer
// header is the present one is for the data plane to see, which knows it.
func (r receiver) openTunnel(e *mip6.Envelope) (Received, error) {
	inner, next, err := r.Open(nil, e.Payload)
	if err != nil {
		return Received{}, err
	}
	end := TunnelEnd{overlay.Key{Home: r.home, Side: r.side}, e.Source, e.Destination}
	agent := end.Destination
	if r.side == overlay.MobileSide {
		agent = end.Source
	}
	if next != mip6.ProtocolIPv6 || e.HomeAddress.IsValid() || e.RouteHome.IsValid() || agent != r.agent ||
		!r.homeTest(inner, incoming) {
		return Received{}, ErrSelector
	}
	// Behind it there may be padding (RFC 4303 §2.7).
	inner = inner[:ipv6HeaderLen+int(binary.BigEndian.Uint16(inner[4:]))]
	return Received{Packet: inner, Protected: true, Tunnel: &end}, nil
}

// Encapsulate appends the tunnel packet for a home test init message from the home
// address (on the mobile's side) or a home test message to it (on the agent's), from
// local to remote: the care-of address of the moment and the agent's, so that the
// outer address follows the mobile (RFC 3776 §3.2). The errors are ErrNoAssociation,
// ErrTooMany, ErrExhausted and ErrSelector.
func (p *Policies) Encapsulate(b []byte, now time.Time, home overlay.Key, local, remote netip.Addr, inner []byte) ([]byte, error) {
	agent := remote
	if home.Side == overlay.AgentSide {
		agent = local
	}
	e := p.table.Load().protected[endpoints{home.Home, agent, home.Side}]
	switch {
	case e == nil || e.tunnelOut == nil:
		return b, ErrNoAssociation
	case !e.homeTest(inner, outgoing):
		return b, ErrSelector
	case !e.mayTest(now):
		return b, ErrTooMany
	}
	start := len(b)
	out, err := mip6.AppendTunnelHeader(b, local, remote, mip6.ProtocolESP)
	if err != nil {
		return b, err
	}
	if out, err = e.tunnelOut.Seal(out, mip6.ProtocolIPv6, inner); err != nil {
		return b, err
	}
	if err = mip6.SetPayloadLength(out[start:]); err != nil {
		return b, err
	}
	return out, nil
}

func (e *protection) mayTest(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tests.Allow(now, testRate)
}

// direction is that of a packet, seen from this node.
type direction uint8

const (
	outgoing direction = iota + 1
	incoming
)

// transport finds the policy that wants a packet in transport mode; nil if there
// is none. The logical addresses decide (RFC 3776 §4.2).
func (t *policyTable) transport(e *mip6.Envelope, d direction) *protection {
	k := endpoints{side: overlay.AgentSide}
	switch signalOf(e) {
	case fromMobile:
		k.home, k.agent = e.From(), e.To()
		if d == outgoing {
			k.side = overlay.MobileSide
		}
	case fromAgent:
		k.home, k.agent = e.To(), e.From()
		if d == incoming {
			k.side = overlay.MobileSide
		}
	case neither:
		return nil
	}
	return t.protected[k]
}

// signal is who sends a message, of those that transport mode is for.
type signal uint8

const (
	neither signal = iota
	fromMobile
	fromAgent
)

// signalOf tells by the types of messages (RFC 4877 §6.1, §6.3).
func signalOf(e *mip6.Envelope) signal {
	const mhType = 2 // octet of the Mobility Header
	switch {
	case e.Protocol == mip6.ProtocolMobility && len(e.Payload) > mhType:
		switch mip6.MessageType(e.Payload[mhType]) {
		case mip6.TypeBindingUpdate:
			return fromMobile
		case mip6.TypeBindingAcknowledgement:
			return fromAgent
		}
	case e.Protocol == mip6.ProtocolICMPv6 && len(e.Payload) > 0:
		switch mip6.ICMPType(e.Payload[0]) {
		case mip6.ICMPPrefixSolicitation:
			return fromMobile
		case mip6.ICMPPrefixAdvertisement:
			return fromAgent
		}
	}
	return neither
}

// homeTest reports whether a packet is one that the tunnel's associations are for:
// a home test init message from the home address, or a home test message to it
// (RFC 4877 §6.2), without any header of Mobile IPv6. The two have their directions.
func (e *protection) homeTest(inner []byte, d direction) bool {
	const mhType = 2
	x, err := mip6.ParseEnvelope(inner)
	if err != nil || x.Protocol != mip6.ProtocolMobility || len(x.Payload) <= mhType || x.HomeAddress.IsValid() || x.RouteHome.IsValid() {
		return false
	}
	kind := mip6.MessageType(x.Payload[mhType])
	if (e.side == overlay.MobileSide) == (d == outgoing) {
		return kind == mip6.TypeHomeTestInit && x.Source == e.home
	}
	return kind == mip6.TypeHomeTest && x.Destination == e.home
}
