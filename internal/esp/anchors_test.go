package esp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"roam6/mip6"
	"roam6/overlay"
)

var (
	anchor      = netip.MustParseAddr("2001:db8:20::1")
	otherAnchor = netip.MustParseAddr("2001:db8:21::1")
	rcoa        = netip.MustParseAddr("2001:db8:20::abcd")
	otherRCoA   = netip.MustParseAddr("2001:db8:20::ef01")
)

func only(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// anchorPolicies are those of a mobile and of its anchor, with SPIs from first on.
func anchorPolicies(a Algorithm, bits int, first uint32) (ofMobile, ofAnchor AnchorPolicy) {
	sa := func(n uint32) Association {
		return Association{SPI: first + n, Algorithm: a, Key: key(a, bits, first+n)}
	}
	ofMobile = AnchorPolicy{Anchors: []netip.Prefix{netip.MustParsePrefix("2001:db8:20::/47")}, Side: overlay.MobileSide, Out: sa(0), In: sa(1)}
	ofAnchor = AnchorPolicy{Anchors: []netip.Prefix{only(anchor)}, Side: overlay.AgentSide, Out: sa(1), In: sa(0)}
	return ofMobile, ofAnchor
}

func databaseWith(t testing.TB, home []Policy, anchors ...AnchorPolicy) *Policies {
	t.Helper()
	p := NewPolicies(counting())
	if err := p.Replace(home, anchors...); err != nil {
		t.Fatal(err)
	}
	return p
}

func localUpdate(regional netip.Addr) mip6.Packet {
	return mip6.Packet{Source: careOf, Destination: anchor, HomeAddress: regional, Message: mip6.BindingUpdate{
		Sequence: 7, Flags: mip6.UpdateAcknowledge | mip6.UpdateMAP, Lifetime: 150, Options: []mip6.Option{mip6.AlternateCareOf{Addr: careOf}},
	}}
}

func localAnswer(regional netip.Addr) mip6.Packet {
	return mip6.Packet{Source: anchor, Destination: careOf, RouteHome: regional, Message: mip6.BindingAcknowledgement{Sequence: 7, Lifetime: 149}}
}

// RFC 5380 §12.1: local binding updates and their acknowledgements in ESP, in transport
// mode, whatever regional care-of address the mobile has formed. The receiver learns the
// SPI, and the answer goes by the association of that SPI, although another visitor has
// asked for the same address.
//
// Covers: P9.
func TestLocalUpdates(t *testing.T) {
	for _, a := range []Algorithm{AESCBCSHA256, AESGCM} {
		ofMobile, ofAnchor := anchorPolicies(a, 256, 2000)
		ofOther, ofOtherAtAnchor := anchorPolicies(a, 256, 3000)
		mobileSide, otherSide := databaseWith(t, nil, ofMobile), databaseWith(t, nil, ofOther)
		anchorSide := databaseWith(t, nil, ofAnchor, ofOtherAtAnchor)
		for _, regional := range []netip.Addr{rcoa, otherRCoA} {
			for _, test := range []struct {
				from  *Policies
				in    uint32 // inbound SPI of the mobile, by which it names the association
				spi   uint32 // of the update
				other *Policies
			}{{mobileSide, 2001, 2000, otherSide}, {otherSide, 3001, 3000, mobileSide}} {
				plain := whole(t, localUpdate(regional))
				given := slices.Clone(plain)
				sealed, err := test.from.ProtectBy(nil, plain, test.in)
				if err != nil || !bytes.Equal(plain, given) || !slices.Equal(headers(sealed), []uint8{mip6.ProtocolDestination, mip6.ProtocolESP}) ||
					int(binary.BigEndian.Uint16(sealed[4:])) != len(sealed)-40 {
					t.Fatalf("%v: update %x (%v)", a, sealed, err)
				}
				r, err := anchorSide.Unprotect(sealed)
				if err != nil || !r.Regional || r.Protected || r.SPI != test.spi || !bytes.Equal(r.Packet, plain) {
					t.Fatalf("%v: at the anchor %+v (%v)", a, r, err)
				}
				answer := whole(t, localAnswer(regional))
				back, err := anchorSide.ProtectBy(nil, answer, r.SPI)
				if err != nil || !slices.Equal(headers(back), []uint8{mip6.ProtocolRouting, mip6.ProtocolESP}) {
					t.Fatalf("%v: answer %x (%v)", a, back, err)
				}
				if r, err := test.from.Unprotect(back); err != nil || !r.Regional || r.Protected || r.SPI != test.in || !bytes.Equal(r.Packet, answer) {
					t.Errorf("%v: at the mobile %+v (%v)", a, r, err)
				}
				if _, err := test.other.Unprotect(back); !errors.Is(err, ErrUnknownSPI) {
					t.Errorf("%v: the other visitor: %v", a, err)
				}
			}
		}
	}
}

// What an association for anchors does not carry, out or in: other addresses, other
// messages, other protocols. Above all, who has one cannot speak for a home agent or for
// a mobile at home (RFC 4877 §4.2), whose associations are their own.
//
// Covers: P9, Attack: BU spoofing.
func TestLocalSelectors(t *testing.T) {
	ofMobile, ofAnchor := anchorPolicies(AESCBCSHA256, 128, 2000)
	ofMobile.Anchors = []netip.Prefix{netip.MustParsePrefix("::/0")}
	ofAnchor.Anchors = append(ofAnchor.Anchors, only(agent)) // a home agent and an anchor at one address
	homeOfMobile, homeOfAgent := policies(home, AESCBCSHA256, 128, 1000)
	mobileSide, anchorSide := databaseWith(t, []Policy{homeOfMobile}, ofMobile), databaseWith(t, []Policy{homeOfAgent}, ofAnchor)
	seal := func(by Association, p appender) []byte {
		out, err := NewOutbound(by, counting())
		if err != nil {
			t.Fatal(err)
		}
		e, err := mip6.ParseEnvelope(whole(t, p))
		if err != nil {
			t.Fatal(err)
		}
		b, err := out.Seal(e.AppendHeaders(nil, mip6.ProtocolESP), e.Protocol, e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if err := mip6.SetPayloadLength(b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	change := func(p mip6.Packet, do func(*mip6.Packet)) mip6.Packet { do(&p); return p }
	atHome := localUpdate(home)
	atHome.Destination = agent
	ofHomeAgent := acknowledgement() // between the addresses of a policy of its own
	for name, test := range map[string]struct {
		out    bool // of the mobile
		packet appender
	}{
		"address of another prefix":   {true, localUpdate(otherHome)},
		"the anchor's own address":    {true, localUpdate(anchor)},
		"without flag M":              {true, change(localUpdate(rcoa), func(p *mip6.Packet) { p.Message = update().Message })},
		"acknowledgement of a mobile": {true, change(localUpdate(rcoa), func(p *mip6.Packet) { p.Message = localAnswer(rcoa).Message })},
		"care-of test init":           {true, change(localUpdate(rcoa), func(p *mip6.Packet) { p.Message = mip6.CareOfTestInit{} })},
		"prefix solicitation":         {true, mip6.ICMPPacket{Source: careOf, Destination: anchor, HomeAddress: rcoa, Message: mip6.PrefixSolicitation{Identifier: 1}}},
		"of another prefix":           {false, localAnswer(otherHome)},
		"update of an anchor":         {false, change(localAnswer(rcoa), func(p *mip6.Packet) { p.Message = localUpdate(rcoa).Message })},
		"refresh request":             {false, change(localAnswer(rcoa), func(p *mip6.Packet) { p.Message = mip6.BindingRefreshRequest{} })},
	} {
		by, in, from, to := ofMobile.Out, uint32(2001), mobileSide, anchorSide
		if !test.out {
			by, in, from, to = ofAnchor.Out, 2000, anchorSide, mobileSide
		}
		if b, err := from.ProtectBy(nil, whole(t, test.packet), in); !errors.Is(err, ErrSelector) || b != nil {
			t.Errorf("%s is sent: %x (%v)", name, b, err)
		}
		if r, err := to.Unprotect(seal(by, test.packet)); !errors.Is(err, ErrSelector) {
			t.Errorf("%s is taken: %+v (%v)", name, r, err)
		}
	}
	for name, r := range map[string]struct {
		to     *Policies
		sealed []byte
	}{
		"a home agent's acknowledgement by an anchor": {mobileSide, seal(ofAnchor.Out, ofHomeAgent)},
		"the update of a mobile by a visitor":         {anchorSide, seal(ofMobile.Out, atHome)},
		"a local update by a mobile of a home agent":  {anchorSide, seal(homeOfMobile.Out, localUpdate(rcoa))},
		"one to another node": {anchorSide, seal(ofMobile.Out, change(localUpdate(netip.MustParseAddr("2001:db8:21::7")), func(p *mip6.Packet) {
			p.Destination = otherAnchor
		}))},
	} {
		if got, err := r.to.Unprotect(r.sealed); !errors.Is(err, ErrSelector) {
			t.Errorf("%s is taken: %+v (%v)", name, got, err)
		}
	}
	// Whose association is gone sends nothing, and that of a home address is none of these.
	for _, spi := range []uint32{0, 9, 1001, 1003, 2000} {
		if b, err := mobileSide.ProtectBy(nil, whole(t, localUpdate(rcoa)), spi); !errors.Is(err, ErrNoAssociation) || b != nil {
			t.Errorf("SPI %d: %x (%v)", spi, b, err)
		}
	}
	if b, err := mobileSide.ProtectBy(nil, []byte("no packet"), 2001); err == nil || b != nil {
		t.Errorf("no packet: %x", b)
	}
	// An anchor may have visitors without ESP: what came without is as it came.
	for name, packet := range map[string][]byte{"update": whole(t, localUpdate(rcoa)), "acknowledgement": whole(t, localAnswer(rcoa))} {
		for _, p := range []*Policies{mobileSide, anchorSide} {
			if r, err := p.Unprotect(packet); err != nil || r.Regional || r.Protected || r.SPI != 0 || !bytes.Equal(r.Packet, packet) {
				t.Errorf("%s without ESP: %+v (%v)", name, r, err)
			}
			if b, protected, err := p.Protect(nil, packet); err != nil || protected || !bytes.Equal(b, packet) {
				t.Errorf("%s: protected %v (%v)", name, protected, err)
			}
		}
	}
}

// Keys are exchanged; a window lives on as long as its association; SPIs are those of the
// whole node.
func TestReplaceAnchors(t *testing.T) {
	ofMobile, ofAnchor := anchorPolicies(AESCBCSHA256, 128, 2000)
	ofAnchor.In.Window = 64
	mobileSide, anchorSide := databaseWith(t, nil, ofMobile), databaseWith(t, nil, ofAnchor)
	if spis := anchorSide.SPIs(); !slices.Equal(spis, []uint32{2000}) || anchorSide.Empty() || !anchorSide.Has(2000) {
		t.Errorf("SPIs %d", spis)
	}
	sealed := func(p *Policies) []byte {
		b, err := p.ProtectBy(nil, whole(t, localUpdate(rcoa)), 2001)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	recorded := sealed(mobileSide)
	if _, err := anchorSide.Unprotect(recorded); err != nil {
		t.Fatal(err)
	}
	replace := func(p *Policies, home []Policy, all ...AnchorPolicy) {
		t.Helper()
		if err := p.Replace(home, all...); err != nil {
			t.Fatal(err)
		}
	}
	_, other := anchorPolicies(AESCBCSHA256, 128, 3000)
	replace(anchorSide, nil, other, ofAnchor)
	if _, err := anchorSide.Unprotect(recorded); !errors.Is(err, ErrReplay) {
		t.Errorf("replayed after a change of others: %v", err)
	}
	fresh := ofAnchor
	fresh.In.Key = key(AESCBCSHA256, 128, 77)
	replace(anchorSide, nil, fresh)
	if _, err := anchorSide.Unprotect(sealed(mobileSide)); !errors.Is(err, ErrIntegrity) {
		t.Errorf("under the former key: %v", err)
	}
	ofMobile.Out.Key = fresh.In.Key
	replace(mobileSide, nil, ofMobile)
	if r, err := anchorSide.Unprotect(sealed(mobileSide)); err != nil || r.SPI != 2000 {
		t.Errorf("under the new key: %+v (%v)", r, err)
	}
	replace(anchorSide, nil)
	if _, err := anchorSide.ProtectBy(nil, whole(t, localAnswer(rcoa)), 2000); !errors.Is(err, ErrNoAssociation) || !anchorSide.Empty() {
		t.Errorf("an answer without its association: %v", err)
	}

	_, homeOfAgent := policies(home, AESCBCSHA256, 128, 1000)
	_, gcm := anchorPolicies(AESGCM, 128, 2000)
	for name, change := range map[string]func(*AnchorPolicy){
		"no side":            func(p *AnchorPolicy) { p.Side = 0 },
		"no anchors":         func(p *AnchorPolicy) { p.Anchors = nil },
		"no prefix":          func(p *AnchorPolicy) { p.Anchors = []netip.Prefix{{}} },
		"prefix of IPv4":     func(p *AnchorPolicy) { p.Anchors = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} },
		"SPI of a mobile":    func(p *AnchorPolicy) { p.In.SPI = 1000 },
		"SPI of another":     func(p *AnchorPolicy) { p.In.SPI = 3000 },
		"window to send":     func(p *AnchorPolicy) { p.Out.Window = 64 },
		"reserved SPI":       func(p *AnchorPolicy) { p.Out.SPI = 255 },
		"no key":             func(p *AnchorPolicy) { p.In.Key = "" },
		"one key, both ways": func(p *AnchorPolicy) { *p = gcm; p.In.Key = p.Out.Key },
	} {
		p := ofAnchor
		change(&p)
		if err := NewPolicies(counting()).Replace([]Policy{homeOfAgent}, other, p); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
