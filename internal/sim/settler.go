package sim

import (
	"net/netip"
	"time"

	"roam6/internal/role"
)

// Settlers take care-of addresses that mobiles have left, as they may: duplicate
// address detection finds nobody. One at a time lives in an access network.

// settling is how long a settler probes.
const settling = time.Second

// leaves is called when a mobile leaves a cell, noticed by it or not.
func (w *World) leaves(p *port) {
	c := p.at
	if !w.plan.Settlers || c == nil || !c.radio || w.random.IntN(2) > 0 {
		return
	}
	var left netip.Addr
	for a := range p.host.kernel.addresses {
		// That of the present link, or of several on it any, but always the same.
		if x := a.prefix.Addr(); a.link == p.index && c.contains(x) && (!left.IsValid() || x.Less(left)) {
			left = x
		}
	}
	if !left.IsValid() {
		return
	}
	w.after(settling, func() {
		for _, h := range w.hosts {
			if o := h.on(c); o != nil && o.holds(left) {
				return
			}
		}
		c.settled = left
		w.counts.Settled++
		w.tell("somebody settles in %s with %v", c.name, left)
	})
}

// hasOther reports whether somebody who does not move has an address.
func (c *cell) hasOther(a netip.Addr) bool { return a.IsValid() && (a == c.taken || a == c.settled) }

// settlerAnswers tells who probes an address that a settler has it.
func (w *World) settlerAnswers(p *port, a netip.Addr) {
	w.overAir(p.at, p, func() {
		if a == p.at.settled {
			w.counts.Evaded++
		}
		w.dispatch(p.host, role.NeighborHeard{Link: p.index, From: netip.IPv6LinkLocalAllNodes(), Target: a})
	})
}
