package rtnl

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// Address is an address on an interface, as wanted or as present.
type Address struct {
	Link   int
	Prefix netip.Prefix // address and prefix length
	// Preferred and Valid are what remains; mip6.InfiniteLifetime is for ever. A
	// Preferred of zero is deprecated.
	Preferred, Valid time.Duration
	Home             bool
}

func (a Address) key() linkAddress { return linkAddress{a.Link, a.Prefix.Addr()} }

// Snapshot is kernel state as a value.
type Snapshot struct {
	Addresses []Address
	Routes    []role.Route
}

// routeKey is the identity of a route (role.Route).
type routeKey struct {
	destination netip.Prefix
	from        netip.Prefix // invalid: any source
	link        int
	via         netip.Addr
}

func keyOf(r role.Route) routeKey { return routeKey{r.Destination, r.From, r.Link, r.Via} }

// sort puts the snapshot in the order of its text.
func (s *Snapshot) sort() {
	slices.SortFunc(s.Addresses, compareAddresses)
	slices.SortFunc(s.Routes, compareRoutes)
}

func compareAddresses(a, b Address) int {
	return cmp.Or(cmp.Compare(a.Link, b.Link), a.Prefix.Addr().Compare(b.Prefix.Addr()),
		cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
}

func compareRoutes(a, b role.Route) int {
	return cmp.Or(a.Destination.Addr().Compare(b.Destination.Addr()),
		cmp.Compare(a.Destination.Bits(), b.Destination.Bits()),
		a.From.Addr().Compare(b.From.Addr()), cmp.Compare(a.From.Bits(), b.From.Bits()),
		cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Link, b.Link),
		a.Via.Compare(b.Via), a.Source.Compare(b.Source))
}

// Format renders the snapshot one item a line, sorted, in the manner of ip(8).
// name turns an interface index into a name; nil prints the index.
func (s Snapshot) Format(name func(index int) string) string {
	if name == nil {
		name = func(i int) string { return "if" + strconv.Itoa(i) }
	}
	c := Snapshot{slices.Clone(s.Addresses), slices.Clone(s.Routes)}
	c.sort()
	var b strings.Builder
	for _, a := range c.Addresses {
		fmt.Fprintf(&b, "address %s\n", formatAddress(a, name))
	}
	for _, r := range c.Routes {
		fmt.Fprintf(&b, "route %s\n", formatRoute(r, name))
	}
	return b.String()
}

func formatAddress(a Address, name func(int) string) string {
	s := fmt.Sprintf("%v dev %s valid %s preferred %s", a.Prefix, name(a.Link), lifetime(a.Valid), lifetime(a.Preferred))
	if a.Home {
		s += " home"
	}
	if a.Preferred == 0 {
		s += " deprecated"
	}
	return s
}

func lifetime(d time.Duration) string {
	if d >= mip6.InfiniteLifetime {
		return "forever"
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "sec"
}

func formatRoute(r role.Route, name func(int) string) string {
	s := r.Destination.String()
	if r.Destination.Bits() == 0 {
		s = "default"
	}
	if r.From.IsValid() {
		s += " from " + r.From.String()
	}
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	if r.Unreachable {
		return s + " unreachable metric " + strconv.Itoa(r.Metric)
	}
	s += " dev " + name(r.Link)
	if r.Source.IsValid() {
		s += " src " + r.Source.String()
	}
	return s + " metric " + strconv.Itoa(r.Metric)
}
