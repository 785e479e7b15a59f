package sim

import (
	"net/netip"

	"roam6/internal/role"
	"roam6/overlay"
)

// kernel is what a node's roles have put into its kernel and data plane.
type kernel struct {
	addresses map[address]bool // value: deprecated
	routes    map[route]int    // value: metric
	tunnels   map[overlay.Key]overlay.Tunnel
	defended  map[netip.Addr]bool
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
		addresses: make(map[address]bool),
		routes:    make(map[route]int),
		tunnels:   make(map[overlay.Key]overlay.Tunnel),
		defended:  make(map[netip.Addr]bool),
	}
}

// carryOut applies an action of kernel state and reports whether it was one.
func (k *kernel) carryOut(a role.Action) bool {
	switch a := a.(type) {
	case role.AssignAddress:
		k.addresses[address{a.Link, a.Prefix}] = a.Preferred == 0
	case role.UnassignAddress:
		delete(k.addresses, address{a.Link, a.Prefix})
	case role.AddRoute:
		k.routes[routeKey(a.Route)] = a.Route.Metric
	case role.RemoveRoute:
		delete(k.routes, routeKey(a.Route))
	case role.DefendAddress:
		k.defended[a.Addr] = true
	case role.UndefendAddress:
		delete(k.defended, a.Addr)
	case role.Forward:
		for _, c := range a.Changes {
			if c.Set != nil {
				k.tunnels[c.Set.Key] = *c.Set
			} else {
				delete(k.tunnels, c.Remove)
			}
		}
	default:
		return false
	}
	return true
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
