package mn

import (
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
)

// Standby care-of addresses. On uplinks that are not in use a care-of address is
// kept ready: probed for duplicates, with its default route, and known to the
// router, so that a hand-off needs no more than the binding update. It is assigned
// deprecated: nothing of this host begins with it. Which place is the best does
// not depend on it.
//
// At home there is none: the home agent's duplicate address detection is what
// takes the time when home is left.
const (
	// standbyAfter is how long the node and the uplink have to be at rest: what was
	// left in the last move has retired by then, and links that flap cost nothing.
	standbyAfter = 3 * time.Second
	// standbyProbe is the time between two solicitations that keep the router's
	// neighbour cache entry. An unused one may go after 60 s (gc_stale_time in
	// Linux).
	standbyProbe = 45 * time.Second
)

// settleStandby makes what stands by what should.
func (n *Node) settleStandby(now time.Time) {
	n.standbyDue = time.Time{}
	if n.stopping {
		return
	}
	for _, c := range slices.Clone(n.careOfs) {
		if c.standby && !n.standsBy(c) {
			n.dropStandby(now, c)
		}
	}
	n.noteQuiet(now)
	for _, l := range n.sortedLinks() {
		c, ok := n.standbyOn(now, l)
		if !ok {
			continue
		}
		co := n.careOfs.on(l.Index, c.prefix)
		if co != nil && co.standby {
			n.keepStandby(now, co)
			continue
		}
		if n.quietSince.IsZero() {
			continue
		}
		due := latest(n.quietSince, l.upSince, c.router.Since).Add(standbyAfter)
		if now.Before(due) {
			n.standbyDue = deadline.Earlier(n.standbyDue, due)
			continue
		}
		n.standBy(now, c)
	}
}

// noteQuiet follows since when the node has been at rest.
func (n *Node) noteQuiet(now time.Time) {
	quiet := n.serves() && n.pending == nil && n.handover == nil
	switch {
	case !quiet:
		n.quietSince = time.Time{}
	case n.quietSince.IsZero():
		n.quietSince = now
	}
}

// idle reports whether an uplink is there and not in use.
func (n *Node) idle(l *link) bool {
	return l != nil && l.Up && n.current != nil && !n.current.home &&
		!slices.ContainsFunc(n.attachments(), func(a *attachment) bool { return a.link == l.Index })
}

// standbyOn is the place that a standby address of an uplink is for: at the router
// of the one there is, or else the best one.
func (n *Node) standbyOn(now time.Time, l *link) (best candidate, found bool) {
	if !n.idle(l) {
		return candidate{}, false
	}
	at := slices.IndexFunc(n.careOfs, func(c *careOf) bool { return c.standby && c.link == l.Index })
	for _, r := range n.routers.On(l.Index) {
		if at >= 0 && n.careOfs[at].router != r.Addr {
			continue
		}
		if c, ok := n.candidate(l, r); ok && !c.home && (!found || n.better(now, c, best)) {
			best, found = c, true
		}
	}
	return best, found
}

// standsBy reports whether a standby address is still of use.
func (n *Node) standsBy(c *careOf) bool {
	l := n.links[c.link]
	r, ok := n.routers.Get(c.link, c.router)
	return ok && n.idle(l) && c.state != careOfDuplicate &&
		slices.ContainsFunc(n.offers(l, r), func(o candidate) bool { return o.prefix == c.prefix && !o.home })
}

// standBy makes a care-of address ready in place of another one of the uplink.
func (n *Node) standBy(now time.Time, p candidate) {
	c := n.ensureCareOf(now, p)
	if c == nil {
		return
	}
	for _, other := range slices.Clone(n.careOfs) {
		if other.standby && other.link == c.link {
			n.dropStandby(now, other)
		}
	}
	c.standby, c.ready = true, time.Time{}
	n.learn(p)
	n.keepStandby(now, c)
}

// keepStandby puts a standby address on its interface as soon as it can be used,
// and makes the router resolve it, then and now and then.
func (n *Node) keepStandby(now time.Time, c *careOf) {
	if !c.usable(n.config.WaitForDAD) {
		return // called again when the probing ends
	}
	if c.ready.IsZero() {
		n.assign(c)
	}
	if c.ready.IsZero() || !now.Before(c.ready) {
		c.ready = now.Add(n.jittered(standbyProbe))
		n.probes = append(n.probes, role.ProbeNeighbor{Link: c.link, Source: c.addr, Target: c.router})
	}
	n.standbyDue = deadline.Earlier(n.standbyDue, c.ready)
}

// dropStandby takes a standby address back. One that was found to be ours is
// remembered.
func (n *Node) dropStandby(now time.Time, c *careOf) {
	c.standby = false
	if slices.ContainsFunc(n.attachments(), c.serves) || !c.assigned() || c.state == careOfRetired {
		return
	}
	if !c.proven {
		n.removeCareOf(c)
		n.careOfs = slices.DeleteFunc(n.careOfs, func(o *careOf) bool { return o == c })
		return
	}
	n.makeDormant(now, c)
	n.forget(careOfDormant, maxDormant)
}

// latest is the last of some moments.
func latest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if t.After(first) {
			first = t
		}
	}
	return first
}
