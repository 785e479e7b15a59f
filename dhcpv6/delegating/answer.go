package delegating

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	codec "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
)

// Status codes (RFC 8415 §21.13).
const (
	success       = iana.StatusSuccess
	noAddrsAvail  = iana.StatusNoAddrsAvail
	noBinding     = iana.StatusNoBinding
	useMulticast  = iana.StatusUseMulticast
	noPrefixAvail = iana.StatusNoPrefixAvail
)

// answer serves a client (RFC 8415 §18.3) and returns what is to be sent, if
// anything. atHome says that it is on the home link, where other servers hear the
// same message.
func (s *Server) answer(m *mobile, q message, atHome bool) (*codec.Message, role.DropReason) {
	switch q.kind {
	case codec.MessageTypeSolicit:
		if reason := s.forAll(q); reason != 0 {
			return nil, reason
		}
		return s.solicited(m, q), 0
	case codec.MessageTypeRequest, codec.MessageTypeRenew:
		if reason := s.forUs(q); reason != 0 {
			return nil, reason
		}
		return s.reply(q, s.grantAll(m, q, false)...), 0
	case codec.MessageTypeRebind:
		if reason := s.forAll(q); reason != 0 {
			return nil, reason
		}
		options := s.grantAll(m, q, atHome)
		if len(options) == 0 {
			return nil, role.DropNotForUs // §18.3.5: other servers' leases
		}
		return s.reply(q, options...), 0
	case codec.MessageTypeRelease, codec.MessageTypeDecline:
		if reason := s.forUs(q); reason != 0 {
			return nil, reason
		}
		return s.reply(q, s.release(m, q)...), 0
	case codec.MessageTypeInformationRequest:
		// §16.12; there is no configuration to tell of.
		switch {
		case len(q.prefixes)+len(q.addresses) > 0:
			return nil, role.DropMalformed
		case q.server != nil && !bytes.Equal(q.server, s.config.DUID):
			return nil, role.DropNotForUs
		}
		return s.reply(q), 0
	default:
		// §18.3.3: a Confirm without addresses is not answered, either.
		return nil, role.DropUnexpected
	}
}

// forUs checks a message to one server (RFC 8415 §16.4, §16.6, §16.8, §16.9).
func (s *Server) forUs(q message) role.DropReason {
	switch {
	case q.client == nil || q.server == nil:
		return role.DropMalformed
	case !bytes.Equal(q.server, s.config.DUID):
		return role.DropNotForUs
	default:
		return 0
	}
}

// forAll checks a message to all servers (RFC 8415 §16.2, §16.7).
func (s *Server) forAll(q message) role.DropReason {
	if q.client == nil || q.server != nil {
		return role.DropMalformed
	}
	return 0
}

// reply is a Reply with the identifiers it must have (RFC 8415 §18.3).
func (s *Server) reply(q message, options ...codec.Option) *codec.Message {
	m := &codec.Message{MessageType: codec.MessageTypeReply, TransactionID: q.transaction}
	m.AddOption(serverID(s.config.DUID))
	if q.client != nil {
		m.AddOption(clientID(q.client))
	}
	m.Options.Options = append(m.Options.Options, options...)
	return m
}

// solicited answers a Solicit: with leases at once if the client wants that and
// there are any, and otherwise with an Advertise (RFC 8415 §18.3.1, §18.3.9).
func (s *Server) solicited(m *mobile, q message) *codec.Message {
	offers := s.assignAll(m, q)
	offered := slices.ContainsFunc(offers, func(l *lease) bool { return l != nil })
	if q.rapid && offered {
		rapid := &codec.OptionGeneric{OptionCode: codec.OptionRapidCommit}
		return s.reply(q, append([]codec.Option{rapid}, s.grantAll(m, q, false)...)...)
	}
	advertise := s.reply(q)
	advertise.MessageType = codec.MessageTypeAdvertise
	for i, ia := range q.prefixes {
		if offers[i] == nil {
			advertise.AddOption(s.without(m, ia))
		} else {
			advertise.AddOption(s.association(ia, offers[i]))
		}
	}
	for _, a := range q.addresses {
		advertise.AddOption(a.without(status(noAddrsAvail, "prefixes only")))
	}
	return advertise
}

// assignAll finds a lease for each IA_PD, nil where there is none.
func (s *Server) assignAll(m *mobile, q message) []*lease {
	named := make([]uint32, 0, len(q.prefixes))
	for _, ia := range q.prefixes {
		named = append(named, binary.BigEndian.Uint32(ia.IaId[:]))
	}
	leases := make([]*lease, 0, len(q.prefixes))
	for i, ia := range q.prefixes {
		leases = append(leases, s.assign(m, named[i], ia, named))
	}
	return leases
}

// grantAll grants a lease for each IA_PD of a Request, Renew or Rebind, and returns
// the options that say so. A Renew or Rebind of what is not there makes a lease as
// a Request does (RFC 8415 §18.3.4, §18.3.5): this server alone decides what its
// mobiles have, and may have forgotten in a crash what it had given. Prefixes that
// the client has and may not use get lifetimes of zero.
//
// With others, of a Rebind that other servers hear too, only what is from our
// pools is spoken of.
func (s *Server) grantAll(m *mobile, q message, others bool) (options []codec.Option) {
	extend := q.kind == codec.MessageTypeRenew || q.kind == codec.MessageTypeRebind
	if others {
		q.prefixes = slices.DeleteFunc(slices.Clone(q.prefixes), func(ia *codec.OptIAPD) bool { return !s.ours(m, ia) })
		q.addresses = nil
	}
	for i, l := range s.assignAll(m, q) {
		ia := q.prefixes[i]
		had, _ := wanted(ia)
		if l != nil {
			s.grant(l, deadline.Of(s.now, s.config.Preferred), deadline.Of(s.now, s.config.Valid))
			had = slices.DeleteFunc(had, func(p netip.Prefix) bool { return p == l.prefix })
		}
		if !extend || others {
			had = slices.DeleteFunc(had, func(p netip.Prefix) bool { return !extend || !s.config.owns(p) })
		}
		answer := s.association(ia, l)
		for _, p := range had {
			answer.Options.Add(&codec.OptIAPrefix{Prefix: netOf(p)})
		}
		if l == nil && len(had) == 0 {
			answer = s.without(m, ia)
		}
		options = append(options, answer)
	}
	for _, a := range q.addresses {
		options = append(options, a.without(status(noAddrsAvail, "prefixes only")))
	}
	return options
}

// ours reports whether an IA_PD that other servers are asked about too is one of
// this server: a prefix in it is from our pools.
func (s *Server) ours(m *mobile, ia *codec.OptIAPD) bool {
	had, _ := wanted(ia)
	if len(had) > 0 {
		return slices.ContainsFunc(had, s.config.owns)
	}
	iaid := binary.BigEndian.Uint32(ia.IaId[:])
	return slices.ContainsFunc(m.leases, func(l *lease) bool { return l.bound && l.iaid == iaid })
}

// association is an IA_PD with a lease, which may be nil. All have the same
// lifetimes, and so the same T1 and T2 (RFC 8415 §18.3.2, §21.21).
func (s *Server) association(ia *codec.OptIAPD, l *lease) *codec.OptIAPD {
	answer := &codec.OptIAPD{IaId: ia.IaId}
	if l == nil {
		return answer
	}
	// T1 and T2 as parts of the preferred lifetime, in tenths.
	const t1, t2, all = 5, 8, 10
	answer.T1, answer.T2 = mip6.InfiniteLifetime, mip6.InfiniteLifetime
	if s.config.Preferred < mip6.InfiniteLifetime {
		answer.T1 = (s.config.Preferred / all * t1).Truncate(time.Second)
		answer.T2 = (s.config.Preferred / all * t2).Truncate(time.Second)
	}
	answer.Options.Add(&codec.OptIAPrefix{
		PreferredLifetime: s.config.Preferred, ValidLifetime: s.config.Valid, Prefix: netOf(l.prefix)})
	return answer
}

// without is an IA_PD for which there is no prefix.
func (s *Server) without(m *mobile, ia *codec.OptIAPD) *codec.OptIAPD {
	s.counts.Exhaustions++
	answer := &codec.OptIAPD{IaId: ia.IaId}
	text := "no prefix is free"
	if len(m.leases) >= maxLeases {
		text = "no more prefixes for one client"
	}
	s.complain(&s.exhausted, "no prefix to delegate: "+text, m)
	answer.Options.Add(status(noPrefixAvail, text))
	return answer
}

// assign finds the prefix of an IA_PD: the one it has or had, one that was the
// mobile's under an IAID that the message does not name, one that it asks for and
// nobody has, any that nobody has, and at last one that is only kept for somebody
// else. Named are all IAIDs of the message.
func (s *Server) assign(m *mobile, iaid uint32, ia *codec.OptIAPD, named []uint32) *lease {
	for _, l := range m.leases {
		if l.iaid == iaid {
			return l
		}
	}
	hints, length := wanted(ia)
	unnamed := func(l *lease) bool { return l.mobile == m && !slices.Contains(named, l.iaid) }
	for _, p := range hints {
		if there := s.table.overlapping(p); len(there) == 1 && there[0].prefix == p && unnamed(there[0]) {
			return s.move(there[0], iaid)
		}
	}
	if len(m.leases) >= maxLeases {
		var oldest *lease
		for _, l := range m.leases {
			if !l.bound && unnamed(l) && (oldest == nil || l.ended.Before(oldest.ended)) {
				oldest = l
			}
		}
		if oldest == nil {
			return nil
		}
		return s.move(oldest, iaid)
	}
	for _, p := range hints {
		if s.config.permits(p) && len(s.table.overlapping(p)) == 0 {
			return s.offer(m, iaid, p)
		}
	}
	if length < s.config.Length || length > longest {
		length = s.config.Length
	}
	p, ok := s.table.free(s.config, length, m.HomeAddress, iaid)
	if !ok {
		var kept []*lease
		if p, kept = s.table.reclaim(s.config, length, func(l *lease) bool { return l.mobile == m && !unnamed(l) }); kept == nil {
			return nil
		}
		for _, l := range kept {
			s.table.remove(l)
		}
	}
	return s.offer(m, iaid, p)
}

// move gives a lease to another IAID of the same mobile.
func (s *Server) move(l *lease, iaid uint32) *lease {
	l.iaid, s.unsaved = iaid, s.unsaved || l.bound
	return l
}

// offer enters a lease that is kept until it is granted.
func (s *Server) offer(m *mobile, iaid uint32, p netip.Prefix) *lease {
	l := &lease{mobile: m, iaid: iaid, prefix: p, ended: s.now}
	s.table.insert(l)
	return l
}

// grant makes a lease hold, or go on. A renewal need not be saved, as long as the
// lifetimes are not longer than those that are.
func (s *Server) grant(l *lease, preferred, valid time.Time) {
	if l.bound {
		s.counts.Renewals++
	} else {
		s.counts.Delegations++
		s.unsaved = true
		s.report(slog.LevelInfo, "prefix delegated", l)
	}
	s.table.bind(l, preferred, valid)
	before := l.granted
	l.granted.preferred, l.granted.valid = l.remaining(s.now)
	s.unsaved = s.unsaved || l.granted.preferred > before.preferred || l.granted.valid > before.valid
	s.change(l.mobile)
}

// release ends the leases that a Release names (RFC 8415 §18.3.7). A Decline
// names addresses, of which there are none (§18.3.8).
func (s *Server) release(m *mobile, q message) (options []codec.Option) {
	options = append(options, status(success, ""))
	if q.kind == codec.MessageTypeRelease {
		for _, ia := range q.prefixes {
			if !s.giveBack(m, ia) {
				options = append(options, &codec.OptIAPD{IaId: ia.IaId,
					Options: codec.PDOptions{Options: codec.Options{status(noBinding, "no such lease")}}})
			}
		}
	}
	for _, a := range q.addresses {
		options = append(options, a.without(status(noBinding, "prefixes only")))
	}
	return options
}

// giveBack ends what a mobile has of an IA_PD and names, and reports whether it
// has anything of it.
func (s *Server) giveBack(m *mobile, ia *codec.OptIAPD) (found bool) {
	iaid := binary.BigEndian.Uint32(ia.IaId[:])
	named, _ := wanted(ia)
	for _, l := range slices.Clone(m.leases) {
		if !l.bound || l.iaid != iaid {
			continue
		}
		found = true
		if slices.Contains(named, l.prefix) {
			s.counts.Releases++
			s.report(slog.LevelInfo, "delegated prefix released", l)
			s.end(l)
		}
	}
	return found
}
