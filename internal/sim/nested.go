package sim

import (
	"net/netip"
	"slices"
	"time"

	"roam6/mip6"
	"roam6/overlay"
)

// Mobile networks in which other mobiles may be (RFC 4888): the first downstream
// interface of a mobile router is a cell like others, and where it is, is where the
// router is.

// maxDepth is how many routers may be one behind the other.
const maxDepth = 3

// addNetwork makes the first downstream interface of a router a cell.
func (w *World) addNetwork(h *host) {
	r := &router{ethernet: [6]byte{2, 0, 0, 0, 0xb, byte(h.order)}}
	r.addr = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: 0xb, 15: byte(h.order)})
	h.lan = &cell{name: h.name + "-lan", owner: h, radio: true, interval: time.Second, router: r}
	w.cells = append(w.cells, h.lan)
	w.advertiseLater(h.lan)
}

// subnets are the prefixes that a link has.
func (c *cell) subnets() []netip.Prefix {
	if c.owner == nil {
		return c.prefixes
	}
	var list []netip.Prefix
	if h := c.owner; h.network.IsValid() && !h.withheld {
		list = append(list, h.network)
	}
	for _, n := range c.owner.numbers {
		if n.given && n.link == downstreams[0] {
			list = append(list, n.prefix)
		}
	}
	return list
}

func (c *cell) contains(a netip.Addr) bool {
	return slices.ContainsFunc(c.subnets(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// advertisedPrefixes is what a mobile router advertises on its downstream interface,
// and whether it is a default router there.
func (w *World) advertisedPrefixes(h *host) (list []mip6.PrefixInformation, reachable bool) {
	add := func(p netip.Prefix, preferred, valid time.Duration) {
		list = append(list, mip6.PrefixInformation{Prefix: p, OnLink: true, Autonomous: true,
			PreferredLifetime: preferred.Truncate(time.Second), ValidLifetime: valid.Truncate(time.Second)})
	}
	if reachable = h.network.IsValid(); reachable {
		if h.withheld {
			add(h.network, 0, 0)
		} else {
			add(h.network, time.Hour, time.Hour)
		}
	}
	for _, n := range h.numbers {
		if n.link == downstreams[0] && w.now.Before(n.end) {
			add(n.prefix, max(n.preferred.Sub(w.now), 0), n.end.Sub(w.now))
			reachable = reachable || n.given
		}
	}
	return list, reachable
}

// upstream takes a packet that a node in a mobile network sends.
func (w *World) upstream(c *cell, p packet) {
	if c.cut || !w.hop(&p) || w.random.Float64() < w.faults.Loss {
		return
	}
	w.after(time.Millisecond, func() {
		h := c.owner
		source, destination := p.ends()
		if h.down {
			return
		}
		if c.contains(destination) || h.hasInner(destination) {
			w.arrive(c, p)
			return
		}
		if t, ok := h.kernel.inner(overlay.MobileSide, source); ok {
			w.plane(h).into(t, source, destination, p)
			return
		}
		if out := h.on(w.cells[0]); out != nil && out.home() {
			w.carry(out.at, p)
		}
	})
}

// downstream takes a packet for a node in a mobile network to it.
func (w *World) downstream(h *host, p packet) {
	if !h.lan.cut && w.hop(&p) {
		w.arrive(h.lan, p)
	}
}

// depth is how many mobile routers a host is behind.
func (h *host) depth() (n int) {
	for _, p := range h.ports {
		if p.at != nil && p.at.owner != nil {
			n = max(n, 1+p.at.owner.depth())
		}
	}
	return n
}

// height is how many routers, or hosts, are one behind the other in a host's network.
func (w *World) height(h *host) (n int) {
	for _, o := range w.hosts {
		if h.lan != nil && slices.ContainsFunc(o.ports, func(p *port) bool { return p.at == h.lan }) {
			n = max(n, 1+w.height(o))
		}
	}
	return n
}

// under reports whether a host is behind a router, or the router itself.
func (h *host) under(r *host) bool {
	return h == r || slices.ContainsFunc(h.ports, func(p *port) bool { return p.at != nil && p.at.owner != nil && p.at.owner.under(r) })
}

// mayEnter reports whether a host may attach to a cell: nobody is behind itself, and
// not too many behind one another.
func (w *World) mayEnter(h *host, c *cell) bool {
	return c.owner == nil || !c.owner.under(h) && c.owner.depth()+1+w.height(h) <= maxDepth
}

// nested reports whether a host is behind another mobile router.
func (h *host) nested() bool {
	p := h.best()
	return p != nil && p.at.owner != nil
}
