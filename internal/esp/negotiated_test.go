package esp

import (
	"bytes"
	"errors"
	"testing"

	"roam6/mip6"
	"roam6/overlay"
)

// exchanged are the policies of a mobile and its agent with keys that IKE has made.
func exchanged(first uint32) (ofMobile, ofAgent Policy) {
	m, a := policies(home, AESGCM, 128, first)
	of := func(p Policy) Policy {
		in, tunnelIn := p.In, *p.TunnelIn
		in.Window, tunnelIn.Window = 128, 128
		return Policy{Home: p.Home, Agent: p.Agent, Side: p.Side,
			Negotiated: &Negotiated{Out: &p.Out, TunnelOut: p.TunnelOut, In: []Association{in}, TunnelIn: []Association{tunnelIn}}}
	}
	return of(m), of(a)
}

func updateOf(t *testing.T) []byte {
	return whole(t, mip6.Packet{Source: careOf, Destination: agent, HomeAddress: home, Message: mip6.BindingUpdate{
		Sequence: 7, Flags: mip6.UpdateHome, Options: []mip6.Option{mip6.AlternateCareOf{Addr: careOf}}}})
}

// RFC 4877 §7.3, RFC 4301 §5.1: where a key exchange is to make the associations, and has
// not, nothing is sent that is for them, and nothing taken.
func TestNegotiatedWithoutKeys(t *testing.T) {
	for _, side := range []overlay.Side{overlay.MobileSide, overlay.AgentSide} {
		p := database(t, Policy{Home: home, Agent: agent, Side: side, Negotiated: &Negotiated{}})
		if p.Empty() || !p.Tunnelled(home, agent, side) {
			t.Errorf("%v: there is no policy", side)
		}
		update, answer := updateOf(t), whole(t, mip6.Packet{Source: agent, Destination: careOf, RouteHome: home, Message: mip6.BindingAcknowledgement{Sequence: 7}})
		sent, taken := update, answer
		if side == overlay.AgentSide {
			sent, taken = answer, update
		}
		if out, _, err := p.Protect(nil, sent); !errors.Is(err, ErrNoAssociation) || out != nil {
			t.Errorf("%v: sent %x, %v", side, out, err)
		}
		if _, err := p.Unprotect(taken); !errors.Is(err, ErrUnprotected) {
			t.Errorf("%v: taken without ESP: %v", side, err)
		}
		if _, err := p.Encapsulate(nil, start, overlay.Key{Home: home, Side: side}, careOf, agent, update); !errors.Is(err, ErrNoAssociation) {
			t.Errorf("%v: home test: %v", side, err)
		}
	}
}

// RFC 7296 §2.8: when associations are replaced, those of before still receive as long as
// they are there, and the anti-replay windows of all stay.
func TestNegotiatedReplaced(t *testing.T) {
	ofMobile, ofAgent := exchanged(1000)
	m, a := database(t, ofMobile), database(t, ofAgent)
	seal := func() []byte {
		t.Helper()
		out, protected, err := m.Protect(nil, updateOf(t))
		if err != nil || !protected {
			t.Fatalf("protected %v (%v)", protected, err)
		}
		return bytes.Clone(out)
	}
	takes := func(what string, packet []byte, want error) {
		t.Helper()
		if r, err := a.Unprotect(packet); !errors.Is(err, want) || want == nil && !r.Protected {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	first, late := seal(), seal()
	takes("the first", first, nil)
	takes("again", first, ErrReplay)

	newMobile, newAgent := exchanged(2000)
	newAgent.Negotiated.In = append(newAgent.Negotiated.In, ofAgent.Negotiated.In...)
	for p, policy := range map[*Policies]Policy{m: newMobile, a: newAgent} {
		if err := p.Replace([]Policy{policy}); err != nil {
			t.Fatal(err)
		}
	}
	takes("by the one of before", late, nil)
	takes("that one again", late, ErrReplay)
	takes("by the new one", seal(), nil)

	newAgent.Negotiated.In = newAgent.Negotiated.In[:1]
	if err := a.Replace([]Policy{newAgent}); err != nil {
		t.Fatal(err)
	}
	takes("by one that is gone", late, ErrUnknownSPI)
}

// Keys are either configured or negotiated.
func TestNegotiatedAndConfigured(t *testing.T) {
	p, _ := policies(home, AESCBCSHA256, 128, 1000)
	p.Negotiated = &Negotiated{}
	if err := NewPolicies(counting()).Replace([]Policy{p}); !errors.Is(err, ErrInvalid) {
		t.Errorf("both: %v", err)
	}
}
