package nd

import (
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"roam6/mip6"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func adr(s string) netip.Addr   { return netip.MustParseAddr(s) }

var resolver = adr("2001:db8::53")

// informationVectors are single options as octets and as what they tell.
func informationVectors() map[string]struct {
	hex  string
	want RouterAdvertisement
} {
	return map[string]struct {
		hex  string
		want RouterAdvertisement
	}{
		"MAP, RFC 5380 §5": {"17 03 2f 80 00000e10 20010db8000a00000000000000000001",
			RouterAdvertisement{Anchors: []mip6.MobilityAnchorPoint{{Address: adr("2001:db8:a::1"), Distance: 2, Preference: 15, Allocated: true, ValidLifetime: time.Hour}}}},
		"default route, RFC 4191 §2.3": {"18 01 00 18 00000708",
			RouterAdvertisement{Routes: []RouteInformation{{Prefix: pfx("::/0"), Preference: PreferenceLow, Lifetime: 30 * time.Minute}}}},
		"route of 57 bits": {"18 02 39 00 ffffffff 20010db800010280",
			RouterAdvertisement{Routes: []RouteInformation{{Prefix: pfx("2001:db8:1:280::/57"), Lifetime: mip6.InfiniteLifetime}}}},
		"route of 65 bits": {"18 03 41 08 00000000 20010db8000100028000000000000000",
			RouterAdvertisement{Routes: []RouteInformation{{Prefix: pfx("2001:db8:1:2:8000::/65"), Preference: PreferenceHigh}}}},
		"two DNS servers, RFC 8106 §5.1": {"19 05 0000 0000003c 20010db8000000000000000000000053 fe800000000000000000000000000053",
			RouterAdvertisement{DNSServers: []RecursiveDNS{{Servers: []netip.Addr{resolver, adr("fe80::53")}, Lifetime: time.Minute}}}},
		"two domains, RFC 8106 §5.2": {"1f 04 0000 ffffffff 07 6578616d706c65 03 6f7267 00 01 61 01 62 00 000000000000",
			RouterAdvertisement{DNSSearch: []DNSSearch{{Domains: []string{"example.org", "a.b"}, Lifetime: mip6.InfiniteLifetime}}}},
		"a domain without padding": {"1f 02 0000 00000000 06 61626364656600",
			RouterAdvertisement{DNSSearch: []DNSSearch{{Domains: []string{"abcdef"}}}}},
		"context of 64 bits, RFC 6775 §4.2": {"22 02 40 13 0000 000a 20010db800010002",
			RouterAdvertisement{Contexts: []Context{{Prefix: pfx("2001:db8:1:2::/64"), ID: 3, Compression: true, ValidLifetime: 10 * time.Minute}}}},
		"context of 128 bits": {"22 03 80 0f 0000 0000 20010db8000100020000000000000001",
			RouterAdvertisement{Contexts: []Context{{Prefix: pfx("2001:db8:1:2::1/128"), ID: 15}}}},
		"context of 0 bits": {"22 02 00 00 0000 ffff 0000000000000000",
			RouterAdvertisement{Contexts: []Context{{Prefix: pfx("::/0"), ValidLifetime: 65535 * time.Minute}}}},
		"border router, RFC 6775 §4.3": {"23 03 000a 0002 0002 fe80000000000000a200000000000001",
			RouterAdvertisement{BorderRouters: []BorderRouter{{Version: 0x2000a, ValidLifetime: 2 * time.Minute, Router: adr("fe80::a200:0:0:1")}}}},
		"captive portal, RFC 8910 §2.3": {"25 03" + hex.EncodeToString([]byte("https://example.org/ab")),
			RouterAdvertisement{CaptivePortal: "https://example.org/ab"}},
		"captive portal with padding": {"25 03" + hex.EncodeToString([]byte("https://example.org/")) + "0000",
			RouterAdvertisement{CaptivePortal: "https://example.org/"}},
		"NAT64 of 96 bits, RFC 8781 §4": {"26 02 0708 0064ff9b0000000000000000",
			RouterAdvertisement{NAT64: []NAT64Prefix{{Prefix: pfx("64:ff9b::/96"), Lifetime: 225 * 8 * time.Second}}}},
		"NAT64 of 32 bits, longest lifetime": {"26 02 fffd 20010db80000000000000000",
			RouterAdvertisement{NAT64: []NAT64Prefix{{Prefix: pfx("2001:db8::/32"), Lifetime: 65528 * time.Second}}}},
		"NAT64 of 64 bits": {"26 02 0001 20010db80001000200000000",
			RouterAdvertisement{NAT64: []NAT64Prefix{{Prefix: pfx("2001:db8:1:2::/64")}}}},
		"NAT64 of 56 bits": {"26 02 000a 20010db80001020000000000",
			RouterAdvertisement{NAT64: []NAT64Prefix{{Prefix: pfx("2001:db8:1:200::/56"), Lifetime: 8 * time.Second}}}},
		"NAT64 of 48 bits": {"26 02 0003 20010db80001000000000000",
			RouterAdvertisement{NAT64: []NAT64Prefix{{Prefix: pfx("2001:db8:1::/48")}}}},
		"NAT64 of 40 bits": {"26 02 0004 20010db80100000000000000",
			RouterAdvertisement{NAT64: []NAT64Prefix{{Prefix: pfx("2001:db8:100::/40")}}}},
		"prefix to be delegated, RFC 9762 §4": {"03 04 40 90 00000e10 00000708 00000000 20010db8000100000000000000000000",
			RouterAdvertisement{Prefixes: []mip6.PrefixInformation{{Prefix: pfx("2001:db8:1::/64"), OnLink: true, PreferDelegation: true, ValidLifetime: time.Hour, PreferredLifetime: 30 * time.Minute}}}},
	}
}

// Byte-exact vectors of each option, both ways.
func TestInformationVectors(t *testing.T) {
	const fixed = "86 00 0000 00 00 0000 00000000 00000000"
	for name, c := range informationVectors() {
		b := octets(t, fixed+c.hex)
		if got, err := ParseRouterAdvertisement(b); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: parsed %+v, %v, want %+v", name, got, err, c.want)
		}
		if out := c.want.Append([]byte{9})[1:]; hex.EncodeToString(out) != hex.EncodeToString(b) {
			t.Errorf("%s: appended % x\nwant     % x", name, out, b)
		}
	}
}

// What somebody else sends is read leniently (RFC 4861 §6.1.2): what is reserved or
// behind a prefix means nothing, and what is not in order is skipped and counted.
func TestInformationLeniency(t *testing.T) {
	name63 := "3f" + strings.Repeat("61", 63)
	for name, c := range map[string]struct {
		hex  string
		want RouterAdvertisement
	}{
		"route with noise": {"18 03 31 ef 00000001 20010db80001ffffffffffffffffffff",
			RouterAdvertisement{Routes: []RouteInformation{{Prefix: pfx("2001:db8:1:8000::/49"), Preference: PreferenceHigh, Lifetime: time.Second}}}},
		"default route with a prefix": {"18 03 00 00 00000001 20010db80001ffffffffffffffffffff",
			RouterAdvertisement{Routes: []RouteInformation{{Prefix: pfx("::/0"), Lifetime: time.Second}}}},
		"route of the reserved preference":    {"18 01 00 10 00000001", RouterAdvertisement{Malformed: 1}},
		"route of 129 bits":                   {"18 03 81 00 00000001 20010db8000100000000000000000000", RouterAdvertisement{Malformed: 1}},
		"route of 65 bits in 8 octets":        {"18 02 41 00 00000001 20010db800010000", RouterAdvertisement{Malformed: 1}},
		"route of 1 bit in no octets":         {"18 01 01 00 00000001", RouterAdvertisement{Malformed: 1}},
		"route of 4 units":                    {"18 04 40 00 00000001" + strings.Repeat("20", 24), RouterAdvertisement{Malformed: 1}},
		"no DNS server":                       {"19 01 0000 00000001", RouterAdvertisement{Malformed: 1}},
		"half a DNS server":                   {"19 02 0000 00000001 20010db800000000", RouterAdvertisement{Malformed: 1}},
		"a DNS server and a half":             {"19 04 0000 00000001" + strings.Repeat("20", 24), RouterAdvertisement{Malformed: 1}},
		"multicast DNS server":                {"19 03 0000 00000001 ff020000000000000000000000000001", RouterAdvertisement{Malformed: 1}},
		"no DNS server address":               {"19 03 0000 00000001 00000000000000000000000000000000", RouterAdvertisement{Malformed: 1}},
		"no domain":                           {"1f 02 0000 00000001 0000000000000000", RouterAdvertisement{Malformed: 1}},
		"search list without room":            {"1f 01 0000 00000001", RouterAdvertisement{Malformed: 1}},
		"domain beyond the end":               {"1f 02 0000 00000001 08 61626364656667", RouterAdvertisement{Malformed: 1}},
		"domain without end":                  {"1f 02 0000 00000001 07 61626364656667", RouterAdvertisement{Malformed: 1}},
		"compressed domain":                   {"1f 02 0000 00000001 c008 000000000000", RouterAdvertisement{Malformed: 1}},
		"domain with a dot in a label":        {"1f 02 0000 00000001 03 612e62 00 000000", RouterAdvertisement{Malformed: 1}},
		"domain with a line feed":             {"1f 02 0000 00000001 03 610a62 00 000000", RouterAdvertisement{Malformed: 1}},
		"domain of 256 octets":                {"1f 21 0000 00000001" + strings.Repeat(name63, 3) + "3e" + strings.Repeat("61", 62) + "00", RouterAdvertisement{Malformed: 1}},
		"more domains than anybody searches":  {"1f 32 0000 00000001" + strings.Repeat("016100", maxDomains+1) + strings.Repeat("00", 5), RouterAdvertisement{Malformed: 1}},
		"octets after the end of the domains": {"1f 02 0000 00000001 01 61 00 00 01 62 00 00", RouterAdvertisement{DNSSearch: []DNSSearch{{Domains: []string{"a"}, Lifetime: time.Second}}}},
		"context with noise": {"22 03 30 f3 ffff 0001 20010db80001ffffffffffffffffffff",
			RouterAdvertisement{Contexts: []Context{{Prefix: pfx("2001:db8:1::/48"), ID: 3, Compression: true, ValidLifetime: time.Minute}}}},
		"context of 65 bits in 8 octets": {"22 02 41 00 0000 0001 20010db800010000", RouterAdvertisement{Malformed: 1}},
		"context without a prefix":       {"22 01 00 00 0000 0001", RouterAdvertisement{Malformed: 1}},
		"context of 129 bits":            {"22 03 81 00 0000 0001 20010db8000100000000000000000000", RouterAdvertisement{Malformed: 1}},
		"border router of 2 units":       {"23 02 0000 0000 0001 20010db800010000", RouterAdvertisement{Malformed: 1}},
		"border router of no address":    {"23 03 0000 0000 0001 00000000000000000000000000000000", RouterAdvertisement{Malformed: 1}},
		"empty captive portal":           {"25 01 000000000000", RouterAdvertisement{Malformed: 1}},
		"captive portal with an escape":  {"25 01 1b5b313b6d00", RouterAdvertisement{Malformed: 1}},
		"second captive portal":          {"25 01 613a62000000 25 01 633a64000000", RouterAdvertisement{CaptivePortal: "a:b"}},
		"NAT64 of an unknown length":     {"26 02 0706 0064ff9b0000000000000000", RouterAdvertisement{Malformed: 1}},
		"NAT64 of 3 units":               {"26 03 0700" + strings.Repeat("20", 20), RouterAdvertisement{Malformed: 1}},
		"NAT64 of 1 unit":                {"26 01 0700 0064ff9b", RouterAdvertisement{Malformed: 1}},
		"MAP of distance 0":              {"17 03 0f 00 00000e10 20010db8000a00000000000000000001", RouterAdvertisement{Malformed: 1}},
		"MAP of 2 units":                 {"17 02 1f 00 00000e10 20010db8000a0000", RouterAdvertisement{Malformed: 1}},
	} {
		b := octets(t, "86 00 0000 00 00 0000 00000000 00000000"+c.hex)
		if got, err := ParseRouterAdvertisement(b); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: parsed %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	many := strings.Repeat("18 01 00 00 00000001", maxListed+2)
	if got, err := ParseRouterAdvertisement(octets(t, plainRA+many)); err != nil || len(got.Routes) != maxListed || got.Malformed != 2 {
		t.Errorf("%d routes kept, %d malformed, %v", len(got.Routes), got.Malformed, err)
	}
}

// Strict on sending: what would mean something else than was said is left out, values
// are limited, and a lifetime that is not zero never becomes the zero that takes back.
func TestInformationStrictness(t *testing.T) {
	long := make([]netip.Addr, 130)
	for i := range long {
		long[i] = resolver
	}
	for name, c := range map[string]struct {
		ra, want RouterAdvertisement
	}{
		"nothing in them": {RouterAdvertisement{
			Routes: []RouteInformation{{Lifetime: time.Hour}, {Prefix: pfx("192.0.2.0/24")}}, DNSServers: []RecursiveDNS{{Lifetime: time.Hour}},
			DNSSearch: []DNSSearch{{Lifetime: time.Hour}, {Domains: []string{"", ".", "a..b", "a b", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "aa"}}},
			NAT64:     []NAT64Prefix{{}, {Prefix: pfx("2001:db8::/33")}, {Prefix: pfx("192.0.2.0/32")}}, Contexts: []Context{{ID: 1}}, CaptivePortal: "a:b c",
		}, RouterAdvertisement{}},
		"a search list and a portal longer than options": {RouterAdvertisement{
			DNSSearch:     []DNSSearch{{Domains: strings.Split(strings.Repeat("example.org ", 170), " ")[:170]}},
			CaptivePortal: "http:" + strings.Repeat("a", maxOptionData),
		}, RouterAdvertisement{}},
		"more servers than an option holds": {RouterAdvertisement{DNSServers: []RecursiveDNS{{Servers: long}}}, RouterAdvertisement{DNSServers: []RecursiveDNS{{Servers: long[:127]}}}},
		"short lifetimes": {RouterAdvertisement{
			Routes:        []RouteInformation{{Prefix: pfx("2001:db8::/32"), Lifetime: time.Millisecond, Preference: 3}},
			DNSServers:    []RecursiveDNS{{Servers: long[:1], Lifetime: 1999 * time.Millisecond}},
			DNSSearch:     []DNSSearch{{Domains: []string{"A.example."}, Lifetime: time.Nanosecond}},
			NAT64:         []NAT64Prefix{{Prefix: pfx("64:ff9b::/96"), Lifetime: 9 * time.Second}},
			BorderRouters: []BorderRouter{{Router: adr("fe80::1"), ValidLifetime: time.Second}},
			Contexts:      []Context{{Prefix: pfx("::/0"), ID: 16, ValidLifetime: 61 * time.Second}},
		}, RouterAdvertisement{
			Routes:        []RouteInformation{{Prefix: pfx("2001:db8::/32"), Lifetime: time.Second}},
			DNSServers:    []RecursiveDNS{{Servers: long[:1], Lifetime: time.Second}},
			DNSSearch:     []DNSSearch{{Domains: []string{"A.example"}, Lifetime: time.Second}},
			NAT64:         []NAT64Prefix{{Prefix: pfx("64:ff9b::/96"), Lifetime: 16 * time.Second}},
			BorderRouters: []BorderRouter{{Router: adr("fe80::1"), ValidLifetime: time.Minute}},
			Contexts:      []Context{{Prefix: pfx("::/0"), ID: 15, ValidLifetime: 2 * time.Minute}},
		}},
		"long and negative lifetimes": {RouterAdvertisement{
			Routes:        []RouteInformation{{Prefix: pfx("2001:db8::1/32"), Lifetime: 1 << 62}},
			DNSServers:    []RecursiveDNS{{Servers: long[:1], Lifetime: -time.Hour}},
			NAT64:         []NAT64Prefix{{Prefix: pfx("64:ff9b::/96"), Lifetime: 1<<63 - 1}, {Prefix: pfx("2001:db8::/32"), Lifetime: -time.Second}},
			BorderRouters: []BorderRouter{{ValidLifetime: 1<<63 - 1, Router: adr("fe80::1")}},
			Contexts:      []Context{{Prefix: pfx("::/0"), ValidLifetime: -time.Hour}},
		}, RouterAdvertisement{
			Routes:        []RouteInformation{{Prefix: pfx("2001:db8::/32"), Lifetime: mip6.InfiniteLifetime}},
			DNSServers:    []RecursiveDNS{{Servers: long[:1]}},
			NAT64:         []NAT64Prefix{{Prefix: pfx("64:ff9b::/96"), Lifetime: 65528 * time.Second}, {Prefix: pfx("2001:db8::/32")}},
			BorderRouters: []BorderRouter{{ValidLifetime: 65535 * time.Minute, Router: adr("fe80::1")}},
			Contexts:      []Context{{Prefix: pfx("::/0")}},
		}},
	} {
		if got, err := ParseRouterAdvertisement(c.ra.Append(nil)); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: sent %+v, %v\nwant %+v", name, got, err, c.want)
		}
	}
	for name, want := range map[string]bool{
		"example.org": true, "x": true, "_tcp.a-b.example": true, "xn--bcher-kva.example": true,
		"": false, "example.org.": false, "-a.b": false, "a-.b": false, "a b": false, "bücher.example": false, "a..b": false, "*.b": false,
	} {
		if isDomain(name) != want {
			t.Errorf("%q is a domain: %v", name, !want)
		}
	}
}

func FuzzInformation(f *testing.F) {
	for _, c := range informationVectors() {
		f.Add(octets(f, c.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ra, err := ParseRouterAdvertisement(append(octets(t, plainRA), b...))
		if err != nil {
			return
		}
		fixedPoint(t, ra)
		for _, p := range ra.packets() {
			again, err := ParseRouterAdvertisement(p.Append(nil))
			if err != nil || again.RouterLifetime != ra.RouterLifetime || again.Malformed != 0 {
				t.Fatalf("%+v divided is %+v, %v", ra, again, err)
			}
		}
	})
}
