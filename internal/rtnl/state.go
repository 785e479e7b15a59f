package rtnl

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/deadline"
	"roam6/internal/role"
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
	routes    map[routeKey][]role.Route
	neighbors map[linkAddress]struct{}

	// What is wanted and present already, but is somebody else's.
	foreignAddresses map[linkAddress]struct{}
	foreignRoutes    map[routeKey]struct{}

	steering  []Steering            // wanted, in order
	tables    map[netip.Addr]uint32 // of the home addresses in it
	steered   bool                  // Steer was called: what is present and not wanted is stale
	unsteered bool                  // the kernel has nothing of it, and nothing is wanted

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

func entryOf(now time.Time, a Address) addressEntry {
	return addressEntry{a.Prefix, a.Home, a.Preferred <= 0, deadline.Of(now, a.Preferred), deadline.Of(now, a.Valid)}
}

// at returns the entry as an Address on a link; ok is false when it has expired.
func (e addressEntry) at(now time.Time, link int) (a Address, ok bool) {
	a = Address{Link: link, Prefix: e.prefix, Home: e.home, Valid: deadline.Remaining(now, e.validUntil)}
	if !e.deprecated {
		a.Preferred = deadline.Remaining(now, e.preferredUntil)
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
		addresses: make(map[linkAddress]addressEntry), routes: make(map[routeKey][]role.Route),
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

// AssignAddress puts an address on an interface, or changes its lifetimes. It
// can be used as source and destination as soon as this returns. A
// Valid of zero takes it away. Without the interface the error is ErrDeferred.
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
	if s.steers(k.addr) {
		return s.applySteering()
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
	if r.From.IsValid() && !r.From.Addr().Is6() {
		return fmt.Errorf("add route: source %v is not an IPv6 prefix", a.Route.From)
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

// ForgetNeighbor removes a neighbour from the kernel's cache, so that its address is
// resolved anew for the next packet to it. What waited for it is lost.
func (s *State) ForgetNeighbor(n role.ForgetNeighbor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	n.Addr = n.Addr.WithZone("")
	delete(s.neighbors, linkAddress{n.Link, n.Addr})
	if err := s.requests.forget(n.Link, n.Addr); err != nil && !errorIs(err, unix.ENOENT) {
		return fmt.Errorf("forget neighbour %v on interface %d: %w", n.Addr, n.Link, err)
	}
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
	s.steering, s.steered = nil, true
	err := s.applySteering()
	present, e := s.takeStock()
	if e == nil {
		e = s.carryOut(diff(Snapshot{}, present))
	}
	err = errors.Join(err, e)
	for k := range s.neighbors {
		if e := s.requests.forget(k.link, k.addr); e != nil && !errorIs(e, unix.ENOENT, unix.ENODEV, unix.ENXIO) {
			err = errors.Join(err, fmt.Errorf("forget neighbour %v on interface %d: %w", k.addr, k.link, e))
		}
	}
	s.closed = true
	s.requests.close()
	return err
}
