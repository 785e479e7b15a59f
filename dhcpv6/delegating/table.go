package delegating

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"
	"sort"
	"time"

	"roam6/internal/binding"
	"roam6/internal/deadline"
)

// lease is a prefix that a mobile has, or, when it is not bound, had or was
// offered.
type lease struct {
	binding.Deadline // the end of a bound one
	mobile           *mobile
	iaid             uint32
	prefix           netip.Prefix
	bound            bool
	preferred, valid time.Time // ends of a bound one's lifetimes; zero is for ever
	granted          lifetimes // of a bound one, as they were told last
	ended            time.Time // when a kept one was last bound or offered
}

// lifetimes are those of a lease; mip6.InfiniteLifetime is for ever.
type lifetimes struct{ preferred, valid time.Duration }

// remaining are the lifetimes that are left of a bound lease.
func (l *lease) remaining(now time.Time) (preferred, valid time.Duration) {
	return deadline.Remaining(now, l.preferred), deadline.Remaining(now, l.valid)
}

// table is all leases. No two prefixes in it overlap.
type table struct {
	sorted    []*lease // by prefix
	deadlines binding.Deadlines[*lease]
	bound     int
	// exhausted are the lengths of which there was no free prefix, until one is
	// removed.
	exhausted [longest + 1]bool
}

func (t *table) kept() int { return len(t.sorted) - t.bound }

// overlapping are the leases that have addresses of p. The slice is the table's
// own.
func (t *table) overlapping(p netip.Prefix) []*lease {
	i := sort.Search(len(t.sorted), func(i int) bool { return t.sorted[i].prefix.Addr().Compare(p.Addr()) > 0 })
	if i > 0 && t.sorted[i-1].prefix.Overlaps(p) {
		i--
	}
	end := i
	for end < len(t.sorted) && t.sorted[end].prefix.Overlaps(p) {
		end++
	}
	return t.sorted[i:end]
}

// insert adds a lease that is not bound and overlaps none.
func (t *table) insert(l *lease) {
	i := sort.Search(len(t.sorted), func(i int) bool { return t.sorted[i].prefix.Addr().Compare(l.prefix.Addr()) > 0 })
	t.sorted = slices.Insert(t.sorted, i, l)
	l.mobile.leases = append(l.mobile.leases, l)
}

// remove takes out a lease that is there.
func (t *table) remove(l *lease) {
	t.release(l)
	i := sort.Search(len(t.sorted), func(i int) bool { return t.sorted[i].prefix.Addr().Compare(l.prefix.Addr()) >= 0 })
	t.sorted = slices.Delete(t.sorted, i, i+1)
	l.mobile.leases = slices.DeleteFunc(l.mobile.leases, func(m *lease) bool { return m == l })
	t.exhausted = [longest + 1]bool{}
}

// bind makes a lease hold until the ends of its lifetimes.
func (t *table) bind(l *lease, preferred, valid time.Time) {
	if !l.bound {
		t.bound++
	}
	l.bound, l.preferred, l.valid, l.ended = true, preferred, valid, time.Time{}
	t.deadlines.Set(l, valid)
}

// release makes a lease one that is kept.
func (t *table) release(l *lease) {
	if l.bound {
		t.bound--
	}
	l.bound = false
	t.deadlines.Set(l, time.Time{})
}

// free finds a prefix of a length that nobody has, in the first pool where there
// is one. Where it begins to look depends on the mobile and the IAID, and on each
// pool alone: so the same client finds the same prefix, also after all was
// forgotten, and after pools were added behind.
func (t *table) free(c Config, length int, home netip.Addr, iaid uint32) (netip.Prefix, bool) {
	if t.exhausted[length] {
		return netip.Prefix{}, false
	}
	hash := fnv.New64a()
	a := home.As16()
	hash.Write(binary.BigEndian.AppendUint32(a[:], iaid))
	h := hash.Sum64()
	h ^= h >> 32
	for _, pool := range c.Pools {
		first, last := bounds(pool.Masked())
		// At first the prefixes of Config.Length are used evenly, whatever length is
		// asked for.
		from := first + (h<<(64-c.Length))&(last-first)
		if p, ok := t.gap(from, last, length); ok {
			return p, true
		}
		if p, ok := t.gap(first, from, length); ok {
			return p, true
		}
	}
	t.exhausted[length] = true
	return netip.Prefix{}, false
}

// gap finds the first prefix of a length that begins between two addresses, of
// which the higher half is given, and that nobody has. No prefix is longer than
// 64 bits.
func (t *table) gap(from, last uint64, length int) (netip.Prefix, bool) {
	step := uint64(1) << (64 - length)
	i := sort.Search(len(t.sorted), func(i int) bool { _, end := bounds(t.sorted[i].prefix); return end >= from })
	for ; ; i++ {
		if i == len(t.sorted) {
			break
		}
		begin, end := bounds(t.sorted[i].prefix)
		if end < from {
			continue
		}
		if begin > from+(step-1) {
			break
		}
		// To the next multiple of step behind end, unless that is behind the last.
		if end |= step - 1; end >= last {
			return netip.Prefix{}, false
		}
		from = end + 1
	}
	if from > last {
		return netip.Prefix{}, false
	}
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], from)
	return netip.PrefixFrom(netip.AddrFrom16(a), length), true
}

// bounds are the higher halves of the first and the last address of a prefix of at
// most 64 bits.
func bounds(p netip.Prefix) (first, last uint64) {
	a := p.Addr().As16()
	first = binary.BigEndian.Uint64(a[:])
	return first, first | (1<<(64-p.Bits()) - 1)
}

// reclaim finds a prefix of a length in what is only kept, the longest ended
// first, and which leases have to go for it. Those that are spared stay.
func (t *table) reclaim(c Config, length int, spared func(*lease) bool) (netip.Prefix, []*lease) {
	if t.kept() == 0 {
		return netip.Prefix{}, nil
	}
	var oldest *lease
	var prefix netip.Prefix
	for _, l := range t.sorted {
		if l.bound || oldest != nil && !l.ended.Before(oldest.ended) {
			continue
		}
		p := netip.PrefixFrom(l.prefix.Addr(), length).Masked()
		if c.permits(p) && !slices.ContainsFunc(t.overlapping(p), func(l *lease) bool { return l.bound || spared(l) }) {
			oldest, prefix = l, p
		}
	}
	if oldest == nil {
		return netip.Prefix{}, nil
	}
	return prefix, slices.Clone(t.overlapping(prefix))
}
