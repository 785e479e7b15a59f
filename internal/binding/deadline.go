package binding

import "time"

// deadlines is a binary heap of entries, the earliest deadline at the root.
// Every entry knows its place, so that moving or removing one needs no search.
type deadlines []*Entry

func (d deadlines) next() time.Time {
	if len(d) == 0 {
		return time.Time{}
	}
	return d[0].wake
}

func (d *deadlines) due(now time.Time) *Entry {
	if len(*d) == 0 || (*d)[0].wake.After(now) {
		return nil
	}
	e := (*d)[0]
	d.set(e, time.Time{})
	return e
}

// set moves e to its deadline, into the heap or out of it.
func (d *deadlines) set(e *Entry, at time.Time) {
	switch {
	case at.IsZero() && e.index < 0:
		return
	case at.IsZero():
		i, last := e.index, len(*d)-1
		d.swap(i, last)
		(*d)[last] = nil
		*d = (*d)[:last]
		e.index, e.wake = -1, time.Time{}
		if i < last {
			d.fix(i)
		}
	case e.index < 0:
		e.wake, e.index = at, len(*d)
		*d = append(*d, e)
		d.up(e.index)
	default:
		e.wake = at
		d.fix(e.index)
	}
}

func (d deadlines) fix(i int) {
	if !d.up(i) {
		d.down(i)
	}
}

func (d deadlines) up(i int) (moved bool) {
	for i > 0 {
		parent := (i - 1) / 2
		if !d[i].wake.Before(d[parent].wake) {
			break
		}
		d.swap(i, parent)
		i, moved = parent, true
	}
	return moved
}

func (d deadlines) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(d) {
			return
		}
		if right := child + 1; right < len(d) && d[right].wake.Before(d[child].wake) {
			child = right
		}
		if !d[child].wake.Before(d[i].wake) {
			return
		}
		d.swap(i, child)
		i = child
	}
}

func (d deadlines) swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}
