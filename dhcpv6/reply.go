package dhcpv6

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/internal/role"
)

// received validates a message (RFC 8415 §16) and hands it on.
func (c *Client) received(now time.Time, e role.DHCPReceived) {
	if c.config.Link != 0 && e.Link != c.config.Link {
		return
	}
	from := e.From.Addr()
	m, err := decode(e.Message, c.config.IAID)
	if err != nil {
		c.drop(role.DropMalformed, from)
		return
	}
	switch m.kind {
	case wire.MessageTypeAdvertise, wire.MessageTypeReply:
	case wire.MessageTypeReconfigure:
		// We offer no Reconfigure Accept and have no key: none is authentic (§16.11).
		c.drop(role.DropUnauthenticated, from)
		return
	case wire.MessageTypeSolicit, wire.MessageTypeRequest, wire.MessageTypeConfirm, wire.MessageTypeRenew,
		wire.MessageTypeRebind, wire.MessageTypeRelease, wire.MessageTypeDecline,
		wire.MessageTypeInformationRequest, wire.MessageTypeRelayForward, wire.MessageTypeRelayReply:
		c.drop(role.DropUnexpected, from)
		return
	default:
		c.drop(role.DropUnknownType, from)
		return
	}
	x := c.exchangeOf(&m)
	switch {
	case x == nil:
		c.drop(role.DropUnsolicited, from)
	case m.client == nil || m.server == nil:
		c.drop(role.DropMalformed, from)
	case !bytes.Equal(m.client, c.config.DUID):
		c.drop(role.DropNotForUs, from)
	case x.server != nil && !bytes.Equal(x.server, m.server):
		c.drop(role.DropUnsolicited, from)
	case m.kind == wire.MessageTypeAdvertise && x.kind != wire.MessageTypeSolicit:
		c.drop(role.DropUnexpected, from)
	case m.kind == wire.MessageTypeReply && x.kind == wire.MessageTypeSolicit && (!m.rapid || c.config.NoRapidCommit):
		c.drop(role.DropUnexpected, from)
	default:
		c.count(m.kind).Received++
		c.answered(now, from, x, &m)
	}
}

// exchangeOf is the exchange that a message belongs to; nil if to none.
func (c *Client) exchangeOf(m *message) *exchange {
	if c.quiet() {
		return nil
	}
	for _, x := range []*exchange{&c.exchange, &c.decline, &c.information} {
		if x.active() && x.sent > 0 && x.xid == m.xid {
			return x
		}
	}
	return nil
}

// answered handles a valid message by the one that it answers.
func (c *Client) answered(now time.Time, from netip.Addr, x *exchange, m *message) {
	c.saver.stale = true
	if m.kind == wire.MessageTypeAdvertise {
		c.advertised(now, from, m)
		return
	}
	c.setMaxRT(m.solMaxRT, m.infMaxRT)
	switch x.kind {
	case wire.MessageTypeDecline: // completed, whatever the status (§18.2.10.2)
		c.decline, c.declined = exchange{}, nil
		return
	case wire.MessageTypeRelease:
		c.finished(now)
		return
	}
	if m.status != iana.StatusSuccess {
		c.log(now, slog.LevelInfo, "server reports a status", slog.String("status", m.status.String()),
			slog.String("server", hex.EncodeToString(m.server)))
	}
	if m.status == iana.StatusUnspecFail || m.status == iana.StatusUseMulticast {
		// Asked again in time, which limits the rate (§18.2.10). We never send by
		// unicast, so UseMulticast changes nothing either.
		return
	}
	switch x.kind {
	case wire.MessageTypeConfirm:
		c.confirmed(now, m)
	case wire.MessageTypeInformationRequest:
		c.informed(now, x, m)
	case wire.MessageTypeSolicit, wire.MessageTypeRequest:
		c.granted(now, from, m)
	case wire.MessageTypeRenew, wire.MessageTypeRebind:
		c.renewed(now, from, m)
	}
}

// confirmed handles a Reply to Confirm (§18.2.10.3). NotOnLink counts if no server
// says otherwise: at once from the server that gave the lease, and otherwise at
// the end of the retransmission time.
func (c *Client) confirmed(now time.Time, m *message) {
	switch {
	case m.status == iana.StatusSuccess && c.current.restored:
		c.ask(now, wire.MessageTypeRebind, 0) // Confirm says nothing about lifetimes
	case m.status == iana.StatusSuccess:
		c.bound(now, false)
	case m.status != iana.StatusNotOnLink:
	case bytes.Equal(m.server, c.current.server):
		c.notOnLink(now)
	default:
		c.negative = true
	}
}

// apply takes over the leases of a Reply (§18.2.10.1), and with them the server and
// what else it tells.
func (c *Client) apply(now time.Time, from netip.Addr, m *message) {
	b := &c.current
	before := b.prefixes.named()
	var taken [2]bool
	var refuse [2]int
	if c.managed {
		taken[0], refuse[0] = b.addresses.apply(now, &m.addresses, assignable, b.unproven)
	}
	if c.config.Prefixes {
		taken[1], refuse[1] = b.prefixes.apply(now, &m.prefixes, delegable, b.unproven)
	}
	if refused := refuse[0] + refuse[1]; refused > 0 {
		c.drop(role.DropUnroutable, from)
		c.log(now, slog.LevelWarn, "server offers leases that make no sense, or too many", slog.Int("leases", refused),
			slog.String("server", hex.EncodeToString(m.server)))
	}
	if !taken[0] && !taken[1] {
		return
	}
	if len(b.prefixes.leases) == 0 {
		c.lose(before)
	}
	c.lost = slices.DeleteFunc(c.lost, func(p netip.Prefix) bool { return slices.Contains(b.prefixes.named(), p) })
	b.server = bytes.Clone(m.server)
	// What a server does not tell any more is not used any more (§18.2.10).
	b.dns, b.domains = m.dns, m.domains
}

// granted handles a Reply to Solicit with Rapid Commit or to Request.
func (c *Client) granted(now time.Time, from netip.Addr, m *message) {
	rapid := c.exchange.kind == wire.MessageTypeSolicit
	if m.status == iana.StatusNotOnLink {
		c.notHere(now, m)
		return
	}
	if c.managed && m.addresses.status == iana.StatusNotOnLink || c.config.Prefixes && m.prefixes.status == iana.StatusNotOnLink {
		c.lost = nil // asked for without naming anything (§18.2.10.1)
	}
	c.current.asked()
	c.apply(now, from, m)
	b := &c.current
	for _, a := range []*association{&b.addresses, &b.prefixes} {
		// What the server does not know, and did not give anew, is gone.
		if !a.fresh && (a.unbound || b.unproven) {
			c.giveUp(a)
		}
	}
	switch {
	case !b.empty():
		c.bound(now, true)
	case rapid:
		// Another server may have something; this one is asked again in time.
		c.current = c.blank()
		c.nothingToGive = true
		c.avoid(now, m.server)
	default:
		c.current = c.blank()
		c.requestFailed(now)
	}
}

// notHere handles NotOnLink for the whole message: without naming what we had, the
// servers are discovered anew (§18.2.10.1).
func (c *Client) notHere(now time.Time, m *message) {
	c.avoid(now, m.server)
	wait := c.strike(now)
	c.current.prefixes = association{}
	c.lost = nil
	if c.exchange.kind == wire.MessageTypeSolicit {
		return // the next Solicit comes in time
	}
	c.solicit(now, wait)
}

// renewed handles a Reply to Renew or Rebind (§18.2.10.1).
func (c *Client) renewed(now time.Time, from netip.Addr, m *message) {
	b := &c.current
	c.apply(now, from, m)
	switch {
	case m.status == iana.StatusNotOnLink && c.state == StateConfirming:
		c.notOnLink(now)
	case b.addresses.unbound || b.prefixes.unbound:
		// The server that answered is to take all associations.
		c.adverts = nil
		c.request(now, bytes.Clone(m.server), nil)
	case b.empty():
		c.solicit(now, c.strike(now))
	case b.answered():
		c.bound(now, true)
	default:
		// As if the Reply had not been received, for the associations that are not in
		// it: what the others say holds.
		c.publish(now, false)
	}
}

// bound ends an exchange with leases in hand. renewed: their lifetimes are new.
func (c *Client) bound(now time.Time, renewed bool) {
	c.state, c.exchange = StateBound, exchange{}
	c.adverts, c.chosen = nil, nil
	c.current.unproven, c.current.restored, c.current.doubtful = false, false, false
	c.solicits = 0
	c.endBeside()
	c.publish(now, renewed)
}

// renew begins the exchange of T1 (§18.2.4), which ends at T2.
func (c *Client) renew(now time.Time) {
	c.state = StateRenewing
	c.current.asked()
	c.exchange = c.start(now, wire.MessageTypeRenew, retransmission{
		initial: renewTimeout, maxTime: renewMaxRT,
	}, c.current.server, 0)
}

// rebind begins the exchange of T2 (§18.2.5), which ends with the leases.
func (c *Client) rebind(now time.Time) {
	c.state = StateRebinding
	c.current.asked()
	c.exchange = c.start(now, wire.MessageTypeRebind, retransmission{
		initial: rebindTimeout, maxTime: rebindMaxRT,
	}, nil, 0)
}
