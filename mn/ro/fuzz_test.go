package ro

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// FuzzHandle gives arbitrary events in any order to an Optimiser whose
// correspondents answer tests now and then, but never sign an acknowledgement:
// it does not panic, its list stays bounded, it keeps to its rates, and no route
// is ever optimised.
// Covers: Attack: malformed options, Attack: forged answers, A4.
func FuzzHandle(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		b := make([]byte, 600)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBench(t, func(c *Config) { c.MaxPeers = 8 })
		s := stream{data}
		sent := rates{}
		for len(s.data) > 0 {
			b.now = b.now.Add(time.Duration(s.octet()) * time.Duration(s.octet()) * time.Millisecond)
			sent.check(t, b.now, s.step(b))
			sent.check(t, b.now, b.handle(role.Timeout{}))
			if len(b.routes) != 0 {
				t.Fatalf("route %v", b.routes)
			}
			if len(b.o.order) > 8 || len(b.o.peers) != len(b.o.order) {
				t.Fatalf("%d entries, %d in order", len(b.o.peers), len(b.o.order))
			}
			if next := b.o.Next(); !next.IsZero() && !next.After(b.now) {
				t.Fatalf("wants to be woken in the past")
			}
		}
		b.at.CareOf = netip.Addr{}
		b.handle(role.Stop{})
		b.quiet()
	})
}

// stream makes events of octets.
type stream struct{ data []byte }

func (s *stream) octet() byte {
	if len(s.data) == 0 {
		return 0
	}
	o := s.data[0]
	s.data = s.data[1:]
	return o
}

func (s *stream) address() netip.Addr {
	known := []netip.Addr{home, homeAgent, careOf1, careOf2, peerAddr(1), peerAddr(2), peerAddr(3), {}, netip.MustParseAddr("fe80::1"),
		netip.MustParseAddr("ff02::1"), netip.IPv6Unspecified()}
	n := int(s.octet())
	if n < 3*len(known) {
		return known[n%len(known)]
	}
	return peerAddr(n)
}

func (s *stream) sixteen() uint16 { return binary.BigEndian.Uint16([]byte{s.octet(), s.octet()}) }

// step does one thing.
func (s *stream) step(b *bench) []role.Action {
	switch s.octet() % 12 {
	case 0, 1, 2:
		return b.handle(role.TrafficSeen{Home: home, Peer: s.address(), Side: overlay.Side(s.octet()%3 + 1)})
	case 3, 4:
		return b.handle(role.Timeout{})
	case 5:
		return b.handle(role.PeerRefused{Local: s.address(), Peer: s.address()})
	case 6:
		a := Attachment{CareOf: s.address(), Link: int(s.octet() % 3), AtHome: s.octet() < 20, Registered: s.octet()%2 == 0}
		if s.octet()%4 != 0 {
			a.Expires = b.now.Add(time.Duration(s.octet()) * time.Second)
		}
		return b.attach(a)
	case 7:
		return b.did(b.o.Reconfigure(b.now, Config{Policy: Policy{Mode: Mode(s.octet() % 2)}, MaxPeers: 8, Random: b.o.config.Random}))
	case 8, 9:
		return s.echo(b)
	default:
		p := mip6.Packet{Source: s.address(), Destination: s.address(), Message: s.message(b)}
		if s.octet() < 30 {
			p.HomeAddress = s.address()
		}
		if s.octet() < 90 {
			p.RouteHome = s.address()
		}
		n := int(s.octet() % 64)
		p.MH = s.data[:min(len(s.data), n)]
		b.o.Owns(p)
		return b.handle(role.MessageReceived{Link: int(s.octet() % 3), Packet: p})
	}
}

// echo answers the last test with an arbitrary token.
func (s *stream) echo(b *bench) []role.Action {
	for _, a := range slices.Backward(only[role.Send](b.all)) {
		p := mip6.Packet{Source: a.Packet.Destination, Destination: a.Packet.Source}
		token := mip6.KeygenToken{s.octet()}
		switch m := a.Packet.Message.(type) {
		case mip6.HomeTestInit:
			p.Message = mip6.HomeTest{Cookie: m.Cookie, NonceIndex: s.sixteen(), Token: token}
		case mip6.CareOfTestInit:
			p.Message = mip6.CareOfTest{Cookie: m.Cookie, NonceIndex: s.sixteen(), Token: token}
		default:
			continue
		}
		if s.octet()%2 == 0 {
			return b.handle(role.MessageReceived{Link: tunnel, Packet: p})
		}
	}
	return nil
}

func (s *stream) message(b *bench) mip6.Message {
	sequence := mip6.Sequence(s.sixteen())
	if s.octet()%2 == 0 { // a lucky guess
		for _, e := range b.o.order {
			sequence = e.sequence
		}
	}
	switch s.octet() % 8 {
	case 0:
		return mip6.HomeTest{NonceIndex: s.sixteen()}
	case 1:
		return mip6.CareOfTest{NonceIndex: s.sixteen()}
	case 2:
		return mip6.BindingRefreshRequest{}
	case 3:
		return mip6.BindingError{Status: mip6.BindingErrorStatus(s.octet() % 4), Home: s.address()}
	case 4:
		return mip6.UnknownMessage{MessageType: mip6.MessageType(s.octet())}
	default:
		a := mip6.BindingAcknowledgement{Status: mip6.Status(s.octet()), Sequence: sequence, Lifetime: mip6.Lifetime(s.sixteen())}
		if s.octet()%2 == 0 {
			a.Status = mip6.StatusSequenceOutOfWindow + mip6.Status(s.octet()%4)
		}
		return a
	}
}
