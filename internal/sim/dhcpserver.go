package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/dhcpv6"
	"roam6/internal/role"
)

// server is the DHCPv6 server of an access network, in its simplest form: it leases
// one address to each client, and remembers it until it restarts.
type server struct {
	cell             *cell
	duid             []byte
	silent           bool
	rapid            bool // takes the Rapid Commit option
	preference       uint8
	preferred, valid time.Duration
	leases           map[string]serverLease // by DUID and IAID
	declined         map[netip.Addr]bool
	asked, answered  int
}

type serverLease struct {
	addr  netip.Addr
	until time.Time
}

// leaseMark is in the interface identifiers of leased addresses. No formed one begins
// with it: neither the random ones (universal bit) nor those of link-layer addresses here.
const leaseMark = 0xde

func isLeased(a netip.Addr) bool { b := a.As16(); return b[8] == leaseMark }

// newServer makes a server of one of several kinds.
func newServer(c *cell, random func(int) int) *server {
	s := &server{
		cell: c, duid: append([]byte{0, 99}, c.name...), rapid: random(3) > 0,
		preferred: time.Duration(30+random(60)) * time.Second,
	}
	s.valid = s.preferred * 3 / 2
	if random(2) == 0 {
		s.preference = 255
	}
	s.restart()
	return s
}

// restart makes a server forget all.
func (s *server) restart() {
	s.leases, s.declined = make(map[string]serverLease), make(map[netip.Addr]bool)
}

// receive takes a client's message and answers it (RFC 8415 §18.3).
func (s *server) receive(w *World, from *port, octets []byte) {
	if s.silent {
		return
	}
	s.asked++
	q, err := wire.MessageFromBytes(octets)
	if err != nil {
		w.fail("%s sends a DHCPv6 message that does not decode: %v", from.host, err)
		return
	}
	if id := q.Options.ServerID(); id != nil && !bytes.Equal(id.ToBytes(), s.duid) {
		return
	}
	m := &wire.Message{MessageType: wire.MessageTypeReply, TransactionID: q.TransactionID}
	m.AddOption(&wire.OptionGeneric{OptionCode: wire.OptionServerID, OptionData: s.duid})
	m.AddOption(wire.OptClientID(q.Options.ClientID()))
	if !s.answer(w, q, m) {
		return
	}
	s.answered++
	e := role.DHCPReceived{Link: from.index, From: netip.AddrPortFrom(s.cell.router.addr, dhcpv6.ServerPort),
		To: netip.AddrPortFrom(from.linkLocal(), dhcpv6.ClientPort), Message: m.ToBytes()}
	copies := 1
	if w.random.Float64() < w.faults.Duplicate {
		copies = 2
	}
	for range copies {
		w.overAir(s.cell, from, func() {
			w.tell("%s answers %s to %s", s.cell.name, describeDHCP(e.Message), from.host)
			from.answered = w.now
			w.dispatch(from.host, e)
		})
	}
}

// answer completes a reply and reports whether it is to be sent.
func (s *server) answer(w *World, q, m *wire.Message) bool {
	code := func(c iana.StatusCode) { m.AddOption(&wire.OptStatusCode{StatusCode: c}) }
	switch q.MessageType {
	case wire.MessageTypeSolicit:
		if q.GetOneOption(wire.OptionRapidCommit) != nil && s.rapid {
			m.AddOption(&wire.OptionGeneric{OptionCode: wire.OptionRapidCommit})
		} else {
			m.MessageType = wire.MessageTypeAdvertise
			m.AddOption(&wire.OptionGeneric{OptionCode: wire.OptionPreference, OptionData: []byte{s.preference}})
		}
		s.grant(w, q, m, true)
	case wire.MessageTypeRequest:
		s.grant(w, q, m, true)
	case wire.MessageTypeRenew:
		s.grant(w, q, m, false)
	case wire.MessageTypeRebind:
		known := false
		for _, ia := range q.Options.IANA() {
			l, ok := s.leases[key(q, ia)]
			known = known || ok && s.holds(w, l)
		}
		if !known && s.here(q) {
			return false // §18.3.5: perhaps of another server
		}
		s.grant(w, q, m, false)
	case wire.MessageTypeConfirm:
		if s.here(q) {
			code(iana.StatusSuccess)
		} else {
			code(iana.StatusNotOnLink)
		}
	case wire.MessageTypeRelease, wire.MessageTypeDecline:
		for _, ia := range q.Options.IANA() {
			for _, a := range ia.Options.Addresses() {
				addr, _ := netip.AddrFromSlice(a.IPv6Addr)
				if l := s.leases[key(q, ia)]; l.addr != addr {
					continue
				}
				delete(s.leases, key(q, ia))
				if q.MessageType == wire.MessageTypeDecline {
					s.declined[addr] = true
				}
			}
		}
		code(iana.StatusSuccess)
	case wire.MessageTypeInformationRequest:
		m.AddOption(wire.OptDNS([]byte(s.cell.prefixes[0].Addr().Next().AsSlice())))
	default:
		return false
	}
	return true
}

// here reports whether all addresses in a message are of the server's link.
func (s *server) here(q *wire.Message) bool {
	for _, ia := range q.Options.IANA() {
		for _, a := range ia.Options.Addresses() {
			if addr, _ := netip.AddrFromSlice(a.IPv6Addr); !s.cell.contains(addr) {
				return false
			}
		}
	}
	return true
}

func key(q *wire.Message, ia *wire.OptIANA) string {
	return fmt.Sprintf("%x %x", q.Options.ClientID().ToBytes(), ia.IaId)
}

func (s *server) holds(w *World, l serverLease) bool {
	return l.addr.IsValid() && w.now.Before(l.until)
}

// grant answers about all associations for addresses: fresh gives those leases that
// have none.
func (s *server) grant(w *World, q, m *wire.Message, fresh bool) {
	for _, ia := range q.Options.IANA() {
		l := s.leases[key(q, ia)]
		answer := &wire.OptIANA{IaId: ia.IaId}
		m.AddOption(answer)
		switch {
		case s.holds(w, l):
		case fresh:
			l.addr = s.free(w, l.addr)
		default:
			for _, a := range ia.Options.Addresses() {
				if addr, _ := netip.AddrFromSlice(a.IPv6Addr); !s.cell.contains(addr) {
					answer.Options.Add(&wire.OptIAAddress{IPv6Addr: a.IPv6Addr})
				}
			}
			if len(answer.Options.Options) == 0 {
				answer.Options.Add(&wire.OptStatusCode{StatusCode: iana.StatusNoBinding})
			}
			continue
		}
		if m.MessageType == wire.MessageTypeReply {
			l.until = w.now.Add(s.valid)
			s.leases[key(q, ia)] = l
			w.counts.Granted++
		}
		answer.Options.Add(&wire.OptIAAddress{IPv6Addr: l.addr.AsSlice(), PreferredLifetime: s.preferred, ValidLifetime: s.valid})
	}
}

// free finds an address that nobody has leased: the one of before, or the first.
func (s *server) free(w *World, before netip.Addr) netip.Addr {
	taken := make(map[netip.Addr]bool)
	for _, l := range s.leases {
		if s.holds(w, l) {
			taken[l.addr] = true
		}
	}
	if before.IsValid() && !taken[before] && !s.declined[before] {
		return before
	}
	a := s.cell.prefixes[0].Addr().As16()
	a[8] = leaseMark
	for i := uint16(1); ; i++ {
		binary.BigEndian.PutUint16(a[14:], i)
		if addr := netip.AddrFrom16(a); !taken[addr] && !s.declined[addr] {
			return addr
		}
	}
}

// describeDHCP tells of a message in a word.
func describeDHCP(octets []byte) string {
	if len(octets) == 0 {
		return "nothing"
	}
	kind := wire.MessageType(octets[0])
	if kind == wire.MessageTypeRelayForward || kind == wire.MessageTypeRelayReply {
		if m, err := wire.RelayMessageFromBytes(octets); err == nil {
			if inner, err := m.GetInnerMessage(); err == nil {
				return fmt.Sprintf("%v of %v", kind, inner.MessageType)
			}
		}
	}
	return kind.String()
}
