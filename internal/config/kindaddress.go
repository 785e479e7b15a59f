package config

import (
	"errors"
	"fmt"
	"net/netip"

	"roam6/mip6"
)

// unicastAddress is an address that can be a home address or a home agent's
// (RFC 6275 §4.6).
func unicastAddress() kind[netip.Addr] {
	return kind[netip.Addr]{
		name: "a routable unicast IPv6 address",
		parse: func(s string) (netip.Addr, error) {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return a, errMalformed
			}
			return a, routable(a)
		},
	}
}

// routable says why an address is not unicast routable, or nothing.
func routable(a netip.Addr) error {
	switch {
	case a.Is4():
		return errors.New("this is an IPv4 address")
	case a.Is4In6():
		return errors.New("this is an IPv4-mapped address")
	case a.Zone() != "":
		return errors.New("this has a zone")
	case a.IsUnspecified():
		return errors.New("this is the unspecified address")
	case a.IsLoopback():
		return errors.New("this is the loopback address")
	case a.IsMulticast():
		return errors.New("this is a multicast address")
	case a.IsLinkLocalUnicast():
		return errors.New("this is a link-local address")
	default:
		return nil
	}
}

// listenAddress is an address to listen on, of either family.
func listenAddress() kind[netip.Addr] {
	return kind[netip.Addr]{
		name: "an IPv6 or IPv4 address to listen on",
		parse: func(s string) (netip.Addr, error) {
			a, err := netip.ParseAddr(s)
			if err != nil || a.IsMulticast() || a.Is4In6() {
				return a, errMalformed
			}
			return a, nil
		},
	}
}

// hostAddress is an address with the length of its prefix.
func hostAddress() kind[netip.Prefix] {
	return kind[netip.Prefix]{
		name: "an IPv6 address with its prefix length, such as 2001:db8:1::2/64",
		parse: func(s string) (netip.Prefix, error) {
			p, err := netip.ParsePrefix(s)
			if err != nil {
				if _, err := netip.ParseAddr(s); err == nil {
					return p, errors.New("the length is missing")
				}
				return p, errMalformed
			}
			if err := routable(p.Addr()); err != nil {
				return p, err
			}
			if p.Bits() == 0 {
				return p, errors.New("the length is zero")
			}
			if routerAnycast(p) {
				return p, errors.New("this is the subnet-router anycast address of its prefix")
			}
			if p.Addr() == mip6.HomeAgentsAnycast(p) {
				return p, errors.New("this is the home agents' anycast address of its prefix")
			}
			return p, nil
		},
	}
}

// routerAnycast reports whether a prefix with host bits is the subnet-router
// anycast address (RFC 4291 §2.6.1), which no single node can have.
func routerAnycast(p netip.Prefix) bool { return p.Bits() < 127 && p == p.Masked() }

// network is a prefix without host bits.
func network() kind[netip.Prefix] {
	return kind[netip.Prefix]{
		name: "an IPv6 prefix, such as 2001:db8:100::/56",
		parse: func(s string) (netip.Prefix, error) {
			p, err := parsePrefix(s)
			if err == nil && p != p.Masked() {
				return p, fmt.Errorf("bits beyond the length are set; %v?", p.Masked())
			}
			return p, err
		},
	}
}

// networkOrAddress is a prefix without host bits, or an address, which is the
// prefix that holds it alone.
func networkOrAddress() kind[netip.Prefix] {
	whole := network()
	return kind[netip.Prefix]{
		name: "an IPv6 prefix or address, such as 2001:db8:100::/56",
		parse: func(s string) (netip.Prefix, error) {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return whole.parse(s)
			}
			if err := routable(a); err != nil {
				return netip.Prefix{}, err
			}
			return netip.PrefixFrom(a, a.BitLen()), nil
		},
	}
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if _, err := netip.ParseAddr(s); err == nil {
			return p, errors.New("the length is missing")
		}
		return p, errMalformed
	}
	if p.Addr().Is4() {
		return p, errors.New("this is an IPv4 prefix")
	}
	for _, special := range []struct{ prefix, name string }{
		{"ff00::/8", "multicast"},
		{"fe80::/10", "link-local"},
		{"::ffff:0:0/96", "IPv4-mapped"},
		{"::/127", "the unspecified and the loopback"},
	} {
		if p.Overlaps(netip.MustParsePrefix(special.prefix)) {
			return p, fmt.Errorf("it includes %s addresses", special.name)
		}
	}
	return p, nil
}
