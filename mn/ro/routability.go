package ro

import (
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// tokenMargin is what a token must still have before it is used: the update
// has to arrive before it ends.
const tokenMargin = 3 * time.Second

// proof is a keygen token that was received, with its nonce index.
type proof struct {
	token   mip6.KeygenToken
	index   uint16
	address netip.Addr // what a care-of token is for
	// since is when the token was asked for, which is before it was made; zero:
	// there is none.
	since time.Time
	// spent: a home token that authorized a deletion. After that the correspondent
	// takes none of the tokens of before for a binding (RFC 6275 §9.5.3).
	spent bool
}

// valid reports whether the token may be used (RFC 6275 §5.2.7).
func (p proof) valid(now time.Time) bool {
	return !p.since.IsZero() && now.Add(tokenMargin).Before(p.since.Add(MaxTokenLifetime))
}

// test is one half of the return routability procedure with a correspondent: a
// token, and the exchange that brings a new one (RFC 6275 §11.6).
type test struct {
	proof
	// cookie is that of the last message, sent at asked, and former that of the
	// one before in the same exchange: its answer may be on its way still.
	cookie, former mip6.Cookie
	asked          time.Time
	formerAsked    time.Time // zero: there is none
	tries          int
	retransmit     time.Time // when to send the next; zero: no exchange is under way
	inits          pace
}

// asking reports whether an answer to cookie is waited for.
func (t *test) asking() bool { return !t.retransmit.IsZero() && t.tries > 0 }

func (t *test) stop() { t.tries, t.retransmit, t.formerAsked = 0, time.Time{}, time.Time{} }

// sentWith is when the question with a cookie was sent; zero for a cookie that no
// answer is waited for with.
func (t *test) sentWith(cookie mip6.Cookie) time.Time {
	switch {
	case !t.asking():
		return time.Time{}
	case cookie == t.cookie:
		return t.asked
	case !t.formerAsked.IsZero() && cookie == t.former:
		return t.formerAsked
	default:
		return time.Time{}
	}
}

// answered takes the token that an answer brought, and reports whether one with
// its cookie is waited for.
func (t *test) answered(cookie mip6.Cookie, token mip6.KeygenToken, index uint16, address netip.Addr) bool {
	since := t.sentWith(cookie)
	if since.IsZero() {
		return false
	}
	t.proof = proof{token: token, index: index, address: address, since: since}
	t.stop()
	return true
}

// advance does what an entry needs next: the missing tests, in parallel, and
// when it has the tokens the binding update (RFC 6275 §11.6.1, §11.7.2). What
// has to wait for the home agent waits for the next Attach.
func (o *Optimiser) advance(now time.Time, e *entry) {
	if e.phase != proving || o.at.nowhere() {
		return
	}
	if e.deleting && !now.Before(e.held) {
		e.rest()
		return
	}
	ready := o.proveHome(now, e)
	if !e.deleting {
		ready = o.proveCareOf(now, e) && ready
	}
	if ready {
		o.update(now, e)
	}
}

// proveHome reports whether there is a home keygen token to use, and asks for
// one otherwise. The answer comes through the home agent, which has to know
// where we are (RFC 6275 §5.2.5).
func (o *Optimiser) proveHome(now time.Time, e *entry) bool {
	if e.home.valid(now) {
		return true
	}
	if e.home.retransmit.IsZero() && o.at.Registered {
		o.ask(now, e, &e.home)
	}
	return false
}

// proveCareOf does the same for the care-of keygen token; that of another
// care-of address was put aside (see arrive).
func (o *Optimiser) proveCareOf(now time.Time, e *entry) bool {
	if e.careOf.valid(now) {
		return true
	}
	if e.careOf.retransmit.IsZero() {
		o.ask(now, e, &e.careOf)
	}
	return false
}

// ask sends a Home Test Init or Care-of Test Init, each with a cookie of its own
// (RFC 6275 §11.8), or puts it off to when it may be sent.
func (o *Optimiser) ask(now time.Time, e *entry, t *test) {
	if at := e.allowed(now, &t.inits); at.After(now) {
		t.retransmit = at
		return
	}
	t.inits.record(now)
	if t.tries > 0 {
		t.former, t.formerAsked = t.cookie, t.asked
	}
	o.config.Random(t.cookie[:])
	t.asked = now
	t.retransmit = now.Add(InitialBindAckTimeout << t.tries)
	t.tries++
	if t == &e.home {
		o.stats.HomeTestInits++
		o.act(role.Send{
			Packet: mip6.Packet{Source: o.config.Home, Destination: e.peer, Message: mip6.HomeTestInit{Cookie: t.cookie}},
			Link:   o.homeLink(),
		})
		return
	}
	at := o.at.of(e.peer)
	o.stats.CareOfTestInits++
	o.act(role.Send{
		Packet: mip6.Packet{Source: at.CareOf, Destination: e.peer, Message: mip6.CareOfTestInit{Cookie: t.cookie}},
		Link:   at.Link,
	})
}

// homeLink is the link for packets from the home address: away from home none,
// since they are routed into the tunnel.
func (o *Optimiser) homeLink() int {
	if o.at.AtHome {
		return o.at.Link
	}
	return 0
}

// allowed is the earliest time at which an entry may send one more message of
// the type that p counts.
func (e *entry) allowed(now time.Time, p *pace) time.Time {
	if at := p.earliest(now); at.After(e.notBefore) {
		return at
	}
	return e.notBefore
}

// testDue handles a test that was not answered in time.
func (o *Optimiser) testDue(now time.Time, e *entry, t *test) {
	if t == &e.home && !o.at.Registered {
		t.stop() // until the home agent knows where we are
		return
	}
	if e.doubted {
		o.refuse(now, e, "correspondent does not know Mobile IPv6")
		return
	}
	tries := MaxFailures
	if e.phase == resting {
		tries = keepTries
	}
	if t.tries < tries {
		o.ask(now, e, t)
		return
	}
	t.stop()
	if e.phase != resting {
		o.fail(now, e, "correspondent does not answer the return routability procedure")
	}
}

// homeTest handles a Home Test (RFC 6275 §11.6.2).
func (o *Optimiser) homeTest(now time.Time, e role.MessageReceived, m mip6.HomeTest) {
	p := e.Packet
	if p.Destination != o.config.Home {
		o.drop(role.DropNotForUs, p)
		return
	}
	// What comes to the home address on the link of the care-of address did not
	// come through the tunnel: a neighbour made it.
	if o.at.away() && e.Link != 0 && e.Link == o.at.physical() {
		o.drop(role.DropUnexpected, p)
		return
	}
	peer := o.peers[p.Source]
	if peer == nil || !peer.home.answered(m.Cookie, m.Token, m.NonceIndex, netip.Addr{}) {
		o.drop(role.DropUnsolicited, p)
		return
	}
	o.answered(now, peer)
}

// careOfTest handles a Care-of Test (RFC 6275 §11.6.2). The exchange ends when
// the mobile node moves, so that the present care-of address is the one that was
// asked for.
func (o *Optimiser) careOfTest(now time.Time, p mip6.Packet, m mip6.CareOfTest) {
	if !o.at.away() || p.Destination != o.at.of(p.Source).CareOf {
		o.drop(role.DropNotForUs, p)
		return
	}
	peer := o.peers[p.Source]
	if peer == nil || !peer.careOf.answered(m.Cookie, m.Token, m.NonceIndex, p.Destination) {
		o.drop(role.DropUnsolicited, p)
		return
	}
	o.answered(now, peer)
}

// answered goes on after a test: whoever returns a cookie knows Mobile IPv6,
// whatever an ICMPv6 error says.
func (o *Optimiser) answered(now time.Time, e *entry) {
	e.proven, e.capable, e.doubted, e.refused = true, true, false, false
	e.keepFresh()
	o.advance(now, e)
}
