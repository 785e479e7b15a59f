package ha

import (
	"net/netip"
	"slices"

	"roam6/internal/binding"
	"roam6/mip6"
)

// maxNesting is the greatest number of mobile networks of this agent inside one
// another. A packet passes this node once for each.
const maxNesting = 8

// networks are the mobile network prefixes of active bindings and whose they
// are.
type networks struct {
	owner   map[netip.Prefix]netip.Addr
	lengths [129]int // number of prefixes by length
}

func newNetworks() networks { return networks{owner: make(map[netip.Prefix]netip.Addr)} }

func (n *networks) add(p netip.Prefix, home netip.Addr) {
	if _, ok := n.owner[p]; !ok {
		n.lengths[p.Bits()]++
	}
	n.owner[p] = home
}

func (n *networks) remove(p netip.Prefix, home netip.Addr) {
	if n.owner[p] == home {
		n.lengths[p.Bits()]--
		delete(n.owner, p)
	}
}

// lookup finds the home address of the mobile router with the longest prefix
// that contains addr; invalid when there is none.
func (n *networks) lookup(addr netip.Addr) netip.Addr {
	for bits, count := range slices.Backward(n.lengths[:]) {
		if count == 0 {
			continue
		}
		if p, err := addr.Prefix(bits); err == nil {
			if home, ok := n.owner[p]; ok {
				return home
			}
		}
	}
	return netip.Addr{}
}

// setPrefixes makes prefixes the mobile network prefixes of an entry; those it
// had and that are missing now are withdrawn (RFC 3963 §6.2).
func (a *Agent) setPrefixes(e *binding.Entry, prefixes []netip.Prefix) {
	for _, p := range e.Prefixes {
		a.networks.remove(p, e.Home)
	}
	for _, p := range prefixes {
		a.networks.add(p, e.Home)
	}
	e.Prefixes = prefixes
}

// prefixesFor are the mobile network prefixes of a registration: those the
// update names, all of them or none, or those it has anyway (RFC 3963 §6.2). In
// implicit mode the router takes 141 and 142 for fatal (§5.4.1): it gets 143.
func (a *Agent) prefixesFor(h *home, u *update) ([]netip.Prefix, mip6.Status) {
	if !u.router() {
		return nil, mip6.StatusAccepted // RFC 3963 §4.1: nothing is forwarded without flag R
	}
	if !u.explicit {
		// A mobile router that is going to have prefixes by delegation registers
		// before it has any (RFC 6276 §3.1).
		own := a.networksOf(h.mobile)
		if len(own) == 0 && !h.Delegate || slices.ContainsFunc(own, func(p netip.Prefix) bool { return a.taken(p, h) }) {
			return nil, mip6.StatusForwardingSetupFailed
		}
		return own, mip6.StatusAccepted
	}
	for _, p := range u.prefixes {
		if !networkPrefix(p, a.config.Address) {
			return nil, mip6.StatusInvalidPrefix
		}
	}
	for _, p := range u.prefixes {
		if !a.authorized(h, p) {
			return nil, mip6.StatusNotAuthorizedForPrefix
		}
	}
	if slices.ContainsFunc(u.prefixes, func(p netip.Prefix) bool { return a.taken(p, h) }) {
		return nil, mip6.StatusInvalidPrefix
	}
	return u.prefixes, mip6.StatusAccepted
}

// taken reports whether another mobile has registered a prefix: forwarding cannot be
// set up then. A valid configuration does not let that happen.
func (a *Agent) taken(p netip.Prefix, h *home) bool {
	home := a.networks.lookup(p.Addr())
	return home.IsValid() && a.homes[home].mobile != h.mobile
}

// authorized tells whether a mobile router may register a prefix: one of its own,
// by configuration or delegation, or a part of one.
func (a *Agent) authorized(h *home, p netip.Prefix) bool {
	return slices.ContainsFunc(a.networksOf(h.mobile), func(own netip.Prefix) bool {
		return own.Bits() <= p.Bits() && own.Contains(p.Addr())
	})
}

// loops reports whether packets to a mobile with this care-of address and these
// prefixes would come back to it: RFC 6275 §15.1 wants no home address bound to
// another one of the same agent, and a mobile network may be inside another only
// so long as none is inside itself.
func (a *Agent) loops(h *home, careOf netip.Addr, prefixes []netip.Prefix) bool {
	if careOf == a.config.Address || a.homes[careOf] != nil {
		return true
	}
	for range maxNesting {
		inside := func(p netip.Prefix) bool { return p.Contains(careOf) }
		if careOf == h.addr || slices.ContainsFunc(prefixes, inside) {
			return true
		}
		outer := a.networks.lookup(careOf)
		if e := a.bindings.Get(careOf); e != nil && e.State == binding.Active {
			outer = careOf
		}
		switch {
		case !outer.IsValid() || a.homes[outer] == nil: // or about to end
			return false
		case a.homes[outer].mobile == h.mobile:
			return true
		}
		careOf = a.bindings.Get(outer).CareOf()
	}
	return true
}
