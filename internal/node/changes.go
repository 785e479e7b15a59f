package node

import (
	"slices"
	"time"

	"roam6/internal/control"
	"roam6/internal/role"
)

// keptChanges is how many changes of bindings a home agent remembers for the page: some
// 600 KB at most.
const keptChanges = 4096

// change is a change of a binding, and what it took the home agent.
type change struct {
	role.BindingChanged
	at   time.Time
	took time.Duration
}

// changes remembers the last changes of bindings, in a ring that grows as it is needed.
type changes struct {
	ring  []change
	total uint64 // since the start; the newest is at (total-1) % keptChanges
}

func (c *changes) add(x change) {
	if len(c.ring) < keptChanges {
		c.ring = append(c.ring, x)
	} else {
		c.ring[c.total%keptChanges] = x
	}
	c.total++
}

// copy is what is remembered at the moment.
func (c *changes) copy() changes { return changes{ring: slices.Clone(c.ring), total: c.total} }

// since returns the newest changes from a moment on that are wanted, the newest first
// and at most limit, and how many of them there are. forgotten tells that older ones of
// that time are not remembered.
func (c *changes) since(from, now time.Time, limit int, wanted func(role.BindingChanged) bool) (list []control.BindingChange, all int, forgotten bool) {
	list = []control.BindingChange{}
	for i := range uint64(len(c.ring)) {
		number := c.total - 1 - i
		x := &c.ring[number%keptChanges]
		if x.at.Before(from) {
			return list, all, false
		}
		if !wanted(x.BindingChanged) {
			continue
		}
		if all++; len(list) < limit {
			list = append(list, control.BindingChangeOf(number, x.BindingChanged, x.at, x.took, now))
		}
	}
	return list, all, c.total > uint64(len(c.ring))
}
