package nd

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"roam6/mip6"
)

// What cannot be advertised is refused with a word about it.
func TestValidateInformation(t *testing.T) {
	if err := informed().Validate(); err != nil {
		t.Errorf("refused: %v", err)
	}
	servers := func(lifetime time.Duration, a ...netip.Addr) func(*AdvertiserConfig) {
		return func(c *AdvertiserConfig) {
			c.Advertisement.DNSServers = []RecursiveDNS{{Servers: a, Lifetime: lifetime}}
		}
	}
	search := func(lifetime time.Duration, names ...string) func(*AdvertiserConfig) {
		return func(c *AdvertiserConfig) {
			c.Advertisement.DNSSearch = []DNSSearch{{Domains: names, Lifetime: lifetime}}
		}
	}
	route := func(r RouteInformation) func(*AdvertiserConfig) {
		return func(c *AdvertiserConfig) { c.Advertisement.Routes = append(c.Advertisement.Routes, r) }
	}
	anchor := func(m mip6.MobilityAnchorPoint) func(*AdvertiserConfig) {
		return func(c *AdvertiserConfig) { c.Advertisement.Anchors = append(c.Advertisement.Anchors, m) }
	}
	nat64 := func(s string, d time.Duration) func(*AdvertiserConfig) {
		return func(c *AdvertiserConfig) {
			c.Advertisement.NAT64 = append(c.Advertisement.NAT64, NAT64Prefix{Prefix: pfx(s), Lifetime: d})
		}
	}
	context := func(x Context) func(*AdvertiserConfig) {
		return func(c *AdvertiserConfig) { c.Advertisement.Contexts = append(c.Advertisement.Contexts, x) }
	}
	border := func(r BorderRouter) func(*AdvertiserConfig) {
		return func(c *AdvertiserConfig) { c.Advertisement.BorderRouters = []BorderRouter{r} }
	}
	clients := func(a ...netip.Addr) func(*AdvertiserConfig) {
		return func(c *AdvertiserConfig) { c.Clients = a }
	}
	anchor3 := adr("2001:db8:a3::1")
	for want, change := range map[string]func(*AdvertiserConfig){
		"anchor 2001:db8:a::1 is advertised twice":                     anchor(anchorAt(adr("2001:db8:a::1"), 1, 1, time.Hour)),
		"anchor fe80::1 cannot be advertised":                          anchor(anchorAt(adr("fe80::1"), 1, 1, time.Hour)),
		"distance 0 is not between 1 and 15":                           anchor(anchorAt(anchor3, 0, 1, time.Hour)),
		"distance 16 is not between 1 and 15":                          anchor(anchorAt(anchor3, 16, 1, time.Hour)),
		"preference 16 is above 15":                                    anchor(anchorAt(anchor3, 1, 16, time.Hour)),
		"anchor 2001:db8:a3::1: lifetime 1ms is not 0 nor between":     anchor(anchorAt(anchor3, 1, 1, time.Millisecond)),
		"route 2001:db8:f::/48 is advertised twice":                    route(RouteInformation{Prefix: pfx("2001:db8:f::/48")}),
		"route invalid Prefix cannot be advertised":                    route(RouteInformation{}),
		"route fe80::/64 cannot be advertised":                         route(RouteInformation{Prefix: pfx("fe80::/64")}),
		"route ff00::/8 cannot be advertised":                          route(RouteInformation{Prefix: pfx("ff00::/8")}),
		"route 10.0.0.0/8 cannot be advertised":                        route(RouteInformation{Prefix: pfx("10.0.0.0/8")}),
		"bits behind its prefix: write 2001:db8::/32":                  route(RouteInformation{Prefix: pfx("2001:db8::1/32")}),
		"preference 2 is not low, medium or high":                      route(RouteInformation{Prefix: pfx("2001:db8::/32"), Preference: 2}),
		"route 2001:db8::/32: lifetime -1s":                            route(RouteInformation{Prefix: pfx("2001:db8::/32"), Lifetime: -time.Second}),
		"NAT64 prefix 64:ff9b::/96 is advertised twice":                nat64("64:ff9b::/96", time.Hour),
		"NAT64 prefix 2001:db8::/33 is not an IPv6 prefix of 32":       nat64("2001:db8::/33", time.Hour),
		"NAT64 prefix 10.0.0.0/32 is not an IPv6 prefix":               nat64("10.0.0.0/32", time.Hour),
		"NAT64 prefix 2001:db8::1/64 has bits behind":                  nat64("2001:db8::1/64", time.Hour),
		"bits 64 to 71 are not zero":                                   nat64("2001:db8:0:0:100::/96", time.Hour),
		"NAT64 prefix 2001:db8::/64: lifetime 18h12m9s is not 0 nor":   nat64("2001:db8::/64", 65529*time.Second),
		"DNS server 2001:db8::53 is advertised twice":                  servers(time.Hour, resolver, resolver),
		"0 DNS servers in an option that holds 1 to 127":               servers(time.Hour),
		"DNS server ff02::fb cannot be advertised":                     servers(time.Hour, adr("ff02::fb")),
		"DNS server fe80::53%eth0 cannot be advertised":                servers(time.Hour, adr("fe80::53%eth0")),
		"DNS server 192.0.2.53 cannot be advertised":                   servers(time.Hour, adr("192.0.2.53")),
		"DNS servers [2001:db8::53]: lifetime 9m59s is not 0 nor":      servers(599*time.Second, resolver),
		"search domain example.org is advertised twice":                search(time.Hour, "Example.org", "example.ORG"),
		"a DNS search list without domains":                            search(time.Hour),
		"search domain \"a b\" is not a domain name":                   search(time.Hour, "a b"),
		"search domains [example.org]: lifetime 1s is not 0 nor":       search(time.Second, "example.org"),
		"context 2 is advertised twice":                                context(Context{Prefix: pfx("::/0"), ID: 2}),
		"context 16 is above 15":                                       context(Context{Prefix: pfx("::/0"), ID: 16}),
		"context 3: invalid Prefix is not an IPv6 prefix":              context(Context{ID: 3}),
		"context 3: 2001:db8::1/64 is not an IPv6 prefix without bits": context(Context{Prefix: pfx("2001:db8::1/64"), ID: 3}),
		"context 3: lifetime 1s is not 0 nor between":                  context(Context{Prefix: pfx("::/0"), ID: 3, ValidLifetime: time.Second}),
		"border router ff02::1 cannot be advertised":                   border(BorderRouter{Router: AllNodes()}),
		"border router fe80::1: lifetime 1s is not 0 nor":              border(BorderRouter{Router: router1, ValidLifetime: time.Second}),
		"captive portal \"portal\" is not a URI":                       func(c *AdvertiserConfig) { c.Advertisement.CaptivePortal = "portal" },
		"captive portal \"http://a b\" is not a URI":                   func(c *AdvertiserConfig) { c.Advertisement.CaptivePortal = "http://a b" },
		"client ff02::1 cannot get advertisements":                     clients(AllNodes()),
		"client fe80::c1%eth0 cannot get advertisements":               clients(client1.WithZone("eth0")),
		"client fe80::c1 is there twice":                               clients(client1, client2, client1),
	} {
		c := informed()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for name, change := range map[string]func(*AdvertiserConfig){
		"default route, infinite": route(RouteInformation{Prefix: pfx("::/0"), Preference: PreferenceLow, Lifetime: mip6.InfiniteLifetime}),
		"withdrawn server":        servers(0, resolver),
		"link-local server":       servers(mip6.InfiniteLifetime, adr("fe80::53")),
		"withdrawn domain":        search(0, "example.org"),
		"another NAT64 prefix":    nat64("2001:db8::/32", time.Second),
		"default border lifetime": border(BorderRouter{Router: adr("2001:db8::1")}),
		"a global client":         clients(adr("2001:db8::c")),
	} {
		c := informed()
		change(&c)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
