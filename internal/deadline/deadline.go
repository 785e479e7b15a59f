// Package deadline is the arithmetic of moments at which something ends or is
// due, of which the zero time is none: what never ends, what is not waited for.
package deadline

import (
	"time"

	"roam6/mip6"
)

// Passed is a deadline that has passed whatever the clock says, for what is over and for
// sockets that are to stop. 1970 is none: where seconds have 32 bits, as on most routers,
// a clock that is set beyond 2038 is before it.
func Passed() time.Time { return time.Time{}.Add(1) }

// Earlier returns the earlier of two deadlines.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Due reports whether a deadline has come.
func Due(now, t time.Time) bool { return !t.IsZero() && !now.Before(t) }

// Of is the end of a lifetime of neighbour discovery that begins now; there is
// none of mip6.InfiniteLifetime and longer ones.
func Of(now time.Time, lifetime time.Duration) time.Time {
	if lifetime >= mip6.InfiniteLifetime {
		return time.Time{}
	}
	return now.Add(lifetime)
}

// Remaining is the opposite of Of: the lifetime that is left, never negative.
func Remaining(now, t time.Time) time.Duration {
	if t.IsZero() {
		return mip6.InfiniteLifetime
	}
	return max(t.Sub(now), 0)
}
