package ro

import (
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// pending is a bench whose first correspondent has an update to acknowledge.
func pending(t *testing.T) (*bench, *correspondent, []role.Action) {
	b := newBench(t, nil)
	b.attach(b.away(careOf1, true))
	c := b.node(1)
	c.deaf = true
	did := b.exchange(b.handle(traffic(c.addr)))
	b.wantInits(did, 0, 0, 1)
	c.deaf = false
	return b, c, did
}

// Acknowledgements that are not in order are counted and change nothing
// (RFC 6275 §11.7.3).
// Covers: M4, A4, Attack: forged answers.
func TestForgedAcknowledgements(t *testing.T) {
	for _, test := range []struct {
		name   string
		spoil  func(*mip6.BindingAcknowledgement)
		mangle func(*mip6.Packet)
		reason role.DropReason
	}{
		{name: "other sequence number", spoil: func(a *mip6.BindingAcknowledgement) { a.Sequence++ }, reason: role.DropUnsolicited},
		{name: "older sequence number", spoil: func(a *mip6.BindingAcknowledgement) { a.Sequence-- }, reason: role.DropUnsolicited},
		{name: "no authorization data", mangle: func(p *mip6.Packet) {
			a := p.Message.(mip6.BindingAcknowledgement)
			a.Options = nil
			p.Message = a
		}, reason: role.DropUnauthenticated},
		{name: "wrong authenticator", mangle: func(p *mip6.Packet) {
			a := p.Message.(mip6.BindingAcknowledgement)
			a.Options = []mip6.Option{mip6.AuthorizationData{Authenticator: [12]byte{1}}}
			p.Message = a
		}, reason: role.DropBadAuthenticator},
		{name: "status changed under way", mangle: func(p *mip6.Packet) {
			a := p.Message.(mip6.BindingAcknowledgement)
			a.Status = mip6.StatusAdministrativelyProhibited
			p.Message = a
		}, reason: role.DropBadAuthenticator},
		{name: "135 without authorization data", spoil: func(a *mip6.BindingAcknowledgement) {
			a.Status, a.Sequence = mip6.StatusSequenceOutOfWindow, a.Sequence+7
		},
			mangle: func(p *mip6.Packet) {
				a := p.Message.(mip6.BindingAcknowledgement)
				a.Options = nil
				p.Message = a
			}, reason: role.DropUnauthenticated},
		{name: "135 with a wrong authenticator", mangle: func(p *mip6.Packet) {
			a := p.Message.(mip6.BindingAcknowledgement)
			a.Status = mip6.StatusSequenceOutOfWindow
			p.Message = a
		}, reason: role.DropBadAuthenticator},
		{name: "135 that goes back", spoil: func(a *mip6.BindingAcknowledgement) {
			a.Status, a.Sequence = mip6.StatusSequenceOutOfWindow, a.Sequence-1
		},
			reason: role.DropReplay},
		{name: "138 for another update", spoil: func(a *mip6.BindingAcknowledgement) { a.Status = mip6.StatusExpiredNonces; a.Sequence += 2 },
			reason: role.DropUnsolicited},
		{name: "from another node", mangle: func(p *mip6.Packet) { p.Source = peerAddr(9) }, reason: role.DropUnsolicited},
		{name: "to another care-of address", mangle: func(p *mip6.Packet) { p.Destination = careOf2 }, reason: role.DropUnsolicited},
		{name: "without routing header", mangle: func(p *mip6.Packet) { p.RouteHome = p.HomeAddress }, reason: role.DropNotForUs},
		{name: "for another home address", mangle: func(p *mip6.Packet) { p.RouteHome = careOf3 }, reason: role.DropNotForUs},
		{name: "to the home address itself", mangle: func(p *mip6.Packet) { p.Destination, p.RouteHome = home, p.HomeAddress }, reason: role.DropUnsolicited},
		{name: "with a Home Address option", mangle: func(p *mip6.Packet) { p.HomeAddress, p.Source = p.Source, peerAddr(9) }, reason: role.DropNoHomeAddress},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, c, sent := pending(t)
			_, p := b.update(sent)
			c.spoil, c.mangle = test.spoil, test.mangle
			b.wantDrop(b.deliver(c.receive(t, b.now, b.wire(p))[0]), test.reason)
			if b.state(c.addr) != StateRegistering || len(b.routes) != 0 {
				t.Errorf("state %v, routes %v", b.state(c.addr), b.routes)
			}
			// The next try is answered in order.
			c.spoil, c.mangle = nil, nil
			b.exchange(b.pass(time.Second))
			if b.state(c.addr) != StateOptimised {
				t.Errorf("state %v after a true answer", b.state(c.addr))
			}
		})
	}
}

// An acknowledgement that was accepted does not count again.
// Covers: Attack: replay.
func TestReplayedAcknowledgement(t *testing.T) {
	b, c, sent := pending(t)
	_, p := b.update(sent)
	ba := c.receive(t, b.now, b.wire(p))[0]
	b.deliver(ba)
	expires := b.o.Peers(b.now)[0].Remaining
	b.pass(time.Second)
	b.wantDrop(b.deliver(ba), role.DropUnsolicited)
	if got := b.o.Peers(b.now)[0].Remaining; got != expires-time.Second {
		t.Errorf("remaining %v, was %v a second ago", got, expires)
	}
}

// The updates of a run are a second, two and four apart, with growing sequence
// numbers; the acknowledgement of any of them ends the retransmission
// (RFC 6275 §11.7.2, §11.8).
// Covers: M3, M4.
func TestUpdateRetransmission(t *testing.T) {
	b, c, did := pending(t)
	u, first := b.update(did)
	c.deaf = true
	for _, wait := range []time.Duration{time.Second, 2 * time.Second} {
		b.wantInits(b.pass(wait-time.Millisecond), 0, 0, 0)
		did := b.pass(time.Millisecond)
		b.wantInits(did, 0, 0, 1)
		v, _ := b.update(did)
		if !v.Sequence.After(u.Sequence) {
			t.Errorf("sequence number %d after %d", v.Sequence, u.Sequence)
		}
		u = v
	}
	c.deaf = false
	b.deliver(c.receive(t, b.now, b.wire(first))[0])
	if b.state(c.addr) != StateOptimised {
		t.Errorf("state %v", b.state(c.addr))
	}
	// The lifetime counts from the update that was acknowledged (§11.7.3).
	if got := b.o.Peers(b.now)[0].Remaining; got != MaxBindingLifetime-3*time.Second {
		t.Errorf("remaining %v", got)
	}
	b.wantInits(b.pass(10*time.Second), 0, 0, 0)
}

// A correspondent that discards updates silently, as one does that started anew
// since it made the tokens, gets new tests once before it counts as failed
// (RFC 6275 §9.5.1, §5.2.9).
// Covers: B6.
func TestSilentDiscard(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	b.pass(10 * time.Second)
	c.restart(1)
	// The move finds the home keygen token still good, by its age.
	did := b.attach(b.away(careOf2, true))
	b.wantInits(did, 0, 1, 0)
	b.exchange(did)
	b.exchange(b.pass(time.Second))
	b.exchange(b.pass(2 * time.Second))
	if c.refused != 3 {
		t.Fatalf("%d updates could not be verified, want 3", c.refused)
	}
	did = b.pass(4 * time.Second)
	b.wantInits(did, 1, 1, 0)
	b.exchange(did)
	if b.routes[c.addr].CareOf != careOf2 {
		t.Errorf("not optimised with new tokens: %+v", b.o.Peers(b.now))
	}

	// One that never takes an update fails after both.
	c.deaf = true
	b.attach(b.away(careOf3, true))
	b.live(30*time.Second, c.addr)
	if b.state(c.addr) == StateOptimised || b.o.Peers(b.now)[0].Failures == 0 {
		t.Errorf("peers %+v", b.o.Peers(b.now))
	}
}

// Lifetimes are at most 420 s, the rest of the home registration and that of the
// care-of address (RFC 6275 §11.7.2, §12).
// Covers: M2, C8.
func TestLifetime(t *testing.T) {
	for _, test := range []struct {
		name                string
		config, home, valid time.Duration
		want                time.Duration
	}{
		{"the longest", 0, time.Hour, 0, 420 * time.Second},
		{"configured", 100 * time.Second, time.Hour, 0, 100 * time.Second},
		{"configured too long", time.Hour, time.Hour, 0, 420 * time.Second},
		{"rest of the home registration", 0, 99 * time.Second, 0, 96 * time.Second},
		{"rest of the care-of address", 0, time.Hour, 50 * time.Second, 48 * time.Second},
		{"home registration about to end", 0, 3 * time.Second, 0, 0},
		{"care-of address about to end", 0, time.Hour, time.Second, 0},
		{"home registration over", 0, -time.Second, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.Lifetime = test.config })
			a := b.away(careOf1, true)
			a.Expires = b.now.Add(test.home)
			if test.valid != 0 {
				a.ValidUntil = b.now.Add(test.valid)
			}
			b.attach(a)
			c := b.node(1)
			did := b.exchange(b.handle(traffic(c.addr)))
			if test.want == 0 {
				b.wantInits(did, 0, 0, 0)
				if b.state(c.addr) != StateTesting || !b.o.Next().IsZero() {
					t.Errorf("state %v, next %v", b.state(c.addr), b.o.Next())
				}
				// It goes on with the next home registration.
				b.exchange(b.attach(b.away(careOf1, true)))
				if b.state(c.addr) != StateOptimised {
					t.Errorf("state %v after the home registration", b.state(c.addr))
				}
				return
			}
			u, _ := b.update(did)
			if u.Lifetime.Duration() != test.want {
				t.Errorf("lifetime %v, want %v", u.Lifetime.Duration(), test.want)
			}
			if got := b.o.Peers(b.now)[0].Remaining; got != test.want {
				t.Errorf("remaining %v", got)
			}
		})
	}
}

// What the correspondent grants counts, from the sending of the update, and never
// more than was asked for; its refresh advice does not (RFC 6275 §11.7.3).
// Covers: M4.
func TestGrantedLifetime(t *testing.T) {
	b, c, did := pending(t)
	_, p := b.update(did)
	b.pass(500 * time.Millisecond)
	c.spoil = func(a *mip6.BindingAcknowledgement) {
		a.Lifetime = mip6.LifetimeFrom(100 * time.Second)
		a.Options = []mip6.Option{mip6.RefreshAdvice{Interval: 1}}
	}
	b.deliver(c.receive(t, b.now, b.wire(p))[0])
	if got := b.o.Peers(b.now)[0].Remaining; got != 99500*time.Millisecond {
		t.Errorf("remaining %v", got)
	}
	b.wantInits(b.pass(70*time.Second), 0, 0, 0)
	c.spoil = nil
	b.handle(traffic(c.addr))
	b.wantInits(b.pass(4500*time.Millisecond), 0, 0, 1) // at three quarters, with the tokens it has

	b, c, did = pending(t)
	_, p = b.update(did)
	c.spoil = func(a *mip6.BindingAcknowledgement) { a.Lifetime *= 2 }
	b.deliver(c.receive(t, b.now, b.wire(p))[0])
	if got := b.o.Peers(b.now)[0].Remaining; got != MaxBindingLifetime {
		t.Errorf("remaining %v, more than was asked for", got)
	}

	b, c, did = pending(t)
	_, p = b.update(did)
	c.spoil = func(a *mip6.BindingAcknowledgement) { a.Lifetime = 0 }
	b.deliver(c.receive(t, b.now, b.wire(p))[0])
	if len(b.routes) != 0 || b.state(c.addr) != StateUnanswered {
		t.Errorf("accepted with lifetime zero: %+v", b.o.Peers(b.now))
	}
}

// An authentic 135 makes the next update follow the correspondent's number, also
// across the wrap (RFC 6275 §11.7.3, §9.5.1).
// Covers: M4, A6.
func TestSequenceAdopted(t *testing.T) {
	for _, ahead := range []mip6.Sequence{0, 1, 1000, 32767} {
		b := newBench(t, nil)
		b.attach(b.away(careOf1, true))
		c := b.node(1)
		c.deaf = true
		u, p := b.update(b.exchange(b.handle(traffic(c.addr))))
		c.deaf = false
		c.memory[home] = u.Sequence + ahead
		did := b.deliver(c.receive(t, b.now, b.wire(p))[0])
		v, _ := b.update(did)
		if v.Sequence != u.Sequence+ahead+1 {
			t.Errorf("sequence number %d, the correspondent has %d", v.Sequence, u.Sequence+ahead)
		}
		if len(only[role.Acknowledged](did)) != 1 {
			t.Error("the acknowledgement is not counted")
		}
		b.exchange(did)
		if b.state(c.addr) != StateOptimised {
			t.Errorf("state %v", b.state(c.addr))
		}
	}
}

// A correspondent that is never content with the sequence number does not make
// us send without end.
// Covers: M3.
func TestSequenceRefusedWithoutEnd(t *testing.T) {
	b := newBench(t, nil)
	b.attach(b.away(careOf1, true))
	c := b.node(1)
	c.spoil = func(a *mip6.BindingAcknowledgement) { a.Status = mip6.StatusSequenceOutOfWindow; a.Sequence += 5 }
	b.exchange(b.handle(traffic(c.addr)))
	b.pass(5 * time.Second)
	if _, _, n := inits(b.all); n != MaxFailures || b.state(c.addr) != StateUnanswered {
		t.Errorf("%d updates, state %v", n, b.state(c.addr))
	}
}

// A nonce that the correspondent does not accept is asked for anew, the other
// token is used again; and not without end (RFC 6275 §5.2.7, §11.7.3).
// Covers: C7, B6, Attack: forged answers.
func TestNonceRefused(t *testing.T) {
	for _, test := range []struct {
		status       mip6.Status
		home, careOf int
	}{
		{mip6.StatusExpiredHomeNonce, 1, 0},
		{mip6.StatusExpiredCareOfNonce, 0, 1},
		{mip6.StatusExpiredNonces, 1, 1},
	} {
		b, c, did := pending(t)
		_, p := b.update(did)
		c.spoil = func(a *mip6.BindingAcknowledgement) { a.Status = test.status }
		b.pass(31 * time.Second / 64) // not yet another nonce
		refusal := c.receive(t, b.now, b.wire(p))[0]
		did = b.deliver(refusal)
		b.wantInits(did, test.home, test.careOf, 0)
		c.spoil = nil
		b.exchange(did)
		if b.state(c.addr) != StateOptimised {
			t.Errorf("%v: state %v", test.status, b.state(c.addr))
		}

		b, c, did = pending(t)
		_, p = b.update(did)
		c.spoil = func(a *mip6.BindingAcknowledgement) { a.Status = test.status }
		b.exchange(b.deliver(c.receive(t, b.now, b.wire(p))[0]))
		b.exchange(b.pass(time.Second))
		if _, _, n := inits(b.all); n != maxNonceErrors+1 || b.state(c.addr) != StateUnanswered {
			t.Errorf("%v: %d updates, state %v", test.status, n, b.state(c.addr))
		}
	}
}

// The index in an update is that of the token it is made with, also when the
// nonces change between the tests and a test is repeated (RFC 6275 §5.2.6).
// Covers: B6.
func TestNonceIndices(t *testing.T) {
	b := newBench(t, nil)
	b.attach(b.away(careOf1, true))
	c := b.node(1)
	b.now = epoch.Add(29500 * time.Millisecond) // just before the nonce changes
	c.noCareOf = true
	b.exchange(b.handle(traffic(c.addr)))
	c.noCareOf = false
	u, _ := b.update(b.exchange(b.pass(time.Second)))
	o, _ := mip6.Find[mip6.NonceIndices](u)
	if o != (mip6.NonceIndices{Home: 100, CareOf: 101}) {
		t.Errorf("nonce indices %+v", o)
	}
	if b.state(c.addr) != StateOptimised || c.refused != 0 {
		t.Errorf("state %v, %d updates refused", b.state(c.addr), c.refused)
	}
}

// Authentic refusals: some pass, some are remembered longer (RFC 6275 §11.7.3).
func TestRejected(t *testing.T) {
	for status, want := range map[mip6.Status]State{
		mip6.StatusReasonUnspecified:            StateUnanswered,
		mip6.StatusInsufficientResources:        StateUnanswered,
		mip6.StatusInvalidCareOfAddress:         StateUnanswered,
		mip6.StatusAdministrativelyProhibited:   StateRefused,
		mip6.StatusTypeChangeDisallowed:         StateRefused,
		mip6.StatusHomeRegistrationNotSupported: StateRefused,
		mip6.Status(200):                        StateRefused,
	} {
		b := newBench(t, nil)
		b.attach(b.away(careOf1, true))
		c := b.node(1)
		c.status = status
		b.exchange(b.handle(traffic(c.addr)))
		p := b.o.Peers(b.now)
		if len(p) != 1 || p[0].State != want || len(b.routes) != 0 {
			t.Errorf("%v: %+v", status, p)
			continue
		}
		if long := p[0].RetryAfter == refusalPause; long != (want == StateRefused) {
			t.Errorf("%v: pause %v", status, p[0].RetryAfter)
		}
		// A refusal outlasts a move, a failure does not.
		c.status = mip6.StatusAccepted
		b.exchange(b.attach(b.away(careOf2, true)))
		if optimised := b.state(c.addr) == StateOptimised; optimised != (want == StateUnanswered) {
			t.Errorf("%v: optimised after a move: %v", status, optimised)
		}
		b.live(refusalPause+10*time.Second, c.addr)
		if b.state(c.addr) != StateOptimised {
			t.Errorf("%v: never tried again", status)
		}
	}
}
