package nd

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"roam6/mip6"
)

// RFC 4861 §6.2.7, RFC 8781 §5.2, RFC 8910 §3, RFC 8106 §5.1: what makes hosts switch
// from one value to another is found, and nothing else.
func TestConsistency(t *testing.T) {
	ours := informed()
	ours.Advertisement.CurHopLimit, ours.Advertisement.MTU = 64, 1400
	ours.Advertisement.ReachableTime, ours.Advertisement.RetransTimer = 30*time.Second, time.Second
	ours.Advertisement.Managed, ours.Advertisement.CaptivePortal = true, "https://a.example/"
	prefix := ours.Advertisement.Prefixes[0].Prefix
	type change = func(*AdvertiserConfig, *RouterAdvertisement)
	countDown := func(c *AdvertiserConfig) {
		c.Expiring = []Expiry{{Prefix: prefix, Preferred: epoch.Add(time.Hour), Valid: epoch.Add(2 * time.Hour)}}
	}
	for name, c := range map[string]struct {
		change change
		want   []string
	}{
		"the same": {func(*AdvertiserConfig, *RouterAdvertisement) {}, nil},
		"nothing specified": {func(_ *AdvertiserConfig, r *RouterAdvertisement) {
			*r = RouterAdvertisement{Managed: true}
		}, nil},
		"other prefixes, routes, servers, anchors, another lifetime, preference and interval": {func(_ *AdvertiserConfig, r *RouterAdvertisement) {
			*r = RouterAdvertisement{Managed: true, RouterLifetime: time.Second, Preference: PreferenceHigh, Interval: time.Second, HomeAgent: true,
				Prefixes: []mip6.PrefixInformation{prefixOption("2001:db8:77::/64", time.Hour, time.Hour)}, Routes: []RouteInformation{{Prefix: pfx("2001:db8:f::/48")}},
				DNSServers: []RecursiveDNS{{Servers: []netip.Addr{resolver}, Lifetime: time.Second}, {Servers: []netip.Addr{adr("2001:db8::99")}}},
				DNSSearch:  []DNSSearch{{Domains: []string{"Example.org"}, Lifetime: time.Second}, {Domains: []string{"example.com"}}},
			}
		}, nil},
		"hop limit": {func(_ *AdvertiserConfig, r *RouterAdvertisement) { r.CurHopLimit = 63 }, []string{"cur_hop_limit: 64 here, 63 there"}},
		"flags": {func(_ *AdvertiserConfig, r *RouterAdvertisement) { r.Managed, r.OtherConfig = false, true },
			[]string{"managed: true here, false there", "other_config: false here, true there"}},
		"times": {func(_ *AdvertiserConfig, r *RouterAdvertisement) {
			r.ReachableTime, r.RetransTimer = time.Second, time.Millisecond
		}, []string{"reachable_time: 30s here, 1s there", "retrans_timer: 1s here, 1ms there"}},
		"unspecified by us": {func(c *AdvertiserConfig, r *RouterAdvertisement) {
			a := &c.Advertisement
			a.CurHopLimit, a.ReachableTime, a.RetransTimer, a.MTU, a.CaptivePortal, a.NAT64 = 0, 0, 0, 0, "", nil
		}, nil},
		"MTU": {func(_ *AdvertiserConfig, r *RouterAdvertisement) { r.MTU = 1500 }, []string{"mtu: 1400 here, 1500 there"}},
		"lifetimes": {func(_ *AdvertiserConfig, r *RouterAdvertisement) {
			r.Prefixes[0].PreferredLifetime, r.Prefixes[0].ValidLifetime = 4*time.Hour-time.Second, mip6.InfiniteLifetime
		}, []string{"preferred_lifetime of 2001:db8:a::/64: 4h0m0s here, 3h59m59s there", "valid_lifetime of 2001:db8:a::/64: 24h0m0s here, 1193046h28m15s there"}},
		"the router's address in the prefix": {func(_ *AdvertiserConfig, r *RouterAdvertisement) {
			r.Prefixes[0].Prefix, r.Prefixes[0].RouterAddress = pfx("2001:db8:a::7/64"), true
		}, nil},
		"both count down, some seconds apart": {func(c *AdvertiserConfig, r *RouterAdvertisement) {
			countDown(c)
			r.Prefixes[0].PreferredLifetime, r.Prefixes[0].ValidLifetime = time.Hour-5*time.Second, 2*time.Hour+5*time.Second
		}, nil},
		"ours count down to another time": {func(c *AdvertiserConfig, _ *RouterAdvertisement) { countDown(c) },
			[]string{"preferred_lifetime of 2001:db8:a::/64: 1h0m0s here, 4h0m0s there", "valid_lifetime of 2001:db8:a::/64: 2h0m0s here, 24h0m0s there"}},
		"what we advertise is taken back": {func(_ *AdvertiserConfig, r *RouterAdvertisement) {
			r.DNSServers[0].Lifetime, r.DNSSearch[0].Lifetime, r.NAT64[0].Lifetime = 0, 0, 0
		}, []string{
			"dns_server of 2001:db8::53: 30m0s here, 0s there", "dns_server of 2001:db8::54: 30m0s here, 0s there",
			"dns_search of example.org: 30m0s here, 0s there", "dns_search of example.net: 30m0s here, 0s there",
			"nat64: 64:ff9b::/96 here, 64:ff9b::/96 (ended) there",
		}},
		"NAT64 prefixes in another order": {func(c *AdvertiserConfig, r *RouterAdvertisement) {
			x := NAT64Prefix{Prefix: pfx("2001:db8:64::/96"), Lifetime: time.Hour}
			c.Advertisement.NAT64, r.NAT64 = append(c.Advertisement.NAT64, x), append([]NAT64Prefix{x}, r.NAT64...)
		}, nil},
		"another NAT64 prefix": {func(_ *AdvertiserConfig, r *RouterAdvertisement) {
			r.NAT64 = append(r.NAT64, NAT64Prefix{Prefix: pfx("2001:db8:64::/96"), Lifetime: time.Hour})
		}, []string{"nat64: 64:ff9b::/96 here, 2001:db8:64::/96, 64:ff9b::/96 there"}},
		"captive portal": {func(_ *AdvertiserConfig, r *RouterAdvertisement) { r.CaptivePortal = "https://b.example/" },
			[]string{"captive_portal: https://a.example/ here, https://b.example/ there"}},
	} {
		config := ours
		config.Advertisement = ours.advertisement()
		theirs := ours.At(epoch)
		c.change(&config, &theirs)
		var got []string
		for _, i := range CompareAdvertisements(epoch, config, theirs) {
			got = append(got, i.String())
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q\nwant %q", name, got, c.want)
		}
	}
}

// What is forged costs neither a long line nor many of them.
func TestConsistencyBounds(t *testing.T) {
	c := plainConfig()
	c.Advertisement.CaptivePortal = "https://a.example/"
	theirs := RouterAdvertisement{CaptivePortal: "http:" + strings.Repeat("x", 2000)}
	for i := range 30 {
		p := prefixOption(fmt.Sprintf("2001:db8:%x::/64", i), time.Hour, time.Hour)
		c.Advertisement.Prefixes = append(c.Advertisement.Prefixes, p)
		if i >= 8 {
			p.ValidLifetime = time.Minute
			theirs.Prefixes = append(theirs.Prefixes, p)
		}
	}
	if got := CompareAdvertisements(epoch, c, theirs); len(got) != maxInconsistencies {
		t.Errorf("%d inconsistencies", len(got))
	}
	theirs.Prefixes = nil
	if got := CompareAdvertisements(epoch, c, theirs); len(got) != 1 || len(got[0].String()) > 300 {
		t.Errorf("%v", got)
	}
	seen := map[string]bool{}
	for f := range NumInconsistentFields {
		if s := f.String(); s == "unknown" || seen[s] {
			t.Errorf("field %d has the label %q", f, s)
		} else {
			seen[s] = true
		}
	}
}
