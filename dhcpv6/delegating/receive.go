package delegating

import (
	"bytes"
	"log/slog"
	"net/netip"

	codec "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/dhcpv6"
	"roam6/internal/role"
)

// receive handles a datagram and tells why it was not accepted, if so.
func (s *Server) receive(e role.DHCPReceived) role.DropReason {
	switch {
	case len(e.Message) == 0:
		return role.DropMalformed
	case codec.MessageType(e.Message[0]) == codec.MessageTypeRelayReply:
		return s.fromServer(e)
	case codec.MessageType(e.Message[0]) == codec.MessageTypeRelayForward:
		return s.fromAway(e)
	default:
		return s.fromHome(e)
	}
}

// fromAway handles what the relay agent in a mobile router that is away sends
// (RFC 6276 §3.1.2). Its source address tells who it is: nothing but the mobile's
// tunnel, or an authenticated packet, brings one here.
func (s *Server) fromAway(e role.DHCPReceived) role.DropReason {
	home := e.From.Addr()
	m := s.homes[home]
	switch {
	case m == nil:
		return role.DropUnknownMobile
	case e.To != s.address():
		return role.DropNotForUs
	case !m.away.Allow(s.now, messages):
		return role.DropRateLimited
	}
	outer, err := readEnvelope(e.Message)
	if err != nil {
		return role.DropMalformed
	}
	if outer.link != home || outer.peer != home {
		return role.DropProhibited
	}
	// The relay agent is the client: nobody else's messages are relayed.
	if outer.encapsulating {
		return role.DropUnexpected
	}
	q, err := readMessage(outer.message)
	if err != nil {
		return role.DropMalformed
	}
	if q.client != nil && !s.identify(m, q.client) {
		return role.DropProhibited
	}
	if s.config.relays() {
		return s.relay(m, q, e, &outer)
	}
	reply, reason := s.answer(m, q, false)
	if reply != nil {
		outer.kind, outer.message = codec.MessageTypeRelayReply, reply.ToBytes()
		s.send(s.toRelay(home, outer.encode()))
	}
	return reason
}

// identify notes the DUID of a mobile that is away, by which it is known at home.
// It is refused when it is another mobile's, unless that one has no lease and only
// once used it: a device that was given another home address keeps its DUID.
func (s *Server) identify(m *mobile, duid []byte) bool {
	owner := s.identifiers[string(duid)]
	switch {
	case owner == m || owner == nil && len(m.DUID) > 0:
		return true
	case owner != nil && (len(owner.DUID) > 0 || owner.bound()):
		s.counts.Refusals++
		s.complain(&s.refused, "DHCPv6 client has the DUID of another mobile", m, slog.String("other", owner.Name))
		return false
	case owner != nil:
		delete(s.identifiers, string(duid))
		owner.learned = nil
		s.unsaved = true
		if len(m.DUID) > 0 {
			return true
		}
	}
	if m.learned != nil {
		delete(s.identifiers, string(m.learned))
	}
	m.learned = bytes.Clone(duid)
	s.identifiers[string(duid)] = m
	s.unsaved = true
	return true
}

// fromHome handles what a client on the home link sends.
func (s *Server) fromHome(e role.DHCPReceived) role.DropReason {
	if !e.From.Addr().IsLinkLocalUnicast() && s.homes[e.From.Addr()] == nil {
		return role.DropUnknownMobile
	}
	q, err := readMessage(e.Message)
	if err != nil {
		return role.DropMalformed
	}
	m := s.atHome(e.From.Addr(), q.client)
	switch {
	case m == nil:
		return role.DropUnknownMobile
	case !m.home.Allow(s.now, messages):
		return role.DropRateLimited
	case e.To.Addr() != dhcpv6.AllRelayAgentsAndServers():
		return s.refuseUnicast(e, q)
	case e.Link <= 0:
		return role.DropUnexpected // multicast comes from a link
	case s.config.relays():
		return s.relay(m, q, e, nil)
	}
	reply, reason := s.answer(m, q, true)
	if reply != nil {
		s.send(s.toClient(e.Link, e.From.Addr(), reply.ToBytes()))
	}
	return reason
}

// atHome tells which mobile a client on the home link is, if any.
func (s *Server) atHome(from netip.Addr, duid []byte) *mobile {
	byDUID, byAddress := s.identifiers[string(duid)], s.homes[from]
	if from.IsLinkLocalUnicast() {
		byAddress = s.interfaces[interfaceIdentifier(from)]
	}
	switch {
	case byDUID == nil:
		return byAddress
	case s.homes[from] != nil && byAddress != byDUID:
		return nil // one mobile's home address, and another one's DUID
	default:
		return byDUID
	}
}

// refuseUnicast answers a client that did not send by multicast, which nobody
// allowed it to do (RFC 8415 §18.4, §16).
func (s *Server) refuseUnicast(e role.DHCPReceived, q message) role.DropReason {
	switch q.kind {
	case codec.MessageTypeRequest, codec.MessageTypeRenew, codec.MessageTypeRelease, codec.MessageTypeDecline:
	default:
		return role.DropUnexpected
	}
	if reason := s.forUs(q); reason != 0 || s.config.relays() {
		return role.DropNotForUs
	}
	reply := s.reply(q, status(useMulticast, "send by multicast"))
	answer := s.toClient(e.Link, e.From.Addr(), reply.ToBytes())
	if !e.From.Addr().IsLinkLocalUnicast() {
		answer.Link, answer.From = 0, s.address()
	}
	s.send(answer)
	return role.DropUnexpected
}

// send sends an answer, when everything else is done.
func (s *Server) send(a role.SendDHCP) { s.answers = append(s.answers, a) }

// address is where relay agents send to, and what they are answered from.
func (s *Server) address() netip.AddrPort {
	return netip.AddrPortFrom(s.config.Address, dhcpv6.ServerPort)
}

// toRelay is a message to the relay agent in a mobile router that is away.
func (s *Server) toRelay(home netip.Addr, b []byte) role.SendDHCP {
	return role.SendDHCP{From: s.address(), To: netip.AddrPortFrom(home, dhcpv6.ServerPort), Message: b}
}

// toClient is a message to a client on the home link (RFC 8415 §18.3.10).
func (s *Server) toClient(link int, client netip.Addr, b []byte) role.SendDHCP {
	return role.SendDHCP{Link: link, From: netip.AddrPortFrom(netip.Addr{}, dhcpv6.ServerPort),
		To: netip.AddrPortFrom(client, dhcpv6.ClientPort), Message: b}
}
