package control

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"roam6/mip6"
	"roam6/nd"
)

// sampleAdvertisements are a link on which everything is told, one that has no address
// to send from, and one that is not there.
func sampleAdvertisements() Advertisements {
	prefix := netip.MustParsePrefix
	full := AdvertisedInterface{Interface: "lan0", State: "sending", Packets: 1300}
	full.AdvertisedBy(now(), nd.AdvertiserConfig{
		MinInterval: 30 * time.Millisecond, MaxInterval: 70 * time.Millisecond, MinDelay: 30 * time.Millisecond,
		Advertisement: nd.RouterAdvertisement{
			RouterLifetime: 3 * time.Second, Managed: true, HomeAgent: true, Preference: nd.PreferenceHigh, MTU: 1400,
			HomeAgentInfo: &mip6.HomeAgentInformation{Lifetime: time.Minute, Preference: -3, MobileRouter: true},
			Prefixes: []mip6.PrefixInformation{
				{Prefix: prefix("2001:db8:1::1/64"), OnLink: true, Autonomous: true, RouterAddress: true, ValidLifetime: 24 * time.Hour, PreferredLifetime: 4 * time.Hour},
				{Prefix: prefix("2001:db8:2::/64"), PreferDelegation: true, ValidLifetime: mip6.InfiniteLifetime, PreferredLifetime: mip6.InfiniteLifetime},
			},
			Anchors:       []mip6.MobilityAnchorPoint{{Address: addr("2001:db8:9::1"), Distance: 2, Preference: 10, ValidLifetime: time.Hour}},
			Routes:        []nd.RouteInformation{{Prefix: prefix("2001:db8:100::/40"), Preference: nd.PreferenceLow, Lifetime: time.Hour}},
			DNSServers:    []nd.RecursiveDNS{{Servers: []netip.Addr{addr("2001:db8:1::53"), addr("fe80::1")}, Lifetime: time.Minute}},
			DNSSearch:     []nd.DNSSearch{{Domains: []string{"example.org"}, Lifetime: time.Minute}},
			NAT64:         []nd.NAT64Prefix{{Prefix: prefix("64:ff9b::/96"), Lifetime: time.Minute}},
			CaptivePortal: "https://portal.example.org/api",
			BorderRouters: []nd.BorderRouter{{Router: addr("2001:db8:1::2"), ValidLifetime: time.Hour}},
			Contexts:      []nd.Context{{Prefix: prefix("2001:db8:1::/64"), ID: 3, Compression: true, ValidLifetime: time.Hour}},
		},
		Expiring: []nd.Expiry{{Prefix: prefix("2001:db8:1::/64"), Preferred: now().Add(time.Minute), Valid: now().Add(time.Hour)}},
	}, nd.AdvertiserStatistics{Multicast: 1234, Unicast: 5, Missed: 1, Solicitations: 9, Refused: 1, LimitedBySource: 2, LimitedByLink: 3, Overflowed: 4})
	source := addr("fe80::1")
	full.Source = &source
	full.Sending(now(), ago(20*time.Millisecond), now().Add(30*time.Millisecond))

	silent := AdvertisedInterface{Interface: "lan1", State: "silent", Trouble: "no address"}
	silent.AdvertisedBy(now(), nd.AdvertiserConfig{
		MinInterval: 200 * time.Second, MaxInterval: 600 * time.Second, UnicastOnly: true, Clients: []netip.Addr{addr("fe80::c1")},
	}, nd.AdvertiserStatistics{})
	silent.Sending(now(), time.Time{}, time.Time{})
	missing := AdvertisedInterface{Interface: "lan2", State: "missing"}
	missing.AdvertisedBy(now(), nd.AdvertiserConfig{}, nd.AdvertiserStatistics{})
	return Advertisements{Interfaces: []AdvertisedInterface{full, silent, missing}}
}

func TestNoAdvertisements(t *testing.T) {
	var b bytes.Buffer
	if err := (Advertisements{}).Render(&b); err != nil || b.String() != "no router advertisements\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}
