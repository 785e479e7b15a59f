package mn

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
)

// Given addresses are those that the node does not form: DHCPv6 leases them, or
// somebody else has assigned them to the interface. They come as complete lists,
// at any time, before their router is heard or long after.
//
// A list is about an interface, and the link behind that may change. So each
// address is noted with the identity of its link, and is used there only: at once
// on the return to it, without waiting for whoever gave it.

// maxGiven bounds the addresses of one origin on an interface.
const maxGiven = 16

// After the link behind an interface has changed, who gave an address may not have
// noticed yet. What has not been taken back after a time is of the new link: a
// DHCPv6 client asks the servers there, and goes on with its leases if none
// answers for CNF_MAX_RD of 10 s (RFC 8415 §18.2.3); the kernel and other clients
// form addresses within seconds.
const (
	leasePatience   = 12 * time.Second
	foreignPatience = 3 * time.Second
)

// origin says where a care-of address comes from.
type origin uint8

const (
	formed  origin = iota // by SLAAC, here
	leased                // by DHCPv6
	foreign               // assigned by somebody else
)

// given is an address that was given.
type given struct {
	addr   netip.Addr
	origin origin
	// of is its link. Zero: the one there is, by which no router was heard yet.
	of role.LinkIdentity
	// remembered: it is of another link than the last list was about.
	remembered bool

	preferredUntil, validUntil time.Time // zero: for ever
	deprecated                 bool

	avoid     time.Time // not to be preferred before; zero: it may be
	avoidance time.Duration
}

// elsewhere is the identity of no link.
var elsewhere = role.LinkIdentity{Router: netip.IPv6Unspecified()}

// hostPrefix is an address as a prefix.
func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// give takes the complete list of the addresses of one origin on an interface.
func (n *Node) give(now time.Time, index int, o origin, list []role.LeasedPrefix) {
	here := elsewhere
	if l := n.links[index]; l != nil && l.Up {
		n.identify(now, l)
		here = l.identity
	}
	var named []*given
	changed := false
	for _, p := range list {
		a := p.Prefix.Addr()
		if !mip6.Routable(a) || a == n.config.HomeAddress || p.Valid <= 0 || len(named) == maxGiven ||
			slices.ContainsFunc(named, func(g *given) bool { return g.addr == a }) {
			continue
		}
		g := n.givenAddress(index, o, a)
		switch {
		case g == nil:
			g = &given{addr: a, origin: o, of: here}
			if here == elsewhere {
				g.of = role.LinkIdentity{} // of the link that comes
			}
			changed = true
		case o == leased && here != elsewhere && (g.of != here || g.remembered):
			g.of, g.remembered = here, false // confirmed there
			changed = true
		}
		deprecated := p.Preferred <= 0
		changed = changed || g.deprecated != deprecated
		g.deprecated = deprecated
		g.preferredUntil, g.validUntil = deadline.Of(now, p.Preferred), deadline.Of(now, p.Valid)
		if c := n.careOfs.on(index, hostPrefix(a)); c != nil && c.origin == o {
			c.validUntil = g.validUntil
		}
		n.declineAgain(index, g)
		named = append(named, g)
	}
	for _, g := range n.given[index] {
		switch {
		case g.origin != o:
			named = append(named, g)
		case slices.Contains(named, g):
		case o == leased && g.of.Prefix.IsValid() && g.of != here:
			// The list is about another link, or one that nobody has recognised.
			g.remembered = true
			named = append(named, g)
		default:
			n.takeBack(index, g)
			changed = true
		}
	}
	n.setGiven(index, named)
	if l := n.links[index]; changed && l != nil && o.suits(l.addressing) {
		n.decide(now, role.TriggerLink)
	}
}

// setGiven makes a list of the addresses of an interface, in which memories are
// the first to make room.
func (n *Node) setGiven(index int, list []*given) {
	if len(list) > 2*maxGiven {
		list = append(slices.DeleteFunc(slices.Clone(list), func(g *given) bool { return g.remembered }),
			slices.DeleteFunc(slices.Clone(list), func(g *given) bool { return !g.remembered })...)[:2*maxGiven]
	}
	if len(list) == 0 {
		delete(n.given, index)
		return
	}
	n.given[index] = list
}

// givenAddress returns what is known of a given address, or nil.
func (n *Node) givenAddress(index int, o origin, a netip.Addr) *given {
	for _, g := range n.given[index] {
		if g.origin == o && g.addr == a {
			return g
		}
	}
	return nil
}

// takeBack ends the use of an address that is not given any more. One that somebody
// else was found to have stays given up.
func (n *Node) takeBack(index int, g *given) {
	n.careOfs = slices.DeleteFunc(n.careOfs, func(c *careOf) bool {
		if c.link != index || c.origin != g.origin || c.addr != g.addr || c.state == careOfDuplicate {
			return false
		}
		n.removeCareOf(c)
		return true
	})
}

// declineAgain declines an address that was leased again although somebody has it: by
// a server that did not know the lease that was declined, or whose client did not have
// it at that time. A client has no lease any more that it was told to decline.
func (n *Node) declineAgain(index int, g *given) {
	if c := n.careOfs.on(index, hostPrefix(g.addr)); g.origin == leased && c != nil && c.state == careOfDuplicate {
		n.act(role.DeclineAddress{Link: index, Addr: g.addr})
	}
}

// declined counts the leased addresses of a link that were found taken.
func (n *Node) declined(index int) int {
	count := 0
	for _, c := range n.careOfs {
		if c.link == index && c.origin == leased && c.state == careOfDuplicate {
			count++
		}
	}
	return count
}

// givenElsewhere notes that the link behind an interface may be another one from
// now on. A link that has no name cannot be recognised.
func (n *Node) givenElsewhere(index int) {
	for _, g := range n.given[index] {
		if !g.of.Prefix.IsValid() {
			g.of = elsewhere
		}
	}
}

// named notes the identity of a link for the addresses that came before it was
// known.
func (n *Node) named(now time.Time, l *link) {
	for _, g := range n.given[l.Index] {
		if (g.of == role.LinkIdentity{}) {
			g.of = l.identity
		}
	}
	l.believe = now.Add(leasePatience)
	if l.addressing == AddressingForeign {
		l.believe = now.Add(foreignPatience)
	}
}

// givenTimers ends what is over of given addresses.
func (n *Node) givenTimers(now time.Time) {
	changed := false
	for _, index := range slices.Sorted(maps.Keys(n.given)) {
		believed := false
		l := n.links[index]
		if l != nil && deadline.Due(now, l.believe) {
			l.believe, believed = time.Time{}, true
		}
		list := n.given[index]
		n.setGiven(index, slices.DeleteFunc(list, func(g *given) bool {
			if deadline.Due(now, g.validUntil) {
				n.takeBack(index, g)
				changed = true
				return true
			}
			if !g.deprecated && deadline.Due(now, g.preferredUntil) {
				g.deprecated, changed = true, true
			}
			if deadline.Due(now, g.avoid) {
				g.avoid, changed = time.Time{}, true
			}
			if believed && !g.remembered && g.of != l.identity {
				g.of, changed = l.identity, true
			}
			return false
		}))
	}
	if changed {
		n.decide(now, role.TriggerExpiry)
	}
}

// givenNext is when givenTimers has something to do.
func (n *Node) givenNext() time.Time {
	var next time.Time
	for index, list := range n.given {
		for _, g := range list {
			next = deadline.Earlier(next, deadline.Earlier(g.validUntil, g.avoid))
			if !g.deprecated {
				next = deadline.Earlier(next, g.preferredUntil)
			}
		}
		if l := n.links[index]; l != nil {
			next = deadline.Earlier(next, l.believe)
		}
	}
	return next
}

// avoidFrom begins a time in which the address is not preferred.
func (g *given) avoidFrom(now time.Time) {
	g.avoidance = min(max(2*g.avoidance, leastAvoidance), mostAvoidance)
	g.avoid = now.Add(g.avoidance)
}
