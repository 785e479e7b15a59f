package ro

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// lifetime is what a binding update may ask for now: no longer than the home
// registration and the care-of address last (RFC 6275 §11.7.2, requirement M2).
// Zero means that there is nothing to ask for. The home registration counts
// before the home agent has acknowledged the present care-of address, too: the
// mobile node has one, and its next acknowledgement is on its way.
func (o *Optimiser) lifetime(now time.Time, e *entry) mip6.Lifetime {
	if o.at.Expires.IsZero() {
		return 0
	}
	d := min(o.config.Lifetime, o.at.Expires.Sub(now))
	if until := o.at.of(e.peer).ValidUntil; !until.IsZero() {
		d = min(d, until.Sub(now))
	}
	return mip6.LifetimeFrom(d)
}

// update sends a binding update for which the tokens are there, or puts it off
// to when it may be sent, or leaves it to the next Attach where there is no home
// registration.
func (o *Optimiser) update(now time.Time, e *entry) {
	lifetime := mip6.Lifetime(0)
	if !e.deleting {
		if lifetime = o.lifetime(now, e); lifetime == 0 {
			return
		}
	}
	e.phase = registering
	if at := e.allowed(now, &e.updates); at.After(now) {
		e.retransmit = at
		return
	}
	if err := o.sendUpdate(now, e, lifetime, mip6.UpdateAcknowledge); err != nil {
		o.fail(now, e, err.Error())
		return
	}
	e.retransmit = now.Add(InitialBindAckTimeout << e.tries)
	e.tries++
}

// sendUpdate sends a binding update (RFC 6275 §11.7.2). With lifetime zero it
// ends the binding: the key is of the home keygen token alone (§5.2.5), and the
// care-of address is the home address, at home as the source. Away from home it
// is named in an Alternate Care-of Address option: §9.5.1 would find the source
// address otherwise where §6.2.7 wants the home address under the authenticator,
// and implementations differ in which of the two they follow.
func (o *Optimiser) sendUpdate(now time.Time, e *entry, lifetime mip6.Lifetime, flags mip6.UpdateFlags) error {
	at := o.at.of(e.peer)
	s := sent{sequence: e.sequence + 1, lifetime: lifetime, source: at.source(o.config.Home), at: now}
	u := mip6.BindingUpdate{Sequence: s.sequence, Flags: flags, Lifetime: lifetime}
	if lifetime > 0 {
		s.careOf = s.source
		s.key = mip6.NewBindingKey(e.home.token, e.careOf.token)
		u.Options = []mip6.Option{mip6.NonceIndices{Home: e.home.index, CareOf: e.careOf.index}}
	} else {
		s.careOf = o.config.Home
		s.key = mip6.NewDeregistrationKey(e.home.token)
		u.Options = []mip6.Option{mip6.NonceIndices{Home: e.home.index}}
		if s.source != s.careOf {
			u.Options = append(u.Options, mip6.AlternateCareOf{Addr: s.careOf})
		}
	}
	m, err := s.key.SealAuthorization(u, s.careOf, e.peer)
	if err != nil {
		return err
	}
	p := mip6.Packet{Source: s.source, Destination: e.peer, Message: m}
	if s.source != o.config.Home {
		p.HomeAddress = o.config.Home
	}
	e.sequence = s.sequence
	e.home.spent = e.home.spent || lifetime == 0
	e.updates.record(now)
	e.record(s)
	o.stats.Updates++
	o.act(role.Send{Packet: p, Link: at.Link})
	return nil
}

// updateDue handles an update that was not acknowledged in time, or one that was
// put off. A correspondent discards silently what it cannot verify, as when it
// has started anew since the tokens were made: then new ones are asked for once.
func (o *Optimiser) updateDue(now time.Time, e *entry) {
	e.retransmit = time.Time{}
	if e.tries >= MaxFailures {
		old := e.home.since.Before(e.began) || !e.deleting && e.careOf.since.Before(e.began)
		if !old {
			o.fail(now, e, "correspondent does not acknowledge the binding update")
			return
		}
		e.home.proof, e.careOf.proof = proof{}, proof{}
		e.tries = 0
	}
	e.phase = proving
	o.advance(now, e)
}

// acknowledged handles a binding acknowledgement of a correspondent
// (RFC 6275 §11.7.3).
func (o *Optimiser) acknowledged(now time.Time, p mip6.Packet, a mip6.BindingAcknowledgement) {
	if p.To() != o.config.Home {
		o.drop(role.DropNotForUs, p)
		return
	}
	e := o.peers[p.Source]
	if e == nil || len(e.outstanding) == 0 {
		o.drop(role.DropUnsolicited, p)
		return
	}
	if a.Status == mip6.StatusSequenceOutOfWindow {
		o.sequenceRefused(now, p, e, a)
		return
	}
	s, ok := e.find(a.Sequence)
	if !ok || !o.answers(p, s) {
		o.drop(role.DropUnsolicited, p)
		return
	}
	switch a.Status {
	case mip6.StatusExpiredHomeNonce, mip6.StatusExpiredCareOfNonce, mip6.StatusExpiredNonces:
		o.nonceRefused(now, e, a.Status)
		return
	default:
	}
	if reason := verify(p, s, e.peer); reason != 0 {
		o.drop(reason, p)
		return
	}
	o.act(role.Acknowledged{Status: a.Status})
	e.proven, e.capable = true, true
	switch {
	case !a.Status.Accepted():
		o.rejected(now, e, a.Status)
	case s.lifetime == 0:
		o.deleted(e)
	default:
		o.accepted(now, e, s, a)
	}
}

// answers reports whether an acknowledgement came where the update was sent
// from: to the care-of address with a type 2 routing header, to the home address
// without one (RFC 6275 §9.5.4).
func (o *Optimiser) answers(p mip6.Packet, s sent) bool {
	return p.Destination == s.source && p.RouteHome.IsValid() == (s.source != o.config.Home)
}

// verify checks the authenticator of an acknowledgement of s; zero means that it
// is authentic.
func verify(p mip6.Packet, s sent, peer netip.Addr) role.DropReason {
	switch err := s.key.VerifyAuthorization(p.MH, s.careOf, peer); {
	case err == nil:
		return 0
	case errors.Is(err, mip6.ErrNoAuthentication):
		return role.DropUnauthenticated
	default:
		return role.DropBadAuthenticator
	}
}

// accepted switches the data plane: the correspondent has the binding. Its
// lifetime counts from the sending of the update (RFC 6275 §11.7.3), so that it
// ends here before it ends there. A Binding Refresh Advice of a correspondent is
// ignored, as demanded there.
func (o *Optimiser) accepted(now time.Time, e *entry, s sent, a mip6.BindingAcknowledgement) {
	granted := min(a.Lifetime, s.lifetime).Duration()
	expires := s.at.Add(granted)
	if !expires.After(now) {
		o.fail(now, e, "correspondent granted no lifetime")
		return
	}
	e.rest()
	e.failures, e.inVain, e.refused, e.retryAfter = 0, 0, false, time.Time{}
	e.held = now.Add(granted)
	e.expires = expires
	e.refresh = expires.Add(-min(granted/4, refreshLead))
	route := overlay.Route{Pair: o.pair(e), CareOf: s.careOf, Link: o.at.of(e.peer).Link}
	if e.route == nil || *e.route != route {
		e.route = &route
		o.stats.Optimised++
		o.act(role.Forward{Changes: []overlay.Change{{Optimise: &route}}})
		o.log(slog.LevelDebug, "route optimised", e, slog.String("care_of", s.careOf.String()), slog.Duration("lifetime", granted))
	}
	e.keepFresh()
}

// deleted notes that the correspondent has no binding any more.
func (o *Optimiser) deleted(e *entry) {
	e.rest()
	e.held, e.inVain = time.Time{}, 0
	o.log(slog.LevelDebug, "correspondent deleted the binding", e)
}

// rejected handles an authentic refusal.
func (o *Optimiser) rejected(now time.Time, e *entry, status mip6.Status) {
	why := "correspondent refused the binding: " + status.String()
	switch status {
	case mip6.StatusReasonUnspecified, mip6.StatusInsufficientResources, mip6.StatusInvalidCareOfAddress:
		o.fail(now, e, why)
	default:
		o.refuse(now, e, why)
	}
}

// nonceRefused handles the statuses 136 to 138, which come without an
// authenticator (RFC 6275 §9.5.4): what is said to have expired is asked for
// anew, a few times. Who forges that has to know the sequence number.
func (o *Optimiser) nonceRefused(now time.Time, e *entry, status mip6.Status) {
	o.act(role.Acknowledged{Status: status})
	if e.nonceErrors++; e.nonceErrors > maxNonceErrors {
		o.fail(now, e, "correspondent does not accept its nonces: "+status.String())
		return
	}
	if status != mip6.StatusExpiredCareOfNonce {
		e.home.proof = proof{}
	}
	if status != mip6.StatusExpiredHomeNonce {
		e.careOf.proof = proof{}
	}
	o.again(now, e)
}

// sequenceRefused adopts the sequence number of an authentic acknowledgement
// with status 135 (RFC 6275 §11.7.3). It carries a number that is not ours, so
// each outstanding update is tried. One that would take the sequence number back
// is a replay.
func (o *Optimiser) sequenceRefused(now time.Time, p mip6.Packet, e *entry, a mip6.BindingAcknowledgement) {
	reason := role.DropUnsolicited
	for i := len(e.outstanding) - 1; i >= 0 && reason != 0; i-- {
		if s := e.outstanding[i]; o.answers(p, s) {
			reason = verify(p, s, e.peer)
		}
	}
	if reason == 0 && e.sequence.After(a.Sequence) {
		reason = role.DropReplay
	}
	if reason != 0 {
		o.drop(reason, p)
		return
	}
	o.act(role.Acknowledged{Status: a.Status})
	e.proven, e.capable = true, true
	e.sequence = a.Sequence
	if e.tries >= MaxFailures {
		o.fail(now, e, "correspondent does not accept its own sequence number")
		return
	}
	o.again(now, e)
}

// again sends a corrected update in place of all that are outstanding.
func (o *Optimiser) again(now time.Time, e *entry) {
	e.outstanding = e.outstanding[:0]
	e.retransmit = time.Time{}
	e.phase = proving
	o.advance(now, e)
}
