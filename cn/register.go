package cn

import (
	"log/slog"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// idleAfter is how long a binding must not have been used before it makes room
// for another: three reports of traffic.
const idleAfter = 3 * overlay.TrafficInterval

// register carries out an update that may be. Packets take the new way before the
// mobile is told, so that none of those that its answer causes goes the old one.
func (c *Correspondent) register(u *update) {
	e := c.bindings.entries[u.pair]
	if e == nil {
		if !c.room() {
			c.refuse(u, mip6.StatusInsufficientResources)
			return
		}
		e = c.bindings.add(u.pair)
		e.sequence, e.guarded = u.sequence, u.until
	} else if !e.active {
		c.counts.Deleted--
	}
	message := "binding refreshed"
	switch {
	case !e.active:
		message = "binding registered"
		e.active, e.created = true, c.now
		c.counts.Bindings++
		c.counts.Registrations++
		c.optimise(e, u)
	case e.careOf != u.careOf:
		message = "binding moved"
		c.counts.Moves++
		c.optimise(e, u)
	default:
		c.counts.Refreshes++
	}
	e.nonces, e.revoked, e.asks, e.trouble = u.nonces, false, 0, trouble{}
	e.lifetime = binding.Grant(u.lifetime, c.config.MaxLifetime) // RFC 6275 §9.5.2
	e.expires = c.now.Add(e.lifetime.Duration())
	c.bindings.deadlines.Set(e, e.expires)
	c.bindings.use(e, c.now)
	c.accept(u, e.lifetime)
	c.logBinding(message, e)
}

// optimise gives an entry its care-of address, and tells the data plane.
func (c *Correspondent) optimise(e *entry, u *update) {
	e.careOf = u.careOf
	c.do(role.Forward{Changes: []overlay.Change{{Optimise: &overlay.Route{Pair: e.overlay(), CareOf: e.careOf}}}})
}

// room makes room for one more entry. When there is none the binding that was not
// used for longest has to go, if nobody uses it: its packets take the way through
// the home agent, and its mobile learns that from a Binding Error (RFC 6275 §9.6).
// One that is used stays, since to refuse costs less than to have two mobiles
// push each other out. One that a recorded update could bring back has to stay as
// well (§5.2.8): to remove it would free no memory. So who makes bindings in
// plenty can keep others from making new ones, not from using those they have.
func (c *Correspondent) room() bool {
	for len(c.bindings.entries) >= c.config.MaxBindings {
		e := c.bindings.oldest
		if e == nil || c.now.Sub(e.used) < idleAfter || e.guarded.After(c.now) {
			if c.shortages.Allow(c.now, shortages) {
				c.do(role.Log{Level: slog.LevelWarn, Message: "no room for bindings of more mobile nodes", Attrs: []slog.Attr{
					slog.Int("bindings", c.counts.Bindings), slog.Int("remembered", c.counts.Deleted),
					slog.Int("limit", c.config.MaxBindings)}})
			}
			return false
		}
		c.counts.Evictions++
		c.logBinding("binding made room for another", e)
		c.retire(e)
	}
	return true
}

// delete carries out an update that asks for it. It makes no entry where there is
// none (RFC 6275 §9.5.3): what the mobile wants is the case already.
func (c *Correspondent) delete(u *update) {
	if e := c.bindings.entries[u.pair]; e != nil {
		if e.active {
			c.counts.Deregistrations++
			c.logBinding("binding deleted", e)
			c.retire(e)
		}
		e.revoked = true
		c.nonces.spend(e.nonces.CareOf)
	}
	c.accept(u, 0)
}

// retire ends a binding. Its entry stays while one of the updates that made it
// could be accepted again.
func (c *Correspondent) retire(e *entry) {
	pair := e.overlay()
	c.do(role.Forward{Changes: []overlay.Change{{Deoptimise: &pair}}})
	c.bindings.unlink(e)
	c.counts.Bindings--
	e.active, e.lifetime = false, 0
	if !e.guarded.After(c.now) {
		c.bindings.remove(e)
		return
	}
	c.counts.Deleted++
	c.bindings.deadlines.Set(e, e.guarded)
}

// A mobile is asked to renew a binding when its packets use it in the last
// refreshWindow of its lifetime, or in the second half where that is shorter. A
// report of traffic comes every overlay.TrafficInterval at most.
const (
	refreshWindow   = 30 * time.Second
	refreshInterval = overlay.TrafficInterval / 2
	maxRefreshes    = 3
)

// trafficSeen notes that a binding is used, and asks the mobile to renew it when
// it ends soon (RFC 6275 §9.5.5). There is no timer for that: what nobody uses
// may end.
func (c *Correspondent) trafficSeen(t role.TrafficSeen) {
	e := c.bindings.active(pair{home: t.Home, peer: t.Peer})
	if e == nil || t.Side != overlay.CorrespondentSide {
		return
	}
	c.bindings.use(e, c.now)
	if e.expires.Sub(c.now) > min(refreshWindow, e.lifetime.Duration()/2) || e.asks >= maxRefreshes ||
		e.asks > 0 && c.now.Sub(e.asked) < refreshInterval {
		return
	}
	e.asks++
	e.asked = c.now
	c.counts.RefreshRequests++
	c.send(e.peer, e.home, mip6.BindingRefreshRequest{})
}
