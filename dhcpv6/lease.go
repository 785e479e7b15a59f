package dhcpv6

import (
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/iana"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
)

const (
	// maxLeases bounds the leases of an association.
	maxLeases = 8
	// minPrefix is the shortest prefix that a mobile believes it was given: a
	// shorter one is a part of the Internet.
	minPrefix = 16
	// minRenewal is the least time until T1 where it is the client's choice
	// (RFC 8415 §14.2).
	minRenewal = time.Second
)

// binding is what one server gave on one link.
type binding struct {
	server    []byte
	addresses association
	prefixes  association
	dns       []netip.Addr
	domains   []string
	// unproven: kept across a restart, or recalled for a link that cannot be
	// recognised. It is not given out before a server has said that it is good.
	unproven bool
	// restored: kept across a restart. Nobody knows how long the router was off, so
	// that the lifetimes may have been over for long.
	restored bool
	// doubtful: the carrier was away on a link that cannot be recognised. Addresses
	// are not given out before a server has answered; prefixes are, since what is
	// numbered from them is not renumbered for a moment without a carrier.
	doubtful bool
}

// association is an IA. T1 and T2 that never come are zero.
type association struct {
	t1, t2 time.Time
	leases []lease
	// unbound: the server does not know it (RFC 8415 §18.2.10.1).
	unbound bool
	// fresh: the server has said so since the exchange began.
	fresh bool
}

// lease is an address or a prefix. A lifetime without end is zero.
type lease struct {
	prefix           netip.Prefix
	preferred, valid time.Time
}

func (b *binding) empty() bool { return len(b.addresses.leases)+len(b.prefixes.leases) == 0 }

// within reports whether there are addresses, all inside of a prefix.
func (b *binding) within(p netip.Prefix) bool {
	return len(b.addresses.leases) > 0 &&
		!slices.ContainsFunc(b.addresses.leases, func(l lease) bool { return !p.Contains(l.prefix.Addr()) })
}

// times are the earliest T1 and T2 of all associations (RFC 8415 §18.2.4).
func (b *binding) times() (t1, t2 time.Time) {
	for _, a := range []*association{&b.addresses, &b.prefixes} {
		if len(a.leases) > 0 {
			t1, t2 = deadline.Earlier(t1, a.t1), deadline.Earlier(t2, a.t2)
		}
	}
	return t1, t2
}

// expiry is when the first lease ends; zero: never.
func (b *binding) expiry() (t time.Time) {
	for _, a := range []*association{&b.addresses, &b.prefixes} {
		for _, l := range a.leases {
			t = deadline.Earlier(t, l.valid)
		}
	}
	return t
}

// asked notes that the server's word about all associations is awaited.
func (b *binding) asked() {
	b.addresses.fresh, b.prefixes.fresh = false, false
}

// answered reports whether all associations with leases were in the answers.
func (b *binding) answered() bool {
	return (b.addresses.fresh || len(b.addresses.leases) == 0) && (b.prefixes.fresh || len(b.prefixes.leases) == 0)
}

// named lists the prefixes of an association.
func (a *association) named() []netip.Prefix {
	var list []netip.Prefix
	for _, l := range a.leases {
		list = append(list, l.prefix)
	}
	return list
}

// expire removes the leases that have ended and returns them.
func (a *association) expire(now time.Time) (ended []netip.Prefix) {
	a.leases = slices.DeleteFunc(a.leases, func(l lease) bool {
		over := deadline.Due(now, l.valid)
		if over {
			ended = append(ended, l.prefix)
		}
		return over
	})
	return ended
}

// remaining lists the leases with the lifetimes that they have yet.
func (a *association) remaining(now time.Time) []role.LeasedPrefix {
	var list []role.LeasedPrefix
	for _, l := range a.leases {
		list = append(list, role.LeasedPrefix{
			Prefix:    l.prefix,
			Preferred: deadline.Remaining(now, l.preferred),
			Valid:     deadline.Remaining(now, l.valid),
		})
	}
	return list
}

// apply takes over what a server says about an association (RFC 8415 §18.2.10.1)
// It reports whether that was of use, and the number of leases that it refused,
// because they make no sense. exact: leases that the server does not name are lost.
func (a *association) apply(now time.Time, ia *iaOption, ok func(netip.Prefix) bool, exact bool) (taken bool, refused int) {
	if !ia.present {
		return false, 0
	}
	switch ia.status {
	case iana.StatusSuccess:
	case iana.StatusNoBinding:
		a.unbound = true
		return true, 0
	case iana.StatusNotOnLink:
		// They are of no use here, whatever their lifetime.
		a.leases, a.fresh = nil, true
		return true, 0
	default:
		// Nothing to be had, or not now: what there is stays until it ends.
		return false, 0
	}
	if a.unbound {
		a.leases, a.unbound = nil, false
	}
	var granted []netip.Prefix
	for _, o := range ia.leases {
		i := slices.IndexFunc(a.leases, func(l lease) bool { return l.prefix == o.prefix })
		l := lease{o.prefix, deadline.Of(now, o.preferred), deadline.Of(now, o.valid)}
		switch {
		case o.preferred > o.valid || o.status != iana.StatusSuccess || !ok(o.prefix):
			refused++
		case o.valid == 0 && i >= 0:
			a.leases = slices.Delete(a.leases, i, i+1)
			a.fresh, taken = true, true
		case o.valid == 0: // never ours
		case i >= 0:
			a.leases[i] = l
			granted = append(granted, l.prefix)
		case len(a.leases) >= maxLeases:
			refused++
		default:
			a.leases = append(a.leases, l)
			granted = append(granted, l.prefix)
		}
	}
	if len(granted) == 0 {
		return taken, refused
	}
	a.fresh = true
	if exact {
		a.leases = slices.DeleteFunc(a.leases, func(l lease) bool { return !slices.Contains(granted, l.prefix) })
	}
	a.schedule(now, ia.t1, ia.t2)
	return true, refused
}

// schedule sets T1 and T2 (RFC 8415 §21.4, §21.21): as the server says, or where it
// leaves them to us 0.5 and 0.8 of the shortest preferred lifetime, as it should
// have chosen itself. Times at which a lease would have ended already are ours to
// choose too, since earlier ones are never wrong (§18.2.4).
func (a *association) schedule(now time.Time, t1, t2 time.Duration) {
	preferred, valid := mip6.InfiniteLifetime, mip6.InfiniteLifetime
	for _, l := range a.leases {
		if d := deadline.Remaining(now, l.preferred); d > 0 {
			preferred = min(preferred, d)
		}
		valid = min(valid, deadline.Remaining(now, l.valid))
	}
	basis := min(preferred, valid)
	if !infinite(t1) && t1 >= valid {
		t1, t2 = 0, 0
	}
	chosen := t1 == 0
	if chosen {
		t1 = max(share(basis, 5), minRenewal)
		if t2 > 0 {
			t1 = min(t1, t2)
		}
	}
	if t2 == 0 || !infinite(t2) && t2 >= valid {
		t2 = max(share(basis, 8), t1)
	}
	a.t1, a.t2 = deadline.Of(now, t1), deadline.Of(now, t2)
}

// share is a number of tenths of a lifetime; all of what is for ever.
func share(d time.Duration, tenths time.Duration) time.Duration {
	if infinite(d) {
		return d
	}
	return d / 10 * tenths
}

// assignable reports whether a server can lease an address: unicast, and of more
// than this link or this node (RFC 4291 §2.5).
func assignable(p netip.Prefix) bool {
	a := p.Addr()
	return p.Bits() == 128 && a.Is6() && !a.Is4In6() && a.IsGlobalUnicast()
}

// delegable reports whether a server can delegate a prefix.
func delegable(p netip.Prefix) bool {
	a := p.Addr()
	return p.IsValid() && p.Bits() >= minPrefix && a.Is6() && !a.Is4In6() && a.IsGlobalUnicast()
}
