package mn

import (
	"log/slog"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/nd"
)

// routerHeard takes in an advertisement and decides whether it means movement
// (RFC 6275 §11.5.1).
func (n *Node) routerHeard(now time.Time, e role.RouterHeard) {
	l := n.links[e.Link]
	if l == nil || !l.Up {
		return
	}
	changes := n.routers.Heard(now, e.Link, e.Router, e.RA)
	n.anchorsHeard(now, e)
	n.refreshCareOfs(e.Link, e.Router)
	if e.RA.RouterLifetime > 0 {
		l.solicit = time.Time{} // RFC 7559 §2.1: a router was found
	}
	a := n.current
	if a != nil && a.link == e.Link && a.router == e.Router && n.query != nil && !n.query.silent {
		n.query = nil // it is alive
	}
	if len(changes) == 0 && (a == nil || !a.lost) {
		return
	}
	defer n.settleHomeDefault(e.Link)
	if a != nil && !a.lost && a.link == e.Link && a.router != e.Router && n.stands(a) {
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
	for _, c := range slices.Clone(changes) { // decide may change the table
		n.settleHomeDefault(c.Link)
		a := n.current
		if p := n.pending; p != nil && c.Link == p.link && c.Router == p.router && (a.link != p.link || a.router != p.router) {
			n.decide(now, role.TriggerExpiry)
			continue
		}
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

// lose notes that the current attachment does not work any more.
func (n *Node) lose(now time.Time) {
	if a := n.current; a != nil && !a.lost {
		a.lost, a.lostSince = true, now
	}
	n.query = nil
}

// decide attaches to the best place there is, if that is not where the node is.
func (n *Node) decide(now time.Time, t role.Trigger) {
	if n.stopping {
		return
	}
	best, ok := n.best(now)
	if n.pending != nil && n.settlePending(now, best, ok) {
		return
	}
	a := n.current
	switch {
	case !ok:
		if a != nil && !a.careOf.IsValid() {
			n.lose(now)
		}
	case best.is(a) && a.careOf.IsValid():
		n.restore(now, best)
	case a.works() && best.link.Index == a.link && best.router.Addr != a.router && (n.query != nil || n.stands(a)):
		// The query decides between two routers of one link; and one that
		// stands is not left for another one.
	default:
		n.attach(now, best, t)
	}
}

// restore notes that the place where the node is attached works again.
func (n *Node) restore(now time.Time, c candidate) {
	a := n.current
	if !a.lost {
		return
	}
	a.lost = false
	if !a.home {
		if co := n.ensureCareOf(now, c); co != nil {
			n.assign(co)
		}
	}
	n.learn(c)
	n.handover = nil
	n.log(slog.LevelInfo, "link restored", slog.String("link", a.name), slog.String("router", a.router.String()))
	switch {
	case a.home && a.homeState == homeDuplicate:
		n.placeHome(a.link)
		n.arriveHome(now) // whoever had the address may be gone
	case !n.reg.retransmit.IsZero(): // what was sent meanwhile is lost
		n.freshTimeout()
		n.requestUpdate(now)
	}
	n.resumeAnchors(now)
	n.settleDefault()
}

// learn records the router's link-layer address, so that the binding update
// need not wait for address resolution.
func (n *Node) learn(c candidate) {
	mac := c.router.RA.SourceLinkAddr
	if len(mac) != 6 {
		return
	}
	n.act(role.LearnNeighbor{Link: c.link.Index, Addr: c.router.Addr, Ethernet: [6]byte(mac)})
	if c.home && n.tellsAgent(c.router) {
		n.act(role.LearnNeighbor{Link: c.link.Index, Addr: n.reg.agent, Ethernet: [6]byte(mac)})
	}
}

// tellsAgent reports whether a router is the home agent: at home it often is,
// and says so by the R bit (RFC 6275 §11.5.5).
func (n *Node) tellsAgent(r *nd.Router) bool {
	return len(r.RA.SourceLinkAddr) == 6 && tells(r, n.reg.agent)
}
