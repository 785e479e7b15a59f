package anchor

import (
	"net/netip"
	"time"

	"roam6/internal/binding"
)

// Stats are totals since start, and the present number of visitors configured and of
// entries by state.
type Stats struct {
	Visitors, Bindings, Probing int
	// Limit is the most entries that there can be.
	Limit int

	Registrations, Refreshes, Moves, Deregistrations, Expirations uint64
	// Restored are bindings that were taken over from an earlier process.
	Restored uint64
	// Duplicates are regional care-of addresses found in use on their link by
	// detection; Conflicts are neighbours heard using a registered one.
	Duplicates, Conflicts uint64
	// RefreshRequests are binding refresh requests sent.
	RefreshRequests uint64
}

// Binding is an entry of the binding cache for people to see.
type Binding struct {
	binding.Entry
	Visitor   string        // its configured name; empty: served without authentication
	Remaining time.Duration // of the lifetime; zero while detection runs
}

// Snapshot is the state of an anchor for people to see.
type Snapshot struct {
	Name     string
	Address  netip.Addr
	Prefix   netip.Prefix
	Link     int       // interface index of the link; zero: virtual, or not there
	Bindings []Binding // in the order of regional care-of addresses, Entry.Home
	Stats    Stats
}

// Snapshot returns the state at the given time.
func (a *Anchor) Snapshot(now time.Time) Snapshot {
	s := Snapshot{Name: a.config.Name, Address: a.config.Address, Prefix: a.config.Prefix, Link: a.link.Index, Stats: a.counts}
	for _, e := range a.bindings.Sorted() {
		b := Binding{Entry: *e, Visitor: a.held[e.Home].visitor.Name}
		if e.State == binding.Active {
			b.Remaining = max(0, e.Expires.Sub(now))
		}
		s.Bindings = append(s.Bindings, b)
	}
	return s
}

// Stats returns the counters.
func (a *Anchor) Stats() Stats { return a.counts }
