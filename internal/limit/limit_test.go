package limit

import (
	"testing"
	"time"
)

// A burst passes, then one each interval, and a rest fills the bucket again.
func TestLimiter(t *testing.T) {
	var l Limiter
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := Rate{Every: time.Second, Burst: 3}
	count := func(tries int) (n int) {
		for range tries {
			if l.Allow(now, r) {
				n++
			}
		}
		return n
	}
	if got := count(10); got != 3 {
		t.Errorf("burst of %d, want 3", got)
	}
	now = now.Add(999 * time.Millisecond)
	if got := count(10); got != 0 {
		t.Errorf("%d too early", got)
	}
	now = now.Add(time.Millisecond)
	if got := count(10); got != 1 {
		t.Errorf("%d after the interval, want 1", got)
	}
	now = now.Add(time.Hour)
	if got := count(10); got != 3 {
		t.Errorf("burst of %d after a rest, want 3", got)
	}
}
