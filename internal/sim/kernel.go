package sim

import (
	"net/netip"
	"slices"

	"roam6/internal/role"
	"roam6/overlay"
)

// kernel is what a host's roles have put into its kernel and data plane. An
// address or route that several roles want stays until the last one lets go.
type kernel struct {
	addresses map[address][]*runner
	routes    map[route][]*runner
	tunnels   map[overlay.Key]overlay.Tunnel
	optimised map[overlay.Pair]overlay.Route
	defended  map[netip.Addr]bool
	anycast   map[netip.Addr]bool
}

type address struct {
	link   int
	prefix netip.Prefix
}

type route struct {
	destination netip.Prefix
	from        netip.Prefix
	link        int
	via         netip.Addr
}

func newKernel() kernel {
	return kernel{
		addresses: make(map[address][]*runner),
		routes:    make(map[route][]*runner),
		tunnels:   make(map[overlay.Key]overlay.Tunnel),
		optimised: make(map[overlay.Pair]overlay.Route),
		defended:  make(map[netip.Addr]bool),
		anycast:   make(map[netip.Addr]bool),
	}
}

// carryOut applies an action of kernel state and reports whether it was one.
func (k *kernel) carryOut(by *runner, a role.Action) bool {
	switch a := a.(type) {
	case role.AssignAddress:
		hold(k.addresses, address{a.Link, a.Prefix}, by)
	case role.UnassignAddress:
		release(k.addresses, address{a.Link, a.Prefix}, by)
	case role.AddRoute:
		hold(k.routes, routeKey(a.Route), by)
	case role.RemoveRoute:
		release(k.routes, routeKey(a.Route), by)
	case role.DefendAddress:
		k.defended[a.Addr] = true
	case role.UndefendAddress:
		delete(k.defended, a.Addr)
	case role.JoinAnycast:
		k.anycast[a.Addr] = true
	case role.LeaveAnycast:
		delete(k.anycast, a.Addr)
	case role.Forward:
		for _, c := range a.Changes {
			k.change(c)
		}
	default:
		return false
	}
	return true
}

func (k *kernel) change(c overlay.Change) {
	switch {
	case c.Set != nil:
		k.tunnels[c.Set.Key] = *c.Set
	case c.Optimise != nil:
		k.optimised[c.Optimise.Pair] = *c.Optimise
	case c.Deoptimise != nil:
		delete(k.optimised, *c.Deoptimise)
	default:
		delete(k.tunnels, c.Remove)
	}
}

func hold[K comparable](m map[K][]*runner, key K, by *runner) {
	if !slices.Contains(m[key], by) {
		m[key] = append(m[key], by)
	}
}

func release[K comparable](m map[K][]*runner, key K, by *runner) {
	left := slices.DeleteFunc(m[key], func(r *runner) bool { return r == by })
	if m[key] = left; len(left) == 0 {
		delete(m, key)
	}
}

func routeKey(r role.Route) route { return route{r.Destination, r.From, r.Link, r.Via} }

// has reports whether an address is assigned to a link; link 0 is the data
// plane's device.
func (k *kernel) has(link int, a netip.Addr) bool {
	for x := range k.addresses {
		if x.link == link && x.prefix.Addr() == a {
			return true
		}
	}
	return false
}

// inner finds the tunnel for an inner address. No two on one side have the same,
// but those of two home addresses of a mobile router: the first one then.
func (k *kernel) inner(side overlay.Side, a netip.Addr) (found overlay.Tunnel, ok bool) {
	for key, t := range k.tunnels {
		if key.Side == side && slices.ContainsFunc(t.Inner, func(p netip.Prefix) bool { return p.Contains(a) }) &&
			(!ok || key.Home.Less(found.Home)) {
			found, ok = t, true
		}
	}
	return found, ok
}

// mobileKey names the tunnel of a home address or a regional care-of address.
func mobileKey(home netip.Addr) overlay.Key { return overlay.Key{Home: home, Side: overlay.MobileSide} }

// beneath finds the tunnel on which another one is stacked.
func (k *kernel) beneath(t overlay.Tunnel) (lower overlay.Tunnel, ok bool) {
	if t.Side != overlay.MobileSide || len(t.Paths) == 0 {
		return lower, false
	}
	lower, ok = k.tunnels[mobileKey(t.Paths[0].Local)]
	return lower, ok
}

// begins reports whether an optimised route begins where the tunnel of its home address
// does, or at the regional care-of address there that the home agent is being told.
func (k *kernel) begins(r overlay.Route, t overlay.Tunnel) bool {
	lower, regional := k.tunnels[mobileKey(r.CareOf)]
	return r.CareOf == t.Paths[0].Local && r.Link == t.Paths[0].Link || regional && lower.Paths[0] == (overlay.Path{
		Local: t.Paths[0].Local, Remote: lower.Paths[0].Remote, Link: t.Paths[0].Link})
}

// gateway finds the router on the home link by which a home agent sends packets to an
// address: that of the longest prefix. It is invalid where the route leads nowhere, and
// there is none where they take the default route.
func (k *kernel) gateway(a netip.Addr) (via netip.Addr, ok bool) {
	bits := 0
	for r := range k.routes {
		if !r.from.IsValid() && r.destination.Contains(a) && r.destination.Bits() > bits {
			via, ok, bits = r.via, true, r.destination.Bits()
		}
	}
	return via, ok
}
