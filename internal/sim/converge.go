package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/overlay"
)

// What must hold a while after the last fault.

// Settle runs until nothing is wrong any more, at most for a time; what is wrong
// then has failed. It returns how long it took.
func (w *World) Settle(limit time.Duration, wrong func() []string) time.Duration {
	const step = 10 * time.Second
	begin := w.now
	for {
		w.Run(step)
		list := wrong()
		if len(list) == 0 || len(w.failures) > 0 {
			return w.now.Sub(begin)
		}
		if w.now.Sub(begin) >= limit {
			slices.Sort(list)
			for _, s := range list {
				w.fail("%v after the last fault: %s", w.now.Sub(begin), s)
			}
			return w.now.Sub(begin)
		}
	}
}

// unregistered tells which mobiles are not registered where they are, with one
// living home agent, both ends forwarding the same way and nothing else left.
func (w *World) unregistered() (wrong []string) {
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, h := range w.mobiles() {
		p := h.best()
		if h.down || p == nil {
			continue
		}
		want := make(map[address]bool)
		for _, m := range h.mobiles {
			if m.gone {
				continue
			}
			up, away := h.kernel.tunnels[overlay.Key{Home: m.home, Side: overlay.MobileSide}]
			agents := w.agentsOf(m.home)
			if p.at.home {
				want[address{p.index, netip.PrefixFrom(m.home, 128)}] = true
				if away || len(agents) > 0 {
					add("%v of %s is at home and has tunnels, agents %v", m, h.name, agents)
				}
				continue
			}
			want[address{0, netip.PrefixFrom(m.home, 128)}] = true
			if !away || len(agents) != 1 {
				add("%v of %s at %s has a tunnel: %v, agents %v", m, h.name, p.at.name, away, agents)
				continue
			}
			careOf, down := up.Paths[0].Local, agents[0].kernel.tunnels[overlay.Key{Home: m.home, Side: overlay.AgentSide}]
			onLink := careOf
			if lower, stacked := h.kernel.beneath(up); stacked {
				onLink = lower.Paths[0].Local
				want[address{0, netip.PrefixFrom(careOf, 128)}] = true
				if text := w.unbound(lower); text != "" {
					add("%v of %s at %s: %s", m, h.name, p.at.name, text)
				}
			}
			if !p.hasForeign(onLink) {
				want[address{p.index, netip.PrefixFrom(onLink, 128)}] = true
			}
			if careOf != down.Paths[0].Remote || up.Paths[0].Remote != down.Paths[0].Local || !p.at.contains(onLink) {
				add("%v of %s at %s: tunnel %v, its agent's %v", m, h.name, p.at.name, up.Paths, down.Paths)
			}
			s := m.role.Snapshot(w.now)
			if !s.Update.Registered || s.Update.CareOf != careOf || s.Lost || s.HomeAgent != up.Paths[0].Remote {
				add("%v of %s at %s believes: %+v", m, h.name, p.at.name, s.Update)
			}
			for _, c := range s.CareOfs {
				if c.Standby && !c.Foreign && slices.ContainsFunc(h.ports, func(q *port) bool { return q.index == c.Link && q != p && q.at != nil && q.at.contains(c.Addr) }) {
					want[address{c.Link, netip.PrefixFrom(c.Addr, 128)}] = true
				}
			}
		}
		wrong = append(wrong, w.checkAddresses(h, want)...)
	}
	return wrong
}

// agentsOf are the home agents that forward for a home address.
func (w *World) agentsOf(home netip.Addr) (list []*host) {
	for _, h := range w.hosts {
		if _, ok := h.kernel.tunnels[overlay.Key{Home: home, Side: overlay.AgentSide}]; ok && !h.down {
			list = append(list, h)
		}
	}
	return list
}

func (h *host) String() string { return h.name }

// silentPairs has all talk to all, and tells who got no answer.
func (w *World) silentPairs() (wrong []string) {
	begin := w.now
	pairs := w.askAll()
	w.Run(2 * time.Second)
	for _, p := range pairs {
		if t := w.talks.trips[p.conversation]; t == nil || t.at.Before(begin) {
			wrong = append(wrong, fmt.Sprintf("%s gets no answer of %s (%v, %v)", p.a, p.b, p.asks, p.answers))
		}
	}
	return wrong
}

// indirectPairs has all talk to all for a while, and tells where an optimised
// route is missing that could be there.
func (w *World) indirectPairs() (wrong []string) {
	for range 4 {
		w.askAll()
		w.Run(3 * time.Second)
	}
	for _, p := range w.askAll() {
		if text := w.indirect(p); text != "" {
			wrong = append(wrong, text)
		}
	}
	return wrong
}

// indirect tells what is missing for the packets of a pair to take the direct way;
// empty if nothing is, or they cannot.
func (w *World) indirect(p exchange) string {
	m := p.a.mobileAt(p.asks)
	if m == nil || !p.a.seeks || !p.b.optimises || p.a.best() == nil || p.a.best().at.home || p.b.hasInner(p.answers) ||
		p.a.nested() || p.b.nested() {
		return ""
	}
	mine, ok := p.a.kernel.optimised[overlay.Pair{Home: p.asks, Peer: p.answers, Side: overlay.MobileSide}]
	theirs, bound := p.b.kernel.optimised[overlay.Pair{Home: p.asks, Peer: p.answers, Side: overlay.CorrespondentSide}]
	t := w.talks.trips[p.conversation]
	switch {
	case !ok || !bound || mine.CareOf != theirs.CareOf:
		return fmt.Sprintf("the route between %s and %s is not optimised: %v, %v (%v)", p.a, p.b, mine, theirs, w.peer(m, p.answers))
	case p.b.isMobile && !p.b.seeks && !p.b.best().at.home || t == nil: // by its own tunnel
	case !t.there || !t.direct:
		return fmt.Sprintf("packets between %s and %s take the tunnel: there %v, back %v", p.a, p.b, !t.there, !t.direct)
	}
	return ""
}

// Chat lets all talk to all every second: a data plane notices then that a tunnel
// brings nothing back.
func (w *World) Chat(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.askAll()
		w.Run(time.Second)
	}
}

// leastRenewal is the least time between two renewals of a lease.
const leastRenewal = 15 * time.Second

// Steady lets all talk to all for a while without faults. Whatever is renewed
// meanwhile, no packet may be lost, or take the tunnel.
func (w *World) Steady(d time.Duration) {
	before := make(map[*host]int)
	for _, h := range w.hosts {
		before[h] = h.datagrams
	}
	defer func() {
		for _, h := range w.mobiles() {
			if sent, most := h.datagrams-before[h], (len(h.ports)+1)*(4+int(d/leastRenewal)); sent > most {
				w.fail("%s sends %d DHCPv6 messages in %v, and nothing has happened", h.name, sent, d)
			}
		}
	}()
	for end := w.now.Add(d); w.now.Before(end) && len(w.failures) == 0; {
		begin := w.now
		pairs := w.askAll()
		w.Run(8 * time.Second)
		for _, p := range pairs {
			if t := w.talks.trips[p.conversation]; t == nil || t.at.Before(begin) {
				w.fail("%s gets no answer of %s (%v, %v), and nothing has happened", p.a, p.b, p.asks, p.answers)
			} else if text := w.indirect(p); text != "" {
				w.fail("%s, and nothing has happened", text)
			}
		}
	}
}

// Restart restarts all hosts that do not move, of which the mobiles expect
// something.
func (w *World) Restart(fits func(*host) bool) {
	for _, h := range w.hosts {
		if !h.isMobile && fits(h) {
			w.tell("%s restarts", h)
			w.boot(h)
		}
	}
}

// peer tells what a mobile knows of a correspondent.
func (w *World) peer(m *mobile, peer netip.Addr) string {
	for _, p := range m.role.Snapshot(w.now).Peers {
		if p.Addr == peer {
			return fmt.Sprintf("%v, again in %v, %d failures, idle %v", p.State, p.RetryAfter, p.Failures, p.Idle)
		}
	}
	return "unknown"
}

// Stop ends all mobiles, and asserts that nothing is left in their kernels. What
// they could not tell the home agents and the correspondents ends with its
// lifetime.
func (w *World) Stop() {
	for _, h := range w.mobiles() {
		for _, m := range h.mobiles {
			w.handle(h, &m.runner, role.Stop{})
		}
	}
	w.Run(5 * time.Second)
	for _, h := range w.mobiles() {
		w.stopClients(h)
	}
	w.Run(2 * time.Second)
	for _, h := range w.mobiles() {
		for _, m := range h.mobiles {
			if !m.role.Done() {
				w.fail("%s does not end", h.name)
			}
		}
		for _, n := range h.given() {
			w.fail("%s leaves %v on %s", h.name, n.prefix, n.link)
		}
		for index := range h.clients {
			w.fail("%s leaves a DHCPv6 client on %d", h.name, index)
		}
		k := &h.kernel
		for a := range k.addresses {
			w.fail("%s leaves %v on link %d", h.name, a.prefix, a.link)
		}
		for r := range k.routes {
			w.fail("%s leaves the route %+v", h.name, r)
		}
		for key := range k.tunnels {
			w.fail("%s leaves the tunnel of %v", h.name, key.Home)
		}
		for pair := range k.optimised {
			if pair.Side == overlay.MobileSide {
				w.fail("%s leaves the route to %v", h.name, pair.Peer)
			}
		}
	}
	for _, c := range w.cells {
		c.silent = true // nobody hears it
	}
	w.Run(421 * time.Second)
	for _, h := range w.hosts {
		k := &h.kernel
		if len(k.tunnels)+len(k.optimised)+len(k.defended) > 0 {
			w.fail("%s still has tunnels %v, routes %v, and defends %v", h.name, k.tunnels, k.optimised, k.defended)
		}
		for r := range k.routes {
			if delegable.Overlaps(r.destination) {
				w.fail("%s still routes %v to %v", h.name, r.destination, r.via)
			}
		}
		if h.agent != nil && len(h.agent.role.Bindings()) > 0 {
			w.fail("%s still has bindings %v", h.name, h.agent.role.Bindings())
		}
		if h.correspondent != nil && len(h.correspondent.role.Bindings()) > 0 {
			w.fail("%s still has bindings %v", h.name, h.correspondent.role.Bindings())
		}
	}
}
