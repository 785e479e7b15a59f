package main

import (
	"net/netip"
	"strings"
	"testing"

	labworld "roam6/internal/lab/world"
)

const (
	// mip6dAgent is the configuration of mip6d for the home agent of an estate.
	mip6dAgent = `NodeConfig HA;
Interface "home0";
HaAcceptMobRtr enabled;
DefaultBindingAclPolicy deny;
BindingAclPolicy 2001:db8:10::100 (2001:db8:100::/64) allow;
UseMnHaIPsec disabled;
IPsecPolicySet {
	HomeAgentAddress 2001:db8:10::1;
	HomeAddress 2001:db8:10::100/64;
	IPsecPolicy Mh UseESP 1 2;
}
`
	// mip6dRouter is that of its mobile router.
	mip6dRouter = `NodeConfig MN;
DoRouteOptimizationMN disabled;
UseMnHaIPsec disabled;
MnMaxHaBindingLife 60;
MobRtrUseExplicitMode MODE;
Interface "up0";
MnHomeLink "up0" {
	IsMobRtr enabled;
	HomeAgentAddress 2001:db8:10::1;
	HomeAddress 2001:db8:10::100/64 (2001:db8:100::/64);
}
`
)

// A mobile router and a home agent whose configurations were mip6d's find each
// other, and the network behind the router is reached: what had to be filled in is
// where it is.
func TestImportedMip6d(t *testing.T) {
	t.Parallel()
	for mode, value := range map[string]string{"explicit": "enabled", "implicit": "disabled"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			agent, said := importedFromMip6d(t, mip6dAgent)
			if strings.Contains(said, "filled in") {
				t.Errorf("the home agent lacks something: %s", said)
			}
			router, said := importedFromMip6d(t, strings.Replace(mip6dRouter, "MODE", value, 1))
			if strings.Count(said, "filled in") != 1 || !strings.Contains(said, "list downstream has to be filled in") {
				t.Errorf("the mobile router lacks something else: %s", said)
			}
			router = strings.Replace(router, "\tlist uplink", "\tlist downstream 'lan0'\n\tlist uplink", 1)
			e := newEstate(t)
			e.must(labworld.AddAddress(e.world.Space("mr"), "lan0", netip.PrefixFrom(estateNets[0].Addr().Next(), 64)))
			e.start("ar", e.accessRouter())
			e.start("agent", agent)
			e.move("mr", "ar")
			e.start("mr", router)
			e.registeredAt("mr", true)
			e.reached("mnn", e.addressOf("mnn", estateNets[0]))
		})
	}
}

// importedFromMip6d is a translation that roam6 takes, and what is said of it.
func importedFromMip6d(t *testing.T, src string) (text, said string) {
	t.Helper()
	code, text, said := runImport(src, "-")
	if code != 1 || strings.Contains(said, "still has errors") {
		t.Fatalf("exit code %d\n%s%s", code, text, said)
	}
	return text, said
}
