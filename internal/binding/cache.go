// Package binding is what every node that keeps bindings for others has in
// common: the binding cache (RFC 6275 §9.1) with its deadlines, the arithmetic
// of lifetimes, and the check that tells a fresh binding update from a repeated
// one. Home agent, correspondent node and mobility anchor point build on it. A
// correspondent's bindings have another key and other contents, so it keeps them
// itself and shares the Deadlines.
//
// An entry holds several care-of addresses from the start (RFC 5648), each as
// an overlay.Path, which can also be UDP over IPv4 (RFC 5555). Nothing here
// reads a clock or knows what a role does with its bindings.
package binding

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"roam6/mip6"
	"roam6/overlay"
)

// ErrFull is returned when a cache has reached its limit.
var ErrFull = errors.New("binding cache is full")

// State is where an entry is in its life.
type State uint8

// States of an entry. Only an active one is a binding: it forwards packets and
// is counted as a registration.
const (
	// Probing: accepted, while duplicate address detection for the home address
	// runs and before anything is forwarded (RFC 6275 §10.3.1).
	Probing State = iota + 1
	// Active: registered.
	Active
	// Deleted: de-registered and kept for a while, so that a delayed older
	// binding update is recognised as such (RFC 6275 §10.3.2).
	Deleted
)

func (s State) String() string {
	switch s {
	case Probing:
		return "probing"
	case Active:
		return "active"
	case Deleted:
		return "deleted"
	default:
		return "unknown"
	}
}

// Entry is one binding: a home address and the care-of addresses it is reached
// through. Paths and Prefixes are replaced as a whole and never changed in
// place, so that a copy of an Entry is a snapshot.
type Entry struct {
	Home  netip.Addr
	State State
	// Paths lead to the care-of addresses, the preferred one first. Paths with
	// binding identifiers (RFC 5648) have one each.
	Paths []overlay.Path
	// Prefixes are the mobile network prefixes that are forwarded to the paths
	// (RFC 3963 §6.1.1).
	Prefixes []netip.Prefix
	// Explicit tells that the mobile router named the prefixes itself.
	Explicit bool
	// Flags are those of the binding update that was accepted last.
	Flags mip6.UpdateFlags
	// Sequence is that update's number; there is one sequence space for a home
	// address, however many care-of addresses it has (RFC 5648 §4.1).
	Sequence mip6.Sequence
	// Lifetime was granted at Updated; Expires is when it ends. Of a deleted
	// entry, Expires is when it is forgotten.
	Lifetime mip6.Lifetime
	Expires  time.Time
	Created  time.Time
	Updated  time.Time

	Deadline // set by Cache.Wake
}

// CareOf is the preferred care-of address; invalid while there is none.
func (e *Entry) CareOf() netip.Addr {
	if len(e.Paths) == 0 {
		return netip.Addr{}
	}
	return e.Paths[0].Remote
}

// HasCareOf reports whether addr is one of the care-of addresses.
func (e *Entry) HasCareOf(addr netip.Addr) bool {
	return slices.ContainsFunc(e.Paths, func(p overlay.Path) bool { return p.Remote == addr })
}

// Cache is a binding cache, keyed by home address. Each entry can have one
// deadline, at which its owner is to look at it. The zero Cache is not usable.
type Cache struct {
	limit     int
	entries   map[netip.Addr]*Entry
	deadlines Deadlines[*Entry]
}

// NewCache returns an empty cache for at most limit entries; a limit of zero or
// less is none. Nothing is allocated in advance.
func NewCache(limit int) *Cache {
	return &Cache{limit: limit, entries: make(map[netip.Addr]*Entry)}
}

// SetLimit changes the limit. Entries beyond it stay: a home registration is
// not removed before its lifetime ends (RFC 6275 §10.3.1).
func (c *Cache) SetLimit(limit int) { c.limit = limit }

// Len is the number of entries, in whatever state.
func (c *Cache) Len() int { return len(c.entries) }

// Get returns the entry of a home address, or nil.
func (c *Cache) Get(home netip.Addr) *Entry { return c.entries[home] }

// Add creates the entry of a home address, or returns the one that exists. It
// fails with ErrFull when the limit is reached.
func (c *Cache) Add(home netip.Addr) (*Entry, error) {
	if e := c.entries[home]; e != nil {
		return e, nil
	}
	if c.limit > 0 && len(c.entries) >= c.limit {
		return nil, ErrFull
	}
	e := &Entry{Home: home}
	c.entries[home] = e
	return e, nil
}

// Remove forgets the entry of a home address and its deadline.
func (c *Cache) Remove(home netip.Addr) {
	if e := c.entries[home]; e != nil {
		c.deadlines.Set(e, time.Time{})
		delete(c.entries, home)
	}
}

// Wake sets the deadline of an entry of this cache; the zero time sets none.
func (c *Cache) Wake(e *Entry, at time.Time) { c.deadlines.Set(e, at) }

// Next is the earliest deadline, or the zero time when there is none.
func (c *Cache) Next() time.Time { return c.deadlines.Next() }

// Due returns an entry whose deadline is not after now, the earliest first, and
// takes that deadline off it; nil when there is none.
func (c *Cache) Due(now time.Time) *Entry { return c.deadlines.Due(now) }

// Sorted returns the entries in the order of their home addresses, so that what
// is done for all of them is done in the same order every time.
func (c *Cache) Sorted() []*Entry {
	all := make([]*Entry, 0, len(c.entries))
	for _, e := range c.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *Entry) int { return a.Home.Compare(b.Home) })
	return all
}
