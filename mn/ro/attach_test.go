package ro

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// A move takes all routes out in one batch before anything else, and tests the
// new care-of address at once, the most recently used correspondent first; the
// home keygen token is used again (RFC 6275 §5.2.7, §11.7.2).
// Covers: M5, A4.
func TestMove(t *testing.T) {
	b := newBench(t, nil)
	for n := range 4 {
		b.optimised(n + 1)
		b.pass(time.Second)
	}
	b.handle(traffic(peerAddr(2))) // used last

	did := b.attach(b.away(careOf2, false))
	f, ok := did[0].(role.Forward)
	if !ok || len(f.Changes) != 4 || len(only[role.Forward](did)) != 1 || len(b.routes) != 0 {
		t.Errorf("first %+v, want one change of the data plane that takes four routes out", did[0])
	}
	var order []netip.Addr
	for _, p := range messages[mip6.CareOfTestInit](did) {
		if p.Source != careOf2 {
			t.Errorf("care-of test from %v", p.Source)
		}
		order = append(order, p.Destination)
	}
	if want := []netip.Addr{peerAddr(2), peerAddr(4), peerAddr(3), peerAddr(1)}; !equal(order, want) {
		t.Errorf("care-of tests to %v, want %v", order, want)
	}
	b.wantInits(did, 0, 4, 0)

	// The home agent has not answered yet, and need not.
	did = b.exchange(did)
	b.wantInits(did, 0, 0, 4)
	for n := range 4 {
		if got := b.routes[peerAddr(n+1)].CareOf; got != careOf2 {
			t.Errorf("route to %v has care-of address %v", peerAddr(n+1), got)
		}
		if got := b.nodes[peerAddr(n+1)].binding(b.now); got != careOf2 {
			t.Errorf("%v bound %v", peerAddr(n+1), got)
		}
	}
}

func equal(a, b []netip.Addr) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Without a home keygen token a move needs a home test, and that needs a home
// agent that knows where we are (RFC 6275 §5.2.5).
func TestMoveWithoutHomeToken(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	c.noHome = true // the token is not renewed
	for range 21 {
		b.pass(10 * time.Second)
		b.exchange(b.handle(traffic(c.addr)))
	}
	c.noHome = false
	did := b.attach(b.away(careOf2, false))
	b.wantInits(did, 0, 1, 0)
	b.wantInits(b.exchange(did), 0, 0, 0)
	b.wantInits(b.pass(3*time.Second), 0, 0, 0)
	did = b.attach(b.away(careOf2, true))
	b.wantInits(did, 1, 0, 0)
	b.exchange(did)
	if b.routes[c.addr].CareOf != careOf2 {
		t.Errorf("route %+v", b.routes[c.addr])
	}
}

// A home keygen token in use is renewed, so that a move at any time needs but the
// care-of test; one that is not in use is not (RFC 6275 §5.2.7).
func TestHomeTokenKeptFresh(t *testing.T) {
	for at := 10 * time.Second; at < 1500*time.Second; at += 70 * time.Second {
		b := newBench(t, nil)
		c := b.optimised(1)
		b.live(at, c.addr)
		did := b.attach(b.away(careOf2, false))
		b.wantInits(did, 0, 1, 0)
		b.exchange(did)
		if b.routes[c.addr].CareOf != careOf2 {
			t.Errorf("after %v: route %+v", at, b.routes[c.addr])
		}
	}
	b := newBench(t, nil)
	b.optimised(1)
	b.wantInits(b.pass(time.Hour), 0, 0, 0)
}

// A token renewed in vain is no failure: the binding is still good.
func TestHomeTokenNotRenewed(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	c.noHome = true
	b.live(300*time.Second, c.addr)
	if b.routes[c.addr].CareOf != careOf1 {
		t.Errorf("route %+v", b.routes[c.addr])
	}
	if h, _, _ := inits(b.all); h != 1+keepTries {
		t.Errorf("%d home tests", h)
	}
}

// What failed at a place before the home agent acknowledged it is tried again
// then: there was no way to anybody.
func TestPlaceWithoutConnection(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	c.silent = true
	b.attach(b.away(careOf2, false))
	b.pass(8 * time.Second)
	if s := b.state(c.addr); s != StateUnanswered {
		t.Fatalf("state %v", s)
	}
	c.silent = false
	b.exchange(b.attach(b.away(careOf2, true)))
	if b.routes[c.addr].CareOf != careOf2 {
		t.Errorf("route %+v", b.routes[c.addr])
	}
}

// A question that a mobile correspondent missed, because it moved at the same
// moment, is put again as soon as the home agent has answered; the answer to the
// first one counts if it comes all the same.
//
// Covers: B6.
func TestAskedAgainWhenRegistered(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	first := b.attach(b.away(careOf2, false))
	b.wantInits(first, 0, 1, 0)
	second := b.attach(b.away(careOf2, true))
	b.wantInits(second, 0, 1, 0)
	b.wantInits(b.attach(b.away(careOf2, true)), 0, 0, 0)
	late := c.receive(t, b.now, b.wire(messages[mip6.CareOfTestInit](first)[0]))[0]
	b.exchange(b.deliver(late))
	if b.routes[c.addr].CareOf != careOf2 {
		t.Errorf("route %+v", b.routes[c.addr])
	}
}

// Answers that were meant for the place before do not count (RFC 6275 §11.6.2,
// §11.7.3).
// Covers: B6.
func TestLateAnswers(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	did := b.attach(b.away(careOf2, true))
	late := c.receive(t, b.now, b.wire(messages[mip6.CareOfTestInit](did)[0]))[0]
	did = b.attach(b.away(careOf3, true))
	b.wantDrop(b.deliver(late), role.DropNotForUs)
	late.Destination = careOf3
	b.wantDrop(b.deliver(late), role.DropUnsolicited)

	cot := c.receive(t, b.now, b.wire(messages[mip6.CareOfTestInit](did)[0]))[0]
	_, p := b.update(b.deliver(cot))
	ba := c.receive(t, b.now, b.wire(p))[0]
	b.attach(b.away(careOf1, true))
	b.wantDrop(b.deliver(ba), role.DropUnsolicited)
	if len(b.routes) != 0 {
		t.Errorf("route for an old care-of address: %v", b.routes)
	}
}

// Back at a care-of address within the life of its token, the update goes out
// without any test (RFC 6275 §11.6.1).
func TestReturnToCareOf(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	for i := range 10 {
		b.now = b.now.Add(time.Second)
		a := b.away([]netip.Addr{careOf2, careOf1}[i%2], true)
		did := b.attach(a)
		if i > 0 {
			b.wantInits(did, 0, 0, 1)
		}
		b.exchange(did)
		if b.routes[c.addr].CareOf != a.CareOf || c.binding(b.now) != a.CareOf {
			t.Errorf("move %d: route %+v", i, b.routes[c.addr])
		}
	}
	// Past their life both are asked for again.
	b.now = b.now.Add(MaxTokenLifetime)
	b.handle(traffic(c.addr))
	b.exchange(b.actions)
	did := b.attach(b.away(careOf2, true))
	if _, n, _ := inits(did); n != 1 {
		t.Errorf("%d care-of tests", n)
	}
}

// The same place again renews the home registration and moves nothing.
func TestSamePlace(t *testing.T) {
	b := newBench(t, nil)
	b.optimised(1)
	b.now = b.now.Add(20 * time.Second)
	if did := b.attach(b.away(careOf1, true)); len(did) != 0 {
		t.Errorf("did %v", did)
	}
	if len(b.routes) != 1 {
		t.Errorf("routes %v", b.routes)
	}
}

// Without a link the routes are out, nothing is sent, and everything comes back.
func TestLinkLost(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	b.exchange(b.handle(traffic(peerAddr(2)))) // one that is tested meanwhile
	if did := b.attach(Attachment{Expires: b.now.Add(time.Hour)}); len(only[role.Send](did)) != 0 || len(b.routes) != 0 {
		t.Errorf("did %v, routes %v", did, b.routes)
	}
	b.wantInits(b.pass(20*time.Second), 0, 0, 0)
	b.quiet()
	b.exchange(b.attach(b.away(careOf1, false)))
	if b.routes[c.addr].CareOf != careOf1 {
		t.Errorf("route %+v", b.routes[c.addr])
	}
}

// After a move those that are silent are told to delete what they have
// (RFC 6275 §11.7.2), and get it back with their traffic.
func TestMoveWhileIdle(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	b.pass(IdleAfter + time.Second)
	did := b.attach(b.away(careOf2, true))
	b.wantInits(did, 0, 0, 1)
	u, p := b.update(did)
	indices, _ := mip6.Find[mip6.NonceIndices](u)
	alternate, _ := mip6.Find[mip6.AlternateCareOf](u)
	if u.Lifetime != 0 || indices.CareOf != 0 || alternate.Addr != home || p.Source != careOf2 || p.HomeAddress != home {
		t.Errorf("deletion %+v in %+v", u, p)
	}
	if s := b.state(c.addr); s != StateDeregistering {
		t.Errorf("state %v", s)
	}
	b.exchange(did)
	if c.binding(b.now).IsValid() {
		t.Errorf("%v is still bound", c.binding(b.now))
	}
	b.quiet()
	// The deletion spent the home token (§9.5.3).
	did = b.handle(traffic(c.addr))
	b.wantInits(did, 1, 1, 0)
	b.now = b.now.Add(30 * time.Second) // the next nonce
	b.exchange(b.pass(time.Second))
	if b.routes[c.addr].CareOf != careOf2 {
		t.Errorf("route %+v, %+v", b.routes[c.addr], b.o.Peers(b.now))
	}
}

// Traffic that returns while the binding is being deleted does not wait for that.
func TestTrafficWhileDeleting(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	b.pass(IdleAfter)
	b.attach(b.away(careOf2, true))
	b.now = b.now.Add(100 * time.Millisecond)
	did := b.handle(traffic(c.addr))
	b.wantInits(did, 1, 1, 0)
	b.exchange(did)
	if b.routes[c.addr].CareOf != careOf2 {
		t.Errorf("route %+v", b.routes[c.addr])
	}
}

// Many correspondents are told one by one beyond a burst, and no one twice.
func TestMoveIsPaced(t *testing.T) {
	b := newBench(t, nil)
	const n = 60
	for i := range n {
		b.optimised(i + 1)
		b.pass(time.Second / 4)
	}
	did := b.attach(b.away(careOf2, false))
	b.wantInits(did, 0, batchBurst, 0)
	b.exchange(did)
	start := b.now
	for len(b.routes) < n {
		if b.o.Next().IsZero() || b.now.Sub(start) > 2*time.Second {
			t.Fatalf("%d routes after %v", len(b.routes), b.now.Sub(start))
		}
		b.now = b.o.Next()
		did := b.handle(role.Timeout{})
		if len(only[role.Send](did)) > 1 {
			t.Fatalf("sent %v at once", did)
		}
		b.exchange(did)
	}
	if d := b.now.Sub(start); d != (n-batchBurst)*batchInterval {
		t.Errorf("took %v", d)
	}
}

// At home every correspondent is told to delete its binding, from the home
// address and authorized by the home keygen token alone (RFC 6275 §5.2.5,
// §11.5.5, §11.7.2).
// Covers: M9, C9.
func TestReturnHome(t *testing.T) {
	b := newBench(t, nil)
	c, d := b.optimised(1), b.optimised(2)
	did := b.attach(Attachment{AtHome: true, Link: homeLink})
	if f, ok := did[0].(role.Forward); !ok || len(f.Changes) != 2 || len(b.routes) != 0 {
		t.Errorf("first %+v", did[0])
	}
	b.wantInits(did, 0, 0, 2)
	u, p := b.update(did)
	indices, _ := mip6.Find[mip6.NonceIndices](u)
	if p.Source != home || p.HomeAddress.IsValid() || u.Lifetime != 0 || u.Flags != mip6.UpdateAcknowledge || indices.CareOf != 0 || len(u.Options) != 2 {
		t.Errorf("deletion %+v in %+v", u, p)
	}
	if l := only[role.Send](did)[0].Link; l != homeLink {
		t.Errorf("sent on link %d", l)
	}
	b.exchange(did)
	if c.binding(b.now).IsValid() || d.binding(b.now).IsValid() {
		t.Error("a correspondent is still bound")
	}
	b.quiet()
	if did := b.attach(Attachment{AtHome: true, Link: homeLink, Registered: true}); len(did) != 0 {
		t.Errorf("did %v", did)
	}
}

// Without a home keygen token the home test comes first, when packets to the home
// address arrive at home (RFC 6275 §11.5.5, §11.6.1); an answer that is lost is
// asked for again.
func TestReturnHomeWithoutToken(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	b.pass(MaxTokenLifetime)
	b.wantInits(b.attach(Attachment{AtHome: true, Link: homeLink}), 0, 0, 0)
	if s := b.state(c.addr); s != StateDeregistering {
		t.Errorf("state %v", s)
	}
	c.silent = true
	did := b.attach(Attachment{AtHome: true, Link: homeLink, Registered: true})
	b.wantInits(did, 1, 0, 0)
	if p := messages[mip6.HomeTestInit](did)[0]; p.Source != home || only[role.Send](did)[0].Link != homeLink {
		t.Errorf("home test %+v", p)
	}
	c.silent, c.deaf = false, true
	did = b.exchange(b.pass(time.Second))
	b.wantInits(did, 0, 0, 1)
	c.deaf = false
	did = b.pass(time.Second)
	b.wantInits(did, 0, 0, 1)
	b.exchange(did)
	if c.binding(b.now).IsValid() {
		t.Error("still bound")
	}
	b.quiet()
}

// A correspondent that does not answer at home is told again, ever more rarely,
// that the binding has ended, and at last left to its lifetime: nothing goes on for
// ever.
// Covers: B3, B6.
func TestReturnHomeUnanswered(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	c.silent = true
	b.pass(time.Second)
	b.attach(Attachment{AtHome: true, Link: homeLink, Registered: true})
	b.wantInits(b.pass(14*time.Second), MaxFailures, 0, MaxFailures-1)
	did := b.pass(time.Hour)
	if n := len(messages[mip6.HomeTestInit](did)) / MaxFailures; n < 3 || n > 6 {
		t.Errorf("tried again %d times", n)
	}
	b.quiet()

	// It could not be reached for a moment.
	b = newBench(t, nil)
	c = b.optimised(1)
	c.silent = true
	b.pass(time.Second)
	b.attach(Attachment{AtHome: true, Link: homeLink, Registered: true})
	b.pass(14 * time.Second)
	c.silent = false
	b.live(20 * time.Second)
	if c.binding(b.now).IsValid() {
		t.Error("still bound")
	}
	b.quiet()

	// Nor where the home agent never answers.
	b = newBench(t, nil)
	b.optimised(1)
	b.pass(MaxTokenLifetime)
	b.attach(Attachment{AtHome: true, Link: homeLink})
	b.pass(time.Hour)
	b.quiet()
	b.wantInits(b.attach(Attachment{AtHome: true, Link: homeLink, Registered: true}), 0, 0, 0)
}

// What waits for the home agent goes on with its acknowledgement, paced as after
// a move; who has fallen silent meanwhile does not.
func TestWaitForHomeAgent(t *testing.T) {
	for wait, want := range map[time.Duration]int{5 * time.Second: batchBurst + 4, IdleAfter: 0} {
		b := newBench(t, nil)
		b.attach(b.away(careOf1, false))
		for n := range batchBurst + 4 {
			b.node(n + 1)
			did := b.handle(traffic(peerAddr(n + 1)))
			b.wantInits(did, 0, 1, 0)
			b.exchange(did)
		}
		b.wantInits(b.pass(wait), 0, 0, 0)
		did := b.attach(b.away(careOf1, true))
		b.wantInits(did, min(want, batchBurst), 0, 0)
		b.exchange(did)
		for range 4 {
			b.exchange(b.pass(batchInterval))
		}
		if len(b.routes) != want {
			t.Errorf("%d routes after waiting %v, want %d", len(b.routes), wait, want)
		}
		if want == 0 {
			b.quiet()
		}
	}
}

// Away again before the deletion was answered.
func TestLeaveHomeAgain(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	b.attach(Attachment{AtHome: true, Link: homeLink})
	b.now = b.now.Add(30 * time.Second)
	did := b.attach(b.away(careOf1, true))
	b.wantInits(did, 1, 1, 0) // the tokens are spent (§9.5.3)
	b.exchange(did)
	if b.routes[c.addr].CareOf != careOf1 || c.binding(b.now) != careOf1 {
		t.Errorf("%+v", b.o.Peers(b.now))
	}
}

// Stop takes everything back and ends at once (RFC 6275 §11.7.2).
// Covers: B2, B6.
func TestStop(t *testing.T) {
	b := newBench(t, nil)
	c, d := b.optimised(1), b.optimised(2)
	b.pass(MaxTokenLifetime) // the tokens of both are too old now
	b.exchange(b.handle(traffic(d.addr)))
	e := b.optimised(3)
	b.node(4).silent = true
	b.handle(traffic(peerAddr(4)))
	did := b.handle(role.Stop{})
	b.wantInits(did, 0, 0, 1) // only of e is there a token
	b.exchange(did)
	if u, _ := b.update(did); u.Flags != 0 || u.Lifetime != 0 {
		t.Errorf("deletion %+v", u)
	}
	if e.binding(b.now).IsValid() {
		t.Error("still bound")
	}
	b.quiet()
	if b.o.Active() {
		t.Error("still active")
	}
	for _, a := range [][]role.Action{b.handle(traffic(c.addr)), b.attach(b.away(careOf2, true)), b.handle(role.Stop{}),
		b.did(b.o.Reconfigure(b.now, Config{Policy: Policy{Mode: On}, Random: seeded(2)})), b.handle(role.Timeout{})} {
		if len(a) != 0 {
			t.Errorf("did %v after the end", a)
		}
	}
	if b.o.Owns(mip6.Packet{Source: c.addr, Destination: home, Message: mip6.HomeTest{}}) {
		t.Error("owns messages after the end")
	}
}

// The end does not exceed the rate limit (RFC 6275 §11.8).
// Covers: M3.
func TestStopKeepsRate(t *testing.T) {
	b := newBench(t, nil)
	b.optimised(1)
	for _, a := range []netip.Addr{careOf2, careOf1} {
		b.exchange(b.attach(b.away(a, true)))
	}
	if _, _, u := inits(b.all); u != MaxUpdateRate {
		t.Fatalf("%d updates", u)
	}
	b.wantInits(b.handle(role.Stop{}), 0, 0, 0)
	b.quiet()
}

// Stop away from home and nowhere.
func TestStopElsewhere(t *testing.T) {
	b := newBench(t, nil)
	b.optimised(1)
	b.attach(Attachment{})
	b.wantInits(b.handle(role.Stop{}), 0, 0, 0)
	b.quiet()
}

// Route optimisation can be switched off, as a whole or for a correspondent, and
// on again (RFC 6275 §8.5).
// Covers: M14.
func TestReconfigure(t *testing.T) {
	b := newBench(t, nil)
	c, d := b.optimised(1), b.optimised(2)
	config := Config{Name: "train", Home: careOf3, Random: seeded(3),
		Policy: Policy{Mode: On, Peers: []netip.Prefix{netip.PrefixFrom(c.addr, 128)}}}
	did := b.did(b.o.Reconfigure(b.now, config))
	b.wantInits(did, 0, 0, 1)
	b.exchange(did)
	if c.binding(b.now).IsValid() || d.binding(b.now) != careOf1 || len(b.routes) != 1 || b.state(c.addr) != 0 {
		t.Errorf("bound %v and %v, routes %v", c.binding(b.now), d.binding(b.now), b.routes)
	}
	if did := b.handle(traffic(c.addr)); len(did) != 0 {
		t.Errorf("did %v", did)
	}
	config.Policy = Policy{}
	b.exchange(b.did(b.o.Reconfigure(b.now, config)))
	if b.o.Active() || d.binding(b.now).IsValid() {
		t.Error("still active")
	}
	b.quiet()
	config.Policy = Policy{Mode: List, Peers: []netip.Prefix{netip.PrefixFrom(c.addr, 128)}}
	b.did(b.o.Reconfigure(b.now, config))
	b.now = b.now.Add(30 * time.Second)
	b.exchange(b.handle(traffic(c.addr)))
	if !b.o.Active() || b.routes[c.addr] != (overlay.Route{Pair: overlay.Pair{Home: home, Peer: c.addr, Side: overlay.MobileSide}, CareOf: careOf1, Link: uplink}) {
		t.Errorf("routes %v", b.routes)
	}
}

// Switched off while nowhere, it only forgets.
func TestReconfigureNowhere(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	b.attach(Attachment{})
	b.wantInits(b.did(b.o.Reconfigure(b.now, Config{Random: seeded(3)})), 0, 0, 0)
	b.quiet()
	// What the correspondent has is deleted at the next place.
	b.exchange(b.attach(b.away(careOf2, true)))
	if c.binding(b.now).IsValid() {
		t.Error("still bound")
	}
	b.quiet()
}
