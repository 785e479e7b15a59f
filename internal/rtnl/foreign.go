package rtnl

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
)

// foreignTable turns what the kernel says of global addresses into
// role.ForeignAddresses: those that somebody else has put on an interface and that
// can be used. It does no I/O.
//
// The kernel notifies at every advertisement that renews an address; only what
// changes is told, or a lifetime that is not what it was told to be.
type foreignTable struct {
	links map[int]*foreignLink
}

type foreignLink struct {
	has  map[netip.Addr]addressEntry // usable, not ours
	told map[netip.Addr]addressEntry
}

func newForeignTable() *foreignTable { return &foreignTable{links: make(map[int]*foreignLink)} }

// isForeign reports whether an address message is about an address that concerns
// the table; ours tells whether it is the State's, which the tag says only where
// the kernel keeps tags.
func isForeign(a kernelAddress, ours bool) bool {
	addr := a.Prefix.Addr()
	return a.tag != Protocol && !ours && addr.IsGlobalUnicast() && !addr.Is4In6()
}

func (t *foreignTable) link(index int) *foreignLink {
	l := t.links[index]
	if l == nil {
		l = &foreignLink{has: make(map[netip.Addr]addressEntry), told: make(map[netip.Addr]addressEntry)}
		t.links[index] = l
	}
	return l
}

// set takes an address that is there or changed.
func (t *foreignTable) set(now time.Time, a kernelAddress, ours bool) []role.Event {
	if !isForeign(a, ours) || a.tentative || a.Valid <= 0 {
		return t.remove(now, a)
	}
	t.link(a.Link).has[a.Prefix.Addr()] = entryOf(now, a.Address)
	return t.changed(now, a.Link)
}

// remove takes an address that went.
func (t *foreignTable) remove(now time.Time, a kernelAddress) []role.Event {
	l := t.links[a.Link]
	if l == nil {
		return nil
	}
	if _, known := l.has[a.Prefix.Addr()]; !known {
		return nil
	}
	delete(l.has, a.Prefix.Addr())
	return t.changed(now, a.Link)
}

// gone forgets an interface that was removed, without a word: role.LinkGone says
// it all.
func (t *foreignTable) gone(index int) { delete(t.links, index) }

// replace takes a complete dump.
func (t *foreignTable) replace(now time.Time, addresses []kernelAddress, ours func(linkAddress) bool) []role.Event {
	for _, l := range t.links {
		clear(l.has)
	}
	for _, a := range addresses {
		if isForeign(a, ours(a.key())) && !a.tentative && a.Valid > 0 {
			t.link(a.Link).has[a.Prefix.Addr()] = entryOf(now, a.Address)
		}
	}
	var events []role.Event
	for _, index := range slices.Sorted(maps.Keys(t.links)) {
		events = append(events, t.changed(now, index)...)
	}
	return events
}

// changed returns an event if the addresses of an interface are not what was told
// last.
func (t *foreignTable) changed(now time.Time, index int) []role.Event {
	l := t.links[index]
	if maps.EqualFunc(l.has, l.told, sameEntry) {
		return nil
	}
	l.told = maps.Clone(l.has)
	e := role.ForeignAddresses{Link: index}
	for _, addr := range slices.SortedFunc(maps.Keys(l.has), netip.Addr.Compare) {
		if a, ok := l.has[addr].at(now, index); ok {
			e.Addresses = append(e.Addresses, role.LeasedPrefix{Prefix: a.Prefix, Preferred: a.Preferred, Valid: a.Valid})
		}
	}
	return []role.Event{e}
}

// sameEntry compares two entries for one address, whose deadlines may differ by
// as much as the kernel rounds.
func sameEntry(a, b addressEntry) bool {
	return a.prefix == b.prefix && a.deprecated == b.deprecated &&
		sameDeadline(a.validUntil, b.validUntil) && (a.deprecated || sameDeadline(a.preferredUntil, b.preferredUntil))
}

func sameDeadline(a, b time.Time) bool {
	if a.IsZero() || b.IsZero() {
		return a.IsZero() && b.IsZero()
	}
	return a.Sub(b).Abs() <= lifetimeSlack
}

// owns reports whether an address on an interface is ours, to the best of the
// State's knowledge.
func (s *State) owns(k linkAddress) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, present := s.addresses[k]
	return present
}
