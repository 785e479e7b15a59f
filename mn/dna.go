package mn

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// Simple DNA (RFC 6059): when a carrier returns, the routers that were on the
// link before are asked by unicast, in parallel with the router solicitation. If
// one answers the link is the one of before, and the care-of address of before
// is used at once, even where the router delays its advertisements. Whatever an
// advertisement says then is definitive.

// dnaInterval is the least time between two askings: links that flap are not
// asked each time (RFC 6059 §5.11).
const dnaInterval = time.Second

// recalls are the routers that were asked, by the address they were asked for.
type recalls map[netip.Addr]*nd.Router

// askRemembered asks the routers that were on a link before.
func (n *Node) askRemembered(now time.Time, l *link) {
	l.asked = nil
	if !l.LinkLocal.IsValid() || !l.dna.IsZero() && now.Before(l.dna.Add(dnaInterval)) {
		return
	}
	for _, r := range n.routers.Remembered(now, l.Index) {
		target := identity(r)
		if _, usable := n.candidate(l, r); !usable || !target.IsValid() || l.asked[target] != nil {
			continue
		}
		if l.asked == nil {
			l.asked = make(recalls)
		}
		l.asked[target] = r
		l.dna = now
		// The link-layer address of before makes it a unicast question. It is not
		// given to a link-local address, by which routes lead: nothing but the
		// question may leave by the old router before it has answered (§5.4).
		if mac := r.RA.SourceLinkAddr; len(mac) == 6 && target != r.Addr {
			n.act(role.LearnNeighbor{Link: l.Index, Addr: target, Ethernet: [6]byte(mac)})
		}
		n.act(role.ProbeNeighbor{Link: l.Index, Source: l.LinkLocal, Target: target})
	}
}

// identity is the address by which a router is to be asked, invalid if it has
// none that tells it apart from the routers of other links. An answer has to
// come from the link-layer address of before (RFC 6059 §5.7.1); since that is
// not told with it, the address has to be one that no other router has: a global
// one (R bit, RFC 6275 §11.5.1), or a link-local one with an identifier that
// nobody chose by hand. The fe80::1 of many links is none.
func identity(r *nd.Router) netip.Addr {
	for _, p := range r.Prefixes {
		if a, ok := p.RouterAddress(); ok && mip6.Routable(a) {
			return a
		}
	}
	b := r.Addr.As16()
	if binary.BigEndian.Uint32(b[8:12]) != 0 {
		return r.Addr
	}
	return netip.Addr{}
}

// recalled takes the answer of a router that was asked, and reports whether it
// was one.
func (n *Node) recalled(now time.Time, e role.NeighborHeard) bool {
	l := n.links[e.Link]
	if l == nil || !l.Up || !e.Solicited || e.Solicitation {
		return false
	}
	r := l.asked[e.Target]
	if r == nil {
		return false
	}
	delete(l.asked, e.Target)
	back := len(n.routers.Recall(now, l.Index, r)) > 0
	known, ok := n.routers.Get(l.Index, r.Addr)
	if !ok {
		return true
	}
	for _, p := range known.Prefixes {
		// RFC 6059 §5.8: nothing waits for duplicate address detection of what was ours
		// here. It goes on behind the use, see ensureCareOf: the router's answer does
		// not tell whether somebody else has taken the address meanwhile.
		if c := n.careOfs.on(l.Index, p.Info.Prefix.Masked()); c != nil && c.router == r.Addr {
			c.recognised = true
		}
	}
	for _, g := range n.given[l.Index] {
		if c := n.careOfs.on(l.Index, hostPrefix(g.addr)); c != nil && c.router == r.Addr && g.isOf(l, known) {
			c.recognised = true
		}
	}
	if !slices.ContainsFunc(n.routers.On(l.Index), func(r *nd.Router) bool { return r.RA.RouterLifetime > 0 }) {
		// A prefix without a default router is of no use: the advertisement that
		// was solicited will tell of one.
		return true
	}
	if back {
		l.solicit = time.Time{}
	}
	n.decide(now, role.TriggerLink)
	return true
}
