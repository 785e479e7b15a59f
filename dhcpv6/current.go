package dhcpv6

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
)

// stateful reports whether leases are asked for.
func (c *Client) stateful() bool { return c.managed || c.config.Prefixes }

// incomplete reports whether an association that is asked for has no lease.
func (c *Client) incomplete() bool {
	return c.managed && len(c.current.addresses.leases) == 0 ||
		c.config.Prefixes && len(c.current.prefixes.leases) == 0
}

// expire ends leases that are over.
func (c *Client) expire(now time.Time) {
	ended := c.current.addresses.expire(now)
	prefixes := c.current.prefixes.expire(now)
	c.lose(prefixes)
	ended = append(ended, prefixes...)
	if len(ended) == 0 {
		return
	}
	c.saver.stale = true
	if !c.current.unproven {
		c.log(now, slog.LevelWarn, "lease has ended", slog.String("first", ended[0].String()))
	}
	c.publish(now, false)
	switch c.state {
	case StateBound, StateRenewing, StateRebinding, StateConfirming:
		switch {
		case c.current.empty():
			c.solicit(now, 0)
		case c.state == StateBound && c.incomplete():
			c.renew(now)
		}
	case StateIdle, StateSoliciting, StateRequesting, StateInforming, StateInformed,
		StateEnded, StateReleasing, StateDone:
	}
}

// lose remembers prefixes to ask for again, before those lost earlier.
func (c *Client) lose(prefixes []netip.Prefix) {
	list := slices.Clone(prefixes)
	for _, p := range c.lost {
		if len(list) < maxLeases && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	c.lost = list
}

// giveUp drops the leases of one of our associations, and remembers prefixes.
func (c *Client) giveUp(a *association) {
	if a == &c.current.prefixes {
		c.lose(a.named())
	}
	*a = association{}
}

// publish tells what there is: when it changed, and with force in any case, since
// lifetimes have.
func (c *Client) publish(now time.Time, force bool) {
	var l role.Lease
	if !c.current.unproven {
		l = role.Lease{
			Prefixes: c.current.prefixes.remaining(now),
			DNS:      c.current.dns,
			Domains:  c.current.domains,
		}
		if !c.current.doubtful {
			l.Addresses = c.current.addresses.remaining(now)
		}
	}
	same := func(a, b []role.LeasedPrefix) bool {
		return slices.EqualFunc(a, b, func(x, y role.LeasedPrefix) bool { return x.Prefix == y.Prefix })
	}
	if !force && same(l.Addresses, c.given.Addresses) && same(l.Prefixes, c.given.Prefixes) &&
		slices.Equal(l.DNS, c.given.DNS) && slices.Equal(l.Domains, c.given.Domains) {
		return
	}
	c.given = l
	c.out = append(c.out, role.LeaseChanged{Link: c.config.Link, Lease: l})
}
