package mn

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mn/homelink"
	"roam6/nd"
)

// Here is what an extension may ask and tell its node between two calls of
// Handle; from within Handle only Place.

// Place is where a node is attached, and how its home registration stands there.
type Place struct {
	// AtHome: on the home link, and the home address may be used there.
	AtHome bool
	// CareOf is the care-of address that the tunnel uses; invalid at home and
	// nowhere. Link is its interface, or the home link; 0 with a regional care-of
	// address.
	CareOf netip.Addr
	Link   int
	// OnLink is the care-of address on the link: CareOf, if that is no regional one.
	OnLink netip.Addr
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
	l := n.inUse(a)
	p := Place{Link: l.link, Agent: r.agent}
	if a.home {
		p.AtHome = a.works() && (a.homeState == homeSettled || a.homeState == homeUnanswered)
		return p
	}
	if a.careOf.IsValid() {
		p.CareOf, p.OnLink = l.careOf, a.careOf
		p.Bound, p.Registered = r.registered, r.registered && r.careOf == l.careOf && !a.lost
	}
	return p
}

// AgentBy is the global address of the home agent with a link-local address on the
// home link, where the node is, as its advertisements tell (RFC 6275 §7.2); invalid
// where they do not, and away from home. there tells whether the home agent that the
// node would register with is heard, too.
func (n *Node) AgentBy(router netip.Addr) (agent netip.Addr, there bool) {
	if !n.Place().AtHome {
		return netip.Addr{}, false
	}
	for _, r := range n.routers.On(n.current.link) {
		there = there || tells(r, n.reg.agent)
		if r.Addr == router && r.RA.HomeAgent {
			agent = told(r, n.reg.agent)
		}
	}
	return agent, there
}

// told is the address that a router says to be its own: the given one if it has
// several.
func told(r *nd.Router, preferred netip.Addr) (addr netip.Addr) {
	for _, p := range r.Prefixes {
		if a, ok := p.RouterAddress(); ok && (!addr.IsValid() || a == preferred) {
			addr = a
		}
	}
	return addr
}

// tells reports whether a router says that an address is its own.
func tells(r *nd.Router, addr netip.Addr) bool {
	return slices.ContainsFunc(r.Prefixes, func(p nd.Prefix) bool {
		a, ok := p.RouterAddress()
		return ok && a == addr
	})
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

// LeaveAgent gives up a home agent that does not do what the extension needs. Where
// there is another one the node turns to it; otherwise it stays, and other is false.
func (n *Node) LeaveAgent(now time.Time) (actions []role.Action, other bool) {
	n.out = nil
	if n.stopped || n.stopping || n.halted || !n.reg.agent.IsValid() {
		return nil, false
	}
	before := n.homeLink.Agent()
	n.failed(now, homelink.Lacking)
	other = n.homeLink.Agent() != before
	return n.finishHandle(now), other
}
