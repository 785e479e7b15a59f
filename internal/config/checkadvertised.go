package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"roam6/mip6"
	"roam6/nd"
)

const (
	// maxOption is the longest option that is sent, in octets: with what every
	// advertisement has it fits into the least MTU, since it is not to be fragmented
	// (RFC 6980). Several options are sent in several packets. What every one has are
	// the fields and, at most, the link-layer address, the MTU, the interval, the home
	// agent, the border router and the prefix with the router's address.
	maxOption = 1280 - 40 - 16 - 8 - 8 - 8 - 8 - 24 - 32
	// Octets of an RDNSS or DNSSL option before servers or domains, and of a server.
	lenDNSHeader = 8
	lenServer    = 16
	maxServers   = (maxOption - lenDNSHeader) / lenServer
	// maxTranslationLifetime is the largest that a PREF64 option holds, in units of
	// translationUnit (RFC 8781 §4.1).
	maxTranslationLifetime = 65528 * time.Second
	translationUnit        = 8 * time.Second
)

// links are the interface sections, to which other sections add.
type links struct {
	entries []entry[interfaceDraft]
	names   []string
}

// linkNames are the names of all interfaces with an interface section, in use or not.
func linkNames(entries []entry[interfaceDraft]) []string {
	var l []string
	for _, e := range entries {
		if name := e.value.Name; name != "" && indexOf(l, name) < 0 {
			l = append(l, name)
		}
	}
	return l
}

// of is the interface section to which s adds. Where there is none, which is
// reported, or none in use, it is one that leads nowhere, so that s is checked all
// the same.
func (l links) of(s section, name string) *entry[interfaceDraft] {
	for i := range l.entries {
		if e := &l.entries[i]; e.enabled && e.value.Name == name {
			return e
		}
	}
	if name != "" && indexOf(l.names, name) < 0 {
		s.wrong(optionInterface, 0, "the interface of an interface section"+orNone(name, l.names))
	}
	return &entry[interfaceDraft]{value: interfaceDraft{removeOnExit: true}}
}

// bounded is a section that adds to an interface section.
type bounded interface{ on() string }

func (b bound) on() string { return b.link }

// onLink is a value on a link, which must not be there twice.
type onLink[T comparable] struct {
	link  string
	value T
}

// each visits the sections of a type that are in use.
func each[S bounded](l links, entries []entry[S], visit func(e entry[S], to *entry[interfaceDraft])) {
	for _, e := range entries {
		if e.enabled {
			visit(e, l.of(e.section, e.value.on()))
		}
	}
}

// addAdvertised checks the sections that belong to an interface section, and adds to
// it what they say.
func (l links) addAdvertised(s sections) {
	l.addPrefixes(s.prefixes)
	l.addRoutes(s.routes)
	l.addServers(s.rdnss)
	l.addDomains(s.dnssl)
	l.addTranslation(s.nat64)
	l.addBorderRouters(s.borderRouters)
	l.addContexts(s.contexts)
	l.addAnchors(s.mapOptions)
}

func (l links) addPrefixes(entries []entry[prefixDraft]) {
	type numbered struct {
		prefix netip.Prefix
		from   string
	}
	seen := map[onLink[numbered]]section{}
	each(l, entries, func(e entry[prefixDraft], to *entry[interfaceDraft]) {
		for i, prefix := range e.value.prefixes {
			distinct(seen, onLink[numbered]{e.value.link, numbered{prefix.Masked(), e.value.from}}, e.section, optionPrefix, i, "a prefix")
		}
		e.noFarewell(optionDeprecate, e.value.deprecate, to)
		to.value.Prefixes = append(to.value.Prefixes, informations(e)...)
	})
}

// informations checks a prefix section and gives the options it makes.
func informations(e entry[prefixDraft]) []Prefix {
	d := e.value
	if !e.has(optionPreferred) {
		d.information.PreferredLifetime = min(defaultPreferred, d.information.ValidLifetime)
	} else if e.sound && d.information.PreferredLifetime > d.information.ValidLifetime {
		e.wrong(optionPreferred, 0, "at most AdvValidLifetime, "+inSeconds(d.information.ValidLifetime))
	}
	if d.decrement && d.information.PreferredLifetime == mip6.InfiniteLifetime && e.sound {
		e.wrong(optionDecrement, 0, "0, or lifetimes that are not infinity and so can count down")
	}
	if d.from != "" && d.from == d.link {
		e.wrong(optionBase, 0, "another interface; the prefixes of this one are '::/64' without "+optionBase)
	}
	var list []Prefix
	for i, prefix := range d.prefixes {
		e.checkPrefix(d, i)
		p := Prefix{PrefixInformation: d.information, Own: isOwn(prefix) || d.from != "", From: d.from, Deprecate: d.deprecate, Decrement: d.decrement}
		p.Prefix = prefix
		list = append(list, p)
	}
	return list
}

// checkPrefix checks one of the prefixes of a section.
func (s section) checkPrefix(d prefixDraft, item int) {
	// Of a prefix without these there is only the number of a subnet.
	network := netip.PrefixFrom(netip.IPv6Unspecified(), 32)
	prefix := d.prefixes[item]
	switch router := d.information.RouterAddress; {
	case d.from != "" && (prefix.Bits() != 64 || !network.Contains(prefix.Addr()) || prefix != prefix.Masked()):
		s.wrong(optionPrefix, item, "::/64, or the number of a subnet such as 0:0:0:1::/64, because of "+optionBase)
	case d.from != "" || isOwn(prefix):
	case network.Contains(prefix.Addr()):
		s.wrong(optionPrefix, item, "a prefix with that of a network; the number of a subnet alone goes with "+optionBase)
	case router && prefix == prefix.Masked():
		s.wrong(optionPrefix, item, "the router's whole address with the length of the prefix, because of AdvRouterAddr")
	case router && routable(prefix.Addr()) != nil:
		s.wrong(optionPrefix, item, "a routable unicast address with the length of the prefix, because of AdvRouterAddr")
	case !router && prefix != prefix.Masked():
		s.wrong(optionPrefix, item, fmt.Sprintf("%v; the router's whole address goes with AdvRouterAddr", prefix.Masked()))
	}
}

// noFarewell reports an option that says what to tell hosts when roam6 stops, where
// the interface section says that they are told nothing.
func (s section) noFarewell(option string, on bool, to *entry[interfaceDraft]) {
	if on && s.has(option) && !to.value.removeOnExit {
		s.wrong(option, 0, "0, because "+optionRemoveOnExit+" of "+quoted(to.section)+" is 0")
	}
}

// untilLost gives the lifetime of an option: by default one that outlives two
// advertisements in a row that are lost. longest is what the option holds.
func (s section) untilLost(option string, given time.Duration, to *entry[interfaceDraft], longest time.Duration) time.Duration {
	if !s.has(option) {
		return min(roundUp(3*to.value.MaxInterval), longest)
	}
	return given
}

// atLeastInterval reports a lifetime that ends between two advertisements; 0 takes
// back what was told.
func (s section) atLeastInterval(option string, given time.Duration, to *entry[interfaceDraft], longest time.Duration) {
	shortest := min(roundUp(to.value.MaxInterval), longest)
	if s.has(option) && to.sound && given != 0 && given < shortest {
		s.wrong(option, 0, fmt.Sprintf("0, or at least %s of %s: %d seconds", maxIntervalOption().in(to.section), quoted(to.section), shortest/time.Second))
	}
}

func (l links) addRoutes(entries []entry[routeDraft]) {
	seen := map[onLink[netip.Prefix]]section{}
	each(l, entries, func(e entry[routeDraft], to *entry[interfaceDraft]) {
		route := Route{RouteInformation: e.value.route, Keep: !e.value.remove}
		route.Lifetime = e.untilLost(optionRouteLifetime, route.Lifetime, to, mip6.InfiniteLifetime)
		e.noFarewell(optionRemoveRoute, e.value.remove, to)
		for i, prefix := range e.value.prefixes {
			distinct(seen, onLink[netip.Prefix]{e.value.link, prefix}, e.section, optionPrefix, i, "a prefix")
			route.Prefix = prefix
			to.value.Routes = append(to.value.Routes, route)
		}
	})
}

func (l links) addServers(entries []entry[rdnssDraft]) {
	seen := map[onLink[netip.Addr]]section{}
	each(l, entries, func(e entry[rdnssDraft], to *entry[interfaceDraft]) {
		servers := DNSServers{RecursiveDNS: e.value.RecursiveDNS, Keep: !e.value.flush}
		for i, a := range servers.Servers {
			distinct(seen, onLink[netip.Addr]{e.value.link, a}, e.section, optionAddr, i, "a server")
		}
		if n := len(servers.Servers); n > maxServers {
			e.wrong(optionAddr, maxServers, fmt.Sprintf("at most %d servers, as many as a packet holds; there are %d", maxServers, n))
		}
		e.atLeastInterval(optionDNSLifetime, servers.Lifetime, to, mip6.InfiniteLifetime)
		servers.Lifetime = e.untilLost(optionDNSLifetime, servers.Lifetime, to, mip6.InfiniteLifetime)
		e.noFarewell(optionFlushServers, e.value.flush, to)
		to.value.DNSServers = append(to.value.DNSServers, servers)
	})
}

func (l links) addDomains(entries []entry[dnsslDraft]) {
	seen := map[onLink[string]]section{}
	each(l, entries, func(e entry[dnsslDraft], to *entry[interfaceDraft]) {
		search := DNSSearch{DNSSearch: e.value.DNSSearch, Keep: !e.value.flush}
		length := lenDNSHeader
		for i, domain := range search.Domains {
			distinct(seen, onLink[string]{e.value.link, strings.ToLower(domain)}, e.section, optionSuffix, i, "a domain")
			before := length
			length += len(domain) + 2 // the first length and the root (RFC 1035 §3.1)
			if before <= maxOption && length > maxOption {
				e.wrong(optionSuffix, i, fmt.Sprintf("no more than the %d domains before, which are as much as a packet holds; others take a section of their own", i))
			}
		}
		e.atLeastInterval(optionSearchLifetime, search.Lifetime, to, mip6.InfiniteLifetime)
		search.Lifetime = e.untilLost(optionSearchLifetime, search.Lifetime, to, mip6.InfiniteLifetime)
		e.noFarewell(optionFlushSearch, e.value.flush, to)
		to.value.DNSSearch = append(to.value.DNSSearch, search)
	})
}

func (l links) addTranslation(entries []entry[nat64Draft]) {
	seen := map[onLink[netip.Prefix]]section{}
	each(l, entries, func(e entry[nat64Draft], to *entry[interfaceDraft]) {
		e.atLeastInterval(optionValid, e.value.lifetime, to, maxTranslationLifetime)
		lifetime := e.untilLost(optionValid, e.value.lifetime, to, maxTranslationLifetime)
		lifetime = (lifetime + translationUnit - 1).Truncate(translationUnit) // RFC 8781 §4.1
		for i, prefix := range e.value.prefixes {
			distinct(seen, onLink[netip.Prefix]{e.value.link, prefix}, e.section, optionPrefix, i, "a prefix")
			to.value.NAT64 = append(to.value.NAT64, nd.NAT64Prefix{Prefix: prefix, Lifetime: lifetime})
		}
	})
}

// addBorderRouters: all that an advertisement says is of one version, that of one
// border router (RFC 6775 §4.3).
func (l links) addBorderRouters(entries []entry[borderRouterDraft]) {
	seen := map[string]section{}
	each(l, entries, func(e entry[borderRouterDraft], to *entry[interfaceDraft]) {
		if e.value.link != "" {
			distinct(seen, e.value.link, e.section, optionInterface, 0, "an interface")
		}
		router := e.value.BorderRouter
		router.Version = uint32(e.value.high)<<16 | uint32(e.value.low)
		to.value.BorderRouters = append(to.value.BorderRouters, router)
	})
}

func (l links) addContexts(entries []entry[contextDraft]) {
	seen := map[onLink[uint8]]section{}
	each(l, entries, func(e entry[contextDraft], to *entry[interfaceDraft]) {
		if !e.sound {
			return
		}
		c := e.value.Context
		distinct(seen, onLink[uint8]{e.value.link, c.ID}, e.section, optionContextID, 0, "a number")
		written, length := e.value.prefix, e.value.prefix.bits
		switch {
		case length < 0 && !e.has(optionContextLength):
			e.wrong(optionPrefix, 0, "a prefix with its length, or "+optionContextLength)
			return
		case length < 0:
			length = e.value.length
		case e.has(optionContextLength) && e.value.length != length:
			e.wrong(optionContextLength, 0, fmt.Sprintf("%d, the length of %s; or a prefix without", length, optionPrefix))
		}
		c.Prefix = netip.PrefixFrom(written.addr, length)
		if c.Prefix != c.Prefix.Masked() {
			e.wrong(optionPrefix, 0, fmt.Sprintf("an address without bits beyond the first %d; %v?", length, c.Prefix.Masked().Addr()))
		}
		to.value.Contexts = append(to.value.Contexts, c)
	})
}

func (l links) addAnchors(entries []entry[mapOptionDraft]) {
	seen := map[onLink[netip.Addr]]section{}
	each(l, entries, func(e entry[mapOptionDraft], to *entry[interfaceDraft]) {
		if e.value.Address.IsValid() {
			distinct(seen, onLink[netip.Addr]{e.value.link, e.value.Address}, e.section, optionAddress, 0, "an anchor")
		}
		to.value.Anchors = append(to.value.Anchors, e.value.MobilityAnchorPoint)
	})
}
