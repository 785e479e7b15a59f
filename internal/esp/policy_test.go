package esp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/limit"
	"roam6/mip6"
	"roam6/overlay"
)

var (
	home       = netip.MustParseAddr("2001:db8:10::100")
	otherHome  = netip.MustParseAddr("2001:db8:10::101")
	otherAgent = netip.MustParseAddr("2001:db8:11::1")
	agent      = netip.MustParseAddr("2001:db8:10::1")
	careOf     = netip.MustParseAddr("2001:db8:a1::7")
	newCareOf  = netip.MustParseAddr("2001:db8:a2::7")
	peer       = netip.MustParseAddr("2001:db8:c::9")
	start      = time.Unix(1_700_000_000, 0)
)

// key is keying material of its own for each number.
func key(a Algorithm, bits int, n uint32) Key {
	return Key(strings.Repeat(string([]byte{byte(n), byte(n >> 8)}), a.KeyLengths()[bits/256]/2))
}

// policies are those of a mobile and of its agent, who call each other by SPIs from
// first on.
func policies(mobile netip.Addr, a Algorithm, bits int, first uint32) (ofMobile, ofAgent Policy) {
	sa := func(n uint32) Association {
		return Association{SPI: first + n, Algorithm: a, Key: key(a, bits, first+n)}
	}
	toAgent, toMobile, tunnelToAgent, tunnelToMobile := sa(0), sa(1), sa(2), sa(3)
	ofMobile = Policy{Home: mobile, Agent: agent, Side: overlay.MobileSide, Out: toAgent, In: toMobile, TunnelOut: &tunnelToAgent, TunnelIn: &tunnelToMobile}
	ofAgent = Policy{Home: mobile, Agent: agent, Side: overlay.AgentSide, Out: toMobile, In: toAgent, TunnelOut: &tunnelToMobile, TunnelIn: &tunnelToAgent}
	return ofMobile, ofAgent
}

func database(t testing.TB, all ...Policy) *Policies {
	t.Helper()
	p := NewPolicies(counting())
	if err := p.Replace(all); err != nil {
		t.Fatal(err)
	}
	return p
}

// appender is a message that can be made a packet.
type appender interface {
	Append([]byte) ([]byte, error)
}

func whole(t testing.TB, p appender) []byte {
	t.Helper()
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func update() mip6.Packet {
	return mip6.Packet{Source: careOf, Destination: agent, HomeAddress: home, Message: mip6.BindingUpdate{
		Sequence: 7, Flags: mip6.UpdateAcknowledge | mip6.UpdateHome, Lifetime: 150, Options: []mip6.Option{mip6.AlternateCareOf{Addr: careOf}},
	}}
}

func acknowledgement() mip6.Packet {
	return mip6.Packet{Source: agent, Destination: careOf, RouteHome: home, Message: mip6.BindingAcknowledgement{Sequence: 7, Lifetime: 149}}
}

func homeTestInit() mip6.Packet {
	return mip6.Packet{Source: home, Destination: peer, Message: mip6.HomeTestInit{Cookie: mip6.Cookie{1, 2, 3}}}
}

func homeTest() mip6.Packet {
	return mip6.Packet{Source: peer, Destination: home, Message: mip6.HomeTest{NonceIndex: 3, Cookie: mip6.Cookie{1, 2, 3}, Token: mip6.KeygenToken{4}}}
}

// headers are the protocols of a packet's headers up to ESP or its payload.
func headers(packet []byte) []uint8 {
	next, at := packet[6], 40
	all := []uint8{next}
	for next == mip6.ProtocolDestination || next == mip6.ProtocolRouting {
		next, at = packet[at], at+8+int(packet[at+1])*8
		all = append(all, next)
	}
	return all
}

// RFC 3776 §3.1, §3.3 and RFC 4877 §6.1, §6.3: what is protected, between whom, and
// where ESP stands; the other end has it back octet by octet.
//
// Covers: H1.
func TestTransportMode(t *testing.T) {
	const options, routing, esp = mip6.ProtocolDestination, mip6.ProtocolRouting, mip6.ProtocolESP
	dereg := mip6.Packet{Source: home, Destination: agent, Message: mip6.BindingUpdate{Sequence: 8, Flags: mip6.UpdateAcknowledge | mip6.UpdateHome}}
	atHome := mip6.Packet{Source: agent, Destination: home, Message: mip6.BindingAcknowledgement{Sequence: 8}}
	for _, a := range []Algorithm{AESCBCSHA256, AESGCM} {
		for _, bits := range []int{128, 256} {
			ofMobile, ofAgent := policies(home, a, bits, 1000)
			mobileSide, agentSide := database(t, ofMobile), database(t, ofAgent)
			for _, test := range []struct {
				name     string
				packet   appender
				from, to *Policies
				headers  []uint8
			}{
				{"binding update", update(), mobileSide, agentSide, []uint8{options, esp}},
				{"binding acknowledgement", acknowledgement(), agentSide, mobileSide, []uint8{routing, esp}},
				{"de-registration at home", dereg, mobileSide, agentSide, []uint8{esp}},
				{"its acknowledgement", atHome, agentSide, mobileSide, []uint8{esp}},
				{"prefix solicitation", mip6.ICMPPacket{Source: careOf, Destination: agent, HomeAddress: home, Message: mip6.PrefixSolicitation{Identifier: 78}},
					mobileSide, agentSide, []uint8{options, esp}},
				{"prefix advertisement", mip6.ICMPPacket{Source: agent, Destination: careOf, RouteHome: home, Message: mip6.PrefixAdvertisement{Identifier: 78}},
					agentSide, mobileSide, []uint8{routing, esp}},
			} {
				plain := whole(t, test.packet)
				given := slices.Clone(plain)
				sealed, protected, err := test.from.Protect(nil, plain)
				if err != nil || !protected || !bytes.Equal(plain, given) {
					t.Errorf("%v %d: %s: protected %v (%v)", a, bits, test.name, protected, err)
					continue
				}
				if got := headers(sealed); !slices.Equal(got, test.headers) || int(binary.BigEndian.Uint16(sealed[4:])) != len(sealed)-40 {
					t.Errorf("%v %d: %s: headers %v, want %v", a, bits, test.name, got, test.headers)
				}
				if e, err := mip6.ParseEnvelope(plain); err != nil || bytes.Contains(sealed, e.Payload) {
					t.Errorf("%v %d: %s can be read", a, bits, test.name)
				}
				r, err := test.to.Unprotect(sealed)
				if err != nil || !r.Protected || r.Tunnel != nil || !bytes.Equal(r.Packet, plain) {
					t.Errorf("%v %d: %s: came out as %x, want %x (%v)", a, bits, test.name, r.Packet, plain, err)
				}
				if r, err := test.to.Unprotect(plain); !errors.Is(err, ErrUnprotected) || r.Packet != nil {
					t.Errorf("%v %d: %s without ESP: %v", a, bits, test.name, err)
				}
				if _, err := test.from.Unprotect(sealed); !errors.Is(err, ErrForeign) {
					t.Errorf("%v %d: %s, sent back: %v", a, bits, test.name, err)
				}
			}
		}
	}
}

// Signalling by an association that is not there is told from ESP that is none of ours,
// by its addresses: of an unknown mobile too, since its section is what may be missing.
func TestUnknownSPI(t *testing.T) {
	_, ofAgent := policies(home, AESCBCSHA256, 128, 1000)
	ofMobile, _ := policies(home, AESCBCSHA256, 128, 3000)
	ofMobile.Agent = otherAgent
	toAnchor, ofAnchor := anchorPolicies(AESCBCSHA256, 128, 2000)
	toAnchor.In.SPI, toAnchor.Out.SPI = 4000, 4001
	node := databaseWith(t, []Policy{ofAgent, ofMobile}, ofAnchor)
	visitor := databaseWith(t, nil, toAnchor)
	for _, test := range []struct {
		name   string
		at     *Policies
		packet mip6.Packet
		want   error
	}{
		{"to the home agent", node, mip6.Packet{Source: careOf, Destination: agent, HomeAddress: home}, ErrUnknownSPI},
		{"to the home agent, of a mobile without a policy", node, mip6.Packet{Source: careOf, Destination: agent, HomeAddress: otherHome}, ErrUnknownSPI},
		{"to a correspondent", node, mip6.Packet{Source: careOf, Destination: peer, HomeAddress: home}, ErrForeign},
		{"to the home agent, of nobody", node, mip6.Packet{Source: careOf, Destination: agent}, ErrForeign},
		{"to the mobile", node, mip6.Packet{Source: otherAgent, Destination: careOf, RouteHome: home}, ErrUnknownSPI},
		{"to the mobile, of a correspondent", node, mip6.Packet{Source: peer, Destination: careOf, RouteHome: home}, ErrForeign},
		{"to another mobile", node, mip6.Packet{Source: otherAgent, Destination: careOf, RouteHome: otherHome}, ErrForeign},
		{"to the mobile at home", node, mip6.Packet{Source: otherAgent, Destination: home}, ErrForeign},
		{"to the anchor", node, mip6.Packet{Source: careOf, Destination: anchor, HomeAddress: rcoa}, ErrUnknownSPI},
		{"to the anchor, of an address that is not regional", node, mip6.Packet{Source: careOf, Destination: anchor, HomeAddress: home}, ErrForeign},
		{"to another anchor", node, mip6.Packet{Source: careOf, Destination: otherAnchor, HomeAddress: rcoa}, ErrForeign},
		{"of the anchor", visitor, mip6.Packet{Source: anchor, Destination: careOf, RouteHome: rcoa}, ErrUnknownSPI},
		{"of another one that the key is for", visitor, mip6.Packet{Source: otherAnchor, Destination: careOf, RouteHome: otherAnchor.Next()}, ErrUnknownSPI},
		{"of one that it is not for", visitor, mip6.Packet{Source: agent, Destination: careOf, RouteHome: agent.Next()}, ErrForeign},
		{"to an anchor, at its visitor", visitor, mip6.Packet{Source: careOf, Destination: anchor, HomeAddress: rcoa}, ErrForeign},
		{"without policies", NewPolicies(counting()), mip6.Packet{Source: careOf, Destination: agent, HomeAddress: home}, nil},
	} {
		test.packet.Message = mip6.BindingUpdate{}
		e, err := mip6.ParseEnvelope(whole(t, test.packet))
		if err != nil {
			t.Fatal(err)
		}
		out, err := NewOutbound(Association{SPI: 999, Algorithm: AESCBCSHA256, Key: key(AESCBCSHA256, 128, 999)}, counting())
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := seal(nil, &e, out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := test.at.Unprotect(sealed); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// RFC 4877 §6.1: what no policy is about passes as it is, both ways.
func TestNotOurBusiness(t *testing.T) {
	ofMobile, ofAgent := policies(home, AESCBCSHA256, 128, 1000)
	both := []*Policies{database(t, ofMobile), database(t, ofAgent), NewPolicies(counting())}
	data := append(whole(t, update())[:40], "data"...)
	data[6], data[4], data[5] = 17, 0, 4
	other := acknowledgement()
	other.RouteHome = otherHome
	for name, packet := range map[string][]byte{
		"update to a correspondent": whole(t, mip6.Packet{Source: careOf, Destination: peer, HomeAddress: home, Message: update().Message}),
		"acknowledgement of one":    whole(t, mip6.Packet{Source: peer, Destination: careOf, RouteHome: home, Message: acknowledgement().Message}),
		"of another mobile":         whole(t, other),
		"care-of test init":         whole(t, mip6.Packet{Source: careOf, Destination: agent, Message: mip6.CareOfTestInit{}}),
		"refresh request":           whole(t, mip6.Packet{Source: agent, Destination: careOf, RouteHome: home, Message: mip6.BindingRefreshRequest{}}),
		"discovery":                 whole(t, mip6.ICMPPacket{Source: careOf, Destination: agent, Message: mip6.HomeAgentRequest{}}),
		"data":                      data,
		"cut off":                   whole(t, update())[:50],
		"nothing":                   nil,
	} {
		for i, p := range both {
			if got, protected, err := p.Protect(nil, packet); err != nil || protected || !bytes.Equal(got, packet) {
				t.Errorf("%s: database %d protects: %v (%v)", name, i, protected, err)
			}
			if r, err := p.Unprotect(packet); err != nil || r.Protected || !bytes.Equal(r.Packet, packet) {
				t.Errorf("%s: database %d: %+v (%v)", name, i, r, err)
			}
		}
	}
}

// RFC 3776 §4.2, RFC 4877 §4.2: a mobile cannot use its security association on
// behalf of another, wherever it puts the other's address.
//
// Covers: H1, Attack: BU spoofing.
func TestAssociationIsBoundToTheHomeAddress(t *testing.T) {
	ofMobile, ofAgent := policies(home, AESCBCSHA256, 128, 1000)
	_, ofOther := policies(otherHome, AESCBCSHA256, 128, 2000)
	agentSide := database(t, ofAgent, ofOther)
	// It seals whatever it likes by what it has.
	seal := func(p mip6.Packet, next uint8, payload []byte) []byte {
		out, err := NewOutbound(ofMobile.Out, counting())
		if err != nil {
			t.Fatal(err)
		}
		e, err := mip6.ParseEnvelope(whole(t, p))
		if err != nil {
			t.Fatal(err)
		}
		if payload == nil {
			payload = e.Payload
		}
		b, err := out.Seal(e.AppendHeaders(nil, mip6.ProtocolESP), next, payload)
		if err != nil {
			t.Fatal(err)
		}
		return b[:len(b):len(b)]
	}
	finish := func(b []byte) []byte {
		if err := mip6.SetPayloadLength(b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	const mobility = mip6.ProtocolMobility
	claimed := update()
	claimed.HomeAddress = otherHome
	asSource := update()
	asSource.HomeAddress, asSource.Source = netip.Addr{}, otherHome
	elsewhere := update()
	elsewhere.Destination = peer
	routed := update()
	routed.RouteHome = otherHome
	// A destination options header with the other's address, within ESP.
	inside := whole(t, claimed)[40:]
	for name, test := range map[string]struct {
		packet []byte
		want   error
	}{
		"its own":                             {finish(seal(update(), mobility, nil)), nil},
		"another's as the option":             {finish(seal(claimed, mobility, nil)), ErrSelector},
		"another's as the source":             {finish(seal(asSource, mobility, nil)), ErrSelector},
		"none":                                {finish(seal(mip6.Packet{Source: careOf, Destination: agent, Message: update().Message}, mobility, nil)), ErrSelector},
		"to somebody else":                    {finish(seal(elsewhere, mobility, nil)), ErrSelector},
		"by way of the agent":                 {finish(seal(routed, mobility, nil)), ErrSelector},
		"another's within ESP":                {finish(seal(update(), mip6.ProtocolDestination, inside)), ErrSelector},
		"another's within ESP, none before":   {finish(seal(mip6.Packet{Source: home, Destination: agent, Message: update().Message}, mip6.ProtocolDestination, inside)), ErrSelector},
		"a packet within ESP":                 {finish(seal(update(), mip6.ProtocolIPv6, whole(t, claimed))), ErrSelector},
		"data":                                {finish(seal(update(), 6, []byte("data"))), ErrSelector},
		"another's in place of what was sent": {nil, ErrSelector},
	} {
		if test.packet == nil {
			test.packet = finish(seal(update(), mobility, nil))
			copy(test.packet[bytes.Index(test.packet, home.AsSlice()):], otherHome.AsSlice())
		}
		r, err := agentSide.Unprotect(test.packet)
		if !errors.Is(err, test.want) || err != nil && r.Packet != nil {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// RFC 3776 §3.2, RFC 4877 §6.2, RFC 6275 §10.4.6: home test init and home test
// messages go in tunnel mode between the agent and the care-of address of the
// moment, by the same associations.
//
// Covers: H11.
func TestTunnelMode(t *testing.T) {
	for _, a := range []Algorithm{AESCBCSHA256, AESGCM} {
		ofMobile, ofAgent := policies(home, a, 128, 1000)
		mobileSide, agentSide := database(t, ofMobile), database(t, ofAgent)
		for _, at := range []netip.Addr{careOf, newCareOf, careOf} {
			for _, test := range []struct {
				name          string
				inner         mip6.Packet
				from, to      *Policies
				local, remote netip.Addr
				side, other   overlay.Side
			}{
				{"home test init", homeTestInit(), mobileSide, agentSide, at, agent, overlay.MobileSide, overlay.AgentSide},
				{"home test", homeTest(), agentSide, mobileSide, agent, at, overlay.AgentSide, overlay.MobileSide},
			} {
				inner := whole(t, test.inner)
				outer, err := test.from.Encapsulate(nil, start, overlay.Key{Home: home, Side: test.side}, test.local, test.remote, inner)
				if err != nil {
					t.Fatalf("%v: %s: %v", a, test.name, err)
				}
				if h := headers(outer); !slices.Equal(h, []uint8{mip6.ProtocolESP}) || bytes.Contains(outer, inner[40:]) ||
					netip.AddrFrom16([16]byte(outer[8:])) != test.local || netip.AddrFrom16([16]byte(outer[24:])) != test.remote {
					t.Errorf("%v: %s: %x", a, test.name, outer)
				}
				want := TunnelEnd{overlay.Key{Home: home, Side: test.other}, test.local, test.remote}
				r, err := test.to.Unprotect(outer)
				if err != nil || !r.Protected || r.Tunnel == nil || *r.Tunnel != want || !bytes.Equal(r.Packet, inner) {
					t.Errorf("%v: %s: %+v (%v)", a, test.name, r, err)
				}
				if _, _, err := test.from.Protect(nil, inner); err != nil {
					t.Errorf("%v: %s in transport mode: %v", a, test.name, err)
				}
			}
		}
	}
}

// RFC 4301 §5.2: the tunnel's associations carry nothing but the tests of their home
// address, from and to their agent.
func TestTunnelSelectors(t *testing.T) {
	ofMobile, ofAgent := policies(home, AESCBCSHA256, 128, 1000)
	mobileSide, agentSide := database(t, ofMobile), database(t, ofAgent)
	out, err := NewOutbound(*ofMobile.TunnelOut, counting())
	if err != nil {
		t.Fatal(err)
	}
	tunnelled := func(source, destination netip.Addr, next uint8, inner []byte) []byte {
		b, err := mip6.AppendTunnelHeader(nil, source, destination, mip6.ProtocolESP)
		if err == nil {
			b, err = out.Seal(b, next, inner)
		}
		if err == nil {
			err = mip6.SetPayloadLength(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	inner := whole(t, homeTestInit())
	of := func(p mip6.Packet) []byte { return whole(t, p) }
	fromOther, fromOtherOption, back := homeTestInit(), homeTestInit(), homeTest()
	fromOther.Source, fromOtherOption.HomeAddress = otherHome, otherHome
	data := append(slices.Clone(inner[:40]), "data"...)
	data[6], data[4], data[5] = 17, 0, 4
	for name, test := range map[string]struct {
		packet []byte
		want   error
	}{
		"right":                  {tunnelled(careOf, agent, 41, inner), nil},
		"with padding behind":    {tunnelled(careOf, agent, 41, append(slices.Clone(inner), make([]byte, 300)...)), nil},
		"not a tunnel":           {tunnelled(careOf, agent, 135, inner[40:]), ErrSelector},
		"to another agent":       {tunnelled(careOf, peer, 41, inner), ErrSelector},
		"from another mobile":    {tunnelled(careOf, agent, 41, of(fromOther)), ErrSelector},
		"with a home address":    {tunnelled(careOf, agent, 41, of(fromOtherOption)), ErrSelector},
		"of the other direction": {tunnelled(careOf, agent, 41, of(back)), ErrSelector},
		"an update":              {tunnelled(careOf, agent, 41, of(mip6.Packet{Source: home, Destination: agent, Message: update().Message})), ErrSelector},
		"data":                   {tunnelled(careOf, agent, 41, data), ErrSelector},
		"cut off":                {tunnelled(careOf, agent, 41, inner[:47]), ErrSelector},
		"nothing":                {tunnelled(careOf, agent, 41, nil), ErrSelector},
	} {
		r, err := agentSide.Unprotect(test.packet)
		if !errors.Is(err, test.want) || err == nil && !bytes.Equal(r.Packet, inner) {
			t.Errorf("%s: %x (%v), want %v", name, r.Packet, err, test.want)
		}
	}
	key := overlay.Key{Home: home, Side: overlay.MobileSide}
	for name, test := range map[string]struct {
		key    overlay.Key
		remote netip.Addr
		inner  []byte
		want   error
	}{
		"another's":     {overlay.Key{Home: otherHome, Side: overlay.MobileSide}, agent, inner, ErrNoAssociation},
		"other side":    {overlay.Key{Home: home, Side: overlay.AgentSide}, agent, inner, ErrNoAssociation},
		"another agent": {key, peer, inner, ErrNoAssociation},
		"a home test":   {key, agent, of(back), ErrSelector},
		"data":          {key, agent, data, ErrSelector},
	} {
		if b, err := mobileSide.Encapsulate([]byte("b"), start, test.key, careOf, test.remote, test.inner); !errors.Is(err, test.want) || string(b) != "b" {
			t.Errorf("encapsulate %s: %v, want %v", name, err, test.want)
		}
	}
	ofMobile.TunnelIn, ofMobile.TunnelOut = nil, nil
	if _, err := database(t, ofMobile).Encapsulate(nil, start, key, careOf, agent, inner); !errors.Is(err, ErrNoAssociation) {
		t.Errorf("without associations: %v", err)
	}
}

// Strangers that send home tests to a mobile cannot use up its sequence numbers.
func TestTestsAreLimited(t *testing.T) {
	_, ofAgent := policies(home, AESCBCSHA256, 128, 1000)
	p, inner := database(t, ofAgent), whole(t, homeTest())
	passed, now := 0, start
	for range 20000 {
		_, err := p.Encapsulate(nil, now, overlay.Key{Home: home, Side: overlay.AgentSide}, agent, careOf, inner)
		switch {
		case err == nil:
			passed++
		case !errors.Is(err, ErrTooMany):
			t.Fatal(err)
		}
		now = now.Add(20 * time.Microsecond)
	}
	if most := testRate.Burst + int(now.Sub(start)/testRate.Every) + 1; passed > most || passed < testRate.Burst {
		t.Errorf("%d of 20000 in %v, want at most %d", passed, now.Sub(start), most)
	}
	// The limit survives a change of the configuration.
	if err := p.Replace([]Policy{ofAgent}); err != nil {
		t.Fatal(err)
	}
	if p.table.Load().protected[endpoints{home, agent, overlay.AgentSide}].tests == (limit.Limiter{}) {
		t.Error("the limiter is forgotten")
	}
}

// A change of the configuration begins nothing anew that stays.
func TestReplace(t *testing.T) {
	ofMobile, ofAgent := policies(home, AESGCM, 128, 1000)
	ofAgent.In.Window = 64
	mobileSide, agentSide := database(t, ofMobile), database(t, ofAgent)
	exchange := func() []byte {
		b, _, err := mobileSide.Protect(nil, whole(t, update()))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := exchange()
	if _, err := agentSide.Unprotect(first); err != nil {
		t.Fatal(err)
	}
	_, ofOther := policies(otherHome, AESGCM, 128, 2000)
	if err := agentSide.Replace([]Policy{ofOther, ofAgent}); err != nil {
		t.Fatal(err)
	}
	if err := mobileSide.Replace([]Policy{ofMobile}); err != nil {
		t.Fatal(err)
	}
	if _, err := agentSide.Unprotect(first); !errors.Is(err, ErrReplay) {
		t.Errorf("the window is forgotten: %v", err)
	}
	second := exchange()
	if n := sequenceOf(second[64:]); n != 2 || bytes.Equal(first[72:80], second[72:80]) {
		t.Errorf("sequence number %d after the change, initialization vectors %x, %x", n, first[72:80], second[72:80])
	}
	if spis := agentSide.SPIs(); !slices.Equal(spis, []uint32{1000, 1002, 2000, 2002}) {
		t.Errorf("SPIs %d", spis)
	}
	if !agentSide.Tunnelled(home, agent, overlay.AgentSide) || agentSide.Tunnelled(home, agent, overlay.MobileSide) || agentSide.Empty() {
		t.Error("policies of another")
	}
	if err := agentSide.Replace(nil); err != nil || !agentSide.Empty() {
		t.Errorf("not empty: %v", err)
	}
	if _, err := agentSide.Unprotect(second); err != nil {
		t.Errorf("without policies ESP is somebody else's: %v", err)
	}
}

// RFC 3776 §4.2, RFC 4106 §10: policies that cannot be are refused, and what there
// was stays.
func TestReplaceRefuses(t *testing.T) {
	good, _ := policies(home, AESGCM, 128, 1000)
	for name, change := range map[string]func(p *Policy) []Policy{
		"no side":          func(p *Policy) []Policy { p.Side = 0; return nil },
		"correspondent":    func(p *Policy) []Policy { p.Side = overlay.CorrespondentSide; return nil },
		"no home address":  func(p *Policy) []Policy { p.Home = netip.Addr{}; return nil },
		"no agent":         func(p *Policy) []Policy { p.Agent = netip.Addr{}; return nil },
		"IPv4":             func(p *Policy) []Policy { p.Agent = netip.MustParseAddr("192.0.2.1"); return nil },
		"multicast":        func(p *Policy) []Policy { p.Home = netip.MustParseAddr("ff02::1"); return nil },
		"link-local":       func(p *Policy) []Policy { p.Home = netip.MustParseAddr("fe80::1"); return nil },
		"the same":         func(p *Policy) []Policy { p.Home = p.Agent; return nil },
		"half a tunnel":    func(p *Policy) []Policy { p.TunnelIn = nil; return nil },
		"bad key":          func(p *Policy) []Policy { p.Out.Key = "x"; return nil },
		"bad key in":       func(p *Policy) []Policy { p.In.Key = "x"; return nil },
		"window out":       func(p *Policy) []Policy { p.Out.Window = 64; return nil },
		"SPI twice":        func(p *Policy) []Policy { p.TunnelIn.SPI = p.In.SPI; return nil },
		"key twice":        func(p *Policy) []Policy { p.In.Key = p.Out.Key; return nil },
		"tunnel key twice": func(p *Policy) []Policy { p.TunnelOut.Key = p.Out.Key; return nil },
		"policy twice": func(p *Policy) []Policy {
			second, _ := policies(home, AESGCM, 128, 2000)
			return []Policy{second}
		},
		"SPI of another mobile": func(p *Policy) []Policy {
			second, _ := policies(otherHome, AESGCM, 256, 1000)
			return []Policy{second}
		},
	} {
		p := database(t, good)
		bad, _ := policies(home, AESGCM, 128, 1000)
		more := change(&bad)
		err := p.Replace(append([]Policy{bad}, more...))
		if !errors.Is(err, ErrInvalid) || strings.Contains(fmt.Sprint(err), string(good.Out.Key)) {
			t.Errorf("%s: %v", name, err)
		}
		if _, protected, err := p.Protect(nil, whole(t, update())); err != nil || !protected {
			t.Errorf("%s: afterwards nothing is protected: %v", name, err)
		}
	}
	// Once for each side, where a node is both, and CBC keys in both directions.
	mobile, ofAgent := policies(home, AESCBCSHA256, 128, 1000)
	if err := NewPolicies(counting()).Replace([]Policy{mobile, ofAgent}); err != nil {
		t.Error(err)
	}
}

// Whatever comes, nothing breaks and nothing is protected, and what a policy
// protects has no way round it.
func FuzzUnprotect(f *testing.F) {
	ofMobile, ofAgent := policies(home, AESCBCSHA256, 128, 1000)
	mobileSide := database(f, ofMobile)
	for _, p := range []mip6.Packet{update(), acknowledgement(), homeTestInit()} {
		plain := whole(f, p)
		sealed, _, err := mobileSide.Protect(nil, plain)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(plain)
		f.Add(sealed)
	}
	tunnelled, err := mobileSide.Encapsulate(nil, start, overlay.Key{Home: home, Side: overlay.MobileSide}, careOf, agent, whole(f, homeTestInit()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tunnelled)
	relayed, err := mobileSide.Enclose(nil, mobileKey, careOf, agent, datagram(547, 547))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(relayed)
	local, ofAnchor := anchorPolicies(AESCBCSHA256, 128, 2000)
	localSide := databaseWith(f, nil, local)
	sealed, err := localSide.ProtectBy(nil, whole(f, localUpdate(rcoa)), 2001)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	agentSide := databaseWith(f, []Policy{ofAgent}, ofAnchor)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := agentSide.Unprotect(b)
		switch {
		case err != nil:
			return
		case r.Datagram != nil:
			if d := r.Datagram; !r.Protected || d.From() != home || d.To() != agent || !isDHCP(d.UDP) {
				t.Errorf("by the association of %v: %+v", home, *d)
			}
		case r.Regional:
			p, err := mip6.ParsePacket(r.Packet)
			if u, ok := p.Message.(mip6.BindingUpdate); err == nil && (r.Protected || r.SPI != 2000 || p.To() != anchor || !ok || u.Flags&mip6.UpdateMAP == 0) {
				t.Errorf("by the association of a visitor: %+v", p)
			}
		case r.Protected:
			if p, err := mip6.ParsePacket(r.Packet); err == nil && p.From() != home {
				t.Errorf("from %v by the association of %v", p.From(), home)
			}
		default:
			p, err := mip6.ParsePacket(r.Packet)
			if err != nil {
				return
			}
			if _, ok := p.Message.(mip6.BindingUpdate); ok && p.From() == home && p.To() == agent {
				t.Errorf("an update without protection: %x", b)
			}
		}
	})
}
