package node

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/internal/rtnl"
)

// RFC 6275 §7.2: the router's address in an advertisement stays the same. Of two
// addresses that are renewed in turn, as by an upstream router or a DHCPv6 server, the
// one that was renewed last is none the better: each change would be a burst.
func TestRouterAddressOutlivesRenewals(t *testing.T) {
	s, _ := bareShell(t, lanSection+prefixSection("option AdvRouterAddr '1'"))
	a := advertisements(s.config)["lan0"]
	const hour = time.Hour
	for _, c := range []struct {
		what   string
		first  rtnl.LinkAddress
		second rtnl.LinkAddress
		want   string
	}{
		{"both alike", linkAddress("2001:db8:1::5/64", hour, 2*hour), linkAddress("2001:db8:1::6/64", hour, 2*hour), "2001:db8:1::5/64"},
		{"the first renewed", linkAddress("2001:db8:1::5/64", hour, 3*hour), linkAddress("2001:db8:1::6/64", hour, 2*hour), "2001:db8:1::5/64"},
		{"the second renewed", linkAddress("2001:db8:1::5/64", hour, 3*hour), linkAddress("2001:db8:1::6/64", hour, 4*hour), "2001:db8:1::5/64"},
		{"the first deprecated", linkAddress("2001:db8:1::5/64", 0, 3*hour), linkAddress("2001:db8:1::6/64", hour, 2*hour), "2001:db8:1::6/64"},
		{"the second for ever", linkAddress("2001:db8:1::5/64", hour, 3*hour), linkAddress("2001:db8:1::6/64", -1, -1), "2001:db8:1::6/64"},
		{"the second for ever, and deprecated", linkAddress("2001:db8:1::5/64", hour, 3*hour), linkAddress("2001:db8:1::6/64", 0, -1), "2001:db8:1::5/64"},
	} {
		a.addresses = func(string) []rtnl.LinkAddress { return []rtnl.LinkAddress{c.first, c.second} }
		p := a.machineConfig(role.Link{Name: "lan0", Ethernet: [6]byte{2}}, s.networkUsable).Advertisement.Prefixes
		if len(p) != 1 || p[0].Prefix != netip.MustParsePrefix(c.want) {
			t.Errorf("%s: %+v, want %v", c.what, p, c.want)
		}
	}
}
