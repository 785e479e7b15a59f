package mn

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
)

// Make before break. While the attachment in use works, a better one on another
// link, or a better address at the same router, is prepared beside it: its care-of
// address with a default route of its own (see settleDefault), and a binding update
// that leaves from there. Tunnel, care-of address and default route in use stay
// until the home agent has acknowledged; then one swap of the path completes the
// handover. If the new link does not keep what it promised nothing was disturbed.

// overlaps reports whether a move can be made before the old attachment is
// left. Leaving home cannot: the home agent would find the home address in use
// on the home link and refuse.
func (n *Node) overlaps(to *attachment) bool {
	a := n.current
	return n.serves() && !a.home && !n.withdrawing() && (a.link != to.link || n.readdresses(a, to.link, to.router))
}

// readdresses reports whether a move is one to another address at the same router,
// where the address in use is as good as before.
func (n *Node) readdresses(from *attachment, link int, router netip.Addr) bool {
	return from.works() && from.link == link && from.router == router && n.stands(from)
}

// prepare sends the update for an attachment beside the one in use.
func (n *Node) prepare(now time.Time, to *attachment) {
	n.pending = to
	if n.handover != nil {
		n.handover.CareOf = now
	}
	if to.home {
		// The home address is on both links for the time: on the home link for
		// the de-registration and its answer, on the tunnel for everything else.
		n.assignHome(to.link)
		n.arriveHome(now)
	} else {
		n.prepareRegion(now, to)
	}
	n.probe(now, to)
	n.log(slog.LevelInfo, "preparing a better attachment", slog.String("link", to.name), slog.String("router", to.router.String()),
		slog.String("care_of", to.careOf.String()), slog.String("in_use", n.current.name))
}

// commit makes the prepared attachment the one in use: the home agent has
// acknowledged it, or the old one has died.
func (n *Node) commit(now time.Time) {
	to, from := n.pending, n.current
	n.current, n.pending, n.query = to, nil, nil
	n.commitRegion(now, from)
	if to.home {
		// The route before the tunnel goes, as the other way round when it
		// comes: nothing leaves by the foreign link beside it.
		n.settleDefault()
		n.forward()
		n.homePlaced(to.link)
	} else {
		n.forward() // the swap
		n.settleDefault()
	}
	n.log(slog.LevelInfo, "attached", slog.String("link", to.name), slog.String("router", to.router.String()),
		slog.String("care_of", to.careOf.String()))
}

// settlePending decides about the prepared attachment when something has
// changed, and reports whether there is nothing more to decide.
func (n *Node) settlePending(now time.Time, best candidate, ok bool) bool {
	p := n.pending
	if ok && best.is(p) && p.careOf.IsValid() {
		if !n.current.works() {
			n.commit(now)
		}
		return true
	}
	n.dropPending(now, "the link does not work any more")
	if n.current.works() && (!ok || best.is(n.current)) {
		n.retell(now)
	}
	return false
}

// abandon gives up a handover that the home agent did not answer. It may have
// got the update all the same, so it is told again where the node is.
func (n *Node) abandon(now time.Time, why string) {
	p := n.pending
	if p.link == n.current.link {
		// Not the link is to be left alone, but the address.
		for _, g := range n.given[p.link] {
			if g.addr == p.careOf {
				g.avoidFrom(now)
			}
		}
	} else if l := n.links[p.link]; l != nil {
		l.avoidFrom(now)
	}
	n.dropPending(now, why)
	n.retell(now)
	n.decide(now, role.TriggerLink) // sets the time to think again
}

// dropPending takes back what was prepared. A care-of address that is in order
// stays for a moment: the home agent may have sent packets there.
func (n *Node) dropPending(now time.Time, why string) {
	p := n.pending
	n.pending, n.handover = nil, nil
	if p.home {
		n.removeHome(p.link)
	} else if c := n.careOfs.find(p.link, p.careOf); c != nil && c.state != careOfDuplicate {
		n.retire(now, c)
	}
	// The update stays due: the home agent may have got that of the attachment
	// that is given up.
	n.log(slog.LevelWarn, "handover given up, the attachment in use stays", slog.String("link", p.name),
		slog.String("care_of", p.careOf.String()), slog.String("reason", why))
}

// target is the attachment that binding updates are about.
func (n *Node) target() *attachment {
	if n.pending != nil {
		return n.pending
	}
	return n.current
}

// attachments are the one in use and the one prepared, as far as there are any.
func (n *Node) attachments() []*attachment {
	return slices.DeleteFunc([]*attachment{n.current, n.pending}, func(a *attachment) bool { return a == nil })
}

// askHomeAgentLink learns the home agent's link-layer address by a probe from
// the link-local address where no advertisement told it: the home address must
// not be the source of a solicitation while the home agent defends it (RFC 6275
// §11.5.5), and the kernel would make it so for the de-registration.
func (n *Node) askHomeAgentLink(a *attachment) {
	l := n.links[a.link]
	r, ok := n.routers.Get(a.link, a.router)
	if l == nil || !l.LinkLocal.IsValid() || !n.reg.agent.IsValid() || ok && n.tellsAgent(r) {
		return
	}
	n.act(role.ProbeNeighbor{Link: a.link, Source: l.LinkLocal, Target: n.reg.agent})
}

// prepareRegion tells the anchor, or the home agent, of an attachment that is prepared:
// in the domain of the anchor in use only the anchor, in another one first the anchor
// there.
func (n *Node) prepareRegion(now time.Time, to *attachment) {
	n.entering = true
	if from := n.current; from.anchor != nil && from.anchor.lives() && !from.anchor.doubted {
		if best, ok := n.anchors.Select(now, n.anchorQueryFrom(to, from.anchor)); ok && best.Address == from.anchor.agent {
			to.anchor = from.anchor
			n.tell(now, to.anchor, to)
		}
	}
	n.chooseAnchor(now, to)
	n.entering = false
	if to.anchor != nil && n.told(n.locator(to)) {
		return
	}
	n.freshTimeout()
	n.requestUpdate(now)
}

// commitRegion makes the tunnels of regional care-of addresses begin at the attachment
// that is the one in use now. Where it was not acknowledged, since the old one died, the
// anchor of before serves as in any other move.
func (n *Node) commitRegion(now time.Time, from *attachment) {
	to := n.current
	if to.home {
		return
	}
	switch former := from.anchor; {
	case former == nil || former == to.anchor:
	case to.anchor == nil && former.lives() && !former.doubted && !n.told(n.locator(to)):
		to.anchor = former
	default:
		former.left = true
	}
	for _, r := range slices.Clone(n.regionals) {
		if r.lives() {
			n.tell(now, r, to)
			n.lead(r, to)
		}
	}
	n.informHome(now)
}
