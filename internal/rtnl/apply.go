package rtnl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
	"roam6/internal/role"
)

// This file brings the kernel to what State wants: which values to compare, and
// what to do about the kernel's answers. All of it runs with the State locked.

func linkNumber(i int) string { return fmt.Sprintf("if%d", i) }

// loopback is the interface on which the kernel has routes that lead nowhere: the
// first of every network namespace.
const loopback = 1

func normalRoute(r role.Route) role.Route {
	r.Destination = r.Destination.Masked()
	if r.From = r.From.Masked(); r.From.Bits() == 0 {
		r.From = netip.Prefix{} // from anywhere
	}
	r.Via = r.Via.WithZone("")
	if r.Unreachable {
		r.Link, r.Via, r.Source = loopback, netip.Addr{}, netip.Addr{}
	}
	if r.Metric == 0 {
		r.Metric = DefaultMetric
	}
	return r
}

func (s *State) resolve(k linkAddress) linkAddress {
	if k.link == 0 {
		k.link = s.homeLink
	}
	return k
}

func (s *State) resolveRoute(r role.Route) role.Route {
	if r.Link == 0 {
		r.Link = s.homeLink
	}
	return r
}

// usable reports whether something can be put on an interface.
func (s *State) usable(link int) bool { return link != 0 && !s.down[link] }

// wanted returns what is wanted on the interfaces that pass, without what is
// somebody else's already.
func (s *State) wanted(pass func(link int) bool) Snapshot {
	now := s.now()
	var w Snapshot
	for k, e := range s.wantedAddresses {
		k = s.resolve(k)
		if _, foreign := s.foreignAddresses[k]; foreign || k.link == 0 || !pass(k.link) {
			continue
		}
		if a, ok := e.at(now, k.link); ok {
			w.Addresses = append(w.Addresses, a)
		}
	}
	for _, r := range s.wantedRoutes {
		r = s.resolveRoute(r)
		if _, foreign := s.foreignRoutes[keyOf(r)]; foreign || r.Link == 0 || !pass(r.Link) {
			continue
		}
		w.Routes = append(w.Routes, r)
	}
	return w
}

// applyAddress brings one address, by its resolved key, to what is wanted. What it
// costs does not depend on how many there are.
func (s *State) applyAddress(k linkAddress) error {
	entry, ok := s.wantedEntry(k)
	if ok && !s.usable(k.link) {
		return ErrDeferred
	}
	var wanted, present Snapshot
	if _, foreign := s.foreignAddresses[k]; ok && !foreign {
		if a, ok := entry.at(s.now(), k.link); ok {
			wanted.Addresses = append(wanted.Addresses, a)
		}
	}
	if e, ok := s.addresses[k]; ok {
		a, _ := e.at(s.now(), k.link)
		present.Addresses = append(present.Addresses, a)
	}
	return s.carryOut(diff(wanted, present))
}

// applyRoute brings one route, by its resolved key, to what is wanted. What it
// costs does not depend on how many there are.
func (s *State) applyRoute(k routeKey) error {
	r, ok := s.wantedRoute(role.Route{Destination: k.destination, From: k.from, Link: k.link, Via: k.via})
	if ok && !s.usable(k.link) {
		return ErrDeferred
	}
	wanted, present := Snapshot{}, Snapshot{Routes: s.routes[k]}
	if _, foreign := s.foreignRoutes[k]; ok && !foreign {
		wanted.Routes = append(wanted.Routes, s.resolveRoute(r))
	}
	return s.carryOut(diff(wanted, present))
}

// takeStock learns what the kernel has of ours.
func (s *State) takeStock() (Snapshot, error) {
	present, err := s.dump()
	if err != nil {
		return present, err
	}
	now := s.now()
	clear(s.addresses)
	clear(s.routes)
	for _, a := range present.Addresses {
		s.addresses[a.key()] = entryOf(now, a)
	}
	for _, r := range present.Routes {
		s.holds(r)
	}
	return present, nil
}

// reconcile is Reconcile, locked. Interfaces that are down are left out on both
// sides: the kernel has lost what they had, and when they come up the Watcher
// tells. Which are down is asked anew: a route may be heard to vanish before its
// interface is heard to go down.
func (s *State) reconcile() error {
	links, err := s.requests.links()
	if err != nil {
		return fmt.Errorf("reconcile: %w", err)
	}
	clear(s.down)
	for _, l := range links {
		if !l.adminUp {
			s.down[l.index] = true
		}
	}
	// What somebody else has is found out anew by the operations: it may be gone.
	clear(s.foreignAddresses)
	clear(s.foreignRoutes)
	ops, err := s.catchUp()
	if slices.ContainsFunc(ops, s.isSource) {
		// The kernel tells of an address that is gone before it takes it from the routes
		// as their source, which it does without a word; while it does, no address can be
		// set. Now that one has been, stock may be taken of the routes.
		_, err = s.catchUp()
	}
	err = errors.Join(err, s.forgetReceptions())
	if !s.settled && !s.steered {
		return err
	}
	return errors.Join(err, s.applySteering())
}

// catchUp brings the kernel to what is wanted, by the operations that it returns.
func (s *State) catchUp() ([]operation, error) {
	present, err := s.takeStock()
	if err != nil {
		return nil, fmt.Errorf("reconcile: %w", err)
	}
	wanted := s.wanted(s.usable)
	present.Addresses = filter(present.Addresses, func(a Address) bool {
		_, ok := s.wantedEntry(a.key())
		return s.usable(a.Link) && (ok || s.settled)
	})
	present.Routes = filter(present.Routes, func(r role.Route) bool {
		_, ok := s.wantedRoute(r)
		return s.usable(r.Link) && (ok || s.settled)
	})
	ops := diff(wanted, present)
	return ops, s.carryOut(ops)
}

// isSource reports whether an operation sets an address that is the source of a route.
func (s *State) isSource(o operation) bool {
	if o.kind != setAddress {
		return false
	}
	for _, r := range s.wantedRoutes {
		if r.Source == o.address.Prefix.Addr() {
			return true
		}
	}
	return false
}

func filter[T any](in []T, keep func(T) bool) []T {
	var out []T
	for _, v := range in {
		if keep(v) {
			out = append(out, v)
		}
	}
	return out
}

// dump returns what the kernel has of ours: what carries our tag, and on a
// kernel that does not tag addresses those we remember.
func (s *State) dump() (Snapshot, error) {
	addresses, err := s.requests.addresses()
	if err != nil {
		return Snapshot{}, err
	}
	routes, err := s.requests.routes()
	if err != nil {
		return Snapshot{}, err
	}
	p := Snapshot{Routes: routes}
	for _, a := range addresses {
		_, remembered := s.addresses[a.key()]
		if a.tag == Protocol || s.tagging == taggingMissing && remembered {
			p.Addresses = append(p.Addresses, a.Address)
		}
	}
	return p, nil
}

func (s *State) carryOut(ops []operation) error {
	var failures []error
	for _, o := range ops {
		err := s.perform(o)
		if err != nil {
			err = fmt.Errorf("%s: %w", o.format(linkNumber), err)
			failures = append(failures, err)
		}
		s.log.LogAttrs(context.Background(), slog.LevelDebug, "kernel state",
			slog.String("operation", o.format(linkNumber)), slog.Any("error", err))
	}
	return errors.Join(failures...)
}

// perform does one operation. What the kernel has already, or has lost already,
// is no error.
func (s *State) perform(o operation) error {
	switch o.kind {
	case setAddress:
		return s.setAddress(o.address)
	case removeAddress:
		k := o.address.key()
		err := s.requests.deleteAddress(o.address)
		if err != nil && !errorIs(err, unix.EADDRNOTAVAIL, unix.ENODEV, unix.ENXIO) {
			return err
		}
		if err := s.ignore(k); err != nil {
			return err
		}
		delete(s.addresses, k)
		if _, still := s.wantedEntry(k); !still {
			s.local.withdrawn(k)
		}
		return nil
	case addRoute:
		return s.addRoute(o.route)
	case removeRoute:
		err := s.requests.deleteRoute(o.route)
		if err != nil && !nlsock.Gone(err) {
			return err
		}
		s.lost(o.route)
		return nil
	default:
		return fmt.Errorf("unknown operation %d", o.kind)
	}
}

// wantedEntry finds a wanted address by its resolved key.
func (s *State) wantedEntry(k linkAddress) (addressEntry, bool) {
	if e, ok := s.wantedAddresses[k]; ok {
		return e, true
	}
	if k.link == s.homeLink {
		e, ok := s.wantedAddresses[linkAddress{0, k.addr}]
		return e, ok
	}
	return addressEntry{}, false
}

// wantedRoute finds a wanted route by a present one.
func (s *State) wantedRoute(r role.Route) (role.Route, bool) {
	if w, ok := s.wantedRoutes[keyOf(r)]; ok {
		return w, true
	}
	if r.Link == s.homeLink {
		r.Link = 0
		w, ok := s.wantedRoutes[keyOf(r)]
		return w, ok
	}
	return role.Route{}, false
}

func (s *State) setAddress(a Address) error {
	k := a.key()
	flags := unix.NLM_F_EXCL
	if _, ours := s.addresses[k]; ours {
		flags = unix.NLM_F_REPLACE
	}
	err := s.requests.newAddress(a, flags)
	if errors.Is(err, unix.EEXIST) {
		p, lookErr := s.requests.address(a)
		if lookErr == nil && p.tag != Protocol && s.tagging != taggingMissing {
			s.foreignAddresses[k] = struct{}{}
			s.log.LogAttrs(context.Background(), slog.LevelInfo, "address is there already, from somebody else: left alone",
				slog.String("address", a.Prefix.String()), slog.Int("link", a.Link))
			return nil
		}
		err = s.requests.newAddress(a, unix.NLM_F_REPLACE)
	}
	switch {
	case errorIs(err, unix.ENODEV, unix.ENXIO, unix.ENETDOWN):
		return fmt.Errorf("%w (%w)", ErrDeferred, err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: IPv6 is switched off on the interface (sysctl disable_ipv6)", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: run as root or with CAP_NET_ADMIN", err)
	case err != nil:
		return err
	}
	if flags == unix.NLM_F_EXCL {
		s.receive(k)
	}
	s.addresses[k] = entryOf(s.now(), a)
	s.local.assigned(k)
	if s.tagging == taggingUnknown {
		s.learnTagging(a)
	}
	return nil
}

// learnTagging looks whether the kernel kept the tag of our first address.
func (s *State) learnTagging(a Address) {
	p, err := s.requests.address(a)
	if err != nil {
		return
	}
	if s.tagging = taggingWorks; p.tag != Protocol {
		s.tagging = taggingMissing
		s.log.LogAttrs(context.Background(), slog.LevelWarn,
			"this kernel (before 5.18) does not keep the origin of addresses: after a crash, addresses of the killed instance stay until they expire")
	}
}

func (s *State) addRoute(r role.Route) error {
	err := s.requests.newRoute(r)
	if errors.Is(err, unix.EEXIST) {
		// Somebody's, or ours with another source address. Only ours can be removed.
		if e := s.requests.deleteRoute(r); e != nil {
			s.foreignRoutes[keyOf(r)] = struct{}{}
			s.log.LogAttrs(context.Background(), slog.LevelInfo, "route is there already, from somebody else: left alone",
				slog.String("route", formatRoute(r, linkNumber)))
			return nil
		}
		err = s.requests.newRoute(r)
	}
	switch {
	case errorIs(err, unix.ENODEV, unix.ENETDOWN):
		return fmt.Errorf("%w (%w)", ErrDeferred, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: run as root or with CAP_NET_ADMIN", err)
	case errors.Is(err, unix.EINVAL) && r.From.IsValid():
		return fmt.Errorf("%w: the kernel lacks CONFIG_IPV6_SUBTREES, or the preferred source is not assigned", err)
	case err != nil:
		return err
	}
	s.holds(r)
	return nil
}

// holds notes that the kernel has a route of ours.
func (s *State) holds(r role.Route) {
	if k := keyOf(r); !slices.Contains(s.routes[k], r) {
		s.routes[k] = append(s.routes[k], r)
	}
}

// lost notes that the kernel has a route of ours no more.
func (s *State) lost(r role.Route) {
	k := keyOf(r)
	s.routes[k] = slices.DeleteFunc(s.routes[k], func(p role.Route) bool { return p == r })
	if len(s.routes[k]) == 0 {
		delete(s.routes, k)
	}
}
