package sim

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/cn"
	"roam6/ha"
	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mn"
	"roam6/mn/ro"
	"roam6/mr"
)

// The lives of hosts: their roles begin, and are lost.

// boot begins all roles of a host with nothing remembered: also after a crash,
// when what its kernel held is swept as the shell does.
func (w *World) boot(h *host) {
	w.crash(h)
	h.down = false
	switch {
	case h.isAgent:
		h.fixed = []netip.Addr{homeAddr(w.home.prefix, h.number)}
		h.router.global = h.fixed[0]
		c := w.agentConfig(h)
		h.agent = &agent{role: ha.New(c), config: c, started: w.now}
		h.agent.machine = h.agent.role
		w.startDelegator(h)
		w.restore(h, &h.agent.runner, h.agent.role)
	case h.domain != nil:
		w.startAnchor(h)
		w.restore(h, &h.anchor.runner, h.anchor.role)
	case h.isMobile:
		w.startMobile(h, netip.PrefixFrom(homeAddr(w.home.prefix, h.number), 64))
	}
	if !h.isAgent && h.domain == nil && !h.ignorant {
		w.startCorrespondent(h)
	}
	for _, p := range h.ports {
		w.link(p)
		if h.addressing[p.name] == mn.AddressingForeign {
			w.tellForeign(p)
		}
	}
}

// restore gives a role what it has remembered in an earlier life, as the shell does.
func (w *World) restore(h *host, r *runner, by interface {
	Restore(time.Time, []binding.Memory) []role.Action
}) {
	if len(h.memories) == 0 {
		return
	}
	memories := slices.Collect(maps.Values(h.memories))
	slices.SortFunc(memories, func(m, n binding.Memory) int {
		return cmp.Or(m.Home.Compare(n.Home), cmp.Compare(m.Visitor, n.Visitor))
	})
	w.witness.resume(h)
	w.carryOut(h, r, by.Restore(w.clockOf(h), memories))
	w.counts.Restored += len(h.kernel.tunnels)
}

func (w *World) startCorrespondent(h *host) {
	r := cn.New(cn.Config{Optimise: h.optimises, Random: w.entropy()})
	h.correspondent = &correspondent{role: r, runner: runner{machine: r}}
}

// crash ends all roles of a host and forgets what they had done. What bindings were
// remembered for is gone in some cases: the host was started anew.
func (w *World) crash(h *host) {
	if h.registrar() != nil && !w.lasting && w.random.IntN(3) == 0 {
		w.tell("%s forgets its bindings", h)
		clear(h.memories)
	}
	w.witness.forget(h)
	for _, r := range h.runners() {
		r.gone = true
	}
	h.down = true
	if len(h.mobiles) > 0 {
		w.forgotten = w.now
	}
	h.mobiles, h.agent, h.anchor, h.correspondent = nil, nil, nil, nil
	h.kernel, h.plane = newKernel(), newPlane()
	h.clients, h.following, h.stopping = make(map[int]*uplinkClient), nil, false
	h.numbers, h.withheld = nil, false
}

// startMobile begins a mobile node with a home address.
func (w *World) startMobile(h *host, home netip.Prefix) *mobile {
	m := &mobile{home: home.Addr()}
	c := w.mobileConfig(h, m)
	c.Random, c.DiscoverHomeAgent = w.entropy(), w.plan.Discover || len(h.mobiles) > 0
	if h.isRouter {
		r := mr.New(h.routerConfig(c))
		m.role = r
		m.reconfigure = func(now time.Time) []role.Action { return r.Reconfigure(now, h.routerConfig(w.mobileConfig(h, m))) }
	} else {
		n := mn.New(c, nil)
		m.role = n
		m.reconfigure = func(now time.Time) []role.Action { return n.Reconfigure(now, w.mobileConfig(h, m)) }
	}
	m.machine = m.role
	h.mobiles = append(h.mobiles, m)
	return m
}

// mobileConfig is the configuration of a mobile node as its administrator has it now.
func (w *World) mobileConfig(h *host, m *mobile) mn.Config {
	sa, prefix := h.association(), netip.PrefixFrom(m.home, 64).Masked()
	c := mn.Config{
		Name: h.name, HomeAddress: m.home, HomePrefix: prefix, SA: &sa, Timestamps: h.stamped(),
		Lifetime: 120 * time.Second, Seed: uint64(h.number), DiscoverHomeAgent: w.plan.Discover || len(h.mobiles) > 0 && h.mobiles[0] != m,
		Addressing: h.addressing, Hierarchy: h.hierarchy,
	}
	if !w.plan.Discover {
		for i := range w.plan.Agents {
			c.HomeAgents = append(c.HomeAgents, homeAddr(w.home.prefix, 1+(i+h.order)%w.plan.Agents))
		}
	}
	for _, p := range h.ports {
		c.Uplinks = append(c.Uplinks, p.name)
	}
	if h.seeks {
		c.RouteOptimisation = ro.Policy{Mode: ro.On}
	}
	return c
}

// routerConfig is that of a mobile router.
func (h *host) routerConfig(c mn.Config) mr.Config {
	r := mr.Config{Config: c, Mode: mr.Explicit}
	if h.implicit {
		r.Mode = mr.Implicit
	}
	if h.network.IsValid() {
		r.Prefixes = []netip.Prefix{h.network}
	}
	if h.delegates {
		r.Delegation = h.delegation()
	}
	return r
}

// formHome begins a mobile node for a home address that another one has formed,
// as the shell does.
func (w *World) formHome(h *host, a role.HomeAddressFormed) {
	if h.mobileAt(a.From) == nil || h.mobileAt(a.To.Addr()) != nil {
		return
	}
	w.tell("%s forms the home address %v", h.name, a.To)
	w.counts.Formed++
	w.addHome(h, a.To)
}

// addHome begins a mobile node beside those that run.
func (w *World) addHome(h *host, home netip.Prefix) {
	m := w.startMobile(h, home)
	w.batch(h, func() {
		for _, p := range h.ports {
			w.handle(h, &m.runner, linkEvent(p))
		}
		w.introduceLeases(h, m)
	})
}
