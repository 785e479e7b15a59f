package mn

import (
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// What the node tells the DHCPv6 clients of its uplinks depends on the links
// alone, so that all mobiles of a host tell the same.

// identify follows which link is behind an interface: by a default router and its
// first prefix, for as long as they are there.
func (n *Node) identify(now time.Time, l *link) {
	id := l.identity
	if r, ok := n.routers.Get(l.Index, id.Router); ok && (!id.Prefix.IsValid() || has(r, id.Prefix)) {
		return
	}
	routers := n.routers.On(l.Index)
	if len(routers) == 0 {
		return // who was there may come back
	}
	r := routers[0]
	if i := slices.IndexFunc(routers, func(r *nd.Router) bool { return r.RA.RouterLifetime > 0 }); i >= 0 {
		r = routers[i]
	}
	l.identity = role.LinkIdentity{Router: r.Addr}
	for _, p := range r.Prefixes {
		if mip6.Routable(p.Info.Prefix.Masked().Addr()) {
			l.identity.Prefix = p.Info.Prefix.Masked()
			break
		}
	}
	n.named(now, l)
}

// identifyLinks is identify for all uplinks that are up.
func (n *Node) identifyLinks(now time.Time) {
	for _, l := range n.sortedLinks() {
		if l.Up {
			n.identify(now, l)
		}
	}
}

// wishPatience is for how long what a router has wanted holds when none on the link
// says so any more: it may be silent for a moment, or the flags of several routers
// contradict each other, and a lease is not given up for that.
const wishPatience = 30 * time.Second

// configureLinks tells the DHCPv6 clients what the routers want of hosts
// (RFC 4861 §4.2), once for each link event and when it changes.
func (n *Node) configureLinks(now time.Time) {
	for _, l := range n.sortedLinks() {
		l.wishEnds = time.Time{}
		if !l.Up {
			continue
		}
		want := role.ConfigureLink{Link: l.Index, Identity: l.identity}
		for _, r := range n.routers.On(l.Index) {
			want.Managed = want.Managed || r.RA.Managed
			want.Other = want.Other || r.RA.OtherConfig
		}
		// What another link wanted does not count.
		same := !l.untold && l.told.Identity == l.identity && l.addressing == AddressingAuto
		want.Managed = l.wish(now, &l.unmanaged, want.Managed, same && l.told.Managed)
		want.Other = l.wish(now, &l.uninformed, want.Other, same && l.told.Other)
		switch l.addressing {
		case AddressingDHCP:
			want.Managed = true // with the carrier already
		case AddressingSLAAC, AddressingForeign:
			want = role.ConfigureLink{Link: l.Index}
		case AddressingAuto:
			if len(n.routers.On(l.Index)) == 0 {
				continue // who was there may come back
			}
		}
		n.configureLink(l, want)
	}
}

// wish reports whether a flag counts that is set now, or was told before. since is
// when it was found not to be set any more; zero: it is set, or was not told.
func (l *link) wish(now time.Time, since *time.Time, set, told bool) bool {
	if set || !told {
		*since = time.Time{}
		return set
	}
	if since.IsZero() {
		*since = now
	}
	end := since.Add(wishPatience)
	if !now.Before(end) {
		return false
	}
	l.wishEnds = deadline.Earlier(l.wishEnds, end)
	return true
}

// configureLink tells what a link wants if it has not been told. A client that
// was told before the router was heard is not told again for its name alone:
// that would make it begin anew.
func (n *Node) configureLink(l *link, want role.ConfigureLink) {
	told := l.told
	asks := want.Managed || want.Other
	switch {
	case !asks && !told.Managed && !told.Other:
		return
	case l.untold, !asks, want.Managed != told.Managed:
	case !want.Managed && want.Other != told.Other: // M makes O redundant, RFC 4861 §4.2
	case want.Identity == told.Identity:
		return
	case told.Identity == role.LinkIdentity{}:
		l.told.Identity = want.Identity
		return
	}
	l.untold = false
	if !asks {
		want = role.ConfigureLink{Link: l.Index}
	}
	l.told = want
	n.act(want)
}

// unconfigure ends DHCPv6 on a link.
func (n *Node) unconfigure(l *link) {
	n.configureLink(l, role.ConfigureLink{Link: l.Index})
}

// readdress follows a change of where the care-of addresses of an uplink come
// from.
func (n *Node) readdress(now time.Time, l *link, to Addressing) {
	l.addressing, l.untold = to, true
	n.careOfs = slices.DeleteFunc(n.careOfs, func(c *careOf) bool {
		if c.link != l.Index || c.origin.suits(to) {
			return false
		}
		n.removeCareOf(c)
		return true
	})
	if n.placed && n.placedOn == l.Index {
		n.act(role.RemoveRoute{Route: onLinkRoute(n.homeOn(l.Index).Masked(), l.Index)})
		n.assignHome(l.Index)
	}
	if l.identity != (role.LinkIdentity{}) {
		n.named(now, l)
	}
}

// suits reports whether care-of addresses of an origin may be used.
func (o origin) suits(a Addressing) bool {
	switch a {
	case AddressingAuto:
		return o != foreign
	case AddressingSLAAC:
		return o == formed
	case AddressingDHCP:
		return o == leased
	case AddressingForeign:
		return o == foreign
	}
	return false
}
