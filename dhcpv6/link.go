package dhcpv6

import (
	"slices"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/role"
)

// maxRemembered bounds the links of which leases are remembered.
const maxRemembered = 8

// place is a link of before, and what it gave.
type place struct {
	identity role.LinkIdentity
	binding  binding
}

// configure handles a link event (RFC 8415 §18.2.12): begin, ask again, begin anew
// elsewhere, or end. Said again without any change it does nothing.
func (c *Client) configure(now time.Time, e role.ConfigureLink) {
	if e.Link != c.config.Link || c.stopped() {
		return
	}
	if !e.Managed && !e.Other && !c.config.Prefixes {
		c.leave(now)
		return
	}
	elsewhere := !c.begun || e.Identity != c.identity
	flags := e.Managed != c.managed || e.Other != c.other
	event := elsewhere || c.moved || c.deferred
	c.managed, c.other = e.Managed, e.Other
	if elsewhere {
		c.arrive(now, e.Identity)
	}
	if !c.managed {
		c.current.addresses = association{}
	}
	switch {
	case !c.up:
		if event || flags {
			c.deferred = true
			c.publish(now, false)
		}
	case event:
		c.verify(now)
	case flags:
		c.reconsider(now)
	}
}

// anywhere reports whether the link may be any: nobody knows more of it.
func (c *Client) anywhere() bool {
	return c.identity == (role.LinkIdentity{}) && c.config.Link != 0
}

// stopped reports whether the client ends or has ended.
func (c *Client) stopped() bool { return c.state == StateReleasing || c.state == StateDone }

// leave ends what the client is about. Its leases are remembered, since a mobile
// that leaves a link may come back, and not released: it may not be able to.
func (c *Client) leave(now time.Time) {
	c.stash(now)
	c.begun, c.managed, c.other = false, false, false
	c.moved, c.deferred = false, false
	c.endExchanges()
	c.state = StateIdle
	c.publish(now, false)
}

// arrive changes to another link, with what is remembered of it. Leases of before
// that are inside of its prefix are taken for its own, and verified: the link has got
// another router, or it was taken for the one of before when its server answered.
func (c *Client) arrive(now time.Time, identity role.LinkIdentity) {
	before, had := c.identity, c.current
	c.stash(now)
	if c.begun {
		c.lost = nil // it was another link's
	}
	c.identity, c.begun = identity, true
	c.current = c.recall(identity)
	if c.current.empty() && had.within(identity.Prefix) {
		c.forget(before)
		c.current = had
	}
	if c.anywhere() {
		c.current.unproven = true
	}
	c.strikes, c.avoided, c.solicits = 0, nil, 0
	c.endExchanges()
}

// endExchanges ends everything under way.
func (c *Client) endExchanges() {
	c.exchange, c.decline, c.declined = exchange{}, exchange{}, nil
	c.endBeside()
}

// stash remembers the leases of the present link, and forgets those that have ended
// elsewhere. The least recently used link gives way.
func (c *Client) stash(now time.Time) {
	b := c.current
	c.current = binding{}
	for i := range c.remembered {
		c.remembered[i].binding.addresses.expire(now)
		c.remembered[i].binding.prefixes.expire(now)
	}
	c.remembered = slices.DeleteFunc(c.remembered, func(p place) bool { return p.binding.empty() })
	if !c.begun || b.empty() {
		return
	}
	c.forget(c.identity)
	if len(c.remembered) >= maxRemembered {
		c.remembered = slices.Delete(c.remembered, 0, 1)
	}
	c.remembered = append(c.remembered, place{identity: c.identity, binding: b})
}

func (c *Client) forget(identity role.LinkIdentity) {
	c.remembered = slices.DeleteFunc(c.remembered, func(p place) bool { return p.identity == identity })
}

// recall returns what is remembered of a link.
func (c *Client) recall(identity role.LinkIdentity) binding {
	i := slices.IndexFunc(c.remembered, func(p place) bool { return p.identity == identity })
	if i < 0 {
		return binding{}
	}
	b := c.remembered[i].binding
	c.forget(identity)
	return b
}

// linkChanged follows the state of the client's link. The leases stay. A link that
// came back may be another one: the client waits to be told, except behind a
// relay, where a change of the mobile's link is none of the client's.
func (c *Client) linkChanged(now time.Time, l role.Link) {
	if l.Index != c.config.Link {
		return
	}
	came := l.Up && (!c.up || c.heard && l.Carriers != c.carriers)
	c.heard, c.carriers, c.up = true, l.Carriers, l.Up
	if c.state == StateReleasing && (came || !l.Up) {
		c.finished(now) // nobody is there (any more) to be told
		return
	}
	if !came || !c.begun || c.stopped() {
		return
	}
	switch {
	case c.deferred:
		c.verify(now)
	case c.config.Link != 0:
		c.moved, c.moveBy = true, now.Add(moveWait)
	}
}

// verify begins on a link: with what is remembered of it, or from the beginning.
// §18.2.3 and §18.2.12: Confirm if there are only addresses, otherwise Rebind with the
// times of Confirm. The random delay of Confirm is left out where the lease is held
// back until it is answered, except after a restart, which may be that of everybody.
func (c *Client) verify(now time.Time) {
	c.moved, c.moveBy, c.deferred, c.negative = false, time.Time{}, false, false
	c.exchange = exchange{}
	c.endBeside()
	c.current.doubtful = c.anywhere()
	switch {
	case !c.stateful():
		c.publish(now, false)
		c.inform(now)
		return
	case c.current.empty():
		c.solicit(now, c.delay())
		return
	}
	c.publish(now, false)
	switch {
	case len(c.current.prefixes.leases) > 0:
		c.ask(now, wire.MessageTypeRebind, c.delay())
	case (c.current.doubtful || c.current.unproven) && !c.current.restored:
		c.ask(now, wire.MessageTypeConfirm, c.delay())
	default:
		c.ask(now, wire.MessageTypeConfirm, c.randomDelay())
	}
}

// ask asks whether the leases are good on this link, with the times of Confirm.
func (c *Client) ask(now time.Time, kind wire.MessageType, delay time.Duration) {
	c.state = StateConfirming
	c.current.asked()
	c.exchange = c.start(now, kind, retransmission{
		initial: confirmTimeout, maxTime: confirmMaxRT, maxDuration: confirmMaxRD,
	}, nil, delay)
}

// reconsider applies other flags on the same link.
func (c *Client) reconsider(now time.Time) {
	switch c.state {
	case StateBound, StateRenewing, StateRebinding:
		c.publish(now, false)
		if c.stateful() && !c.current.empty() {
			if c.incomplete() {
				// What populates an association is Request (§18.2.2).
				c.adverts = nil
				c.request(now, c.current.server, nil)
			}
			return
		}
	case StateIdle, StateSoliciting, StateRequesting, StateConfirming, StateInforming,
		StateInformed, StateEnded, StateReleasing, StateDone:
	}
	c.verify(now)
}

// Reconfigure applies a new configuration. With another identity of the node
// nothing of before is kept; on another link the leases stay, and are verified
// (RFC 8415 §18.2.12), as of a mobile router that comes home.
func (c *Client) Reconfigure(now time.Time, config Config) []role.Action {
	c.begin(now)
	c.saver.stale = true
	old := c.config
	c.config = config
	if c.stopped() {
		return c.finish(now)
	}
	if old.IAID != config.IAID || string(old.DUID) != string(config.DUID) {
		c.current, c.remembered, c.lost = binding{}, nil, nil
		c.endExchanges()
	}
	if !config.Prefixes {
		c.lose(c.current.prefixes.named())
		c.current.prefixes = association{}
	}
	if old.Link != config.Link {
		c.up, c.heard = true, false
	}
	if !c.begun {
		return c.finish(now)
	}
	if !c.stateful() && !c.other {
		c.leave(now)
		return c.finish(now)
	}
	same := old.IAID == config.IAID && string(old.DUID) == string(config.DUID) && old.Link == config.Link
	switch {
	case !c.up:
		c.deferred = true
	case !same || c.state == StateEnded:
		c.solicits, c.strikes = 0, 0
		c.verify(now)
	case old.Prefixes != config.Prefixes:
		c.reconsider(now)
	}
	return c.finish(now)
}

// unconfirmed ends an exchange after a link event that nobody answered: the client
// goes on with what it has (RFC 8415 §18.2.3), unless it does not know for how long
// that is.
func (c *Client) unconfirmed(now time.Time) {
	if c.current.unproven {
		for _, a := range []*association{&c.current.addresses, &c.current.prefixes} {
			if !a.fresh {
				c.giveUp(a)
			}
		}
		if c.current.empty() {
			c.solicit(now, 0)
			return
		}
	}
	c.bound(now, false)
}

// notOnLink gives up leases that servers say are not of this link.
func (c *Client) notOnLink(now time.Time) {
	c.negative = false
	c.current.addresses, c.current.prefixes = association{}, association{}
	c.solicit(now, 0)
}
