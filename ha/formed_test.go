package ha

import (
	"net/netip"
	"slices"
	"testing"
)

// What is a home address here is known without a binding, under each home prefix.
func TestHomesOf(t *testing.T) {
	a := New(renumbering())
	if got := a.Formed(homeA); !slices.Equal(got, []netip.Addr{newA}) {
		t.Errorf("formed of %v: %v", homeA, got)
	}
	if got := a.Formed(newN); got == nil { // asked by any of them
		t.Errorf("formed of %v: none", newN)
	}
	stranger := netip.MustParseAddr("2001:db8:77::7")
	if !a.HasHome(homeA) || !a.HasHome(newA) || a.HasHome(stranger) || a.HasHome(testConfig().Address) || a.Formed(stranger) != nil {
		t.Error("home addresses are not told from others")
	}
}
