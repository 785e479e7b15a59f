package nd

import (
	"reflect"
	"slices"
	"time"

	"roam6/mip6"
)

// A configuration that differs from the one before only in when prefixes end is no
// reason for a burst: the kernel's lifetimes are renewed with every advertisement that
// it hears. Hosts are told of such a change as soon as they need to know.

// sameButExpiring reports whether two configurations tell hosts the same in the same
// intervals, but for when prefixes end.
func (c AdvertiserConfig) sameButExpiring(d AdvertiserConfig) bool {
	strip := func(c AdvertiserConfig) AdvertiserConfig {
		c.Advertisement = c.advertisement()
		c.Expiring, c.Farewell, c.KeepOnExit = nil, Farewell{}, false // not told until the end
		return c
	}
	return reflect.DeepEqual(strip(c), strip(d))
}

// refresh follows a change of when prefixes end: by a burst where hosts believe one to
// last longer than it does, by one advertisement where they would lose one before the
// next, and otherwise not at all.
func (a *Advertiser) refresh(now time.Time) {
	age := now.Sub(a.last)
	for _, p := range counted(now, a.ra.Prefixes, a.expiry) {
		i := slices.IndexFunc(a.told, func(q mip6.PrefixInformation) bool { return q.Prefix.Masked() == p.Prefix.Masked() })
		if i < 0 {
			continue
		}
		told := a.told[i]
		preferred, valid := remains(told.PreferredLifetime, age), remains(told.ValidLifetime, age)
		if preferred > p.PreferredLifetime+lifetimeSkew || valid > p.ValidLifetime+lifetimeSkew {
			a.initial = initialRAs
			a.soon(now)
			return
		}
		if a.pressing(preferred, p.PreferredLifetime) || a.pressing(valid, p.ValidLifetime) {
			a.soon(now)
		}
	}
}

// pressing reports whether what remains of a lifetime at the hosts may end before they
// hear of the longer one that is true now.
func (a *Advertiser) pressing(remaining, lifetime time.Duration) bool {
	return remaining < a.config.MaxInterval && remaining < lifetime-lifetime/4
}

// remains is what is left of a lifetime that was told some time ago.
func remains(told, age time.Duration) time.Duration {
	if told >= mip6.InfiniteLifetime {
		return told
	}
	return max(told-age, 0)
}

// Announce begins a burst as at the beginning, such as when the link has come back:
// there may be others on it now.
func (a *Advertiser) Announce(now time.Time) []Transmission {
	if a.stopped {
		return nil
	}
	a.initial = initialRAs
	a.soon(now)
	return a.Expire(now)
}
