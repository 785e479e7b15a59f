package mhsock

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"roam6/internal/esp"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// localDelivery is a delivery with the SPI by which it came.
type localDelivery struct {
	delivery
	spi uint32
}

// RFC 5380 §12.1: a mobility anchor point takes local binding updates in ESP from any
// regional care-of address, learns by which association they came, and answers by that
// one: two visitors that ask for one address each get an answer that is theirs. Without
// its association nothing is sent; what comes without ESP is as it came.
//
// Covers: P9.
func TestLocalProtected(t *testing.T) {
	w := newWorld(t)
	s := w.openSecured()
	link := w.router.Index("r0")

	prefix, err := w.addr.Prefix(64)
	if err != nil {
		t.Fatal(err)
	}
	octets := prefix.Addr().As16()
	octets[8], octets[15] = 0xab, 0xcd
	regional := netip.AddrFrom16(octets)
	policy := func(side overlay.Side, first uint32) esp.AnchorPolicy {
		p := esp.AnchorPolicy{Anchors: []netip.Prefix{netip.PrefixFrom(w.addr, 128)}, Side: side, Out: associationOf(first), In: associationOf(first + 1)}
		if side == overlay.AgentSide {
			p.Out, p.In = p.In, p.Out
		}
		return p
	}
	_, ofAgent := s.policies()
	if err := s.conn.SetPolicies([]esp.Policy{ofAgent}, policy(overlay.AgentSide, 2000), policy(overlay.AgentSide, 3000)); err != nil {
		t.Fatal(err)
	}
	update := s.message(mip6.Packet{Source: w.peerAddr, Destination: w.addr, HomeAddress: regional, Message: mip6.BindingUpdate{
		Sequence: 7, Flags: mip6.UpdateAcknowledge | mip6.UpdateMAP, Lifetime: 150, Options: []mip6.Option{mip6.AlternateCareOf{Addr: w.peerAddr}},
	}})
	answer := s.message(mip6.Packet{Source: w.addr, Destination: w.peerAddr, RouteHome: regional, Message: mip6.BindingAcknowledgement{Sequence: 7}})
	for _, first := range []uint32{2000, 3000} {
		visitor := esp.NewPolicies(random)
		if err := visitor.Replace(nil, policy(overlay.MobileSide, first)); err != nil {
			t.Fatal(err)
		}
		sealed, err := visitor.ProtectBy(nil, update, first+1)
		if err != nil {
			t.Fatal(err)
		}
		send(t, w.peer, sealed)
		if d := wait(t, s.local); !bytes.Equal(d.packet, update) || d.link != link || d.spi != first {
			t.Errorf("delivered %x on %d by %d, want %x", d.packet, d.link, d.spi, update)
		}
		if err := s.conn.SendBy(first, answer, 0, netip.Addr{}); err != nil {
			t.Fatal(err)
		}
		all := w.heard.until(func(b []byte) bool { return b[6] == mip6.ProtocolRouting })
		if r, err := visitor.Unprotect(all[len(all)-1]); err != nil || !r.Regional || r.SPI != first+1 || !bytes.Equal(r.Packet, answer) {
			t.Errorf("the visitor of %d gets %+v (%v)", first, r, err)
		}
		sealed[len(sealed)-1] ^= 1
		send(t, w.peer, sealed)
		if r := wait(t, s.dropped); r != role.DropBadAuthenticator {
			t.Errorf("forged: %v", r)
		}
	}
	send(t, w.peer, update)
	w.expect(update, link)

	if err := s.conn.SetPolicies([]esp.Policy{ofAgent}, policy(overlay.AgentSide, 3000)); err != nil {
		t.Fatal(err)
	}
	for _, spi := range []uint32{2000, 1000, 3001} {
		var e *SendError
		if err := s.conn.SendBy(spi, answer, 0, netip.Addr{}); !errors.As(err, &e) || e.Reason != SendProhibited || !errors.Is(err, esp.ErrNoAssociation) {
			t.Errorf("SPI %d, of nobody: %v", spi, err)
		}
	}
	if err := s.conn.SendBy(3000, answer, 0, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	all := w.heard.until(func(b []byte) bool { return b[6] == mip6.ProtocolRouting })
	if slices.ContainsFunc(all[:len(all)-1], func(b []byte) bool { return b[6] == mip6.ProtocolRouting }) {
		t.Error("an answer without its association is sent")
	}
	if n := w.parameterProblems(); n != 0 && s.conn.Silenced() {
		t.Errorf("%d parameter problems", n)
	}
	if k := s.conn.Counters(); k.Protected != 2 || k.SendErrors[SendProhibited] != 3 {
		t.Errorf("counters %+v", k)
	}
	if err := newWorld(t).open().SendBy(2000, answer, 0, netip.Addr{}); !errors.Is(err, errNoIPsec) {
		t.Errorf("without IPsec: %v", err)
	}
}
