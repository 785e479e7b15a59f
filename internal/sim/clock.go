// Package sim joins several roles over an in-memory network under a virtual
// clock, with loss, duplication, reordering, delay and partition from a seed.
// A thousand simulated hours take seconds, and the same seed gives the same
// run: a failure is replayed by its number.
//
// The simulator is a shell like internal/node, with maps in place of the kernel and
// the data plane: it carries out the actions of the roles and keeps what they put
// there, and by that application packets go to and fro between mobile nodes and
// correspondents. A witness (witness.go) sees all signalling. After every step it is
// checked what must always hold (invariant.go), and after the last fault what must
// hold in the end (converge.go). What happens until then is a Ride through a World
// that a Plan describes; an attacker may have a part in it, access networks may lease
// addresses (dhcpserver.go), somebody else may manage uplinks (foreign.go), home agents
// may delegate prefixes (delegate.go), mobiles be in mobile networks (nested.go), and
// access networks in the domains of mobility anchor points (anchor.go).
package sim

import (
	"container/heap"
	"time"
)

// epoch is when every simulation begins; any date after 1970 does.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is a virtual clock: a queue of functions by time. Equal times run in
// the order in which they were scheduled.
type clock struct {
	now   time.Time
	queue schedule
	count uint64
}

type entry struct {
	at    time.Time
	order uint64
	run   func()
}

type schedule []entry

func (s schedule) Len() int { return len(s) }
func (s schedule) Less(i, j int) bool {
	if s[i].at.Equal(s[j].at) {
		return s[i].order < s[j].order
	}
	return s[i].at.Before(s[j].at)
}
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)   { *s = append(*s, x.(entry)) }
func (s *schedule) Pop() any {
	old := *s
	e := old[len(old)-1]
	old[len(old)-1] = entry{}
	*s = old[:len(old)-1]
	return e
}

// after schedules a function.
func (c *clock) after(d time.Duration, run func()) {
	c.count++
	heap.Push(&c.queue, entry{c.now.Add(max(d, 0)), c.count, run})
}

// step runs the next function, if there is one before end, and reports
// whether it did.
func (c *clock) step(end time.Time) bool {
	if len(c.queue) == 0 || c.queue[0].at.After(end) {
		c.now = end
		return false
	}
	e := heap.Pop(&c.queue).(entry)
	c.now = e.at
	e.run()
	return true
}
