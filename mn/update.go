package mn

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// slowRetry is the pause after a refusal that only an administrator can mend:
// short enough that a fleet comes back by itself once the home agent is put
// right, long enough not to be a burden.
const slowRetry = 5 * time.Minute

// requestUpdate asks for a home registration as soon as the rate limit allows:
// at once, usually.
func (n *Node) requestUpdate(now time.Time) {
	if n.halted {
		return
	}
	if t := n.reg.earliest(now); t.After(now) {
		n.reg.retransmit = t
		return
	}
	n.sendUpdate(now)
}

// sendUpdate sends a home registration for the current attachment, or a
// de-registration at home or when stopping (RFC 6275 §11.7.1, §11.5.5).
func (n *Node) sendUpdate(now time.Time) {
	a := n.current
	if a == nil {
		n.reg.retransmit = time.Time{}
		return
	}
	ending := a.home || n.stopping || n.withdrawing
	careOf := a.careOf
	lifetime := mip6.LifetimeFrom(n.lifetimeFor(now, a))
	if ending {
		lifetime = 0
	}
	if a.home {
		careOf = n.config.HomeAddress
	}

	n.reg.sequence++
	s := sent{sequence: n.reg.sequence, lifetime: lifetime, careOf: careOf, at: now}
	u := mip6.BindingUpdate{
		Sequence: s.sequence,
		Flags:    mip6.UpdateAcknowledge | mip6.UpdateHome,
		Lifetime: lifetime,
		Options:  []mip6.Option{mip6.AlternateCareOf{Addr: careOf}},
	}
	if n.compatibleLinkLocal(a.link) {
		u.Flags |= mip6.UpdateLinkLocal
	}
	if n.extension != nil {
		n.extension.Extend(&u, ending)
	}
	if n.config.SA != nil && n.timestamps {
		s.timestamp = n.reg.stamp(now)
		u.Options = append(u.Options, mip6.ReplayProtection{Timestamp: s.timestamp})
	}
	var m mip6.Message = u
	if n.config.SA != nil {
		var err error
		if m, err = n.config.SA.Seal(u, careOf, n.config.HomeAddress); err != nil {
			n.log(slog.LevelError, "binding update not sent", slog.String("reason", err.Error()))
			n.reg.retransmit = now.Add(slowRetry)
			return
		}
	}
	p := mip6.Packet{Source: careOf, Destination: n.agent(), Message: m}
	if !a.home {
		p.HomeAddress = n.config.HomeAddress
	}
	n.act(role.Send{Packet: p, Link: a.link})
	n.reg.record(s)
	n.reg.retransmit = now.Add(n.reg.timeout)
	n.stats.UpdatesSent++
	if n.handover != nil {
		n.handover.Updates++
		if n.handover.Updated.IsZero() {
			n.handover.Updated = now
		}
	}
}

// lifetimeFor is the lifetime to ask for: no longer than the care-of address
// lives (RFC 6275 §11.7.1).
func (n *Node) lifetimeFor(now time.Time, a *attachment) time.Duration {
	l := n.config.Lifetime
	if c := n.careOfs.find(a.careOf); c != nil && !c.validUntil.IsZero() {
		l = min(l, c.validUntil.Sub(now))
	}
	return max(l, mip6.LifetimeUnit)
}

// compatibleLinkLocal tells whether the interface identifier of the link-local
// address is that of the home address: the L bit (RFC 6275 §11.7.1).
func (n *Node) compatibleLinkLocal(link int) bool {
	l := n.links[link]
	if l == nil || !l.LinkLocal.IsValid() {
		return false
	}
	a, h := l.LinkLocal.As16(), n.config.HomeAddress.As16()
	return [8]byte(a[8:]) == [8]byte(h[8:])
}

// freshTimeout restarts the back-off: the first registration leaves the home
// agent time for duplicate address detection (RFC 6275 §11.8).
func (n *Node) freshTimeout() {
	n.reg.timeout = InitialBindAckTimeout
	if !n.reg.registered && !n.atHome() {
		n.reg.timeout = n.config.FirstTimeout
	}
}

// retransmitDue sends an update again under a new sequence number.
func (n *Node) retransmitDue(now time.Time) {
	if t := n.reg.earliest(now); t.After(now) {
		n.reg.retransmit = t
		return
	}
	if len(n.reg.outstanding) > 0 {
		n.stats.Retransmissions++
		n.reg.backOff()
	}
	n.sendUpdate(now)
}

// received handles a Mobility Header message.
func (n *Node) received(now time.Time, e role.MessageReceived) {
	p := e.Packet
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

// verify checks that a BA comes from the home agent to us and, where there is
// a security association, that it is authentic. The care-of address it is
// bound to is where the packet was sent: it has to have been ours.
func (n *Node) verify(p mip6.Packet) (role.DropReason, error) {
	if p.Source != n.agent() || p.HomeAddress.IsValid() {
		return role.DropUnexpected, fmt.Errorf("acknowledgement from %v, home agent is %v", p.From(), n.agent())
	}
	if p.To() != n.config.HomeAddress {
		return role.DropNotForUs, fmt.Errorf("acknowledgement for home address %v", p.To())
	}
	if n.config.SA == nil {
		return 0, nil
	}
	switch err := n.config.SA.Verify(p.MH, p.Destination, p.To()); {
	case errors.Is(err, mip6.ErrNoAuthentication):
		return role.DropUnauthenticated, err
	case err != nil:
		return role.DropBadAuthenticator, err
	}
	return 0, nil
}

// acknowledged handles a binding acknowledgement (RFC 6275 §11.7.3, RFC 4285
// §5.3 and §6).
func (n *Node) acknowledged(now time.Time, p mip6.Packet, a mip6.BindingAcknowledgement) {
	if reason, err := n.verify(p); err != nil {
		n.drop(reason, p)
		return
	}
	if a.Status == mip6.StatusSequenceOutOfWindow {
		n.sequenceRefused(now, p, a)
		return
	}
	s, ok := n.reg.find(a.Sequence)
	if !ok || s.careOf != p.Destination {
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
	if n.extension != nil {
		verdict, actions := n.extension.Judge(now, a)
		n.out = append(n.out, actions...)
		switch verdict {
		case VerdictPlain:
		case VerdictRetry:
			n.tryAgain(now, s)
			return
		case VerdictWithdraw:
			n.reg.accept(s, a.Lifetime, 0)
			n.withdrawing = true
			n.freshTimeout()
			n.requestUpdate(now)
			return
		case VerdictStop:
			n.halt(a.Status)
			return
		}
	}
	if !a.Status.Accepted() {
		n.refused(now, s, a)
		return
	}
	n.accepted(now, s, a)
}

// accepted completes a registration.
func (n *Node) accepted(now time.Time, s sent, a mip6.BindingAcknowledgement) {
	if !n.reg.newest(s) && n.current != nil && s.careOf != n.current.careOf {
		// An earlier care-of address was accepted while a newer update is on
		// its way: nothing to complete.
		n.stats.LateAcknowledgements++
		return
	}
	var advice time.Duration
	if o, ok := mip6.Find[mip6.RefreshAdvice](a); ok {
		advice = o.Interval.Duration()
	}
	first := !n.reg.registered
	moved := n.reg.careOf != s.careOf
	n.reg.accept(s, a.Lifetime, advice)
	n.freshTimeout()
	n.retireCareOfs(now)
	if n.reg.registered && (first || moved) {
		n.log(slog.LevelInfo, "registered", slog.String("care_of", s.careOf.String()),
			slog.Duration("lifetime", n.reg.granted), slog.Int("status", int(a.Status)))
	}
	n.completeHandover(now)
}

// refused handles a BA with a status of 128 and above.
func (n *Node) refused(now time.Time, s sent, a mip6.BindingAcknowledgement) {
	n.log(slog.LevelError, "home agent refused the registration", slog.Int("status", int(a.Status)),
		slog.String("reason", a.Status.String()), slog.String("care_of", s.careOf.String()))
	switch a.Status {
	case mip6.StatusDuplicateAddress:
		// The home address belongs to somebody else and must not be used again
		// (RFC 6275 §11.7.1).
		n.halt(a.Status)
	case mip6.StatusReasonUnspecified, mip6.StatusInsufficientResources, mip6.StatusIDMismatch:
		n.reg.backOff()
		n.reg.retransmit = now.Add(n.reg.timeout)
	default:
		n.reg.retransmit = now.Add(slowRetry)
	}
	n.reg.outstanding = n.reg.outstanding[:0]
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

// halt ends all updates until the configuration changes.
func (n *Node) halt(why mip6.Status) {
	n.halted = true
	n.reg.forget()
	n.log(slog.LevelError, "no more binding updates are sent until the configuration is changed or reloaded",
		slog.Int("status", int(why)), slog.String("reason", why.String()))
}

// refreshRequested answers a Binding Refresh Request of the home agent
// (RFC 6275 §11.7.4).
func (n *Node) refreshRequested(now time.Time, p mip6.Packet) {
	if p.Source != n.agent() || p.To() != n.config.HomeAddress {
		n.drop(role.DropUnexpected, p)
		return
	}
	if !n.reg.registered || !n.reg.retransmit.IsZero() {
		return
	}
	n.requestUpdate(now)
}

// tunnelRefused registers anew when the home agent's data plane does not know
// us: it has lost its bindings, in a restart for instance. The registration is
// not given up on such a hint, only confirmed.
func (n *Node) tunnelRefused(now time.Time, e role.TunnelRefused) {
	a := n.current
	if e.Home != n.config.HomeAddress || a == nil || a.home || a.lost || !n.reg.registered || !n.reg.retransmit.IsZero() {
		return
	}
	if !n.reg.mayAsk(now) {
		return
	}
	n.log(slog.LevelWarn, "home agent refuses tunnelled packets, registering anew", slog.String("home_agent", n.agent().String()))
	n.freshTimeout()
	n.requestUpdate(now)
}

// bindingError handles a Binding Error: the only one that concerns a home
// registration says that the home agent does not know our messages.
func (n *Node) bindingError(p mip6.Packet, m mip6.BindingError) {
	if p.Source != n.agent() || len(n.reg.outstanding) == 0 {
		n.drop(role.DropUnsolicited, p)
		return
	}
	n.log(slog.LevelWarn, "home agent answered with a binding error", slog.String("reason", m.Status.String()))
}

// drop counts a message that is not accepted.
func (n *Node) drop(r role.DropReason, p mip6.Packet) {
	n.act(role.Dropped{Reason: r, From: p.From()})
}

// expireRegistration notes that the home agent has forgotten us.
func (n *Node) expireRegistration(now time.Time) {
	n.log(slog.LevelError, "registration expired without an answer from the home agent",
		slog.String("care_of", n.reg.careOf.String()), slog.String("home_agent", n.agent().String()))
	retransmit := n.reg.retransmit
	n.reg.forget()
	n.reg.retransmit = retransmit
	if retransmit.IsZero() {
		n.requestUpdate(now)
	}
}
