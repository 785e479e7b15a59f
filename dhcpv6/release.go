package dhcpv6

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/role"
)

// declineAddress tells the server that an address is somebody else's
// (RFC 8415 §18.2.8), and asks for another one at the same time.
func (c *Client) declineAddress(now time.Time, e role.DeclineAddress) {
	if e.Link != c.config.Link || c.stopped() {
		return
	}
	i := slices.IndexFunc(c.current.addresses.leases, func(l lease) bool { return l.prefix.Addr() == e.Addr })
	if i < 0 {
		return
	}
	c.log(now, slog.LevelWarn, "leased address is in use by somebody else", slog.String("address", e.Addr.String()))
	list := append(slices.Clone(c.declined), netip.PrefixFrom(e.Addr, 128))
	c.declined = list[max(len(list)-maxLeases, 0):]
	c.current.addresses.leases = slices.Delete(c.current.addresses.leases, i, i+1)
	c.decline = c.start(now, wire.MessageTypeDecline, retransmission{
		initial: declineTimeout, maxCount: declineMaxRC,
	}, c.current.server, 0)
	c.publish(now, false)
	// The Decline leaves before what follows it, so that the server does not give
	// the same address again.
	if !c.quiet() {
		c.transmit(now, &c.decline)
	}
	wait := c.strike(now)
	switch {
	case c.current.empty():
		c.solicit(now, wait)
	case len(c.current.addresses.leases) == 0 && c.state == StateBound:
		c.renew(now)
		c.exchange.due = now.Add(wait)
	}
}

// stop ends the client: what it has is given back, for which it waits a second at
// most (RFC 8415 §18.2.7). The prefixes are kept as those to ask for next time.
func (c *Client) stop(now time.Time) {
	if c.stopped() {
		return
	}
	c.released = c.current
	c.lose(c.current.prefixes.named())
	c.current = binding{}
	c.endExchanges()
	// The leases are not used any more before they are released.
	c.publish(now, false)
	if c.released.empty() || c.released.unproven || c.released.server == nil || c.quiet() {
		c.finished(now)
		return
	}
	c.state = StateReleasing
	c.exchange = c.start(now, wire.MessageTypeRelease, retransmission{
		initial: releaseTimeout, maxCount: releaseMaxRC,
	}, c.released.server, 0)
}

// finished is the end of a client that was stopped.
func (c *Client) finished(now time.Time) {
	c.state, c.exchange, c.released = StateDone, exchange{}, binding{}
	c.moved, c.deferred = false, false
}
