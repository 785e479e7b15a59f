package nd

import "time"

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
