package delegating

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"slices"
	"sort"
	"time"

	codec "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/dhcpv6"
	"roam6/internal/deadline"
	"roam6/internal/role"
)

const (
	hopCountLimit = 8 // RFC 8415 §7.6, HOP_COUNT_LIMIT
	// exchangeTime is how long a server may take to answer.
	exchangeTime = 30 * time.Second
)

// exchangeKey is how the answer to a relayed message is known: it goes to the same
// address, and has the same transaction ID.
type exchangeKey struct {
	client      netip.Addr
	transaction codec.TransactionID
}

// exchange is a message of a client that was relayed to the external server.
type exchange struct {
	mobile *mobile
	kind   codec.MessageType
	client []byte // its DUID
	link   int    // on which it is, or zero when it is away
	at     time.Time
}

// relay passes a client's message to the external server (RFC 8415 §19.1). Outer
// is the envelope in which it came from a mobile that is away.
func (s *Server) relay(m *mobile, q message, e role.DHCPReceived, outer *envelope) role.DropReason {
	next := envelope{kind: codec.MessageTypeRelayForward, peer: e.From.Addr(), message: e.Message}
	x := &exchange{mobile: m, kind: q.kind, client: bytes.Clone(q.client), at: s.now}
	switch {
	case q.kind == codec.MessageTypeAdvertise, q.kind == codec.MessageTypeReply, q.kind == codec.MessageTypeReconfigure:
		return role.DropUnexpected // §16.3, §16.10, §16.11
	case outer == nil:
		// §19.1.1: the server finds the link by our address on it, and we by the
		// interface identifier.
		x.link, next.link = e.Link, s.config.Address
		next.interfaceID = codec.OptInterfaceID(binary.BigEndian.AppendUint32(nil, uint32(e.Link)))
	case outer.hops >= hopCountLimit:
		return role.DropProhibited // §19.1.2
	default:
		next.hops, next.link = outer.hops+1, netip.IPv6Unspecified()
	}
	s.remember(exchangeKey{e.From.Addr(), q.transaction}, x)
	if q.kind == codec.MessageTypeRelease {
		// The client uses it no more (§18.2.7), and the server may soon give it to
		// somebody else.
		for _, ia := range q.prefixes {
			s.giveBack(m, ia)
		}
	}
	s.counts.Relayed++
	s.send(role.SendDHCP{From: s.address(), To: s.external(), Message: next.encode()})
	return 0
}

func (s *Server) external() netip.AddrPort {
	return netip.AddrPortFrom(s.config.Server, dhcpv6.ServerPort)
}

// remember enters an exchange, for which the mobile's oldest has to go when there
// are too many.
func (s *Server) remember(key exchangeKey, x *exchange) {
	m := x.mobile
	if before := s.exchanges[key]; before != nil {
		// Sent again; or, on the home link, a neighbour's that has the same address
		// and transaction.
		before.mobile.exchanges = slices.DeleteFunc(before.mobile.exchanges, func(k exchangeKey) bool { return k == key })
	}
	forget := 0
	if len(m.exchanges) >= maxExchanges {
		forget = 1
	}
	if x.kind == codec.MessageTypeRelease {
		// A late Reply must not bring back what is released.
		forget = len(m.exchanges)
	}
	for _, k := range m.exchanges[:forget] {
		delete(s.exchanges, k)
	}
	m.exchanges = append(slices.Delete(m.exchanges, 0, forget), key)
	s.exchanges[key] = x
}

// fromServer passes an answer of the external server on (RFC 8415 §19.2), and
// reads it.
func (s *Server) fromServer(e role.DHCPReceived) role.DropReason {
	switch {
	case !s.config.relays():
		return role.DropUnexpected // §16.14
	case e.From != s.external() || e.To != s.address():
		return role.DropNotForUs
	}
	outer, err := readEnvelope(e.Message)
	if err != nil {
		return role.DropMalformed
	}
	inner := outer.message
	if outer.encapsulating {
		relayed, err := readEnvelope(outer.message)
		if err != nil || relayed.kind != codec.MessageTypeRelayReply || relayed.encapsulating {
			return role.DropMalformed
		}
		inner = relayed.message
	}
	a, err := readMessage(inner)
	if err != nil {
		return role.DropMalformed
	}
	link := 0
	switch x := s.exchanges[exchangeKey{outer.peer, a.transaction}]; {
	case a.kind == codec.MessageTypeReconfigure:
		// Nobody asked for it: the server knows the way (§18.3.11). It has to
		// authenticate itself to the client.
		if !s.reconfiguring.Allow(s.now, reconfigures) {
			return role.DropRateLimited
		}
		var ok bool
		if link, ok = s.way(outer); !ok {
			return role.DropUnknownMobile
		}
	case x == nil || s.now.Sub(x.at) > exchangeTime || outer.encapsulating != (x.link == 0):
		return role.DropUnsolicited
	case a.kind == codec.MessageTypeReply:
		link = x.link
		s.read(x, a)
	case a.kind == codec.MessageTypeAdvertise:
		link = x.link
	default:
		return role.DropUnexpected
	}
	s.counts.Returned++
	if outer.encapsulating {
		s.send(s.toRelay(outer.peer, outer.message))
	} else {
		s.send(s.toClient(link, outer.peer, outer.message))
	}
	return 0
}

// way tells on which link a message goes to its client, zero for a mobile that is
// away.
func (s *Server) way(outer envelope) (link int, ok bool) {
	if outer.encapsulating {
		return 0, s.homes[outer.peer] != nil
	}
	if outer.interfaceID == nil || !outer.peer.IsLinkLocalUnicast() {
		return 0, false
	}
	id := outer.interfaceID.ToBytes()
	if len(id) != 4 {
		return 0, false
	}
	link = int(binary.BigEndian.Uint32(id))
	return link, link > 0
}

// read learns from a Reply what the external server has delegated, as the client
// does (RFC 8415 §18.2.10.1).
func (s *Server) read(x *exchange, a message) {
	switch x.kind {
	case codec.MessageTypeSolicit:
		if !a.rapid {
			return
		}
	case codec.MessageTypeRequest, codec.MessageTypeRenew, codec.MessageTypeRebind:
	default:
		return
	}
	if a.server == nil || a.client == nil || !bytes.Equal(a.client, x.client) {
		return
	}
	for _, ia := range a.prefixes {
		refused := ia.Options.Status() != nil && ia.Options.Status().StatusCode != success
		if refused || ia.T1 > ia.T2 && ia.T2 > 0 {
			continue // §21.21
		}
		iaid := binary.BigEndian.Uint32(ia.IaId[:])
		for _, o := range ia.Options.Prefixes() {
			p, ok := prefixOf(o.Prefix)
			if ok && o.PreferredLifetime <= o.ValidLifetime { // §21.22
				s.accept(x.mobile, iaid, p, o.PreferredLifetime, o.ValidLifetime)
			}
		}
	}
}

// accept takes over what the external server says of a prefix.
func (s *Server) accept(m *mobile, iaid uint32, p netip.Prefix, preferred, valid time.Duration) {
	there := s.table.overlapping(p)
	var own *lease
	if len(there) == 1 && there[0].mobile == m && there[0].prefix == p {
		own = there[0]
	}
	switch {
	case valid == 0:
		if own != nil && own.iaid == iaid {
			s.counts.Withdrawals++
			s.report(slog.LevelInfo, "delegated prefix taken back by its server", own)
			s.end(own)
		}
		return
	case own != nil:
		s.unsaved = s.unsaved || own.iaid != iaid
		own.iaid = iaid
	case len(there) > 0:
		s.conflict(m, p, "another delegated prefix has the same addresses: "+there[0].mobile.Name)
		return
	case !s.acceptable(p):
		s.conflict(m, p, "not routable, or it has the home agent's address or a home address")
		return
	case len(m.leases) >= maxRelayedLeases:
		s.conflict(m, p, "too many for one mobile")
		return
	default:
		own = &lease{mobile: m, iaid: iaid, prefix: p}
		s.table.insert(own)
	}
	s.grant(own, deadline.Of(s.now, preferred), deadline.Of(s.now, valid))
}

// conflict tells of a prefix that the home agent must not forward. The Reply was
// the server's, and goes on: a relay agent changes nothing (RFC 8415 §19.2).
func (s *Server) conflict(m *mobile, p netip.Prefix, why string) {
	s.counts.Refusals++
	s.complain(&s.conflicting, "prefix of the external server is not forwarded", m,
		slog.Any("prefix", p), slog.Any("server", s.config.Server), slog.String("reason", why))
}

// acceptable reports whether a prefix can be a mobile's: packets to the home agent
// and to home addresses must not go into its tunnel.
func (s *Server) acceptable(p netip.Prefix) bool {
	if !routable(p) || p.Contains(s.config.Address) || p.Contains(s.config.Server) {
		return false
	}
	i := sort.Search(len(s.order), func(i int) bool { return s.order[i].HomeAddress.Compare(p.Addr()) >= 0 })
	return i == len(s.order) || !p.Contains(s.order[i].HomeAddress)
}
