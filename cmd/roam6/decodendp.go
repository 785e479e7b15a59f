package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/mdlayher/ndp"

	"roam6/nd"
)

// explainOption reads an option of a router advertisement that is none of
// Mobile IPv6's business with the library for neighbour discovery. name is
// empty for what it does not know, or what is malformed.
func explainOption(o nd.RawOption) (name, text string) {
	const headerLen, unit = 16, 8
	b := make([]byte, headerLen, headerLen+unit+len(o.Data))
	b[0] = nd.TypeRouterAdvertisement
	b = append(append(b, o.Type, byte((len(o.Data)+2)/unit)), o.Data...)
	m, err := ndp.ParseMessage(b)
	if err != nil {
		return "", ""
	}
	ra, ok := m.(*ndp.RouterAdvertisement)
	if !ok || len(ra.Options) != 1 {
		return "", ""
	}
	switch o := ra.Options[0].(type) {
	case *ndp.RouteInformation:
		return "route", fmt.Sprintf("%v, %v preference, lifetime %v",
			netip.PrefixFrom(o.Prefix, int(o.PrefixLength)), strings.ToLower(o.Preference.String()), lifetimeText(o.RouteLifetime))
	case *ndp.RecursiveDNSServer:
		servers := make([]string, len(o.Servers))
		for i, s := range o.Servers {
			servers[i] = s.String()
		}
		return "DNS servers", fmt.Sprintf("%s, lifetime %v", strings.Join(servers, " "), lifetimeText(o.Lifetime))
	case *ndp.DNSSearchList:
		return "DNS search list", fmt.Sprintf("%s, lifetime %v", strings.Join(o.DomainNames, " "), lifetimeText(o.Lifetime))
	case *ndp.CaptivePortal:
		return "captive portal", o.URI
	case *ndp.PREF64:
		return "NAT64 prefix", fmt.Sprintf("%v, lifetime %v", o.Prefix, lifetimeText(o.Lifetime))
	default:
		return "", ""
	}
}

func lifetimeText(d time.Duration) string {
	if d == ndp.Infinity {
		return "infinite"
	}
	return d.String()
}
