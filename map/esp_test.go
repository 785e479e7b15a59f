package anchor

import (
	"slices"
	"testing"
	"time"

	"roam6/internal/esp"
	"roam6/internal/role"
	"roam6/mip6"
)

// protection is the association by which a visitor's messages come.
func protection(n int) *esp.Association {
	key := make([]byte, 48)
	key[0], key[1] = byte(n), 7
	return &esp.Association{SPI: 3000 + uint32(n), Algorithm: esp.AESCBCSHA256, Key: esp.Key(key)}
}

// protectedConfig: alice has IPsec alone, bob has a key, carol has IPsec alone, dora both.
func protectedConfig() Config {
	const carol, dora = 3, 4
	c := testConfig()
	c.DAD = false
	c.Visitors[0].SA, c.Visitors[0].ESP = nil, protection(alice)
	c.Visitors = append(c.Visitors,
		Visitor{Name: "carol", ESP: protection(carol)}, Visitor{Name: "dora", SA: association(dora), ESP: protection(dora)})
	return c
}

// under is what comes in ESP by the association of a visitor; zero: without. A request
// has the care-of address that ESP protects.
func (w *world) under(visitor int, r request) []role.Action {
	w.t.Helper()
	e := role.MessageReceived{Link: 1, Packet: r.packet(w.t)}
	if visitor != 0 {
		e.SPI = protection(visitor).SPI
	}
	return w.handle(e)
}

func protected(visitor int, r request) request {
	r.visitor, r.unsealed, r.alternate = visitor, true, r.source
	return r
}

// spis are the associations under which acknowledgements go.
func spis(actions []role.Action) (list []uint32) {
	for _, action := range actions {
		if s, ok := action.(role.Send); ok && s.Packet.Message.Type() == mip6.TypeBindingAcknowledgement {
			list = append(list, s.SPI)
		}
	}
	return list
}

// RFC 5380 §12.1, RFC 4877 §4: a visitor with IPsec is known by the SPI of its
// association, whatever address it asks for; nothing of it is taken without; the care-of
// address is one that ESP protects (RFC 3776 §4.3); with a key besides, both are asked
// for.
//
// Covers: P9, Attack: BU spoofing.
func TestVisitorUnderIPsec(t *testing.T) {
	const carol, dora, foreignSPI = 3, 4, 9
	sealed := local(alice, rcoaA, lcoa1, 1)
	sealed.alternate = lcoa1
	plain := protected(alice, local(alice, rcoaA, lcoa1, 1))
	unnamed := local(alice, rcoaA, lcoa1, 1)
	unnamed.unsealed = true
	both := local(dora, rcoaA, lcoa1, 1)
	both.alternate = lcoa1
	bare := protected(dora, local(dora, rcoaA, lcoa1, 1))
	forged := both
	forged.forged = true
	ofBob := local(bob, rcoaA, lcoa1, 1)
	ofBob.alternate = lcoa1
	ended := plain
	ended.lifetime = 0
	for _, tt := range []struct {
		name  string
		under int
		r     request
		want  []string
	}{
		{"without ESP", 0, plain, []string{"drop unauthenticated"}},
		{"with an authenticator in place of ESP", 0, sealed, []string{"drop unknown_mobile"}},
		{"with an authenticator that nobody can verify", alice, sealed, []string{"drop unauthenticated"}},
		{"care-of address not protected", alice, unnamed, []string{"drop unauthenticated"}},
		{"an association that is nobody's", foreignSPI, plain, []string{"drop unknown_mobile"}},
		{"the end of a binding, without ESP", 0, ended, []string{"drop unauthenticated"}},
		{"one of two, the authenticator", 0, both, []string{"drop unauthenticated"}},
		{"one of two, ESP", dora, bare, []string{"drop unauthenticated"}},
		{"ESP and a false authenticator", dora, forged, []string{"drop bad_authenticator", "ack 146 to 2001:db8:f1::1 route 2001:db8:9::a"}},
		{"ESP and another's authenticator", dora, ofBob, []string{"drop unauthenticated"}},
		{"another's ESP and one's authenticator", carol, both, []string{"drop unauthenticated"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, protectedConfig())
			actions := w.under(tt.under, tt.r)
			wantKinds(t, actions, tt.want...)
			if s := spis(actions); len(s) == 1 && s[0] != protection(dora).SPI {
				t.Errorf("answered under SPI %d", s[0])
			}
			if !w.anchor.Next().IsZero() || len(w.anchor.held) != 0 {
				t.Error("something came of it")
			}
			for i, ok := range []struct {
				under int
				r     request
			}{{alice, plain}, {0, local(bob, rcoaB, lcoa1, 1)}, {dora, local2(both, 7)}, {carol, protected(carol, local(carol, rcoaNumber(8), lcoa1, 1))}} {
				actions := w.under(ok.under, ok.r)
				want := uint32(0)
				if ok.under != 0 {
					want = protection(ok.under).SPI
				}
				if ba := onlyAck(t, actions); ba.Status != mip6.StatusAccepted || !slices.Equal(spis(actions), []uint32{want}) ||
					(len(mip6.All[mip6.Authentication](ba)) != 0) == ok.r.unsealed {
					t.Errorf("%d: answer %+v under %v", i, ba, spis(actions))
				}
			}
		})
	}
}

// local2 is a request for another regional care-of address.
func local2(r request, n int) request { r.home = rcoaNumber(n); return r }

// Two visitors ask for the same regional care-of address: the first has it, and each is
// answered under its own association, also while the address is probed.
//
// Covers: P9.
func TestOneAddressTwoAssociations(t *testing.T) {
	const carol = 3
	for _, dad := range []bool{false, true} {
		c := protectedConfig()
		c.DAD = dad
		w := newWorld(t, c)
		ask := func(visitor int, sequence mip6.Sequence) []role.Action {
			return w.under(visitor, protected(visitor, local(visitor, rcoaA, lcoa1, sequence)))
		}
		first := ask(alice, 1)
		second := ask(carol, 1)
		if ba := onlyAck(t, second); ba.Status != mip6.StatusDuplicateAddress || !slices.Equal(spis(second), []uint32{protection(carol).SPI}) {
			t.Errorf("DAD %v: the second: %+v under %v", dad, ba, spis(second))
		}
		first = append(first, w.run(time.Second)...)
		if ba := onlyAck(t, first); ba.Status != mip6.StatusAccepted || !slices.Equal(spis(first), []uint32{protection(alice).SPI}) {
			t.Errorf("DAD %v: the first: %+v under %v", dad, ba, spis(first))
		}
		// What it has bound the other cannot end, nor move.
		end := protected(carol, local(carol, rcoaA, lcoa2, 2))
		end.lifetime = 0
		if ba := onlyAck(t, w.under(carol, end)); ba.Status != mip6.StatusNotHomeAgent {
			t.Errorf("DAD %v: another's binding: %v", dad, ba.Status)
		}
		if len(w.tunnels) != 1 || w.tunnels[rcoaA].Paths[0].Remote != lcoa1 {
			t.Errorf("DAD %v: %v", dad, w.tunnels)
		}
	}
}

// Recorded and sent again, ESP and all (RFC 4877 §4.3): sequence numbers hold while the
// address is bound and after, a move and an end of the binding included; of an address
// that had to be forgotten nothing is taken without a timestamp, which ESP protects as it
// does the rest. Another association of the visitor, and another name, forget nothing.
//
// Covers: P9, Attack: replay.
func TestReplayUnderIPsec(t *testing.T) {
	c := protectedConfig()
	w := newWorld(t, c)
	at := func(home int, sequence mip6.Sequence) request {
		return protected(alice, local(alice, rcoaNumber(home), lcoa1, sequence))
	}
	status := func(r request) mip6.Status {
		t.Helper()
		w.now = w.now.Add(time.Second)
		return onlyAck(t, w.under(alice, r)).Status
	}
	expect := func(what string, r request, want mip6.Status) {
		t.Helper()
		if got := status(r); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	expect("first", at(0, 1), mip6.StatusAccepted)
	moved := at(0, 2)
	moved.source, moved.alternate = lcoa2, lcoa2
	expect("moved", moved, mip6.StatusAccepted)
	expect("the place before", at(0, 1), mip6.StatusSequenceOutOfWindow)
	end := at(0, 3)
	end.lifetime = 0
	expect("ended", end, mip6.StatusAccepted)
	expect("brought back", moved, mip6.StatusSequenceOutOfWindow)

	c.Visitors[0].Name = "al"
	w.apply(w.anchor.Reconfigure(w.now, c))
	expect("brought back after a new name", moved, mip6.StatusSequenceOutOfWindow)
	c.Visitors[0].ESP = &esp.Association{SPI: protection(alice).SPI, Algorithm: esp.AESCBCSHA256, Key: protection(77).Key}
	w.apply(w.anchor.Reconfigure(w.now, c))
	expect("brought back after new keys", moved, mip6.StatusSequenceOutOfWindow)

	for i := 1; i <= maxRemembered; i++ {
		expect("another address", at(i, 1), mip6.StatusAccepted)
		end := at(i, 2)
		end.lifetime = 0
		expect("its end", end, mip6.StatusAccepted)
	}
	expect("what is forgotten", moved, mip6.StatusMessageIDRequired)
	fresh := at(0, 1)
	fresh.timestamp = w.now.Add(time.Second)
	expect("what is forgotten, with a timestamp", fresh, mip6.StatusAccepted)
	expect("the same again", fresh, mip6.StatusIDMismatch)
}

// Timestamps can be demanded under ESP, too, and then a restart of the anchor brings no
// recorded update back; without, the newest one is taken until the mobile has been heard.
//
// Covers: P9, Attack: replay.
func TestReplayAfterRestart(t *testing.T) {
	for _, required := range []bool{false, true} {
		c := protectedConfig()
		c.Visitors[0].RequireTimestamp = required
		w := newWorld(t, c)
		ask := func(source int, sequence mip6.Sequence) request {
			r := protected(alice, local(alice, rcoaA, lcoaNumber(source), sequence))
			if required {
				r.timestamp = w.now
			}
			return r
		}
		status := func(r request) mip6.Status { t.Helper(); return onlyAck(t, w.under(alice, r)).Status }
		bare := protected(alice, local(alice, rcoaA, lcoa1, 1))
		if got := status(bare); (got == mip6.StatusMessageIDRequired) != required {
			t.Errorf("required %v: without a timestamp %v", required, got)
		}
		recorded := ask(2, 2)
		if got := status(recorded); got != mip6.StatusAccepted {
			t.Errorf("required %v: %v", required, got)
		}
		later := w.now.Add(time.Minute)
		w = newWorld(t, c)
		w.now = later
		if got := status(recorded); (got == mip6.StatusAccepted) == required || required && got != mip6.StatusIDMismatch {
			t.Errorf("required %v: recorded before the restart: %v", required, got)
		}
		if got := status(ask(3, 3)); got != mip6.StatusAccepted || w.tunnels[rcoaA].Paths[0].Remote != lcoaNumber(3) {
			t.Errorf("required %v: the mobile's next update: %v", required, got)
		}
		if got := status(recorded); got == mip6.StatusAccepted {
			t.Errorf("required %v: recorded, then: %v", required, got)
		}
	}
}

// A visitor that is gone, or has no IPsec any more, is not served by the association of
// before, and its binding ends with it; keys that are exchanged end nothing.
func TestProtectedVisitorReconfigured(t *testing.T) {
	c := protectedConfig()
	w := newWorld(t, c)
	ask := func(sequence mip6.Sequence) []role.Action {
		return w.under(alice, protected(alice, local(alice, rcoaA, lcoa1, sequence)))
	}
	if ba := onlyAck(t, ask(1)); ba.Status != mip6.StatusAccepted {
		t.Fatal(ba.Status)
	}
	c.Visitors = slices.Clone(c.Visitors)
	c.Visitors[0].ESP = protection(88)
	if did := w.apply(w.anchor.Reconfigure(w.now, c)); len(kinds(did)) != 0 {
		t.Errorf("new keys: %q", kinds(did))
	}
	wantKinds(t, ask(2), "drop unknown_mobile")
	actions := w.under(88, protected(88, local(88, rcoaA, lcoa2, 3)))
	wantKinds(t, actions, "set 2001:db8:9::a via 2001:db8:f2::2", "ack 0 to 2001:db8:f2::2 route 2001:db8:9::a")
	if got := spis(actions); !slices.Equal(got, []uint32{protection(88).SPI}) {
		t.Errorf("answered under %v", got)
	}
	c.Visitors = c.Visitors[1:]
	wantKinds(t, w.apply(w.anchor.Reconfigure(w.now, c)), "undefend 2001:db8:9::a", "remove 2001:db8:9::a")
	wantKinds(t, w.under(88, protected(88, local(88, rcoaA, lcoa2, 4))), "drop unknown_mobile")
}

// With Insecure ESP still says who it is.
func TestInsecureBesideIPsec(t *testing.T) {
	c := protectedConfig()
	c.Insecure = true
	w := newWorld(t, c)
	if ba := onlyAck(t, w.under(alice, protected(alice, local(alice, rcoaA, lcoa1, 1)))); ba.Status != mip6.StatusAccepted {
		t.Fatal(ba.Status)
	}
	anybody := protected(0, local(0, rcoaA, lcoa2, 2))
	actions := w.under(0, anybody)
	if ba := onlyAck(t, actions); ba.Status != mip6.StatusDuplicateAddress || !slices.Equal(spis(actions), []uint32{0}) {
		t.Errorf("%v under %v", ba.Status, spis(actions))
	}
}
