package binding

import "time"

// Deadline is when the owner of an entry is to look at it. The type of the
// entries embeds it; the zero Deadline is none.
type Deadline struct {
	wake  time.Time
	place int // in the heap, counted from one; zero when not there
}

func (d *Deadline) deadline() *Deadline { return d }

// At is when that is; the zero time is never.
func (d *Deadline) At() time.Time { return d.wake }

// Timed is a pointer to an entry that embeds a Deadline.
type Timed interface{ deadline() *Deadline }

// Deadlines are the deadlines of a node's entries: a binary heap, the earliest
// one at the root. Every entry knows its place, so that moving or removing one
// needs no search. The zero Deadlines is empty.
type Deadlines[E Timed] struct{ heap []E }

// Next is the earliest deadline, or the zero time when there is none.
func (d *Deadlines[E]) Next() time.Time {
	if len(d.heap) == 0 {
		return time.Time{}
	}
	return d.heap[0].deadline().wake
}

// Due returns an entry whose deadline is not after now, the earliest first, and
// takes that deadline off it; nil when there is none.
func (d *Deadlines[E]) Due(now time.Time) E {
	var e E
	if len(d.heap) == 0 || d.heap[0].deadline().wake.After(now) {
		return e
	}
	e = d.heap[0]
	d.Set(e, time.Time{})
	return e
}

// Set moves e to its deadline, into the heap or, with the zero time, out of it.
func (d *Deadlines[E]) Set(e E, at time.Time) {
	t := e.deadline()
	switch {
	case at.IsZero() && t.place == 0:
		return
	case at.IsZero():
		var none E
		i, last := t.place-1, len(d.heap)-1
		d.swap(i, last)
		d.heap[last] = none
		d.heap = d.heap[:last]
		*t = Deadline{}
		if i < last {
			d.fix(i)
		}
	case t.place == 0:
		d.heap = append(d.heap, e)
		*t = Deadline{wake: at, place: len(d.heap)}
		d.up(t.place - 1)
	default:
		t.wake = at
		d.fix(t.place - 1)
	}
}

func (d *Deadlines[E]) before(i, j int) bool {
	return d.heap[i].deadline().wake.Before(d.heap[j].deadline().wake)
}

func (d *Deadlines[E]) fix(i int) {
	if !d.up(i) {
		d.down(i)
	}
}

func (d *Deadlines[E]) up(i int) (moved bool) {
	for i > 0 {
		parent := (i - 1) / 2
		if !d.before(i, parent) {
			break
		}
		d.swap(i, parent)
		i, moved = parent, true
	}
	return moved
}

func (d *Deadlines[E]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(d.heap) {
			return
		}
		if right := child + 1; right < len(d.heap) && d.before(right, child) {
			child = right
		}
		if !d.before(child, i) {
			return
		}
		d.swap(i, child)
		i = child
	}
}

func (d *Deadlines[E]) swap(i, j int) {
	d.heap[i], d.heap[j] = d.heap[j], d.heap[i]
	d.heap[i].deadline().place, d.heap[j].deadline().place = i+1, j+1
}
