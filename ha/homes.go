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
	// configuration is the number of the newest one that has it: see Agent.configurations.
	configuration uint64
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
	inquiry       inquiry                 // after a time in which nobody defended it
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

// entitledAs reports whether bindings of m, which has the home address of o, depend on
// nothing that is another of o: keys, for one, count with the next message only.
func (m *Mobile) entitledAs(o *Mobile) bool {
	return m.Name == o.Name && m.Disabled == o.Disabled && m.Router == o.Router && m.Delegate == o.Delegate &&
		slices.Equal(m.Prefixes, o.Prefixes)
}

// ordered is a mobile whose prefixes are masked and in their order.
func ordered(m *Mobile) *Mobile {
	if len(m.Prefixes) == 0 || len(m.Prefixes) == 1 && m.Prefixes[0] == m.Prefixes[0].Masked() {
		return m
	}
	o := *m
	o.Prefixes = slices.Clone(m.Prefixes)
	for i, p := range o.Prefixes {
		o.Prefixes[i] = p.Masked()
	}
	o.Prefixes = sorted(o.Prefixes)
	return &o
}

// newMobile is a mobile of the present configuration.
func (a *Agent) newMobile(m *Mobile) *mobile {
	return &mobile{Mobile: *ordered(m), identity: m.identity(), configuration: a.configurations}
}

// at is the home address addr of a mobile. What was remembered of it stays as long as it
// is the same mobile's.
func (m *mobile) at(addr netip.Addr, before *home) *home {
	h := before
	if h == nil || !h.is(m.Mobile) {
		h = &home{addr: addr}
	}
	h.mobile = m
	m.homes = append(m.homes, h)
	return h
}

// configureMobiles makes the table of home addresses anew. It returns all that there
// are and were, with what there was.
func (a *Agent) configureMobiles(configured []Mobile) (before map[netip.Addr]*home) {
	before = a.homes
	a.homes = make(map[netip.Addr]*home, len(configured)*len(a.prefixes))
	add := func(m *mobile, addr netip.Addr) {
		was := before[addr]
		before[addr] = was // nil: a new one
		a.homes[addr] = m.at(addr, was)
	}
	mobiles := make([]*mobile, len(configured))
	for i := range configured {
		mobiles[i] = a.newMobile(&configured[i])
		add(mobiles[i], configured[i].HomeAddress)
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
	return before
}

// changeMobiles does the same where the home link has, as before, one prefix, and so
// each mobile one home address: it changes the table, and returns those home addresses
// alone whose mobile is another, or entitled to something else, with what there was.
func (a *Agent) changeMobiles(configured []Mobile) (changed map[netip.Addr]*home) {
	changed = make(map[netip.Addr]*home)
	for home := range a.delegations { // what they may use depends on all the others
		if h := a.homes[home]; h != nil {
			changed[home] = h
		}
	}
	for i := range configured {
		m := ordered(&configured[i])
		was := a.homes[m.HomeAddress]
		if was != nil && m.entitledAs(&was.Mobile) {
			// It may have another key; and nothing of the old configuration stays in memory.
			was.Mobile, was.configuration = *m, a.configurations
			continue
		}
		changed[m.HomeAddress] = was
		a.homes[m.HomeAddress] = a.newMobile(m).at(m.HomeAddress, was)
	}
	if len(a.homes) == len(configured) {
		return changed
	}
	for addr, h := range a.homes {
		if h.configuration != a.configurations {
			changed[addr] = h
			delete(a.homes, addr)
		}
	}
	return changed
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
