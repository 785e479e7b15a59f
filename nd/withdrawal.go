package nd

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"roam6/internal/deadline"
	"roam6/mip6"
)

// What is not advertised any more is taken back, by an option with a lifetime of
// zero, until no host can have it any more, and in at least this many
// advertisements. Only the latest are.
const (
	withdrawRAs  = 3
	maxWithdrawn = 32
)

// subject is what an option tells of.
type subject struct {
	option uint8
	prefix netip.Prefix // of an address: all of it
	name   string       // of a domain, in lower case
	id     uint8        // of a context
}

// telling is one thing that hosts are told for a time, and what takes it back: an
// advertisement with one option.
type telling struct {
	subject  subject
	lifetime time.Duration
	takeBack RouterAdvertisement
}

// tellings are what an advertisement tells for a time, what mobiles need most last.
func (ra RouterAdvertisement) tellings() []telling {
	var out []telling
	add := func(s subject, lifetime time.Duration, takeBack RouterAdvertisement) {
		out = append(out, telling{s, lifetime, takeBack})
	}
	for _, c := range ra.Contexts {
		lifetime := c.ValidLifetime
		c.Compression, c.ValidLifetime = false, 0
		add(subject{option: optionContext, id: c.ID}, lifetime, RouterAdvertisement{Contexts: []Context{c}})
	}
	for _, n := range ra.NAT64 {
		add(subject{option: optionNAT64, prefix: n.Prefix.Masked()}, n.Lifetime,
			RouterAdvertisement{NAT64: []NAT64Prefix{{Prefix: n.Prefix}}})
	}
	for _, d := range ra.DNSSearch {
		for _, name := range d.Domains {
			add(subject{option: optionDNSSearch, name: strings.ToLower(name)}, d.Lifetime,
				RouterAdvertisement{DNSSearch: []DNSSearch{{Domains: []string{name}}}})
		}
	}
	for _, d := range ra.DNSServers {
		for _, a := range d.Servers {
			add(subject{option: optionDNSServers, prefix: netip.PrefixFrom(a, a.BitLen())}, d.Lifetime,
				RouterAdvertisement{DNSServers: []RecursiveDNS{{Servers: []netip.Addr{a}}}})
		}
	}
	for _, r := range ra.Routes {
		add(subject{option: optionRoute, prefix: r.Prefix.Masked()}, r.Lifetime,
			RouterAdvertisement{Routes: []RouteInformation{{Prefix: r.Prefix, Preference: r.Preference}}})
	}
	for _, m := range ra.Anchors {
		lifetime := m.ValidLifetime
		m.ValidLifetime = 0
		add(subject{option: optionAnchor, prefix: netip.PrefixFrom(m.Address, m.Address.BitLen())}, lifetime,
			RouterAdvertisement{Anchors: []mip6.MobilityAnchorPoint{m}})
	}
	for _, p := range ra.Prefixes {
		add(subject{option: optionPrefix, prefix: p.Prefix.Masked()}, p.ValidLifetime,
			RouterAdvertisement{Prefixes: []mip6.PrefixInformation{deprecated(p)}})
	}
	return out
}

// deprecated is a prefix that is taken back: not to be used for anything new. More
// than two hours of valid lifetime would only keep it longer; less is not believed by
// hosts that had more (RFC 4862 §5.5.3 e), and takes away the route to those on the
// link.
func deprecated(p mip6.PrefixInformation) mip6.PrefixInformation {
	p.Prefix, p.RouterAddress, p.PreferredLifetime = p.Prefix.Masked(), false, 0
	p.ValidLifetime = min(p.ValidLifetime, trustedLifetime)
	return p
}

// withdrawal is a telling that is taken back.
type withdrawal struct {
	telling
	ends time.Time // of what hosts were told
	sent int
}

// replaced begins to take back what is in old and not in ra any more, and ceases to
// take back what is in it again.
func (a *Advertiser) replaced(now time.Time, old, ra RouterAdvertisement) {
	told := make(map[subject]bool)
	for _, t := range ra.tellings() {
		told[t.subject] = true
	}
	for _, t := range old.tellings() {
		// What was taken back already need not be again; a prefix may have ended by
		// itself, and hosts keep it longer than they were told.
		if told[t.subject] || t.lifetime == 0 && t.subject.option != optionPrefix ||
			slices.ContainsFunc(a.withdrawn, func(w withdrawal) bool { return w.subject == t.subject }) {
			continue
		}
		if len(a.withdrawn) == maxWithdrawn {
			a.withdrawn = slices.Delete(a.withdrawn, 0, 1)
		}
		a.withdrawn = append(a.withdrawn, withdrawal{telling: t, ends: now.Add(min(t.lifetime, trustedLifetime))})
	}
	a.withdrawn = slices.DeleteFunc(a.withdrawn, func(w withdrawal) bool { return told[w.subject] })
}

// Succeed makes a, which has sent nothing yet, the successor of another on its link,
// which sends nothing any more: a takes back what that one told, or was taking back
// itself, and a does not tell; and keeps the least interval from its last advertisement.
func (a *Advertiser) Succeed(now time.Time, before *Advertiser) {
	told := before.ra
	told.Prefixes = counted(now, before.ra.Prefixes, before.expiry)
	a.withdrawn = slices.Clone(before.withdrawn)
	a.replaced(now, told, a.ra)
	a.last = before.last
	a.soon(now)
}

// takeBack adds to an advertisement what is withdrawn, the latest first. The lists
// of ra are not changed.
func (a *Advertiser) takeBack(now time.Time, ra *RouterAdvertisement) {
	for _, w := range slices.Backward(a.withdrawn) {
		for _, p := range w.takeBack.Prefixes {
			p.ValidLifetime = deadline.Remaining(now, w.ends)
			ra.Prefixes = with(ra.Prefixes, p)
		}
		ra.Anchors = with(ra.Anchors, w.takeBack.Anchors...)
		ra.Routes = with(ra.Routes, w.takeBack.Routes...)
		ra.DNSServers = with(ra.DNSServers, w.takeBack.DNSServers...)
		ra.DNSSearch = with(ra.DNSSearch, w.takeBack.DNSSearch...)
		ra.NAT64 = with(ra.NAT64, w.takeBack.NAT64...)
		ra.Contexts = with(ra.Contexts, w.takeBack.Contexts...)
	}
}

// with is a new list of all those in list and more.
func with[T any](list []T, more ...T) []T {
	if len(more) == 0 {
		return list
	}
	return append(slices.Clip(list), more...)
}

// forget ends the withdrawals that no host needs any more. Where nothing is sent
// unasked, nobody is waited for.
func (a *Advertiser) forget(now time.Time, least int) {
	a.withdrawn = slices.DeleteFunc(a.withdrawn, func(w withdrawal) bool { return w.sent >= least && !now.Before(w.ends) })
}

// Farewell says what the final advertisements do with what hosts were told for a
// time. Without it routes, DNS servers, search domains and NAT64 prefixes are taken
// back by a lifetime of zero, and prefixes stay what they are.
type Farewell struct {
	// Deprecate are prefixes (masked) that are deprecated: a preferred lifetime of
	// zero, and of the valid lifetime no more than two hours. Only for prefixes that
	// no other router of the link advertises.
	Deprecate []netip.Prefix
	// KeepRoutes (masked), KeepServers and KeepDomains (without the final dot) are
	// not taken back.
	KeepRoutes  []netip.Prefix
	KeepServers []netip.Addr
	KeepDomains []string
}

// apply makes a final advertisement. The lists of ra are not changed.
func (f Farewell) apply(ra RouterAdvertisement) RouterAdvertisement {
	// Whoever keeps a list of home agents strikes us off it (RFC 6275 §10.5.1); there
	// will be no further advertisement to wait for.
	ra.RouterLifetime, ra.HomeAgent, ra.HomeAgentInfo, ra.Interval = 0, false, nil, 0
	ra.Prefixes = slices.Clone(ra.Prefixes)
	for i, p := range ra.Prefixes {
		if slices.Contains(f.Deprecate, p.Prefix.Masked()) {
			ra.Prefixes[i] = deprecated(p)
		}
	}
	ra.Routes = slices.Clone(ra.Routes)
	for i, r := range ra.Routes {
		if !slices.Contains(f.KeepRoutes, r.Prefix.Masked()) {
			ra.Routes[i].Lifetime = 0
		}
	}
	ra.NAT64 = slices.Clone(ra.NAT64)
	for i := range ra.NAT64 {
		ra.NAT64[i].Lifetime = 0
	}
	// Other routers of the link may still lead to the same anchor: that we are gone
	// does not mean that it failed (RFC 5380 §7.1).
	ra.Anchors = slices.DeleteFunc(slices.Clone(ra.Anchors), func(m mip6.MobilityAnchorPoint) bool { return m.ValidLifetime != 0 })

	var servers []RecursiveDNS
	for _, d := range ra.DNSServers {
		keep, end := sorted(d.Servers, func(a netip.Addr) bool { return slices.Contains(f.KeepServers, a) })
		servers = append(servers, RecursiveDNS{Servers: keep, Lifetime: d.Lifetime}, RecursiveDNS{Servers: end})
	}
	ra.DNSServers = slices.DeleteFunc(servers, func(d RecursiveDNS) bool { return len(d.Servers) == 0 })
	var search []DNSSearch
	for _, d := range ra.DNSSearch {
		keep, end := sorted(d.Domains, func(name string) bool {
			return slices.ContainsFunc(f.KeepDomains, func(k string) bool { return strings.EqualFold(k, name) })
		})
		search = append(search, DNSSearch{Domains: keep, Lifetime: d.Lifetime}, DNSSearch{Domains: end})
	}
	ra.DNSSearch = slices.DeleteFunc(search, func(d DNSSearch) bool { return len(d.Domains) == 0 })
	return ra
}

// sorted tells the elements that are kept from the others.
func sorted[T any](list []T, keeps func(T) bool) (keep, end []T) {
	for _, v := range list {
		if keeps(v) {
			keep = append(keep, v)
		} else {
			end = append(end, v)
		}
	}
	return keep, end
}
