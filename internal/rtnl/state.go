package rtnl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/role"
	"roam6/mip6"
)

// StateOptions configure a State.
type StateOptions struct {
	Log *slog.Logger // nil is silent
	// Local, when not nil, learns of every address that is assigned, before the
	// kernel's notification of it.
	Local *LocalAddresses
}

// State is what the node wants of the kernel: addresses and routes, as values.
// It applies each change at once, and again whenever the kernel has lost it:
// the Watcher tells. Addresses and routes of others are left alone, also where
// they are the same as ours. It may be used by several goroutines; each call
// that changes something is one or two exchanges with the kernel.
type State struct {
	log   *slog.Logger
	local *LocalAddresses
	now   func() time.Time

	mu       sync.Mutex
	requests *requests
	closed   bool
	homeLink int

	// What is wanted, as asked for: link 0 is the home link.
	wantedAddresses map[linkAddress]addressEntry
	wantedRoutes    map[routeKey]role.Route

	// What the kernel has of us, to the best of our knowledge; never link 0.
	addresses map[linkAddress]addressEntry
	routes    map[role.Route]struct{}
	neighbors map[linkAddress]struct{}

	// What is wanted and present already, but is somebody else's.
	foreignAddresses map[linkAddress]struct{}
	foreignRoutes    map[routeKey]struct{}

	down    map[int]bool // interfaces known to be administratively down
	tagging tagging
	settled bool // Reconcile was called: what is present and not wanted is stale
}

// tagging says whether the kernel keeps the tags of addresses (5.18).
type tagging uint8

const (
	taggingUnknown tagging = iota
	taggingWorks
	taggingMissing
)

// addressEntry is an Address with points in time in place of what remains; the
// zero time is for ever.
type addressEntry struct {
	prefix                     netip.Prefix
	home                       bool
	deprecated                 bool
	preferredUntil, validUntil time.Time
}

func until(now time.Time, d time.Duration) time.Time {
	if d >= mip6.InfiniteLifetime {
		return time.Time{}
	}
	return now.Add(d)
}

func remaining(now, end time.Time) time.Duration {
	if end.IsZero() {
		return mip6.InfiniteLifetime
	}
	return max(end.Sub(now), 0)
}

func entryOf(now time.Time, a Address) addressEntry {
	return addressEntry{a.Prefix, a.Home, a.Preferred <= 0, until(now, a.Preferred), until(now, a.Valid)}
}

// at returns the entry as an Address on a link; ok is false when it has expired.
func (e addressEntry) at(now time.Time, link int) (a Address, ok bool) {
	a = Address{Link: link, Prefix: e.prefix, Home: e.home, Valid: remaining(now, e.validUntil)}
	if !e.deprecated {
		a.Preferred = remaining(now, e.preferredUntil)
	}
	return a, a.Valid > 0
}

// NewState opens a State in the calling thread's network namespace. It changes
// nothing yet. What a predecessor left keeps working: what is asked for again is
// adopted, and the rest removed by the first call of Reconcile.
func NewState(o StateOptions) (*State, error) {
	q, err := openRequests()
	if err != nil {
		return nil, err
	}
	s := &State{
		log: orSilent(o.Log), local: o.Local, now: time.Now, requests: q,
		wantedAddresses: make(map[linkAddress]addressEntry), wantedRoutes: make(map[routeKey]role.Route),
		addresses: make(map[linkAddress]addressEntry), routes: make(map[role.Route]struct{}),
		neighbors:        make(map[linkAddress]struct{}),
		foreignAddresses: make(map[linkAddress]struct{}), foreignRoutes: make(map[routeKey]struct{}),
		down: make(map[int]bool),
	}
	if _, err := s.takeStock(); err != nil {
		q.close()
		return nil, err
	}
	return s, nil
}

// AssignAddress puts an address on an interface, or changes its lifetimes;
// it can be used as a source as soon as this returns. A Valid of zero takes it
// away. Without the interface the error is ErrDeferred.
func (s *State) AssignAddress(a role.AssignAddress) error {
	addr := a.Prefix.Addr()
	if !a.Prefix.IsValid() || !addr.Is6() || addr.Is4In6() {
		return fmt.Errorf("assign address: %v is not an IPv6 address and prefix length", a.Prefix)
	}
	if a.Valid <= 0 {
		return s.UnassignAddress(role.UnassignAddress{Link: a.Link, Prefix: a.Prefix})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	k := linkAddress{a.Link, addr.WithZone("")}
	s.wantedAddresses[k] = entryOf(s.now(), Address{
		Prefix: netip.PrefixFrom(k.addr, a.Prefix.Bits()), Preferred: a.Preferred, Valid: a.Valid, Home: a.Home,
	})
	if err := s.applyAddress(s.resolve(k)); err != nil {
		return fmt.Errorf("assign %v to interface %d: %w", a.Prefix, a.Link, err)
	}
	return nil
}

// UnassignAddress takes away an address that AssignAddress put there.
func (s *State) UnassignAddress(a role.UnassignAddress) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	k := linkAddress{a.Link, a.Prefix.Addr().WithZone("")}
	delete(s.wantedAddresses, k)
	k = s.resolve(k)
	delete(s.foreignAddresses, k)
	s.local.withdrawn(k)
	if err := s.applyAddress(k); err != nil {
		return fmt.Errorf("remove %v from interface %d: %w", a.Prefix, a.Link, err)
	}
	return nil
}

// AddRoute installs a route in the main table. A metric of zero is
// DefaultMetric. Routes to one destination with the same metric share the
// traffic, as ever in Linux: give them different metrics to prefer one. Without
// the interface the error is ErrDeferred.
func (s *State) AddRoute(a role.AddRoute) error {
	r := normalRoute(a.Route)
	if !r.Destination.IsValid() || !r.Destination.Addr().Is6() {
		return fmt.Errorf("add route: %v is not an IPv6 prefix", a.Route.Destination)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.wantedRoutes[keyOf(r)] = r
	if err := s.applyRoute(keyOf(s.resolveRoute(r))); err != nil {
		return fmt.Errorf("add route %s: %w", formatRoute(r, linkNumber), err)
	}
	return nil
}

// RemoveRoute removes a route that AddRoute installed; its metric and source
// do not matter.
func (s *State) RemoveRoute(a role.RemoveRoute) error {
	r := normalRoute(a.Route)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	delete(s.wantedRoutes, keyOf(r))
	k := keyOf(s.resolveRoute(r))
	delete(s.foreignRoutes, k)
	if err := s.applyRoute(k); err != nil {
		return fmt.Errorf("remove route %s: %w", formatRoute(r, linkNumber), err)
	}
	return nil
}

// LearnNeighbor records a neighbour's link-layer address: the first packet to
// it leaves at once, and the kernel verifies the neighbour afterwards. An entry
// that has the same link-layer address already is left as it is. Entries are a
// cache: they are not restored when the link loses its carrier, and removed by
// Close.
func (s *State) LearnNeighbor(n role.LearnNeighbor) error {
	if n.Ethernet == ([6]byte{}) {
		return nil // a link without link-layer addresses
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	n.Addr = n.Addr.WithZone("")
	if err := s.requests.learn(n); err != nil {
		return fmt.Errorf("learn neighbour %v on interface %d: %w", n.Addr, n.Link, err)
	}
	s.neighbors[linkAddress{n.Link, n.Addr}] = struct{}{}
	return nil
}

// SetHomeLink says which interface link 0 stands for: the data plane's device.
// What waited for it is applied.
func (s *State) SetHomeLink(index int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.homeLink == index {
		return nil
	}
	s.homeLink = index
	return s.reconcile()
}

// Reconcile compares what the kernel has of ours, a predecessor's included,
// with what is wanted, keeps what is right, removes what is stale and adds what
// is missing. Where some operations fail the others are done all the same; the
// error joins one per failure. Call it once the roles have said what they want;
// until then nothing is stale.
func (s *State) Reconcile() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.settled = true
	return s.reconcile()
}

// Wanted returns what is wanted now, with link 0 as the home link; what waits
// for a home link is not in it.
func (s *State) Wanted() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.wanted(func(int) bool { return true })
	w.sort()
	return w
}

// Present asks the kernel for what it has of ours.
func (s *State) Present() (Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Snapshot{}, ErrClosed
	}
	p, err := s.dump()
	p.sort()
	return p, err
}

// Close withdraws everything from the kernel and ends the State.
func (s *State) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	for k := range s.wantedAddresses {
		s.local.withdrawn(s.resolve(k))
	}
	clear(s.wantedAddresses)
	clear(s.wantedRoutes)
	present, err := s.takeStock()
	if err == nil {
		err = s.carryOut(diff(Snapshot{}, present))
	}
	for k := range s.neighbors {
		if e := s.requests.forget(k.link, k.addr); e != nil && !errorIs(e, unix.ENOENT, unix.ENODEV, unix.ENXIO) {
			err = errors.Join(err, fmt.Errorf("forget neighbour %v on interface %d: %w", k.addr, k.link, e))
		}
	}
	s.closed = true
	s.requests.close()
	return err
}

func linkNumber(i int) string { return fmt.Sprintf("if%d", i) }

func normalRoute(r role.Route) role.Route {
	r.Destination = r.Destination.Masked()
	r.Via = r.Via.WithZone("")
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

// applyAddress brings one address, by its resolved key, to what is wanted.
func (s *State) applyAddress(k linkAddress) error {
	w := s.wanted(func(link int) bool { return link == k.link })
	var wanted, present Snapshot
	for _, a := range w.Addresses {
		if a.key() == k {
			wanted.Addresses = append(wanted.Addresses, a)
		}
	}
	if _, ok := s.wantedEntry(k); ok && !s.usable(k.link) {
		return ErrDeferred
	}
	if e, ok := s.addresses[k]; ok {
		a, _ := e.at(s.now(), k.link)
		present.Addresses = append(present.Addresses, a)
	}
	return s.carryOut(diff(wanted, present))
}

// applyRoute brings one route, by its resolved key, to what is wanted.
func (s *State) applyRoute(k routeKey) error {
	w := s.wanted(func(link int) bool { return link == k.link })
	var wanted, present Snapshot
	for _, r := range w.Routes {
		if keyOf(r) == k {
			wanted.Routes = append(wanted.Routes, r)
		}
	}
	if _, ok := s.wantedRoute(role.Route{Destination: k.destination, Link: k.link, Via: k.via}); ok && !s.usable(k.link) {
		return ErrDeferred
	}
	for r := range s.routes {
		if keyOf(r) == k {
			present.Routes = append(present.Routes, r)
		}
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
		s.routes[r] = struct{}{}
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
	present, err := s.takeStock()
	if err != nil {
		return fmt.Errorf("reconcile: %w", err)
	}
	// What somebody else has is found out anew by the operations: it may be gone.
	clear(s.foreignAddresses)
	clear(s.foreignRoutes)
	wanted := s.wanted(s.usable)
	present.Addresses = filter(present.Addresses, func(a Address) bool {
		_, ok := s.wantedEntry(a.key())
		return s.usable(a.Link) && (ok || s.settled)
	})
	present.Routes = filter(present.Routes, func(r role.Route) bool {
		_, ok := s.wantedRoute(r)
		return s.usable(r.Link) && (ok || s.settled)
	})
	return s.carryOut(diff(wanted, present))
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
		delete(s.addresses, k)
		if _, still := s.wantedEntry(k); !still {
			s.local.withdrawn(k)
		}
		return nil
	case addRoute:
		return s.addRoute(o.route)
	case removeRoute:
		err := s.requests.deleteRoute(o.route)
		if err != nil && !errorIs(err, unix.ESRCH, unix.ENODEV, unix.ENOENT) {
			return err
		}
		delete(s.routes, o.route)
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
	case err != nil:
		return err
	}
	s.routes[r] = struct{}{}
	return nil
}

// The Watcher's side.

// linkAdmin notes whether an interface is administratively up, and reports
// whether it has just come up, so that what is wanted there must be applied.
func (s *State) linkAdmin(index int, up bool) (reconcile bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.down[index]
	if up {
		delete(s.down, index)
	} else {
		s.down[index] = true
	}
	return was && up
}

// linkGone forgets what was wanted on an interface that was removed: its index
// does not come back.
func (s *State) linkGone(index int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.down, index)
	for k := range s.wantedAddresses {
		if s.resolve(k).link == index {
			s.local.withdrawn(s.resolve(k))
		}
		if k.link == index {
			delete(s.wantedAddresses, k)
		}
	}
	for k := range s.wantedRoutes {
		if k.link == index {
			delete(s.wantedRoutes, k)
		}
	}
	for k := range s.addresses {
		if k.link == index {
			delete(s.addresses, k)
		}
	}
	for r := range s.routes {
		if r.Link == index {
			delete(s.routes, r)
		}
	}
	for k := range s.neighbors {
		if k.link == index {
			delete(s.neighbors, k)
		}
	}
	if s.homeLink == index {
		s.homeLink = 0
	}
}

// addressGone reports whether the kernel lost an address that is wanted. One
// that has expired is not wanted any more.
func (s *State) addressGone(k linkAddress) (reconcile bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, wanted := s.wantedEntry(k)
	if wanted {
		if _, valid := e.at(s.now().Add(time.Second), k.link); !valid {
			delete(s.wantedAddresses, k)
			delete(s.wantedAddresses, linkAddress{0, k.addr})
			wanted = false
		}
	}
	if !wanted {
		delete(s.addresses, k)
		s.local.withdrawn(k)
		return false
	}
	return s.usable(k.link)
}

// routeGone reports whether the kernel lost a route that is wanted.
func (s *State) routeGone(r role.Route) (reconcile bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, wanted := s.wantedRoute(r)
	return wanted && s.usable(r.Link)
}

// restore reconciles on the Watcher's behalf.
func (s *State) restore(why string) {
	s.mu.Lock()
	err := ErrClosed
	if !s.closed {
		err = s.reconcile()
	}
	s.mu.Unlock()
	switch {
	case err == nil:
		s.log.LogAttrs(context.Background(), slog.LevelDebug, "kernel state restored", slog.String("after", why))
	case errors.Is(err, ErrClosed), errors.Is(err, ErrDeferred):
	default:
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "kernel state could not be restored completely",
			slog.String("after", why), slog.Any("error", err))
	}
}
