package ro

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

func bindingError(peer netip.Addr, status mip6.BindingErrorStatus, about netip.Addr) mip6.Packet {
	return mip6.Packet{Source: peer, Destination: careOf1, Message: mip6.BindingError{Status: status, Home: about}}
}

// A Binding Error of a correspondent that lost its bindings takes the route out
// at once and starts anew, with new tokens (RFC 6275 §11.3.6).
// Covers: M12.
func TestBindingUnknown(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	c.restart(1)
	did := b.deliver(bindingError(c.addr, mip6.BindingErrorUnknownBinding, home))
	if f := only[role.Forward](did); len(f) != 1 || f[0].Changes[0].Deoptimise == nil || len(b.routes) != 0 {
		t.Errorf("did %v", did)
	}
	b.wantInits(did, 1, 1, 0)
	b.exchange(did)
	if b.routes[c.addr].CareOf != careOf1 || c.refused != 0 {
		t.Errorf("routes %v, %d updates refused", b.routes, c.refused)
	}
}

// Binding Errors that concern nothing of ours are counted, and create nothing
// (RFC 6275 §11.3.6).
// Covers: M12, Attack: forged answers.
func TestForeignBindingError(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	stranger := peerAddr(9)
	to := func(p mip6.Packet, a netip.Addr) mip6.Packet { p.Destination = a; return p }
	routed := bindingError(c.addr, mip6.BindingErrorUnknownBinding, home)
	routed.RouteHome = home
	for _, test := range []struct {
		name   string
		p      mip6.Packet
		reason role.DropReason
	}{
		{"stranger", bindingError(stranger, mip6.BindingErrorUnknownBinding, home), role.DropUnsolicited},
		{"about another home address", bindingError(c.addr, mip6.BindingErrorUnknownBinding, careOf3), role.DropUnsolicited},
		{"to an address that is not ours", to(bindingError(c.addr, mip6.BindingErrorUnknownBinding, home), careOf2), role.DropUnsolicited},
		{"with a routing header", routed, role.DropNoHomeAddress},
		{"unknown type, nothing outstanding", bindingError(c.addr, mip6.BindingErrorUnknownMHType, netip.IPv6Unspecified()), role.DropUnsolicited},
		{"unknown status", bindingError(c.addr, 3, home), role.DropUnexpected},
	} {
		t.Run(test.name, func(t *testing.T) {
			b.wantDrop(b.deliver(test.p), test.reason)
			if len(b.routes) != 1 || len(b.o.peers) != 1 {
				t.Errorf("routes %v, peers %v", b.routes, b.o.Peers(b.now))
			}
		})
	}
	// Where there is no route, a Binding Error has nothing to say.
	d := b.node(2)
	b.handle(traffic(d.addr))
	b.wantDrop(b.deliver(bindingError(d.addr, mip6.BindingErrorUnknownBinding, home)), role.DropUnsolicited)
}

// A flood of forged Binding Errors costs the optimisation of that one
// correspondent, and a bounded number of messages (RFC 6275 §11.3.6).
// Covers: M12, Attack: forged answers.
func TestBindingErrorFlood(t *testing.T) {
	b := newBench(t, nil)
	c, d := b.optimised(1), b.optimised(2)
	before := len(b.all)
	for range 600 {
		b.now = b.now.Add(100 * time.Millisecond)
		b.exchange(b.handle(role.Timeout{}))
		b.exchange(b.deliver(bindingError(c.addr, mip6.BindingErrorUnknownBinding, home)))
		b.exchange(b.handle(traffic(c.addr)))
	}
	if h, co, u := inits(b.all[before:]); h > 6 || co > 6 || u > 6 {
		t.Errorf("%d home tests, %d care-of tests, %d updates in a minute", h, co, u)
	}
	if b.routes[d.addr].CareOf != careOf1 {
		t.Error("another correspondent suffers")
	}
	b.live(time.Minute, c.addr)
	if b.routes[c.addr].CareOf != careOf1 {
		t.Errorf("not optimised after the flood: %+v", b.o.Peers(b.now))
	}
}

// A node that does not know the Mobility Header, or its types, is remembered for
// hours, not for ever (RFC 6275 §11.3.5, §11.6.2).
// Covers: M12.
func TestPeerRefused(t *testing.T) {
	for name, refusal := range map[string]role.Event{
		"parameter problem to the home address":    role.PeerRefused{Local: home, Peer: peerAddr(1)},
		"parameter problem to the care-of address": role.PeerRefused{Local: careOf1, Peer: peerAddr(1)},
		"binding error": role.MessageReceived{Link: uplink,
			Packet: bindingError(peerAddr(1), mip6.BindingErrorUnknownMHType, netip.IPv6Unspecified())},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.attach(b.away(careOf1, true))
			c := b.node(1)
			c.silent = true
			b.handle(traffic(c.addr))
			if did := b.handle(refusal); len(did) != 0 {
				t.Errorf("did %v", did)
			}
			b.wantInits(b.pass(10*time.Second), 0, 0, 0)
			if p := b.o.Peers(b.now); len(p) != 1 || p[0].State != StateRefused || p[0].RetryAfter < time.Hour {
				t.Errorf("peers %+v", p)
			}
			b.wantInits(b.live(time.Hour, c.addr), 0, 0, 0)
			b.wantInits(b.attach(b.away(careOf2, true)), 0, 0, 0)
			c.silent = false
			b.live(2*time.Hour, c.addr)
			if b.routes[c.addr].CareOf != careOf2 {
				t.Errorf("never tried again: %+v", b.o.Peers(b.now))
			}
		})
	}
}

// Who answered a test knows Mobile IPv6, whatever a forged ICMPv6 error says; nor
// do errors count when nothing is outstanding, and none enters a node in the list
// (RFC 6275 §11.3.5).
// Covers: M12, Attack: forged answers.
func TestForgedPeerRefused(t *testing.T) {
	b := newBench(t, nil)
	b.attach(b.away(careOf1, true))
	c := b.node(1)
	refuse := func(local, peer netip.Addr) []role.Action {
		return b.handle(role.PeerRefused{Local: local, Peer: peer})
	}
	b.wantDrop(refuse(home, c.addr), role.DropUnsolicited)
	b.quiet()

	did := b.handle(traffic(c.addr))
	b.wantDrop(refuse(careOf2, c.addr), role.DropUnsolicited)
	b.wantDrop(refuse(home, peerAddr(2)), role.DropUnsolicited)
	refuse(home, c.addr) // forged while the true answers are on their way
	c.noCareOf = true    // and one of them is lost
	b.exchange(did)
	c.noCareOf = false
	b.exchange(b.pass(time.Second))
	if b.state(c.addr) != StateOptimised {
		t.Fatalf("state %v", b.state(c.addr))
	}
	b.wantDrop(refuse(careOf1, c.addr), role.DropUnsolicited)
	b.attach(b.away(careOf2, true)) // a test is under way again
	b.wantDrop(refuse(careOf2, c.addr), role.DropUnsolicited)

	b.handle(traffic(peerAddr(3)))
	b.pass(20 * time.Second) // given up
	b.wantDrop(refuse(home, peerAddr(3)), role.DropUnsolicited)
}

// A correspondent that answered long ago and does not any more loses that trust.
func TestCapabilityForgotten(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	c.silent = true
	b.live(30*time.Minute, c.addr)
	for b.state(c.addr) != StateTesting {
		b.live(overlay.TrafficInterval, c.addr)
		if b.now.Sub(epoch) > 3*time.Hour {
			t.Fatal("never tried again")
		}
		b.handle(traffic(c.addr))
	}
	if did := b.handle(role.PeerRefused{Local: home, Peer: c.addr}); len(did) != 0 {
		t.Errorf("did %v", did)
	}
	b.pass(10 * time.Second)
	if b.state(c.addr) != StateRefused {
		t.Errorf("state %v", b.state(c.addr))
	}
}

// A Binding Refresh Request renews a binding in use and no other (RFC 6275
// §11.7.4).
// Covers: M13.
func TestRefreshRequest(t *testing.T) {
	brr := func(peer, to netip.Addr) mip6.Packet {
		return mip6.Packet{Source: peer, Destination: to, Message: mip6.BindingRefreshRequest{}}
	}
	b := newBench(t, nil)
	c := b.optimised(1)
	b.pass(50 * time.Second)
	did := b.deliver(brr(c.addr, home))
	b.wantInits(did, 0, 0, 1) // the tokens are still good
	b.exchange(did)
	if got := b.o.Peers(b.now)[0].Remaining; got != MaxBindingLifetime {
		t.Errorf("remaining %v", got)
	}

	b.wantDrop(b.deliver(brr(peerAddr(9), home)), role.DropUnsolicited)
	b.wantDrop(b.deliver(brr(c.addr, careOf1)), role.DropNotForUs)
	b.handle(traffic(peerAddr(2)))
	b.wantDrop(b.deliver(brr(peerAddr(2), home)), role.DropUnsolicited)
	routed := brr(c.addr, careOf1)
	routed.RouteHome = home
	b.wantDrop(b.deliver(routed), role.DropNoHomeAddress)

	// Forged ones do not make us send without end.
	b.handle(traffic(c.addr))
	before := len(b.all)
	for range 100 {
		b.now = b.now.Add(50 * time.Millisecond)
		b.exchange(b.deliver(brr(c.addr, home)))
	}
	if _, _, u := inits(b.all[before:]); u > hintRate.Burst {
		t.Errorf("%d updates in five seconds", u)
	}

	// While it is renewed, and without traffic, it is ignored.
	c.silent = true
	b.now = b.now.Add(time.Minute)
	b.handle(traffic(c.addr))
	b.deliver(brr(c.addr, home))
	b.wantInits(b.deliver(brr(c.addr, home)), 0, 0, 0)
	c.silent = false
	b.exchange(b.pass(time.Second))
	b.pass(IdleAfter)
	b.wantInits(b.deliver(brr(c.addr, home)), 0, 0, 0)
}

// A binding in use is renewed well before it ends, without a moment in the
// tunnel; one that is not runs out and leaves nothing behind (RFC 6275 §11.7.3,
// §11.1).
// Covers: B6.
func TestRefreshAndExpiry(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	did := b.live(time.Hour, c.addr)
	if f := only[role.Forward](did); len(f) != 0 {
		t.Errorf("the data plane was changed: %+v", f)
	}
	h, co, u := inits(did)
	if u < 8 || u > 10 || h > 20 || co > 10 {
		t.Errorf("%d home tests, %d care-of tests, %d updates in an hour", h, co, u)
	}
	if c.refused != 0 {
		t.Errorf("%d updates refused", c.refused)
	}
	left := b.o.Peers(b.now)[0].Remaining
	did = b.pass(left - time.Millisecond)
	b.wantInits(did, 0, 0, 0)
	if len(b.routes) != 1 {
		t.Error("the route went before its time")
	}
	b.pass(time.Millisecond)
	b.quiet()
	if c.binding(b.now.Add(-time.Second)) != careOf1 {
		t.Error("the binding ended there before it ended here")
	}
}

// Traffic that returns between the time of renewal and the end renews at once.
func TestRefreshOverdue(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	b.pass(MaxBindingLifetime - 10*time.Second)
	did := b.exchange(b.handle(traffic(c.addr)))
	b.wantInits(did, 0, 0, 1)
	if got := b.o.Peers(b.now)[0].Remaining; got != MaxBindingLifetime {
		t.Errorf("remaining %v", got)
	}
}

// A correspondent may forget the sequence number, we do not as long as we
// remember it (RFC 6275 §11.7.2).
// Covers: M3.
func TestSequenceOutlivesBinding(t *testing.T) {
	b := newBench(t, nil)
	c := b.optimised(1)
	b.pass(10 * time.Minute)
	b.quiet()
	first := c.updates[0].Message.(mip6.BindingUpdate).Sequence
	b.exchange(b.handle(traffic(c.addr)))
	if s := c.updates[len(c.updates)-1].Message.(mip6.BindingUpdate).Sequence; s != first+1 {
		t.Errorf("sequence number %d after %d", s, first)
	}
	// An hour later nothing is left in memory.
	b.pass(2 * time.Hour)
	b.handle(role.Timeout{})
	if len(b.o.peers) != 0 || len(b.o.order) != 0 {
		t.Errorf("%d entries left", len(b.o.peers))
	}
}
