package ha

import (
	"net/netip"
	"slices"

	"roam6/internal/binding"
	"roam6/internal/order"
	"roam6/overlay"
)

// share gives each network of a mobile to the newest of its bindings that
// registered it, so that the networks move to a new home address with the mobile
// and come back to the old one if the new one is given up. A refresh of the older
// binding takes nothing away from the newer one.
//
// e is the entry whose registration changed; what it has afterwards is for the
// caller to tell the data plane. The changes of the others are returned: before,
// what they give up, and after, what they get. The data plane holds a prefix for
// one tunnel only, so the order matters.
func (a *Agent) share(e *binding.Entry, h *home) (before, after []overlay.Change) {
	if len(h.homes) == 1 {
		a.setPrefixes(e, h.wanted)
		return nil, nil
	}
	type claim struct {
		*binding.Entry
		prefixes []netip.Prefix
	}
	var claims []claim
	for _, o := range h.homes {
		if entry := a.bindings.Get(o.addr); entry != nil && entry.State == binding.Active {
			claims = append(claims, claim{entry, o.wanted})
		}
	}
	order.Sort(claims, func(c, d claim) int {
		if newer := d.Created.Compare(c.Created); newer != 0 {
			return newer
		}
		return c.Home.Compare(d.Home)
	})
	for i := range claims {
		claims[i].prefixes = slices.DeleteFunc(slices.Clone(claims[i].prefixes), func(p netip.Prefix) bool {
			return slices.ContainsFunc(claims[:i], func(newer claim) bool { return slices.Contains(newer.prefixes, p) })
		})
	}
	for _, c := range claims {
		kept := slices.DeleteFunc(slices.Clone(c.Prefixes), func(p netip.Prefix) bool { return !slices.Contains(c.prefixes, p) })
		if len(kept) == len(c.Prefixes) {
			continue
		}
		a.setPrefixes(c.Entry, kept)
		if c.Entry != e {
			before = append(before, tunnel(c.Entry))
		}
	}
	for _, c := range claims {
		if len(c.prefixes) == len(c.Prefixes) {
			continue
		}
		a.setPrefixes(c.Entry, c.prefixes)
		if c.Entry != e {
			after = append(after, tunnel(c.Entry))
		}
	}
	return before, after
}

// sibling finds another entry of the mobile in the given state that claims the
// same link-local address; nil when there is none.
func (a *Agent) sibling(h *home, linkLocalAddr netip.Addr, s binding.State) *binding.Entry {
	for _, o := range h.homes {
		if o == h || !linkLocalAddr.IsValid() {
			continue
		}
		if e := a.bindings.Get(o.addr); e != nil && e.State == s && linkLocal(e.Home, e.Flags) == linkLocalAddr {
			return e
		}
	}
	return nil
}

// releaseLinkLocal ends an entry's claim of its link-local address, if it has
// one. Another entry of the mobile may go on claiming it.
func (a *Agent) releaseLinkLocal(e *binding.Entry, h *home) {
	ll := linkLocal(e.Home, e.Flags)
	if !ll.IsValid() || a.linkLocals[ll] != e.Home {
		return
	}
	delete(a.linkLocals, ll)
	for _, s := range []binding.State{binding.Active, binding.Probing} {
		if other := a.sibling(h, ll, s); other != nil {
			a.linkLocals[ll] = other.Home
			return
		}
	}
}
