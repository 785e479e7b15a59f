package ha

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/mip6"
)

// maxHomePrefixes is how many prefixes a home link may have: an advertisement of
// all of them stays far below the least MTU.
const maxHomePrefixes = 16

// HomePrefix is a prefix of the home link with its lifetimes, which end at points
// in time; the zero time is no end.
type HomePrefix struct {
	Prefix         netip.Prefix
	PreferredUntil time.Time
	ValidUntil     time.Time
}

// equal compares the lifetimes as points in time.
func (p HomePrefix) equal(q HomePrefix) bool {
	return p.Prefix == q.Prefix && p.PreferredUntil.Equal(q.PreferredUntil) && p.ValidUntil.Equal(q.ValidUntil)
}

// lifetimes are what remains of the prefix. The preferred lifetime is never
// greater than the valid one (RFC 4862 §5.5.3).
func (p HomePrefix) lifetimes(now time.Time) (preferred, valid time.Duration) {
	valid = binding.Remaining(now, p.ValidUntil)
	return min(valid, binding.Remaining(now, p.PreferredUntil)), valid
}

// homePrefixes are all prefixes of the home link, the main one first.
func (c Config) homePrefixes() []HomePrefix {
	list := append([]HomePrefix{{c.Prefix, c.PrefixPreferredUntil, c.PrefixValidUntil}}, c.OtherPrefixes...)
	for i := range list {
		list[i].Prefix = list[i].Prefix.Masked()
	}
	return list
}

// prefixOf is the home prefix that an address is in, or nil.
func (a *Agent) prefixOf(home netip.Addr) *HomePrefix {
	for i := range a.prefixes {
		if a.prefixes[i].Prefix.Contains(home) {
			return &a.prefixes[i]
		}
	}
	return nil
}

// PrefixEntry is a home prefix for people to see.
type PrefixEntry struct {
	Prefix netip.Prefix
	// Preferred and Valid are what remains of its lifetimes;
	// mip6.InfiniteLifetime where there is no end.
	Preferred, Valid time.Duration
	Bindings         int // active ones of home addresses in it
}

// Prefixes returns the prefixes of the home link, the main one first.
func (a *Agent) Prefixes(now time.Time) []PrefixEntry {
	list := make([]PrefixEntry, len(a.prefixes))
	for i, p := range a.prefixes {
		list[i].Prefix = p.Prefix
		list[i].Preferred, list[i].Valid = p.lifetimes(now)
	}
	for _, e := range a.bindings.Sorted() {
		if p := a.prefixOf(e.Home); p != nil && e.State == binding.Active {
			list[slices.IndexFunc(list, func(q PrefixEntry) bool { return q.Prefix == p.Prefix })].Bindings++
		}
	}
	return list
}

// advertised are the home prefixes as a mobile prefix advertisement has them, all
// of them (RFC 6275 §10.6.2): those whose time is over with lifetimes of zero,
// and where the home agent's address is in one, that address (flag R, §7.2).
func (a *Agent) advertised() []mip6.PrefixInformation {
	list := make([]mip6.PrefixInformation, len(a.prefixes))
	for i, p := range a.prefixes {
		info := mip6.PrefixInformation{Prefix: p.Prefix, OnLink: true, Autonomous: true}
		if p.Prefix.Contains(a.config.Address) {
			info.Prefix, info.RouterAddress = netip.PrefixFrom(a.config.Address, p.Prefix.Bits()), true
		}
		info.PreferredLifetime, info.ValidLifetime = p.lifetimes(a.now)
		list[i] = info
	}
	return list
}
