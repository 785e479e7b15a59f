package tcx

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// reader reads whole maps, many entries in one call of the kernel: hashes can do that
// since Linux 5.6, tries since 5.13. Others are asked for one entry after the other. The
// buffers are used again.
type reader[K, V any] struct {
	processors int // each of which has a value of its own in an entry; 0: there is one
	keys       []K
	values     []V
}

// leastBatch and mostBatch are how many entries are read in one call.
const (
	leastBatch = 64 // the kernel gives all that have the same hash, or none
	mostBatch  = 1024
)

// mostOften is how often entries may be met, on the average of all that fit, before a map
// is given up that changes faster than it is read.
const mostOften = 4

// each calls f with all entries of a map. If somebody changes it meanwhile, f may get one
// more than once, and one that has gone; but all that stay. The values are good for the
// call alone.
func (r *reader[K, V]) each(m *ebpf.Map, f func(key K, values []V)) error {
	r.begin()
	var cursor ebpf.MapBatchCursor
	for met := uint64(0); met <= mostOften*uint64(m.MaxEntries()); {
		n, err := m.BatchLookup(&cursor, r.keys, r.values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			if !errors.Is(err, unix.ENOSPC) || len(r.keys) >= 64*mostBatch {
				return r.oneByOne(m, f)
			}
			r.grow(2 * len(r.keys)) // there are more with the same hash
			continue
		}
		for i, key := range r.keys[:n] {
			f(key, r.of(i))
		}
		if err != nil {
			return nil // those were the last
		}
		met += uint64(max(n, 1))
		if len(r.keys) < mostBatch {
			r.grow(mostBatch)
		}
	}
	return fmt.Errorf("map %v changes faster than it can be read", m)
}

// oneByOne is each with two calls for an entry.
func (r *reader[K, V]) oneByOne(m *ebpf.Map, f func(key K, values []V)) error {
	r.begin()
	var key K
	value := any(&r.values[0])
	if r.processors > 0 {
		value = r.of(0)
	}
	all := m.Iterate()
	for all.Next(&key, value) {
		f(key, r.of(0))
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("map %v: %w", m, err)
	}
	return nil
}

// of are the values of the entry that was read in that place.
func (r *reader[K, V]) of(i int) []V {
	n := max(r.processors, 1)
	return r.values[i*n:][:n]
}

// begin sees to it that there are buffers.
func (r *reader[K, V]) begin() {
	if len(r.keys) == 0 {
		r.grow(leastBatch)
	}
}

func (r *reader[K, V]) grow(n int) {
	r.keys, r.values = make([]K, n), make([]V, n*max(r.processors, 1))
}
