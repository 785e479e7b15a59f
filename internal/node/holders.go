package node

import (
	"net/netip"

	"roam6/internal/role"
)

// holders remembers which roles want an address or a route, so that what two
// of them share, such as the default route of a common uplink, stays until the
// last one lets go.
type holders struct {
	of map[held]map[role.Machine]struct{}
}

// held is an address or a route by what makes it the same.
type held struct {
	link   int
	prefix netip.Prefix
	from   netip.Prefix
	via    netip.Addr
	route  bool
}

func heldAddress(link int, p netip.Prefix) held { return held{link: link, prefix: p} }

func heldRoute(r role.Route) held {
	return held{link: r.Link, prefix: r.Destination, from: r.From, via: r.Via, route: true}
}

// hold notes that a role wants h.
func (x *holders) hold(h held, by role.Machine) {
	if x.of == nil {
		x.of = make(map[held]map[role.Machine]struct{})
	}
	if x.of[h] == nil {
		x.of[h] = make(map[role.Machine]struct{})
	}
	x.of[h][by] = struct{}{}
}

// release notes that a role does not want h any more, and reports whether
// nobody does.
func (x *holders) release(h held, by role.Machine) bool {
	delete(x.of[h], by)
	if len(x.of[h]) > 0 {
		return false
	}
	delete(x.of, h)
	return true
}

// succeed has one role want what another wanted, which it takes the place of.
func (x *holders) succeed(old, by role.Machine) {
	for _, wanting := range x.of {
		if _, wants := wanting[old]; wants {
			delete(wanting, old)
			wanting[by] = struct{}{}
		}
	}
}

// linkGone forgets what was wanted on an interface that was removed.
func (x *holders) linkGone(index int) {
	for h := range x.of {
		if h.link == index && index != 0 {
			delete(x.of, h)
		}
	}
}
