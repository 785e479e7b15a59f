package ha

import "time"

// rate is how often something may happen: a burst, and then once every interval.
type rate struct {
	every time.Duration
	burst int
}

// limiter is a token bucket. Its state is the time at which the bucket is full
// again; the zero limiter is full.
type limiter struct{ full time.Time }

// allow takes a token if there is one.
func (l *limiter) allow(now time.Time, r rate) bool {
	full := l.full
	if full.Before(now) {
		full = now
	}
	if full.Sub(now) > r.every*time.Duration(r.burst-1) {
		return false
	}
	l.full = full.Add(r.every)
	return true
}
