package mn

import (
	"log/slog"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/homelink"
)

// slowRetry is the pause after a refusal that only an administrator can mend:
// short enough that a fleet comes back by itself once the home agent is put
// right, long enough not to be a burden.
const slowRetry = 5 * time.Minute

// defendedRetry is the pause after a home agent has found the home address in use
// that another home agent may still defend: until that one answers, or forgets.
const defendedRetry = 30 * time.Second

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

// sendUpdate sends a home registration for the attachment, or a de-registration
// at home or when it ends (RFC 6275 §11.7.1, §11.5.5).
func (n *Node) sendUpdate(now time.Time) {
	a := n.target()
	if a == nil || !a.careOf.IsValid() {
		n.reg.retransmit = time.Time{} // decide finds another place
		return
	}
	if n.holdsBack() {
		n.reg.retransmit = time.Time{} // informHome comes back
		return
	}
	if !n.reg.agent.IsValid() {
		n.reg.retransmit = time.Time{} // followAgent comes back
		if a.home {
			n.reg.retransmit = now.Add(n.reg.timeout) // the home address serves without
		}
		return
	}
	if !n.send(now, n.reg, a, a.home || n.stopping || n.withdrawing()) {
		return
	}
	n.stats.UpdatesSent++
	if n.handover != nil {
		n.handover.Updates++
		if n.handover.Updated.IsZero() {
			n.handover.Updated = now
		}
	}
}

// send sends an update about attachment a and arms its retransmission; ending
// makes it one of lifetime zero. It reports whether it could.
func (n *Node) send(now time.Time, r *registration, a *attachment, ending bool) bool {
	from := n.locator(a)
	if n.withholds(now, r, from.careOf) {
		return false
	}
	lifetime := mip6.LifetimeFrom(n.lifetimeFor(now, a))
	if ending {
		lifetime = 0
	}
	r.sequence++
	s := sent{sequence: r.sequence, lifetime: lifetime, careOf: from.careOf, at: now}
	u := mip6.BindingUpdate{
		Sequence: s.sequence,
		Flags:    mip6.UpdateAcknowledge | mip6.UpdateHome,
		Lifetime: lifetime,
		Options:  []mip6.Option{mip6.AlternateCareOf{Addr: from.careOf}},
	}
	if n.compatibleLinkLocal(a.link) {
		u.Flags |= mip6.UpdateLinkLocal
	}
	if n.config.KeyExchange && n.config.KeyMobility {
		u.Flags |= mip6.UpdateKeyManagement
	}
	if n.extension != nil {
		n.extension.Extend(&u, ending)
	}
	if n.config.SA != nil && n.timestamps {
		s.timestamp = r.stamp(now)
		u.Options = append(u.Options, mip6.ReplayProtection{Timestamp: s.timestamp})
	}
	var m mip6.Message = u
	if n.config.SA != nil {
		var err error
		if m, err = n.config.SA.Seal(u, from.careOf, n.config.HomeAddress); err != nil {
			n.log(slog.LevelError, "binding update not sent", slog.String("reason", err.Error()))
			r.retransmit = now.Add(slowRetry)
			return false
		}
	}
	p := mip6.Packet{Source: from.careOf, Destination: r.agent, Message: m}
	if !a.home {
		p.HomeAddress = n.config.HomeAddress
	}
	n.act(role.Send{Packet: p, Link: from.link})
	r.record(s)
	r.retransmit = now.Add(r.timeout)
	return true
}

// lifetimeFor is the lifetime to ask for: no longer than the care-of address
// lives, and the home address (RFC 6275 §11.7.1).
func (n *Node) lifetimeFor(now time.Time, a *attachment) time.Duration {
	l := n.config.Lifetime
	if c := n.careOfs.find(a.link, a.careOf); c != nil && !c.validUntil.IsZero() {
		l = min(l, c.validUntil.Sub(now))
	}
	if a.anchor != nil && !a.home {
		l = min(l, a.anchor.expires.Sub(now)) // RFC 5380 §6.1: no longer than that with the anchor
	}
	if t := n.homeLink.HomePrefixValidUntil(); now.Before(t) {
		// What is past was not renewed only as far as we know; then the home
		// agent decides, which knows.
		l = min(l, t.Sub(now))
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
	n.reg.unanswered = 0
	n.reg.timeout = InitialBindAckTimeout
	if a := n.target(); !n.reg.registered && (a == nil || !a.home) {
		n.reg.timeout = n.config.FirstTimeout
	}
}

// retransmitDue sends an update again under a new sequence number.
func (n *Node) retransmitDue(now time.Time) {
	if t := n.reg.earliest(now); t.After(now) {
		n.reg.retransmit = t
		return
	}
	if len(n.reg.outstanding) > 0 || n.reg.withheld || !n.reg.agent.IsValid() {
		n.reg.backOff()
		n.reg.unanswered++
		if n.unanswered(now) {
			return
		}
		n.stats.Retransmissions++
	}
	n.sendUpdate(now)
}

// unanswered judges an update that got no answer, and reports whether that was
// the last of its kind.
func (n *Node) unanswered(now time.Time) bool {
	a := n.current
	enough := n.reg.unanswered >= n.config.Attempts
	switch {
	case a == nil || n.stopping:
		return false
	case n.pending != nil && n.pending.home:
		if enough {
			// The way through the home agent is of no use either then.
			n.commit(now)
			return n.homeAlone(now)
		}
		return false
	case n.pending != nil:
		switch r := n.pending.anchor; {
		case !enough:
		case r != nil && r != a.anchor:
			n.bypass(now, r, "the home agent does not answer through it")
			return n.reg.retransmit.After(now)
		default:
			n.abandon(now, "the home agent does not answer")
		}
		return enough
	case a.home:
		return enough && n.homeAlone(now)
	case !a.works():
		return false // not the home agent's fault
	}
	n.reg.silent++
	if n.withdrawing() {
		if enough {
			n.withdrawn(now, mip6.StatusReasonUnspecified)
		}
		return enough
	}
	// First the router may be gone without a sign (RFC 6275 §11.5.1).
	n.ask(now, role.TriggerSilence, 2)
	if r := n.between(); r != nil {
		n.askAnchor(now, r, false) // or the anchor
	}
	// Where it has answered by way of the anchor before, another home agent comes first.
	proven := n.homeLink.Several() && n.reg.registered && n.reg.careOf == n.locator(a).careOf
	if r := a.anchor; enough && r != nil && !proven && n.told(n.locator(a)) {
		n.bypass(now, r, "the home agent does not answer through it") // or what is beyond that
		return n.reg.retransmit.After(now)
	}
	if n.reg.silent%n.config.Attempts != 0 {
		return false
	}
	r := n.reg
	n.failed(now, homelink.Unanswered)
	return n.reg != r
}

// askAgent confirms the registration with a home agent that seems to be gone or
// to have forgotten us. The registration is not given up on such a hint.
func (n *Node) askAgent(now time.Time) {
	n.log(slog.LevelWarn, "tunnel does not work, registering anew", slog.String("home_agent", n.reg.agent.String()))
	n.freshTimeout()
	n.requestUpdate(now)
}

// tunnelRefused registers anew when the home agent's data plane does not know
// us: it has lost its bindings, in a restart for instance.
func (n *Node) tunnelRefused(now time.Time, e role.TunnelRefused) {
	a := n.current
	if r := n.regionalAt(e.Home); r != nil {
		if r.lives() && n.needs(r) && a.works() && !a.home && r.retransmit.IsZero() && r.refusal.mayAsk(now) {
			n.askAnchor(now, r, false)
		}
		return
	}
	if e.Home != n.config.HomeAddress || !a.works() || a.home || n.pending != nil ||
		!n.reg.registered || !n.reg.retransmit.IsZero() || !n.reg.refusal.mayAsk(now) {
		return
	}
	n.askAgent(now)
}

// halt ends all updates until the configuration changes.
func (n *Node) halt(why mip6.Status) {
	n.halted = true
	n.reg.forget()
	n.settleDefault()
	n.log(slog.LevelError, "no more binding updates are sent until the configuration is changed or reloaded",
		slog.Int("status", int(why)), slog.String("reason", why.String()))
}

// expireRegistration notes that the home agent has forgotten us.
func (n *Node) expireRegistration(now time.Time) {
	retransmit, careOf := n.reg.retransmit, n.reg.careOf
	n.reg.forget()
	if n.atHome() {
		n.endReturn(now) // there is nothing left to de-register
		return
	}
	n.log(slog.LevelError, "registration expired without an answer from the home agent",
		slog.String("care_of", careOf.String()), slog.String("home_agent", n.reg.agent.String()))
	n.settleDefault()
	n.reg.retransmit = retransmit
	if retransmit.IsZero() {
		n.requestUpdate(now)
	}
}
