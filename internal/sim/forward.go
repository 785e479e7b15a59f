package sim

import (
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/overlay"
)

// What nodes do with packets for others: home agents, and mobile routers.

// resolveNetwork finds the home agent to which packets for a mobile network are
// routed: the one that delegates the prefix, or one that forwards for it, or knows
// the way of a router that is at home.
func (w *World) resolveNetwork(c *cell, a netip.Addr) *port {
	var at *port
	for _, h := range w.hosts {
		p := h.on(c)
		if p == nil || !h.isAgent {
			continue
		}
		if h.pool.Contains(a) {
			return p
		}
		if _, forwards := h.kernel.inner(overlay.AgentSide, a); forwards {
			return p
		}
		if via, _ := h.kernel.gateway(a); via.IsValid() && at == nil {
			at = p
		}
	}
	if delegable.Contains(a) {
		return nil // of a home agent that is gone
	}
	return at
}

// home reports whether a home address is on the interface.
func (p *port) home() bool {
	for _, m := range p.host.mobiles {
		if p.holds(m.home) {
			return true
		}
	}
	return false
}

// receive is the way of a packet into a host.
func (w *World) receive(by *port, p packet) {
	h := by.host
	_, destination := p.ends()
	mine := by.holds(destination) || h.kernel.anycast[destination] || h.hasInner(destination)
	switch {
	case !mine && (h.isAgent || h.domain != nil):
		w.forward(h, p)
	case !mine && h.lan != nil && h.lan.contains(destination) && by.home():
		w.downstream(h, p)
	case !mine:
		// It has let go of the address since.
	case len(p.outer) > 0:
		w.decapsulate(h, p)
	default:
		w.local(h, by.index, p)
	}
}

// forward is what a home agent or an anchor does with a packet for somebody else: it goes to
// the care-of address of a mobile that is away (RFC 6275 §10.4.2), to a router that
// is at home, or on its way.
func (w *World) forward(h *host, p packet) {
	_, destination := p.ends()
	if h.port(1).holds(destination) {
		if len(p.outer) > 0 {
			w.decapsulate(h, p)
		} else {
			w.local(h, 1, p)
		}
		return
	}
	if t, ok := h.kernel.inner(overlay.AgentSide, destination); ok {
		w.encapsulate(h, t, p)
		return
	}
	if via, ok := h.kernel.gateway(destination); ok {
		if via.IsValid() {
			w.neighbour(h, via, p)
		}
		return
	}
	if h.pool.Contains(destination) || h.domain != nil && h.domain.cell.contains(destination) {
		return // the shell has a route that leads nowhere
	}
	w.transmit(h.port(1), p)
}

// neighbour gives a packet to a router on the home link.
func (w *World) neighbour(h *host, via netip.Addr, p packet) {
	to := w.resolve(w.cells[0], via)
	if to != nil {
		w.dispatch(h, role.NeighborHeard{Link: 1, From: to.linkLocal(), Target: via, Solicited: true})
	}
	if to == nil || to.host == h || !w.hop(&p) || w.random.Float64() < w.faults.Loss {
		return
	}
	w.after(time.Millisecond, func() {
		if to.at == w.cells[0] && to.up && !to.host.down {
			w.receive(to, p)
		}
	})
}

// decapsulate takes a packet out of its tunnel, if the other end is the one that
// is known (RFC 6275 §10.4.5). A home agent that has no binding says so.
func (w *World) decapsulate(h *host, p packet) {
	outer := p.leave()
	source, destination := p.ends()
	if h.isAgent || h.domain != nil {
		t, ok := h.kernel.inner(overlay.AgentSide, source)
		switch {
		case ok && t.Paths[0].Remote == outer.source:
			w.forward(h, p)
		case !ok && p.fault == nil:
			w.output(h, 1, packet{source: outer.destination, destination: outer.source, fault: &fault{home: source}})
		}
		return
	}
	t, ok := h.kernel.inner(overlay.MobileSide, destination)
	if !ok || t.Paths[0].Remote != outer.source {
		return
	}
	w.plane(h).received(t, destination, &p)
	if h.lan != nil && h.lan.contains(destination) && !h.hasInner(destination) {
		w.downstream(h, p)
		return
	}
	if len(p.outer) > 0 {
		if destination == t.Home && regional(destination) {
			w.decapsulate(h, p) // of a tunnel that is stacked on this one
		}
		return // not to an address of its own
	}
	w.local(h, deviceLink, p)
}
