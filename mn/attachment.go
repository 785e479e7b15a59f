package mn

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
)

// attachment is where the node is attached: a router on a link, and the care-of
// address. prefix is the one it was formed under, or a given address by itself.
type attachment struct {
	link   int
	name   string
	router netip.Addr
	prefix netip.Prefix
	careOf netip.Addr // the home address at home; invalid once it is not ours any more
	home   bool

	anchor   *regional // whose regional care-of address the home agent is told; nil: none
	prospect *regional // is to take its place when it has acknowledged; nil: none
	native   bool      // the router here has advertised anchor

	lost      bool // the link is down or the router gone
	lostSince time.Time
	probed    time.Time     // when the router was asked, for the round trip
	roundTrip time.Duration // to the router; 0: not known

	homeState     homeState
	bindingEnds   time.Time // when the home agent has forgotten us at the latest
	announce      time.Time // next announcement of the home address
	announcements int       // still to be sent
}

// works reports whether packets may be sent by a, as far as is known.
func (a *attachment) works() bool { return a != nil && !a.lost && a.careOf.IsValid() }

// speaks reports whether updates may be sent from it: not from a home address that
// somebody else has.
func (a *attachment) speaks() bool {
	return a.works() && !(a.home && a.homeState == homeDuplicate)
}

func (a *attachment) record() role.Attachment {
	if a == nil {
		return role.Attachment{}
	}
	return role.Attachment{Link: a.name, Router: a.router, CareOf: a.careOf, AtHome: a.home}
}

// best is the preferred candidate: by the order of the uplinks, then home
// before away, then the router in use, then by router preference, then the one
// that appeared last: the others may be memories. While the attachment serves,
// no other link counts that has not been good for a while; n.reconsider is then
// when it will.
func (n *Node) best(now time.Time) (candidate, bool) {
	var best candidate
	found := false
	n.reconsider = time.Time{}
	n.identifyLinks(now)
	for _, l := range n.sortedLinks() {
		if !l.Up {
			continue
		}
		for _, r := range n.routers.On(l.Index) {
			c, ok := n.candidate(l, r)
			if !ok {
				continue
			}
			if n.serves() && l.Index != n.current.link {
				if t := n.steadyAt(c); now.Before(t) {
					if l.preference < n.preference(n.current) {
						n.reconsider = deadline.Earlier(n.reconsider, t)
					}
					continue
				}
			}
			if !found || n.better(now, c, best) {
				best, found = c, true
			}
		}
	}
	return best, found
}

// serves reports whether the attachment is more than a try: packets come and go.
func (n *Node) serves() bool {
	a := n.current
	return a.works() && (a.home || n.bound(a))
}

// steadyAt is when a candidate has been good for long enough to leave a working
// link for it.
func (n *Node) steadyAt(c candidate) time.Time {
	t := c.router.Since
	if c.link.upSince.After(t) {
		t = c.link.upSince
	}
	t = t.Add(n.config.Hysteresis)
	if c.link.avoid.After(t) {
		t = c.link.avoid
	}
	return t
}

func (n *Node) better(now time.Time, c, d candidate) bool {
	if x, y := now.Before(c.link.avoid), now.Before(d.link.avoid); x != y {
		return y
	}
	if c.link.preference != d.link.preference {
		return c.link.preference < d.link.preference
	}
	if c.home != d.home {
		return c.home
	}
	if x, y := n.holds(c), n.holds(d); x != y {
		return x
	}
	if x, y := c.router.RA.Preference, d.router.RA.Preference; x != y {
		return x > y
	}
	if !c.router.Since.Equal(d.router.Since) {
		return c.router.Since.After(d.router.Since)
	}
	return c.router.Addr.Less(d.router.Addr) // any order, but always the same
}

// holds reports whether c is in use, or at a router that is and that still offers
// what is in use.
func (n *Node) holds(c candidate) bool {
	return slices.ContainsFunc(n.attachments(), func(a *attachment) bool { return c.is(a) || c.at(a) && n.stands(a) })
}

func (n *Node) preference(a *attachment) int {
	if l := n.links[a.link]; l != nil {
		return l.preference
	}
	return len(n.config.Uplinks)
}

// stands reports whether the router in use still offers what it did, be there a
// better address or not.
func (n *Node) stands(a *attachment) bool {
	l := n.links[a.link]
	r, ok := n.routers.Get(a.link, a.router)
	if l == nil || !l.Up || !ok {
		return false
	}
	return slices.ContainsFunc(n.offers(l, r), func(c candidate) bool { return c.is(a) })
}
