package binding

import (
	"net/netip"
	"time"

	"roam6/mip6"
	"roam6/overlay"
)

// MaxDeleteTime is how long a de-registration is remembered, so that a repeated or
// delayed update is recognised (RFC 6275 §12, MAX_DELETE_BCE_TIMEOUT).
const MaxDeleteTime = 10 * time.Second

// Memory is what the node that keeps bindings remembers of one home address, as a value
// that can outlive its process: what tells a fresh update from a repeated one, with or
// without a binding, and the binding. No key is in it.
type Memory struct {
	Home netip.Addr
	// Visitor is whose memory of the address it is, at an anchor: several may have one
	// of the same.
	Visitor string
	// Mobile is who has the home address, at a home agent: its configured home address
	// and, behind a blank, its name. Neither is longer than 255 octets.
	Mobile string
	Fresh  Freshness
	// State is Active for a binding, Deleted for one that has ended a moment ago, and
	// zero where there is neither.
	State State
	// Updated is when the last update was accepted.
	Updated time.Time

	// The following are those of an Entry, Prefixes but with Explicit: those that the
	// update named. They are zero where there is no State.
	Created, Expires time.Time
	Flags            mip6.UpdateFlags
	Sequence         mip6.Sequence
	Lifetime         mip6.Lifetime
	Paths            []overlay.Path
	Explicit         bool
	Prefixes         []netip.Prefix
}

// Key tells one Memory from another.
type Key struct {
	Home    netip.Addr
	Visitor string
}

// Key is what it is of: a later Memory with the same Key takes its place.
func (m Memory) Key() Key { return Key{m.Home, m.Visitor} }

// Latest collects something for each Key: the last counts, in the place of the first.
type Latest[T any] struct {
	at  map[Key]int
	all []T
}

// NewLatest returns one with room for n.
func NewLatest[T any](n int) *Latest[T] {
	return &Latest[T]{at: make(map[Key]int, n), all: make([]T, 0, n)}
}

// Put takes v in place of what there was for k.
func (l *Latest[T]) Put(k Key, v T) {
	if i, known := l.at[k]; known {
		l.all[i] = v
		return
	}
	l.at[k] = len(l.all)
	l.all = append(l.all, v)
}

// All are what there is, in order.
func (l *Latest[T]) All() []T { return l.all }

// Of takes over the part of a Memory that is in an entry. named are the prefixes that
// its update named.
func (m *Memory) Of(e *Entry, named []netip.Prefix) {
	m.Updated = e.Updated
	if e.State != Active && e.State != Deleted {
		return
	}
	m.State, m.Created, m.Expires = e.State, e.Created, e.Expires
	m.Flags, m.Sequence, m.Lifetime, m.Paths = e.Flags, e.Sequence, e.Lifetime, e.Paths
	if e.Explicit {
		m.Explicit, m.Prefixes = true, named
	}
}

// Forgotten reports whether nothing is remembered: it takes the place of what was.
func (m Memory) Forgotten() bool { return m.State == 0 && m.Fresh == Freshness{} }

// Unbound is what is left of it without the binding.
func (m Memory) Unbound() Memory {
	return Memory{Home: m.Home, Visitor: m.Visitor, Mobile: m.Mobile, Fresh: m.Fresh, Updated: m.Updated}
}

// Lasts reports whether there is a binding at the given time, or a de-registration to
// be remembered. What would last longer than was granted does not: the clock by which
// it was kept is not this one.
func (m Memory) Lasts(now time.Time) bool {
	longest := MaxDeleteTime
	if m.State == Active {
		longest = m.Lifetime.Duration()
	}
	return m.State != 0 && m.Expires.After(now) && m.Expires.Sub(now) <= longest
}

// Restore makes an entry, which has its home address only, the one that was remembered.
// Its State and its prefixes are left to the role.
func (m Memory) Restore(e *Entry) {
	e.Created, e.Updated, e.Expires = m.Created, m.Updated, m.Expires
	e.Flags, e.Sequence, e.Lifetime = m.Flags, m.Sequence, m.Lifetime
	e.Paths, e.Explicit = m.Paths, m.Explicit
}

// Reaches reports whether a binding leads from this node's address by usable paths.
func (m Memory) Reaches(local netip.Addr) bool {
	for _, p := range m.Paths {
		if p.Local != local || !mip6.Routable(p.Remote) {
			return false
		}
	}
	return len(m.Paths) > 0
}
