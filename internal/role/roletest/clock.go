package roletest

import (
	"fmt"
	"time"
	"unsafe"
)

// ClockSet is what time.Now would have returned in place of t if the wall clock had been
// set by d before: another time of day, and the same reading of the monotonic clock. A t
// without one is given that of zero, so that everything that is compared must come from
// here. It panics where a time.Time is not made as this knows it, or cannot hold the time
// of day beside the other reading: before 1885 or after 2157.
func ClockSet(t time.Time, d time.Duration) time.Time {
	// The layout is that of package time: the wall clock since 1885, 33 bits of seconds
	// above 30 of nanoseconds; then the monotonic clock.
	const (
		hasMonotonic = 1 << 63
		seconds1885  = 2682288000 // from 1885 to 1970
	)
	raw := (*struct {
		wall      uint64
		monotonic int64
	})(unsafe.Pointer(&t))
	day := t.Round(0).Add(d)
	before, had := t, raw.wall&hasMonotonic != 0
	if !had {
		raw.monotonic = 1
	}
	raw.wall = hasMonotonic | uint64(day.Unix()+seconds1885)<<30 | uint64(day.Nanosecond())
	if !t.Round(0).Equal(day) || had && t.Sub(before) != 0 {
		panic(fmt.Sprintf("clock set by %v at %v: %v", d, before, t))
	}
	return t
}
