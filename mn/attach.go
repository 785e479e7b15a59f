package mn

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// attach moves the node to c: the heart of the handover. Everything that the
// binding update needs comes before it, everything else behind.
func (n *Node) attach(now time.Time, c candidate, t role.Trigger) {
	to := &attachment{link: c.link.Index, name: c.link.Name, router: c.router.Addr, prefix: c.prefix, home: c.home}
	if c.home {
		to.careOf = n.config.HomeAddress
	} else {
		co := n.ensureCareOf(now, c)
		if co == nil || !co.usable(n.config.WaitForDAD) {
			return // decide is called again when the probing ends
		}
		co.standby = false
		to.careOf = co.addr
		n.assign(co)
	}
	n.beginHandover(now, c, t)
	n.learn(c)
	if n.overlaps(to) {
		n.prepare(now, to)
	} else {
		n.move(now, to, t)
	}
	n.settleOnLink(to.link)
}

// move leaves the old attachment at once.
func (n *Node) move(now time.Time, to *attachment, t role.Trigger) {
	n.query = nil
	from := n.current
	n.current = to
	if to.home {
		n.goHome(now, from)
		return
	}
	n.goAway(now, from)
	n.probe(now, to) // makes the router resolve the care-of address meanwhile
	n.log(slog.LevelInfo, "attached", slog.String("link", to.name), slog.String("router", to.router.String()),
		slog.String("care_of", to.careOf.String()), slog.String("trigger", t.String()))
}

// goAway completes a move to a foreign link that cannot wait: the old
// attachment is dead, or on the same link, or at home.
func (n *Node) goAway(now time.Time, from *attachment) {
	to := n.current
	begins := from == nil || from.home
	if from != nil && from.home {
		n.reg.unbind() // whether or not the home agent has answered by now
	}
	if begins {
		// The tunnel comes before the default route, so that no packet of the
		// mobile network leaves beside it (RFC 3963 §5.5).
		// The home address is never without a link, nor the default route without
		// the home address.
		n.forward()
		n.assignHome(0)
		n.settleDefault()
		n.homePlaced(0)
	}
	if n.handover != nil {
		n.handover.CareOf = now
	}
	n.enterRegion(now, from)
	if n.reg.registered && n.reg.careOf == n.locator(to).careOf && n.reg.retransmit.IsZero() {
		// Another router, or another way to the same link, with the same address:
		// the home agent has nothing to learn. Nor has it with the same regional one.
		n.forward()
		n.settleDefault()
		if n.bound(to) {
			n.handover = nil
			n.retireCareOfs(now)
		} else {
			n.shedCareOfs(now) // the anchor completes it
		}
		return
	}
	n.freshTimeout()
	n.requestUpdate(now)
	n.shedCareOfs(now)
	if !begins {
		// A swap: the update is more urgent, and leaves by the care-of address's
		// own default route, as does what the tunnel carries.
		n.forward()
		n.settleDefault()
	}
}

// placeHome puts the home address on a link, 0 being the data plane's device,
// and takes it from where it was. It is assigned there first.
func (n *Node) placeHome(link int) {
	if n.placed && n.placedOn == link {
		return
	}
	n.assignHome(link)
	n.homePlaced(link)
}

// homePlaced notes that the home address, which has been assigned to a link, is
// of use there now, and takes it from where it was.
func (n *Node) homePlaced(link int) {
	if n.placed && n.placedOn != link {
		n.removeHome(n.placedOn)
	}
	n.placed, n.placedOn = true, link
}

// displaceHome takes the home address from where it is.
func (n *Node) displaceHome() {
	if n.placed {
		n.removeHome(n.placedOn)
	}
	n.placed = false
}

// assignHome assigns the home address. At home its prefix is on-link. On a foreign
// uplink the home address is assigned too, since it is ours wherever the node is,
// and nobody else would; whether the prefix is on-link is left to whoever manages
// the interface. Away it is deprecated where what chooses no source is not to have
// it: a kernel with Mobile IPv6 prefers home addresses to all that are not
// deprecated (RFC 6724 §5 rules 3 and 4).
func (n *Node) assignHome(link int) {
	p := n.homeOn(link)
	preferred := mip6.InfiniteLifetime
	if n.deprecated = link == 0 && !n.isDefaultSource(); n.deprecated {
		preferred = 0
	}
	n.act(role.AssignAddress{Link: link, Prefix: p, Preferred: preferred, Valid: mip6.InfiniteLifetime, Home: true})
	if link != 0 && !n.isForeign(link) {
		n.act(role.AddRoute{Route: onLinkRoute(p.Masked(), link)})
	}
}

// removeHome takes the home address from a link.
func (n *Node) removeHome(link int) {
	p := n.homeOn(link)
	n.act(role.UnassignAddress{Link: link, Prefix: p})
	if link != 0 {
		n.act(role.RemoveRoute{Route: onLinkRoute(p.Masked(), link)})
	}
}

// homeOn is the home address with the prefix length that it has on a link: of
// the home prefix at home, alone away from it.
func (n *Node) homeOn(link int) netip.Prefix {
	if link == 0 {
		return netip.PrefixFrom(n.config.HomeAddress, 128)
	}
	return netip.PrefixFrom(n.config.HomeAddress, n.config.HomePrefix.Bits())
}

// leave takes back what the attachment put in the kernel. The default route
// goes before the tunnel, so that nothing leaves beside it.
func (n *Node) leave() {
	n.current, n.pending = nil, nil
	n.setDefault(role.Route{})
	n.forward()
	n.displaceHome()
}
