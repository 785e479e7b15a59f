package binding

import (
	"time"

	"roam6/mip6"
)

// Unlimited stands for a lifetime that limits nothing: a prefix with infinite
// lifetime, or one whose lifetime is not known.
const Unlimited = mip6.InfiniteLifetime

// Grant is the lifetime a binding gets: what was requested, but no more than
// any of the limits, rounded down to the wire's unit (RFC 6275 §10.3.1; §9.5.2
// for correspondents). A limit in the past grants nothing.
func Grant(requested mip6.Lifetime, limits ...time.Duration) mip6.Lifetime {
	granted := requested
	for _, limit := range limits {
		granted = min(granted, mip6.LifetimeFrom(limit))
	}
	return granted
}

// AcceptedStatus is the status of an accepted home registration with the given
// lifetime: 1 when the home prefix, with what remains of its preferred and valid
// lifetimes, is deprecated or becomes so during the binding, or becomes invalid
// at its end, and 0 otherwise. Prefix lifetimes count in units of four seconds
// (RFC 6275 §10.3.1).
func AcceptedStatus(granted mip6.Lifetime, preferred, valid time.Duration) mip6.Status {
	lifetime := granted.Duration()
	inUnits := func(d time.Duration) time.Duration { return d - d%mip6.LifetimeUnit }
	if preferred < Unlimited && inUnits(preferred) < lifetime ||
		valid < Unlimited && inUnits(valid) <= lifetime {
		return mip6.StatusPrefixDiscoveryNecessary
	}
	return mip6.StatusAccepted
}

// RefreshInterval is when a mobile node is advised to renew a binding of the
// given lifetime: after three quarters of it, so that a few lost updates do not
// end it. It is always less than the lifetime, as RFC 6275 §10.3.1 demands; zero
// means that no interval is worth advising.
func RefreshInterval(granted mip6.Lifetime) mip6.Lifetime {
	if granted < 2 {
		return 0
	}
	return granted - max(1, granted/4)
}

// Remaining is the time from now until a point in time, at least zero. The zero
// time is never: Unlimited.
func Remaining(now, until time.Time) time.Duration {
	if until.IsZero() {
		return Unlimited
	}
	return max(0, until.Sub(now))
}
