package sim

import (
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// Neighbour discovery: what passes on one link.

// router is a router as those on its link see it.
type router struct {
	addr     netip.Addr // link-local
	global   netip.Addr // told by the R bit; invalid: not told
	ethernet [6]byte
}

// neighbourLifetime is how long a router believes a link-layer address.
const neighbourLifetime = 30 * time.Second

// neighbours is the neighbour cache of the router that leads to the home link.
type neighbours map[netip.Addr]neighbour

type neighbour struct {
	host  *host
	until time.Time
}

// routersOn are the routers of a cell that are alive.
func (w *World) routersOn(c *cell) (list []*router) {
	if c.silent {
		return nil
	}
	if c.router != nil && (c.owner == nil || !c.owner.down) {
		list = append(list, c.router)
	}
	for _, h := range w.hosts {
		if h.router != nil && h.on(c) != nil {
			list = append(list, h.router)
		}
	}
	return list
}

// advertiseLater schedules a cell's next advertisements.
func (w *World) advertiseLater(c *cell) {
	w.after(c.interval/2+time.Duration(w.random.Int64N(int64(c.interval/2))), func() {
		for _, r := range w.routersOn(c) {
			for _, h := range w.hosts {
				if p := h.on(c); p != nil && h.router != r {
					w.advertise(c, r, p)
				}
			}
		}
		w.advertiseLater(c)
	})
}

// advertise delivers one advertisement to one host.
func (w *World) advertise(c *cell, r *router, to *port) {
	ra := nd.RouterAdvertisement{RouterLifetime: 30 * time.Second, SourceLinkAddr: r.ethernet[:], Interval: c.interval, HomeAgent: c.home}
	ra.Managed, ra.OtherConfig = c.managed, c.other
	ra.Anchors = c.advertisedAnchors()
	if c.owner != nil {
		reachable := false
		if ra.Prefixes, reachable = w.advertisedPrefixes(c.owner); !reachable {
			ra.RouterLifetime = 0
		}
	}
	for i, prefix := range c.prefixes {
		o := mip6.PrefixInformation{Prefix: prefix, OnLink: true, Autonomous: c.stateless, ValidLifetime: time.Hour, PreferredLifetime: time.Hour}
		if prefix.Contains(r.global) {
			o.Prefix, o.RouterAddress = netip.PrefixFrom(r.global, 64), true
		}
		if c.home && i == 0 && w.home.prefix == 0 && !w.home.deprecated.IsZero() {
			o.PreferredLifetime, o.ValidLifetime = 0, max(w.home.expires.Sub(w.now), 0).Truncate(time.Second)
		}
		ra.Prefixes = append(ra.Prefixes, o)
	}
	if c.home {
		preference := int16(0)
		for _, h := range w.hosts {
			switch {
			case h.router != r:
			case h.agent == nil:
				return // it has crashed before it could answer
			default:
				preference = h.agent.config.Preference
			}
		}
		ra.HomeAgentInfo = &mip6.HomeAgentInformation{Preference: preference, Lifetime: 20 * time.Second, MobileRouter: true}
	}
	w.overAir(c, to, func() {
		w.dispatch(to.host, role.RouterHeard{Link: to.index, Router: r.addr, RA: ra})
	})
}

// overAir carries something to an interface, if it is in the cell when it
// arrives.
func (w *World) overAir(c *cell, to *port, deliver func()) {
	if w.random.Float64() < w.faults.Loss {
		return
	}
	w.after(time.Millisecond, func() {
		if to.at == c && to.up && !to.host.down {
			deliver()
		}
	})
}

func (w *World) solicitRouter(p *port) {
	if c := p.at; c != nil {
		for _, r := range w.routersOn(c) {
			w.overAir(c, p, func() { w.advertise(c, r, p) })
		}
	}
}

// probeNeighbor asks a neighbour, mostly a router, whether it is there.
func (w *World) probeNeighbor(p *port, target netip.Addr) {
	c := p.at
	if c == nil {
		return
	}
	for _, r := range w.routersOn(c) {
		if r.addr == target || r.global == target {
			w.overAir(c, p, func() {
				w.overAir(c, p, func() {
					w.dispatch(p.host, role.NeighborHeard{Link: p.index, From: target, Target: target, Solicited: true})
				})
			})
		}
	}
}

// probeAddress asks all on the link whether an address is taken. Those who have
// it, or defend it, hear that and answer everybody.
func (w *World) probeAddress(p *port, addr netip.Addr) {
	c := p.at
	if c == nil {
		return
	}
	if c.hasOther(addr) {
		w.overAir(c, p, func() { w.settlerAnswers(p, addr) })
	}
	for _, h := range w.hosts {
		other := h.on(c)
		if h == p.host || other == nil || !other.holds(addr) && !h.kernel.defended[addr] {
			continue
		}
		w.overAir(c, other, func() {
			w.dispatch(h, role.NeighborHeard{Link: other.index, From: netip.IPv6Unspecified(), Target: addr, Solicitation: true})
			if other.holds(addr) || h.kernel.defended[addr] {
				w.overAir(c, p, func() {
					w.dispatch(p.host, role.NeighborHeard{Link: p.index, From: other.linkLocal(), Target: addr})
				})
			}
		})
	}
}

// announce tells a link, and the home link's router, who has an address.
func (w *World) announce(p *port, addr netip.Addr) {
	c := p.at
	if c == nil || !p.up {
		return
	}
	if c.home && w.random.Float64() >= w.faults.Loss {
		w.air[addr] = neighbour{p.host, w.now.Add(neighbourLifetime)}
	}
	from := p.linkLocal()
	for _, h := range w.hosts {
		if to := h.on(c); to != nil && h != p.host {
			w.overAir(c, to, func() {
				w.dispatch(h, role.NeighborHeard{Link: to.index, From: from, Target: addr})
			})
		}
	}
}

// resolve finds the host on the home link that packets to an address are given
// to: the one that was told or found last, as long as it answers. An owner's
// answer is preferred to a home agent's, which has not the override flag.
func (w *World) resolve(c *cell, addr netip.Addr) *port {
	if e, ok := w.air[addr]; ok && w.now.Before(e.until) {
		if p := e.host.on(c); p != nil && (p.holds(addr) || e.host.kernel.defended[addr]) {
			return p
		}
	}
	var found, anycast *port
	for _, h := range w.hosts {
		p := h.on(c)
		switch {
		case p == nil:
		case p.holds(addr):
			found = p
		case h.kernel.defended[addr] && found == nil:
			found = p
		case h.kernel.anycast[addr]:
			if anycast == nil || w.random.IntN(2) == 0 {
				anycast = p
			}
		}
		if p != nil && p.holds(addr) {
			break
		}
	}
	if found != nil {
		w.air[addr] = neighbour{found.host, w.now.Add(neighbourLifetime)}
		return found
	}
	return anycast
}
