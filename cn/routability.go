package cn

import (
	"net/netip"

	"roam6/internal/role"
	"roam6/mip6"
)

// homeTest answers a Home Test Init at the home address it came from (RFC 6275
// §9.4.1, §9.4.3).
func (c *Correspondent) homeTest(p mip6.Packet, cookie mip6.Cookie) {
	s := c.testable(p)
	if s == nil {
		return
	}
	c.counts.HomeTests++
	c.send(p.Destination, p.Source, mip6.HomeTest{
		NonceIndex: s.index, Cookie: cookie, Token: s.key.HomeToken(p.Source, s.nonce)})
}

// careOfTest answers a Care-of Test Init at the care-of address it came from
// (RFC 6275 §9.4.2, §9.4.4).
func (c *Correspondent) careOfTest(p mip6.Packet, cookie mip6.Cookie) {
	s := c.testable(p)
	if s == nil {
		return
	}
	c.counts.CareOfTests++
	c.send(p.Destination, p.Source, mip6.CareOfTest{
		NonceIndex: s.index, Cookie: cookie, Token: s.key.CareOfToken(p.Source, s.nonce)})
}

// testable returns the nonce to answer a test init with, or nil for one that must
// not be answered, and counts that.
func (c *Correspondent) testable(p mip6.Packet) *secret {
	switch reason := misplaced(p); {
	case reason != 0:
		c.drop(reason, p.Source)
	case p.HomeAddress.IsValid(): // RFC 6275 §9.4.1, §9.4.2
		c.drop(role.DropNoHomeAddress, p.Source)
	case !c.tests.allow(c.now, p.Source):
		c.drop(role.DropRateLimited, p.Source)
	default:
		return c.nonces.current(c.now, c.config.Random, c.config.Secret)
	}
	return nil
}

// misplaced is what is wrong with the addresses of a packet with any of the
// correspondent's messages, or zero. A type 2 routing header is for
// acknowledgements only (RFC 6275 §6.1), and each routable address of this node has
// a binding cache (§9.1): others have none. A packet that has this node's own
// address for a source would be answered to this node.
func misplaced(p mip6.Packet) role.DropReason {
	switch {
	case p.RouteHome.IsValid() || !mip6.Routable(p.Destination):
		return role.DropNotForUs
	case !mip6.Routable(p.Source) || p.Source == p.Destination:
		return role.DropUnroutable
	default:
		return 0
	}
}

// send sends a message that passes by the binding cache, as all do (RFC 6275
// §6.1).
func (c *Correspondent) send(from, to netip.Addr, m mip6.Message) {
	c.do(role.Send{Packet: mip6.Packet{Source: from, Destination: to, Message: m}})
}
