package nd

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"roam6/mip6"
)

// informed is plainConfig with one of everything that hosts are told for a time.
func informed() AdvertiserConfig {
	c := plainConfig()
	ra := &c.Advertisement
	ra.Anchors = []mip6.MobilityAnchorPoint{{Address: adr("2001:db8:a::1"), Distance: 1, Preference: 5, ValidLifetime: time.Hour}}
	ra.Routes = []RouteInformation{{Prefix: pfx("2001:db8:f::/48"), Preference: PreferenceHigh, Lifetime: time.Hour}}
	ra.DNSServers = []RecursiveDNS{{Servers: []netip.Addr{resolver, adr("2001:db8::54")}, Lifetime: 30 * time.Minute}}
	ra.DNSSearch = []DNSSearch{{Domains: []string{"example.org", "example.net"}, Lifetime: 30 * time.Minute}}
	ra.NAT64 = []NAT64Prefix{{Prefix: pfx("64:ff9b::/96"), Lifetime: time.Hour}}
	ra.Contexts = []Context{{Prefix: pfx("2001:db8::/64"), ID: 2, Compression: true, ValidLifetime: time.Hour}}
	return c
}

// RFC 8106 §5, RFC 4191 §2.3, RFC 8781 §4.1, RFC 5380 §7.1, RFC 6775 §4.2: what the
// configuration has no more is taken back by a lifetime of zero, in several
// advertisements and as long as hosts could have it; what it has again is not, and
// what stays is not touched.
func TestWithdrawnInformation(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*RouterAdvertisement)
		want   RouterAdvertisement // the option that takes back
		lasts  time.Duration
	}{
		"anchor": {func(r *RouterAdvertisement) { r.Anchors = nil },
			RouterAdvertisement{Anchors: []mip6.MobilityAnchorPoint{{Address: adr("2001:db8:a::1"), Distance: 1, Preference: 5}}}, time.Hour},
		"route": {func(r *RouterAdvertisement) { r.Routes = nil },
			RouterAdvertisement{Routes: []RouteInformation{{Prefix: pfx("2001:db8:f::/48"), Preference: PreferenceHigh}}}, time.Hour},
		"DNS server": {func(r *RouterAdvertisement) { r.DNSServers[0].Servers = r.DNSServers[0].Servers[1:] },
			RouterAdvertisement{DNSServers: []RecursiveDNS{{Servers: []netip.Addr{resolver}}}}, 30 * time.Minute},
		"domain": {func(r *RouterAdvertisement) { r.DNSSearch[0].Domains = r.DNSSearch[0].Domains[1:] },
			RouterAdvertisement{DNSSearch: []DNSSearch{{Domains: []string{"example.org"}}}}, 30 * time.Minute},
		"domain written otherwise": {func(r *RouterAdvertisement) { r.DNSSearch[0].Domains = []string{"EXAMPLE.org"} },
			RouterAdvertisement{DNSSearch: []DNSSearch{{Domains: []string{"example.net"}}}}, 30 * time.Minute},
		"NAT64 prefix": {func(r *RouterAdvertisement) { r.NAT64 = nil },
			RouterAdvertisement{NAT64: []NAT64Prefix{{Prefix: pfx("64:ff9b::/96")}}}, time.Hour},
		"context": {func(r *RouterAdvertisement) { r.Contexts = nil },
			RouterAdvertisement{Contexts: []Context{{Prefix: pfx("2001:db8::/64"), ID: 2}}}, time.Hour},
		"nothing": {func(*RouterAdvertisement) {}, RouterAdvertisement{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := informed(), informed()
			c.change(&after.Advertisement)
			want := after.At(epoch)
			want.Anchors = append(want.Anchors, c.want.Anchors...)
			want.Routes = append(want.Routes, c.want.Routes...)
			want.DNSServers = append(want.DNSServers, c.want.DNSServers...)
			want.DNSSearch = append(want.DNSSearch, c.want.DNSSearch...)
			want.NAT64 = append(want.NAT64, c.want.NAT64...)
			want.Contexts = append(want.Contexts, c.want.Contexts...)

			a := newAdvertiser(t, before)
			a.wake()
			a.now = a.now.Add(time.Minute)
			out, err := a.Reconfigure(a.now, after)
			if err != nil {
				t.Fatal(err)
			}
			changed, sent := a.now, 0
			for !a.now.After(changed.Add(c.lasts)) {
				if got := a.one(out, AllNodes()); !reflect.DeepEqual(got, want) {
					t.Fatalf("after %v advertised\n%+v, want\n%+v", a.now.Sub(changed), got, want)
				}
				sent++
				out = a.wake()
			}
			out = a.wake() // the first one beyond the end may have been the last to take back
			if got := a.one(out, AllNodes()); !reflect.DeepEqual(got, after.At(epoch)) {
				t.Errorf("at last advertised\n%+v", got)
			}
			if c.lasts > 0 && sent < withdrawRAs {
				t.Errorf("taken back %d times", sent)
			}
			if _, err := a.Reconfigure(a.now, before); err != nil {
				t.Fatal(err)
			}
			if got := a.one(a.wake(), AllNodes()); !reflect.DeepEqual(got, before.At(epoch)) {
				t.Errorf("what came back is advertised as\n%+v", got)
			}
		})
	}
}

// What was taken back by the configuration already, with a lifetime of zero, is not
// taken back again; of what there is too much, prefixes and the latest stay.
func TestWithdrawalBounds(t *testing.T) {
	c := informed()
	c.Advertisement.Anchors[0].ValidLifetime = 0
	a := newAdvertiser(t, c)
	a.wake()
	c = informed()
	c.Advertisement.Anchors = nil
	if _, err := a.Reconfigure(a.now, c); err != nil || len(a.withdrawn) != 0 {
		t.Errorf("withdraws %+v, %v", a.withdrawn, err)
	}
	for i := range 20 {
		c = informed()
		for j := range 20 {
			c.Advertisement.Routes = append(c.Advertisement.Routes, RouteInformation{Prefix: pfx(fmt.Sprintf("2001:db8:%x:%x::/64", i+1, j)), Lifetime: time.Hour})
		}
		c.Advertisement.Prefixes = []mip6.PrefixInformation{prefixOption(fmt.Sprintf("2001:db8:1:%x::/64", i), time.Hour, time.Hour)}
		if _, err := a.Reconfigure(a.now, c); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.withdrawn); n != maxWithdrawn || a.withdrawn[n-1].subject.prefix != pfx("2001:db8:1:12::/64") {
		t.Errorf("%d withdrawn, at last %v", n, a.withdrawn[n-1].subject)
	}
}

// RFC 4861 §6.2.5: the final advertisements, and what they take back or keep.
func TestFarewell(t *testing.T) {
	prefix, deprecated := plainConfig().Advertisement.Prefixes[0], plainConfig().Advertisement.Prefixes[0]
	deprecated.PreferredLifetime, deprecated.ValidLifetime = 0, 2*time.Hour
	ended := plainConfig().Advertisement
	ended.RouterLifetime = 0
	ended.Routes = []RouteInformation{{Prefix: pfx("2001:db8:f::/48"), Preference: PreferenceHigh}}
	ended.DNSServers = []RecursiveDNS{{Servers: []netip.Addr{resolver, adr("2001:db8::54")}}}
	ended.DNSSearch = []DNSSearch{{Domains: []string{"example.org", "example.net"}}}
	ended.NAT64 = []NAT64Prefix{{Prefix: pfx("64:ff9b::/96")}}
	ended.Contexts = informed().Advertisement.Contexts
	for name, c := range map[string]struct {
		change func(*AdvertiserConfig)
		want   func(*RouterAdvertisement)
	}{
		"all is taken back": {func(*AdvertiserConfig) {}, func(*RouterAdvertisement) {}},
		"a prefix that is deprecated": {func(c *AdvertiserConfig) { c.Farewell.Deprecate = []netip.Prefix{prefix.Prefix} },
			func(r *RouterAdvertisement) { r.Prefixes = []mip6.PrefixInformation{deprecated} }},
		"a prefix that counts down and is deprecated": {func(c *AdvertiserConfig) {
			c.Farewell.Deprecate = []netip.Prefix{prefix.Prefix}
			c.Expiring = []Expiry{{Prefix: prefix.Prefix, Valid: epoch.Add(time.Hour)}}
		}, func(r *RouterAdvertisement) {
			p := deprecated
			p.ValidLifetime = time.Hour
			r.Prefixes = []mip6.PrefixInformation{p}
		}},
		"a route that is kept": {func(c *AdvertiserConfig) { c.Farewell.KeepRoutes = []netip.Prefix{pfx("2001:db8:f::/48")} },
			func(r *RouterAdvertisement) { r.Routes = informed().Advertisement.Routes }},
		"a DNS server that is kept": {func(c *AdvertiserConfig) { c.Farewell.KeepServers = []netip.Addr{adr("2001:db8::54")} },
			func(r *RouterAdvertisement) {
				r.DNSServers = []RecursiveDNS{{Servers: []netip.Addr{adr("2001:db8::54")}, Lifetime: 30 * time.Minute}, {Servers: []netip.Addr{resolver}}}
			}},
		"domains that are kept": {func(c *AdvertiserConfig) { c.Farewell.KeepDomains = []string{"example.net", "Example.ORG"} },
			func(r *RouterAdvertisement) { r.DNSSearch = informed().Advertisement.DNSSearch }},
		"an anchor that failed": {func(c *AdvertiserConfig) { c.Advertisement.Anchors[0].ValidLifetime = 0 },
			func(r *RouterAdvertisement) {
				r.Anchors = []mip6.MobilityAnchorPoint{{Address: adr("2001:db8:a::1"), Distance: 1, Preference: 5}}
			}},
	} {
		config, want := informed(), ended
		c.change(&config)
		c.want(&want)
		a := newAdvertiser(t, config)
		before := a.one(a.wake(), AllNodes()).Append(nil)
		if out := a.Stop(a.now); out != nil {
			t.Errorf("%s: sent within the least delay: %v", name, out)
		}
		for i := range finalRAs {
			// Those that count down do so meanwhile, in a field of seconds.
			got, err := ParseRouterAdvertisement(a.one(a.wake(), AllNodes()).Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			if len(config.Expiring) > 0 {
				got.Prefixes[0].ValidLifetime += a.now.Sub(epoch)
			}
			want.Interval = 0
			if wire, err := ParseRouterAdvertisement(want.Append(nil)); err != nil || !reflect.DeepEqual(got, wire) {
				t.Errorf("%s: final advertisement %d\n%+v, want\n%+v", name, i, got, wire)
			}
		}
		if !a.Done() {
			t.Errorf("%s: not done", name)
		}
		if after := config.At(epoch).Append(nil); len(config.Expiring) == 0 && !reflect.DeepEqual(after, before) {
			t.Errorf("%s: the farewell changed the configuration", name)
		}
	}
}

// What was being taken back when the end came is taken back to the end.
func TestFarewellGoesOnWithdrawing(t *testing.T) {
	a := newAdvertiser(t, informed())
	a.wake()
	if _, err := a.Reconfigure(a.now, plainConfig()); err != nil {
		t.Fatal(err)
	}
	a.Stop(a.now)
	for range finalRAs {
		r := a.one(a.wake(), AllNodes())
		if len(r.Anchors) != 1 || r.Anchors[0].ValidLifetime != 0 || len(r.Routes) != 1 || r.Routes[0].Lifetime != 0 || len(r.DNSServers) != 2 {
			t.Errorf("final advertisement %+v", r)
		}
	}
}

// RemoveAdvOnExit off: nothing is said.
func TestKeepOnExit(t *testing.T) {
	c := informed()
	c.KeepOnExit = true
	a := newAdvertiser(t, c)
	a.wake()
	if out := a.Stop(a.now.Add(time.Hour)); out != nil || !a.Done() || !a.Next().IsZero() {
		t.Errorf("sent %v, done %v, next %v", out, a.Done(), a.Next())
	}
}
