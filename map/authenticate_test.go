package anchor

import (
	"net/netip"
	"testing"
	"time"

	"roam6/mip6"
)

// rcoaNumber is a regional care-of address, another one for every number.
func rcoaNumber(i int) netip.Addr {
	a := prefix.Addr().As16()
	a[8], a[12], a[13], a[14], a[15] = 7, byte(i>>24), byte(i>>16), byte(i>>8), byte(i)
	return netip.AddrFrom16(a)
}

func stamped(visitor int, home, source netip.Addr, sequence mip6.Sequence, at time.Time) request {
	r := local(visitor, home, source, sequence)
	r.timestamp = at
	return r
}

// Who a visitor is, is said by the SPI, and proven by the key over both addresses
// (RFC 4285 §5.1): without either an update is dropped in silence, with a false
// authenticator it is answered (§5.1.1), and nothing comes of it.
// Covers: P9.
func TestAuthentication(t *testing.T) {
	forged := local(alice, rcoaA, lcoa1, 1)
	forged.forged = true
	unsealed := local(alice, rcoaA, lcoa1, 1)
	unsealed.unsealed = true
	otherHome := local(alice, rcoaA, lcoa1, 1)
	otherHome.overHome = rcoaB
	moved := local(alice, rcoaA, lcoa1, 1).packet(t)
	moved.Source = lcoa2
	followed := local(alice, rcoaA, lcoa1, 1).packet(t)
	bu := followed.Message.(mip6.BindingUpdate)
	bu.Options = append(bu.Options, mip6.AlternateCareOf{Addr: lcoa2})
	mh, err := mip6.AppendMessage(nil, rcoaA, anchorAddr, bu)
	if err != nil {
		t.Fatal(err)
	}
	followed.Message, followed.MH = bu, mh
	const answered = "ack 146 to 2001:db8:f1::1 route 2001:db8:9::a"
	for _, tt := range []struct {
		name string
		p    mip6.Packet
		want []string
	}{
		{"unknown SPI", local(77, rcoaA, lcoa1, 1).packet(t), []string{"drop unknown_mobile"}},
		{"no authentication", unsealed.packet(t), []string{"drop unauthenticated"}},
		{"another key", forged.packet(t), []string{"drop bad_authenticator", answered}},
		{"over another RCoA", otherHome.packet(t), []string{"drop bad_authenticator", answered}},
		{"from another LCoA", moved, []string{"drop bad_authenticator", "ack 146 to 2001:db8:f2::2 route 2001:db8:9::a"}},
		{"with an option behind", followed, []string{"drop bad_authenticator", answered}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			wantKinds(t, w.deliver(tt.p), tt.want...)
			if !w.anchor.Next().IsZero() || w.probes != 0 {
				t.Errorf("something came of it")
			}
			w.registered(local(alice, rcoaA, lcoa1, 1))
		})
	}
}

// RFC 4285 §6: timestamps within the window, increasing for each address; the answer to
// another one brings the anchor's time. Of another visitor they say nothing.
// Covers: P9, Attack: replay.
func TestTimestamps(t *testing.T) {
	w := newWorld(t, testConfig())
	now := w.now
	w.registered(stamped(alice, rcoaA, lcoa1, 1, now))
	replayed := stamped(alice, rcoaA, lcoa1, 1, now)
	for name, r := range map[string]request{
		"the same again":     replayed,
		"earlier":            stamped(alice, rcoaA, lcoa2, 2, now.Add(-time.Nanosecond)),
		"too far ahead":      stamped(alice, rcoaA, lcoa2, 2, now.Add(10*time.Second)),
		"too far behind":     stamped(alice, rcoaA, lcoa2, 2, now.Add(-10*time.Second)),
		"to end the binding": {visitor: alice, home: rcoaA, source: lcoa1, sequence: 2, timestamp: now},
	} {
		ba := onlyAck(t, w.send(r))
		replay, _ := mip6.Find[mip6.ReplayProtection](ba)
		sent := mip6.TimestampFrom(r.timestamp)
		if ba.Status != mip6.StatusIDMismatch || replay.Timestamp>>32 != mip6.TimestampFrom(w.now)>>32 || replay.Timestamp<<32 != sent<<32 {
			t.Errorf("%s: %v, timestamp %#x", name, ba.Status, replay.Timestamp)
		}
	}
	if len(w.tunnels) != 1 || w.tunnels[rcoaA].Paths[0].Remote != lcoa1 {
		t.Errorf("%v", w.tunnels)
	}
	w.registered(stamped(bob, rcoaB, lcoa2, 1, now))
	// A mobile that has started anew knows no sequence number; its clock is enough.
	w.now = w.now.Add(time.Second)
	w.registered(stamped(bob, rcoaB, lcoa2, 0, w.now))
	// As long as updates were refused that are of the future it needs one.
	w.refused(stamped(alice, rcoaA, lcoa2, 0, w.now), mip6.StatusSequenceOutOfWindow)
	w.registered(stamped(alice, rcoaA, lcoa2, 3, w.now))
	// What was recorded before the end of a registration does not bring it back.
	recorded := stamped(alice, rcoaA, lcoa2, 9, w.now.Add(time.Millisecond))
	w.registered(recorded)
	w.registered(request{visitor: alice, home: rcoaA, source: lcoa2, sequence: 10, timestamp: w.now.Add(2 * time.Millisecond)})
	w.refused(recorded, mip6.StatusIDMismatch)
}

// RFC 4285 §6: timestamps can be demanded.
// Covers: P9.
func TestTimestampRequired(t *testing.T) {
	c := testConfig()
	c.Visitors[0].RequireTimestamp = true
	w := newWorld(t, c)
	w.refused(local(alice, rcoaA, lcoa1, 1), mip6.StatusMessageIDRequired)
	w.registered(stamped(alice, rcoaA, lcoa1, 1, w.now))
	w.registered(local(bob, rcoaB, lcoa1, 1))
}

// RFC 6275 §9.5.1: sequence numbers, for each address, modulo 2^16, and beyond the end
// of a registration.
// Covers: A6, P9, Attack: replay.
func TestSequenceNumbers(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(local(alice, rcoaA, lcoa1, 65530))
	w.registered(local(alice, rcoaA, lcoa2, 3))
	w.registered(local(alice, rcoaB, lcoa2, 3)) // of its own
	refused := func(s mip6.Sequence) {
		t.Helper()
		if ba := onlyAck(t, w.send(local(alice, rcoaA, lcoa1, s))); ba.Status != mip6.StatusSequenceOutOfWindow || ba.Sequence != 3 {
			t.Errorf("sequence number %d: %+v", s, ba)
		}
		w.now = w.now.Add(time.Second)
	}
	for _, s := range []mip6.Sequence{3, 65530, 2, 32771} {
		refused(s)
	}
	w.run(time.Hour)
	if len(w.tunnels) != 0 {
		t.Fatal("binding did not expire")
	}
	refused(3)
	// An update that was refused for what it asks is not fresh any more, either.
	w.refused(local(alice, rcoaA, foreign, 4), mip6.StatusAdministrativelyProhibited)
	c := testConfig()
	c.Served = nil
	w.apply(w.anchor.Reconfigure(w.now, c))
	w.refused(local(alice, rcoaA, foreign, 4), mip6.StatusSequenceOutOfWindow)
}

// A visitor that has used more addresses than are remembered needs timestamps for new
// ones: nobody could tell a recorded update for a former one from a fresh one. Known
// ones go on without.
// Covers: P9, Attack: replay.
func TestForgottenAddress(t *testing.T) {
	c := testConfig()
	c.DAD = false
	w := newWorld(t, c)
	w.registered(local(alice, rcoaA, lcoa1, 1))
	first := local(alice, rcoaNumber(0), lcoa1, 1)
	for i := range maxRemembered {
		w.now = w.now.Add(time.Second)
		w.registered(local(alice, rcoaA, lcoa1, mip6.Sequence(2+i)))
		r := local(alice, rcoaNumber(i), lcoa1, 1)
		w.registered(r)
		r.sequence, r.lifetime = 2, 0
		w.registered(r)
	}
	w.refused(first, mip6.StatusMessageIDRequired)
	w.refused(local(alice, rcoaNumber(99), lcoa1, 1), mip6.StatusMessageIDRequired)
	w.refused(local(alice, rcoaNumber(maxRemembered-1), lcoa1, 2), mip6.StatusSequenceOutOfWindow)
	w.registered(local(alice, rcoaA, lcoa2, 50))
	w.registered(stamped(alice, rcoaNumber(99), lcoa1, 1, w.now))
	w.registered(stamped(alice, rcoaNumber(98), lcoa1, 1, w.now))
	if n := len(w.anchor.visitors[association(alice).SPI].addresses); n != maxRemembered {
		t.Errorf("%d addresses are remembered", n)
	}
}

// The anchor's clock was wrong and is set back: nobody is locked out until that time
// comes again, and sequence numbers hold meanwhile.
// Covers: Attack: replay.
func TestClockSetBack(t *testing.T) {
	c := testConfig()
	c.DAD = false
	w := newWorld(t, c)
	right := w.now.Add(-1000 * time.Hour)
	w.registered(stamped(alice, rcoaA, lcoa1, 5, w.now))
	w.now = right
	w.refused(stamped(alice, rcoaA, lcoa2, 5, right), mip6.StatusSequenceOutOfWindow)
	w.registered(stamped(alice, rcoaA, lcoa2, 6, right))
	w.refused(stamped(alice, rcoaA, lcoa1, 7, right), mip6.StatusIDMismatch)
	w.registered(stamped(alice, rcoaA, lcoa1, 7, right.Add(time.Millisecond)))
}

// The same with addresses that had to be forgotten, whose timestamps alone are remembered:
// what comes after the set-back is taken, and what was recorded before it is not.
// Covers: Attack: replay.
func TestClockSetBackForgotten(t *testing.T) {
	for name, back := range map[string]time.Duration{"by an hour": time.Hour, "by years, over the wrap of 2036": 20 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			c := testConfig()
			c.DAD = false
			w := newWorld(t, c)
			right := w.now
			w.now = right.Add(back)
			for i := range maxRemembered + 1 {
				r := stamped(alice, rcoaNumber(i), lcoa1, mip6.Sequence(i+1), w.now)
				w.registered(r)
				w.now = w.now.Add(time.Millisecond)
				r.lifetime, r.timestamp = 0, w.now
				w.registered(r)
			}
			w.now = right
			w.refused(stamped(alice, rcoaNumber(0), lcoa1, 1, right.Add(-time.Minute)), mip6.StatusIDMismatch)
			w.registered(stamped(alice, rcoaNumber(0), lcoa1, 100, right))
		})
	}
}

// With Insecure whoever asks is served, and answered without authentication; visitors
// still are who they are, and keep what they have.
// Covers: P9.
func TestInsecure(t *testing.T) {
	c := testConfig()
	c.Insecure, c.Name = true, "open"
	w := newWorld(t, c)
	if w.logged("local binding updates are accepted without authentication: whoever can send a packet can take a visitor's traffic") != 1 {
		t.Errorf("no warning: %v", w.logs)
	}
	anybody := local(0, rcoaA, lcoa1, 1)
	anybody.unsealed = true
	w.registered(anybody)
	w.refused(local(alice, rcoaA, lcoa1, 1), mip6.StatusDuplicateAddress)
	w.registered(local(alice, rcoaB, lcoa1, 1))
	anybody.home, anybody.sequence = rcoaB, 2
	w.refused(anybody, mip6.StatusDuplicateAddress)
	anybody.home, anybody.lifetime, anybody.sequence = rcoaA, 0, 1
	w.refused(anybody, mip6.StatusSequenceOutOfWindow)
	anybody.sequence = 2
	w.registered(anybody)
	w.refused(anybody, mip6.StatusNotHomeAgent)
	// An SPI that is nobody's is no reason to serve without authentication.
	wantKinds(t, w.send(local(77, rcoaA, lcoa1, 3)), "drop unknown_mobile")
	forged := local(alice, rcoaB, lcoa2, 9)
	forged.forged = true
	w.refused(forged, mip6.StatusAuthenticationFailed)
}
