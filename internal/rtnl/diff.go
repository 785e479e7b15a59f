package rtnl

import (
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// operationKind is what to do with an address or a route.
type operationKind uint8

const (
	setAddress operationKind = iota + 1 // add, or change flags and lifetimes
	removeAddress
	addRoute
	removeRoute
)

// operation is one step from what is present to what is wanted.
type operation struct {
	kind    operationKind
	address Address    // of setAddress, removeAddress
	route   role.Route // of addRoute, removeRoute
}

func (o operation) format(name func(int) string) string {
	switch o.kind {
	case setAddress:
		return "set address " + formatAddress(o.address, name)
	case removeAddress:
		return "remove address " + formatAddress(o.address, name)
	case addRoute:
		return "add route " + formatRoute(o.route, name)
	case removeRoute:
		return "remove route " + formatRoute(o.route, name)
	default:
		return "unknown operation"
	}
}

// lifetimeSlack is the difference up to which lifetimes are the same. The
// kernel counts whole seconds, and router advertisements every 30 ms must not
// each become a request.
const lifetimeSlack = 2 * time.Second

// diff returns the operations that lead from present to wanted. What is new is
// added before what is stale goes, so that no packet finds neither: addresses
// (routes may name them as source), routes to on-link prefixes, routes via a
// router; then stale routes, then stale addresses. Only a route that changes
// its source address alone is removed first: the kernel holds two such routes
// to be the same.
func diff(wanted, present Snapshot) []operation {
	var ops []operation
	wanted = Snapshot{slices.Clone(wanted.Addresses), slices.Clone(wanted.Routes)}
	present = Snapshot{slices.Clone(present.Addresses), slices.Clone(present.Routes)}
	wanted.sort()
	present.sort()

	had := make(map[linkAddress]Address, len(present.Addresses))
	for _, a := range present.Addresses {
		had[a.key()] = a
	}
	for _, a := range wanted.Addresses {
		old, ok := had[a.key()]
		delete(had, a.key())
		switch {
		case ok && old.Prefix != a.Prefix:
			// Its prefix length cannot be changed.
			ops = append(ops, operation{kind: removeAddress, address: old}, operation{kind: setAddress, address: a})
		case !ok || !sameAddress(old, a):
			ops = append(ops, operation{kind: setAddress, address: a})
		}
	}

	stale := make(map[routeKey][]role.Route, len(present.Routes))
	for _, r := range present.Routes {
		stale[keyOf(r)] = append(stale[keyOf(r)], r)
	}
	var onLink, via []operation
	for _, r := range wanted.Routes {
		k := keyOf(r)
		if i := slices.Index(stale[k], r); i >= 0 {
			stale[k] = slices.Delete(stale[k], i, i+1)
			continue
		}
		var steps []operation
		if i := slices.IndexFunc(stale[k], func(p role.Route) bool { return p.Metric == r.Metric }); i >= 0 {
			steps = append(steps, operation{kind: removeRoute, route: stale[k][i]})
			stale[k] = slices.Delete(stale[k], i, i+1)
		}
		steps = append(steps, operation{kind: addRoute, route: r})
		if r.Via.IsValid() {
			via = append(via, steps...)
		} else {
			onLink = append(onLink, steps...)
		}
	}
	ops = append(append(ops, onLink...), via...)

	for _, r := range present.Routes {
		k := keyOf(r)
		if i := slices.Index(stale[k], r); i >= 0 {
			stale[k] = slices.Delete(stale[k], i, i+1)
			ops = append(ops, operation{kind: removeRoute, route: r})
		}
	}
	for _, a := range present.Addresses {
		if old, ok := had[a.key()]; ok && old == a {
			ops = append(ops, operation{kind: removeAddress, address: a})
		}
	}
	return ops
}

// sameAddress compares two addresses of the same key and prefix length.
func sameAddress(a, b Address) bool {
	return a.Home == b.Home && (a.Preferred == 0) == (b.Preferred == 0) &&
		sameLifetime(a.Valid, b.Valid) && sameLifetime(a.Preferred, b.Preferred)
}

func sameLifetime(a, b time.Duration) bool {
	if (a >= mip6.InfiniteLifetime) != (b >= mip6.InfiniteLifetime) {
		return false
	}
	return (a - b).Abs() <= lifetimeSlack
}
