package sim

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
)

// The administrator renumbers the home link (RFC 6275 §10.6, §11.4.1) in three
// steps: another prefix, the end of the old one for anything new, the end of it.

// lastOfPrefix is how long the old prefix is valid when it is deprecated.
const lastOfPrefix = 150 * time.Second

// Renumber takes the next step that is due, if one is, and reports whether there
// is another one.
func (w *World) Renumber() bool {
	n := &w.home
	switch {
	case n.prefix == 1:
		return false
	case !n.other:
		w.tell("the home link gets another prefix")
		n.other = true
		w.cells[0].prefixes = homePrefixes[:]
		w.reconfigureAgents()
	case n.deprecated.IsZero():
		w.tell("the first home prefix is deprecated")
		n.deprecated, n.expires = w.now, w.now.Add(lastOfPrefix)
		w.reconfigureAgents()
	case w.now.Before(n.expires):
	default:
		w.tell("the first home prefix has ended")
		n.prefix = 1
		w.cells[0].prefixes = homePrefixes[1:]
		w.reconfigureAgents()
		for _, h := range w.mobiles() {
			w.followPrefix(h)
		}
		return false
	}
	return true
}

// reconfigureAgents gives the home agents that run their new configuration.
func (w *World) reconfigureAgents() {
	for _, h := range w.hosts {
		if h.agent == nil {
			continue
		}
		c := w.agentConfig(h)
		h.fixed = []netip.Addr{c.Address}
		if c.Address != h.router.global {
			h.router.global = c.Address
		}
		h.agent.config = c
		w.carryOut(h, &h.agent.runner, h.agent.role.Reconfigure(w.clockOf(h), c))
	}
}

// followPrefix brings a mobile's configuration up to date. A home address that it
// has formed itself is the configured one from now on.
func (w *World) followPrefix(h *host) {
	home := homeAddr(w.home.prefix, h.number)
	for _, m := range slices.Clone(h.mobiles) {
		if m.home != home && !m.gone {
			w.handle(h, &m.runner, role.Stop{})
		}
	}
	if h.mobileAt(home) == nil {
		w.addHome(h, netip.PrefixFrom(home, 64))
	}
	w.reap(h)
}

// reap forgets the mobiles that have ended, a while after they were told to.
func (w *World) reap(h *host) {
	ending := slices.Clone(h.mobiles)
	w.after(3*time.Second, func() {
		for _, m := range ending {
			if m.role.Done() {
				m.gone = true
			}
		}
		h.mobiles = slices.DeleteFunc(h.mobiles, func(m *mobile) bool { return m.gone })
	})
}
