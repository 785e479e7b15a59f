//go:build !nopage && !nometrics

package page

import (
	"net/netip"
	"strings"
)

// known reports whether somebody who asks for a host, with or without a port, means
// this one: an IP address, localhost, or one of its names. No web site has such a name,
// so that none can be made to lead here.
func known(host string, names []string) bool {
	if _, err := netip.ParseAddrPort(host); err == nil {
		return true
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && a.Is6() && strings.HasSuffix(inner, "]")
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Is4()
	}
	name, port, _ := strings.Cut(host, ":")
	if strings.Trim(port, "0123456789") != "" {
		return false
	}
	name = strings.TrimSuffix(name, ".")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	for _, n := range names {
		if strings.EqualFold(name, n) {
			return true
		}
	}
	return false
}
