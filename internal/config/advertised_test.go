package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/mip6"
	"roam6/nd"
)

// Sections that are right, to be spoilt in the tests.
const (
	lan    = "config interface\n option interface 'lan'\n"
	own    = "config prefix\n option interface 'lan'\n"
	routed = "config route\n option interface 'lan'\n list prefix '2001:db8:8::/48'\n"
	dns    = "config rdnss\n option interface 'lan'\n list addr '2001:db8::53'\n"
	search = "config dnssl\n option interface 'lan'\n list suffix 'example.org'\n"
	nat64  = "config nat64prefix\n option interface 'lan'\n list prefix '64:ff9b::/96'\n"
	abro   = "config abro\n option interface 'lan'\n option address 'fe80::1'\n"
	sixlo  = "config lowpanco\n option interface 'lan'\n option prefix '2001:db8:9::/64'\n option AdvContextID '1'\n option AdvLifeTime '60'\n"
	mapopt = "config map_option\n option interface 'lan'\n option address '2001:db8:5::1'\n"
)

func parseText(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("roam6", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The example of the documentation, and the defaults of radvd (RFC 8106 §5 where
// radvd has less).
func TestAdvertisements(t *testing.T) {
	c := parseTestdata(t, "advertisements.conf")
	information := mip6.PrefixInformation{OnLink: true, Autonomous: true, ValidLifetime: 24 * time.Hour, PreferredLifetime: 4 * time.Hour}
	every, subnet := information, information
	every.Prefix, subnet.Prefix = prefix("::/64"), prefix("0:0:0:7::/64")
	same(t, "interfaces", c.Interfaces, []Interface{{
		Name: "br-lan", Advertise: true,
		MinInterval: 9900 * time.Millisecond, MaxInterval: 30 * time.Second, MinDelay: 3 * time.Second,
		RouterLifetime: 90 * time.Second, CurHopLimit: 64, SourceLinkAddr: true, UnicastReplies: true,
		CaptivePortal: "urn:ietf:params:capport:unrestricted",
		Prefixes: []Prefix{
			{PrefixInformation: every, Own: true},
			{PrefixInformation: subnet, Own: true, From: "wan6", Deprecate: true},
		},
		Routes:     []Route{{RouteInformation: nd.RouteInformation{Prefix: prefix("2001:db8:100::/40"), Preference: nd.PreferenceHigh, Lifetime: 90 * time.Second}}},
		DNSServers: []DNSServers{{RecursiveDNS: nd.RecursiveDNS{Servers: []netip.Addr{addr("2001:db8:1::53"), addr("fe80::1")}, Lifetime: 90 * time.Second}}},
		DNSSearch:  []DNSSearch{{DNSSearch: nd.DNSSearch{Domains: []string{"example.org"}, Lifetime: 90 * time.Second}}},
		// A multiple of 8 (RFC 8781 §4.1).
		NAT64: []nd.NAT64Prefix{{Prefix: prefix("64:ff9b::/96"), Lifetime: 96 * time.Second}},
	}})
}

// Everything that is not a default.
func TestEveryAdvertisedOption(t *testing.T) {
	c := parseText(t, lan+` option AdvSendAdvert '1'
	option MaxRtrAdvInterval '0.07'
	option MinRtrAdvInterval '0.03'
	option MinDelayBetweenRAs '0.045'
	option AdvIntervalOpt '1'
	option IgnoreIfMissing '1'
	option RemoveAdvOnExit '0'
	option AdvCaptivePortalAPI 'https://portal.example.org/api?x=1'
	list client 'fe80::21f:16ff:fe06:3aab'
	list client 'fe80::21d:72ff:fe96:aaff'
	list AdvRASrcAddress 'fe80::1'
	list map_upstream 'wan'
	list map_upstream 'wwan'
`+own+` list prefix '::/56'
	option AdvRouterAddr '1'
	option AdvDHCPv6PDPreferred '1'
	option DecrementLifetimes '1'
	option DeprecatePrefix '0'
`+own+` list prefix '2001:db8:1::1/64'
	option AdvRouterAddr '1'
`+routed+` list prefix '::/0'
	option AdvRouteLifetime 'infinity'
	option AdvRoutePreference 'low'
	option RemoveRoute '0'
`+dns+` list addr 'fe80::53'
	option AdvRDNSSLifetime '0'
	option FlushRDNSS '0'
`+search+` list suffix 'Sub.Example.net.'
	option AdvDNSSLLifetime '1'
	option FlushDNSSL '0'
`+nat64+` option AdvValidLifetime '65521'
`+abro+` option AdvVersionLow '10'
	option AdvVersionHigh '2'
	option AdvValidLifetime '3'
`+sixlo+strings.NewReplacer("'1'", "'15'", "::/64", "::").Replace(sixlo)+` option AdvContextLength '48'
	option AdvContextCompressionFlag '0'
`+mapopt+` option distance '15'
	option preference '0'
	option lifetime '0'
	option allocated '1'
`+strings.Replace(mapopt, "5::1", "6::1", 1))
	information := mip6.PrefixInformation{OnLink: true, Autonomous: true, RouterAddress: true, ValidLifetime: 24 * time.Hour, PreferredLifetime: 4 * time.Hour}
	every, address := information, information
	every.Prefix, every.PreferDelegation, address.Prefix = prefix("::/56"), true, prefix("2001:db8:1::1/64")
	same(t, "interfaces", c.Interfaces, []Interface{{
		Name: "lan", Advertise: true,
		MinInterval: 30 * time.Millisecond, MaxInterval: 70 * time.Millisecond, MinDelay: 45 * time.Millisecond,
		RouterLifetime: time.Second, CurHopLimit: 64, SourceLinkAddr: true, IntervalOption: true, UnicastReplies: true, KeepOnExit: true,
		CaptivePortal: "https://portal.example.org/api?x=1",
		Clients:       []netip.Addr{addr("fe80::21f:16ff:fe06:3aab"), addr("fe80::21d:72ff:fe96:aaff")},
		Sources:       []netip.Addr{addr("fe80::1")},
		Prefixes:      []Prefix{{PrefixInformation: every, Own: true, Decrement: true}, {PrefixInformation: address}},
		Routes: []Route{
			{RouteInformation: nd.RouteInformation{Prefix: prefix("2001:db8:8::/48"), Preference: nd.PreferenceLow, Lifetime: mip6.InfiniteLifetime}, Keep: true},
			{RouteInformation: nd.RouteInformation{Prefix: prefix("::/0"), Preference: nd.PreferenceLow, Lifetime: mip6.InfiniteLifetime}, Keep: true},
		},
		DNSServers:    []DNSServers{{RecursiveDNS: nd.RecursiveDNS{Servers: []netip.Addr{addr("2001:db8::53"), addr("fe80::53")}}, Keep: true}},
		DNSSearch:     []DNSSearch{{DNSSearch: nd.DNSSearch{Domains: []string{"example.org", "Sub.Example.net"}, Lifetime: time.Second}, Keep: true}},
		NAT64:         []nd.NAT64Prefix{{Prefix: prefix("64:ff9b::/96"), Lifetime: 65528 * time.Second}},
		BorderRouters: []nd.BorderRouter{{Version: 2<<16 | 10, ValidLifetime: 3 * time.Minute, Router: addr("fe80::1")}},
		Contexts: []nd.Context{
			{Prefix: prefix("2001:db8:9::/64"), ID: 1, Compression: true, ValidLifetime: time.Hour},
			{Prefix: prefix("2001:db8:9::/48"), ID: 15, ValidLifetime: time.Hour},
		},
		Anchors: []mip6.MobilityAnchorPoint{
			{Address: addr("2001:db8:5::1"), Distance: 15, Allocated: true},
			{Address: addr("2001:db8:6::1"), Distance: 1, Preference: 10, ValidLifetime: 24 * time.Hour},
		},
		AnchorUpstreams: []string{"wan", "wwan"},
	}})
}

// The limits of the options, as RFC 8781, RFC 6275 §7.4 and the fields have them.
func TestLongestLifetimes(t *testing.T) {
	c := parseText(t, lan+" option MaxRtrAdvInterval '65535'\n option AdvHomeAgentFlag '1'\n option AdvHomeAgentInfo '1'\n"+
		strings.Replace(whole, "eth1", "lan", 1)+nat64+routed+dns)
	in := c.Interfaces[0]
	same(t, "router", in.RouterLifetime, 65535*time.Second)
	same(t, "home agent", in.HomeAgentInfo.Lifetime, 65520*time.Second)
	same(t, "NAT64", in.NAT64[0].Lifetime, 65528*time.Second)
	same(t, "route", in.Routes[0].Lifetime, 3*65535*time.Second)
	same(t, "DNS", in.DNSServers[0].Lifetime, 3*65535*time.Second)
	c = parseText(t, lan+nat64+" option AdvValidLifetime '0'\n"+strings.Replace(nat64, "64:ff9b::/96", "2001:db8::/40", 1)+" option AdvValidLifetime '600'\n")
	same(t, "NAT64 lifetimes", c.Interfaces[0].NAT64, []nd.NAT64Prefix{
		{Prefix: prefix("64:ff9b::/96")}, {Prefix: prefix("2001:db8::/40"), Lifetime: 600 * time.Second}})
}

// radvd's defaults depend on what stands before; these do not.
func TestOrderDoesNotMatter(t *testing.T) {
	parts := []string{
		lan + " option MinRtrAdvInterval '5'\n option AdvHomeAgentInfo '1'\n option AdvHomeAgentFlag '1'\n option AdvDefaultPreference 'high'\n option MaxRtrAdvInterval '20'\n",
		strings.Replace(whole, "eth1", "lan", 1), routed, dns, search, nat64, abro, sixlo, mapopt,
	}
	want := parseText(t, strings.Join(parts, "")).Interfaces
	same(t, "lifetime of the servers", want[0].DNSServers[0].Lifetime, time.Minute)
	for range parts {
		parts = append(parts[1:], parts[0])
		same(t, "interfaces", parseText(t, strings.Join(parts, "")).Interfaces, want)
		backwards := slices.Clone(parts)
		slices.Reverse(backwards)
		same(t, "interfaces backwards", parseText(t, strings.Join(backwards, "")).Interfaces, want)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(parts[0], "\n"), "\n")
	slices.Reverse(lines[1:])
	text := strings.Join(lines, "\n") + "\n"
	same(t, "options backwards", parseText(t, text+strings.Join(parts[1:], "")).Interfaces, want)
}

// The file that OpenWrt's radvd package came with: nothing in it is in use, its lists
// are empty, and each section begins to work when `ignore` is taken away and the list
// filled.
func TestOpenWrtFile(t *testing.T) {
	const ignored = "\toption ignore '1'\n"
	text := lan + "\toption AdvSendAdvert '1'\n\tlist client ''\n" + ignored
	for _, s := range [][2]string{{"prefix", "prefix"}, {"route", "prefix"}, {"rdnss", "addr"}, {"dnssl", "suffix"}} {
		text += fmt.Sprintf("config %s\n\toption interface 'lan'\n\tlist %s ''\n%s", s[0], s[1], ignored)
	}
	c := parseText(t, text)
	if len(c.Interfaces) != 0 {
		t.Errorf("interfaces %+v", c.Interfaces)
	}
	same(t, "disabled", c.Disabled, []string{"@interface[0]", "@prefix[0]", "@route[0]", "@rdnss[0]", "@dnssl[0]"})

	c = parseText(t, strings.Replace(text, ignored, "", 2)) // interface and prefix
	if len(c.Interfaces) != 1 || len(c.Interfaces[0].Clients) != 0 || len(c.Interfaces[0].Prefixes) != 1 {
		t.Fatalf("interfaces %+v", c.Interfaces)
	}
	if p := c.Interfaces[0].Prefixes[0]; !p.Own || p.Prefix != prefix("::/64") {
		t.Errorf("without a prefix that of the interface is meant, got %+v", p)
	}
	if in := c.Interfaces[0]; len(in.Routes)+len(in.DNSServers)+len(in.DNSSearch) != 0 {
		t.Errorf("ignored sections are used: %+v", in)
	}
	// What belongs to an interface that is ignored is, too.
	c = parseText(t, lan+ignored+own+routed+dns)
	if len(c.Interfaces) != 0 {
		t.Errorf("interfaces %+v", c.Interfaces)
	}
}

func TestAdvertisedErrors(t *testing.T) {
	var servers, domains string
	for i := range maxServers {
		servers += fmt.Sprintf(" list addr '2001:db8::1:%x'\n", i)
	}
	label := strings.Repeat("x", 50)
	for i := range 6 {
		domains += fmt.Sprintf(" list suffix '%s.%s.%s.%s.d%d'\n", label, label, label, label, i)
	}
	last := strings.Join([]string{label, label, label, label, "d5"}, ".")
	checkErrors(t, []struct{ name, in, want string }{
		// intervals
		{"interval twice", lan + " option MaxRtrAdvInterval '10'\n option max_interval_ms '10000'\n", `option 'MaxRtrAdvInterval' in section '@interface[0]' (roam6:3:27): "10": expected no such option beside max_interval_ms, which is the same in milliseconds`},
		{"minimum twice", lan + " option min_interval_ms '3000'\n option MinRtrAdvInterval '3'\n", `option 'MinRtrAdvInterval' in section '@interface[0]' (roam6:4:27): "3": expected no such option beside min_interval_ms, which is the same in milliseconds`},
		{"delay twice", lan + " option min_delay_between_ras_ms '3000'\n option MinDelayBetweenRAs '3'\n", `option 'MinDelayBetweenRAs' in section '@interface[0]' (roam6:4:28): "3": expected no such option beside min_delay_between_ras_ms, which is the same in milliseconds`},
		{"interval with a unit", lan + " option MaxRtrAdvInterval '10s'\n", `option 'MaxRtrAdvInterval' in section '@interface[0]' (roam6:3:27): "10s": expected a number from 0.07 to 65535 (seconds)`},
		{"interval with too many decimals", lan + " option MaxRtrAdvInterval '4.0001'\n", `option 'MaxRtrAdvInterval' in section '@interface[0]' (roam6:3:27): "4.0001": expected a number from 0.07 to 65535 (seconds): there are at most three decimals`},
		{"interval beyond", lan + " option MaxRtrAdvInterval '65535.001'\n", `option 'MaxRtrAdvInterval' in section '@interface[0]' (roam6:3:27): "65535.001": expected a number from 0.07 to 65535 (seconds)`},
		{"short interval in seconds", lan + " option MaxRtrAdvInterval '3.999'\n", `option 'MaxRtrAdvInterval' in section '@interface[0]' (roam6:3:27): "3.999": expected at least 4 seconds; less is for links that serve mobiles: AdvIntervalOpt, AdvHomeAgentFlag, AdvHomeAgentInfo or AdvRouterAddr`},
		{"minimum above three quarters in seconds", lan + " option MaxRtrAdvInterval '10'\n option MinRtrAdvInterval '7.501'\n", `option 'MinRtrAdvInterval' in section '@interface[0]' (roam6:4:27): "7.501": expected at most three quarters of MaxRtrAdvInterval, 7.5 seconds`},
		{"both units", lan + " option max_interval_ms '10000'\n option MinRtrAdvInterval '8'\n", `option 'MinRtrAdvInterval' in section '@interface[0]' (roam6:4:27): "8": expected at most three quarters of max_interval_ms, 7.5 seconds`},
		{"delay above the interval", lan + " option max_interval_ms '4000'\n option min_delay_between_ras_ms '4001'\n", `option 'min_delay_between_ras_ms' in section '@interface[0]' (roam6:4:34): "4001": expected at most max_interval_ms, 4000`},
		{"lifetime below the interval in seconds", lan + " option MaxRtrAdvInterval '10'\n option AdvDefaultLifetime '9'\n", `option 'AdvDefaultLifetime' in section '@interface[0]' (roam6:4:28): "9": expected 0, or at least MaxRtrAdvInterval: 10 seconds`},

		// who hears it
		{"interfaces that have to be there", lan + " option IgnoreIfMissing '0'\n", `option 'IgnoreIfMissing' in section '@interface[0]' (roam6:3:25): "0": expected 1: roam6 waits for an interface that is not there, and does everything else meanwhile`},
		{"client of elsewhere", lan + " list client '2001:db8::1'\n", `option 'client' in section '@interface[0]' (roam6:3:14): "2001:db8::1": expected a link-local IPv6 address, such as fe80::1`},
		{"client with a zone", lan + " list client 'fe80::1%lan'\n", `option 'client' in section '@interface[0]' (roam6:3:14): "fe80::1%lan": expected a link-local IPv6 address, such as fe80::1: this has a zone`},
		{"client twice", lan + " list client 'fe80::1'\n list client 'FE80::1'\n", `option 'client' in section '@interface[0]' (roam6:4:14): "FE80::1": expected every client once`},
		{"empty client among others", lan + " list client ''\n list client 'fe80::1'\n", `option 'client' in section '@interface[0]' (roam6:3:14): expected a link-local IPv6 address, such as fe80::1`},
		{"source twice", lan + " list AdvRASrcAddress 'fe80::1'\n list AdvRASrcAddress 'fe80::1'\n", `option 'AdvRASrcAddress' in section '@interface[0]' (roam6:4:23): "fe80::1": expected every address once`},
		{"multicast answers without multicast", lan + " option UnicastOnly '1'\n option AdvRASolicitedUnicast '0'\n", `option 'AdvRASolicitedUnicast' in section '@interface[0]' (roam6:4:31): "0": expected 1, because of UnicastOnly`},
		{"multicast answers to clients", lan + " list client 'fe80::1'\n option AdvRASolicitedUnicast '0'\n", `option 'AdvRASolicitedUnicast' in section '@interface[0]' (roam6:4:31): "0": expected 1, because of client`},
		{"interval of nothing", lan + " option UnicastOnly '1'\n option AdvIntervalOpt '1'\n", `option 'AdvIntervalOpt' in section '@interface[0]' (roam6:4:24): "1": expected 0, because of UnicastOnly: mobiles would wait for advertisements that nobody sends`},
		{"anchors back to their link", lan + " list map_upstream 'wan'\n list map_upstream 'lan'\n", `option 'map_upstream' in section '@interface[0]' (roam6:4:20): "lan": expected another interface: anchors are not advertised back to where they were heard`},
		{"upstream twice", lan + " list map_upstream 'wan'\n list map_upstream 'wan'\n", `option 'map_upstream' in section '@interface[0]' (roam6:4:20): "wan": expected every interface once`},
		{"upstream is the tunnel", lan + " list map_upstream 'roam6'\n", `option 'map_upstream' in section '@interface[0]' (roam6:3:20): "roam6": expected another interface: this is the tunnel_device of the globals section`},
		{"portal without TLS", lan + " option AdvCaptivePortalAPI 'http://portal.example.org/'\n", `option 'AdvCaptivePortalAPI' in section '@interface[0]' (roam6:3:29): "http://portal.example.org/": expected an https URI, or urn:ietf:params:capport:unrestricted where there is no portal: hosts ask the API over TLS only (RFC 8908 §4.1)`},
		{"portal by name", lan + " option AdvCaptivePortalAPI 'portal.example.org'\n", `option 'AdvCaptivePortalAPI' in section '@interface[0]' (roam6:3:29): "portal.example.org": expected an https URI, or urn:ietf:params:capport:unrestricted where there is no portal`},
		{"portal with a space", lan + " option AdvCaptivePortalAPI 'https://x/a b'\n", `option 'AdvCaptivePortalAPI' in section '@interface[0]' (roam6:3:29): "https://x/a b": expected an https URI, or urn:ietf:params:capport:unrestricted where there is no portal: character 12 is not one of a URI`},
		{"portal too long", lan + " option AdvCaptivePortalAPI 'https://x/" + strings.Repeat("x", maxOption-2-9) + "'\n", `option 'AdvCaptivePortalAPI' in section '@interface[0]' (roam6:3:29): "https://x/` + strings.Repeat("x", 50) + `…": expected an https URI, or urn:ietf:params:capport:unrestricted where there is no portal: this has more than 1134 characters and does not fit into a packet`},

		// prefixes
		{"all prefixes of no length", lan + own + " list prefix '::/0'\n", `option 'prefix' in section '@prefix[0]' (roam6:5:14): "::/0": expected an IPv6 prefix, such as 2001:db8:1::/64, or ::/64 for those of the interface: it includes multicast addresses`},
		{"the loopback address", lan + own + " list prefix '::1/128'\n", `option 'prefix' in section '@prefix[0]' (roam6:5:14): "::1/128": expected an IPv6 prefix, such as 2001:db8:1::/64, or ::/64 for those of the interface: it includes the unspecified and the loopback addresses`},
		{"own address", lan + own + " list prefix '::1/64'\n", `option 'prefix' in section '@prefix[0]' (roam6:5:14): "::1/64": expected an IPv6 prefix, such as 2001:db8:1::/64, or ::/64 for those of the interface: bits beyond the length are set; ::/64?`},
		{"prefixes of the interface twice", lan + own + own, `option 'prefix' in section '@prefix[1]' (roam6:5:1): expected a prefix that section '@prefix[0]' (roam6:3:1) does not have`},
		{"subnet of nothing", lan + own + " list prefix '0:0:0:7::/64'\n", `option 'prefix' in section '@prefix[0]' (roam6:5:14): "0:0:0:7::/64": expected a prefix with that of a network; the number of a subnet alone goes with Base6Interface`},
		{"network behind a prefix", lan + own + " list prefix '2001:db8::/64'\n option Base6Interface 'wan'\n", `option 'prefix' in section '@prefix[0]' (roam6:5:14): "2001:db8::/64": expected ::/64, or the number of a subnet such as 0:0:0:1::/64, because of Base6Interface`},
		{"longer subnet", lan + own + " list prefix '::/72'\n option Base6Interface 'wan'\n", `option 'prefix' in section '@prefix[0]' (roam6:5:14): "::/72": expected ::/64, or the number of a subnet such as 0:0:0:1::/64, because of Base6Interface`},
		{"subnet behind itself", lan + own + " option Base6Interface 'lan'\n", `option 'Base6Interface' in section '@prefix[0]' (roam6:5:24): "lan": expected another interface; the prefixes of this one are '::/64' without Base6Interface`},
		{"6to4", lan + own + " option Base6to4Interface 'ppp0'\n", `option 'Base6to4Interface' in section '@prefix[0]' (roam6:5:27): "ppp0": expected no such option: roam6 makes no 6to4 prefixes, whose public relays are withdrawn (RFC 7526); Base6Interface numbers from what an access network delegates`},
		{"whole address that is a prefix", lan + own + " list prefix '2001:db8::/127'\n option AdvRouterAddr '1'\n", `option 'prefix' in section '@prefix[0]' (roam6:5:14): "2001:db8::/127": expected the router's whole address with the length of the prefix, because of AdvRouterAddr`},
		{"deprecated without a word", lan + " option RemoveAdvOnExit '0'\n" + own + " option DeprecatePrefix '1'\n", `option 'DeprecatePrefix' in section '@prefix[0]' (roam6:6:25): "1": expected 0, because RemoveAdvOnExit of section '@interface[0]' (roam6:1:1) is 0`},
		{"counting down from infinity", lan + own + " option AdvValidLifetime 'infinity'\n option AdvPreferredLifetime 'infinity'\n option DecrementLifetimes '1'\n", `option 'DecrementLifetimes' in section '@prefix[0]' (roam6:7:28): "1": expected 0, or lifetimes that are not infinity and so can count down`},

		// routes
		{"route without prefix", lan + "config route\n option interface 'lan'\n list prefix ''\n", `option 'prefix' in section '@route[0]' (roam6:3:1): expected '::/0' or an IPv6 prefix, such as 2001:db8:100::/56; it is missing`},
		{"route with host bits", lan + strings.Replace(routed, "8::/48", "8::1/48", 1), `option 'prefix' in section '@route[0]' (roam6:5:14): "2001:db8:8::1/48": expected '::/0' or an IPv6 prefix, such as 2001:db8:100::/56: bits beyond the length are set; 2001:db8:8::/48?`},
		{"route twice", lan + routed + routed, `option 'prefix' in section '@route[1]' (roam6:8:14): "2001:db8:8::/48": expected a prefix that section '@route[0]' (roam6:3:1) does not have`},
		{"route without interface", routed, `option 'interface' in section '@route[0]' (roam6:2:19): "lan": expected the interface of an interface section; there is none`},
		{"route of another interface", lan + strings.Replace(routed, "'lan'", "'lam'", 1), `option 'interface' in section '@route[0]' (roam6:4:19): "lam": expected the interface of an interface section; did you mean 'lan'?`},
		{"preference of a route", lan + routed + " option AdvRoutePreference 'hi'\n", `option 'AdvRoutePreference' in section '@route[0]' (roam6:6:28): "hi": expected one of low, medium, high`},
		{"route taken back without a word", lan + " option RemoveAdvOnExit '0'\n" + routed + " option RemoveRoute '1'\n", `option 'RemoveRoute' in section '@route[0]' (roam6:7:21): "1": expected 0, because RemoveAdvOnExit of section '@interface[0]' (roam6:1:1) is 0`},

		// DNS
		{"no server", lan + "config rdnss\n option interface 'lan'\n", `option 'addr' in section '@rdnss[0]' (roam6:3:1): expected a unicast IPv6 address; it is missing`},
		{"multicast server", lan + strings.Replace(dns, "2001:db8::53", "ff02::fb", 1), `option 'addr' in section '@rdnss[0]' (roam6:5:12): "ff02::fb": expected a unicast IPv6 address: this is a multicast address`},
		{"server in another section, too", lan + dns + dns, `option 'addr' in section '@rdnss[1]' (roam6:8:12): "2001:db8::53": expected a server that section '@rdnss[0]' (roam6:3:1) does not have`},
		{"servers forgotten between two advertisements", lan + " option max_interval_ms '10000'\n" + dns + " option AdvRDNSSLifetime '9'\n", `option 'AdvRDNSSLifetime' in section '@rdnss[0]' (roam6:7:26): "9": expected 0, or at least max_interval_ms of section '@interface[0]' (roam6:1:1): 10 seconds`},
		{"too many servers", lan + dns + servers, fmt.Sprintf(`option 'addr' in section '@rdnss[0]' (roam6:%d:12): "2001:db8::1:%x": expected at most 70 servers, as many as a packet holds; there are 71`, 5+maxServers, maxServers-1)},
		{"no domain", lan + "config dnssl\n option interface 'lan'\n", `option 'suffix' in section '@dnssl[0]' (roam6:3:1): expected a domain name, such as example.org; it is missing`},
		{"domain with a space", lan + strings.Replace(search, "example.org", "exam ple", 1), `option 'suffix' in section '@dnssl[0]' (roam6:5:14): "exam ple": expected a domain name, such as example.org`},
		{"the root", lan + strings.Replace(search, "example.org", ".", 1), `option 'suffix' in section '@dnssl[0]' (roam6:5:14): ".": expected a domain name, such as example.org`},
		{"long label", lan + strings.Replace(search, "example", strings.Repeat("x", 64), 1), `option 'suffix' in section '@dnssl[0]' (roam6:5:14): "` + strings.Repeat("x", 60) + `…": expected a domain name, such as example.org: a part between dots has more than 63 characters`},
		{"long name", lan + strings.Replace(search, "example", strings.Repeat("x.", 125), 1), `option 'suffix' in section '@dnssl[0]' (roam6:5:14): "` + strings.Repeat("x.", 30) + `…": expected a domain name, such as example.org: this has more than 253 characters`},
		{"domain twice", lan + search + " list suffix 'EXAMPLE.org.'\n", `option 'suffix' in section '@dnssl[0]' (roam6:6:14): "EXAMPLE.org.": expected a domain that section '@dnssl[0]' (roam6:3:1) does not have`},
		{"too many domains", lan + search + domains, `option 'suffix' in section '@dnssl[0]' (roam6:11:14): "` + last[:60] + `…": expected no more than the 6 domains before, which are as much as a packet holds; others take a section of their own`},
		{"domains forgotten", lan + search + " option AdvDNSSLLifetime '599'\n", `option 'AdvDNSSLLifetime' in section '@dnssl[0]' (roam6:6:26): "599": expected 0, or at least max_interval_ms of section '@interface[0]' (roam6:1:1): 600 seconds`},

		// NAT64
		{"length of a translation", lan + strings.Replace(nat64, "/96", "/95", 1), `option 'prefix' in section '@nat64prefix[0]' (roam6:5:14): "64:ff9b::/95": expected an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits, such as 64:ff9b::/96: this has 95 bits`},
		{"octet of a translation", lan + strings.Replace(nat64, "64:ff9b::/96", "2001:db8:0:0:100::/96", 1), `option 'prefix' in section '@nat64prefix[0]' (roam6:5:14): "2001:db8:0:0:100::/96": expected an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits, such as 64:ff9b::/96: bits 64 to 71 are not zero (RFC 6052 §2.2)`},
		{"lifetime of a translation", lan + nat64 + " option AdvValidLifetime '65529'\n", `option 'AdvValidLifetime' in section '@nat64prefix[0]' (roam6:6:26): "65529": expected an integer from 0 to 65528 (seconds)`},
		{"translation forgotten", lan + nat64 + " option AdvValidLifetime '599'\n", `option 'AdvValidLifetime' in section '@nat64prefix[0]' (roam6:6:26): "599": expected 0, or at least max_interval_ms of section '@interface[0]' (roam6:1:1): 600 seconds`},

		// 6LoWPAN
		{"second border router", lan + abro + strings.Replace(abro, "fe80::1", "fe80::2", 1), `option 'interface' in section '@abro[1]' (roam6:7:19): "lan": expected an interface that section '@abro[0]' (roam6:3:1) does not have`},
		{"version beyond its field", lan + abro + " option AdvVersionLow '65536'\n", `option 'AdvVersionLow' in section '@abro[0]' (roam6:6:23): "65536": expected an integer from 0 to 65535`},
		{"context beyond", lan + strings.Replace(sixlo, "'1'", "'16'", 1), `option 'AdvContextID' in section '@lowpanco[0]' (roam6:6:22): "16": expected an integer from 0 to 15`},
		{"context twice", lan + sixlo + sixlo, `option 'AdvContextID' in section '@lowpanco[1]' (roam6:11:22): "1": expected a number that section '@lowpanco[0]' (roam6:3:1) does not have`},
		{"context without length", lan + strings.Replace(sixlo, "/64", "", 1), `option 'prefix' in section '@lowpanco[0]' (roam6:5:16): "2001:db8:9::": expected a prefix with its length, or AdvContextLength`},
		{"context with two lengths", lan + sixlo + " option AdvContextLength '48'\n", `option 'AdvContextLength' in section '@lowpanco[0]' (roam6:8:26): "48": expected 64, the length of prefix; or a prefix without`},
		{"context with host bits", lan + strings.Replace(sixlo, "9::/64", "9::", 1) + " option AdvContextLength '40'\n", `option 'prefix' in section '@lowpanco[0]' (roam6:5:16): "2001:db8:9::": expected an address without bits beyond the first 40; 2001:db8::?`},
		{"context without lifetime", lan + strings.Replace(sixlo, " option AdvLifeTime '60'\n", "", 1), `option 'AdvLifeTime' in section '@lowpanco[0]' (roam6:3:1): expected an integer from 0 to 65535 (minutes); it is missing`},

		// anchors
		{"anchor at no distance", lan + mapopt + " option distance '0'\n", `option 'distance' in section '@map_option[0]' (roam6:6:18): "0": expected an integer from 1 to 15`},
		{"anchor link-local", lan + strings.Replace(mapopt, "2001:db8:5::1", "fe80::1", 1), `option 'address' in section '@map_option[0]' (roam6:5:17): "fe80::1": expected a routable unicast IPv6 address: this is a link-local address`},
		{"anchor twice", lan + mapopt + mapopt, `option 'address' in section '@map_option[1]' (roam6:8:17): "2001:db8:5::1": expected an anchor that section '@map_option[0]' (roam6:3:1) does not have`},
		{"anchor on no interface", mapopt, `option 'interface' in section '@map_option[0]' (roam6:2:19): "lan": expected the interface of an interface section; there is none`},
	})
}

// What the tests above spoil is right, and so is more than one packet holds.
func TestAdvertisedWithoutErrors(t *testing.T) {
	many, servers := lan, ""
	for i := range maxServers - 1 {
		servers += fmt.Sprintf(" list addr '2001:db8::1:%x'\n", i)
	}
	for i := range 200 {
		many += fmt.Sprintf("config prefix\n option interface 'lan'\n list prefix '2001:db8:%x::/64'\n", i+1)
	}
	for name, in := range map[string]string{
		"everything":                   lan + own + routed + dns + search + nat64 + abro + sixlo + mapopt,
		"two hundred prefixes":         many,
		"as many servers as fit":       lan + dns + servers,
		"the portal's whole length":    lan + " option AdvCaptivePortalAPI 'https://x/" + strings.Repeat("x", maxOption-2-10) + "'\n",
		"two subnets of one interface": lan + own + " option Base6Interface 'wan'\n list prefix '::/64'\n list prefix '0:0:0:1::/64'\n" + own,
		"the same on two links":        strings.Replace(lan+own+routed+dns+sixlo, "'lan'", "'dmz'", -1) + lan + own + routed + dns + sixlo,
		"servers for ever":             lan + dns + " option AdvRDNSSLifetime 'infinity'\n",
		"silence, and no wish":         lan + " option RemoveAdvOnExit '0'\n" + own + routed + dns + search,
		"ignored and incomplete":       lan + "config route\n option ignore '1'\nconfig map_option\n option ignore '1'\n",
		"only those who ask":           lan + " option UnicastOnly '1'\n list client 'fe80::1'\n",
		"a section and its uplink":     node + "config interface\n option interface 'wan'\n option AdvSendAdvert '1'\n option ignore '1'\n",
	} {
		if _, err := Parse("roam6", []byte(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecimalSeconds(t *testing.T) {
	k := decimalSeconds(30, 65535000)
	for text, want := range map[string]time.Duration{
		"0.03": 30 * time.Millisecond, "0.030": 30 * time.Millisecond, "00.07": 70 * time.Millisecond, "1": time.Second,
		"1.5": 1500 * time.Millisecond, "65535": 65535 * time.Second, "65535.0": 65535 * time.Second, "65535.000": 65535 * time.Second,
	} {
		if got, err := k.parse(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", ".", "1.", ".5", "0.029", "0.0300", "-1", "+1", "1e3", "1,5", "1.5.5", "1._5", " 1", "65535.001", "99999999999999999999", "0x10", "1.-5", "１"} {
		if got, err := k.parse(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
	for d, want := range map[time.Duration]string{70 * time.Millisecond: "0.07", 4 * time.Second: "4", 7500 * time.Millisecond: "7.5", 10 * time.Second: "10", 1001 * time.Millisecond: "1.001"} {
		if got := inDecimals(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
