package mn

import (
	"net/netip"
	"slices"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/ro"
	"roam6/overlay"
)

// locator is a care-of address and the interface it is used on; 0 with a regional one,
// whose packets are routed into the tunnel to its anchor.
type locator struct {
	careOf netip.Addr
	link   int
}

// locator is the care-of address that the home agent is told at an attachment away from
// home.
func (n *Node) locator(a *attachment) locator {
	if a.anchor != nil && !a.home {
		return locator{careOf: a.anchor.rcoa}
	}
	return locator{a.careOf, a.link}
}

// inUse is the care-of address that tunnel and correspondents use at the current
// attachment: the one that the home agent has, as long as what is sent to it arrives,
// and otherwise the one that it is being told.
func (n *Node) inUse(a *attachment) locator {
	if r := n.carrier(); r.registered && !a.home {
		if l, ok := n.reaches(r.careOf, a); ok {
			return l
		}
	}
	return n.locator(a)
}

// toPeers is the care-of address that correspondents are to know at the current
// attachment: the regional one as soon as the home agent has been told it. They are not
// told the on-link one for the moment in which the home agent has acknowledged that and
// not yet the regional one.
func (n *Node) toPeers(a *attachment) locator {
	l, next := n.inUse(a), n.locator(a)
	if a.home || l.careOf != a.careOf || !n.told(next) {
		return l
	}
	if _, ok := n.reaches(next.careOf, a); !ok {
		return l
	}
	return next
}

// reaches reports whether what is sent to a care-of address arrives at an attachment,
// as far as is known, and where it is used.
func (n *Node) reaches(careOf netip.Addr, a *attachment) (locator, bool) {
	if careOf == a.careOf {
		return locator{a.careOf, a.link}, true
	}
	r := n.regionalAt(careOf)
	if r == nil || !r.lives() || r.doubted || r.left || r.path.Local != a.careOf || r.path.Link != a.link {
		return locator{}, false
	}
	return locator{careOf: r.rcoa}, true
}

// bound reports whether the home registration leads to an attachment, and the anchor,
// where there is one between, has acknowledged that.
func (n *Node) bound(a *attachment) bool {
	if !n.reg.registered {
		return false
	}
	if n.reg.careOf == a.careOf {
		return true
	}
	_, ok := n.reaches(n.reg.careOf, a)
	return ok && n.regionalAt(n.reg.careOf).careOf == a.careOf
}

// paused reports whether the link of an attachment is gone that has a regional care-of
// address: if the node turns up in the same domain nobody beyond the anchor has to know.
func (n *Node) paused() bool {
	a := n.current
	if a == nil || a.home || !a.lost || !a.careOf.IsValid() || n.stopping {
		return false
	}
	r := n.regionalAt(n.inUse(a).careOf)
	return r != nil && r.lives() && n.reported.CareOf == r.rcoa
}

// lead makes the tunnel to an anchor begin at an attachment. That of a regional care-of
// address which another anchor of the same prefix has given, too, goes to the one in use.
func (n *Node) lead(r *regional, a *attachment) {
	if a.home || !a.careOf.IsValid() {
		return
	}
	if o := n.regionalAt(r.rcoa); o != r && o.tunnel != nil {
		if a.anchor != r {
			return
		}
		r.tunnel, o.tunnel, o.path = o.tunnel, nil, overlay.Path{}
	}
	r.path = overlay.Path{Local: a.careOf, Remote: r.agent, Link: a.link}
}

// installRegionals makes the tunnels of regional care-of addresses what they should be,
// but for those that go: they come before the tunnel to the home agent that is stacked
// on them.
func (n *Node) installRegionals() {
	if n.current == nil || n.current.home {
		return
	}
	for _, r := range n.regionals {
		if !r.path.Local.IsValid() || r.tunnel != nil && r.tunnel.Paths[0] == r.path {
			continue
		}
		added := r.tunnel == nil
		host := netip.PrefixFrom(r.rcoa, 128)
		r.tunnel = &overlay.Tunnel{
			Key: overlay.Key{Home: r.rcoa, Side: overlay.MobileSide}, Inner: []netip.Prefix{host}, Paths: []overlay.Path{r.path},
		}
		set := *r.tunnel
		n.act(role.Forward{Changes: []overlay.Change{{Set: &set}}})
		if added {
			// Deprecated: it is for what is stacked, nothing of this host begins with it.
			n.act(role.AssignAddress{Prefix: host, Valid: mip6.InfiniteLifetime, Home: true})
		}
	}
}

// removeRegionals takes out the tunnels of regional care-of addresses that are of no use
// any more. The tunnel to the home agent has left them before.
func (n *Node) removeRegionals() {
	stacked := n.tunnel != nil && n.current != nil
	for _, r := range n.regionals {
		if stacked && n.tunnel.Paths[0].Local == r.rcoa {
			continue
		}
		if n.current == nil || n.current.home {
			r.path = overlay.Path{}
		}
		n.removeRegional(r)
	}
}

// removeRegional takes out the tunnel of one that has no path.
func (n *Node) removeRegional(r *regional) {
	if r.tunnel == nil || r.path.Local.IsValid() {
		return
	}
	r.tunnel = nil
	n.act(role.UnassignAddress{Prefix: netip.PrefixFrom(r.rcoa, 128)})
	n.act(role.Forward{Changes: []overlay.Change{{Remove: overlay.Key{Home: r.rcoa, Side: overlay.MobileSide}}}})
}

// pathLost takes the way from the tunnels that begin at an on-link care-of address that
// is not ours any more.
func (n *Node) pathLost(link int, careOf netip.Addr) {
	for _, r := range n.regionals {
		if r.path.Local == careOf && r.path.Link == link {
			r.path = overlay.Path{}
		}
		if r.at == (locator{careOf, link}) {
			r.at = locator{}
		}
	}
	n.removeRegionals()
}

// isRegional reports whether an address is a regional care-of address of this node: no
// anchor is ever told one as the on-link care-of address (RFC 5380 §6.1).
func (n *Node) isRegional(a netip.Addr) bool {
	return slices.ContainsFunc(n.regionals, func(r *regional) bool { return r.rcoa == a })
}

// onLink are prefixes that a router of a link says to be there.
func (n *Node) onLink(link int) (prefixes [ro.MaxOnLink]netip.Prefix) {
	count := 0
	for _, r := range n.routers.On(link) {
		for _, p := range r.Prefixes {
			prefix := p.Info.Prefix.Masked()
			if p.Info.OnLink && count < len(prefixes) && !slices.Contains(prefixes[:count], prefix) {
				prefixes[count] = prefix
				count++
			}
		}
	}
	return prefixes
}
