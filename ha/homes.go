package ha

import (
	"net/netip"
	"slices"

	"roam6/internal/binding"
	"roam6/internal/limit"
	"roam6/mip6"
	"roam6/overlay"
)

// mobile is a configured mobile and its home addresses: the configured one, and
// one under every other home prefix.
type mobile struct {
	Mobile
	identity string // by which another process knows it
	homes    []*home
}

// home is a home address and what the agent remembers of it with or without a
// binding.
type home struct {
	*mobile
	addr     netip.Addr
	fresh    binding.Freshness
	refusals limit.Limiter
	failures limit.Limiter
	probe    *probe // while duplicate address detection runs
	// wanted are the mobile network prefixes that its binding registered. They are
	// forwarded through it unless a newer binding of the mobile registered them too.
	wanted []netip.Prefix

	announcements binding.Announcements
	requests      binding.RefreshRequests // since the last update
	delivery      delivery
	direct        *overlay.Route // for prefix delegation; nil: none
	// teller is who has told the link last that it has the home address, by its
	// link-local address: the mobile, or another home agent. Invalid: nobody.
	teller netip.Addr
}

// is reports whether m and o configure the same mobile at different times.
func (m Mobile) is(o Mobile) bool {
	return m.HomeAddress == o.HomeAddress || m.Name == o.Name && m.Name != ""
}

// configureMobiles makes the table of home addresses. What is remembered of one
// stays as long as it is the same mobile's.
func (a *Agent) configureMobiles(configured []Mobile) {
	before := a.homes
	a.homes = make(map[netip.Addr]*home, len(configured)*len(a.prefixes))
	a.insecure, a.counts.Mobiles = nil, len(configured)
	add := func(m *mobile, addr netip.Addr) {
		h := before[addr]
		if h == nil || !h.is(m.Mobile) {
			h = &home{addr: addr}
		}
		h.mobile = m
		m.homes = append(m.homes, h)
		a.homes[addr] = h
	}
	mobiles := make([]*mobile, len(configured))
	for i, conf := range configured {
		conf.Prefixes = slices.Clone(conf.Prefixes)
		for i, p := range conf.Prefixes {
			conf.Prefixes[i] = p.Masked()
		}
		conf.Prefixes = sorted(conf.Prefixes)
		if conf.Insecure && conf.SA == nil && !conf.ESP {
			a.insecure = append(a.insecure, conf.Name)
		}
		mobiles[i] = &mobile{Mobile: conf, identity: conf.identity()}
		add(mobiles[i], conf.HomeAddress)
	}
	// An address that is configured, or that two mobiles might claim, is the
	// former's: a home address names one security association (RFC 6275 §10.3.1).
	for _, m := range mobiles {
		if len(a.prefixes) == 1 {
			break
		}
		for _, p := range a.prefixes {
			if addr := under(p.Prefix, m.HomeAddress); a.homes[addr] == nil && !a.reserved(addr) {
				add(m, addr)
			}
		}
	}
	a.counts.Homes = len(a.homes)
	a.claims = newClaims(mobiles)
}

// under is the address with the interface identifier of home in another home
// prefix.
func under(prefix netip.Prefix, home netip.Addr) netip.Addr {
	a, h := prefix.Masked().Addr().As16(), home.As16()
	for i := range a {
		a[i] |= h[i] & hostBits(prefix.Bits()-8*i)
	}
	return netip.AddrFrom16(a)
}

// hostBits is the mask of the octet in which the prefix has n bits, or fewer than
// none, or more than all.
func hostBits(n int) byte { return byte(0xff >> min(max(n, 0), 8)) }

// reserved reports whether an address cannot be a home address: the home agent's
// own, or an anycast address of a home prefix.
func (a *Agent) reserved(addr netip.Addr) bool {
	return addr == a.config.Address || slices.ContainsFunc(a.prefixes, func(p HomePrefix) bool {
		return addr == p.Prefix.Addr() || addr == mip6.HomeAgentsAnycast(p.Prefix)
	})
}
