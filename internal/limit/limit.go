// Package limit is the rate limit for whatever an unauthenticated sender can
// cause: answers, log lines. It reads no clock.
package limit

import "time"

// Rate is how often something may happen: a burst, and then once every interval.
type Rate struct {
	Every time.Duration
	Burst int
}

// Limiter is a token bucket. Its state is the time at which the bucket is full
// again; the zero Limiter is full.
type Limiter struct{ full time.Time }

// Allow takes a token if there is one.
func (l *Limiter) Allow(now time.Time, r Rate) bool {
	full := l.full
	if full.Before(now) {
		full = now
	}
	if full.Sub(now) > r.Every*time.Duration(r.Burst-1) {
		return false
	}
	l.full = full.Add(r.Every)
	return true
}
