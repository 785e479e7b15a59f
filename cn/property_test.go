package cn

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// delivery is a binding update as somebody sent it: with the tokens of both
// addresses, or without.
type delivery struct {
	request
	packet   mip6.Packet
	genuine  bool
	accepted bool // once is all
}

// chaos drives a correspondent with random events, good and bad, and checks after
// each that there is no binding without valid tokens, and no answer without cause.
type chaos struct {
	*world
	r       *rand.Rand
	config  Config
	mobiles []*mobile
	sent    []*delivery
	nonces  map[uint16]time.Time // first seen, of this life
	trace   strings.Builder
}

// TestProperties: no binding without a valid update behind it, none for longer than
// its mobile asked for, none from what was recorded, changed or made up; entries
// are few; routes are those of the bindings; every acknowledgement answers an
// update; and the same events give the same actions.
//
// Covers: C4, C5, C7, C8, C9, C10, Attack: replay, Attack: cache exhaustion.
func TestProperties(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 30
	}
	bindings, unreachable, refusals := 0, 0, map[mip6.Status]int{}
	for seed := range seeds {
		trace, s := runChaos(t, seed)
		if seed < 10 {
			if again, _ := runChaos(t, seed); again != trace {
				t.Errorf("seed %d: the same events gave other actions", seed)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		bindings += int(s.Registrations + s.Moves + s.Refreshes)
		unreachable += int(s.Unreachable)
		for status := range mip6.Status(255) {
			refusals[status] += strings.Count(trace, fmt.Sprintf("ack %d to", status))
		}
	}
	// The events must have been worth the while.
	for _, status := range []mip6.Status{0, 130, 135, 136, 137, 138, 174} {
		if refusals[status] == 0 {
			t.Errorf("status %v never occurred", status)
		}
	}
	if bindings < int(seeds)*5 || unreachable == 0 {
		t.Errorf("only %d updates were accepted, %d bindings ended by errors", bindings, unreachable)
	}
}

func runChaos(t *testing.T, seed uint64) (string, Stats) {
	c := &chaos{r: rand.New(rand.NewPCG(seed, 1)), config: testConfig(), nonces: map[uint16]time.Time{}}
	c.config.MaxBindings = 5
	c.world = newWorld(t, c.config)
	for _, home := range []netip.Addr{homeA, homeB, careOf3, netip.MustParseAddr("2001:db8:1::d")} {
		for _, peer := range []netip.Addr{own, own2} {
			m := c.mobile(home, careOf1)
			m.peer = peer
			c.mobiles = append(c.mobiles, m)
		}
	}
	for range 200 {
		c.step()
		if t.Failed() {
			break
		}
	}
	s := c.node.Stats()
	c.advance(time.Hour)
	c.wantEmpty()
	return c.trace.String(), s
}

func (c *chaos) step() {
	m := c.mobiles[c.r.IntN(len(c.mobiles))]
	switch n := c.r.IntN(100); {
	case n < 25:
		if careOf := []netip.Addr{careOf1, careOf2, careOf3, homeA}[c.r.IntN(4)]; careOf != m.home {
			m.careOf = careOf
		}
		c.learn(m)
	case n < 55:
		c.update(m)
	case n < 63 && len(c.sent) > 0:
		c.deliver(c.sent[c.r.IntN(len(c.sent))]) // replay
	case n < 70:
		c.forge(m)
	case n < 80:
		c.event(role.TrafficSeen{Home: m.home, Peer: m.peer, Side: overlay.Side(1 + c.r.IntN(3))}, nil)
	case n < 82:
		c.event(role.UnknownHomeAddress{Source: m.careOf, Destination: m.peer, Home: m.home}, nil)
	case n < 83:
		c.reload()
	case n < 84:
		c.unreachable(m)
	case n < 86:
		c.now = c.now.Add(time.Duration(c.r.IntN(30)) * time.Second) // the timers are late
	default:
		c.advance(time.Duration(c.r.IntN(60)) * time.Second)
	}
}

// unreachable lets errors come about what is sent to a mobile.
func (c *chaos) unreachable(m *mobile) {
	e := role.RouteUnreachable{Home: m.home, Peer: m.peer, CareOf: m.careOf}
	for range 1 + c.r.IntN(4) {
		e.Received += uint64(c.r.IntN(4) / 3)
		c.event(e, nil)
		c.advance(time.Duration(c.r.IntN(5)) * time.Second)
	}
	c.event(e, nil)
}

// learn tests one address of a mobile, or both.
func (c *chaos) learn(m *mobile) {
	if !c.config.Optimise {
		return
	}
	if c.r.IntN(4) > 0 {
		m.testHome()
		c.seen(m.indices.Home)
	}
	m.testCareOf()
	c.seen(m.indices.CareOf)
}

func (c *chaos) seen(index uint16) {
	if _, ok := c.nonces[index]; !ok {
		c.nonces[index] = c.now
	}
}

// update sends what a mobile itself might send: genuine if it has learnt its
// tokens for these addresses.
func (c *chaos) update(m *mobile) {
	r := m.registers(time.Duration(c.r.IntN(600)) * time.Second)
	if c.r.IntN(4) == 0 {
		r = m.deletes()
		if c.r.IntN(2) == 0 {
			r.source, r.home = m.careOf, m.home
		}
	} else if r.lifetime < mip6.LifetimeUnit {
		r.lifetime = mip6.LifetimeUnit
	}
	if c.r.IntN(3) == 0 {
		r.flags = 0
	}
	r.sequence += mip6.Sequence(c.r.IntN(3))
	m.sequence = r.sequence
	if c.r.IntN(5) == 0 && r.lifetime > 0 {
		r.source, r.alternate = careOf2, m.careOf
	}
	d := &delivery{request: r, packet: r.packet(), genuine: true}
	c.sent = append(c.sent, d)
	c.deliver(d)
}

// forge sends an update with something wrong.
func (c *chaos) forge(m *mobile) {
	r := m.registers(time.Minute)
	m.sequence--
	other := c.mobiles[c.r.IntN(len(c.mobiles))]
	spoils := []func(){
		func() { r.key = mip6.NewBindingKey(other.careOfToken, m.careOfToken) },
		func() { r.key = mip6.NewBindingKey(m.homeToken, m.homeToken) },
		func() { r.key = mip6.NewDeregistrationKey(m.homeToken) },
		func() { r.flip = 7 + c.r.IntN(5) },
		func() { r.home = netip.MustParseAddr("2001:db8:1::e") },
		func() { r.alternate = netip.MustParseAddr("2001:db8:f4::1") },
		func() { r.route = own2 },
		func() { r.noIndices = true },
		func() { r.unsealed = true },
		func() { r.flags |= mip6.UpdateHome },
	}
	spoils[c.r.IntN(len(spoils))]()
	c.deliver(&delivery{request: r, packet: r.packet()})
}

func (c *chaos) reload() {
	c.config.MaxBindings = 2 + c.r.IntN(5)
	c.config.Optimise = c.r.IntN(4) > 0
	if !c.config.Optimise {
		clear(c.nonces)
		for _, m := range c.mobiles { // their tokens are void
			m.homeToken, m.careOfToken = mip6.KeygenToken{}, mip6.KeygenToken{}
		}
		c.sent = nil
	}
	fmt.Fprintln(&c.trace, kinds(c.apply(c.node.Reconfigure(c.now, c.config))))
	c.invariants()
}

func (c *chaos) deliver(d *delivery) { c.event(role.MessageReceived{Packet: d.packet}, d) }

func (c *chaos) advance(d time.Duration) {
	end := c.now.Add(d)
	for next := c.node.Next(); !next.IsZero() && !next.After(end); next = c.node.Next() {
		if next.After(c.now) {
			c.now = next
		}
		c.event(role.Timeout{}, nil)
	}
	c.now = end
	c.event(role.Timeout{}, nil)
}

// event delivers an event, of a binding update d, and checks what it did.
func (c *chaos) event(e role.Event, d *delivery) {
	// What is due happens first, so that it is not taken for the event's doing.
	c.apply(c.node.Handle(c.now, role.Timeout{}))
	before := c.node.Bindings()
	nowhere, _ := e.(role.RouteUnreachable)
	actions := c.handle(e)
	fmt.Fprintln(&c.trace, kinds(actions))
	after := c.node.Bindings()
	for _, b := range after {
		if slices.Contains(before, b) {
			continue
		}
		// An authentic update that is refused leaves its number (RFC 6275 §9.5.1).
		refused := slices.ContainsFunc(before, func(a Binding) bool {
			a.Sequence = b.Sequence
			return a == b
		})
		c.justified(b, d, refused)
	}
	for _, b := range before {
		same := func(a Binding) bool { return a.Home == b.Home && a.Peer == b.Peer }
		lost := nowhere.Home == b.Home && nowhere.Peer == b.Peer && nowhere.CareOf == b.CareOf
		if !slices.ContainsFunc(after, same) && !lost {
			c.ended(b, d, len(before))
		}
	}
	for _, p := range sent(actions) {
		if ba, ok := p.Message.(mip6.BindingAcknowledgement); ok {
			c.answer(p, ba, d)
		}
	}
	c.invariants()
}

// valid tells that an update is genuine and its nonces are good now.
func (c *chaos) valid(d *delivery) bool {
	good := func(index uint16) bool {
		at, ok := c.nonces[index]
		return ok && c.now.Sub(at) < maxNonceLifetime
	}
	return d != nil && d.genuine && c.config.Optimise && good(d.indices.Home) && (d.lifetime == 0 || good(d.indices.CareOf))
}

// justified checks a binding that was made or changed, or of which just the
// sequence number was.
func (c *chaos) justified(b Binding, d *delivery, number bool) {
	c.t.Helper()
	switch {
	case !c.valid(d):
		c.t.Errorf("%+v without a valid update: %+v", b, d)
	case d.accepted || b.Sequence != d.sequence:
		c.t.Errorf("%+v from a replay: %+v", b, d)
	case b.Home != d.m.home || b.Peer != d.destination:
		c.t.Errorf("%+v from an update of another: %+v", b, d)
	case number:
	case b.CareOf != d.sealed:
		c.t.Errorf("%+v from an update for another care-of address: %+v", b, d)
	case b.Lifetime.Duration() > min(d.lifetime, maxRRBindingLifetime) || b.Lifetime == 0 || !b.Expires.Equal(c.now.Add(b.Lifetime.Duration())):
		c.t.Errorf("%+v is too long for %+v", b, d)
	}
	if d != nil {
		d.accepted = true
	}
}

// ended checks that a binding had a reason to go before its time.
func (c *chaos) ended(b Binding, d *delivery, bindings int) {
	c.t.Helper()
	deleted := c.valid(d) && d.lifetime == 0 && b.Home == d.m.home && b.Peer == d.destination
	evicted := c.valid(d) && d.lifetime > 0 && bindings > 0 && len(c.node.bindings.entries) >= c.config.MaxBindings
	if !deleted && !evicted {
		c.t.Errorf("%+v ended without cause by %+v", b, d)
	}
}

// answer checks that an acknowledgement answers what was received.
func (c *chaos) answer(p mip6.Packet, ba mip6.BindingAcknowledgement, d *delivery) {
	c.t.Helper()
	if d == nil || p.Source != d.packet.Destination || p.Destination != d.packet.Source || p.RouteHome != d.routed() {
		c.t.Errorf("%+v answers nothing: %+v", p, d)
		return
	}
	switch s := ba.Status; {
	case expiredNonces(s):
		if _, sealed := mip6.Find[mip6.AuthorizationData](ba); sealed {
			c.t.Errorf("%+v is sealed", ba)
		}
	case !c.valid(d) || !d.sealedAnswer(p):
		c.t.Errorf("%+v answers an update that is not valid: %+v", ba, d)
	case s == 0 && (d.flags&mip6.UpdateAcknowledge == 0 || ba.Sequence != d.sequence):
		c.t.Errorf("%+v answers %+v", ba, d)
	case !slices.Contains([]mip6.Status{0, 130, 135, 174}, s):
		c.t.Errorf("status %v", s)
	}
}

// invariants compares the state inside and outside.
func (c *chaos) invariants() {
	c.t.Helper()
	b, s := c.node.bindings, c.node.Stats()
	if s.Bindings+s.Deleted != len(b.entries) || s.Bindings != len(c.routes) || s.Bindings != len(c.node.Bindings()) {
		c.t.Errorf("%+v with %d entries, %d routes", s, len(b.entries), len(c.routes))
	}
	if len(b.entries) > 6 {
		c.t.Errorf("%d entries, more than any quota", len(b.entries))
	}
	for _, l := range c.node.Bindings() {
		pair := overlay.Pair{Home: l.Home, Peer: l.Peer, Side: overlay.CorrespondentSide}
		if c.routes[pair] != l.CareOf {
			c.t.Errorf("route to %v, binding %+v", c.routes[pair], l)
		}
		if next := c.node.Next(); next.IsZero() || next.After(l.Expires) {
			c.t.Errorf("%+v, and the next deadline is %v", l, next)
		}
		// Follow a packet: it must leave the bindings.
		hops := 0
		for to := l.CareOf; to.IsValid() && hops <= len(c.routes); hops++ {
			to = c.routes[overlay.Pair{Home: to, Peer: l.Peer, Side: overlay.CorrespondentSide}]
		}
		if hops > len(c.routes) {
			c.t.Errorf("packets to %v go round in circles", l.Home)
		}
	}
	for older, e := (*entry)(nil), b.oldest; e != nil; older, e = e, e.newer {
		if e.older != older || older != nil && e.used.Before(older.used) || !e.active {
			c.t.Errorf("order of use is broken at %v", e.home)
		}
	}
}
