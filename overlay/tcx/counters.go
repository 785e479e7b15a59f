package tcx

import (
	"fmt"

	"github.com/cilium/ebpf"

	"roam6/overlay"
)

// counting reads counters, which each processor has its own of. That is done several times
// a second.
type counting struct{ read reader[uint32, stateValue] }

func newCounting() (counting, error) {
	n, err := ebpf.PossibleCPU()
	if err != nil {
		return counting{}, fmt.Errorf("number of processors: %w", err)
	}
	return counting{reader[uint32, stateValue]{processors: n}}, nil
}

// each calls f for what is counted of each tunnel, by its number.
func (c *counting) each(m *ebpf.Map, f func(number uint32, sum overlay.Counters)) error {
	err := c.read.each(m, func(number uint32, values []stateValue) { f(number, sum(values)) })
	if err != nil {
		return fmt.Errorf("read counters: %w", err)
	}
	return nil
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
