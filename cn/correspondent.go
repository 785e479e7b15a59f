// Package cn is the correspondent node: the other end of an optimised route
// (RFC 6275 §8.2, §9). It answers the tests of the return routability procedure,
// keeps the bindings that mobile nodes make with what they learn from them, and
// tells the data plane where its packets to a home address go.
//
// The tests are answered from secrets that are the same for all mobiles, so that
// they leave no state behind. A binding update passes the same gates as at a home
// agent. read: is it well-formed, for this node, with usable addresses?
// authenticate: does it show that the sender has received both tokens, and was it
// sent just now? judge: may it have what it asks for? Then it is carried out. What
// fails the first gate or has no valid authenticator leaves no trace but a counter;
// a nonce that is too old is answered with a status, and so is what fails later.
//
// An entry of the binding cache is active, or deleted and remembered for as long as
// a recorded update could otherwise bring it back. Each has one deadline.
//
// Everything that strangers can cause is bounded: secrets and rate limits have a
// fixed size, the number of entries has a limit.
package cn

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/limit"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// Limits on what anybody can cause, by prefix of 64 bits and over all. Those over
// all protect this node's processor and its link; a mobile that they turn away is
// reached through its home agent.
var (
	// Home and Care-of Test Inits answered.
	tests    = limit.Rate{Every: 20 * time.Millisecond, Burst: 50}
	allTests = limit.Rate{Every: time.Millisecond, Burst: 1000}
	// Binding updates whose authenticator is verified: RFC 6275 §15.4.5 permits to
	// discard some without doing so.
	updates    = limit.Rate{Every: 20 * time.Millisecond, Burst: 50}
	allUpdates = limit.Rate{Every: time.Second / 2000, Burst: 2000}
	// Answers with an error status.
	refusals    = limit.Rate{Every: time.Second / 10, Burst: 20}
	allRefusals = limit.Rate{Every: time.Second / 100, Burst: 100}
	// Binding Errors, which RFC 6275 §9.3.3 wants limited like ICMPv6 messages.
	faults    = limit.Rate{Every: time.Second / 10, Burst: 10}
	allFaults = limit.Rate{Every: time.Second / 100, Burst: 100}
	// Lines in the log.
	complaints = limit.Rate{Every: time.Second, Burst: 5}
	shortages  = limit.Rate{Every: time.Minute, Burst: 1}
)

// strangers is a rate limit by sender and over all.
type strangers struct {
	each    *limit.Sources
	all     limit.Limiter
	allRate limit.Rate
}

func newStrangers(each, all limit.Rate, random func([]byte)) strangers {
	var seed limit.Seed
	random(seed[:])
	return strangers{each: limit.NewSources(each, seed), allRate: all}
}

// allow asks for the sender first: what one has too much of costs the others
// nothing.
func (s *strangers) allow(now time.Time, source netip.Addr) bool {
	return s.each.Allow(now, source) && s.all.Allow(now, s.allRate)
}

// Correspondent is a correspondent node: a role.Machine for all addresses of this
// node.
type Correspondent struct {
	config   Config // with defaults
	nonces   nonces
	bindings cache
	stopped  bool

	tests      strangers
	updates    strangers
	refusals   strangers
	faults     strangers
	complaints limit.Limiter
	shortages  limit.Limiter
	counts     Stats

	now time.Time
	out []role.Action
}

// Stats are totals since start, and the present number of entries by state.
type Stats struct {
	Bindings, Deleted int

	// HomeTests and CareOfTests were answered.
	HomeTests, CareOfTests uint64

	Registrations, Refreshes, Moves, Deregistrations, Expirations uint64
	// Evictions are bindings that ended to make room for another.
	Evictions uint64
	// Unreachable are bindings that ended because errors said persistently that
	// their care-of address is not reached.
	Unreachable uint64
	// Refusals of updates, answered with these statuses.
	InsufficientResources, ExpiredNonces, SequenceOutOfWindow, InvalidCareOfAddresses uint64

	RefreshRequests, BindingErrors uint64 // sent
}

// Binding is an entry of the binding cache for people to see.
type Binding struct {
	Home     netip.Addr
	Peer     netip.Addr // this node's address
	CareOf   netip.Addr
	Sequence mip6.Sequence
	Lifetime mip6.Lifetime // granted last
	Expires  time.Time
	Created  time.Time
}

// New returns a correspondent node with the given configuration, which is valid
// (Config.Validate).
func New(c Config) *Correspondent {
	return &Correspondent{
		config:   c.withDefaults(),
		bindings: newCache(),
		tests:    newStrangers(tests, allTests, c.Random),
		updates:  newStrangers(updates, allUpdates, c.Random),
		refusals: newStrangers(refusals, allRefusals, c.Random),
		faults:   newStrangers(faults, allFaults, c.Random),
	}
}

// Handle processes one event. See role.Machine.
//
// Of the Mobility Header messages, test inits and binding updates without flag H
// are the correspondent's. Anything else is counted as unexpected: a shell with
// several roles gives it to the role it is for.
func (c *Correspondent) Handle(now time.Time, e role.Event) []role.Action {
	if c.stopped {
		return nil
	}
	c.begin(now)
	switch e := e.(type) {
	case role.Timeout:
	case role.MessageReceived:
		c.receive(e.Packet)
	case role.UnknownHomeAddress:
		c.unknownHomeAddress(e)
	case role.TrafficSeen:
		c.trafficSeen(e)
	case role.RouteUnreachable:
		c.routeUnreachable(e)
	case role.Stop:
		c.withdrawAll()
		c.stopped = true
	}
	return c.out
}

// Next is the earliest deadline of any entry. See role.Machine.
func (c *Correspondent) Next() time.Time { return c.bindings.deadlines.Next() }

// begin starts a call: what is due happens first, so that nothing can use a
// binding beyond its lifetime however late the timer is.
func (c *Correspondent) begin(now time.Time) {
	c.now, c.out = now, nil
	for e := c.bindings.deadlines.Due(now); e != nil; e = c.bindings.deadlines.Due(now) {
		if e.active {
			c.counts.Expirations++
			c.logBinding("binding expired", e)
			c.retire(e)
		} else {
			c.counts.Deleted--
			c.bindings.remove(e)
		}
	}
}

// receive takes one Mobility Header message to those who deal with it.
func (c *Correspondent) receive(p mip6.Packet) {
	switch m := p.Message.(type) {
	case mip6.HomeTestInit:
		if c.optimises(p) {
			c.homeTest(p, m.Cookie)
		}
	case mip6.CareOfTestInit:
		if c.optimises(p) {
			c.careOfTest(p, m.Cookie)
		}
	case mip6.BindingUpdate:
		switch {
		case m.Flags&mip6.UpdateHome != 0:
			c.drop(role.DropUnexpected, p.Source)
		case c.optimises(p):
			c.update(p, m)
		}
	default:
		c.drop(role.DropUnexpected, p.Source)
	}
}

// optimises tells whether route optimisation is switched on, and drops the packet
// if not.
func (c *Correspondent) optimises(p mip6.Packet) bool {
	if !c.config.Optimise {
		c.drop(role.DropProhibited, p.Source)
	}
	return c.config.Optimise
}

func (c *Correspondent) do(actions ...role.Action) { c.out = append(c.out, actions...) }

func (c *Correspondent) drop(reason role.DropReason, from netip.Addr) {
	c.do(role.Dropped{Reason: reason, From: from})
}

// Reconfigure takes over a new configuration, which is valid (Config.Validate),
// and returns the actions that follow. Bindings survive unless route optimisation
// is switched off. A lower limit on their number keeps out new ones, a lower one
// on lifetimes applies from the next update on.
func (c *Correspondent) Reconfigure(now time.Time, config Config) []role.Action {
	if c.stopped {
		return nil
	}
	c.begin(now)
	before := c.config
	c.config = config.withDefaults()
	if before.Optimise && !c.config.Optimise {
		c.withdrawAll()
	}
	return c.out
}

// withdrawAll ends all bindings. The secrets go with them, so that nothing has to
// be remembered against recorded updates: their nonces are not known any more
// (RFC 6275 §5.2.8).
func (c *Correspondent) withdrawAll() {
	if list := c.bindings.sorted(); len(list) > 0 {
		changes := make([]overlay.Change, len(list))
		for i, e := range list {
			pair := e.overlay()
			changes[i].Deoptimise = &pair
		}
		c.do(role.Forward{Changes: changes}, role.Log{Level: slog.LevelInfo, Message: "bindings of mobile nodes ended",
			Attrs: []slog.Attr{slog.Int("bindings", len(list))}})
	}
	c.bindings, c.nonces = newCache(), nonces{}
	c.counts.Bindings, c.counts.Deleted = 0, 0
}

// Bindings returns the bindings in the order of home addresses, and of this node's
// addresses.
func (c *Correspondent) Bindings() []Binding {
	entries := c.bindings.sorted()
	list := make([]Binding, len(entries))
	for i, e := range entries {
		list[i] = Binding{Home: e.home, Peer: e.peer, CareOf: e.careOf, Sequence: e.sequence,
			Lifetime: e.lifetime, Expires: e.expires, Created: e.created}
	}
	return list
}

// Stats returns the counters.
func (c *Correspondent) Stats() Stats { return c.counts }

var _ role.Machine = (*Correspondent)(nil)
