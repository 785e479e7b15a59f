package nd

import (
	"time"

	"roam6/mip6"
)

// trustedLifetime is what an unauthenticated advertisement cannot shorten a
// valid lifetime below (RFC 4862 §5.5.3 e).
const trustedLifetime = 2 * time.Hour

// ValidLifetime is the two-hour rule of RFC 4862 §5.5.3 e: the valid lifetime
// that an address has after an advertisement, from what remained of it and what
// was advertised. An address that is new takes the advertised one as it is.
func ValidLifetime(remaining, advertised time.Duration) time.Duration {
	switch {
	case advertised > trustedLifetime || advertised > remaining:
		return advertised
	case remaining <= trustedLifetime:
		return remaining
	default:
		return trustedLifetime
	}
}

// until is the end of a lifetime that begins now; zero for an infinite one.
func until(now time.Time, d time.Duration) time.Time {
	if d >= mip6.InfiniteLifetime {
		return time.Time{}
	}
	return now.Add(d)
}

// remaining is the opposite of until, and never negative.
func remaining(now, end time.Time) time.Duration {
	if end.IsZero() {
		return mip6.InfiniteLifetime
	}
	return max(end.Sub(now), 0)
}

// due reports whether the time of a deadline has come; zero never comes.
func due(now, deadline time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }

// earlier returns the earlier of two deadlines, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
