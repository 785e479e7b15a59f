package ike

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"roam6/internal/esp"
	"roam6/internal/xfrm"
	"roam6/overlay"
)

// payloadEnd is the kernel's part of one of the two.
type payloadEnd struct {
	*station
	manager *xfrm.Manager
	side    overlay.Side
}

func newPayloadEnd(t *testing.T, s *station, side overlay.Side) *payloadEnd {
	t.Helper()
	e := &payloadEnd{station: s, side: side}
	s.space.Do(func() (err error) {
		e.manager, err = xfrm.Open(xfrm.Options{Mark: 0x62750000, Mask: 0xffff0000})
		return err
	})
	t.Cleanup(func() { e.manager.Close() })
	return e
}

// use puts associations in force, for a care-of address.
func (e *payloadEnd) use(n esp.Negotiated, careOf netip.Addr) {
	e.t.Helper()
	if err := e.manager.SetPolicies([]xfrm.Policy{{Home: testHome, Agent: testAgent, Side: e.side, Out: n.PayloadOut, In: n.PayloadIn, Negotiated: true}}); err != nil {
		e.t.Fatal(err)
	}
	path := overlay.Path{Local: careOf, Remote: testAgent}
	if e.side == overlay.AgentSide {
		path.Local, path.Remote = path.Remote, path.Local
	}
	if err := e.manager.Set(overlay.Key{Home: testHome, Side: e.side}, []overlay.Path{path}); err != nil {
		e.t.Fatal(err)
	}
}

// has reports whether the kernel has an association to an address that is ours: from any
// address, or from the home agent.
func (e *payloadEnd) has(to netip.Addr, a esp.Association) (ours bool) {
	e.space.Do(func() error {
		state, err := netlink.XfrmStateGet(&netlink.XfrmState{Dst: to.AsSlice(), Proto: netlink.XFRM_PROTO_ESP, Spi: int(a.SPI)})
		ours = err == nil && uint32(state.Reqid)&0xffff0000 == overlay.SealRequest && (state.Src.IsUnspecified() || state.Src.Equal(testAgent.AsSlice())) &&
			state.Crypt != nil && state.Auth != nil && string(state.Crypt.Key)+string(state.Auth.Key) == string(a.Key)
		return nil
	})
	return ours
}

// RFC 4877 §4.3, §7: keys for payload are negotiated, the kernel has the associations with
// them for the care-of address of the moment, and charon, whose own they replace, touches
// them neither when MOBIKE moves IKE, nor do its rekeying and its end leave any behind.
func TestCharonPayload(t *testing.T) {
	p := newPair(t)
	const psk = Secret("a secret of two, 0123456789abcdef")
	mobile, agent := peers(psk)
	mobile.Payload, agent.Payload = true, true
	p.agent.keep(agent)
	p.mobile.keep(mobile)
	payload := func(n esp.Negotiated) bool { return n.PayloadComplete() }
	first := p.agreed("keys", payload)
	if first.PayloadOut.Algorithm != esp.AESCBCSHA256 || first.Out.Algorithm != esp.AESGCM || first.PayloadOut.Key == first.Out.Key {
		t.Errorf("negotiated %+v", first)
	}
	m, a := newPayloadEnd(t, p.mobile, overlay.MobileSide), newPayloadEnd(t, p.agent, overlay.AgentSide)
	// inForce checks associations that have just been used by all, of which in is what the
	// mobile sees: its last care-of address comes last.
	inForce := func(what string, n esp.Negotiated, careOf ...netip.Addr) {
		t.Helper()
		if !m.has(testAgent, *n.PayloadOut) || !a.has(testAgent, *n.PayloadOut) {
			t.Errorf("%s: what the mobile sends by is not the kernel's", what)
		}
		for _, c := range careOf {
			if !m.has(c, n.PayloadIn[0]) || !a.has(c, n.PayloadIn[0]) {
				t.Errorf("%s: what it receives by at %v is not the kernel's", what, c)
			}
		}
	}
	m.use(first, testCareOf[0])
	a.use(p.agent.negotiated(), testCareOf[0])
	inForce("at the beginning", first, testCareOf[0])

	p.attach(1)
	m.use(first, testCareOf[1])
	a.use(p.agent.negotiated(), testCareOf[1])
	eventually(t, "IKE follows the care-of address", func() bool {
		return p.mobile.ikeAt(func(a IKEAssociation) netip.Addr { return a.Local }, testCareOf[1]) && p.agent.ikeAt(func(a IKEAssociation) netip.Addr { return a.Remote }, testCareOf[1])
	})
	if moved := p.agreed("keys after a move", payload); !same(moved, first) {
		t.Errorf("a move has changed the associations: %+v, were %+v", moved, first)
	}
	inForce("after a move", first, testCareOf[1])

	p.mobile.command("rekey", "child", childPayload)
	rekeyed := p.agreed("other keys", func(n esp.Negotiated) bool { return payload(n) && n.PayloadOut.SPI != first.PayloadOut.SPI })
	if rekeyed.Out.SPI != first.Out.SPI || rekeyed.PayloadOut.Key == first.PayloadOut.Key {
		t.Errorf("not those for payload were replaced: %+v, were %+v", rekeyed, first)
	}
	a.use(p.agent.negotiated(), testCareOf[1])
	m.use(rekeyed, testCareOf[1])
	inForce("when replaced", rekeyed, testCareOf[1])
	eventually(t, "those of before are no more received by", func() bool {
		return len(p.mobile.negotiated().PayloadIn) == 1 && len(p.agent.negotiated().PayloadIn) == 1
	})
	m.use(p.mobile.negotiated(), testCareOf[1])
	a.use(p.agent.negotiated(), testCareOf[1])
	inForce("when the others have gone", rekeyed, testCareOf[1])
	for _, e := range []*payloadEnd{m, a} {
		if e.has(testAgent, *first.PayloadOut) || e.has(testCareOf[1], first.PayloadIn[0]) {
			t.Errorf("side %d: those of before are the kernel's still", e.side)
		}
	}
	p.silent(psk, first, rekeyed)
}
