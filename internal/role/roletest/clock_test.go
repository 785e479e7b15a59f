package roletest

import (
	"testing"
	"time"
)

// A clock that was set tells another time of day, and the same lengths of time, from
// before to after as well: what the runtime does itself.
func TestClockSet(t *testing.T) {
	const years = 20 * 365 * 24 * time.Hour
	begin := time.Now()
	for _, d := range []time.Duration{years, -years, 0, time.Nanosecond} {
		set := ClockSet(begin, d)
		if got := set.Round(0).Sub(begin.Round(0)); got != d {
			t.Errorf("set by %v: the time of day is %v later", d, got)
		}
		if !set.Equal(begin) || set.Before(begin) || set.Add(time.Second).Sub(begin) != time.Second || begin.Add(-time.Second).Sub(set) != -time.Second {
			t.Errorf("set by %v: time has passed", d)
		}
		if back := ClockSet(set, -d); back != begin {
			t.Errorf("set by %v and back: %v, was %v", d, back, begin)
		}
	}
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := ClockSet(day, 0)
	if b := ClockSet(a.Add(time.Minute), years); b.Sub(a) != time.Minute || !a.Round(0).Equal(day) {
		t.Errorf("%v after %v: %v", b, a, b.Sub(a))
	}
}
