package mn

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/homelink"
)

// received handles a Mobility Header message.
func (n *Node) received(now time.Time, e role.MessageReceived) {
	p := e.Packet
	if r := n.fromAnchor(p); r != nil {
		n.locallyAcknowledged(now, r, p, e.SPI, p.Message.(mip6.BindingAcknowledgement))
		return
	}
	if n.fromPeer(p) {
		n.out = append(n.out, n.optimiser.Handle(now, e)...)
		return
	}
	switch m := p.Message.(type) {
	case mip6.BindingAcknowledgement:
		n.acknowledged(now, p, m)
	case mip6.BindingRefreshRequest:
		n.refreshRequested(now, p)
	case mip6.BindingError:
		n.bindingError(p, m)
	case mip6.BindingUpdate, mip6.HomeTestInit, mip6.CareOfTestInit, mip6.HomeTest, mip6.CareOfTest, mip6.UnknownMessage:
		n.drop(role.DropUnexpected, p)
	}
}

// fromPeer reports whether a message belongs to route optimisation. A home agent
// may be a correspondent, too: its answers as such carry authorization data.
func (n *Node) fromPeer(p mip6.Packet) bool {
	if n.registrationOf(p.Source) != nil {
		switch p.Message.(type) {
		case mip6.BindingAcknowledgement:
			if _, ok := mip6.Find[mip6.AuthorizationData](p.Message); !ok {
				return false
			}
		case mip6.BindingRefreshRequest, mip6.BindingError:
			return false
		}
	}
	return n.optimiser.Owns(p)
}

// verify checks that a BA comes from a home agent to us and, where there is a
// security association, that it is authentic. The care-of address it is bound to
// is where the packet was sent: it has to have been ours.
func (n *Node) verify(p mip6.Packet) (*registration, role.DropReason, error) {
	r := n.registrationOf(p.Source)
	if r == nil || p.HomeAddress.IsValid() {
		return nil, role.DropUnexpected, fmt.Errorf("acknowledgement from %v, home agent is %v", p.From(), n.reg.agent)
	}
	if p.To() != n.config.HomeAddress {
		return nil, role.DropNotForUs, fmt.Errorf("acknowledgement for home address %v", p.To())
	}
	if n.config.SA == nil {
		return r, 0, nil
	}
	switch err := n.config.SA.Verify(p.MH, p.Destination, p.To()); {
	case errors.Is(err, mip6.ErrNoAuthentication):
		return nil, role.DropUnauthenticated, err
	case err != nil:
		return nil, role.DropBadAuthenticator, err
	}
	return r, 0, nil
}

// notAuthentic warns of an answer that could not be verified, where one is waited for: who
// has another key than the other end hears nothing else of it.
func (n *Node) notAuthentic(reason role.DropReason, p mip6.Packet, awaited bool) {
	if awaited && (reason == role.DropUnauthenticated || reason == role.DropBadAuthenticator) {
		n.log(slog.LevelWarn, "a binding acknowledgement is not authentic: compare spi and key with those of the other end",
			slog.String("from", p.From().String()), slog.String("reason", reason.String()))
	}
}

// acknowledged handles a binding acknowledgement (RFC 6275 §11.7.3, RFC 4285
// §5.3 and §6).
func (n *Node) acknowledged(now time.Time, p mip6.Packet, a mip6.BindingAcknowledgement) {
	r, reason, err := n.verify(p)
	if err != nil {
		n.notAuthentic(reason, p, len(n.reg.outstanding) > 0)
		n.drop(reason, p)
		return
	}
	if a.Status == mip6.StatusSequenceOutOfWindow && r == n.reg {
		n.sequenceRefused(now, p, a)
		return
	}
	s, ok := r.find(a.Sequence)
	if !ok && (a.Status != mip6.StatusSequenceOutOfWindow || len(r.outstanding) == 0) || ok && s.careOf != p.Destination {
		n.drop(role.DropUnsolicited, p)
		return
	}
	replay, hasReplay := mip6.Find[mip6.ReplayProtection](a)
	if s.timestamp != 0 && a.Status != mip6.StatusIDMismatch && (!hasReplay || replay.Timestamp != s.timestamp) {
		n.drop(role.DropReplay, p) // RFC 4285 §6: silently discarded
		return
	}
	n.stats.count(a.Status)
	n.act(role.Acknowledged{Status: a.Status})
	r.heard()
	if a.Status != mip6.StatusIDMismatch {
		r.timestampTaken(s)
	}
	if r != n.reg {
		n.farewellAnswered(now, r, a)
		return
	}

	if a.Status == mip6.StatusIDMismatch && hasReplay {
		n.reg.adjustClock(now, replay.Timestamp)
		n.log(slog.LevelInfo, "clock differs from the home agent's, adopted its time for timestamps",
			slog.Duration("offset", n.reg.clockOffset))
		n.tryAgain(now, s)
		return
	}
	if a.Status == mip6.StatusMessageIDRequired && n.config.SA != nil && !n.timestamps {
		n.timestamps = true
		n.tryAgain(now, s)
		return
	}
	if s.lifetime == 0 {
		n.deregistered(now, s, a)
		return
	}
	t := n.target()
	late := n.withdrawing() || t == nil || s.careOf != n.locator(t).careOf
	switch {
	case late && !a.Status.Accepted():
		// About a place that was left: what was sent from the present one is answered
		// by itself.
		n.stats.LateAcknowledgements++
		n.reg.declined(s)
		return
	case !late && n.extension != nil && n.judged(now, s, a):
		return
	}
	if !a.Status.Accepted() {
		n.refused(now, s, a)
		return
	}
	n.accepted(now, s, a)
}

// judged asks the extension, and reports whether its verdict is all there is to
// an acknowledgement.
func (n *Node) judged(now time.Time, s sent, a mip6.BindingAcknowledgement) bool {
	verdict, actions := n.extension.Judge(now, a)
	n.out = append(n.out, actions...)
	if verdict != VerdictPlain && !a.Status.Accepted() {
		n.reg.declined(s) // RFC 3963 §5.4: no binding was made
	}
	switch verdict {
	case VerdictPlain:
		return false
	case VerdictRetry:
		n.tryAgain(now, s)
	case VerdictElsewhere:
		n.elsewhere(now, s)
	case VerdictWithdraw:
		n.reg.accept(s, a.Lifetime, 0)
		n.withdraw(now, withdrawRefused)
	case VerdictReject:
		n.reject(now, a.Status)
	case VerdictStop:
		n.halt(a.Status)
	}
	return true
}

// accepted completes a registration.
func (n *Node) accepted(now time.Time, s sent, a mip6.BindingAcknowledgement) {
	t := n.target()
	if t == nil || s.careOf != n.locator(t).careOf || n.withdrawing() {
		// An earlier care-of address was accepted while a newer update is on
		// its way, or waits: nothing to complete.
		n.stats.LateAcknowledgements++
		n.reg.overtaken(s, a.Lifetime)
		if t != nil && n.reg.retransmit.IsZero() {
			n.requestUpdate(now)
		}
		if c := n.current; n.pending == nil && c != nil && !c.home && !n.withdrawing() && n.bound(c) {
			// The on-link care-of address, while the regional one is on its way: the
			// node is reachable.
			n.forward()
			n.settleDefault()
			n.completeHandover(now)
		}
		return
	}
	if a.Lifetime == 0 { // accepted, and nothing granted
		n.reg.unbind()
		a.Status = mip6.StatusReasonUnspecified
		n.refused(now, s, a)
		return
	}
	var advice time.Duration
	if o, ok := mip6.Find[mip6.RefreshAdvice](a); ok {
		advice = o.Interval.Duration()
	}
	first := !n.reg.registered
	moved := n.reg.careOf != s.careOf
	n.reg.accept(s, a.Lifetime, advice)
	if moved {
		n.followKeys(s.careOf, a)
	}
	if n.pending != nil {
		n.commit(now)
	} else {
		n.forward() // to a new home agent
		n.settleDefault()
	}
	n.freshTimeout()
	n.retireCareOfs(now)
	if n.homeLink.Agent() == n.reg.agent {
		n.out = append(n.out, n.homeLink.Registered(now, s.careOf, n.reg.expires)...)
		if a.Status == mip6.StatusPrefixDiscoveryNecessary {
			n.out = append(n.out, n.homeLink.PrefixesDue(now)...)
		}
	}
	if n.reg.registered && (first || moved) {
		n.log(slog.LevelInfo, "registered", slog.String("care_of", s.careOf.String()),
			slog.Duration("lifetime", n.reg.granted), slog.Int("status", int(a.Status)))
	}
	n.completeHandover(now)
	n.sayFarewell(now)
	n.decide(now, role.TriggerLink) // now that it serves a better one has to be steady
}

// refused handles a BA with a status of 128 and above.
func (n *Node) refused(now time.Time, s sent, a mip6.BindingAcknowledgement) {
	if a.Status == mip6.StatusDuplicateAddress && (n.atHome() || !n.reg.newest(s)) {
		// The home agent's duplicate address detection may have found this node
		// itself, which was at home again by then.
		n.stats.LateAcknowledgements++
		return
	}
	n.log(slog.LevelError, "home agent refused the registration", slog.Int("status", int(a.Status)),
		slog.String("reason", a.Status.String()), slog.String("care_of", s.careOf.String()))
	n.reg.declined(s)
	n.reg.outstanding = n.reg.outstanding[:0]
	if t := n.target(); t != nil && t.anchor != nil && s.careOf == t.anchor.rcoa && !n.stopping &&
		(a.Status == mip6.StatusInvalidCareOfAddress || a.Status == mip6.StatusAdministrativelyProhibited) {
		n.reg.retransmit = time.Time{}
		n.bypass(now, t.anchor, "the home agent refuses its regional care-of address")
		return
	}
	switch {
	case n.pending != nil:
		n.abandon(now, "the home agent refused it")
		return
	case n.stopping:
		n.finish(now)
		return
	}
	switch a.Status {
	case mip6.StatusDuplicateAddress:
		if n.boundElsewhere(now) {
			// Another home agent may still defend the home address.
			n.refusedBy(now, defendedRetry, homelink.Defended)
			return
		}
		// The home address belongs to somebody else and must not be used again
		// (RFC 6275 §11.7.1).
		n.halt(a.Status)
	case mip6.StatusTypeChangeDisallowed:
		// A binding of another kind is there, of an earlier life perhaps.
		if n.withdrawing() || n.atHome() || n.reg.refusedUntil.After(now) {
			n.reg.retransmit = now.Add(slowRetry)
			return
		}
		n.reg.refusedUntil = now.Add(slowRetry)
		n.withdraw(now, withdrawRenew)
	case mip6.StatusInvalidCareOfAddress:
		// Not the home agent's service but this care-of address is refused.
		if l := n.links[n.current.link]; l != nil {
			l.avoidFrom(now)
		}
		n.reg.retransmit = now.Add(slowRetry)
		n.decide(now, role.TriggerExpiry)
	case mip6.StatusReasonUnspecified, mip6.StatusInsufficientResources, mip6.StatusIDMismatch:
		n.reg.backOff()
		n.refusedBy(now, n.reg.timeout, homelink.Refused)
	default:
		// 129, 131–133, 146 and what is not known: an administrator's matter, at
		// this home agent at least.
		n.refusedBy(now, slowRetry, homelink.Refused)
	}
}

// refusedBy turns to another home agent if there is one, or asks this one again
// after a pause (RFC 6275 §11.4.1).
func (n *Node) refusedBy(now time.Time, pause time.Duration, why homelink.Failure) {
	r := n.reg
	r.refusedUntil = now.Add(pause)
	r.retransmit = r.refusedUntil
	if !n.atHome() && !n.withdrawing() {
		n.failed(now, why)
	}
}

// sequenceRefused adopts the sequence number of an authentic BA with status
// 135 (RFC 6275 §11.7.3).
func (n *Node) sequenceRefused(now time.Time, p mip6.Packet, a mip6.BindingAcknowledgement) {
	if len(n.reg.outstanding) == 0 {
		n.drop(role.DropUnsolicited, p)
		return
	}
	n.stats.count(a.Status)
	n.act(role.Acknowledged{Status: a.Status})
	n.reg.heard()
	if !n.reg.sequence.After(a.Sequence) {
		n.reg.sequence = a.Sequence
	}
	n.reg.outstanding = n.reg.outstanding[:0]
	n.requestUpdate(now)
}

// tryAgain sends a corrected update in place of s, unless a newer one is
// already on its way.
func (n *Node) tryAgain(now time.Time, s sent) {
	if n.reg.newest(s) {
		n.requestUpdate(now)
	}
}

// refreshRequested answers a Binding Refresh Request of the home agent, or of an anchor
// that is in use (RFC 6275 §11.7.4).
func (n *Node) refreshRequested(now time.Time, p mip6.Packet) {
	if r := n.regionalWith(p.Source); r != nil && p.To() == r.rcoa {
		if r.lives() && n.uses(r) && r.retransmit.IsZero() && r.refusal.mayAsk(now) {
			n.freshLocal(r)
			n.requestLocal(now, r)
		}
		return
	}
	if p.Source != n.reg.agent || p.To() != n.config.HomeAddress {
		n.drop(role.DropUnexpected, p)
		return
	}
	if !n.reg.registered || n.atHome() || !n.reg.retransmit.IsZero() {
		return
	}
	n.freshTimeout()
	n.requestUpdate(now)
}

// bindingError handles a Binding Error of the home agent: it does not know our
// messages.
func (n *Node) bindingError(p mip6.Packet, m mip6.BindingError) {
	if p.Source != n.reg.agent || len(n.reg.outstanding) == 0 {
		n.drop(role.DropUnsolicited, p)
		return
	}
	n.log(slog.LevelWarn, "home agent answered with a binding error", slog.String("reason", m.Status.String()))
}

// drop counts a message that is not accepted.
func (n *Node) drop(r role.DropReason, p mip6.Packet) {
	n.act(role.Dropped{Reason: r, From: p.From()})
}
