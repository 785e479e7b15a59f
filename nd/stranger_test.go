package nd

import (
	"net"
	"net/netip"
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
	if back.CurHopLimit != 32 || back.RouterLifetime != 9*time.Second || back.Preference != PreferenceLow || back.MTU != 1280 || len(back.Others) != 1 {
		t.Errorf("read theirs as %+v", back)
	}
}
