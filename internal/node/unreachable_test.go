package node

import (
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// What the data plane reports about routes that lead nowhere comes to the
// correspondent, which ends the binding (RFC 6275 §9.3.4), and that comes back to
// the data plane.
//
// Covers: C1.
func TestRouteUnreachable(t *testing.T) {
	s, _ := bareShell(t, servingFile+"\nconfig correspondent\n")
	s.correspondent = newCorrespondentHost(s.config.Correspondent)
	wire := new(wire)
	s.signalling = wire
	// exchange delivers a message as it comes from the network, and returns the last
	// one that was sent.
	exchange := func(p mip6.Packet) mip6.Message {
		t.Helper()
		b, err := p.Append(nil)
		if err == nil {
			p, err = mip6.ParsePacket(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.dispatch(testNow, role.MessageReceived{Link: 2, Packet: p})
		if len(wire.packets) == 0 {
			t.Fatal("no answer")
		}
		answer, err := mip6.ParsePacket(wire.packets[len(wire.packets)-1])
		if err != nil {
			t.Fatal(err)
		}
		return answer.Message
	}
	hot, ok := exchange(mip6.Packet{Source: home, Destination: us, Message: mip6.HomeTestInit{Cookie: mip6.Cookie{1}}}).(mip6.HomeTest)
	cot, too := exchange(mip6.Packet{Source: careOf1, Destination: us, Message: mip6.CareOfTestInit{Cookie: mip6.Cookie{2}}}).(mip6.CareOfTest)
	if !ok || !too {
		t.Fatal("no answer to the tests")
	}
	sealed, err := mip6.NewBindingKey(hot.Token, cot.Token).SealAuthorization(mip6.BindingUpdate{
		Sequence: 1, Flags: mip6.UpdateAcknowledge, Lifetime: mip6.LifetimeFrom(100 * time.Second),
		Options: []mip6.Option{mip6.NonceIndices{Home: hot.NonceIndex, CareOf: cot.NonceIndex}},
	}, careOf1, us)
	if err != nil {
		t.Fatal(err)
	}
	if ba, ok := exchange(mip6.Packet{Source: careOf1, Destination: us, HomeAddress: home, Message: sealed}).(mip6.BindingAcknowledgement); !ok || !ba.Status.Accepted() {
		t.Fatalf("answered with %+v", ba)
	}
	changes := &s.plane.(*plane).changes
	if len(*changes) != 1 || (*changes)[0].Optimise == nil {
		t.Fatalf("changes %+v", *changes)
	}
	for i := range 3 {
		s.dispatch(testNow.Add(time.Duration(3*i)*time.Second), role.RouteUnreachable{Home: home, Peer: us, CareOf: careOf1})
	}
	want := overlay.Pair{Home: home, Peer: us, Side: overlay.CorrespondentSide}
	if len(*changes) != 2 || (*changes)[1].Deoptimise == nil || *(*changes)[1].Deoptimise != want {
		t.Errorf("changes %+v", *changes)
	}
}
