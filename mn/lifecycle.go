package mn

import (
	"time"

	"roam6/internal/role"
)

// Reconfigure applies a new configuration. Another home address makes another
// node: the shell ends the old one and begins a new one instead.
func (n *Node) Reconfigure(now time.Time, c Config) []role.Action {
	n.out = nil
	if n.stopped || n.stopping {
		return nil
	}
	if c.Random == nil {
		c.Random = n.config.Random
	}
	n.config = c.complete()
	n.timestamps = c.Timestamps
	n.halted = false
	if n.ending == withdrawRefused {
		n.ending = withdrawRenew // it is asked again
	}
	n.reg.pardon()
	for _, r := range n.former {
		r.pardon()
	}
	n.reconfigureAnchors(now)
	n.adoptLinks(now)
	// What the parts of the node send now may not come from an uplink that has gone.
	n.tellHomeLink(now)
	n.tellOptimiser(now)
	n.out = append(n.out, n.homeLink.Reconfigure(now, n.homeLinkConfig())...)
	n.out = append(n.out, n.optimiser.Reconfigure(now, n.optimiserConfig())...)
	n.decide(now, role.TriggerStart)
	before := n.reg.sequence
	n.settleAnchors(now)
	n.followAgent(now)
	if n.current != nil {
		n.forward()
		n.settleDefault()
		if n.reg.sequence == before && (!n.current.home || n.reg.registered) {
			n.freshTimeout()
			n.requestUpdate(now)
		}
	}
	return n.finishHandle(now)
}

// stop de-registers and then cleans up (see finish); what is not acknowledged
// within two seconds is left to the lifetime of the binding.
func (n *Node) stop(now time.Time) {
	if n.stopping {
		return
	}
	if n.pending != nil {
		n.dropPending(now, "the node stops")
	}
	n.stopping, n.reconsider = true, time.Time{}
	n.out = append(n.out, n.optimiser.Handle(now, role.Stop{})...)
	bound := n.reg.registered || len(n.reg.outstanding) > 0
	if !n.current.works() || n.current.home || !bound {
		n.finish(now)
		return
	}
	n.sayFarewell(now)
	n.stopBy = now.Add(2 * time.Second)
	n.freshTimeout()
	n.requestUpdate(now)
}

// finish removes everything the node put in the kernel.
func (n *Node) finish(now time.Time) {
	n.stopAnchors(now) // what is not acknowledged is left to run out
	n.leave()
	for _, c := range n.careOfs {
		n.removeCareOf(c)
	}
	n.careOfs = nil
	for _, l := range n.sortedLinks() {
		n.unconfigure(l)
	}
	n.stopped = true
}
