package ha

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
)

// The home prefix is an aggregation, and mobile networks, configured or delegated,
// are parts of it (RFC 4887 §6, §7): they are forwarded and routed like others. What
// has a home address, or an anycast address of the home link, is no mobile network.
//
// Covers: D2, N4, N7.
func TestAggregatedHomeNetwork(t *testing.T) {
	for _, link := range []string{"eth1", ""} {
		c := delegatingConfig()
		c.HomeLink, c.DAD = link, false
		c.Prefix, c.Address = netip.MustParsePrefix("2001:db8:1::/48"), agentAddr
		for i, own := range []string{"2001:db8:1:a::/64", "2001:db8:1:b::/64"} {
			c.Mobiles[i].Prefixes = prefixes(own)
		}
		w := newWorld(t, c)
		w.send(at(homeA, careOf1, 1))
		w.wantInner("configured", homeA, "2001:db8:1:a::/64")
		w.delegate(homeA, time.Hour, "2001:db8:1:100::/56", "2001:db8:1::/64", "2001:db8:1::8/125", "2001:db8:1:ffff::/64", "2001:db8:1:b::/64", "2001:db8:1::/47")
		w.wantInner("delegated", homeA, "2001:db8:1:a::/64", "2001:db8:1:100::/56")
		if n := len(w.agent.Delegations()[0].Refused); n != 5 {
			t.Errorf("%d refused: %v", n, w.agent.Delegations())
		}
		away := slices.Clone(w.routesTo(homeA))
		w.run(11 * time.Minute)
		if link == "" {
			if len(w.routes) != 0 {
				t.Errorf("routed on no home link: %v", w.routes)
			}
			continue
		}
		want := []role.Route{viaHome(netip.MustParsePrefix("2001:db8:1:a::/64"), homeA), viaHome(netip.MustParsePrefix("2001:db8:1:100::/56"), homeA)}
		if got := w.routesTo(homeA); len(away) != 0 || !slices.Equal(got, want) {
			t.Errorf("away %v, at home %v", away, got)
		}
	}
}

// routesTo are the routes on the home link by way of a home address.
func (w *world) routesTo(home netip.Addr) (list []role.Route) {
	for r := range w.routes {
		if r.Via == home {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b role.Route) int { return a.Destination.Compare(b.Destination) })
	return list
}
