package mn

import (
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mn/homelink"
)

// Here is what an extension may ask and tell its node between two calls of
// Handle; from within Handle only Place.

// Place is where a node is attached, and how its home registration stands there.
type Place struct {
	// AtHome: on the home link, and the home address may be used there.
	AtHome bool
	// CareOf is the care-of address that the tunnel uses; invalid at home and
	// nowhere. Link is its interface, or the home link.
	CareOf netip.Addr
	Link   int
	// Agent is the home agent that carries the tunnel, at home the one that the node
	// would register with; invalid while none is known.
	Agent netip.Addr
	// Bound: Agent has a registration, perhaps of the care-of address before.
	// Registered: it has that of CareOf.
	Bound, Registered bool
}

// Place tells where the node is; the zero Place is nowhere.
func (n *Node) Place() Place {
	a := n.current
	if a == nil || n.stopping {
		return Place{}
	}
	r := n.carrier()
	p := Place{Link: a.link, Agent: r.agent}
	if a.home {
		p.AtHome = a.works() && (a.homeState == homeSettled || a.homeState == homeUnanswered)
		return p
	}
	if a.careOf.IsValid() {
		p.CareOf = a.careOf
		p.Bound, p.Registered = r.registered, r.registered && r.careOf == a.careOf && !a.lost
	}
	return p
}

// InnerChanged follows a change of what Extension.Inner returns; update tells
// that the home agent is to learn it at once, where the node is away.
func (n *Node) InnerChanged(now time.Time, update bool) []role.Action {
	n.out = nil
	if n.stopped || n.stopping {
		return nil
	}
	n.forward()
	if a := n.target(); update && a != nil && !a.home && !n.withdrawing() && !n.reg.refusedUntil.After(now) {
		n.freshTimeout()
		n.requestUpdate(now)
	}
	return n.finishHandle(now)
}

// LeaveAgent gives up a home agent that does not do what the extension needs, as
// one that refused. Where there is another one the node turns to it; otherwise it
// stays, and other is false.
func (n *Node) LeaveAgent(now time.Time) (actions []role.Action, other bool) {
	n.out = nil
	if n.stopped || n.stopping || n.halted || !n.reg.agent.IsValid() {
		return nil, false
	}
	before := n.homeLink.Agent()
	n.failed(now, homelink.Refused)
	other = n.homeLink.Agent() != before
	return n.finishHandle(now), other
}
