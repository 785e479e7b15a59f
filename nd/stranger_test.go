package nd

import (
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"roam6/mip6"
)

// What we encode is what a stranger's codec reads, and the other way round.
func TestStranger(t *testing.T) {
	ours := RouterAdvertisement{
		CurHopLimit: 64, Managed: true, HomeAgent: true, Preference: PreferenceHigh,
		RouterLifetime: 1800 * time.Second, ReachableTime: 30 * time.Second, RetransTimer: time.Second,
		SourceLinkAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MTU: 1460, Interval: 90 * time.Millisecond,
		Prefixes: []mip6.PrefixInformation{{
			Prefix: netip.MustParsePrefix("2001:db8:a1::/64"), OnLink: true, Autonomous: true,
			ValidLifetime: 24 * time.Hour, PreferredLifetime: 4 * time.Hour,
		}},
	}
	m, err := ndp.ParseMessage(ours.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	ra := m.(*ndp.RouterAdvertisement)
	if ra.CurrentHopLimit != 64 || !ra.ManagedConfiguration || ra.OtherConfiguration || !ra.MobileIPv6HomeAgent ||
		ra.RouterSelectionPreference != ndp.High || ra.RouterLifetime != 1800*time.Second ||
		ra.ReachableTime != 30*time.Second || ra.RetransmitTimer != time.Second {
		t.Errorf("header read as %+v", ra)
	}
	var seen int
	for _, o := range ra.Options {
		switch o := o.(type) {
		case *ndp.LinkLayerAddress:
			seen++
			if o.Direction != ndp.Source || o.Addr.String() != "02:00:00:00:00:01" {
				t.Errorf("link-layer address %+v", o)
			}
		case *ndp.MTU:
			seen++
			if o.MTU != 1460 {
				t.Errorf("MTU %+v", o)
			}
		case *ndp.PrefixInformation:
			seen++
			if o.Prefix != netip.MustParseAddr("2001:db8:a1::") || o.PrefixLength != 64 || !o.OnLink ||
				!o.AutonomousAddressConfiguration || o.ValidLifetime != 24*time.Hour || o.PreferredLifetime != 4*time.Hour {
				t.Errorf("prefix %+v", o)
			}
		case *ndp.RawOption:
			seen++
			if o.Type != 7 {
				t.Errorf("raw option %+v", o)
			}
		}
	}
	if seen != 4 {
		t.Errorf("%d of 4 options seen", seen)
	}

	theirs := &ndp.RouterAdvertisement{CurrentHopLimit: 32, RouterLifetime: 9 * time.Second, RouterSelectionPreference: ndp.Low,
		Options: []ndp.Option{&ndp.MTU{MTU: 1280}, &ndp.RecursiveDNSServer{Lifetime: time.Second, Servers: []netip.Addr{netip.MustParseAddr("2001:db8::53")}}}}
	b, err := ndp.MarshalMessage(theirs)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseRouterAdvertisement(b)
	if err != nil {
		t.Fatal(err)
	}
	if back.CurHopLimit != 32 || back.RouterLifetime != 9*time.Second || back.Preference != PreferenceLow || back.MTU != 1280 || len(back.DNSServers) != 1 {
		t.Errorf("read theirs as %+v", back)
	}
}

// The options beside prefixes: what we encode a stranger's codec reads, where it knows
// the option, and the other way round.
func TestStrangerInformation(t *testing.T) {
	servers := []netip.Addr{resolver, adr("fe80::53")}
	for name, c := range map[string]struct {
		ours   RouterAdvertisement
		theirs ndp.Option
	}{
		"default route": {RouterAdvertisement{Routes: []RouteInformation{{Prefix: pfx("::/0"), Preference: PreferenceLow, Lifetime: time.Hour}}},
			&ndp.RouteInformation{Prefix: adr("::"), Preference: ndp.Low, RouteLifetime: time.Hour}},
		"route of 48 bits": {RouterAdvertisement{Routes: []RouteInformation{{Prefix: pfx("2001:db8:f::/48"), Preference: PreferenceHigh, Lifetime: mip6.InfiniteLifetime}}},
			&ndp.RouteInformation{Prefix: adr("2001:db8:f::"), PrefixLength: 48, Preference: ndp.High, RouteLifetime: ndp.Infinity}},
		"route of 96 bits": {RouterAdvertisement{Routes: []RouteInformation{{Prefix: pfx("2001:db8:f::1:0:0/96")}}},
			&ndp.RouteInformation{Prefix: adr("2001:db8:f::1:0:0"), PrefixLength: 96}},
		"DNS servers": {RouterAdvertisement{DNSServers: []RecursiveDNS{{Servers: servers, Lifetime: time.Minute}}},
			&ndp.RecursiveDNSServer{Lifetime: time.Minute, Servers: servers}},
		"domains": {RouterAdvertisement{DNSSearch: []DNSSearch{{Domains: []string{"example.org", "a.b"}, Lifetime: time.Hour}}},
			&ndp.DNSSearchList{Lifetime: time.Hour, DomainNames: []string{"example.org", "a.b"}}},
		"captive portal": {RouterAdvertisement{CaptivePortal: "https://example.org/api"}, &ndp.CaptivePortal{URI: "https://example.org/api"}},
		"NAT64 of 96 bits": {RouterAdvertisement{NAT64: []NAT64Prefix{{Prefix: pfx("64:ff9b::/96"), Lifetime: 30 * time.Minute}}},
			&ndp.PREF64{Prefix: pfx("64:ff9b::/96"), Lifetime: 30 * time.Minute}},
		"NAT64 of 32 bits": {RouterAdvertisement{NAT64: []NAT64Prefix{{Prefix: pfx("2001:db8::/32"), Lifetime: 65528 * time.Second}}},
			&ndp.PREF64{Prefix: pfx("2001:db8::/32"), Lifetime: 65528 * time.Second}},
	} {
		m, err := ndp.ParseMessage(c.ours.Append(nil))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if ra := m.(*ndp.RouterAdvertisement); len(ra.Options) != 1 || !reflect.DeepEqual(ra.Options[0], c.theirs) {
			t.Errorf("%s: read as %+v, want %+v", name, ra.Options, c.theirs)
		}
		b, err := ndp.MarshalMessage(&ndp.RouterAdvertisement{Options: []ndp.Option{c.theirs}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseRouterAdvertisement(b); err != nil || !reflect.DeepEqual(got, c.ours) {
			t.Errorf("%s: theirs read as %+v, %v", name, got, err)
		}
	}
}
