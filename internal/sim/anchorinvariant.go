package sim

import (
	"net/netip"
	"slices"
	"time"

	"roam6/mip6"
	"roam6/overlay"
)

// What must hold with anchors at any time (RFC 5380).

// registrar is the role that takes registrations from mobiles: a home agent or an
// anchor. Nil: none runs.
func (h *host) registrar() *runner {
	switch {
	case h.agent != nil:
		return &h.agent.runner
	case h.anchor != nil:
		return &h.anchor.runner
	default:
		return nil
	}
}

// checkAnchor asserts that an anchor forwards what it has promised, and only that, to
// places that it serves, and never to a regional care-of address (§6.1).
func (w *World) checkAnchor(h *host) {
	k := &h.kernel
	for key, t := range k.tunnels {
		w.checkGrant(h, t)
		switch careOf := t.Paths[0].Remote; {
		case !h.domain.cell.contains(key.Home):
			w.fail("%s forwards for %v, which is not a regional care-of address of it", h.name, key.Home)
		case regional(careOf):
			w.fail("%s binds %v to the regional care-of address %v", h.name, key.Home, careOf)
		case !h.domain.serves(careOf):
			w.fail("%s forwards for %v to %v, which it does not serve", h.name, key.Home, careOf)
		case k.defended[key.Home] == h.domain.virtual:
			w.fail("%s forwards for %v and defends it: %v", h.name, key.Home, k.defended[key.Home])
		}
	}
	for a := range k.defended {
		if _, ok := k.tunnels[overlay.Key{Home: a, Side: overlay.AgentSide}]; !ok {
			w.fail("%s defends %v without forwarding for it", h.name, a)
		}
	}
}

// checkStack asserts that what begins at a regional care-of address of a mobile can leave:
// that address and its tunnel are there, and it begins at an on-link one.
func (w *World) checkStack(h *host) {
	k := &h.kernel
	for key, t := range k.tunnels {
		local := t.Paths[0].Local
		if key.Side != overlay.MobileSide {
			continue
		}
		switch lower, stacked := k.beneath(t); {
		case regional(key.Home) && (regional(local) || stacked):
			w.fail("%s has the tunnel of %v on %v", h.name, key.Home, local)
		case regional(key.Home) && (!k.has(0, key.Home) || !isAnchor(t.Paths[0].Remote)):
			w.fail("%s has the tunnel of %v to %v, and the address: %v", h.name, key.Home, t.Paths[0].Remote, k.has(0, key.Home))
		case regional(local) && (!stacked || t.Paths[0].Link != 0):
			w.fail("%s has the tunnel of %v from %v on link %d, which has the tunnel %v", h.name, key.Home, local, t.Paths[0].Link, lower)
		}
	}
	for _, a := range h.regionals() {
		if _, ok := k.tunnels[mobileKey(a)]; !ok {
			w.fail("%s has the regional care-of address %v and no tunnel for it", h.name, a)
		}
	}
}

// maxRegionals is of how many anchors a mobile remembers anything.
const maxRegionals = 8

// checkRegional asserts what is particular about updates in an anchor's domain: local
// ones have the flags A and M alone and come from an on-link care-of address, which is
// never a regional one (§4, §6.1), and others that name a regional care-of address ask
// for no longer than the anchor has granted.
func (x *witness) checkRegional(h *host, p mip6.Packet, m mip6.BindingUpdate, u sentUpdate) {
	_, alternate := mip6.Find[mip6.AlternateCareOf](m)
	switch local := m.Flags&mip6.UpdateMAP != 0; {
	case local && (m.Flags != mip6.UpdateMAP|mip6.UpdateAcknowledge || alternate || !regional(p.HomeAddress) || !isAnchor(p.Destination)):
		x.w.fail("%s sends the malformed local update %s", h.name, describe(p))
	case local && regional(p.Source):
		x.w.fail("%s sends an anchor the regional care-of address %v (RFC 5380 §6.1)", h.name, p.Source)
	case !local && isAnchor(p.Destination):
		x.w.fail("%s sends an anchor %s", h.name, describe(p))
	case !local && regional(u.careOf) && x.w.now.Add(u.lifetime).After(x.regional[u.careOf]):
		x.w.fail("%s asks %v for %v for %v, the anchor has granted that until %v from now (RFC 5380 §6.1)", h.name, p.Destination, u.lifetime,
			u.careOf, x.regional[u.careOf].Sub(x.w.now))
	case !local && regional(u.careOf) && p.Source != u.careOf:
		x.w.fail("%s tells of %v from %v", h.name, u.careOf, p.Source)
	}
}

// later is the later of two moments.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// homeUpdates is how many updates a mobile has sent to home agents.
func (x *witness) homeUpdates(home netip.Addr) (n int) {
	for key, list := range x.updates {
		if key.home == home && slices.ContainsFunc(x.w.hosts, func(h *host) bool { return h.isAgent && slices.Contains(h.fixed, key.peer) }) {
			n += len(list)
		}
	}
	return n
}
