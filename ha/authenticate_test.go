package ha

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// RFC 4285 §5.1.1, §5.3: a bad authenticator is answered with MIPV6-AUTH-FAIL
// where a security association exists; at a limited rate, since anyone can cause
// it with anyone's source address.
// Covers: Attack: BU spoofing.
func TestAuthenticationFailure(t *testing.T) {
	w := newWorld(t, testConfig())
	forged := at(homeA, careOf1, 1)
	forged.sa = &mip6.SecurityAssociation{SPI: association(homeA).SPI, Key: mip6.SharedKey{1}}
	actions := w.send(forged)
	wantKinds(t, actions, "drop bad_authenticator", "ack 146 to 2001:db8:f1::1 route 2001:db8:1::a")
	answered, counted := 1, 1
	for range 999 {
		actions := w.send(forged)
		answered += len(acks(actions))
		if slices.Equal(drops(actions), []role.DropReason{role.DropBadAuthenticator}) {
			counted++
		}
	}
	if answered != failures.Burst || counted != 1000 {
		t.Errorf("%d answers to %d forged updates, want %d", answered, counted, failures.Burst)
	}
	if len(w.logs) != answered {
		t.Errorf("%d log lines for %d answers", len(w.logs), answered)
	}
	w.now = w.now.Add(time.Second)
	if len(acks(w.send(forged))) != 1 {
		t.Errorf("no answer after a second")
	}
	// All that time the mobile itself is served.
	w.registered(at(homeA, careOf1, 1))
}

// Forged updates for many mobiles: the answers to all together are limited.
func TestAuthenticationFailureOfMany(t *testing.T) {
	c := testConfig()
	c.Mobiles = nil
	for i := range 200 {
		home := homePrefix.Addr().As16()
		home[14], home[15] = 1, byte(i)
		h := netip.AddrFrom16(home)
		c.Mobiles = append(c.Mobiles, Mobile{Name: h.String(), HomeAddress: h, SA: association(h)})
	}
	w := newWorld(t, c)
	answered := 0
	for _, m := range c.Mobiles {
		r := at(m.HomeAddress, careOf1, 1)
		r.sa = &mip6.SecurityAssociation{SPI: m.SA.SPI}
		answered += len(acks(w.send(r)))
	}
	if answered != allFailures.Burst {
		t.Errorf("%d answers to 200 forged updates, want %d", answered, allFailures.Burst)
	}
}

// RFC 4285 §5.1: the care-of address that is authenticated is the one asked for;
// the source is accepted too, and the answer (checked for every one) is sealed
// over the same.
func TestAlternateCareOf(t *testing.T) {
	for _, overSource := range []bool{false, true} {
		w := newWorld(t, testConfig())
		w.registered(request{home: homeA, source: careOf1, alternate: careOf2, overSource: overSource, sequence: 1, lifetime: time.Minute, flags: flagsMR})
		if got := w.tunnels[homeA].Paths[0].Remote; got != careOf2 {
			t.Errorf("sealed over source=%t: bound %v", overSource, got)
		}
		list := acks(w.send(request{home: homeA, source: careOf1, alternate: careOf2, overSource: overSource, sequence: 1, lifetime: time.Minute, flags: flagsMR}))
		// RFC 6275 §9.5.4: to the source, whatever is bound.
		if len(list) != 1 || list[0].Destination != careOf1 {
			t.Fatalf("answer %+v", list)
		}
		covered := careOf2
		if overSource {
			covered = careOf1
		}
		mh, err := mip6.AppendMessage(nil, agentAddr, homeA, list[0].Message)
		if err != nil {
			t.Fatal(err)
		}
		if err := association(homeA).Verify(mh, covered, homeA); err != nil {
			t.Errorf("answer to one sealed over source=%t: %v", overSource, err)
		}
	}
}

// RFC 6275 §9.5.1 and the record that outlives the binding.
// Covers: A6, Attack: replay.
func TestSequenceReplay(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 65530))
	w.registered(at(homeA, careOf2, 3)) // modulo 2^16
	for _, s := range []mip6.Sequence{3, 65530, 2, 32771} {
		actions := w.send(at(homeA, careOf1, s))
		if ba := onlyAck(t, actions); ba.Status != mip6.StatusSequenceOutOfWindow || ba.Sequence != 3 {
			t.Errorf("sequence number %d: %+v", s, ba)
		}
		if w.tunnels[homeA].Paths[0].Remote != careOf2 {
			t.Fatalf("sequence number %d moved the binding", s)
		}
	}
	w.run(time.Hour)
	if len(w.agent.Bindings()) != 0 {
		t.Fatal("binding did not expire")
	}
	if ba := onlyAck(t, w.send(at(homeA, careOf1, 3))); ba.Status != mip6.StatusSequenceOutOfWindow {
		t.Errorf("replay after expiry: %v", ba.Status)
	}
	// A new life of the agent knows nothing: the first number is accepted.
	again := newWorld(t, testConfig())
	again.registered(at(homeA, careOf1, 3))
}

// A recorded update that is sent again and again is answered at a limited rate.
// Covers: Attack: replay.
func TestReplayFlood(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 1))
	answered := 0
	for range 10000 {
		answered += len(acks(w.send(at(homeA, careOf1, 1))))
	}
	if answered != refusals.Burst {
		t.Errorf("%d answers, want %d", answered, refusals.Burst)
	}
	w.registered(at(homeA, careOf2, 2))
}

// RFC 4285 §6: timestamps instead of sequence numbers.
// Covers: Attack: replay.
func TestTimestamps(t *testing.T) {
	w := newWorld(t, testConfig())
	stamped := func(careOf netip.Addr, sequence mip6.Sequence, stamp time.Time) request {
		r := at(homeA, careOf, sequence)
		r.timestamp = stamp
		return r
	}
	first := w.now
	w.registered(stamped(careOf1, 50, first))
	// §7: the sequence number is not used.
	w.registered(stamped(careOf2, 7, w.now))
	for name, stamp := range map[string]time.Time{
		"replay":     first,
		"too old":    w.now.Add(-8 * time.Second),
		"too new":    w.now.Add(8 * time.Second),
		"epoch 1970": time.Unix(100, 12345),
	} {
		ba := onlyAck(t, w.send(stamped(careOf1, 51, stamp)))
		replay, ok := mip6.Find[mip6.ReplayProtection](ba)
		sent, here := mip6.TimestampFrom(stamp), mip6.TimestampFrom(w.now)
		if ba.Status != mip6.StatusIDMismatch || !ok || uint32(replay.Timestamp) != uint32(sent) || replay.Timestamp>>32 != here>>32 {
			t.Errorf("%s: %+v", name, ba)
		}
	}
	if w.tunnels[homeA].Paths[0].Remote != careOf2 {
		t.Errorf("a mismatched timestamp moved the binding")
	}
	// A restarted agent does not take a recorded update.
	recorded := stamped(careOf1, 99, w.now)
	again := newWorld(t, testConfig())
	again.now = w.now.Add(8 * time.Second)
	if ba := onlyAck(t, again.send(recorded)); ba.Status != mip6.StatusIDMismatch {
		t.Errorf("recorded update after a restart: %v", ba.Status)
	}
}

// An insecure mobile needs no authentication, and gets none; but a message with
// an authenticator that cannot be verified is discarded (RFC 4285 §5.1.1).
func TestInsecure(t *testing.T) {
	c := testConfig()
	c.Mobiles[0].SA, c.Mobiles[0].Insecure = nil, true
	w := newWorld(t, c)
	if len(w.logs) != 1 || w.logs[0].Level != slog.LevelWarn {
		t.Errorf("not a loud warning: %+v", w.logs)
	} else if v, _ := attribute(w.logs[0], "mobile"); v.String() != "[a]" {
		t.Errorf("the warning is of %v", v)
	}
	r := at(homeA, careOf1, 1)
	wantKinds(t, w.send(r), "drop unauthenticated")
	if len(w.logs) != 1 {
		t.Errorf("warned again")
	}
	r.unsealed = true
	w.registered(r)
	r.sequence = 1
	ba := onlyAck(t, w.send(r))
	if _, sealed := mip6.AuthenticationOf(ba); sealed || ba.Status != mip6.StatusSequenceOutOfWindow {
		t.Errorf("%+v", ba)
	}
	// Without a key and without permission nobody is accepted.
	c.Mobiles[0].Insecure = false
	w.apply(w.agent.Reconfigure(w.now, c))
	r.sequence = 2
	wantKinds(t, w.send(r), "drop unauthenticated")
}

// Strangers are counted, each, and logged now and then.
func TestStrangers(t *testing.T) {
	w := newWorld(t, testConfig())
	for range 1000 {
		wantKinds(t, w.send(at(netip.MustParseAddr("2001:db8:1::99"), careOf1, 1)), "drop unknown_mobile")
	}
	if len(w.logs) != complaints.Burst {
		t.Errorf("%d log lines, want %d", len(w.logs), complaints.Burst)
	}
}
