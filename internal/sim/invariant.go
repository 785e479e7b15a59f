package sim

import (
	"fmt"
	"net/netip"
	"time"

	"roam6/overlay"
)

// maxFailures ends the collecting: one cause soon fills pages.
const maxFailures = 20

func (w *World) fail(format string, args ...any) {
	if len(w.failures) < maxFailures {
		w.failures = append(w.failures, fmt.Sprintf("%v: ", w.since())+fmt.Sprintf(format, args...))
	}
}

// checkAlways asserts what must hold after every event.
func (w *World) checkAlways() {
	g := w.agent
	for key, t := range g.kernel.tunnels {
		o, ok := g.oracle[key.Home]
		switch {
		case !ok:
			w.fail("home agent forwards for %v without an accepted update", key.Home)
		case w.now.After(o.expires):
			w.fail("binding of %v outlives its lifetime", key.Home)
		case t.Paths[0].Remote != o.careOf:
			w.fail("traffic of %v goes to %v, newest registered care-of address is %v", key.Home, t.Paths[0].Remote, o.careOf)
		}
		if !g.kernel.defended[key.Home] {
			w.fail("home agent forwards for %v without defending it", key.Home)
		}
	}
	for home := range g.kernel.defended {
		if _, ok := g.kernel.tunnels[overlay.Key{Home: home, Side: overlay.AgentSide}]; !ok {
			w.fail("home agent defends %v without forwarding for it", home)
		}
	}
	for _, m := range w.mobiles {
		defaults := 0
		for r := range m.kernel.routes {
			if r.destination.Bits() == 0 && !r.from.IsValid() {
				defaults++
			}
		}
		home := m.config.HomeAddress
		_, tunnel := m.kernel.tunnels[overlay.Key{Home: home, Side: overlay.MobileSide}]
		if defaults > 0 && !tunnel && !m.kernel.has(1, home) && !m.kernel.has(2, home) {
			w.fail("%s has a default route and neither a tunnel nor its home address: its network's packets leave beside", m.config.Name)
		}
		if defaults > 1 {
			w.fail("%s has %d default routes", m.config.Name, defaults)
		}
	}
}

// CheckConverged asserts what must hold a while after the last fault: every
// mobile is registered where it is, both ends forward the same way, and
// nothing else is left.
func (w *World) CheckConverged() {
	for _, m := range w.mobiles {
		p := m.best()
		if m.stopped || p == nil {
			continue
		}
		home := m.config.HomeAddress
		up, down := m.kernel.tunnels[overlay.Key{Home: home, Side: overlay.MobileSide}], w.agent.kernel.tunnels[overlay.Key{Home: home, Side: overlay.AgentSide}]
		if p.at.home {
			if len(up.Paths)+len(down.Paths) != 0 {
				w.fail("%s is at home and has tunnels %v and %v", m.config.Name, up.Paths, down.Paths)
			}
			w.checkAddresses(m, map[netip.Addr]int{home: p.index})
			continue
		}
		if len(up.Paths) == 0 || len(down.Paths) == 0 {
			w.fail("%s at %s has no tunnel: mobile side %v, agent side %v", m.config.Name, p.at.name, up.Paths, down.Paths)
			continue
		}
		careOf := up.Paths[0].Local
		if careOf != down.Paths[0].Remote || !p.at.prefix.Contains(careOf) {
			w.fail("%s at %s: mobile sends from %v, home agent sends to %v", m.config.Name, p.at.name, careOf, down.Paths[0].Remote)
		}
		if s := m.role.Snapshot(w.now); !s.Update.Registered || s.Update.CareOf != careOf || s.Lost {
			w.fail("%s at %s believes: %+v", m.config.Name, p.at.name, s.Update)
		}
		w.checkAddresses(m, map[netip.Addr]int{home: 0, careOf: p.index})
	}
}

// checkAddresses asserts that a mobile has exactly the given addresses.
func (w *World) checkAddresses(m *mobile, want map[netip.Addr]int) {
	for a := range m.kernel.addresses {
		if link, ok := want[a.prefix.Addr()]; !ok || link != a.link {
			w.fail("%s keeps %v on link %d", m.config.Name, a.prefix, a.link)
		}
		delete(want, a.prefix.Addr())
	}
	for a, link := range want {
		w.fail("%s has no %v on link %d", m.config.Name, a, link)
	}
}

// CheckStopped asserts that the end of the mobiles leaves nothing in their
// kernels.
func (w *World) CheckStopped() {
	for _, m := range w.mobiles {
		if !m.role.Done() {
			w.fail("%s does not end", m.config.Name)
		}
		for a := range m.kernel.addresses {
			w.fail("%s leaves %v on link %d", m.config.Name, a.prefix, a.link)
		}
		for r := range m.kernel.routes {
			w.fail("%s leaves the route %+v", m.config.Name, r)
		}
		for key := range m.kernel.tunnels {
			w.fail("%s leaves the tunnel of %v", m.config.Name, key.Home)
		}
	}
}

// settle is longer than any back-off after the last fault: the retransmission
// timer's maximum, a lifetime, and what the answers need.
const settle = 200 * time.Second

// Failures are the violated invariants, empty in a good run.
func (w *World) Failures() []string { return w.failures }
