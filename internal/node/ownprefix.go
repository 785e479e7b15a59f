package node

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/config"
	"roam6/internal/deadline"
	"roam6/internal/rtnl"
	"roam6/mip6"
	"roam6/nd"
)

// Own prefixes (`::/64`) are what an interface has of addresses that others than we
// have given it: netifd, a person, the kernel. Care-of and home addresses are ours,
// and are no prefixes to advertise; those that we give to the interfaces of a mobile
// network (numbering) are advertised anyhow, and `::/64` says how.

// maxOwnPrefixes bounds the prefixes that a link has of its own: some may come from
// the network.
const maxOwnPrefixes = 32

// toldPrefix is a prefix to advertise.
type toldPrefix struct {
	mip6.PrefixInformation
	ends      nd.Expiry // zero times: never
	deprecate bool      // when roam6 stops
}

// prefixes are those to advertise on a link: what its section names; then its own,
// and those numbered from other interfaces; then mobile networks and what is
// delegated. Of two that are the same the first counts.
func (a advertisement) prefixes(link string, usable func(netip.Prefix) bool) []toldPrefix {
	var list []toldPrefix
	is := func(p netip.Prefix) func(toldPrefix) bool {
		return func(q toldPrefix) bool { return q.Prefix.Masked() == p }
	}
	add := func(p toldPrefix) {
		if !slices.ContainsFunc(list, is(p.Prefix.Masked())) {
			list = append(list, p)
		}
	}
	if a.section != nil {
		for _, p := range a.section.Prefixes {
			if !p.Own {
				add(a.counted(toldPrefix{PrefixInformation: p.PrefixInformation, deprecate: p.Deprecate}, p))
			}
		}
		own := 0
		for _, p := range a.section.Prefixes {
			if !p.Own {
				continue
			}
			for _, o := range a.own(link, p) {
				if own < maxOwnPrefixes && usable(o.Prefix.Masked()) {
					own++
					add(a.counted(o, p))
				}
			}
		}
	}
	for _, p := range a.networks {
		if usable(p) {
			add(a.network(link, p, netip.Addr{}, networkPreferred, networkValid))
		} else { // RFC 3963 §5.4.2
			list = slices.DeleteFunc(list, is(p))
		}
	}
	for _, n := range a.numbered {
		if !usable(n.prefix) {
			continue
		}
		var address netip.Addr
		if n.given {
			address = firstAddress(n.prefix).Addr()
		}
		p := a.network(link, n.prefix, address, advertisedPreferred, advertisedValid)
		add(p)
		// The section may say other things of it, but not that it lasts longer.
		e := &list[slices.IndexFunc(list, is(n.prefix))].ends
		e.Preferred, e.Valid = deadline.Earlier(e.Preferred, n.preferredUntil), deadline.Earlier(e.Valid, n.validUntil)
	}
	return list
}

// counted lets the lifetimes of a prefix count down, if its section wants that.
func (a advertisement) counted(p toldPrefix, c config.Prefix) toldPrefix {
	if c.Decrement && a.begun != nil {
		e := nd.CountDown(a.begun(p.PrefixInformation), p.PrefixInformation)
		p.ends.Preferred = deadline.Earlier(p.ends.Preferred, e.Preferred)
		p.ends.Valid = deadline.Earlier(p.ends.Valid, e.Valid)
	}
	return p
}

// network is a prefix of a mobile network or of a delegated one, as the `::/64` of the
// section wants it or by default; address is ours in it, if that is known.
func (a advertisement) network(link string, prefix netip.Prefix, address netip.Addr, preferred, valid time.Duration) toldPrefix {
	p := toldPrefix{PrefixInformation: mip6.PrefixInformation{
		Prefix: prefix, OnLink: true, Autonomous: prefix.Bits() == 64, ValidLifetime: valid, PreferredLifetime: preferred,
	}}
	if a.section == nil {
		return p
	}
	i := slices.IndexFunc(a.section.Prefixes, func(c config.Prefix) bool {
		return c.Own && c.From == "" && c.Prefix.Bits() == prefix.Bits()
	})
	if i < 0 {
		return p
	}
	c := a.section.Prefixes[i]
	p.PrefixInformation = c.PrefixInformation
	p.ValidLifetime, p.PreferredLifetime = min(p.ValidLifetime, valid), min(p.PreferredLifetime, preferred, valid)
	p.deprecate = c.Deprecate
	if c.RouterAddress && !address.IsValid() {
		address = a.addressIn(link, prefix)
	}
	p.PrefixInformation = withAddress(p.PrefixInformation, prefix, address)
	return p
}

// own are the prefixes that a section for own ones stands for now.
func (a advertisement) own(link string, c config.Prefix) []toldPrefix {
	if a.addresses == nil {
		return nil
	}
	from := link
	if c.From != "" {
		from = c.From
	}
	var list []toldPrefix
	for _, x := range a.addresses(from) {
		prefix, ok := ownPrefix(x, c)
		if !ok {
			continue
		}
		preferred := x.PreferredUntil
		if x.Deprecated {
			preferred = deadline.Passed()
		}
		if i := slices.IndexFunc(list, func(p toldPrefix) bool { return p.Prefix.Masked() == prefix }); i >= 0 {
			e := &list[i].ends // of several addresses the one that lasts longest counts
			e.Preferred, e.Valid = later(e.Preferred, preferred), later(e.Valid, x.ValidUntil)
			continue
		}
		if len(list) == maxOwnPrefixes {
			continue
		}
		var address netip.Addr
		if c.RouterAddress {
			address = a.addressIn(link, prefix)
		}
		list = append(list, toldPrefix{
			PrefixInformation: withAddress(c.PrefixInformation, prefix, address),
			ends:              nd.Expiry{Preferred: preferred, Valid: x.ValidUntil},
			deprecate:         c.Deprecate,
		})
	}
	return list
}

// ownPrefix is the prefix that an address of an interface stands for: its own, or that
// of a subnet behind it.
func ownPrefix(x rtnl.LinkAddress, c config.Prefix) (p netip.Prefix, ok bool) {
	base := x.Prefix.Masked()
	if base.Addr().IsLinkLocalUnicast() {
		return p, false
	}
	if c.From == "" {
		return base, base.Bits() == c.Prefix.Bits()
	}
	subnet := c.Prefix.Masked().Addr()
	if base.Bits() > c.Prefix.Bits() || !netip.PrefixFrom(subnet, base.Bits()).Masked().Addr().IsUnspecified() {
		return p, false // it has no such subnet
	}
	b, s := base.Addr().As16(), subnet.As16()
	for i := range b {
		b[i] |= s[i]
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), c.Prefix.Bits()), true
}

// withAddress is an information about a prefix, with the router's whole address where
// that is wanted and there is one (RFC 6275 §7.2). That of all routers of the subnet
// is none of ours (RFC 4291 §2.6.1).
func withAddress(p mip6.PrefixInformation, prefix netip.Prefix, address netip.Addr) mip6.PrefixInformation {
	p.Prefix = prefix
	if p.RouterAddress = p.RouterAddress && address.IsValid() && address != prefix.Addr(); p.RouterAddress {
		p.Prefix = netip.PrefixFrom(address, prefix.Bits())
	}
	return p
}

// addressIn is the address that a link has in a prefix: one that is there to stay, as
// far as its kind tells; of several the lowest, so that it stays the same whichever is
// renewed (RFC 6275 §7.2). It is invalid if there is none.
func (a advertisement) addressIn(link string, prefix netip.Prefix) netip.Addr {
	if a.addresses == nil {
		return netip.Addr{}
	}
	var best *rtnl.LinkAddress
	for _, x := range a.addresses(link) {
		addr := x.Prefix.Addr()
		if !prefix.Contains(addr) || x.Temporary || addr == prefix.Masked().Addr() {
			continue
		}
		if best == nil || best.Deprecated && !x.Deprecated ||
			best.Deprecated == x.Deprecated && !best.ValidUntil.IsZero() && x.ValidUntil.IsZero() {
			best = &x
		}
	}
	if best == nil {
		return netip.Addr{}
	}
	return best.Prefix.Addr()
}

// later is the later of two ends, of which the zero one is never.
func later(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return a
	}
	return b
}

// countdowns remembers since when lifetimes count down (AdvDecrementLifetimes): a
// reload that does not change a prefix does not begin anew. The zero value is ready.
type countdowns struct{ since map[countdown]time.Time }

// countdown is a prefix of an interface as it is configured.
type countdown struct {
	link             string
	prefix           netip.Prefix
	preferred, valid time.Duration
}

// of is an advertisement's begun for one look at an interface, after which done
// forgets what was not asked for.
func (x *countdowns) of(now time.Time, link string) (begun func(mip6.PrefixInformation) time.Time, done func()) {
	asked := make(map[countdown]bool)
	begun = func(p mip6.PrefixInformation) time.Time {
		k := countdown{link, p.Prefix.Masked(), p.PreferredLifetime, p.ValidLifetime}
		asked[k] = true
		if at, ok := x.since[k]; ok {
			return at
		}
		if x.since == nil {
			x.since = make(map[countdown]time.Time)
		}
		x.since[k] = now
		return now
	}
	done = func() {
		for k := range x.since {
			if k.link == link && !asked[k] {
				delete(x.since, k)
			}
		}
	}
	return begun, done
}
