package ro

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// After a move the first correspondents are told at once, the others one by one.
const (
	batchBurst    = 16
	batchInterval = 20 * time.Millisecond
)

// Attach tells where the mobile node is now and how its home registration
// stands: at every change of either. At home it is to be called after the
// de-registration was sent, since until then nothing may leave from the home
// address there (RFC 6275 §11.5.5).
//
// A move behind a regional care-of address is none, but for correspondents on the link.
// After a move all optimised routes are out at once, and the tunnel serves until
// the correspondents know the new care-of address. The care-of tests go out in
// the same call; home tests, where no home keygen token is left, when the home
// agent has acknowledged.
func (o *Optimiser) Attach(now time.Time, a Attachment) []role.Action {
	o.out = nil
	if o.stopped {
		return nil
	}
	if !a.AtHome && !mip6.Routable(a.CareOf) {
		a.CareOf = netip.Addr{}
	}
	was := o.at
	o.at = a
	if e := o.peers[a.HomeAgent]; e != nil {
		o.evict(now, e) // was a correspondent, and is none any more
	}
	var moved, stayed []*entry
	for _, e := range o.order {
		if a.of(e.peer).samePlace(was.of(e.peer)) {
			stayed = append(stayed, e)
		} else {
			moved = append(moved, e)
		}
	}
	o.moved(now, moved)
	o.shorten(now, stayed)
	o.confirmed(now, stayed, a.Registered && !was.Registered)
	o.timers(now)
	return o.out
}

// moved begins anew with those for whom the place is another one, in the order of use: correspondents with
// traffic are told the new care-of address; those that are silent, or all of
// them at home, are told to delete what they have, lest what they send goes to
// the old one until it expires (RFC 6275 §11.7.2).
func (o *Optimiser) moved(now time.Time, entries []*entry) {
	o.tunnel(entries...)
	n := 0
	for _, e := range entries {
		if o.at.away() {
			e.arrive(o.at.of(e.peer).CareOf)
		}
		switch {
		case o.at.away() && o.worthwhile(now, e):
			o.run(now, e, false, n)
		case !o.at.nowhere() && e.held.After(now):
			o.run(now, e, true, n)
		default:
			e.rest()
			continue
		}
		n++
	}
}

// shorten renews the bindings that would be there when the care-of address has ended.
func (o *Optimiser) shorten(now time.Time, entries []*entry) {
	for _, e := range entries {
		if until := o.at.of(e.peer).ValidUntil; e.route != nil && !until.IsZero() && e.expires.After(until) {
			e.expires, e.refresh = until, now
		}
	}
}

// worthwhile reports whether a correspondent is to be approached at a new place
// without waiting for its traffic: that it failed at another one says nothing,
// that it refused does.
func (o *Optimiser) worthwhile(now time.Time, e *entry) bool {
	return !e.idle(now) && (e.capable || e.phase != resting) && !(e.refused && now.Before(e.retryAfter)) &&
		o.config.Policy.Permits(e.peer)
}

// arrive puts the care-of token of the place before aside and takes up that of
// this one: a mobile node between two cells has been here before (RFC 6275
// §11.6.1).
func (e *entry) arrive(careOf netip.Addr) {
	if e.careOf.address == careOf {
		return
	}
	e.left, e.careOf.proof = e.careOf.proof, e.left
	if e.careOf.address != careOf {
		e.careOf.proof = proof{}
	}
}

// confirmed goes on with what waited for the home registration. The first
// acknowledgement at a place proves that it is connected, and forgives what
// failed there before. Who has fallen silent while waiting waits no more.
func (o *Optimiser) confirmed(now time.Time, entries []*entry, registered bool) {
	n := 0
	for _, e := range entries {
		again := registered && o.at.away() && e.phase == resting && e.route == nil && e.retryAfter.After(now) && o.worthwhile(now, e)
		switch {
		case again:
			o.run(now, e, false, n)
		case e.phase == proving && !e.deleting && e.route == nil && e.idle(now):
			e.rest()
			continue
		case e.phase == proving:
			if registered && n >= batchBurst {
				e.notBefore = now.Add(time.Duration(n-batchBurst+1) * batchInterval)
			}
			if registered && o.at.away() && e.careOf.asking() && e.careOf.tries == 1 {
				// A correspondent that is mobile and moved at the same moment was
				// not yet where its home agent sent the first question.
				o.ask(now, e, &e.careOf)
			}
			o.advance(now, e)
		default:
			continue
		}
		n++
	}
}

// Reconfigure applies a new configuration. Correspondents that the policy no
// longer permits go back to the tunnel and are told to delete their binding.
func (o *Optimiser) Reconfigure(now time.Time, c Config) []role.Action {
	o.out = nil
	if o.stopped {
		return nil
	}
	c.Home = o.config.Home
	o.config = c.complete()
	var barred []*entry
	for _, e := range o.order {
		if !c.Policy.Permits(e.peer) {
			barred = append(barred, e)
		}
	}
	o.tunnel(barred...)
	n := 0
	for _, e := range barred {
		switch {
		case e.deleting:
		case o.at.nowhere() || !e.held.After(now):
			e.rest()
		default:
			o.run(now, e, true, n)
			n++
		}
	}
	for len(o.order) > o.config.MaxPeers {
		o.evict(now, o.order[len(o.order)-1])
	}
	o.timers(now)
	return o.out
}

// stop takes all routes out and sends the deletions for which there is a home
// keygen token, without waiting for answers: bindings that remain run out.
func (o *Optimiser) stop(now time.Time) {
	o.tunnel(o.order...)
	for _, e := range o.order {
		o.farewell(now, e)
	}
	o.order, o.peers = nil, nil
	o.stopped = true
}

// farewell tells a correspondent that may have a binding to delete it, once, and
// asks for no acknowledgement: nobody will be there to read it.
func (o *Optimiser) farewell(now time.Time, e *entry) {
	if o.at.nowhere() || !e.held.After(now) || !e.home.valid(now) || e.updates.earliest(now).After(now) {
		return
	}
	if err := o.sendUpdate(now, e, 0, 0); err != nil {
		o.log(slog.LevelError, "binding is not deleted at correspondent", e, slog.String("reason", err.Error()))
	}
}

// tunnel takes optimised routes out of the data plane, all in one batch.
func (o *Optimiser) tunnel(entries ...*entry) {
	var changes []overlay.Change
	for _, e := range entries {
		if e.route != nil {
			changes = append(changes, overlay.Change{Deoptimise: &e.route.Pair})
			e.route = nil
			e.refresh, e.keep = time.Time{}, time.Time{}
		}
	}
	if len(changes) > 0 {
		o.act(role.Forward{Changes: changes})
	}
}

func (o *Optimiser) pair(e *entry) overlay.Pair {
	return overlay.Pair{Home: o.config.Home, Peer: e.peer, Side: overlay.MobileSide}
}
