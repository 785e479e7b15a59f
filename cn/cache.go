package cn

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/mip6"
	"roam6/overlay"
)

// pair is the key of a binding: each address of this node has a binding cache of
// its own (RFC 6275 §9.1), and all of them share one quota.
type pair struct {
	home netip.Addr
	peer netip.Addr // this node's address
}

func (p pair) compare(q pair) int {
	return cmp.Or(p.home.Compare(q.home), p.peer.Compare(q.peer))
}

// overlay is the name of the pair in the data plane.
func (p pair) overlay() overlay.Pair {
	return overlay.Pair{Home: p.home, Peer: p.peer, Side: overlay.CorrespondentSide}
}

// entry is one entry of the binding cache: a binding while it is active, and after
// that kept until no update that was accepted for it can be accepted again.
type entry struct {
	pair
	binding.Deadline
	active   bool
	careOf   netip.Addr
	sequence mip6.Sequence
	lifetime mip6.Lifetime
	expires  time.Time
	created  time.Time

	// nonces authorised the care-of address. With revoked the mobile has deleted
	// that binding, and may not make it again with the same nonces.
	nonces  mip6.NonceIndices
	revoked bool
	// guarded is when the nonces of all accepted updates are too old. Until then
	// the sequence number must be remembered (RFC 6275 §5.2.8).
	guarded time.Time

	used         time.Time // by a packet, or by an update
	asked        time.Time // last Binding Refresh Request
	asks         int       // number of them since the last update
	trouble      trouble   // in reaching the care-of address
	older, newer *entry    // neighbours in the order of use, of active entries
}

// cache are the binding caches of all addresses of this node.
type cache struct {
	entries   map[pair]*entry
	deadlines binding.Deadlines[*entry]
	// The active entries in the order of their last use.
	oldest, newest *entry
}

func newCache() cache { return cache{entries: make(map[pair]*entry)} }

// active returns the binding of a pair, or nil.
func (c *cache) active(p pair) *entry {
	if e := c.entries[p]; e != nil && e.active {
		return e
	}
	return nil
}

// add makes an entry for a pair that has none.
func (c *cache) add(p pair) *entry {
	e := &entry{pair: p}
	c.entries[p] = e
	return e
}

// remove forgets an entry that is not active.
func (c *cache) remove(e *entry) {
	c.deadlines.Set(e, time.Time{})
	delete(c.entries, e.pair)
}

// use makes e the entry that was used last.
func (c *cache) use(e *entry, now time.Time) {
	c.unlink(e)
	e.used = now
	e.older = c.newest
	if c.newest != nil {
		c.newest.newer = e
	} else {
		c.oldest = e
	}
	c.newest = e
}

// unlink takes e out of the order of use, if it is there.
func (c *cache) unlink(e *entry) {
	switch {
	case e.older != nil:
		e.older.newer = e.newer
	case c.oldest == e:
		c.oldest = e.newer
	}
	switch {
	case e.newer != nil:
		e.newer.older = e.older
	case c.newest == e:
		c.newest = e.older
	}
	e.older, e.newer = nil, nil
}

// sorted returns the active entries in the order of their pairs.
func (c *cache) sorted() []*entry {
	var list []*entry
	for e := c.oldest; e != nil; e = e.newer {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entry) int { return a.compare(b.pair) })
	return list
}
