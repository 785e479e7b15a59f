package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
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
	case h.domain != nil:
		w.checkAnchor(h)
	case h.isMobile:
		w.checkMobile(h)
		w.checkStack(h)
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
		w.checkGrant(h, t)
		if !k.defended[key.Home] {
			w.fail("%s forwards for %v without defending it", h.name, key.Home)
		}
	}
	w.checkDelegated(h)
	for home := range k.defended {
		if home.IsLinkLocalUnicast() { // flag L
			home = withPrefix(homePrefixes[w.home.prefix], home)
		}
		if _, ok := k.tunnels[overlay.Key{Home: home, Side: overlay.AgentSide}]; !ok {
			w.fail("%s defends %v without forwarding for it", h.name, home)
		}
	}
}

// checkGrant asserts that a home agent, or an anchor, forwards as it has promised.
func (w *World) checkGrant(h *host, t overlay.Tunnel) {
	g, ok := w.witness.grants[h.registrar()][t.Home]
	switch {
	case !ok:
		w.fail("%s forwards for %v without an accepted update", h.name, t.Home)
	case w.now.After(g.expires):
		w.fail("%s: binding of %v outlives its lifetime", h.name, t.Home)
	case t.Paths[0].Remote != g.careOf:
		w.fail("%s: traffic of %v goes to %v, newest registered care-of address is %v", h.name, t.Home, t.Paths[0].Remote, g.careOf)
	}
}

// checkMobile asserts that nothing leaves beside the tunnel of a router, and that
// optimised routes are for the care-of address in use.
func (w *World) checkMobile(h *host) {
	k := &h.kernel
	defaults, beside := 0, false
	for r := range k.routes {
		if r.destination.Bits() == 0 && !r.from.IsValid() {
			defaults++
			// On the home link nothing is beside: its routers know the network.
			p := h.port(r.link)
			beside = beside || p == nil || p.at == nil || !p.at.home
		}
	}
	if defaults > len(h.mobiles) {
		w.fail("%s has %d default routes", h.name, defaults)
	}
	w.checkNumbers(h)
	w.checkLeases(h)
	// A client for each uplink, and that of a router: in vain ever more rarely.
	if most := (len(h.ports) + 1) * (datagramBurst + int(w.since()/datagramPause)); h.datagrams > most {
		w.fail("%s has sent %d DHCPv6 messages, more than %d", h.name, h.datagrams, most)
	}
	if beside && h.isRouter && !w.covered(h) {
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
		case !k.begins(r, t) || !h.has(r.Link, r.CareOf) && !(r.Link == 0 && k.has(0, r.CareOf)):
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

// has reports whether an address is on an interface, be it that somebody else has put
// it there.
func (h *host) has(link int, a netip.Addr) bool {
	p := h.port(link)
	return p != nil && p.holds(a)
}

// What a DHCPv6 client may send on average, whatever happens to it.
const (
	datagramBurst = 20
	datagramPause = 4 * time.Second
)

// patience is how long a mobile believes that a leased address is of the link after
// that has changed, while the client asks the servers.
const patience = 13 * time.Second

// checkLeases asserts that leased care-of addresses are in valid leases, and that one
// of another link is not used when the server of the present one has said so.
func (w *World) checkLeases(h *host) {
	ends := func(by *runner) bool { // and takes its leave of its home agent
		m := h.mobileOf(by)
		return m != nil && m.ending
	}
	for a, by := range h.kernel.addresses {
		u := h.clients[a.link]
		if a.link == 0 || !isLeased(a.prefix.Addr()) || slices.ContainsFunc(by, ends) {
			continue
		}
		if u == nil || w.now.After(u.ends[a.prefix.Addr()]) {
			w.fail("%s has the leased address %v, and its lease has ended", h.name, a.prefix)
		}
	}
	for _, m := range h.mobiles {
		t, away := h.kernel.tunnels[mobileKey(m.home)]
		if lower, stacked := h.kernel.beneath(t); away && stacked {
			t = lower
		}
		if !away || m.gone {
			continue
		}
		careOf := t.Paths[0].Local
		u := h.clients[t.Paths[0].Link]
		if !isLeased(careOf) || u == nil {
			continue
		}
		named := slices.ContainsFunc(u.lease.Addresses, func(p role.LeasedPrefix) bool { return p.Prefix.Addr() == careOf })
		here := u.port.up && u.port.at != nil && u.port.at.contains(careOf)
		if named || here || m.role.Snapshot(w.now).Lost {
			u.unnamed = time.Time{}
			continue
		}
		if u.unnamed.IsZero() {
			u.unnamed = w.now
		}
		if w.now.Sub(u.unnamed) > patience && u.port.answered.After(u.unnamed) {
			w.fail("%s uses %v, which is of another link, and its client does not lease it", h.name, careOf)
		}
	}
}

// withPrefix is the address with the interface identifier of another in a prefix.
func withPrefix(p netip.Prefix, a netip.Addr) netip.Addr {
	b, id := p.Addr().As16(), a.As16()
	copy(b[8:], id[8:])
	return netip.AddrFrom16(b)
}
