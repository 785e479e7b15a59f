package mn

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/region"
	"roam6/overlay"
)

const (
	// formerRegion is how long the anchor of before goes on serving when the home agent
	// has acknowledged another care-of address: until all correspondents have been told,
	// with some tries, and what was on its way has arrived.
	formerRegion = 10 * time.Second
	// regionMargin is how long before its end a binding with an anchor is done without.
	regionMargin = mip6.LifetimeUnit
)

// tell tells an anchor that the node is at an attachment, unless it knows or is being
// told. On its own link there is nothing to bind: the on-link care-of address would be of
// the prefix of the regional ones.
func (n *Node) tell(now time.Time, r *regional, a *attachment) {
	if region.Regional(r.agent).Contains(a.careOf) {
		return
	}
	at := locator{a.careOf, a.link}
	if r.at == at && (!r.retransmit.IsZero() || r.registered && r.careOf == at.careOf && !r.doubted) {
		return
	}
	r.at, r.asked, r.askedHome = at, false, false
	n.freshLocal(r)
	n.requestLocal(now, r)
}

// freshLocal restarts the back-off: an anchor probes a new address, as a home agent
// does (RFC 6275 §11.8).
func (n *Node) freshLocal(r *regional) {
	r.unanswered, r.timeout = 0, InitialBindAckTimeout
	if !r.registered && !r.farewell {
		r.timeout = n.config.FirstTimeout
	}
}

// requestLocal sends a local binding update as soon as the rate limit allows.
func (n *Node) requestLocal(now time.Time, r *regional) {
	if t := r.earliest(now); t.After(now) {
		r.retransmit = t
		return
	}
	n.sendLocal(now, r)
}

// sendLocal sends a local binding update (RFC 5380 §4, §6.1): flags A and M, the
// regional care-of address in the Home Address option, the on-link one as the source.
func (n *Node) sendLocal(now time.Time, r *regional) {
	if n.atHome() && !r.farewell {
		r.retransmit = time.Time{} // no binding begins there
		return
	}
	if !n.speaksAt(r.at) {
		r.retransmit = now.Add(r.timeout) // not the anchor's fault
		return
	}
	lifetime := mip6.Lifetime(0)
	if !r.farewell {
		lifetime = mip6.LifetimeFrom(n.localLifetime(now, r))
	}
	r.sequence++
	s := sent{sequence: r.sequence, lifetime: lifetime, careOf: r.at.careOf, at: now}
	u := mip6.BindingUpdate{Sequence: s.sequence, Flags: mip6.UpdateAcknowledge | mip6.UpdateMAP, Lifetime: lifetime}
	if r.esp != 0 {
		// ESP does not protect the source address (RFC 3776 §4.3).
		u.Options = append(u.Options, mip6.AlternateCareOf{Addr: r.at.careOf})
	}
	if r.keyed() && r.timestamps {
		s.timestamp = r.stamp(now)
		u.Options = append(u.Options, mip6.ReplayProtection{Timestamp: s.timestamp})
	}
	var m mip6.Message = u
	if r.sa != nil {
		var err error
		if m, err = r.sa.Seal(u, r.at.careOf, r.rcoa); err != nil {
			n.log(slog.LevelError, "local binding update not sent", slog.String("anchor", r.agent.String()), slog.String("reason", err.Error()))
			r.retransmit = now.Add(slowRetry)
			return
		}
	}
	n.act(role.Send{Packet: mip6.Packet{Source: r.at.careOf, Destination: r.agent, HomeAddress: r.rcoa, Message: m}, Link: r.at.link, SPI: r.esp})
	r.record(s)
	r.retransmit = now.Add(r.timeout)
	n.stats.LocalUpdates++
	if h, t := n.handover, n.target(); h != nil && t != nil && (t.anchor == r || t.prospect == r) && t.careOf == r.at.careOf {
		h.Updates++
		if h.Updated.IsZero() {
			h.Updated = now
		}
	}
}

// speaksAt reports whether updates may be sent from a care-of address, or from the home
// address at home.
func (n *Node) speaksAt(l locator) bool {
	for _, a := range n.attachments() {
		if a.link == l.link && a.careOf == l.careOf {
			return a.speaks()
		}
	}
	c := n.careOfs.find(l.link, l.careOf)
	up := n.links[l.link]
	return c != nil && c.assigned() && up != nil && up.Up
}

// localLifetime is the lifetime to ask an anchor for: no longer than both care-of
// addresses live.
func (n *Node) localLifetime(now time.Time, r *regional) time.Duration {
	l := n.anchors.Config().Lifetime
	if l == 0 {
		l = n.config.Lifetime
	}
	if c := n.careOfs.find(r.at.link, r.at.careOf); c != nil && !c.validUntil.IsZero() {
		l = min(l, c.validUntil.Sub(now))
	}
	if !r.validUntil.IsZero() && now.Before(r.validUntil) {
		l = min(l, r.validUntil.Sub(now))
	}
	return max(l, region.LeastGrant)
}

// askAnchor asks an anchor whether it still knows the node. home tells that the home
// agent is to be asked next.
func (n *Node) askAnchor(now time.Time, r *regional, home bool) {
	if !r.retransmit.IsZero() && (r.asked || r.careOf != r.at.careOf) {
		r.askedHome = r.askedHome || home
		return
	}
	r.asked, r.askedHome = true, home
	n.log(slog.LevelWarn, "way through the mobility anchor point does not work, registering anew", slog.String("anchor", r.agent.String()))
	n.freshLocal(r)
	n.requestLocal(now, r)
}

// between is the anchor by which the home registration leads to the current attachment;
// nil: it leads there directly.
func (n *Node) between() *regional {
	a := n.current
	if !a.works() || a.home {
		return nil
	}
	return n.regionalAt(n.inUse(a).careOf)
}

// regionTimers does what is due with anchors.
func (n *Node) regionTimers(now time.Time) {
	if deadline.Due(now, n.anchors.Next()) {
		n.anchors.Expire(now)
	}
	if deadline.Due(now, n.lingersTill) {
		n.lingersTill = time.Time{} // settleAnchors chooses again
	}
	for _, r := range slices.Clone(n.regionals) {
		if r.registered && !now.Before(r.expires.Add(-regionMargin)) {
			n.regionExpired(now, r)
		}
		if r.farewell && !r.mayHold(now) {
			n.endFarewell(now, r)
		}
		if deadline.Due(now, r.retransmit) {
			n.localDue(now, r)
		}
		if deadline.Due(now, r.refresh) && r.retransmit.IsZero() && n.current.works() {
			r.refresh = time.Time{}
			n.refreshAnchor(now, r)
		}
		if deadline.Due(now, r.leaveAt) && n.current.speaks() {
			n.bidFarewell(now, r)
		}
	}
}

// regionNext is when regionTimers has something to do.
func (n *Node) regionNext() time.Time {
	next := deadline.Earlier(n.anchors.Next(), n.lingersTill)
	for _, r := range n.regionals {
		next = deadline.Earlier(next, r.retransmit)
		if r.retransmit.IsZero() && n.current.works() {
			next = deadline.Earlier(next, r.refresh)
		}
		if r.registered {
			next = deadline.Earlier(next, r.expires.Add(-regionMargin))
		}
		if r.farewell {
			next = deadline.Earlier(next, r.held)
		}
		if n.current.speaks() {
			next = deadline.Earlier(next, r.leaveAt)
		}
	}
	return next
}

// refreshAnchor renews a binding that is in use. It comes at half of its life, since
// home registrations are no longer than what is left of it (RFC 5380 §6.1) and are
// renewed at three quarters of theirs. One with an anchor that is not advertised any
// more is not renewed, but left.
func (n *Node) refreshAnchor(now time.Time, r *regional) {
	if !n.uses(r) {
		return
	}
	if a := n.current; a.anchor == r && a.native {
		if _, ok := n.anchors.Offer(now, n.source(a), r.agent); !ok {
			n.leaveAnchor(now, a)
			return
		}
	}
	n.freshLocal(r)
	n.requestLocal(now, r)
}

// regionExpired drops a binding that the anchor did not renew.
func (n *Node) regionExpired(now time.Time, r *regional) {
	used := n.needs(r)
	r.unbind()
	if used {
		n.log(slog.LevelError, "registration with the mobility anchor point expired", slog.String("anchor", r.agent.String()))
		n.loseAnchor(now, r)
	}
	r.path = overlay.Path{}
}

// localDue sends a local update again under a new sequence number, or does without the
// anchor.
func (n *Node) localDue(now time.Time, r *regional) {
	if t := r.earliest(now); t.After(now) {
		r.retransmit = t
		return
	}
	if len(r.outstanding) > 0 && n.speaksAt(r.at) {
		r.backOff()
		r.unanswered++
		if n.localUnanswered(now, r) {
			return
		}
		n.stats.LocalRetransmissions++
	}
	if !n.speaksAt(r.at) && n.current.speaks() {
		r.at = locator{n.current.careOf, n.current.link}
	}
	n.sendLocal(now, r)
}

// localUnanswered judges a local update that got no answer, and reports whether that was
// the last.
func (n *Node) localUnanswered(now time.Time, r *regional) bool {
	enough := r.unanswered >= n.config.Attempts
	a, p := n.current, n.pending
	switch {
	case r.farewell:
		if enough {
			n.endFarewell(now, r)
		}
		return enough
	case !n.uses(r) && !n.needs(r) && enough:
		r.retransmit, r.doubted = time.Time{}, true
		return true
	case p != nil && p.anchor == r && r.at.careOf == p.careOf:
		if enough {
			n.abandon(now, "the mobility anchor point does not answer")
		}
		return enough
	case enough:
		n.log(slog.LevelWarn, "mobility anchor point does not answer", slog.String("anchor", r.agent.String()))
		n.stats.AnchorFailures++
		n.anchors.Failed(now, r.agent, netip.Addr{})
		n.loseAnchor(now, r)
		n.settleAnchors(now)
		return true
	case r.asked || r.careOf != r.at.careOf:
		if a.anchor == r || n.needs(r) && !r.doubted {
			n.doubt(now, r)
		}
		n.informHome(now) // what was held back for a prospect
	}
	return false
}

// bypass does without an anchor by way of which the home agent does not answer, or which
// it does not want, although the anchor itself has acknowledged.
func (n *Node) bypass(now time.Time, r *regional, why string) {
	n.log(slog.LevelWarn, "doing without the mobility anchor point", slog.String("anchor", r.agent.String()), slog.String("reason", why))
	n.stats.AnchorFailures++
	n.anchors.Failed(now, r.agent, netip.Addr{})
	n.loseAnchor(now, r)
	n.settleAnchors(now)
}

// doubt does without an anchor that has not answered in time, and asks it on.
func (n *Node) doubt(now time.Time, r *regional) {
	r.doubted = true
	if a := n.current; a.anchor == r {
		a.anchor, a.native = nil, false
		if a.prospect == nil {
			a.prospect = r
		}
		n.log(slog.LevelWarn, "mobility anchor point does not answer in time, doing without", slog.String("anchor", r.agent.String()))
	}
	n.informHome(now)
	n.forward()
}

// settleRegionals ends the bindings with anchors that are of no use any more, after a
// while in which correspondents are told.
func (n *Node) settleRegionals(now time.Time) {
	for _, r := range n.regionals {
		switch {
		case r.farewell || n.needs(r):
			r.leaveAt = time.Time{}
		case !r.mayHold(now):
			r.leaveAt, r.retransmit, r.path = time.Time{}, time.Time{}, overlay.Path{}
		case n.current == nil:
		case n.current.home:
			if s := n.current.homeState; r.leaveAt.IsZero() && (s == homeSettled || s == homeUnanswered) {
				r.leaveAt = now
			}
		case r.leaveAt.IsZero():
			r.leaveAt = now.Add(formerRegion)
		}
	}
	n.removeRegionals()
}

// bidFarewell ends the binding with an anchor, at home from the home address.
func (n *Node) bidFarewell(now time.Time, r *regional) {
	r.leaveAt, r.refresh, r.asked, r.askedHome = time.Time{}, time.Time{}, false, false
	held := r.held
	r.unbind()
	r.held, r.farewell, r.path = held, true, overlay.Path{}
	r.at = locator{n.current.careOf, n.current.link}
	n.freshLocal(r)
	n.requestLocal(now, r)
}

// endFarewell forgets a binding that has ended, or that nobody answers for.
func (n *Node) endFarewell(now time.Time, r *regional) {
	r.forget()
	r.farewell, r.held = false, time.Time{}
	if n.stopping && !slices.ContainsFunc(n.regionals, func(r *regional) bool { return r.farewell }) {
		n.finish(now)
	}
}

// stopAnchors ends the bindings with anchors when the home agent has let the node go,
// and reports whether there is anything to wait for.
func (n *Node) stopAnchors(now time.Time) bool {
	waits := false
	for _, r := range n.regionals {
		if r.mayHold(now) && !r.farewell && n.current.speaks() {
			n.bidFarewell(now, r)
			waits = true
		}
	}
	if waits {
		n.stopBy = deadline.Earlier(n.stopBy, now.Add(time.Second))
		if n.stopBy.IsZero() {
			n.stopBy = now.Add(time.Second)
		}
	}
	return waits
}

// reconfigureAnchors follows a change of the configuration.
func (n *Node) reconfigureAnchors(now time.Time) {
	n.anchors.Reconfigure(n.config.Hierarchy)
	n.anchorsTold = nil
	for _, r := range n.regionals {
		key, ok := n.anchors.Config().KeyOf(r.agent)
		if !ok && !n.config.Hierarchy.Insecure && r.mayHold(now) {
			key.SA, key.ESP = r.sa, r.esp // the former key still ends the binding
		}
		n.rekey(r, key)
	}
}

// resumeAnchors sends again what was lost while the link did not work.
func (n *Node) resumeAnchors(now time.Time) {
	for _, r := range slices.Clone(n.regionals) {
		if !r.retransmit.IsZero() {
			n.freshLocal(r)
			n.requestLocal(now, r)
		}
	}
}
