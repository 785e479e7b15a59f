package ha

import (
	"fmt"
	"net/netip"
	"slices"

	"roam6/mip6"
)

// Mobile networks may be parts of a home prefix, as in an aggregated home network
// (RFC 4887 §6). Packets find them like others, by the longest prefix. What must not
// be in one are home addresses, whose packets it would draw into its tunnel, and the
// anycast addresses of the home link. Hosts of the home link that take the home
// prefix for on-link look for nodes of such a network there, in vain (§6.4.1): the
// proxy answers for home addresses only. So such a home link is for mobile routers
// and home agents alone, or there is none (HomeLink is empty, RFC 4887 §7).

// covers reports whether p contains a home prefix, or an address of one that belongs
// to its routers.
func covers(p netip.Prefix, home netip.Prefix) bool {
	return p.Bits() <= home.Bits() && p.Contains(home.Addr()) ||
		p.Contains(home.Masked().Addr()) || p.Contains(mip6.HomeAgentsAnycast(home))
}

// among reports whether p contains one of some addresses in order.
func among(sorted []netip.Addr, p netip.Prefix) bool {
	i, _ := slices.BinarySearchFunc(sorted, p.Masked().Addr(), netip.Addr.Compare)
	return i < len(sorted) && p.Contains(sorted[i])
}

// atHome reports whether a prefix has addresses of home links that no mobile network
// may have.
func (a *Agent) atHome(p netip.Prefix) bool {
	return slices.ContainsFunc(a.prefixes, func(home HomePrefix) bool { return covers(p, home.Prefix) }) || among(a.claims.homes, p)
}

// aggregated checks the mobile networks inside home prefixes: none may have another
// mobile's home address.
func (c Config) aggregated() (errs []error) {
	homes := c.homePrefixes()
	var addrs []netip.Addr // sorted, when there is any such network
	owner := make(map[netip.Addr]string)
	for _, m := range c.Mobiles {
		for _, p := range m.Prefixes {
			if !slices.ContainsFunc(homes, func(home HomePrefix) bool { return home.Prefix.Overlaps(p) }) {
				continue
			}
			if addrs == nil {
				for _, o := range c.Mobiles {
					for _, home := range homes {
						addr := under(home.Prefix, o.HomeAddress)
						addrs, owner[addr] = append(addrs, addr), o.Name
					}
				}
				slices.SortFunc(addrs, netip.Addr.Compare)
			}
			from, _ := slices.BinarySearchFunc(addrs, p.Masked().Addr(), netip.Addr.Compare)
			for _, addr := range addrs[from:] {
				if !p.Contains(addr) {
					break
				}
				if owner[addr] != m.Name {
					errs = append(errs, fmt.Errorf("mobile %q: %v has the home address %v of mobile %q", m.Name, p, addr, owner[addr]))
					break
				}
			}
		}
	}
	return errs
}
