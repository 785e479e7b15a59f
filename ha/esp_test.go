package ha

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// RFC 3776 §4.1, §4.3, RFC 4877 §4: of a mobile that uses IPsec nothing is taken
// that did not come under it, the care-of address is one that ESP protects, and no
// other authentication is needed; sequence numbers count as ever.
//
// Covers: H2, H1.
func TestRegistrationUnderIPsec(t *testing.T) {
	c := testConfig()
	c.DAD = false
	c.Mobiles[2].SA, c.Mobiles[2].ESP = nil, true // n
	w := newWorld(t, c)
	w.run(time.Second)
	receive := func(protected bool, r request) []role.Action {
		t.Helper()
		r.unsealed = r.sa == nil
		w.alternate = r.alternate
		return w.handle(role.MessageReceived{Link: 1, Packet: r.packet(t), Protected: protected})
	}
	good := request{home: homeN, source: careOf1, alternate: careOf1, sequence: 1, lifetime: time.Minute, flags: flagsNode}
	for _, test := range []struct {
		name      string
		protected bool
		change    func(*request)
	}{
		{"without ESP", false, func(*request) {}},
		{"without ESP, with an authenticator", false, func(r *request) { r.sa = association(homeN) }},
		{"care-of address not protected", true, func(r *request) { r.alternate = netip.Addr{} }},
		{"authenticator that nobody can verify", true, func(r *request) { r.sa = association(homeN) }},
		{"de-registration without ESP", false, func(r *request) { r.lifetime = 0 }},
		{"the same at home", false, func(r *request) { r.lifetime, r.atHome, r.alternate = 0, true, netip.Addr{} }},
	} {
		r := good
		test.change(&r)
		actions := receive(test.protected, r)
		if got := drops(actions); !slices.Equal(got, []role.DropReason{role.DropUnauthenticated}) || len(acks(actions)) != 0 || w.entry(homeN) != nil {
			t.Errorf("%s: drops %v, answers %v", test.name, got, acks(actions))
		}
	}
	if ba := onlyAck(t, receive(true, good)); ba.Status != mip6.StatusAccepted || len(mip6.All[mip6.Authentication](ba)) != 0 {
		t.Fatalf("answer %+v", ba)
	}
	if e := w.entry(homeN); e == nil || e.CareOf() != careOf1 {
		t.Errorf("binding %+v", e)
	}
	// Recorded and sent again, ESP and all (RFC 4877 §4.3).
	if got := drops(receive(true, good)); !slices.Equal(got, []role.DropReason{role.DropReplay}) {
		t.Errorf("replay: %v", got)
	}
	solicitation := mip6.ICMPPacket{Source: careOf1, Destination: agentAddr, HomeAddress: homeN, Message: mip6.PrefixSolicitation{Identifier: 5}}
	if got := drops(w.handle(role.ICMPReceived{Link: 1, Packet: solicitation})); !slices.Equal(got, []role.DropReason{role.DropUnauthenticated}) {
		t.Errorf("solicitation without ESP: %v", got)
	}
	if got := drops(w.handle(role.ICMPReceived{Link: 1, Packet: solicitation, Protected: true})); len(got) != 0 {
		t.Errorf("solicitation: %v", got)
	}
	if ba := onlyAck(t, receive(true, request{home: homeN, sequence: 2, flags: flagsNode, atHome: true})); ba.Status != mip6.StatusAccepted || w.entry(homeN) != nil && w.entry(homeN).CareOf() == careOf1 {
		t.Errorf("de-registration: %+v", ba)
	}
	// The others are as before.
	w.registered(request{home: homeA, source: careOf2, sequence: 1, lifetime: time.Minute, flags: flagsMR})
}

// With both, both are asked for.
func TestBothAuthentications(t *testing.T) {
	c := testConfig()
	c.DAD = false
	c.Mobiles[2].ESP = true
	w := newWorld(t, c)
	w.run(time.Second)
	r := request{home: homeN, source: careOf1, alternate: careOf1, sequence: 1, lifetime: time.Minute, flags: flagsNode}
	w.alternate = careOf1
	receive := func(protected, sealed bool) []role.Action {
		r.unsealed = !sealed
		return w.handle(role.MessageReceived{Link: 1, Packet: r.packet(t), Protected: protected})
	}
	for _, with := range [][2]bool{{false, false}, {false, true}, {true, false}} {
		if got := drops(receive(with[0], with[1])); !slices.Equal(got, []role.DropReason{role.DropUnauthenticated}) {
			t.Errorf("ESP %v, authenticator %v: %v", with[0], with[1], got)
		}
	}
	if ba := onlyAck(t, receive(true, true)); ba.Status != mip6.StatusAccepted {
		t.Errorf("both: %+v", ba)
	}
}
