package dhcpv6

import (
	"bytes"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
)

// inform asks for information only (RFC 8415 §18.2.6).
func (c *Client) inform(now time.Time) {
	c.state, c.refreshAt = StateInforming, time.Time{}
	c.exchange = c.informationRequest(now)
}

// informationRequest is an exchange whose first message is delayed, which §18.2.6 and
// §21.23 demand: no handover waits for a name server.
func (c *Client) informationRequest(now time.Time) exchange {
	return c.start(now, wire.MessageTypeInformationRequest, retransmission{
		initial: informTimeout, maxTime: c.infMaxRT,
	}, nil, c.randomDelay())
}

// informBeside asks for information while servers are solicited for addresses and
// have none: a router says that addresses are managed, and they are not, or not for
// this client (§18.2.10.1).
func (c *Client) informBeside(now time.Time) {
	c.asked, c.refreshAt = true, time.Time{}
	c.information = c.informationRequest(now)
}

// blank is a binding without leases, and with the information that was asked for
// beside them.
func (c *Client) blank() binding {
	if !c.asked {
		return binding{}
	}
	return binding{dns: c.current.dns, domains: c.current.domains}
}

// endBeside ends it.
func (c *Client) endBeside() {
	c.information, c.asked = exchange{}, false
	if c.state == StateSoliciting {
		c.refreshAt = time.Time{}
	}
}

// informed handles a Reply to Information-request (§18.2.10.4, §21.23).
func (c *Client) informed(now time.Time, x *exchange, m *message) {
	if x == &c.exchange {
		c.state = StateInformed
		c.current = binding{server: bytes.Clone(m.server)}
	}
	*x = exchange{}
	c.current.dns, c.current.domains = m.dns, m.domains
	c.refreshAt = now.Add(min(max(m.refresh, informationRefreshMinimum), informationRefreshMaximum))
	c.publish(now, false)
}
