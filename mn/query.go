package mn

import (
	"net/netip"
	"time"

	"roam6/internal/role"
)

// A query asks the current router whether it is still there (RFC 4861 §7.3):
// before a working link is left on the word of somebody else's advertisement,
// and when nothing comes back that should. Its time-out follows the round trip
// that was measured, within these bounds.
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

// query is a question to the current router that is under way.
type query struct {
	router  netip.Addr
	link    int
	ends    time.Time
	left    int // attempts
	trigger role.Trigger
	silent  bool // the tunnel is: if the router answers, the home agent is next
}

// ask probes the current router.
func (n *Node) ask(now time.Time, t role.Trigger, attempts int) {
	a := n.current
	if n.query != nil || a == nil {
		return
	}
	n.query = &query{router: a.router, link: a.link, ends: now.Add(queryTimeout(a.roundTrip)), left: attempts - 1, trigger: t}
	n.probe(now, a)
}

// probe sends the router of an attachment a neighbour solicitation, behind
// everything else, and notes the time for the round trip.
func (n *Node) probe(now time.Time, a *attachment) {
	if !a.careOf.IsValid() {
		return
	}
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
		if n.query != nil {
			n.query.silent = q.silent
		}
		return
	}
	n.routers.Forget(now, q.link, q.router)
	n.lose(now)
	n.decide(now, q.trigger)
	if l := n.links[q.link]; l != nil && l.Up && len(n.routers.On(q.link)) == 0 {
		n.solicitAnew(now, l)
	}
}

// answered takes a neighbour advertisement of an attachment's router for what it
// tells about it, and reports whether it was one.
func (n *Node) answered(now time.Time, a *attachment, e role.NeighborHeard) bool {
	if a == nil || e.Solicitation || e.Link != a.link || e.Target != a.router || e.From != a.router {
		return false
	}
	if !e.Solicited {
		return true
	}
	if !a.probed.IsZero() {
		a.roundTrip = now.Sub(a.probed)
		a.probed = time.Time{}
	}
	n.routers.Confirm(now, a.link, a.router)
	if q := n.query; q != nil && q.router == a.router && q.link == a.link {
		n.query = nil
		if q.silent && n.reg.retransmit.IsZero() && n.reg.silence.mayAsk(now) {
			if r := n.between(); r != nil {
				n.askAnchor(now, r, true)
			} else {
				n.askAgent(now)
			}
		}
	}
	return true
}

// tunnelSilent follows a tunnel that takes packets and brings none. That may be
// in order, may be a router that is gone without a sign (RFC 6275 §11.5.1), or an
// anchor or a home agent that is. The router is asked each time, and if it answers
// the next one on the way, ever more rarely.
func (n *Node) tunnelSilent(now time.Time, e role.TunnelSilent) {
	a := n.current
	if e.Home != n.config.HomeAddress && n.regionalAt(e.Home) == nil || !a.works() || a.home || n.pending != nil || n.query != nil ||
		!n.reg.registered || !n.reg.retransmit.IsZero() {
		return
	}
	n.ask(now, role.TriggerSilence, 2)
	if n.query != nil {
		n.query.silent = true
	}
}
