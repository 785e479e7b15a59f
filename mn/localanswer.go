package mn

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/region"
	"roam6/overlay"
)

// fromAnchor returns the entry of the anchor whose acknowledgement a message is; nil: it
// is not one. What has no type 2 routing header with the regional care-of address is
// ignored (RFC 5380 §6.1).
func (n *Node) fromAnchor(p mip6.Packet) *regional {
	if _, ok := p.Message.(mip6.BindingAcknowledgement); !ok {
		return nil
	}
	if r := n.regionalWith(p.Source); r != nil && p.RouteHome == r.rcoa {
		return r
	}
	return nil
}

// verifyLocal checks that an acknowledgement of an anchor is authentic: by the IPsec
// association with that anchor, by its key, or both; spi says under which association it
// came, or none.
func verifyLocal(r *regional, p mip6.Packet, spi uint32) role.DropReason {
	switch {
	case p.HomeAddress.IsValid():
		return role.DropUnexpected
	case spi != r.esp:
		return role.DropUnauthenticated
	case r.sa == nil:
		return 0
	}
	switch err := r.sa.Verify(p.MH, p.Destination, r.rcoa); {
	case err == nil:
		return 0
	case errors.Is(err, mip6.ErrNoAuthentication):
		return role.DropUnauthenticated
	default:
		return role.DropBadAuthenticator
	}
}

// locallyAcknowledged handles a binding acknowledgement of an anchor, as one of a home
// agent (RFC 5380 §6.1, RFC 6275 §11.7.3, RFC 4285 §6); spi is as for verifyLocal.
func (n *Node) locallyAcknowledged(now time.Time, r *regional, p mip6.Packet, spi uint32, a mip6.BindingAcknowledgement) {
	if reason := verifyLocal(r, p, spi); reason != 0 {
		n.notAuthentic(reason, p, len(r.outstanding) > 0)
		n.drop(reason, p)
		return
	}
	s, ok := r.find(a.Sequence)
	sequence := a.Status == mip6.StatusSequenceOutOfWindow
	if sequence && len(r.outstanding) == 0 || !sequence && (!ok || s.careOf != p.Destination) {
		n.drop(role.DropUnsolicited, p)
		return
	}
	replay, hasReplay := mip6.Find[mip6.ReplayProtection](a)
	if !sequence && s.timestamp != 0 && a.Status != mip6.StatusIDMismatch && (!hasReplay || replay.Timestamp != s.timestamp) {
		n.drop(role.DropReplay, p)
		return
	}
	n.stats.LocalAcknowledgements[a.Status]++
	n.act(role.Acknowledged{Status: a.Status})
	if !sequence && a.Status != mip6.StatusIDMismatch {
		r.timestampTaken(s)
	}
	switch {
	case sequence:
		if !r.sequence.After(a.Sequence) {
			r.sequence = a.Sequence
		}
		if n.correctable(r) {
			r.outstanding = r.outstanding[:0]
			n.requestLocal(now, r)
		}
	case a.Status == mip6.StatusIDMismatch && hasReplay:
		r.adjustClock(now, replay.Timestamp)
		n.localAgain(now, r, s)
	case a.Status == mip6.StatusMessageIDRequired && r.keyed() && !r.timestamps:
		r.timestamps = true
		n.localAgain(now, r, s)
	case s.lifetime == 0:
		if r.farewell && r.newest(s) {
			n.endFarewell(now, r)
		}
	case r.farewell: // of before
	case !a.Status.Accepted():
		n.localRefused(now, r, s, a.Status)
	default:
		n.localAccepted(now, r, s, a)
	}
}

// localAgain sends a corrected update in place of s, unless a newer one is on its way.
func (n *Node) localAgain(now time.Time, r *regional, s sent) {
	if r.newest(s) && n.correctable(r) {
		n.requestLocal(now, r)
	}
}

// correctable reports whether a corrected update may go out at once. When many did not
// satisfy the anchor the next one is a retransmission, and counts as one that was not
// answered.
func (n *Node) correctable(r *regional) bool {
	r.corrected++
	return r.corrected <= n.config.Attempts
}

// localAccepted goes on with an anchor that serves.
func (n *Node) localAccepted(now time.Time, r *regional, s sent, a mip6.BindingAcknowledgement) {
	if s.careOf != r.at.careOf {
		n.stats.LateAcknowledgements++
		r.overtaken(s, a.Lifetime)
		if r.retransmit.IsZero() {
			n.requestLocal(now, r)
		}
		return
	}
	granted := min(a.Lifetime, s.lifetime)
	if granted.Duration() < region.LeastGrant {
		n.localRefused(now, r, s, mip6.StatusReasonUnspecified)
		return
	}
	if s.at.Add(granted.Duration()).Sub(now) < 2*regionMargin {
		// So old that it would be over at once; it may be a recorded one, too.
		n.stats.LateAcknowledgements++
		if r.retransmit.IsZero() {
			n.requestLocal(now, r)
		}
		return
	}
	var advice time.Duration
	if o, ok := mip6.Find[mip6.RefreshAdvice](a); ok {
		advice = o.Interval.Duration()
	}
	first, moved := !r.registered, r.careOf != s.careOf
	r.accept(s, a.Lifetime, advice)
	if half := s.at.Add(r.granted / 2); half.Before(r.refresh) {
		r.refresh = half
	}
	r.heard()
	asksHome := r.askedHome
	r.asked, r.askedHome, r.doubted, r.corrected = false, false, false, 0
	if first || moved {
		n.log(slog.LevelInfo, "registered with mobility anchor point", slog.String("anchor", r.agent.String()),
			slog.String("regional_care_of", r.rcoa.String()), slog.String("care_of", s.careOf.String()), slog.Duration("lifetime", r.granted))
	}
	for _, t := range n.attachments() {
		if t.prospect == r && t.careOf == s.careOf {
			n.engage(now, t, r)
		}
	}
	if n.reg.registered && n.reg.careOf == r.rcoa && n.reg.expires.After(r.expires) {
		n.freshTimeout() // it grants less than it did, and so may the home agent
		n.requestUpdate(now)
	}
	t := n.target()
	if t == nil || t.anchor != r || t.careOf != s.careOf {
		return
	}
	n.arrivedInRegion(now)
	if asksHome && n.between() == r && n.reg.retransmit.IsZero() {
		n.askAgent(now)
	}
}

// arrivedInRegion completes a move of which only the anchor had to be told, when it has
// acknowledged. What was sent to the home agent meanwhile is lost.
func (n *Node) arrivedInRegion(now time.Time) {
	t := n.target()
	l := n.locator(t)
	if !n.told(l) || !n.reg.registered || n.reg.careOf != l.careOf {
		n.informHome(now)
		return
	}
	if n.pending != nil {
		n.commit(now)
	}
	if !n.reg.retransmit.IsZero() && !n.reg.sentAt(now) {
		n.freshTimeout()
		n.requestUpdate(now)
	}
	n.forward()
	n.settleDefault()
	n.retireCareOfs(now)
	n.completeHandover(now)
	n.decide(now, role.TriggerLink)
}

// localRefused goes on without an anchor that refuses, or with another regional care-of
// address where somebody else has this one.
func (n *Node) localRefused(now time.Time, r *regional, s sent, status mip6.Status) {
	if status == mip6.StatusDuplicateAddress && !r.newest(s) || s.careOf != r.at.careOf {
		// About a place that was left.
		n.stats.LateAcknowledgements++
		r.declined(s)
		return
	}
	level := slog.LevelInfo
	if n.counts(r) {
		level = slog.LevelWarn
		n.stats.AnchorFailures++
	}
	n.log(level, "mobility anchor point refused the registration", slog.String("anchor", r.agent.String()),
		slog.String("care_of", s.careOf.String()), slog.Int("status", int(status)), slog.String("reason", status.String()))
	r.declined(s)
	r.outstanding = r.outstanding[:0]
	if status == mip6.StatusDuplicateAddress {
		n.regionalTaken(now, r)
		return
	}
	var onLink netip.Addr
	if status == mip6.StatusAdministrativelyProhibited || status == mip6.StatusInvalidCareOfAddress {
		onLink = s.careOf // another one may be served
	}
	n.anchors.Failed(now, r.agent, onLink)
	if p := n.pending; p != nil && p.careOf == s.careOf && n.current.careOf != s.careOf {
		// Where the node is, the anchor may go on.
		n.refusedAhead(now, r)
	} else {
		n.loseAnchor(now, r)
	}
	n.settleAnchors(now)
}

// counts reports whether an anchor is to serve where the node is: in another domain that
// of before does what it may (RFC 5380 §8).
func (n *Node) counts(r *regional) bool {
	return slices.ContainsFunc(n.attachments(), func(a *attachment) bool { return a.prospect == r || a.anchor == r && a.native })
}

// refusedAhead does without an anchor at a prepared attachment only.
func (n *Node) refusedAhead(now time.Time, r *regional) {
	p := n.pending
	if p.prospect == r {
		p.prospect = nil
	}
	if p.anchor == r {
		p.anchor, p.native = nil, false
	}
	r.retransmit = time.Time{}
	if n.needs(r) {
		r.at = locator{r.careOf, n.current.link}
	}
	n.informHome(now)
}

// regionalTaken forms another regional care-of address, where that may help.
func (n *Node) regionalTaken(now time.Time, r *regional) {
	n.stats.Duplicates++
	used := n.current.anchor == r || n.pending != nil && n.pending.anchor == r
	r.unbind()
	r.held, r.retransmit = time.Time{}, time.Time{}
	if used || r.attempt+1 == maxIdentifiers {
		n.anchors.Failed(now, r.agent, netip.Addr{})
		n.loseAnchor(now, r)
	}
	// The home agent may still have the one that was ours until now.
	n.forgetRegional(r)
	if r.attempt++; r.attempt == maxIdentifiers {
		r.attempt = 0
	}
	r.rcoa = n.regionalAddress(r)
	if n.uses(r) {
		n.freshLocal(r)
		n.requestLocal(now, r)
	}
	n.settleAnchors(now)
}

// forgetRegional takes a regional care-of address out of the data plane.
func (n *Node) forgetRegional(r *regional) {
	r.path = overlay.Path{}
	n.removeRegional(r)
}
