package mn

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// Router solicitations (RFC 4861 §10, RFC 7559 §2): the first at once, then
// backing off without end, so that a router that comes late is found.
const (
	solicitInterval = 4 * time.Second
	solicitMax      = time.Hour
)

// A query asks the current router whether it is still there before a working
// link is left on the word of somebody else's advertisement. Its time-out
// follows the round trip that was measured, within these bounds.
const (
	queryMin     = 5 * time.Millisecond
	queryMax     = 200 * time.Millisecond
	queryDefault = 50 * time.Millisecond
)

// queryTimeout allows half as much again as the last round trip, and something
// for the timers of both ends.
func queryTimeout(roundTrip time.Duration) time.Duration {
	if roundTrip == 0 {
		return queryDefault
	}
	return min(max(roundTrip*3/2+2*time.Millisecond, queryMin), queryMax)
}

// link is an uplink.
type link struct {
	role.Link
	preference int       // place in Config.Uplinks, 0 is the best; negative: not an uplink
	upSince    time.Time // zero while down
	downSince  time.Time
	solicited  time.Time // last solicitation
	solicit    time.Time // next one; zero: none is due
	interval   time.Duration
}

// attachment is where the node is attached: a router on a link, the prefix it
// advertises there, and the care-of address under that prefix.
type attachment struct {
	link   int
	name   string
	router netip.Addr
	prefix netip.Prefix
	careOf netip.Addr // the home address at home
	home   bool

	lost      bool // the link is down or the router gone
	lostSince time.Time
	probed    time.Time     // when the router was asked, for the round trip
	roundTrip time.Duration // to the router; 0: not known

	homeState     homeState
	announce      time.Time // next announcement of the home address
	announcements int       // still to be sent
}

func (a *attachment) record() role.Attachment {
	if a == nil {
		return role.Attachment{}
	}
	return role.Attachment{Link: a.name, Router: a.router, CareOf: a.careOf, AtHome: a.home}
}

// candidate is a place to attach to.
type candidate struct {
	link   *link
	router *nd.Router
	prefix nd.Prefix
	home   bool
}

// is reports whether c is where the node is attached already.
func (c candidate) is(a *attachment) bool {
	return a != nil && c.link.Index == a.link && c.router.Addr == a.router && c.prefix.Info.Prefix.Masked() == a.prefix && c.home == a.home
}

// query is a question to the current router that is under way.
type query struct {
	router  netip.Addr
	link    int
	ends    time.Time
	left    int // attempts
	trigger role.Trigger
}

func preferenceOf(name string, uplinks []string) int { return slices.Index(uplinks, name) }

// linkChanged follows an interface.
func (n *Node) linkChanged(now time.Time, l role.Link) {
	known := n.links[l.Index]
	preference := preferenceOf(l.Name, n.config.Uplinks)
	if preference < 0 {
		if known != nil { // renamed away
			n.linkGone(now, l.Index)
		}
		return
	}
	if known == nil {
		known = &link{}
		n.links[l.Index] = known
	}
	wasUp := known.Up
	if wasUp && l.Up && l.Carriers != known.Carriers {
		n.linkDown(now, known) // it was away, and back before we heard of it
		wasUp = false
	}
	known.Link, known.preference = l, preference
	switch {
	case l.Up && !wasUp:
		known.upSince = now
		known.interval = 0
		n.solicitNow(now, known)
		for _, c := range n.careOfs { // the same name may hide another link
			if c.link == l.Index {
				c.stale = true
			}
		}
	case !l.Up && wasUp:
		n.linkDown(now, known)
	}
}

// linkGone follows the removal of an interface.
func (n *Node) linkGone(now time.Time, index int) {
	l := n.links[index]
	if l == nil {
		return
	}
	if l.Up {
		l.Up = false
		n.linkDown(now, l)
	}
	delete(n.links, index)
	n.routers.LinkDown(index)
	kept := n.careOfs[:0]
	for _, c := range n.careOfs {
		if c.link == index {
			n.removeCareOf(c)
			continue
		}
		kept = append(kept, c)
	}
	clear(n.careOfs[len(kept):])
	n.careOfs = kept
}

// linkDown forgets the routers of a link without carrier: whoever is there
// when it returns has to say so.
func (n *Node) linkDown(now time.Time, l *link) {
	l.upSince, l.downSince, l.solicit = time.Time{}, now, time.Time{}
	n.routers.LinkDown(l.Index)
	if a := n.current; a != nil && a.link == l.Index {
		n.lose(now)
		n.decide(now, role.TriggerLink)
	}
}

// lose notes that the current attachment does not work any more.
func (n *Node) lose(now time.Time) {
	if a := n.current; a != nil && !a.lost {
		a.lost, a.lostSince = true, now
	}
	n.query = nil
}

// solicitNow sends a router solicitation and arms the next.
func (n *Node) solicitNow(now time.Time, l *link) {
	n.act(role.SolicitRouter{Link: l.Index})
	l.solicited = now
	if l.interval = 2 * l.interval; l.interval == 0 {
		l.interval = solicitInterval
	}
	l.interval = min(l.interval, solicitMax)
	l.solicit = now.Add(l.interval)
}

func (n *Node) solicitDue(now time.Time) {
	for _, index := range slices.Sorted(maps.Keys(n.links)) { // in the same order each time
		l := n.links[index]
		if !l.solicit.IsZero() && !now.Before(l.solicit) {
			n.solicitNow(now, l)
		}
	}
}

// routerHeard takes in an advertisement and decides whether it means movement.
func (n *Node) routerHeard(now time.Time, e role.RouterHeard) {
	l := n.links[e.Link]
	if l == nil || !l.Up {
		return
	}
	changes := n.routers.Heard(now, e.Link, e.Router, e.RA)
	n.refreshCareOfs(e.Link, e.Router)
	if e.RA.RouterLifetime > 0 {
		l.solicit = time.Time{} // RFC 4861 §6.3.7: a router was found
	}
	a := n.current
	if a != nil && a.link == e.Link && a.router == e.Router {
		if n.query != nil && n.query.router == e.Router {
			n.query = nil // it is alive
		}
	}
	if len(changes) == 0 && (a == nil || !a.lost) {
		return
	}
	if a != nil && !a.lost && a.link == e.Link && a.router != e.Router {
		if slices.ContainsFunc(changes, func(c nd.Change) bool { return c.Kind == nd.RouterAppeared }) {
			// Somebody new on our link: either we moved without noticing, or
			// there are two routers here. Ask ours before believing it left.
			n.ask(now, role.TriggerAdvertisement, 1)
		}
		return
	}
	n.decide(now, role.TriggerAdvertisement)
}

// routersExpired handles what the router table noticed by itself.
func (n *Node) routersExpired(now time.Time, changes []nd.Change) {
	for _, c := range changes {
		a := n.current
		if a == nil || a.lost || c.Link != a.link || c.Router != a.router {
			continue
		}
		switch c.Kind {
		case nd.RouterLost:
			n.ask(now, role.TriggerSilence, 2)
		case nd.PrefixDeprecated, nd.PrefixExpired:
			n.decide(now, role.TriggerExpiry)
		case nd.RouterAppeared, nd.RouterChanged, nd.PrefixAppeared:
		}
	}
}

// ask probes the current router (RFC 4861 §7.3).
func (n *Node) ask(now time.Time, t role.Trigger, attempts int) {
	a := n.current
	if n.query != nil || a == nil {
		return
	}
	n.query = &query{router: a.router, link: a.link, ends: now.Add(queryTimeout(a.roundTrip)), left: attempts - 1, trigger: t}
	n.probe(now)
}

// probe sends the current router a neighbour solicitation, behind everything
// else, and notes the time for the round trip.
func (n *Node) probe(now time.Time) {
	a := n.current
	a.probed = now
	n.probes = append(n.probes, role.ProbeNeighbor{Link: a.link, Source: a.careOf, Target: a.router})
}

// queryDue gives the current router up when it did not answer.
func (n *Node) queryDue(now time.Time) {
	q := n.query
	if q == nil || now.Before(q.ends) {
		return
	}
	n.query = nil
	if q.left > 0 {
		n.ask(now, q.trigger, q.left)
		return
	}
	n.routers.Forget(q.link, q.router)
	n.lose(now)
	n.decide(now, q.trigger)
	if l := n.links[q.link]; l != nil && l.Up && n.current != nil && n.current.lost {
		l.interval = 0
		n.solicitNow(now, l)
	}
}

// checkRouterAlive takes an advertisement of the current router's own address
// as its answer, and reports whether it was one.
func (n *Node) checkRouterAlive(now time.Time, e role.NeighborHeard) bool {
	a := n.current
	if a == nil || e.Solicitation || e.Link != a.link || e.Target != a.router || e.From != a.router {
		return false
	}
	if !a.probed.IsZero() && e.Solicited {
		a.roundTrip = now.Sub(a.probed)
		a.probed = time.Time{}
	}
	if e.Solicited {
		n.query = nil
		n.routers.Confirm(now, a.link, a.router)
	}
	return true
}

// decide attaches to the best place there is, if that is not where the node is.
func (n *Node) decide(now time.Time, t role.Trigger) {
	if n.stopping {
		return
	}
	best, ok := n.best()
	if !ok {
		return
	}
	a := n.current
	if best.is(a) && a.careOf.IsValid() {
		n.restore(now, best)
		return
	}
	if a != nil && !a.lost && a.careOf.IsValid() && best.link.preference >= n.preference(a) &&
		best.link.Index == a.link && best.router.Addr != a.router {
		return // ask decides between two routers of one link
	}
	n.attach(now, best, t)
}

// restore notes that the place where the node is attached works again.
func (n *Node) restore(now time.Time, c candidate) {
	a := n.current
	if !a.lost {
		return
	}
	a.lost = false
	if !a.home {
		if co := n.ensureCareOf(now, a.link, a.router, c.prefix); co != nil {
			n.assign(co)
		}
	}
	n.learn(c)
	n.handover = nil
	if !n.reg.retransmit.IsZero() { // what was sent meanwhile is lost
		n.freshTimeout()
		n.requestUpdate(now)
	}
	n.log(slog.LevelInfo, "link restored", slog.String("link", a.name), slog.String("router", a.router.String()))
}

func (n *Node) preference(a *attachment) int {
	if l := n.links[a.link]; l != nil {
		return l.preference
	}
	return len(n.config.Uplinks)
}

// best is the preferred candidate: by the order of the uplinks, then home
// before away, then the router in use, then by router preference, then the one
// that appeared last: the others may be memories.
func (n *Node) best() (candidate, bool) {
	var best candidate
	found := false
	for _, l := range n.links {
		if !l.Up {
			continue
		}
		for _, r := range n.routers.On(l.Index) {
			c, ok := n.candidate(l, r)
			if ok && (!found || n.better(c, best)) {
				best, found = c, true
			}
		}
	}
	return best, found
}

func (n *Node) better(c, d candidate) bool {
	if c.link.preference != d.link.preference {
		return c.link.preference < d.link.preference
	}
	if c.home != d.home {
		return c.home
	}
	if x, y := c.is(n.current), d.is(n.current); x != y {
		return x
	}
	if x, y := c.router.RA.Preference, d.router.RA.Preference; x != y {
		return x > y
	}
	if !c.router.Since.Equal(d.router.Since) {
		return c.router.Since.After(d.router.Since)
	}
	return c.router.Addr.Less(d.router.Addr) // any order, but always the same
}

// candidate turns a router into a place to attach to: at home if it advertises
// the home prefix, away if it is a default router with a prefix for SLAAC.
func (n *Node) candidate(l *link, r *nd.Router) (candidate, bool) {
	home := n.config.HomePrefix.Masked()
	for _, p := range r.Prefixes {
		if p.Info.Prefix.Masked() == home && p.Info.OnLink && p.Info.ValidLifetime > 0 {
			return candidate{link: l, router: r, prefix: p, home: true}, true
		}
	}
	if r.RA.RouterLifetime == 0 {
		return candidate{}, false
	}
	for _, p := range r.Prefixes {
		i := p.Info
		if !i.Autonomous || i.Prefix.Bits() != 64 || i.PreferredLifetime == 0 || !routable(i.Prefix.Addr()) {
			continue
		}
		if c := n.careOfs.on(l.Index, i.Prefix.Masked()); c != nil && c.state == careOfDuplicate {
			continue
		}
		return candidate{link: l, router: r, prefix: p}, true
	}
	return candidate{}, false
}

// attach moves the node to c: the heart of the handover. Everything that the
// binding update needs comes before it, everything else behind.
func (n *Node) attach(now time.Time, c candidate, t role.Trigger) {
	from := n.current
	to := &attachment{link: c.link.Index, name: c.link.Name, router: c.router.Addr, prefix: c.prefix.Info.Prefix.Masked(), home: c.home}
	if c.home {
		to.careOf = n.config.HomeAddress
	} else {
		co := n.ensureCareOf(now, to.link, to.router, c.prefix)
		if co == nil || !co.usable(n.config.WaitForDAD) {
			return // decide is called again when the probing ends
		}
		to.careOf = co.addr
		n.assign(co)
		if c.prefix.Info.OnLink {
			n.act(role.AddRoute{Route: onLinkRoute(co.prefix, co.link)})
		}
	}
	n.beginHandover(now, from, c, t)
	n.query = nil
	n.current = to
	n.learn(c)
	begins := !to.home && (from == nil || from.home)
	if begins {
		// The tunnel comes before the default route, so that no packet of the
		// mobile network leaves beside it (RFC 3963 §5.5).
		n.forward()
	}
	if from == nil || from.link != to.link || from.router != to.router {
		n.act(role.AddRoute{Route: defaultRoute(to)})
		if from != nil {
			n.act(role.RemoveRoute{Route: defaultRoute(from)})
		}
	}
	if n.handover != nil {
		n.handover.CareOf = now
	}
	if to.home {
		n.arriveHome(now, from)
		return
	}
	if begins {
		n.act(role.AssignAddress{Prefix: netip.PrefixFrom(n.config.HomeAddress, 128), Preferred: mip6.InfiniteLifetime, Valid: mip6.InfiniteLifetime, Home: true})
		if from != nil {
			n.act(role.UnassignAddress{Link: from.link, Prefix: netip.PrefixFrom(n.config.HomeAddress, n.config.HomePrefix.Bits())})
			n.act(role.RemoveRoute{Route: onLinkRoute(n.config.HomePrefix.Masked(), from.link)})
		}
	}
	n.freshTimeout()
	n.requestUpdate(now)
	if !begins {
		n.forward() // a swap: the update is more urgent
	}
	n.probe(now) // makes the router resolve the care-of address meanwhile
	n.log(slog.LevelInfo, "attached", slog.String("link", to.name), slog.String("router", to.router.String()),
		slog.String("care_of", to.careOf.String()), slog.String("trigger", t.String()))
}

// learn records the router's link-layer address, so that the binding update
// need not wait for address resolution.
func (n *Node) learn(c candidate) {
	mac := c.router.RA.SourceLinkAddr
	if len(mac) != 6 {
		return
	}
	n.act(role.LearnNeighbor{Link: c.link.Index, Addr: c.router.Addr, Ethernet: [6]byte(mac)})
	for _, p := range c.router.Prefixes {
		// At home the router is often the home agent itself, and says so by the
		// R bit (RFC 6275 §11.5.5).
		if c.home && p.Info.RouterAddress && p.Info.Prefix.Addr() == n.agent() {
			n.act(role.LearnNeighbor{Link: c.link.Index, Addr: n.agent(), Ethernet: [6]byte(mac)})
		}
	}
}

func defaultRoute(a *attachment) role.Route {
	return role.Route{Destination: anywhere, Link: a.link, Via: a.router, Metric: routeMetric}
}

// beginHandover opens the timeline, at the event that made the old attachment
// useless, or at the one that made the new one possible.
func (n *Node) beginHandover(now time.Time, from *attachment, c candidate, t role.Trigger) {
	h := &role.Handover{
		Home: n.config.HomeAddress, From: from.record(), Trigger: t, Start: now, Advertised: c.router.Since,
		To: role.Attachment{Link: c.link.Name, Router: c.router.Addr, AtHome: c.home},
	}
	if from == nil {
		h.Trigger = role.TriggerStart
	}
	linkEvent := from == nil || !c.link.upSince.Before(from.lostSince) && from.lost
	if linkEvent {
		h.LinkUp = c.link.upSince
		h.Start = c.link.upSince
		if from != nil {
			h.Trigger = role.TriggerLink
		}
		if !c.link.solicited.Before(c.link.upSince) {
			h.Solicited = c.link.solicited
		}
	}
	if from != nil && from.lost && from.lostSince.Before(h.Start) {
		h.Start = from.lostSince
	}
	switch {
	case c.router.Since.After(h.Start):
	case linkEvent || from != nil && from.lost: // an old acquaintance
		h.Advertised = now
	default:
		h.Start = c.router.Since // the advertisement was the first sign
	}
	n.handover = h
}

// completeHandover reports the timeline when the home agent has answered.
func (n *Node) completeHandover(now time.Time) {
	h := n.handover
	if h == nil || n.current == nil {
		return
	}
	h.To = n.current.record()
	h.Acknowledged = now
	n.handover = nil
	n.stats.Handovers++
	n.act(role.HandoverDone{Handover: *h})
	// Once more for the round trip: the first answer had to wait until the
	// router had resolved our address.
	n.probe(now)
}
