package mip6

import "net/netip"

// Routable reports whether an address may be a home or care-of address, or that
// of a node with bindings: a unicast IPv6 address that routers forward (RFC 6275
// §6.1.7, §9.1, §9.5.1), unique local ones included (§4.6).
func Routable(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.Zone() == "" && a.IsGlobalUnicast()
}
