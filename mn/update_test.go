package mn

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/internal/role/roletest"
	"roam6/mip6"
	"roam6/nd"
)

// Retransmission: 1.5 s for the first registration, then doubling to 32 s, each
// with a new sequence number (RFC 6275 §11.8).
//
// Covers: M3.
func TestRetransmission(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.hear(ar1)
	last, _ := b.lastUpdate()
	start := b.now
	for _, want := range []time.Duration{1500, 3000, 6000, 12000, 24000, 32000, 32000} {
		before := b.now
		for len(updates(b.pass(10*time.Millisecond))) == 0 {
			if b.now.Sub(start) > 10*time.Minute {
				t.Fatal("retransmission ceased")
			}
		}
		if d := b.now.Sub(before); d < want*time.Millisecond || d > want*time.Millisecond+20*time.Millisecond {
			t.Errorf("retransmitted after %v, want %v", d, want*time.Millisecond)
		}
		u, _ := b.lastUpdate()
		if !u.Sequence.After(last.Sequence) {
			t.Errorf("sequence %d after %d", u.Sequence, last.Sequence)
		}
		last = u
	}
}

// A registered node retransmits after INITIAL_BINDACK_TIMEOUT (§11.8).
func TestRetransmissionWhenRegistered(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.carrier(false)
	b.carrier(true)
	b.hear(ar2)
	if did := b.pass(990 * time.Millisecond); len(updates(did)) != 0 {
		t.Errorf("retransmitted early: %v", did)
	}
	if did := b.pass(20 * time.Millisecond); len(updates(did)) != 1 {
		t.Errorf("not retransmitted after a second: %v", did)
	}
}

// No more than MAX_UPDATE_RATE updates within a second, and the last move wins
// (§11.8).
//
// Covers: M3.
func TestUpdateRate(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	var times []time.Time
	count := func(did []role.Action) {
		for range updates(did) {
			times = append(times, b.now)
		}
	}
	for i := range 20 {
		b.carrier(false)
		b.carrier(true)
		count(b.hear([]cell{ar2, ar1}[i%2]))
		for range 10 {
			count(b.pass(10 * time.Millisecond))
		}
	}
	for i := range times {
		if i >= MaxUpdateRate && times[i].Sub(times[i-MaxUpdateRate]) < time.Second {
			t.Fatalf("update %d and %d within %v", i-MaxUpdateRate, i, times[i].Sub(times[i-MaxUpdateRate]))
		}
	}
	b.pass(time.Second)
	if _, p := b.lastUpdate(); p.Source != careOf1 {
		t.Errorf("last update from %v, the node is at %v", p.Source, careOf1)
	}
}

// An acknowledgement that comes when the node has moved on, and the next update
// still waits for the rate limit, ends nothing; but there is a binding now that
// the end has to end (§11.7.3).
//
// Covers: M3, M4.
func TestOvertaken(t *testing.T) {
	for _, stop := range []bool{false, true} {
		b := newBench(t, nil)
		b.carrier(true)
		for _, c := range []cell{ar1, ar2, ar1, ar2} {
			b.carrier(false)
			b.carrier(true)
			b.hear(c)
		}
		if u, p := b.lastUpdate(); p.Source != careOf1 || b.node.current.careOf != careOf2 {
			t.Fatalf("the last one is not held back: %v from %v", u, p.Source)
		}
		did := b.acknowledge()
		if len(only[role.HandoverDone](did)) != 0 {
			t.Errorf("completed by the answer to another care-of address: %v", did)
		}
		if stop {
			b.pass(time.Millisecond)
			b.node.reg.outstanding = nil
			b.handle(role.Stop{})
			b.pass(1500 * time.Millisecond)
			if u, _ := b.lastUpdate(); u.Lifetime != 0 {
				t.Errorf("the binding stays: %+v", u)
			}
			continue
		}
		b.pass(1100 * time.Millisecond)
		if _, p := b.lastUpdate(); p.Source != careOf2 {
			t.Errorf("update from %v", p.Source)
		}
		b.acknowledge()
		if b.node.reg.careOf != careOf2 {
			t.Errorf("registered %v", b.node.reg.careOf)
		}
	}
}

// Leaving home is a first registration again, whether or not the home agent has
// answered the return: it makes duplicate address detection (§11.7.1, §11.8).
func TestFirstTimeoutAfterHome(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.goHome()
	b.carrier(false)
	b.pass(time.Second)
	b.carrier(true)
	b.hear(ar1)
	if n := len(updates(b.pass(1400 * time.Millisecond))); n != 0 {
		t.Errorf("%d updates before the home agent can have answered", n)
	}
	if n := len(updates(b.pass(200 * time.Millisecond))); n != 1 {
		t.Errorf("%d updates", n)
	}
}

// The lifetime counts from the sending, less what the home agent cut off, and
// the renewal comes well before its end (§11.7.3).
//
// Covers: M4.
func TestLifetime(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.hear(ar1)
	b.pass(100 * time.Millisecond)
	b.handle(b.answer(mip6.StatusAccepted, func(a *mip6.BindingAcknowledgement) { a.Lifetime = mip6.LifetimeFrom(120 * time.Second) }))
	if got := b.node.Snapshot(b.now).Update.Remaining; got != 120*time.Second-100*time.Millisecond {
		t.Errorf("remaining %v", got)
	}
	if did := b.pass(89 * time.Second); len(updates(did)) != 0 {
		t.Error("renewed too early")
	}
	if did := b.pass(1500 * time.Millisecond); len(updates(did)) != 1 {
		t.Errorf("not renewed at three quarters: %v", did)
	}
}

// A Binding Refresh Advice brings the renewal forward (§11.7.3).
func TestRefreshAdvice(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.hear(ar1)
	b.handle(b.answer(mip6.StatusAccepted, func(a *mip6.BindingAcknowledgement) {
		a.Options = append(a.Options, mip6.RefreshAdvice{Interval: mip6.LifetimeFrom(40 * time.Second)})
	}))
	if did := b.pass(40500 * time.Millisecond); len(updates(did)) != 1 {
		t.Errorf("not renewed: %v", did)
	}
}

// The lifetime asked for does not exceed the care-of address's (§11.7.1).
//
// Covers: M2.
func TestLifetimeOfCareOf(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.handle(advertisement(1, ar1, func(ra *nd.RouterAdvertisement) {
		ra.Prefixes[0].ValidLifetime, ra.Prefixes[0].PreferredLifetime = 100*time.Second, 100*time.Second
	}))
	if u, _ := b.lastUpdate(); u.Lifetime.Duration() != 100*time.Second {
		t.Errorf("lifetime %v", u.Lifetime)
	}
}

// Acknowledgements that are not ours, not authentic, not outstanding or not
// fresh are counted and change nothing (§11.7.3, RFC 4285 §5.1.1, §6).
//
// Covers: M4, Attack: replay.
func TestBadAcknowledgements(t *testing.T) {
	other := netip.MustParseAddr("2001:db8:66::6")
	for _, c := range []struct {
		name   string
		reason role.DropReason
		make   func(b *bench) role.MessageReceived
	}{
		{"other source", role.DropUnexpected, func(b *bench) role.MessageReceived {
			e := b.answer(mip6.StatusAccepted, nil)
			e.Packet.Source = other
			return e
		}},
		{"other home address", role.DropNotForUs, func(b *bench) role.MessageReceived {
			e := b.answer(mip6.StatusAccepted, nil)
			e.Packet.RouteHome = other
			return e
		}},
		{"without authentication", role.DropUnauthenticated, func(b *bench) role.MessageReceived {
			u, p := b.lastUpdate()
			return role.MessageReceived{Packet: b.wire(mip6.Packet{Source: homeAgent, Destination: p.Source, RouteHome: homeAddress,
				Message: mip6.BindingAcknowledgement{Sequence: u.Sequence, Lifetime: u.Lifetime}})}
		}},
		{"wrong key", role.DropBadAuthenticator, func(b *bench) role.MessageReceived {
			e := b.answer(mip6.StatusAccepted, nil)
			e.Packet.MH[len(e.Packet.MH)-1] ^= 1
			return e
		}},
		{"not outstanding", role.DropUnsolicited, func(b *bench) role.MessageReceived {
			return b.answer(mip6.StatusAccepted, func(a *mip6.BindingAcknowledgement) { a.Sequence += 7 })
		}},
		{"stale timestamp", role.DropReplay, func(b *bench) role.MessageReceived {
			return b.answer(mip6.StatusAccepted, func(a *mip6.BindingAcknowledgement) {
				a.Options = []mip6.Option{mip6.ReplayProtection{Timestamp: 1}}
			})
		}},
		{"unauthenticated 135", role.DropUnauthenticated, func(b *bench) role.MessageReceived {
			_, p := b.lastUpdate()
			return role.MessageReceived{Packet: b.wire(mip6.Packet{Source: homeAgent, Destination: p.Source, RouteHome: homeAddress,
				Message: mip6.BindingAcknowledgement{Status: mip6.StatusSequenceOutOfWindow, Sequence: 999}})}
		}},
		{"binding update", role.DropUnexpected, func(b *bench) role.MessageReceived {
			return role.MessageReceived{Packet: mip6.Packet{Source: other, Destination: homeAddress, Message: mip6.BindingUpdate{}}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.carrier(true)
			b.hear(ar1)
			before := b.node.reg.sequence
			did := b.handle(c.make(b))
			if d := only[role.Dropped](did); len(d) != 1 || d[0].Reason != c.reason {
				t.Errorf("dropped %v, want %v", d, c.reason)
			}
			warned := slices.ContainsFunc(only[role.Log](did), func(l role.Log) bool { return l.Level == slog.LevelWarn })
			if want := c.reason == role.DropUnauthenticated || c.reason == role.DropBadAuthenticator; warned != want {
				t.Errorf("a warning: %v, want %v", warned, want) // it tells of a wrong key
			}
			if b.node.reg.registered || b.node.reg.sequence != before || len(only[role.Send](did)) != 0 {
				t.Errorf("it changed something: %+v", b.node.reg)
			}
		})
	}
}

// An authentic 135 makes the node adopt the sequence number and try at once
// (§11.7.3).
//
// Covers: M4.
func TestSequenceOutOfWindow(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.hear(ar1)
	b.handle(b.answer(mip6.StatusSequenceOutOfWindow, func(a *mip6.BindingAcknowledgement) { a.Sequence = 4711 }))
	if u, _ := b.lastUpdate(); u.Sequence != 4712 {
		t.Errorf("next sequence %d, want 4712", u.Sequence)
	}
	b.acknowledge()
	if !b.node.reg.registered {
		t.Error("not registered after adopting the sequence number")
	}
}

// Status 144 brings the home agent's clock, which the next timestamp uses
// (RFC 4285 §6): routers have no clock chip.
func TestClockOfHomeAgent(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.hear(ar1)
	theirs := mip6.TimestampFrom(b.now.Add(20 * 365 * 24 * time.Hour))
	b.handle(b.answer(mip6.StatusIDMismatch, func(a *mip6.BindingAcknowledgement) {
		a.Options = []mip6.Option{mip6.ReplayProtection{Timestamp: theirs}}
	}))
	u, _ := b.lastUpdate()
	o, ok := mip6.Find[mip6.ReplayProtection](u)
	if d := o.Timestamp.Sub(theirs); !ok || d < -2*time.Second || d > 2*time.Second {
		t.Errorf("timestamp differs from the home agent's by %v", d)
	}
	b.acknowledge()
	if !b.node.reg.registered {
		t.Error("not registered")
	}
}

// Timestamps only grow, even when the clock stands still or goes back
// (RFC 4285 §6).
func TestTimestampsGrow(t *testing.T) {
	var r registration
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	last := r.stamp(now)
	for _, d := range []time.Duration{0, -time.Hour, time.Nanosecond, time.Second} {
		s := r.stamp(now.Add(d))
		if s <= last {
			t.Errorf("stamp %x after %x", s, last)
		}
		last = s
	}
}

// A clock that is set, forward over the wrap of 2036 or back, changes nothing in the
// timestamps: they go on from where they were, also with the home agent's time.
func TestTimestampsOfClockThatIsSet(t *testing.T) {
	const years = 20 * 365 * 24 * time.Hour
	for _, adopted := range []time.Duration{0, -time.Hour, years} {
		var r registration
		now := roletest.ClockSet(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 0)
		if r.stamp(now); adopted != 0 {
			r.adjustClock(now, mip6.TimestampFrom(now.Add(adopted)))
		}
		for _, d := range []time.Duration{years, -2 * years, years} {
			now = roletest.ClockSet(now.Add(time.Minute), d)
			theirs := r.clock.Add(now.Sub(r.clock)).Add(adopted) // their clock is not set
			if off := r.stamp(now).Sub(mip6.TimestampFrom(theirs)); off.Abs() > 2*time.Second {
				t.Errorf("adopted %v, set by %v: %v off", adopted, d, off)
			}
		}
	}
}

// A home agent whose clock is set back, by whatever, takes the third update after it at
// the latest: it judges as RFC 4285 §6 has it.
func TestTimestampsOfAgentSetBack(t *testing.T) {
	for _, back := range []time.Duration{time.Second, 6 * time.Second, 8 * time.Second, 10 * time.Second, 13 * time.Second, time.Minute, time.Hour, 20 * 365 * 24 * time.Hour} {
		for _, window := range []time.Duration{3 * time.Second, 7 * time.Second, time.Minute} {
			var r registration
			var fresh binding.Freshness
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			sequence, setBack := mip6.Sequence(0), time.Duration(0)
			attempts := func() (n int) {
				for n = 1; n < 10; n++ {
					sequence++
					s := sent{sequence: sequence, timestamp: r.stamp(now)}
					there := now.Add(-setBack)
					status := fresh.Take(binding.Proof{Sequence: sequence, Timestamped: true, Timestamp: s.timestamp}, there, window, true)
					if status.Accepted() {
						r.timestampTaken(s)
						return n
					}
					r.adjustClock(now, binding.MismatchTimestamp(s.timestamp, there))
					now = now.Add(100 * time.Millisecond)
				}
				return n
			}
			attempts()
			now, setBack = now.Add(3500*time.Millisecond), back
			if n := attempts(); n > 3 {
				t.Errorf("set back by %v, with a window of %v: %d updates", back, window, n)
			}
			if n := attempts(); n > 1 {
				t.Errorf("set back by %v, with a window of %v: %d updates for the next", back, window, n)
			}
		}
	}
}

// 145 turns the replay protection option on (RFC 4285 §6).
func TestTimestampRequired(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Timestamps = false })
	b.carrier(true)
	b.hear(ar1)
	b.handle(b.answer(mip6.StatusMessageIDRequired, nil))
	u, _ := b.lastUpdate()
	if _, ok := mip6.Find[mip6.ReplayProtection](u); !ok {
		t.Error("no timestamp in the next update")
	}
}

// Refusals: 134 ends the use of the home address; others are retried slowly,
// and never faster than the back-off (§11.7.3, RFC 4285 §5.3).
func TestRefusals(t *testing.T) {
	for status, want := range map[mip6.Status]struct{ minute, hour bool }{
		mip6.StatusDuplicateAddress:           {false, false},
		mip6.StatusAuthenticationFailed:       {false, true},
		mip6.StatusAdministrativelyProhibited: {false, true},
		mip6.StatusNotHomeSubnet:              {false, true},
		mip6.StatusInsufficientResources:      {true, true},
		mip6.StatusReasonUnspecified:          {true, true},
	} {
		t.Run(status.String(), func(t *testing.T) {
			b := newBench(t, nil)
			b.carrier(true)
			b.hear(ar1)
			b.handle(b.answer(status, nil))
			if len(only[role.Log](b.actions)) == 0 {
				t.Error("the operator is not told")
			}
			if got := len(updates(b.pass(time.Minute))) > 0; got != want.minute {
				t.Errorf("tried again within a minute: %v", got)
			}
			if got := len(updates(b.pass(time.Hour))) > 0; got != want.hour {
				t.Errorf("tried again within an hour: %v", got)
			}
		})
	}
}

// A Binding Refresh Request is answered (§11.7.4).
//
// Covers: M13.
func TestBindingRefreshRequest(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.pass(10 * time.Second)
	did := b.handle(role.MessageReceived{Packet: mip6.Packet{Source: homeAgent, Destination: careOf1, RouteHome: homeAddress, Message: mip6.BindingRefreshRequest{}}})
	if len(updates(did)) != 1 {
		t.Errorf("%v", did)
	}
}

// Without answers the registration ends when the home agent's view of it does,
// the operator hears of it, and the node goes on trying.
func TestExpiry(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	did := b.pass(601 * time.Second)
	if b.node.reg.registered {
		t.Error("still registered")
	}
	if len(only[role.Log](did)) == 0 {
		t.Error("nothing was said")
	}
	if len(updates(b.pass(time.Minute))) == 0 {
		t.Error("gave up")
	}
	b.acknowledge()
	if !b.node.reg.registered {
		t.Error("did not recover")
	}
}

// A home agent that lost its bindings is asked at once when it refuses a
// packet; one whose every packet is refused, or an attacker who forges that,
// causes fewer and fewer updates.
func TestTunnelRefused(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.pass(10 * time.Second)
	if did := b.handle(role.TunnelRefused{Home: homeAddress}); len(updates(did)) != 1 {
		t.Fatalf("not asked: %v", did)
	}
	if did := b.handle(role.TunnelRefused{Home: homeAddress}); len(updates(did)) != 0 {
		t.Errorf("asked twice: %v", did)
	}
	b.acknowledge()
	sent := 0
	for range 6000 { // ten minutes
		b.pass(100 * time.Millisecond)
		if did := b.handle(role.TunnelRefused{Home: homeAddress}); len(updates(did)) > 0 {
			sent++
			b.acknowledge()
		}
	}
	if sent < 3 || sent > 12 {
		t.Errorf("%d updates in ten minutes of refusals", sent)
	}
	if did := b.handle(role.TunnelRefused{Home: homeAgent}); len(updates(did)) != 0 {
		t.Errorf("somebody else's tunnel: %v", did)
	}
}

// The L bit is set only if the interface identifiers agree (§11.7.1).
func TestLinkLocalCompatibility(t *testing.T) {
	b := newBench(t, func(c *Config) { c.HomeAddress = netip.MustParseAddr("2001:db8:10::ff:fe00:42") })
	b.carrier(true)
	b.hear(ar1)
	if u, _ := b.lastUpdate(); u.Flags&mip6.UpdateLinkLocal == 0 {
		t.Error("L not set")
	}
}
