package mn

import (
	"net/netip"
	"slices"
	"testing"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// kernel is what the actions of a node have made of the kernel and the data
// plane. It asserts after each single action what must never be.
type kernel struct {
	addresses map[placedAddress]bool // value: deprecated
	routes    map[string]role.Route
	lent      map[placedAddress]bool // what somebody else assigned
	foreign   func(link int) bool    // somebody else manages it
	tunnel    *overlay.Tunnel
	regional  map[netip.Addr]*overlay.Tunnel // of regional care-of addresses
	router    bool                           // a mobile network is behind the node
	homeLink  int                            // where the node is at home when all is carried out; 0: it is not
	// orphaned is the home link that the node is leaving, if the home address was
	// somebody else's there: there is nothing to keep on it until the tunnel is there.
	orphaned int
}

type placedAddress struct {
	link   int
	prefix netip.Prefix
}

func newKernel() kernel {
	return kernel{
		addresses: make(map[placedAddress]bool), routes: make(map[string]role.Route), lent: make(map[placedAddress]bool),
		regional: make(map[netip.Addr]*overlay.Tunnel),
		foreign:  func(int) bool { return false },
	}
}

func (k *kernel) carryOut(t *testing.T, a role.Action) {
	t.Helper()
	k.spares(t, a)
	switch a := a.(type) {
	case role.AssignAddress:
		if !a.Prefix.IsValid() {
			t.Errorf("assigns %v", a)
		}
		k.addresses[placedAddress{a.Link, a.Prefix}] = a.Preferred == 0
	case role.UnassignAddress:
		delete(k.addresses, placedAddress{a.Link, a.Prefix})
	case role.AddRoute:
		k.routes[routeText(a.Route)] = a.Route
	case role.RemoveRoute:
		delete(k.routes, routeText(a.Route))
	case role.Forward:
		for _, c := range a.Changes {
			switch {
			case c.Set != nil && c.Set.Home != homeAddress:
				k.regional[c.Set.Home] = c.Set
			case c.Set == nil && c.Remove.Home.IsValid() && c.Remove.Home != homeAddress:
				if k.tunnel != nil && k.tunnel.Paths[0].Local == c.Remove.Home {
					t.Errorf("the tunnel to the home agent is stacked on %v, which is removed", c.Remove.Home)
				}
				delete(k.regional, c.Remove.Home)
			case c.Set != nil:
				if p := c.Set.Paths[0]; p.Link == 0 && (k.regional[p.Local] == nil || p.Local == c.Set.Home) {
					t.Errorf("the tunnel to the home agent is stacked on %v, which is none", p.Local)
				}
				k.tunnel = c.Set
			case c.Optimise == nil && c.Deoptimise == nil:
				k.tunnel = nil
			}
		}
	case role.Send:
		if u, ok := a.Packet.Message.(mip6.BindingUpdate); ok && u.Flags&mip6.UpdateMAP != 0 && k.regional[a.Packet.Source] != nil {
			t.Errorf("tells %v a regional care-of address: %v", a.Packet.Destination, a.Packet.Source)
		}
		if a.Link == 0 && a.Packet.Source != homeAddress && k.regional[a.Packet.Source] == nil {
			t.Errorf("sends from %v, which no tunnel takes", a.Packet.Source)
		}
		if !k.has(a.Link, a.Packet.Source) && a.Link != 0 {
			t.Errorf("sends from %v, which is not on link %d", a.Packet.Source, a.Link)
		}
	case role.SendICMP:
		if !k.has(a.Link, a.Packet.Source) && a.Link != 0 {
			t.Errorf("sends ICMPv6 from %v, which is not on link %d", a.Packet.Source, a.Link)
		}
	}
	if k.router && k.tunnel == nil && k.leaks() {
		t.Errorf("packets of the mobile network leave beside the tunnel: after %#v", a)
	}
}

// spares asserts that nothing is done to what somebody else manages.
func (k *kernel) spares(t *testing.T, a role.Action) {
	t.Helper()
	ok := true
	switch a := a.(type) {
	case role.AssignAddress:
		ok = a.Home || !k.foreign(a.Link)
	case role.UnassignAddress:
		ok = a.Prefix.Addr() == homeAddress || !k.lent[placedAddress{a.Link, netip.PrefixFrom(a.Prefix.Addr(), 128)}]
	case role.AddRoute:
		r := a.Route
		ok = !k.foreign(r.Link) || r.Destination == anywhere && (r.From.IsSingleIP() || r.Source == homeAddress)
	case role.ProbeAddress:
		ok = a.Addr == homeAddress || !k.foreign(a.Link)
	case role.ConfigureLink:
		ok = !a.Managed && !a.Other || !k.foreign(a.Link)
	}
	if !ok {
		t.Errorf("on an interface that somebody else manages: %#v", a)
	}
}

// has reports whether an address is on a link.
func (k *kernel) has(link int, a netip.Addr) bool {
	if k.lent[placedAddress{link, netip.PrefixFrom(a, 128)}] {
		return true
	}
	for p := range k.addresses {
		if p.link == link && p.prefix.Addr() == a {
			return true
		}
	}
	return false
}

// leaks tells that a default route leads elsewhere than to the home link.
func (k *kernel) leaks() bool {
	return slices.ContainsFunc(k.plainDefaults(), func(r role.Route) bool {
		return r.Link != k.homeLink && r.Link != k.orphaned && !k.has(r.Link, homeAddress)
	})
}

// plainDefaults are the default routes without a source prefix.
func (k *kernel) plainDefaults() []role.Route {
	var all []role.Route
	for _, r := range k.routes {
		if r.Destination.Bits() == 0 && !r.From.IsValid() {
			all = append(all, r)
		}
	}
	return all
}

// kernelState are the addresses and routes that are left, by their text.
func (b *bench) kernelState() (addresses, routes []string) {
	for a := range b.kernel.addresses {
		addresses = append(addresses, a.prefix.String()+" dev "+string(rune('0'+a.link)))
	}
	for r := range b.kernel.routes {
		routes = append(routes, r)
	}
	slices.Sort(addresses)
	slices.Sort(routes)
	return addresses, routes
}

// empty asserts that nothing is left in the kernel.
func (b *bench) empty() {
	b.Helper()
	if as, rs := b.kernelState(); len(as)+len(rs)+len(b.kernel.regional) != 0 || b.kernel.tunnel != nil {
		b.Errorf("left behind: %v %v %+v %v", as, rs, b.kernel.tunnel, b.kernel.regional)
	}
}

func routeText(r role.Route) string {
	s := r.Destination.String()
	if r.From.IsValid() {
		s += " from " + r.From.String()
	}
	s += " dev " + string(rune('0'+r.Link))
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	return s
}
