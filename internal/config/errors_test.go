package config

import (
	"fmt"
	"strings"
	"testing"
)

// Sections that are right, to be spoilt in the tests.
const (
	node   = "config mobile_node 'n'\n option home_address '2001:db8:1::2/64'\n option home_agent '2001:db8:1::1'\n list uplink 'wan'\n option insecure '1'\n"
	router = "config mobile_router 'r'\n option home_address '2001:db8:1::3/64'\n option home_agent '2001:db8:1::1'\n list uplink 'wan'\n option insecure '1'\n list prefix '2001:db8:100::/56'\n"
	agent  = "config home_agent 'h'\n option interface 'eth1'\n option address '2001:db8:1::1'\n option prefix '2001:db8:1::/64'\n"
	mobile = "config mobile 'm'\n option home_address '2001:db8:1::2'\n option insecure '1'\n list prefix '2001:db8:100::/56'\n"
	link   = "config interface\n option interface 'eth1'\n option AdvSendAdvert '1'\n"
	policy = "config policy\n option mobile_node 'n'\n option proto 'tcp'\n"
	whole  = "config prefix\n option interface 'eth1'\n list prefix '2001:db8:1::1/64'\n option AdvRouterAddr '1'\n"
)

// Each case has exactly one thing wrong.
//
// Covers: R6.
func TestErrors(t *testing.T) {
	const key = " option spi '256'\n option key '"
	noAgent := strings.Replace(node, " option home_agent '2001:db8:1::1'\n", "", 1)
	var prefixes string
	for i := range 16 {
		prefixes += fmt.Sprintf(" list prefix '2001:db8:%x::/64'\n", 0x10+i)
	}
	noInsecure := strings.Replace(node, " option insecure '1'\n", "", 1)
	tests := []struct{ name, in, want string }{
		// the file
		{"grammar", "config globals\n\toption log_level debug info\n", `roam6:2:25: "info": expected the end of the line; a value with spaces stands in quotes`},
		{"grammar of a key", noInsecure + " option key 3b1f 0c5a\n", `roam6:5:18: "***": expected the end of the line; a value with spaces stands in quotes`},
		{"a key in the wrong place", "0123456789abcdef01234567\n", `roam6:1:1: "***": expected config, option or list, then a space and its arguments`},
		{"ignored text", "config globals\n\toption plane tun; option log_level debug\n", `roam6:2:18: "option log_level debug": expected a line of its own: UCI ignores what follows a semicolon after a word without quotes`},

		// sections and options
		{"unknown section", "config mobile-router 'x'\n", `section 'x' (roam6:1:1): "mobile-router": expected a known section type; did you mean 'mobile_router'?`},
		{"unknown section, no idea", "config wireless\n", `section '@wireless[0]' (roam6:1:1): "wireless": expected a known section type: globals, metrics, mobile_router, mobile_node, uplink, prefix_request, policy, correspondent, anchor_key, home_agent, mobile, ipsec, anchor, visitor, interface, prefix, route, rdnss, dnssl, nat64prefix, abro, lowpanco, map_option`},
		{"unknown option", node + " option homeadress 'x'\n", `option 'homeadress' in section 'n' (roam6:6:9): "homeadress": expected an option of the section type mobile_node; did you mean 'home_address'?`},
		{"option of another section", node + " list prefix '2001:db8::/48'\n", `option 'prefix' in section 'n' (roam6:6:7): "prefix": expected an option of the section type mobile_node: enabled, home_address, home_agent, discover, uplink, hysteresis_ms, default_source, route_optimization, correspondent, spi, key, insecure, replay, lifetime, initial_timeout_ms, dad, hierarchy, anchor_selection, insecure_anchors`},
		{"option in other case", link + " option advmanagedflag '1'\n", `option 'advmanagedflag' in section '@interface[0]' (roam6:4:9): "advmanagedflag": expected an option of the section type interface; did you mean 'AdvManagedFlag'?`},
		{"list for an option", node + " list lifetime '60'\n", `option 'lifetime' in section 'n' (roam6:6:7): "list": expected a single value: option lifetime`},
		{"second globals", "config globals\nconfig globals\n", `section '@globals[1]' (roam6:2:1): "globals": expected only one such section; the first is at roam6:1:1`},
		{"second metrics", "config metrics a\nconfig metrics b\n", `section 'b' (roam6:2:1): "metrics": expected only one such section; the first is at roam6:1:1`},
		{"mobile node without a name", strings.Replace(node, " 'n'", "", 1), `section '@mobile_node[0]' (roam6:1:8): "mobile_node": expected a name after the type: config mobile_node 'NAME'`},

		// kinds of values
		{"relative path", "config globals\n option control 'sock'\n", `option 'control' in section '@globals[0]' (roam6:2:17): "sock": expected an absolute path of at most 107 characters`},
		{"path too long", "config globals\n option control '/" + strings.Repeat("x", 107) + "'\n", `option 'control' in section '@globals[0]' (roam6:2:17): "/` + strings.Repeat("x", 59) + `…": expected an absolute path of at most 107 characters`},
		{"tunnel name too long", "config globals\n option tunnel_device 'abcdefghijklmnop'\n", `option 'tunnel_device' in section '@globals[0]' (roam6:2:23): "abcdefghijklmnop": expected an interface name of at most 15 characters`},
		{"misspelt word", "config globals\n option log_level 'wran'\n", `option 'log_level' in section '@globals[0]' (roam6:2:19): "wran": expected one of debug, info, warn, error: did you mean 'warn'?`},
		{"port zero", "config metrics\n option listen_port '0'\n", `option 'listen_port' in section '@metrics[0]' (roam6:2:21): "0": expected an integer from 1 to 65535`},
		{"port beyond", "config metrics\n option listen_port '65536'\n", `option 'listen_port' in section '@metrics[0]' (roam6:2:21): "65536": expected an integer from 1 to 65535`},
		{"listen on a name", "config metrics\n option listen_address 'localhost'\n", `option 'listen_address' in section '@metrics[0]' (roam6:2:24): "localhost": expected an IPv6 or IPv4 address to listen on`},
		{"fraction", node + " option lifetime '60.5'\n", `option 'lifetime' in section 'n' (roam6:6:18): "60.5": expected an integer from 8 to 262140 (seconds)`},
		{"unit", node + " option lifetime '60s'\n", `option 'lifetime' in section 'n' (roam6:6:18): "60s": expected an integer from 8 to 262140 (seconds)`},
		{"plus", node + " option lifetime '+60'\n", `option 'lifetime' in section 'n' (roam6:6:18): "+60": expected an integer from 8 to 262140 (seconds)`},
		{"space", node + " option lifetime ' 60'\n", `option 'lifetime' in section 'n' (roam6:6:18): " 60": expected an integer from 8 to 262140 (seconds)`},
		{"hexadecimal", node + " option lifetime '0x60'\n", `option 'lifetime' in section 'n' (roam6:6:18): "0x60": expected an integer from 8 to 262140 (seconds)`},
		{"beyond 64 bits", node + " option lifetime '99999999999999999999'\n", `option 'lifetime' in section 'n' (roam6:6:18): "99999999999999999999": expected an integer from 8 to 262140 (seconds)`},
		{"lifetime too short", node + " option lifetime '7'\n", `option 'lifetime' in section 'n' (roam6:6:18): "7": expected an integer from 8 to 262140 (seconds)`},
		{"lifetime too long", node + " option lifetime '262141'\n", `option 'lifetime' in section 'n' (roam6:6:18): "262141": expected an integer from 8 to 262140 (seconds)`},
		{"empty list item", node + " list uplink ''\n", `option 'uplink' in section 'n' (roam6:6:14): expected an interface name of at most 15 characters`},

		// addresses
		{"home agent multicast", strings.Replace(node, "'2001:db8:1::1'", "'ff02::1'", 1), `option 'home_agent' in section 'n' (roam6:3:20): "ff02::1": expected a routable unicast IPv6 address: this is a multicast address`},
		{"home agent link-local", strings.Replace(node, "'2001:db8:1::1'", "'fe80::1'", 1), `option 'home_agent' in section 'n' (roam6:3:20): "fe80::1": expected a routable unicast IPv6 address: this is a link-local address`},
		{"home agent unspecified", strings.Replace(node, "'2001:db8:1::1'", "'::'", 1), `option 'home_agent' in section 'n' (roam6:3:20): "::": expected a routable unicast IPv6 address: this is the unspecified address`},
		{"home agent loopback", strings.Replace(node, "'2001:db8:1::1'", "'::1'", 1), `option 'home_agent' in section 'n' (roam6:3:20): "::1": expected a routable unicast IPv6 address: this is the loopback address`},
		{"home agent IPv4", strings.Replace(node, "'2001:db8:1::1'", "'192.0.2.1'", 1), `option 'home_agent' in section 'n' (roam6:3:20): "192.0.2.1": expected a routable unicast IPv6 address: this is an IPv4 address`},
		{"home agent IPv4-mapped", strings.Replace(node, "'2001:db8:1::1'", "'::ffff:192.0.2.1'", 1), `option 'home_agent' in section 'n' (roam6:3:20): "::ffff:192.0.2.1": expected a routable unicast IPv6 address: this is an IPv4-mapped address`},
		{"home agent with zone", strings.Replace(node, "'2001:db8:1::1'", "'2001:db8::1%eth0'", 1), `option 'home_agent' in section 'n' (roam6:3:20): "2001:db8::1%eth0": expected a routable unicast IPv6 address: this has a zone`},
		{"home agent by name", strings.Replace(node, "'2001:db8:1::1'", "'ha.example'", 1), `option 'home_agent' in section 'n' (roam6:3:20): "ha.example": expected a routable unicast IPv6 address`},
		{"home address link-local", strings.Replace(node, "2001:db8:1::2/64", "fe80::2/64", 1), `option 'home_address' in section 'n' (roam6:2:22): "fe80::2/64": expected an IPv6 address with its prefix length, such as 2001:db8:1::2/64: this is a link-local address`},
		{"home address anycast", strings.Replace(node, "2001:db8:1::2/64", "2001:db8:1::/64", 1), `option 'home_address' in section 'n' (roam6:2:22): "2001:db8:1::/64": expected an IPv6 address with its prefix length, such as 2001:db8:1::2/64: this is the subnet-router anycast address of its prefix`},
		{"home address of length 0", strings.Replace(node, "2001:db8:1::2/64", "2001:db8:1::2/0", 1), `option 'home_address' in section 'n' (roam6:2:22): "2001:db8:1::2/0": expected an IPv6 address with its prefix length, such as 2001:db8:1::2/64: the length is zero`},
		{"home address too long", strings.Replace(node, "2001:db8:1::2/64", "2001:db8:1::2/129", 1), `option 'home_address' in section 'n' (roam6:2:22): "2001:db8:1::2/129": expected an IPv6 address with its prefix length, such as 2001:db8:1::2/64`},
		{"prefix with host bits", strings.Replace(router, "2001:db8:100::/56", "2001:db8:100::1/56", 1), `option 'prefix' in section 'r' (roam6:6:14): "2001:db8:100::1/56": expected an IPv6 prefix, such as 2001:db8:100::/56: bits beyond the length are set; 2001:db8:100::/56?`},
		{"prefix of everything", strings.Replace(router, "2001:db8:100::/56", "::/0", 1), `option 'prefix' in section 'r' (roam6:6:14): "::/0": expected an IPv6 prefix, such as 2001:db8:100::/56: it includes multicast addresses`},
		{"prefix link-local", strings.Replace(router, "2001:db8:100::/56", "fe80::/64", 1), `option 'prefix' in section 'r' (roam6:6:14): "fe80::/64": expected an IPv6 prefix, such as 2001:db8:100::/56: it includes link-local addresses`},
		{"prefix of IPv4", strings.Replace(router, "2001:db8:100::/56", "192.0.2.0/24", 1), `option 'prefix' in section 'r' (roam6:6:14): "192.0.2.0/24": expected an IPv6 prefix, such as 2001:db8:100::/56: this is an IPv4 prefix`},
		{"prefix without length", strings.Replace(router, "2001:db8:100::/56", "2001:db8:100::", 1), `option 'prefix' in section 'r' (roam6:6:14): "2001:db8:100::": expected an IPv6 prefix, such as 2001:db8:100::/56: the length is missing`},

		// security
		{"neither key nor insecure", noInsecure, `option 'key' in section 'n' (roam6:1:1): expected a key of 32 hexadecimal digits; without one, option insecure '1' says that this is meant`},
		{"insecure switched off", strings.Replace(node, "insecure '1'", "insecure '0'", 1), `option 'key' in section 'n' (roam6:1:1): expected a key of 32 hexadecimal digits; without one, option insecure '1' says that this is meant`},
		{"key and insecure", node + key + "3b1f0c5a9d2e4f687a8b9cadbecfd0e1'\n", `option 'insecure' in section 'n' (roam6:5:18): "1": expected 0, because there is a key; or no key`},
		{"SPI and insecure", node + " option spi '256'\n", `option 'insecure' in section 'n' (roam6:5:18): "1": expected 0 and a key, because there is an SPI; or no SPI`},
		{"reserved SPI", noInsecure + " option spi '255'\n option key '3b1f0c5a9d2e4f687a8b9cadbecfd0e1'\n", `option 'spi' in section 'n' (roam6:5:13): "255": expected an integer from 256 to 4294967295`},
		{"SPI beyond 32 bits", noInsecure + " option spi '4294967296'\n option key '3b1f0c5a9d2e4f687a8b9cadbecfd0e1'\n", `option 'spi' in section 'n' (roam6:5:13): "4294967296": expected an integer from 256 to 4294967295`},
		{"key too short", noInsecure + key + "3b1f0c5a9d2e4f687a8b9cadbecfd0e'\n", `option 'key' in section 'n' (roam6:6:13): "***": expected a key of 32 hexadecimal digits (16 octets): this has 31 digits`},
		{"key of other digits", noInsecure + key + "3b1f0c5a9d2e4f687a8b9cadbecfd0ex'\n", `option 'key' in section 'n' (roam6:6:13): "***": expected a key of 32 hexadecimal digits (16 octets): character 32 is not a digit from 0 to 9 or a to f`},
		{"key of zeros", noInsecure + key + "00000000000000000000000000000000'\n", `option 'key' in section 'n' (roam6:6:13): "***": expected a key of 32 hexadecimal digits (16 octets): this is all zeros`},
		{"a key as SPI", noInsecure + " option spi '3b1f0c5a9d2e4f687a8b9cadbecfd0e1'\n option key '3b1f0c5a9d2e4f687a8b9cadbecfd0e1'\n", `option 'spi' in section 'n' (roam6:5:13): "***": expected an integer from 256 to 4294967295`},

		// mobile nodes
		{"home address is the home agent", strings.Replace(node, "2001:db8:1::2/64", "2001:db8:1::1/64", 1), `option 'home_agent' in section 'n' (roam6:3:20): "2001:db8:1::1": expected an address other than the home address`},
		{"the same home address twice", node + strings.Replace(router, "2001:db8:1::3", "2001:db8:1::2", 1), `option 'home_address' in section 'r' (roam6:7:22): "2001:db8:1::2/64": expected a home address that section 'n' (roam6:1:1) does not have`},
		{"uplink twice", node + " list uplink 'wan'\n", `option 'uplink' in section 'n' (roam6:6:14): "wan": expected every interface once`},
		{"downstream twice", router + " list downstream 'lan'\n list downstream 'lan'\n", `option 'downstream' in section 'r' (roam6:8:18): "lan": expected every interface once`},
		{"uplink is downstream", router + " list downstream 'wan'\n", `option 'downstream' in section 'r' (roam6:7:18): "wan": expected an interface that is not an uplink of section 'r' (roam6:1:1)`},
		{"uplink is downstream of another", router + " list downstream 'lan'\n" + strings.Replace(node, "'wan'", "'lan'", 1), `option 'downstream' in section 'r' (roam6:7:18): "lan": expected an interface that is not an uplink of section 'n' (roam6:8:1)`},
		{"tunnel device as uplink", strings.Replace(node, "'wan'", "'roam6'", 1), `option 'uplink' in section 'n' (roam6:4:14): "roam6": expected another interface: this is the tunnel_device of the globals section`},
		{"router without prefix", strings.Replace(router, " list prefix '2001:db8:100::/56'\n", "", 1), `option 'prefix' in section 'r' (roam6:1:1): expected an IPv6 prefix, such as 2001:db8:100::/56, or prefix_delegation '1'; it is missing`},
		{"implicit without prefix", strings.Replace(router, " list prefix '2001:db8:100::/56'\n", " option mode 'implicit'\n", 1), `option 'prefix' in section 'r' (roam6:1:1): expected an IPv6 prefix, such as 2001:db8:100::/56, or prefix_delegation '1'; it is missing`},
		{"prefix with the home address", strings.Replace(router, "2001:db8:100::/56", "2001:db8::/47", 1), `option 'prefix' in section 'r' (roam6:6:14): "2001:db8::/47": expected a prefix without the home address 2001:db8:1::3, which belongs to the home link`},
		{"prefix with the home agent", strings.Replace(router, "2001:db8:1::1", "2001:db8:100::1", 1), `option 'prefix' in section 'r' (roam6:6:14): "2001:db8:100::/56": expected a prefix without the home agent 2001:db8:100::1, which is not in the mobile network`},
		{"too many prefixes to name", router + manyPrefixes(maxNamed), `option 'prefix' in section 'r' (roam6:38:14): "2001:db8:920::/56": expected at most 32 prefixes, as many as a binding update names; or mode implicit`},
		{"prefixes that overlap", router + " list prefix '2001:db8:100:1::/64'\n", `option 'prefix' in section 'r' (roam6:7:14): "2001:db8:100:1::/64": expected a prefix that does not overlap 2001:db8:100::/56 of the same section`},
		{"the same prefix twice", router + " list prefix '2001:db8:100::/56'\n", `option 'prefix' in section 'r' (roam6:7:14): "2001:db8:100::/56": expected a prefix that does not overlap 2001:db8:100::/56 of the same section`},
		{"prefix of another router", router + strings.NewReplacer("'r'", "'q'", "1::3", "1::4", "100::/56", "100:80::/60").Replace(router), `option 'prefix' in section 'q' (roam6:12:14): "2001:db8:100:80::/60": expected a prefix that does not overlap 2001:db8:100::/56 of section 'r' (roam6:1:1)`},

		// home agents of a mobile, route optimisation
		{"no home agent and no discovery", noAgent + " option discover '0'\n", `option 'home_agent' in section 'n' (roam6:1:1): expected the address of a home agent, because discover is 0; it is missing`},
		{"home agent twice", node + " list home_agent '2001:db8:1::1'\n", `option 'home_agent' in section 'n' (roam6:6:18): "2001:db8:1::1": expected every home agent once`},
		{"second home agent is the home address", node + " list home_agent '2001:db8:1::2'\n", `option 'home_agent' in section 'n' (roam6:6:18): "2001:db8:1::2": expected an address other than the home address`},
		{"second home agent multicast", node + " list home_agent 'ff02::1'\n", `option 'home_agent' in section 'n' (roam6:6:18): "ff02::1": expected a routable unicast IPv6 address: this is a multicast address`},
		{"discovery on a prefix without anycast", strings.Replace(noAgent, "::2/64", "::2/128", 1), `option 'home_address' in section 'n' (roam6:2:22): "2001:db8:1::2/128": expected a home prefix of at most 121 bits, which has an anycast address of its home agents; or a home_agent and discover '0'`},
		{"prefix with the second home agent", router + " list home_agent '2001:db8:100::1'\n", `option 'prefix' in section 'r' (roam6:6:14): "2001:db8:100::/56": expected a prefix without the home agent 2001:db8:100::1, which is not in the mobile network`},
		{"hysteresis too long", node + " option hysteresis_ms '60001'\n", `option 'hysteresis_ms' in section 'n' (roam6:6:23): "60001": expected an integer from 0 to 60000 (milliseconds)`},
		{"two default sources", node + " option default_source '1'\n" + router + " option default_source '1'\n", `option 'default_source' in section 'r' (roam6:13:24): "1": expected 0, because section 'n' (roam6:1:1) has it`},
		{"unknown mode of optimisation", node + " option route_optimization 'full'\n", `option 'route_optimization' in section 'n' (roam6:6:28): "full": expected one of off, on, list`},
		{"listed correspondents, none listed", node + " option route_optimization 'list'\n", `option 'route_optimization' in section 'n' (roam6:6:28): "list": expected on or off; or prefixes in the list correspondent`},
		{"correspondents for nothing", node + " list correspondent '2001:db8:5::/48'\n", `option 'route_optimization' in section 'n' (roam6:1:1): expected on, which excepts the prefixes of correspondent, or list, which is for them alone; it is missing`},
		{"correspondent with host bits", node + " option route_optimization 'on'\n list correspondent '2001:db8:5::1/48'\n", `option 'correspondent' in section 'n' (roam6:7:21): "2001:db8:5::1/48": expected an IPv6 prefix or address, such as 2001:db8:100::/56: bits beyond the length are set; 2001:db8:5::/48?`},
		{"correspondent link-local", node + " option route_optimization 'on'\n list correspondent 'fe80::1'\n", `option 'correspondent' in section 'n' (roam6:7:21): "fe80::1": expected an IPv6 prefix or address, such as 2001:db8:100::/56: this is a link-local address`},

		// policies, the correspondent
		{"policy of no mobile", policy, `option 'mobile_node' in section '@policy[0]' (roam6:2:21): "n": expected the name of a mobile_node or mobile_router section; there is none`},
		{"policy of another mobile", node + strings.Replace(policy, "'n'", "'m'", 1), `option 'mobile_node' in section '@policy[0]' (roam6:7:21): "m": expected the name of a mobile_node or mobile_router section; did you mean 'n'?`},
		{"policy without mobile", node + "config policy\n option proto 'tcp'\n", `option 'mobile_node' in section '@policy[0]' (roam6:6:1): expected the name of a mobile_node or mobile_router section; it is missing`},
		{"policy for everything", node + "config policy\n option mobile_node 'n'\n", `section '@policy[0]' (roam6:6:1): "policy": expected a condition: proto, port or mark; all traffic is a matter of default_source`},
		{"port without protocol", node + "config policy\n option mobile_node 'n'\n option port '53'\n", `option 'port' in section '@policy[0]' (roam6:8:14): "53": expected no port, or proto 'tcp' or 'udp' in the section`},
		{"unknown protocol", node + strings.Replace(policy, "tcp", "sctp", 1), `option 'proto' in section '@policy[0]' (roam6:8:15): "sctp": expected one of any, tcp, udp: did you mean 'tcp'?`},
		{"policy port zero", node + policy + " option port '0'\n", `option 'port' in section '@policy[0]' (roam6:9:14): "0": expected a port from 1 to 65535, or two such as 5000-5100`},
		{"half a range", node + policy + " option port '5000-'\n", `option 'port' in section '@policy[0]' (roam6:9:14): "5000-": expected a port from 1 to 65535, or two such as 5000-5100`},
		{"range backwards", node + policy + " option port '5100-5000'\n", `option 'port' in section '@policy[0]' (roam6:9:14): "5100-5000": expected a port from 1 to 65535, or two such as 5000-5100: the last is before the first`},
		{"mark without digits", node + policy + " option mark '0x'\n", `option 'mark' in section '@policy[0]' (roam6:9:14): "0x": expected a mark such as 0x10, or 0x10/0xff with its mask`},
		{"mark beyond 32 bits", node + policy + " option mark '0x100000000'\n", `option 'mark' in section '@policy[0]' (roam6:9:14): "0x100000000": expected a mark such as 0x10, or 0x10/0xff with its mask`},
		{"mark with a hole", node + policy + " option mark '0x1_0'\n", `option 'mark' in section '@policy[0]' (roam6:9:14): "0x1_0": expected a mark such as 0x10, or 0x10/0xff with its mask`},
		{"mark beyond its mask", node + policy + " option mark '0x110/0xff'\n", `option 'mark' in section '@policy[0]' (roam6:9:14): "0x110/0xff": expected a mark such as 0x10, or 0x10/0xff with its mask: bits beyond the mask are set`},
		{"mask of nothing", node + policy + " option mark '0/0'\n", `option 'mark' in section '@policy[0]' (roam6:9:14): "0/0": expected a mark such as 0x10, or 0x10/0xff with its mask: the mask is zero`},
		{"mark of roam6", node + policy + " option mark '0/0xff'\n", `option 'mark' in section '@policy[0]' (roam6:9:14): "0/0xff": expected a mark such as 0x10, or 0x10/0xff with its mask: roam6's own packets have the mark 0x62750000, which this covers`},
		{"second correspondent", "config correspondent\nconfig correspondent\n", `section '@correspondent[1]' (roam6:2:1): "correspondent": expected only one such section; the first is at roam6:1:1`},
		{"no bindings", "config correspondent\n option max_bindings '0'\n", `option 'max_bindings' in section '@correspondent[0]' (roam6:2:22): "0": expected an integer from 1 to 65535`},
		{"bindings for too long", "config correspondent\n option max_lifetime '421'\n", `option 'max_lifetime' in section '@correspondent[0]' (roam6:2:22): "421": expected an integer from 8 to 420 (seconds)`},

		// home agents and their mobiles
		{"second home prefix overlaps", agent + " list prefix '2001:db8:1:0:1::/80'\n", `option 'prefix' in section 'h' (roam6:5:14): "2001:db8:1:0:1::/80": expected a prefix that does not overlap 2001:db8:1::/64 of the same section`},
		{"deprecated and not", agent + " list deprecated_prefix '2001:db8:1::/64'\n", `option 'deprecated_prefix' in section 'h' (roam6:5:25): "2001:db8:1::/64": expected a prefix that does not overlap 2001:db8:1::/64 of the same section`},
		{"address in the second prefix", strings.Replace(agent, " option prefix", " list prefix '2001:db8:2::/64'\n list prefix", 1), `option 'address' in section 'h' (roam6:3:17): "2001:db8:1::1": expected an address of the home prefix 2001:db8:2::/64`},
		{"home address is the home agents' anycast address", strings.Replace(node, "1::2/64", "1:0:fdff:ffff:ffff:fffe/64", 1), `option 'home_address' in section 'n' (roam6:2:22): "2001:db8:1:0:fdff:ffff:ffff:fffe/64": expected an IPv6 address with its prefix length, such as 2001:db8:1::2/64: this is the home agents' anycast address of its prefix`},
		{"mobile is the home agents' anycast address", agent + strings.Replace(mobile, "1::2", "1:0:fdff:ffff:ffff:fffe", 1), `option 'home_address' in section 'm' (roam6:6:22): "2001:db8:1:0:fdff:ffff:ffff:fffe": expected a single node's address: this is the home agents' anycast address of 2001:db8:1::/64`},
		{"too many home prefixes", agent + prefixes, `section 'h' (roam6:1:1): "home_agent": expected at most 16 home prefixes, the deprecated ones included; there are 17`},
		{"intervals in the wrong order", agent + " option prefix_min_interval '86400'\n option prefix_max_interval '86399'\n", `option 'prefix_max_interval' in section 'h' (roam6:6:29): "86399": expected a prefix_min_interval (86400) that is not greater than prefix_max_interval (86399)`},
		{"interval below the default minimum", agent + " option prefix_max_interval '599'\n", `option 'prefix_max_interval' in section 'h' (roam6:5:29): "599": expected a prefix_min_interval (600) that is not greater than prefix_max_interval (599)`},
		{"lifetime of nothing", agent + " option deprecated_lifetime '60'\n", `option 'deprecated_lifetime' in section 'h' (roam6:5:29): "60": expected a deprecated_prefix in the section, whose lifetime this is`},
		{"deprecated and advertised", agent + " list deprecated_prefix '2001:db8:5::/64'\n" + link + "config prefix\n option interface 'eth1'\n list prefix '2001:db8:5::/64'\n", `option 'deprecated_prefix' in section 'h' (roam6:5:25): "2001:db8:5::/64": expected a prefix that this node advertises on the home link, if at all, with AdvPreferredLifetime '0'`},
		{"mobile outside of all prefixes", agent + " list deprecated_prefix '2001:db8:5::/64'\n" + strings.Replace(mobile, "1::2", "2::2", 1), `option 'home_address' in section 'm' (roam6:7:22): "2001:db8:2::2": expected an address of one of the home prefixes 2001:db8:1::/64, 2001:db8:5::/64`},
		{"mobile is anycast in the second prefix", agent + " list prefix '2001:db8:5::/64'\n" + strings.Replace(mobile, "1::2", "5::", 1), `option 'home_address' in section 'm' (roam6:7:22): "2001:db8:5::": expected a single node's address: this is the subnet-router anycast address of 2001:db8:5::/64`},
		{"mobile's prefix covers a home prefix", agent + " list prefix '2001:db8:100:8::/64'\n" + mobile, `option 'prefix' in section 'm' (roam6:9:14): "2001:db8:100::/56": expected a prefix without the home prefix 2001:db8:100:8::/64`},
		{"replay of a mobile", agent + mobile + " option replay 'timestamps'\n", `option 'replay' in section 'm' (roam6:9:16): "timestamps": expected one of timestamp, sequence: did you mean 'timestamp'?`},
		{"address outside of the prefix", strings.Replace(agent, "2001:db8:1::1", "2001:db8:2::1", 1), `option 'address' in section 'h' (roam6:3:17): "2001:db8:2::1": expected an address of the home prefix 2001:db8:1::/64`},
		{"address is anycast", strings.Replace(agent, "2001:db8:1::1", "2001:db8:1::", 1), `option 'address' in section 'h' (roam6:3:17): "2001:db8:1::": expected a single node's address: this is the subnet-router anycast address of 2001:db8:1::/64`},
		{"home prefixes overlap", agent + strings.NewReplacer("'h'", "'g'", "1::1'", "1:0:8000::1'", "1::/64", "1:0:8000::/65").Replace(agent), `option 'prefix' in section 'g' (roam6:8:16): "2001:db8:1:0:8000::/65": expected a prefix that does not overlap 2001:db8:1::/64 of section 'h' (roam6:1:1)`},
		{"replay window too narrow", agent + " option replay_window_ms '2999'\n", `option 'replay_window_ms' in section 'h' (roam6:5:26): "2999": expected an integer from 3000 to 60000 (milliseconds)`},
		{"mobile without a home agent", mobile, `section 'm' (roam6:1:1): "mobile": expected a home_agent section in this file, which serves the mobile`},
		{"home agent unknown", agent + mobile + " option home_agent 'H1'\n", `option 'home_agent' in section 'm' (roam6:9:20): "H1": expected the name of a home_agent section; did you mean 'h'?`},
		{"which home agent", agent + strings.NewReplacer("'h'", "'g'", "db8:1:", "db8:9:").Replace(agent) + mobile, `option 'home_agent' in section 'm' (roam6:9:1): expected the home agent that serves the mobile, one of h, g; it is missing`},
		{"mobile outside of the home prefix", agent + strings.Replace(mobile, "1::2", "2::2", 1), `option 'home_address' in section 'm' (roam6:6:22): "2001:db8:2::2": expected an address of the home prefix 2001:db8:1::/64`},
		{"mobile is anycast", agent + strings.Replace(mobile, "1::2", "1::", 1), `option 'home_address' in section 'm' (roam6:6:22): "2001:db8:1::": expected a single node's address: this is the subnet-router anycast address of 2001:db8:1::/64`},
		{"mobile has the home agent's address", agent + strings.Replace(mobile, "1::2", "1::1", 1), `option 'home_address' in section 'm' (roam6:6:22): "2001:db8:1::1": expected an address other than the home agent's`},
		{"mobiles with one address", agent + mobile + strings.NewReplacer("'m'", "'l'", "100::", "200::").Replace(mobile), `option 'home_address' in section 'l' (roam6:10:22): "2001:db8:1::2": expected a home address that section 'm' (roam6:5:1) does not have`},
		{"mobiles with one prefix", agent + mobile + strings.NewReplacer("'m'", "'l'", "1::2", "1::3", "/56", "/48").Replace(mobile), `option 'prefix' in section 'l' (roam6:12:14): "2001:db8:100::/48": expected a prefix that does not overlap 2001:db8:100::/56 of section 'm' (roam6:5:1)`},
		{"mobile's prefix has its address", agent + strings.Replace(mobile, "2001:db8:100::/56", "2001:db8:1::/96", 1), `option 'prefix' in section 'm' (roam6:8:14): "2001:db8:1::/96": expected a prefix without the home address 2001:db8:1::2, which belongs to the home link`},
		{"mobile's prefix has another's address", strings.Replace(agent, "1::/64", "1::/48", 1) + strings.Replace(mobile, "2001:db8:100::/56", "2001:db8:1:100::/56", 1) +
			strings.NewReplacer("'m'", "'l'", "1::2", "1:100::3", "2001:db8:100::/56", "2001:db8:200::/56").Replace(mobile),
			`option 'prefix' in section 'm' (roam6:8:14): "2001:db8:1:100::/56": expected a prefix without the home address 2001:db8:1:100::3 of section 'l' (roam6:9:1)`},
		{"mobile's prefix has an anycast address", strings.Replace(agent, "1::/64", "1::/48", 1) + strings.Replace(mobile, "2001:db8:100::/56", "2001:db8:1:ffff::/64", 1),
			`option 'prefix' in section 'm' (roam6:8:14): "2001:db8:1:ffff::/64": expected a prefix without the anycast addresses 2001:db8:1:: and 2001:db8:1:ffff:ffff:ffff:ffff:fffe of the home link`},
		{"host with prefixes", agent + mobile + " option router '0'\n", `option 'router' in section 'm' (roam6:9:16): "0": expected 1, because there are prefixes; or no prefixes`},
		{"mobile without security", agent + strings.Replace(mobile, " option insecure '1'\n", "", 1), `option 'key' in section 'm' (roam6:5:1): expected a key of 32 hexadecimal digits; without one, option insecure '1' says that this is meant`},

		// router advertisements
		{"short interval without mobiles", link + " option max_interval_ms '3999'\n", `option 'max_interval_ms' in section '@interface[0]' (roam6:4:25): "3999": expected at least 4000; less is for links that serve mobiles: AdvIntervalOpt, AdvHomeAgentFlag, AdvHomeAgentInfo or AdvRouterAddr`},
		{"interval shorter than any", link + " option max_interval_ms '69'\n option AdvIntervalOpt '1'\n", `option 'max_interval_ms' in section '@interface[0]' (roam6:4:25): "69": expected an integer from 70 to 65535000 (milliseconds)`},
		{"short minimum without mobiles", link + " option min_interval_ms '2999'\n", `option 'min_interval_ms' in section '@interface[0]' (roam6:4:25): "2999": expected at least 3000; less is for links that serve mobiles: AdvIntervalOpt, AdvHomeAgentFlag, AdvHomeAgentInfo or AdvRouterAddr`},
		{"minimum above three quarters", link + " option max_interval_ms '10000'\n option min_interval_ms '7501'\n", `option 'min_interval_ms' in section '@interface[0]' (roam6:5:25): "7501": expected at most three quarters of max_interval_ms, 7500`},
		{"minimum above maximum", link + " option AdvIntervalOpt '1'\n option max_interval_ms '70'\n option min_interval_ms '71'\n", `option 'min_interval_ms' in section '@interface[0]' (roam6:6:25): "71": expected at most max_interval_ms, 70`},
		{"short delay without mobiles", link + " option min_delay_between_ras_ms '30'\n", `option 'min_delay_between_ras_ms' in section '@interface[0]' (roam6:4:34): "30": expected at least 3000; less is for links that serve mobiles: AdvIntervalOpt, AdvHomeAgentFlag, AdvHomeAgentInfo or AdvRouterAddr`},
		{"lifetime below the interval", link + " option max_interval_ms '10000'\n option AdvDefaultLifetime '9'\n", `option 'AdvDefaultLifetime' in section '@interface[0]' (roam6:5:28): "9": expected 0, or at least max_interval_ms: 10 seconds`},
		{"small MTU", link + " option AdvLinkMTU '1279'\n", `option 'AdvLinkMTU' in section '@interface[0]' (roam6:4:20): "1279": expected '0' or an integer from 1280 to 65535 (octets)`},
		{"reachable time too long", link + " option AdvReachableTime '3600001'\n", `option 'AdvReachableTime' in section '@interface[0]' (roam6:4:26): "3600001": expected an integer from 0 to 3600000 (milliseconds)`},
		{"home agent without a whole address", link + " option AdvHomeAgentFlag '1'\n", `option 'AdvHomeAgentFlag' in section '@interface[0]' (roam6:4:26): "1": expected a prefix of the interface with AdvRouterAddr '1', by which mobiles learn the home agent's address`},
		{"home agent without link-layer address", link + " option AdvHomeAgentFlag '1'\n option AdvSourceLLAddress '0'\n" + whole, `option 'AdvSourceLLAddress' in section '@interface[0]' (roam6:5:28): "0": expected 1, because of AdvHomeAgentFlag`},
		{"information without the flag", link + " option AdvHomeAgentInfo '1'\n", `option 'AdvHomeAgentInfo' in section '@interface[0]' (roam6:4:26): "1": expected AdvHomeAgentFlag '1' in the section`},
		{"router support without information", link + " option AdvMobRtrSupportFlag '1'\n", `option 'AdvMobRtrSupportFlag' in section '@interface[0]' (roam6:4:30): "1": expected AdvHomeAgentInfo '1' in the section, without which it is not sent`},
		{"preference without information", link + " option HomeAgentPreference '5'\n", `option 'HomeAgentPreference' in section '@interface[0]' (roam6:4:29): "5": expected AdvHomeAgentInfo '1' in the section, without which it is not sent`},
		{"preference beyond 16 bits", link + " option HomeAgentPreference '-32769'\n", `option 'HomeAgentPreference' in section '@interface[0]' (roam6:4:29): "-32769": expected an integer from -32768 to 32767`},
		{"home agent lifetime zero", link + " option HomeAgentLifetime '0'\n", `option 'HomeAgentLifetime' in section '@interface[0]' (roam6:4:27): "0": expected an integer from 1 to 65520 (seconds)`},
		{"home agent lifetime from a router lifetime of zero", link + " option AdvHomeAgentFlag '1'\n option AdvHomeAgentInfo '1'\n option AdvDefaultLifetime '0'\n" + whole, `option 'HomeAgentLifetime' in section '@interface[0]' (roam6:1:1): expected a lifetime, because AdvDefaultLifetime is 0`},
		{"interface twice", link + link, `option 'interface' in section '@interface[1]' (roam6:5:19): "eth1": expected an interface that section '@interface[0]' (roam6:1:1) does not have`},
		{"prefix without interface", whole, `option 'interface' in section '@prefix[0]' (roam6:2:19): "eth1": expected the interface of an interface section; there is none`},
		{"prefix of another interface", link + strings.Replace(whole, "eth1", "eth11", 1), `option 'interface' in section '@prefix[0]' (roam6:5:19): "eth11": expected the interface of an interface section; did you mean 'eth1'?`},
		{"preferred beyond valid", link + whole + " option AdvValidLifetime '600'\n option AdvPreferredLifetime '601'\n", `option 'AdvPreferredLifetime' in section '@prefix[0]' (roam6:9:30): "601": expected at most AdvValidLifetime, 600 seconds`},
		{"preferred for ever", link + whole + " option AdvPreferredLifetime 'infinity'\n", `option 'AdvPreferredLifetime' in section '@prefix[0]' (roam6:8:30): "infinity": expected at most AdvValidLifetime, 86400 seconds`},
		{"whole address without host bits", link + strings.Replace(whole, "1::1/64", "1::/64", 1), `option 'prefix' in section '@prefix[0]' (roam6:6:14): "2001:db8:1::/64": expected the router's whole address with the length of the prefix, because of AdvRouterAddr`},
		{"host bits without the flag", link + strings.Replace(whole, " option AdvRouterAddr '1'\n", "", 1), `option 'prefix' in section '@prefix[0]' (roam6:6:14): "2001:db8:1::1/64": expected 2001:db8:1::/64; the router's whole address goes with AdvRouterAddr`},
		{"prefix twice on a link", link + whole + strings.Replace(whole, "1::1/64", "1::2/64", 1), `option 'prefix' in section '@prefix[1]' (roam6:10:14): "2001:db8:1::2/64": expected a prefix that section '@prefix[0]' (roam6:4:1) does not have`},
		{"advertising on an uplink", node + strings.Replace(link, "eth1", "wan", 1), `option 'interface' in section '@interface[0]' (roam6:7:19): "wan": expected an interface that is not an uplink of section 'n' (roam6:1:1): a mobile does not advertise there`},
	}
	checkErrors(t, tests)
}

// checkErrors parses what is wrong, and compares the error.
func checkErrors(t *testing.T, tests []struct{ name, in, want string }) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("roam6", []byte(tt.in))
			if err == nil {
				t.Fatalf("accepted:\n%s", tt.in)
			}
			if err.Error() != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
		})
	}
}

// What the tests above spoil is right.
func TestNoErrors(t *testing.T) {
	tests := map[string]string{
		"node":                               node,
		"router":                             router,
		"home agent and mobile":              agent + mobile,
		"home agent's link":                  link + " option AdvHomeAgentFlag '1'\n" + whole,
		"two links with one prefix":          link + whole + strings.Replace(link+whole, "eth1", "eth2", -1),
		"prefix inside of the home prefix":   strings.NewReplacer("1::3/64", "1::3/48", "2001:db8:100::/56", "2001:db8:1:100::/56").Replace(router),
		"disabled and incomplete":            "config mobile_router 'r'\n option enabled '0'\n",
		"disabled and in conflict":           router + strings.NewReplacer("'r'", "'q'").Replace(router) + " option enabled 'no'\n",
		"mobile of a disabled agent":         agent + " option enabled '0'\n" + mobile,
		"uplink with advertisements off":     node + "config interface\n option interface 'wan'\n",
		"home agents discovered":             strings.Replace(node, " option home_agent '2001:db8:1::1'\n", "", 1),
		"no optimisation, and why":           node + " option route_optimization 'off'\n list correspondent '2001:db8:5::/48'\n",
		"policy":                             node + policy,
		"policy of a disabled mobile":        "config mobile_node 'n'\n option enabled '0'\n" + policy,
		"mobile in the deprecated prefix":    agent + " list deprecated_prefix '2001:db8:5::/64'\n" + strings.Replace(mobile, "1::2", "5::2", 1),
		"shared uplink":                      node + router,
		"three quarters exactly":             link + " option max_interval_ms '10000'\n option min_interval_ms '7500'\n",
		"every boolean":                      "config metrics\n option enabled 'enabled'\n",
		"semicolons that lose nothing":       "config globals; # all\n",
		"home agent info with zero lifetime": link + " option AdvHomeAgentFlag '1'\n option AdvHomeAgentInfo '1'\n option AdvDefaultLifetime '0'\n option HomeAgentLifetime '1'\n" + whole,
	}
	for name, in := range tests {
		if _, err := Parse("roam6", []byte(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSuggest(t *testing.T) {
	words := []string{"home_address", "home_agent", "uplink", "AdvManagedFlag"}
	for word, want := range map[string]string{
		"home_adress": "home_address", "HomeAgent": "home_agent", "upilnk": "uplink", "uplinks": "uplink",
		"advmanaged_flag": "AdvManagedFlag", "colour": "", "": "", "x": "",
	} {
		if got := Suggest(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// manyPrefixes are options for n mobile network prefixes.
func manyPrefixes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " list prefix '2001:db8:%x::/56'\n", 0x901+i)
	}
	return b.String()
}
