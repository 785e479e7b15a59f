package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A mobile router whose network has no prefix yet, and what a home agent says
// that has one for it (RFC 6276).
func TestDelegation(t *testing.T) {
	c := parseTestdata(t, "delegated_router.conf")
	m := c.MobileNodes[0]
	if !m.Router || !m.Delegation || m.DelegationLength != 0 || m.Mode != ModeExplicit || len(m.Prefixes) != 0 || !reflect.DeepEqual(m.Downstreams, []string{"br-lan"}) {
		t.Errorf("mobile router %+v", m)
	}
	c = parseTestdata(t, "delegating_agent.conf")
	same(t, "delegation", c.HomeAgents[0].Delegation, &Delegation{
		Pools: []netip.Prefix{prefix("2001:db8:8000::/40")}, Length: 56, Preferred: time.Hour, Valid: 2 * time.Hour,
	})
	if m := c.Mobiles[0]; !m.Router || !m.Delegate || m.DUID != nil || len(m.Prefixes) != 0 {
		t.Errorf("mobile %+v", m)
	}
}

func TestUplinks(t *testing.T) {
	c := parseTestdata(t, "uplinks.conf")
	same(t, "uplinks", c.Uplinks, []UplinkOptions{{Name: "eth0", Addressing: AddressingDHCP}, {Name: "wwan0", Addressing: AddressingForeign}})
	same(t, "prefix requests", c.PrefixRequests, []PrefixRequest{{Name: "guests", Uplink: "eth0", Length: 60, Downstreams: []string{"br-guest"}}})
	if c.Globals.ResolverFile != "/tmp/resolv.conf.d/resolv.conf.roam6" {
		t.Errorf("globals %+v", c.Globals)
	}
}

// Everything that is not a default.
func TestEveryDelegationOption(t *testing.T) {
	c, err := Parse("roam6", []byte(`
config mobile_router 'bus'
	option home_address '2001:db8:3::7/64'
	option home_agent '2001:db8:3::1'
	option insecure '1'
	list uplink 'eth0'
	list prefix '2001:db8:300::/64'
	list downstream 'lan0'
	list downstream 'lan1'
	option mode 'implicit'
	option prefix_delegation '1'
	option delegation_length '63'

config mobile_router 'spare'
	option enabled '0'
	list uplink 'eth9'
	list downstream 'lan2'

config uplink 'idle'
	option interface 'eth9'

config uplink 'first'
	option interface 'eth0'
	option addressing 'slaac'
	option rapid_commit '0'

config uplink
	option interface 'eth1'

config prefix_request 'guests'
	option uplink 'eth1'
	list downstream 'lan2'
	list downstream 'lan3'
	list downstream 'lan4'
	option length '62'

config prefix_request 'old'
	option enabled '0'
	option uplink 'eth1'
	list downstream 'lan2'

config home_agent 'depot'
	option interface 'eth2'
	option address '2001:db8:1::1'
	option prefix '2001:db8:1::/64'
	list delegation_pool '2001:db8:8000::/48'
	list delegation_pool '2001:db8:9000::/60'
	option delegation_length '60'
	option delegation_preferred '8'
	option delegation_lifetime '8'

config home_agent 'branch'
	option interface 'eth3'
	option address '2001:db8:2::1'
	option prefix '2001:db8:2::/64'
	option delegation_server '2001:db8:f::53'

config mobile 'named'
	option home_agent 'depot'
	option home_address '2001:db8:1::2'
	option insecure '1'
	option duid '00:01:00:01:2C:4f:11:22:02:00:00:00:00:01'
	option delegate '1'

config mobile 'refrained'
	option home_agent 'depot'
	option home_address '2001:db8:1::3'
	option insecure '1'
	option router '1'
	option delegate '0'

config mobile 'host'
	option home_agent 'depot'
	option home_address '2001:db8:1::4'
	option insecure '1'

config mobile 'both'
	option home_agent 'branch'
	option home_address '2001:db8:2::5'
	option insecure '1'
	list prefix '2001:db8:100::/64'
	option duid '000300'

config interface
	option interface 'lan2'
`))
	if err != nil {
		t.Fatal(err)
	}
	if m := c.MobileNodes[0]; !m.Delegation || m.DelegationLength != 63 || m.Mode != ModeImplicit || len(m.Prefixes) != 1 || len(m.Downstreams) != 2 {
		t.Errorf("mobile router %+v", m)
	}
	same(t, "uplinks", c.Uplinks, []UplinkOptions{{Name: "eth0", Addressing: AddressingSLAAC, NoRapidCommit: true}, {Name: "eth1"}})
	same(t, "prefix requests", c.PrefixRequests, []PrefixRequest{{Name: "guests", Uplink: "eth1", Length: 62, Downstreams: []string{"lan2", "lan3", "lan4"}}})
	same(t, "pools", c.HomeAgents[0].Delegation, &Delegation{
		Pools: []netip.Prefix{prefix("2001:db8:8000::/48"), prefix("2001:db8:9000::/60")}, Length: 60, Preferred: 8 * time.Second, Valid: 8 * time.Second,
	})
	same(t, "server", c.HomeAgents[1].Delegation, &Delegation{Server: addr("2001:db8:f::53")})
	type kind struct {
		router, delegate bool
		duid             string
	}
	got := map[string]kind{}
	for _, m := range c.Mobiles {
		got[m.Name] = kind{m.Router, m.Delegate, fmt.Sprintf("%x", m.DUID)}
	}
	same(t, "mobiles", got, map[string]kind{
		"named": {true, true, "000100012c4f1122020000000001"}, "refrained": {true, false, ""}, "host": {}, "both": {true, true, "000300"},
	})
	if len(c.Interfaces) != 1 || !c.Interfaces[0].Advertise { // a downstream advertises
		t.Errorf("interfaces %+v", c.Interfaces)
	}
	same(t, "disabled", c.Disabled, []string{"spare", "old"})
}

// Where netifd numbers the mobile network there is no downstream, delegated prefixes or not.
func TestNetifd(t *testing.T) {
	for _, tt := range []struct{ name, in string }{
		{"configured", router + " option netifd '1'\n"},
		{"delegated", strings.Replace(delegated, " list downstream 'lan'\n", " option netifd '1'\n option delegation_length '64'\n", 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("roam6", []byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if m := c.MobileNodes[0]; !m.Netifd || len(m.Downstreams) > 0 {
				t.Errorf("netifd %v, downstreams %v", m.Netifd, m.Downstreams)
			}
		})
	}
}

// Sections that are right, to be spoilt below; delegated has no prefix.
var (
	delegated = strings.Replace(router, " list prefix '2001:db8:100::/56'\n", " option prefix_delegation '1'\n list downstream 'lan'\n", 1)
	pooled    = agent + " list delegation_pool '2001:db8:8000::/40'\n"
	wide      = strings.NewReplacer("2001:db8:1::/64", "2001:db8:1::/48", "2001:db8:1::1", "2001:db8:1:8000::1").Replace(agent)
)

const (
	requested = "config prefix_request 'q'\n option uplink 'wan2'\n list downstream 'lan2'\n"
	foreign   = "config uplink\n option interface 'wan'\n option addressing 'foreign'\n"
)

// Each case has exactly one thing wrong.
func TestDelegationErrors(t *testing.T) {
	routed := strings.Replace(mobile, " list prefix '2001:db8:100::/56'\n", " option router '1'\n", 1)
	var pools string
	for i := range maxPools {
		pools += fmt.Sprintf(" list delegation_pool '2001:db8:%x::/48'\n", 0x9000+i)
	}
	checkErrors(t, []struct{ name, in, want string }{
		// files
		{"relative state directory", "config globals\n option state_directory 'var'\n", `option 'state_directory' in section '@globals[0]' (roam6:2:25): "var": expected an absolute path of at most 4095 characters`},
		{"root as state directory", "config globals\n option state_directory '/'\n", `option 'state_directory' in section '@globals[0]' (roam6:2:25): "/": expected an absolute path of at most 4095 characters`},
		{"relative resolver file", "config globals\n option resolver_file 'resolv.conf'\n", `option 'resolver_file' in section '@globals[0]' (roam6:2:23): "resolv.conf": expected an absolute path of at most 4095 characters`},
		{"resolver file that is a directory", "config globals\n option resolver_file '/tmp/'\n", `option 'resolver_file' in section '@globals[0]' (roam6:2:23): "/tmp/": expected an absolute path of at most 4095 characters`},
		{"resolver file in the state directory's place", "config globals\n option resolver_file '/tmp/x'\n option state_directory '/tmp/x'\n", `option 'resolver_file' in section '@globals[0]' (roam6:2:23): "/tmp/x": expected a file that is not the state_directory`},

		// uplinks
		{"uplink without interface", node + "config uplink\n", `option 'interface' in section '@uplink[0]' (roam6:6:1): expected an interface name of at most 15 characters; it is missing`},
		{"uplink of nobody", node + strings.Replace(foreign, "'wan'", "'wna'", 1), `option 'interface' in section '@uplink[0]' (roam6:7:19): "wna": expected the uplink of a mobile_router, mobile_node or prefix_request section; did you mean 'wan'?`},
		{"uplink, and nobody moves", foreign, `option 'interface' in section '@uplink[0]' (roam6:2:19): "wan": expected the uplink of a mobile_router, mobile_node or prefix_request section; there is none`},
		{"uplink twice", node + foreign + foreign, `option 'interface' in section '@uplink[1]' (roam6:10:19): "wan": expected an interface that section '@uplink[0]' (roam6:6:1) does not have`},
		{"misspelt addressing", node + strings.Replace(foreign, "foreign", "dhcp6", 1), `option 'addressing' in section '@uplink[0]' (roam6:8:20): "dhcp6": expected one of auto, slaac, dhcpv6, foreign: did you mean 'dhcpv6'?`},
		{"unknown addressing", node + strings.Replace(foreign, "foreign", "ra", 1), `option 'addressing' in section '@uplink[0]' (roam6:8:20): "ra": expected one of auto, slaac, dhcpv6, foreign`},
		{"rapid commit of somebody else", node + foreign + " option rapid_commit '0'\n", `option 'rapid_commit' in section '@uplink[0]' (roam6:9:22): "0": expected no such option: with addressing 'foreign' roam6 asks no DHCPv6 server there`},

		// mobile routers
		{"length without delegation", router + " option delegation_length '56'\n", `option 'delegation_length' in section 'r' (roam6:7:27): "56": expected prefix_delegation '1' in the section: this is the length to ask for`},
		{"delegation to no link", strings.Replace(delegated, " list downstream 'lan'\n", "", 1), `option 'downstream' in section 'r' (roam6:1:1): expected an interface to number with what is delegated, because of prefix_delegation; or netifd '1', which leaves that to netifd; it is missing`},
		{"netifd beside a downstream", router + " list downstream 'lan'\n option netifd '1'\n", `option 'netifd' in section 'r' (roam6:8:16): "1": expected 0, because there is a downstream, which roam6 numbers; or no downstream`},
		{"length too short", delegated + " option delegation_length '47'\n", `option 'delegation_length' in section 'r' (roam6:8:27): "47": expected an integer from 48 to 64`},
		{"length too long", delegated + " option delegation_length '65'\n", `option 'delegation_length' in section 'r' (roam6:8:27): "65": expected an integer from 48 to 64`},
		{"one /64 for two links", delegated + " list downstream 'lan2'\n option delegation_length '64'\n", `option 'delegation_length' in section 'r' (roam6:9:27): "64": expected at most 63, so that each of the 2 downstream interfaces gets a /64`},
		{"delegation of a host", node + " option prefix_delegation '1'\n", `option 'prefix_delegation' in section 'n' (roam6:6:9): "prefix_delegation": expected an option of the section type mobile_node: enabled, home_address, home_agent, discover, uplink, hysteresis_ms, default_source, route_optimization, correspondent, spi, key, insecure, replay, lifetime, initial_timeout_ms, dad, hierarchy, anchor_selection, insecure_anchors`},
		{"delegation to an uplink", strings.Replace(delegated, "'lan'", "'wan'", 1), `option 'downstream' in section 'r' (roam6:7:18): "wan": expected an interface that is not an uplink of section 'r' (roam6:1:1)`},
		{"a downstream that does not advertise", router + " list downstream 'eth1'\n" + strings.Replace(link, "'1'", "'0'", 1), `option 'AdvSendAdvert' in section '@interface[0]' (roam6:10:23): "0": expected 1, because the interface is a downstream of section 'r' (roam6:1:1); where another program is to advertise it is not listed there`},

		// prefix requests
		{"request without a name", strings.Replace(requested, " 'q'", "", 1), `section '@prefix_request[0]' (roam6:1:8): "prefix_request": expected a name after the type: config prefix_request 'NAME'`},
		{"request without uplink", "config prefix_request 'q'\n list downstream 'lan2'\n", `option 'uplink' in section 'q' (roam6:1:1): expected an interface name of at most 15 characters; it is missing`},
		{"request without downstream", "config prefix_request 'q'\n option uplink 'wan2'\n", `option 'downstream' in section 'q' (roam6:1:1): expected an interface name of at most 15 characters; it is missing`},
		{"request of a short prefix", requested + " option length '32'\n", `option 'length' in section 'q' (roam6:4:16): "32": expected an integer from 48 to 64`},
		{"request too long for five links", requested + " list downstream 'a'\n list downstream 'b'\n list downstream 'c'\n list downstream 'd'\n option length '62'\n", `option 'length' in section 'q' (roam6:8:16): "62": expected at most 61, so that each of the 5 downstream interfaces gets a /64`},
		{"request by a foreign uplink", node + foreign + strings.Replace(requested, "wan2", "wan", 1), `option 'uplink' in section 'q' (roam6:10:16): "wan": expected an uplink that roam6 manages: section '@uplink[0]' (roam6:6:1) leaves it to another DHCPv6 client, which is the one to ask for prefixes`},
		{"two requests on an uplink", requested + strings.NewReplacer("'q'", "'p'", "lan2", "lan3").Replace(requested), `option 'uplink' in section 'p' (roam6:5:16): "wan2": expected an uplink that section 'q' (roam6:1:1) does not have`},
		{"two requests for a downstream", requested + strings.NewReplacer("'q'", "'p'", "wan2", "wan3").Replace(requested), `option 'downstream' in section 'p' (roam6:6:18): "lan2": expected an interface that is not a downstream of section 'q' (roam6:1:1)`},
		{"request for a mobile network's link", router + " list downstream 'lan2'\n" + requested, `option 'downstream' in section 'q' (roam6:10:18): "lan2": expected an interface that is not a downstream of section 'r' (roam6:1:1)`},
		{"request for its own uplink", strings.Replace(requested, "lan2", "wan2", 1), `option 'downstream' in section 'q' (roam6:3:18): "wan2": expected an interface that is not an uplink of section 'q' (roam6:1:1)`},
		{"request for a mobile's uplink", node + strings.Replace(requested, "lan2", "wan", 1), `option 'downstream' in section 'q' (roam6:8:18): "wan": expected an interface that is not an uplink of section 'n' (roam6:1:1)`},
		{"request's uplink is a downstream", router + " list downstream 'lan'\n" + strings.Replace(requested, "wan2", "lan", 1), `option 'downstream' in section 'r' (roam6:7:18): "lan": expected an interface that is not an uplink of section 'q' (roam6:8:1)`},
		{"downstream of a request twice", requested + " list downstream 'lan2'\n", `option 'downstream' in section 'q' (roam6:4:18): "lan2": expected every interface once`},
		{"request on the tunnel device", strings.Replace(requested, "wan2", "roam6", 1), `option 'uplink' in section 'q' (roam6:2:16): "roam6": expected another interface: this is the tunnel_device of the globals section`},
		{"request for the tunnel device", strings.Replace(requested, "lan2", "roam6", 1), `option 'downstream' in section 'q' (roam6:3:18): "roam6": expected another interface: this is the tunnel_device of the globals section`},
		{"advertising on a request's uplink", requested + strings.Replace(link, "eth1", "wan2", 1), `option 'interface' in section '@interface[0]' (roam6:5:19): "wan2": expected an interface that is not an uplink of section 'q' (roam6:1:1): its router is in the access network`},

		// home agents that delegate
		{"pools that overlap", pooled + " list delegation_pool '2001:db8:8010::/48'\n", `option 'delegation_pool' in section 'h' (roam6:6:23): "2001:db8:8010::/48": expected a prefix that does not overlap 2001:db8:8000::/40 of the same section`},
		{"pool and home prefix", agent + " list delegation_pool '2001:db8::/40'\n", `option 'delegation_pool' in section 'h' (roam6:5:23): "2001:db8::/40": expected a prefix that does not overlap 2001:db8:1::/64 of the same section`},
		{"part of the home prefix with its first address", wide + " list delegation_pool '2001:db8:1::/56'\n", `option 'delegation_pool' in section 'h' (roam6:5:23): "2001:db8:1::/56": expected a part of the home prefix 2001:db8:1::/48 without 2001:db8:1::, which belongs to the home link`},
		{"part of the home prefix with a mobile", wide + " list delegation_pool '2001:db8:1:100::/56'\n" + strings.Replace(mobile, "1::2", "1:100::2", 1), `option 'delegation_pool' in section 'h' (roam6:5:23): "2001:db8:1:100::/56": expected a prefix without the home address 2001:db8:1:100::2 of section 'm' (roam6:6:1)`},
		{"part of the home prefix with the anycast address", wide + " list delegation_pool '2001:db8:1:ff00::/56'\n", `option 'delegation_pool' in section 'h' (roam6:5:23): "2001:db8:1:ff00::/56": expected a part of the home prefix 2001:db8:1::/48 without 2001:db8:1:ffff:ffff:ffff:ffff:fffe, which belongs to the home link`},
		{"parts that overlap", wide + " list delegation_pool '2001:db8:1:100::/56'\n list delegation_pool '2001:db8:1:100::/56'\n", `option 'delegation_pool' in section 'h' (roam6:6:23): "2001:db8:1:100::/56": expected a prefix that does not overlap 2001:db8:1:100::/56 of the same section`},
		{"pool and deprecated prefix", pooled + " list deprecated_prefix '2001:db8:8000::/64'\n", `option 'delegation_pool' in section 'h' (roam6:5:23): "2001:db8:8000::/40": expected a prefix that does not overlap 2001:db8:8000::/64 of the same section`},
		{"pool of another home agent", pooled + strings.NewReplacer("'h'", "'g'", "db8:1:", "db8:9:", "db8:8000::/40", "db8:8010::/48").Replace(pooled), `option 'delegation_pool' in section 'g' (roam6:10:23): "2001:db8:8010::/48": expected a prefix that does not overlap 2001:db8:8000::/40 of section 'h' (roam6:1:1)`},
		{"pool and a mobile's prefix", pooled + strings.Replace(mobile, "2001:db8:100::/56", "2001:db8:8000:100::/56", 1), `option 'prefix' in section 'm' (roam6:9:14): "2001:db8:8000:100::/56": expected a prefix that does not overlap the delegation_pool 2001:db8:8000::/40 of section 'h' (roam6:1:1)`},
		{"pool with host bits", agent + " list delegation_pool '2001:db8:8000::1/40'\n", `option 'delegation_pool' in section 'h' (roam6:5:23): "2001:db8:8000::1/40": expected an IPv6 prefix, such as 2001:db8:100::/56: bits beyond the length are set; 2001:db8:8000::/40?`},
		{"too many pools", pooled + pools, `option 'delegation_pool' in section 'h' (roam6:21:23): "2001:db8:900f::/48": expected at most 16 pools; there are 17`},
		{"pool longer than the length", agent + " list delegation_pool '2001:db8:8000::/60'\n", `option 'delegation_pool' in section 'h' (roam6:5:23): "2001:db8:8000::/60": expected a pool of at most 56 bits, or a delegation_length of 60 or more`},
		{"length shorter than the pool", agent + " list delegation_pool '2001:db8:8000::/60'\n option delegation_length '59'\n", `option 'delegation_length' in section 'h' (roam6:6:27): "59": expected at least the length of the pool 2001:db8:8000::/60`},
		{"delegated length beyond a link", pooled + " option delegation_length '65'\n", `option 'delegation_length' in section 'h' (roam6:6:27): "65": expected an integer from 48 to 64`},
		{"length of nothing", agent + " option delegation_length '60'\n", `option 'delegation_length' in section 'h' (roam6:5:27): "60": expected a delegation_pool in the section, of whose prefixes this is said`},
		{"lifetime of nothing", agent + " option delegation_lifetime '7200'\n", `option 'delegation_lifetime' in section 'h' (roam6:5:29): "7200": expected a delegation_pool in the section, of whose prefixes this is said`},
		{"preferred beyond the lifetime", pooled + " option delegation_preferred '7201'\n", `option 'delegation_preferred' in section 'h' (roam6:6:30): "7201": expected a delegation_preferred (7201) that is not greater than delegation_lifetime (7200)`},
		{"lifetime below the preferred", pooled + " option delegation_lifetime '3599'\n", `option 'delegation_lifetime' in section 'h' (roam6:6:29): "3599": expected a delegation_preferred (3600) that is not greater than delegation_lifetime (3599)`},
		{"lifetime too short for a renewal", pooled + " option delegation_lifetime '7'\n", `option 'delegation_lifetime' in section 'h' (roam6:6:29): "7": expected an integer from 8 to 31536000 (seconds)`},
		{"pool and server", pooled + " option delegation_server '2001:db8:f::53'\n", `option 'delegation_server' in section 'h' (roam6:6:27): "2001:db8:f::53": expected no server, because there is a delegation_pool; or no pool`},
		{"server and length", agent + " option delegation_server '2001:db8:f::53'\n option delegation_length '60'\n", `option 'delegation_length' in section 'h' (roam6:6:27): "60": expected no such option, because of delegation_server: the server decides`},
		{"server is the home agent", agent + " option delegation_server '2001:db8:1::1'\n", `option 'delegation_server' in section 'h' (roam6:5:27): "2001:db8:1::1": expected the address of another node, not the home agent's own`},
		{"server multicast", agent + " option delegation_server 'ff05::1:3'\n", `option 'delegation_server' in section 'h' (roam6:5:27): "ff05::1:3": expected a routable unicast IPv6 address: this is a multicast address`},

		// their mobiles
		{"delegation to a host", pooled + strings.Replace(routed, "router '1'", "router '0'", 1) + " option delegate '1'\n", `option 'delegate' in section 'm' (roam6:10:18): "1": expected 0, because router is 0: only mobile routers get prefixes`},
		{"delegation of nobody", agent + mobile + " option delegate '1'\n", `option 'delegate' in section 'm' (roam6:9:18): "1": expected 0; or a delegation_pool or delegation_server in section 'h' (roam6:1:1)`},
		{"identifier of a host", pooled + strings.Replace(routed, "router '1'", "router '0'", 1) + " option duid '00030001020000000001'\n", `option 'duid' in section 'm' (roam6:10:14): "00030001020000000001": expected a mobile router that gets prefixes by delegation, whose identifier this would be`},
		{"identifier and no delegation", pooled + routed + " option delegate '0'\n option duid '00030001020000000001'\n", `option 'duid' in section 'm' (roam6:11:14): "00030001020000000001": expected a mobile router that gets prefixes by delegation, whose identifier this would be`},
		{"identifier of two", pooled + routed + " option duid '00030001020000000001'\n" + strings.NewReplacer("'m'", "'l'", "1::2", "1::3").Replace(routed) + " option duid '00:03:00:01:02:00:00:00:00:01'\n", `option 'duid' in section 'l' (roam6:15:14): "00:03:00:01:02:00:00:00:00:01": expected an identifier that section 'm' (roam6:6:1) does not have`},
		{"identifier too short", pooled + routed + " option duid '0003'\n", `option 'duid' in section 'm' (roam6:10:14): "0003": expected a DHCPv6 identifier (DUID) of 3 to 130 octets in hexadecimal, with or without colons between them: this has 2 octets`},
		{"identifier too long", pooled + routed + " option duid '" + strings.Repeat("01", 131) + "'\n", `option 'duid' in section 'm' (roam6:10:14): "***": expected a DHCPv6 identifier (DUID) of 3 to 130 octets in hexadecimal, with or without colons between them: this has 131 octets`},
		{"half an octet", pooled + routed + " option duid '00030'\n", `option 'duid' in section 'm' (roam6:10:14): "00030": expected a DHCPv6 identifier (DUID) of 3 to 130 octets in hexadecimal, with or without colons between them: this has 5 digits, an odd number`},
		{"colons in the wrong place", pooled + routed + " option duid '0:03:00'\n", `option 'duid' in section 'm' (roam6:10:14): "0:03:00": expected a DHCPv6 identifier (DUID) of 3 to 130 octets in hexadecimal, with or without colons between them: colons stand between octets of two digits each`},
		{"no digits", pooled + routed + " option duid 'zz:03:00'\n", `option 'duid' in section 'm' (roam6:10:14): "zz:03:00": expected a DHCPv6 identifier (DUID) of 3 to 130 octets in hexadecimal, with or without colons between them`},
	})
}

// What the tests above spoil is right.
func TestNoDelegationErrors(t *testing.T) {
	for name, in := range map[string]string{
		"delegated":                          delegated,
		"delegated, and the same link twice": delegated + strings.NewReplacer("'r'", "'s'", "1::3", "1::4").Replace(delegated),
		"pool and mobile":                    pooled + mobile,
		"parts of the home prefix": wide + " list delegation_pool '2001:db8:1:100::/56'\n list delegation_pool '2001:db8:1:200::/56'\n" +
			strings.Replace(mobile, "2001:db8:100::/56", "2001:db8:1:300::/56", 1),
		"server":                               agent + " option delegation_server '2001:db8:f::53'\n" + mobile,
		"pool of the delegated length":         agent + " list delegation_pool '2001:db8:8000::/56'\n",
		"pools of a disabled home agent":       pooled + " option enabled '0'\n" + strings.NewReplacer("'h'", "'g'").Replace(pooled),
		"mobile's prefix in a disabled pool":   pooled + " option enabled '0'\n" + strings.NewReplacer("'h'", "'g'").Replace(agent) + strings.Replace(mobile, "2001:db8:100::/56", "2001:db8:8000:100::/56", 1) + " option home_agent 'g'\n",
		"request":                              requested,
		"request on a mobile's uplink":         node + strings.Replace(requested, "wan2", "wan", 1),
		"foreign uplink":                       node + foreign,
		"foreign uplink of a disabled request": node + foreign + strings.Replace(requested, "wan2", "wan", 1) + " option enabled '0'\n",
		"uplink of a disabled mobile":          "config mobile_node 'n'\n option enabled '0'\n list uplink 'wan'\n" + foreign,
		"disabled and incomplete":              "config prefix_request 'q'\n option enabled '0'\n",
		"four links of a /62":                  requested + " list downstream 'a'\n list downstream 'b'\n list downstream 'c'\n option length '62'\n",
		"delegate 0 where nobody delegates":    agent + mobile + " option delegate '0'\n",
		"host of a home agent that delegates":  pooled + strings.Replace(mobile, " list prefix '2001:db8:100::/56'\n", "", 1),
	} {
		if _, err := Parse("roam6", []byte(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
