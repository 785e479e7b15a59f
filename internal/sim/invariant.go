package sim

import (
	"fmt"
	"net/netip"

	"roam6/overlay"
)

// maxFailures ends the collecting: one cause soon fills pages.
const maxFailures = 20

func (w *World) fail(format string, args ...any) {
	if len(w.failures) >= maxFailures {
		return
	}
	text := fmt.Sprintf(format, args...)
	w.failures = append(w.failures, fmt.Sprintf("%.3f: %s", w.since().Seconds(), text))
	w.tell("FAILURE: %s", text)
}

// Failures are the violated invariants, empty in a good run.
func (w *World) Failures() []string { return w.failures }

// checkHost asserts what must hold at a host at any time.
func (w *World) checkHost(h *host) {
	switch {
	case h.down:
		return
	case h.isAgent:
		w.checkAgent(h)
	case h.isMobile:
		w.checkMobile(h)
	}
	if h.correspondent != nil {
		w.checkBindings(h)
	}
}

// checkAgent asserts that a home agent forwards what it has promised, and only
// that.
func (w *World) checkAgent(h *host) {
	k := &h.kernel
	for key, t := range k.tunnels {
		g, ok := w.witness.grants[h.agent][key.Home]
		switch {
		case !ok:
			w.fail("%s forwards for %v without an accepted update", h.name, key.Home)
		case w.now.After(g.expires):
			w.fail("%s: binding of %v outlives its lifetime", h.name, key.Home)
		case t.Paths[0].Remote != g.careOf:
			w.fail("%s: traffic of %v goes to %v, newest registered care-of address is %v", h.name, key.Home, t.Paths[0].Remote, g.careOf)
		}
		if !k.defended[key.Home] {
			w.fail("%s forwards for %v without defending it", h.name, key.Home)
		}
	}
	for home := range k.defended {
		if _, ok := k.tunnels[overlay.Key{Home: home, Side: overlay.AgentSide}]; !ok {
			w.fail("%s defends %v without forwarding for it", h.name, home)
		}
	}
}

// checkMobile asserts that nothing leaves beside the tunnel of a router, and that
// optimised routes are for the care-of address in use.
func (w *World) checkMobile(h *host) {
	k := &h.kernel
	defaults := 0
	for r := range k.routes {
		if r.destination.Bits() == 0 && !r.from.IsValid() {
			defaults++
		}
	}
	if defaults > len(h.mobiles) {
		w.fail("%s has %d default routes", h.name, defaults)
	}
	if defaults > 0 && h.network.IsValid() && !w.covered(h) {
		w.fail("%s has a default route and neither a tunnel nor its home address: its network's packets leave beside", h.name)
	}
	for pair, r := range k.optimised {
		if pair.Side != overlay.MobileSide {
			continue
		}
		t, ok := k.tunnels[overlay.Key{Home: pair.Home, Side: overlay.MobileSide}]
		switch {
		case !ok:
			w.fail("%s has an optimised route to %v and is not away", h.name, pair.Peer)
		case r.CareOf != t.Paths[0].Local || r.Link != t.Paths[0].Link || !k.has(r.Link, r.CareOf):
			w.fail("%s has an optimised route to %v from %v, its care-of address is %v", h.name, pair.Peer, r.CareOf, t.Paths[0].Local)
		}
	}
}

// covered reports whether a router has a tunnel or one of its home addresses.
func (w *World) covered(h *host) bool {
	for _, m := range h.mobiles {
		if _, ok := h.kernel.tunnels[overlay.Key{Home: m.home, Side: overlay.MobileSide}]; ok {
			return true
		}
		for _, p := range h.ports {
			if h.kernel.has(p.index, m.home) {
				return true
			}
		}
	}
	return false
}

// checkBindings asserts that a correspondent's routes are those of bindings that
// the witness knows, and not too old.
func (w *World) checkBindings(h *host) {
	for pair, r := range h.kernel.optimised {
		if pair.Side != overlay.CorrespondentSide {
			continue
		}
		g := w.witness.bound[h.correspondent][relation{pair.Home, pair.Peer}]
		switch {
		case g.careOf != r.CareOf:
			w.fail("%s sends what is for %v to %v, bound to %v", h.name, pair.Home, r.CareOf, g.careOf)
		case w.now.After(g.expires):
			w.fail("%s: binding of %v outlives its lifetime", h.name, pair.Home)
		}
	}
}

// checkAddresses asserts that a mobile host has exactly the given addresses.
func (w *World) checkAddresses(h *host, want map[address]bool) (wrong []string) {
	for a := range h.kernel.addresses {
		if !want[address{a.link, netip.PrefixFrom(a.prefix.Addr(), 128)}] {
			wrong = append(wrong, fmt.Sprintf("%s keeps %v on link %d", h.name, a.prefix, a.link))
		}
	}
	for a := range want {
		if !h.kernel.has(a.link, a.prefix.Addr()) {
			wrong = append(wrong, fmt.Sprintf("%s has no %v on link %d", h.name, a.prefix.Addr(), a.link))
		}
	}
	return wrong
}
