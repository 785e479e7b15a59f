package dhcpv6

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/internal/role"
)

// maxAdverts bounds the Advertise messages that are collected.
const maxAdverts = 16

// advertisement is a server that would give something.
type advertisement struct {
	server              []byte
	addresses, prefixes []netip.Prefix
	associations        int // how many of those wanted it has
	preference          uint8
	avoided             bool
	solMaxRT, infMaxRT  time.Duration // zero: not said
}

// solicit begins the discovery of servers (RFC 8415 §18.2.1), after a delay. What
// was leased is not used any more (§18.2.10.1).
func (c *Client) solicit(now time.Time, delay time.Duration) {
	c.lose(c.current.prefixes.named())
	c.current = c.blank()
	c.publish(now, false)
	c.state = StateSoliciting
	if !c.asked {
		c.refreshAt = time.Time{} // it was of something else
	}
	c.adverts, c.chosen, c.nothingToGive = nil, nil, false
	c.exchange = c.start(now, wire.MessageTypeSolicit, retransmission{
		initial: solicitTimeout, maxTime: c.solMaxRT,
	}, nil, delay)
}

// solicitDue is the end of a retransmission time of Solicit: the best of the
// servers that advertised is asked, or all are solicited again.
func (c *Client) solicitDue(now time.Time) {
	x := &c.exchange
	if x.sent > 0 && len(c.adverts) > 0 {
		c.requestBest(now)
		return
	}
	if limit := c.config.MaxSolicits; limit > 0 && (c.solicits >= limit || x.sent > 0 && c.nothingToGive) {
		// RFC 6276 §3.3: who does not answer, or gives nothing, does not delegate.
		c.log(now, slog.LevelWarn, "no server gives what is asked for", slog.Int("solicits", c.solicits))
		c.state, c.exchange, c.solicits = StateEnded, exchange{}, 0
		c.out = append(c.out, role.DelegationEnded{Link: c.config.Link})
		return
	}
	if c.managed && c.nothingToGive && !c.asked {
		c.informBeside(now)
	}
	x.rules.maxTime = c.solMaxRT
	c.transmit(now, x)
}

// advertised handles an Advertise message (RFC 8415 §18.2.9).
func (c *Client) advertised(now time.Time, from netip.Addr, m *message) {
	a := advertisement{
		server:     bytes.Clone(m.server),
		preference: m.preference,
		avoided:    c.avoids(now, m.server),
		solMaxRT:   m.solMaxRT,
		infMaxRT:   m.infMaxRT,
	}
	c.adoptMaxRT(a)
	if m.status == iana.StatusSuccess {
		if c.managed {
			a.addresses = usable(&m.addresses, assignable)
		}
		if c.config.Prefixes {
			a.prefixes = usable(&m.prefixes, delegable)
		}
	}
	for _, list := range [][]netip.Prefix{a.addresses, a.prefixes} {
		if len(list) > 0 {
			a.associations++
		}
	}
	if a.associations == 0 {
		// To be ignored, without effect on the retransmission of Solicit.
		c.nothingToGive = true
		c.drop(role.DropUnroutable, from)
		return
	}
	i := slices.IndexFunc(c.adverts, func(b advertisement) bool { return bytes.Equal(a.server, b.server) })
	switch {
	case i >= 0:
		c.adverts[i] = a
	case len(c.adverts) < maxAdverts:
		c.adverts = append(c.adverts, a)
	default:
		c.drop(role.DropRateLimited, from)
		return
	}
	if a.avoided {
		return // another one may come until the time is over
	}
	if a.preference == preferenceAtOnce || c.exchange.sent > 1 {
		c.requestBest(now)
	}
}

// adoptMaxRT takes over SOL_MAX_RT and INF_MAX_RT of an Advertise; when servers
// contradict each other the defaults hold (RFC 8415 §18.2.9).
func (c *Client) adoptMaxRT(a advertisement) {
	for _, b := range c.adverts {
		if a.solMaxRT > 0 && b.solMaxRT > 0 && a.solMaxRT != b.solMaxRT {
			a.solMaxRT = solicitMaxRT
		}
		if a.infMaxRT > 0 && b.infMaxRT > 0 && a.infMaxRT != b.infMaxRT {
			a.infMaxRT = informMaxRT
		}
	}
	c.setMaxRT(a.solMaxRT, a.infMaxRT)
}

// setMaxRT takes over values that servers said; zero is none.
func (c *Client) setMaxRT(solicit, inform time.Duration) {
	if solicit > 0 {
		c.solMaxRT = solicit
	}
	if inform > 0 {
		c.infMaxRT = inform
	}
}

// usable are the leases of an association that make sense, if it has no error.
func usable(ia *iaOption, ok func(netip.Prefix) bool) []netip.Prefix {
	if !ia.present || ia.status != iana.StatusSuccess {
		return nil
	}
	var list []netip.Prefix
	for _, o := range ia.leases {
		if len(list) < maxLeases && o.valid > 0 && o.preferred <= o.valid && o.status == iana.StatusSuccess &&
			ok(o.prefix) && !slices.Contains(list, o.prefix) {
			list = append(list, o.prefix)
		}
	}
	return list
}

// requestBest asks the best server that has advertised, and takes it from the
// list: one that was of no use before comes last; then who has more of what is
// wanted comes first, then the higher preference (RFC 8415 §18.2.9), then who was
// faster.
func (c *Client) requestBest(now time.Time) {
	best := 0
	for i := range c.adverts {
		a, b := &c.adverts[i], &c.adverts[best]
		switch {
		case a.avoided != b.avoided:
			if b.avoided {
				best = i
			}
		case a.preference != b.preference && max(a.preference, b.preference) == preferenceAtOnce:
			if a.preference == preferenceAtOnce {
				best = i
			}
		case a.associations != b.associations:
			if a.associations > b.associations {
				best = i
			}
		case a.preference > b.preference:
			best = i
		}
	}
	a := c.adverts[best]
	c.adverts = slices.Delete(c.adverts, best, best+1)
	c.request(now, a.server, &a)
}

// request asks one server for leases (RFC 8415 §18.2.2): those it has advertised,
// or without advertisement those that the client has.
func (c *Client) request(now time.Time, server []byte, a *advertisement) {
	c.state, c.chosen = StateRequesting, a
	count := requestMaxRC
	if len(c.adverts) > 0 {
		count = requestOthersRC
	}
	c.exchange = c.start(now, wire.MessageTypeRequest, retransmission{
		initial: requestTimeout, maxTime: requestMaxRT, maxCount: count,
	}, server, 0)
}

// requestFailed gives up a server that did not answer, or gave nothing of use: the
// next one that has advertised is asked, or the discovery begins anew
// (RFC 8415 §18.2.2).
func (c *Client) requestFailed(now time.Time) {
	c.avoid(now, c.exchange.server)
	wait := c.strike(now)
	b := &c.current
	for _, a := range []*association{&b.addresses, &b.prefixes} {
		if a.unbound {
			c.giveUp(a)
		}
	}
	switch {
	case !b.empty() && !b.unproven:
		// The server did not know some of the leases; the others stay.
		c.chosen = nil
		c.bound(now, false)
	case len(c.adverts) > 0:
		c.requestBest(now)
	default:
		c.solicit(now, wait)
	}
}
