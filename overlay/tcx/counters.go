package tcx

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"roam6/overlay"
)

// counting reads counters, which each processor has its own of. Its buffers are used
// again: it is done several times a second.
type counting struct {
	processors int
	keys       []uint32
	values     []stateValue // for each key one of each processor
}

// leastBatch and mostBatch are how many tunnels' counters are read in one call.
const (
	leastBatch = 64 // the kernel gives all that have the same hash, or none
	mostBatch  = 1024
)

func newCounting() (counting, error) {
	n, err := ebpf.PossibleCPU()
	if err != nil {
		return counting{}, fmt.Errorf("number of processors: %w", err)
	}
	return counting{processors: n}, nil
}

// each calls f for what is counted of each tunnel, by its number.
func (c *counting) each(m *ebpf.Map, f func(number uint32, sum overlay.Counters)) error {
	if c.keys == nil {
		c.grow(leastBatch)
	}
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, c.keys, c.values, nil)
		if errors.Is(err, ebpf.ErrNotSupported) {
			return fmt.Errorf("read counters: %w", err)
		}
		for i, number := range c.keys[:n] {
			f(number, sum(c.values[i*c.processors:][:c.processors]))
		}
		switch {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return nil // those were the last
		case err != nil && len(c.keys) >= 64*mostBatch:
			return fmt.Errorf("read counters: %w", err)
		case err != nil:
			c.grow(2 * len(c.keys)) // too many with the same hash
			cursor = ebpf.MapBatchCursor{}
		case len(c.keys) < mostBatch:
			c.grow(mostBatch) // for the next time; a cursor is good for one size
			cursor = ebpf.MapBatchCursor{}
		}
	}
}

func (c *counting) grow(n int) {
	c.keys, c.values = make([]uint32, n), make([]stateValue, n*c.processors)
}

func sum(each []stateValue) (all overlay.Counters) {
	for _, v := range each {
		all = all.Plus(v.Counters)
	}
	return all
}

// Counters returns what was carried of each tunnel since it was first Set.
func (f *fastPath) Counters() map[overlay.Key]overlay.Counters {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[overlay.Key]overlay.Counters, len(f.tunnels))
	if f.loaded == nil {
		return all
	}
	byNumber := make(map[uint32]overlay.Counters, len(f.tunnels))
	if err := f.counting.each(f.loaded.maps[mapStates], func(number uint32, c overlay.Counters) { byNumber[number] = c }); err != nil {
		f.log.Warn("counters", "engine", Name, "reason", err)
		return all
	}
	for k, t := range f.tunnels {
		all[k] = byNumber[t.number].Minus(t.before)
	}
	return all
}
