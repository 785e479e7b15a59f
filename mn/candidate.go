package mn

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/order"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// candidate is a place to attach to: a router, and an address that goes with it.
type candidate struct {
	link   *link
	router *nd.Router
	// prefix is the home prefix, the prefix to form an address under, or a given
	// address by itself.
	prefix     netip.Prefix
	origin     origin
	onLink     bool      // the prefix is
	validUntil time.Time // zero: for ever
	home       bool
	avoided    bool // a handover to it failed a moment ago
}

// is reports whether c is where the node is attached already.
func (c candidate) is(a *attachment) bool { return c.at(a) && c.prefix == a.prefix }

// at reports whether c is at the router where the node is attached, with the same
// address or another one.
func (c candidate) at(a *attachment) bool {
	return a != nil && c.link.Index == a.link && c.router.Addr == a.router && c.home == a.home
}

// candidate is the best of what a router offers. Of several addresses of one kind
// the one in use stays as long as it is good.
func (n *Node) candidate(l *link, r *nd.Router) (candidate, bool) {
	all := n.offers(l, r)
	if len(all) == 0 {
		return candidate{}, false
	}
	for _, c := range all {
		if c.origin == all[0].origin && c.avoided == all[0].avoided && (c.is(n.current) || c.is(n.pending)) {
			return c, true
		}
	}
	return all[0], true
}

// offers are the places at a router, the best first: home if it advertises the
// home prefix (RFC 6275 §11.5.2), away if it is a default router with an address
// for its link. A care-of address is used only with a router that advertises its
// prefix (RFC 8028 §3.1), hence the pair; a given address may have none. One of the
// network behind this node is none: its packets would go round in the tunnel.
func (n *Node) offers(l *link, r *nd.Router) []candidate {
	home := n.config.HomePrefix.Masked()
	for _, p := range r.Prefixes {
		if p.Info.Prefix.Masked() == home && p.Info.OnLink && p.Info.ValidLifetime > 0 {
			return []candidate{{link: l, router: r, prefix: home, home: true}}
		}
	}
	if r.RA.RouterLifetime == 0 {
		return nil
	}
	var all []candidate
	switch l.addressing {
	case AddressingAuto:
		all = append(n.givenBy(l, r, leased), n.formable(l, r)...)
	case AddressingSLAAC:
		all = n.formable(l, r)
	case AddressingDHCP:
		all = n.givenBy(l, r, leased)
	case AddressingForeign:
		all = n.givenBy(l, r, foreign)
	}
	if n.extension != nil && len(all) > 0 {
		own := n.extension.Inner()
		all = slices.DeleteFunc(all, func(c candidate) bool {
			return slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Overlaps(c.prefix) })
		})
	}
	order.SortStable(all, func(c, d candidate) int {
		switch {
		case c.avoided == d.avoided:
			return 0
		case d.avoided:
			return -1
		default:
			return 1
		}
	})
	return all
}

// formable are the prefixes of a router to form addresses under.
func (n *Node) formable(l *link, r *nd.Router) []candidate {
	var all []candidate
	for _, p := range r.Prefixes {
		i := p.Info
		if !i.Autonomous || i.Prefix.Bits() != 64 || i.PreferredLifetime == 0 || !mip6.Routable(i.Prefix.Addr()) {
			continue
		}
		prefix := i.Prefix.Masked()
		if c := n.careOfs.on(l.Index, prefix); c != nil && c.state == careOfDuplicate {
			continue
		}
		all = append(all, candidate{link: l, router: r, prefix: prefix, onLink: i.OnLink, validUntil: p.ValidUntil})
	}
	return all
}

// givenBy are the given addresses of one origin that may be used with a router.
func (n *Node) givenBy(l *link, r *nd.Router, o origin) []candidate {
	if o == leased && n.declined(l.Index) >= maxIdentifiers {
		return nil
	}
	var all []candidate
	for _, g := range n.given[l.Index] {
		if g.origin != o || g.deprecated || n.isRegional(g.addr) || !n.goesBy(l, r, g) {
			continue
		}
		c := candidate{link: l, router: r, prefix: hostPrefix(g.addr), origin: o, validUntil: g.validUntil}
		if x := n.careOfs.on(l.Index, c.prefix); x != nil && x.state == careOfDuplicate {
			continue
		}
		c.avoided = !g.avoid.IsZero() && !c.is(n.current)
		all = append(all, c)
	}
	return all
}

// goesBy reports whether a given address may be used with a router of its link:
// one that advertises a prefix that contains it, else any default router, but
// none while another one does so (RFC 8028 §3.1). What serves is not left on the
// word of another router.
func (n *Node) goesBy(l *link, r *nd.Router, g *given) bool {
	fits := contains(r, g.addr)
	if !g.isOf(l, r) && (!fits || g.remembered) {
		return false
	}
	if a := n.current; fits || n.serves() && a.link == l.Index && a.router == r.Addr && a.careOf == g.addr {
		return true
	}
	return !slices.ContainsFunc(n.routers.On(l.Index), func(other *nd.Router) bool {
		return other.RA.RouterLifetime > 0 && contains(other, g.addr)
	})
}

// contains reports whether a router advertises a prefix that contains an address.
func contains(r *nd.Router, a netip.Addr) bool {
	return slices.ContainsFunc(r.Prefixes, func(p nd.Prefix) bool { return p.Info.Prefix.Masked().Contains(a) })
}

// has reports whether a router advertises a prefix.
func has(r *nd.Router, p netip.Prefix) bool {
	return slices.ContainsFunc(r.Prefixes, func(q nd.Prefix) bool { return q.Info.Prefix.Masked() == p })
}

// isOf reports whether a given address is of the link that a router is on: a
// router of before with a prefix of before tells, or that the link has not
// changed since.
func (g *given) isOf(l *link, r *nd.Router) bool {
	if g.of.Prefix.IsValid() && g.of.Router == r.Addr && has(r, g.of.Prefix) {
		return true
	}
	return !g.remembered && (g.of == role.LinkIdentity{} || g.of == l.identity)
}
