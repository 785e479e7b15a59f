package mn

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/region"
	"roam6/overlay"
)

// Hierarchical mobility (RFC 5380). Which mobility anchor points there are, and which
// one to use, is decided in package region; here is what that means. With an anchor the
// node registers its on-link care-of address, and with the home agent and the
// correspondents the regional care-of address that it has at the anchor: a move inside
// the anchor's domain is one update to the anchor, and nobody else hears of it.
//
// Each attachment has the anchor whose regional care-of address the home agent is told
// there, if any, and the prospect that is to take its place once it has acknowledged.
// Until then what there is goes on: on the first attachment in a domain the on-link
// care-of address, which the home agent is told at once, and in a move from one domain
// to another the anchor of before, which is told the new on-link care-of address
// (RFC 5380 §8). So the first attachment costs two updates to the home agent: to wait
// for the anchor, which probes the regional address for a second, would leave the node
// unreachable where the anchor is slow or dead, after each move from outside.
//
// An anchor that does not acknowledge a move, or a question whether it still knows the
// node, within the first time-out is done without: the home agent is told the on-link
// care-of address, while the anchor is asked on. It is asked at once when its data plane
// refuses packets, after three seconds in which the tunnel brought nothing back, and
// when the home agent has not answered for a second. So a dead anchor costs five seconds
// at most where there is traffic, one second in a move, and where nothing is sent it is
// noticed by the next refresh. One that acknowledges and does not forward is done without
// when the home agent has not answered three updates by way of it; what the home agent had
// before serves meanwhile.
//
// An anchor that works is left for a better one at once, but the next time after a second,
// and then ever more rarely: what routers say of preferences must not become a stream of
// updates to the home agent.

// Hierarchy is what the administrator decides about mobility anchor points.
type Hierarchy = region.Config

// AnchorKey authenticates local binding updates to anchors.
type AnchorKey = region.Key

// AnchorSelection is how a node chooses among several anchors.
type AnchorSelection = region.Selection

// Choices of an anchor.
const (
	SelectPreferred = region.Preferred
	SelectFurthest  = region.Furthest
	SelectNearest   = region.Nearest
)

// maxRegionals bounds the anchors that are remembered: as many as can be in use at once,
// and some that were left.
const maxRegionals = 8

// regional is the binding update list's entry for an anchor, whose registration is about
// the regional care-of address: careOf there is the on-link one. It outlives the binding
// as a memory, of the sequence number above all.
type regional struct {
	registration // agent is the anchor's address; farewell: it is told the end
	rcoa         netip.Addr
	attempt      int // which interface identifier
	sa           *mip6.SecurityAssociation
	esp          uint32 // as region.Key.ESP
	timestamps   bool
	validUntil   time.Time // of the regional care-of address, as advertised; zero: for ever

	at        locator // what it is told
	asked     bool    // because of a sign that it does not know us any more
	askedHome bool    // and then the home agent is to be asked
	doubted   bool    // it did not answer in time, or refused: what is sent to it may be lost
	corrected int     // updates in a row that were corrected as the anchor wants
	left      bool    // the node has moved out of its domain
	leaveAt   time.Time

	path   overlay.Path    // the way to it; Local is invalid: none
	tunnel *overlay.Tunnel // in the data plane; nil: none
}

// lives reports whether there is a binding, as far as is known.
func (r *regional) lives() bool { return r.registered && !r.farewell }

// regionalAt returns the entry of a regional care-of address, or nil. Anchors of one
// prefix may give the same address (RFC 5380 §10); then that of the tunnel counts.
func (n *Node) regionalAt(rcoa netip.Addr) (found *regional) {
	for _, r := range n.regionals {
		if r.rcoa == rcoa && (found == nil || r.tunnel != nil) {
			found = r
		}
	}
	return found
}

// regionalWith returns the entry of an anchor, or nil.
func (n *Node) regionalWith(anchor netip.Addr) *regional {
	i := slices.IndexFunc(n.regionals, func(r *regional) bool { return r.agent == anchor })
	if i < 0 {
		return nil
	}
	return n.regionals[i]
}

// remembered returns the entry of an anchor, a new one if need be. nil: each is in use.
func (n *Node) remembered(anchor netip.Addr) *regional {
	if r := n.regionalWith(anchor); r != nil {
		return r
	}
	if len(n.regionals) == maxRegionals {
		victim := slices.IndexFunc(n.regionals, func(r *regional) bool { return !n.needs(r) && r.tunnel == nil && !r.farewell })
		if victim < 0 {
			victim = slices.IndexFunc(n.regionals, func(r *regional) bool { return !n.needs(r) })
		}
		if victim < 0 {
			return nil
		}
		n.regionals[victim].path = overlay.Path{}
		n.removeRegional(n.regionals[victim])
		n.regionals = slices.Delete(n.regionals, victim, victim+1)
	}
	r := &regional{registration: registration{agent: anchor}}
	key, _ := n.anchors.Config().KeyOf(anchor)
	n.rekey(r, key)
	r.rcoa = n.regionalAddress(r)
	n.regionals = append(n.regionals, r)
	return r
}

// regionalAddress is the regional care-of address to try at an anchor.
func (n *Node) regionalAddress(r *regional) netip.Addr {
	return region.Address(r.agent, n.config.HomeAddress, n.anchors.Config().Seed(r.agent, n.config.Seed), r.attempt)
}

// uses reports whether an anchor is one of an attachment.
func (n *Node) uses(r *regional) bool {
	return slices.ContainsFunc(n.attachments(), func(a *attachment) bool { return a.anchor == r || a.prospect == r })
}

// needs reports whether an anchor is in use, or what the home agent sends comes by it.
func (n *Node) needs(r *regional) bool {
	return n.uses(r) || n.reg.registered && n.reg.careOf == r.rcoa && r.lives() && n.regionalAt(r.rcoa) == r
}

// source is the router of an attachment, for the anchors that it advertises.
func (n *Node) source(a *attachment) region.Source { return n.sourceOf(a.link, a.router) }

func (n *Node) sourceOf(link int, router netip.Addr) region.Source {
	s := region.Source{Link: link, Router: router}
	if r, ok := n.routers.Get(link, router); ok {
		s.Ethernet = string(r.RA.SourceLinkAddr)
	}
	return s
}

// anchorsHeard takes in what a router says of anchors.
func (n *Node) anchorsHeard(now time.Time, e role.RouterHeard) {
	if r, ok := n.routers.Get(e.Link, e.Router); ok {
		n.anchors.Heard(now, n.sourceOf(e.Link, r.Addr), e.RA.Anchors)
	}
}

// anchorQuery is the question for the anchor to use at an attachment.
func (n *Node) anchorQuery(a *attachment) region.Query {
	if a.prospect != nil {
		return n.anchorQueryFrom(a, a.prospect)
	}
	return n.anchorQueryFrom(a, a.anchor)
}

// anchorQueryFrom is anchorQuery with an anchor that serves; nil: none does.
func (n *Node) anchorQueryFrom(a *attachment, serving *regional) region.Query {
	q := region.Query{
		From: n.source(a), OnLink: a.careOf, Barred: n.barred,
		Holds: func(anchor netip.Addr) bool {
			r := n.regionalWith(anchor)
			return r != nil && r.lives()
		},
	}
	if serving != nil {
		q.Serving = serving.agent
	}
	return q
}

// barred are anchors that are of no use: at the home agent, which is as near then
// (RFC 5380 §3), and in the network behind this node, to which all leads through the
// tunnel.
func (n *Node) barred(anchor netip.Addr) bool {
	if n.config.HomePrefix.Contains(anchor) || anchor == n.reg.agent {
		return true
	}
	return n.extension != nil && slices.ContainsFunc(n.extension.Inner(), func(p netip.Prefix) bool {
		return p.Overlaps(netip.PrefixFrom(anchor, 64).Masked())
	})
}

// settleAnchors chooses the anchors of all attachments, when anything may have changed.
func (n *Node) settleAnchors(now time.Time) {
	if n.stopping {
		return
	}
	for _, a := range n.attachments() {
		if !a.home && a.works() {
			n.chooseAnchor(now, a)
		}
	}
	if a, p := n.current, n.pending; a.works() && !a.home {
		for _, r := range []*regional{a.anchor, a.prospect} {
			if r != nil && (p == nil || p.anchor != r && p.prospect != r) {
				n.tell(now, r, a) // after another place was given up
			}
		}
	}
	if len(n.regionals) > 0 && n.current != nil && !n.current.home {
		n.forward() // what is in use may be another care-of address now
		n.shortenHome(now)
	}
	n.settleRegionals(now)
}

// chooseAnchor makes the anchors of an attachment what they should be.
func (n *Node) chooseAnchor(now time.Time, a *attachment) {
	n.tellObstacles(now, a)
	if a.anchor == nil && a.prospect == nil && !n.anchors.Config().Enabled {
		return
	}
	from := n.source(a)
	for _, r := range []*regional{a.anchor, a.prospect} {
		if r == nil {
			continue
		}
		switch o, ok := n.anchors.Offer(now, from, r.agent); {
		case ok && o.ValidLifetime == 0:
			n.anchorFailed(now, r) // RFC 5380 §7.1: what it held is lost
		case ok && r == a.anchor && n.anchors.Obstacle(now, n.anchorQuery(a), o) == region.None:
			a.native = true
		}
	}
	best, ok := n.anchors.Select(now, n.anchorQuery(a))
	if ok && n.lingers(now, a, best.Address) {
		return
	}
	var r *regional
	if ok {
		if r = n.remembered(best.Address); r != nil {
			r.validUntil = best.Until
		}
	}
	switch {
	case r != nil && r == a.anchor:
		a.native, a.prospect = true, nil
	case r != nil:
		n.court(now, a, r)
	default:
		waited := a.prospect != nil
		a.prospect = nil
		switch {
		case a.anchor != nil && !(a.native && n.permitted(a.anchor)):
			n.leaveAnchor(now, a)
		case waited:
			n.informHome(now) // what was held back for it
		}
		// One that is just not advertised any more serves until it has to be renewed
		// (RFC 5380 §9: lazy); see refreshAnchor.
	}
}

// lingers reports whether the anchor of an attachment is not left for another one yet:
// it works, and each change costs updates to the home agent and all correspondents, which
// nobody shall cause with each advertisement.
func (n *Node) lingers(now time.Time, a *attachment, better netip.Addr) bool {
	r := a.anchor
	if r == nil || !a.native || !r.lives() || r.doubted || r.agent == better || a.prospect != nil && a.prospect.agent == better {
		return false
	}
	if n.fickleness.mayAsk(now) {
		return false
	}
	n.lingersTill = n.fickleness.ends()
	return true
}

// shortenHome renews a home registration that would be there when the binding with the
// anchor has ended (RFC 5380 §6.1): the anchor grants less than it did.
func (n *Node) shortenHome(now time.Time) {
	if !n.reg.registered || !n.reg.retransmit.IsZero() || n.halted || n.withdrawing() {
		return
	}
	t := n.target()
	if r := t.anchor; r != nil && n.reg.careOf == r.rcoa && n.reg.expires.After(r.expires) {
		n.freshTimeout()
		n.requestUpdate(now)
	}
}

// permitted reports whether the configuration permits to use an anchor.
func (n *Node) permitted(r *regional) bool {
	c := n.anchors.Config()
	_, keyed := c.KeyOf(r.agent)
	return c.Enabled && (c.Insecure || keyed) && !n.barred(r.agent)
}

// court begins to register with an anchor that is to serve at an attachment.
func (n *Node) court(now time.Time, a *attachment, r *regional) {
	if a.prospect == r {
		return
	}
	a.prospect = r
	r.left, r.leaveAt = false, time.Time{}
	if r.farewell {
		r.farewell = false
		r.forget()
	}
	if r.registered && r.careOf == a.careOf && r.at == (locator{a.careOf, a.link}) && r.retransmit.IsZero() && !r.doubted {
		if r.refresh.IsZero() {
			r.refresh = r.expires.Add(-r.granted / 2)
		}
		n.engage(now, a, r) // the binding is as it should be
		return
	}
	n.tell(now, r, a)
}

// engage makes a prospect that has acknowledged the anchor of an attachment.
func (n *Node) engage(now time.Time, a *attachment, r *regional) {
	a.anchor, a.prospect, a.native = r, nil, true
	if a == n.current || n.inUse(n.current).careOf != r.rcoa {
		n.lead(r, a)
	}
	n.installRegionals()
	n.informHome(now)
}

// leaveAnchor goes on with the on-link care-of address at an attachment. The anchor
// still serves until the home agent has acknowledged that, unless it is of another
// domain: it may not serve there, and the home agent will not be slower.
func (n *Node) leaveAnchor(now time.Time, a *attachment) {
	r := a.anchor
	r.left = !a.native
	a.anchor, a.native = nil, false
	n.informHome(now)
}

// anchorFailed drops the binding with an anchor that says, by its access router, that
// it has lost it.
func (n *Node) anchorFailed(now time.Time, r *regional) {
	if r.lives() {
		n.log(slog.LevelWarn, "mobility anchor point has failed, as its access router says", slog.String("anchor", r.agent.String()))
	}
	n.stats.AnchorFailures++
	n.anchors.Failed(now, r.agent, netip.Addr{})
	r.forget()
	r.held = time.Time{}
	n.loseAnchor(now, r)
}

// loseAnchor does without an anchor that does not serve: by another one that is there
// already, or the on-link care-of address, at once.
func (n *Node) loseAnchor(now time.Time, r *regional) {
	r.doubted, r.asked, r.askedHome, r.retransmit = true, false, false, time.Time{}
	r.refresh = time.Time{}
	for _, a := range n.attachments() {
		if a.prospect == r {
			a.prospect = nil
		}
		if a.anchor == r {
			a.anchor, a.native = nil, false
		}
	}
	n.informHome(now)
	if n.current != nil && !n.current.home {
		n.forward()
	}
}

// enterRegion follows a move that cannot wait to the current attachment: the anchor of
// before goes on serving as far as it will, the one of the new domain is asked, and all
// that have a binding are told where the node is now (RFC 5380 §8).
func (n *Node) enterRegion(now time.Time, from *attachment) {
	to := n.current
	if to.home {
		return
	}
	if from != nil && !from.home && to.anchor == nil && from.anchor != nil && from.anchor.lives() && !from.anchor.doubted {
		to.anchor = from.anchor
	}
	n.entering = true
	n.chooseAnchor(now, to)
	n.entering = false
	for _, r := range slices.Clone(n.regionals) {
		if r.lives() {
			n.tell(now, r, to)
			n.lead(r, to)
		}
	}
	n.installRegionals()
}

// informHome tells the home agent the care-of address that it is to know, unless it
// does, or has been told.
func (n *Node) informHome(now time.Time) {
	a := n.target()
	if a == nil || a.home || !a.careOf.IsValid() || n.stopping || n.entering || n.withdrawing() || n.holdsBack() || n.pauses(now) || n.told(n.locator(a)) && n.repeats() {
		return
	}
	n.freshTimeout()
	n.requestUpdate(now)
}

// repeats reports whether what the home agent was told is acknowledged, or will be told
// again.
func (n *Node) repeats() bool { return len(n.reg.outstanding) == 0 || !n.reg.retransmit.IsZero() }

// pauses reports whether the home agent has refused and is not to be asked yet: a better
// care-of address is no reason to, one that was lost is.
func (n *Node) pauses(now time.Time) bool {
	return n.reg.refusedUntil.After(now) && (!n.reg.registered || n.bound(n.current))
}

// holdsBack reports whether the home agent is not told of a better attachment yet: the
// one in use works, and an anchor there has not had its time to answer.
func (n *Node) holdsBack() bool {
	p := n.pending
	return p != nil && !p.home && p.anchor == nil && p.prospect != nil && p.prospect.unanswered == 0 && n.current.works()
}

// told reports whether the last that the home agent was told is a care-of address.
func (n *Node) told(l locator) bool {
	if i := len(n.reg.outstanding); i > 0 {
		last := n.reg.outstanding[i-1]
		return last.careOf == l.careOf && last.lifetime > 0
	}
	return n.reg.registered && n.reg.careOf == l.careOf
}

// retell tells everybody where the node is after another place was given up, of which
// some may have been told.
func (n *Node) retell(now time.Time) {
	a := n.current
	if a.works() && !a.home {
		for _, r := range slices.Clone(n.regionals) {
			if r.lives() {
				n.tell(now, r, a)
			}
		}
	}
	if a.anchor != nil && n.told(n.locator(a)) {
		n.reg.retransmit = time.Time{}
		if !n.reg.refresh.IsZero() && len(n.reg.outstanding) == 0 {
			return
		}
	}
	n.freshTimeout()
	n.requestUpdate(now)
}

// tellObstacles logs, once for each anchor, why one is not used that could be if the
// configuration or the anchor were another.
func (n *Node) tellObstacles(now time.Time, a *attachment) {
	if !n.anchors.Config().Enabled {
		return
	}
	q := n.anchorQuery(a)
	for _, o := range n.anchors.Offers(now, q.From) {
		why := n.anchors.Obstacle(now, q, o)
		switch why {
		case region.Allocates, region.NoKey:
		case region.None, region.Failed, region.OnLink, region.Drained, region.Avoided:
			continue
		}
		if len(n.anchorsTold) == maxAnchorsTold || slices.Contains(n.anchorsTold, o.Address) {
			continue
		}
		n.anchorsTold = append(n.anchorsTold, o.Address)
		n.log(slog.LevelWarn, "mobility anchor point is not used", slog.String("anchor", o.Address.String()), slog.String("reason", why.String()))
	}
}

// maxAnchorsTold bounds the anchors of which the log tells: anybody on a link can
// advertise more.
const maxAnchorsTold = 32
