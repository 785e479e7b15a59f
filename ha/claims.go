package ha

import (
	"net/netip"
	"slices"
)

// claims are the prefixes that mobiles have, registered or not, by their configured
// home addresses. They are kept only where prefixes are delegated: what is
// configured is checked by Config.Validate.
type claims struct {
	fixed networks       // by configuration
	order []netip.Prefix // those of fixed, sorted
	given networks       // by delegation
	homes []netip.Addr   // all home addresses, sorted
}

func newClaims(mobiles []Mobile, homes map[netip.Addr]*home) claims {
	c := claims{fixed: newNetworks(), given: newNetworks()}
	if !slices.ContainsFunc(mobiles, func(m Mobile) bool { return m.Delegate }) {
		return c
	}
	for addr, h := range homes {
		c.homes = append(c.homes, addr)
		if addr != h.HomeAddress {
			continue
		}
		for _, p := range h.Prefixes {
			c.fixed.add(p, addr)
			c.order = append(c.order, p)
		}
	}
	c.order = sorted(c.order)
	slices.SortFunc(c.homes, netip.Addr.Compare)
	return c
}

// overlaps reports whether a mobile other than the one with this home address
// claims addresses of p.
func (c *claims) overlaps(p netip.Prefix, home netip.Addr) bool {
	if c.fixed.around(p, home) || c.given.around(p, home) {
		return true
	}
	// Those inside p come right behind it.
	at, _ := slices.BinarySearchFunc(c.order, p, netip.Prefix.Compare)
	for _, inside := range c.order[at:] {
		if !p.Contains(inside.Addr()) {
			break
		}
		if c.fixed.owner[inside] != home {
			return true
		}
	}
	if slices.Max(c.given.lengths[min(p.Bits()+1, 128):]) == 0 { // all have one length, mostly
		return false
	}
	for inside, other := range c.given.owner {
		if other != home && p.Contains(inside.Addr()) && inside.Bits() > p.Bits() {
			return true
		}
	}
	return false
}

// around reports whether p is another's than home's, or part of such a prefix.
func (n *networks) around(p netip.Prefix, home netip.Addr) bool {
	for bits, count := range n.lengths[:p.Bits()+1] {
		if count == 0 {
			continue
		}
		if q, err := p.Addr().Prefix(bits); err == nil {
			if other, ok := n.owner[q]; ok && other != home {
				return true
			}
		}
	}
	return false
}
