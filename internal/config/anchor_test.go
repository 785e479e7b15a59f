package config

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/mip6"
)

// Sections that are right, to be spoilt in the tests.
const (
	anchorKeyText = "5d0f6a2b9c1e4d7f80a3b6c9d2e5f801"
	anchor        = "config anchor 'a'\n option address '2001:db8:5::1'\n"
	visitor       = "config visitor 'v'\n option key '" + anchorKeyText + "'\n"
	local         = node + " option hierarchy '1'\n"
	keyed         = "config anchor_key 'k'\n option key '" + anchorKeyText + "'\n"
)

func anchorSA(t *testing.T, spi uint32) *mip6.SecurityAssociation {
	t.Helper()
	key, err := sharedKey().parse(anchorKeyText)
	if err != nil {
		t.Fatal(err)
	}
	return &mip6.SecurityAssociation{SPI: spi, Key: key}
}

// The examples of the documentation. The anchor and its visitor have one key, and what
// the mobile seals the anchor verifies (RFC 5380 §6.2, §12).
//
// Covers: P9.
func TestHierarchy(t *testing.T) {
	c := parseTestdata(t, "anchor.conf")
	sa := anchorSA(t, 2000)
	same(t, "anchors", c.Anchors, []Anchor{{
		Name: "city", Address: addr("2001:db8:5::1"), Prefix: prefix("2001:db8:5::/64"), Served: []netip.Prefix{prefix("2001:db8:a000::/36")},
		MaxLifetime: 600 * time.Second, ReplayWindow: 7 * time.Second,
	}})
	same(t, "visitors", c.Visitors, []Visitor{{Name: "bus", Association: sa, Replay: ReplayTimestamp}})

	m := parseTestdata(t, "hierarchy_mobile.conf")
	if n := m.MobileNodes[0]; !n.Hierarchy || n.AnchorSelection != AnchorPreferred || n.InsecureAnchors {
		t.Errorf("mobile %+v", n)
	}
	same(t, "anchor keys", m.AnchorKeys, []AnchorKey{{Name: "city", Anchors: prefix("2001:db8:5::1/128"), Association: sa}})

	regional, careOf := addr("2001:db8:5::2"), addr("2001:db8:a000::2")
	update, err := m.AnchorKeys[0].Association.Seal(mip6.BindingUpdate{Sequence: 1, Lifetime: 10, Flags: mip6.UpdateAcknowledge | mip6.UpdateMAP}, careOf, regional)
	if err != nil {
		t.Fatal(err)
	}
	b, err := mip6.AppendMessage(nil, regional, c.Anchors[0].Address, update)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Visitors[0].Association.Verify(b, careOf, regional); err != nil {
		t.Errorf("mobile and anchor do not know each other: %v", err)
	}

	r := parseTestdata(t, "hierarchy_router.conf")
	same(t, "MAP options", r.Interfaces[0].Anchors, []mip6.MobilityAnchorPoint{{Address: addr("2001:db8:5::1"), Distance: 2, Preference: 10, ValidLifetime: 24 * time.Hour}})
}

// Everything that is not a default.
func TestEveryAnchorOption(t *testing.T) {
	c := parseText(t, `config anchor 'a'
	option interface 'eth1'
	option address '2001:db8:5::1'
	option prefix '2001:db8:5::/64'
	list served_prefix '2001:db8:a::/48'
	list served_prefix '2001:db8:b::/48'
	option max_lifetime '20'
	option max_bindings '1'
	option replay_window_ms '60000'
	option insecure '1'

config anchor 'b'
	option address '2001:db8:6::1'
	option interface 'eth2'
	option dad '0'

config anchor 'off'
	option enabled '0'

`+visitor+` option anchor 'b'
	option spi '300'
	option replay 'sequence'

config visitor 'late'
	option anchor 'off'
	option key '`+anchorKeyText+`'

config visitor 'gone'
	option enabled '0'

`+strings.Replace(router, "'wan'", "'wlan'", 1)+` option hierarchy '1'
	option anchor_selection 'furthest'

`+node+` option hierarchy '1'
	option anchor_selection 'nearest'
	option insecure_anchors '1'

config mobile_node 'parked'
	option enabled '0'

`+keyed+` option mobile 'r'
	option anchors '2001:db8:5::/64'
	option spi '300'

config anchor_key 'parked_key'
	option mobile 'parked'
	option key '`+anchorKeyText+`'
`)
	same(t, "anchors", c.Anchors, []Anchor{
		{Name: "a", Interface: "eth1", Address: addr("2001:db8:5::1"), Prefix: prefix("2001:db8:5::/64"), Served: []netip.Prefix{prefix("2001:db8:a::/48"), prefix("2001:db8:b::/48")},
			MaxLifetime: 20 * time.Second, MaxBindings: 1, DAD: true, ReplayWindow: time.Minute, Insecure: true},
		{Name: "b", Interface: "eth2", Address: addr("2001:db8:6::1"), Prefix: prefix("2001:db8:6::/64"), MaxLifetime: 600 * time.Second, ReplayWindow: 7 * time.Second},
	})
	same(t, "visitors", c.Visitors, []Visitor{{Name: "v", Anchor: "b", Association: anchorSA(t, 300), Replay: ReplaySequence}})
	same(t, "anchor keys", c.AnchorKeys, []AnchorKey{{Name: "k", Mobile: "r", Anchors: prefix("2001:db8:5::/64"), Association: anchorSA(t, 300)}})
	same(t, "disabled", c.Disabled, []string{"parked", "off", "late", "gone"})
	for i, want := range []MobileNode{{Hierarchy: true, AnchorSelection: AnchorFurthest}, {Hierarchy: true, AnchorSelection: AnchorNearest, InsecureAnchors: true}} {
		got := c.MobileNodes[i]
		same(t, got.Name, MobileNode{Hierarchy: got.Hierarchy, AnchorSelection: got.AnchorSelection, InsecureAnchors: got.InsecureAnchors}, want)
	}
}

// The key with the longest prefix is tried first, and of equal ones the mobile's own.
func TestAnchorKeysOf(t *testing.T) {
	second := strings.NewReplacer("'n'", "'m'", "1::2/64", "1::9/64").Replace(local)
	key := func(name, rest string) string { return strings.Replace(keyed, "'k'", "'"+name+"'", 1) + rest }
	c := parseText(t, local+second+key("all", "")+key("far", " option anchors '2001:db8::/32'\n")+key("own", " option mobile 'n'\n")+
		key("near", " option mobile 'n'\n option anchors '2001:db8:5::/64'\n")+key("other", " option mobile 'm'\n option anchors '2001:db8:5::1'\n"))
	for mobile, want := range map[string][]string{"n": {"near", "far", "own", "all"}, "m": {"other", "far", "all"}, "nobody": {"far", "all"}} {
		var got []string
		for _, k := range c.AnchorKeysOf(mobile) {
			got = append(got, k.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", mobile, got, want)
		}
	}
}

// A file with the key of an anchor or a visitor is not for others to read.
func TestAnchorFileMode(t *testing.T) {
	for name, want := range map[string]string{
		"anchor.conf":           `option 'key' in section 'bus' (anchor.conf:7:9): "-rw-r--r--": expected a file that only its owner can read, because it holds a key: chmod 600 anchor.conf`,
		"hierarchy_router.conf": "",
	} {
		_, err := parse(name, testdata(t, name), 0o644)
		if got := ""; err != nil {
			if got = err.Error(); got != want {
				t.Errorf("%s: got  %s\nwant %s", name, got, want)
			}
		} else if want != "" {
			t.Errorf("%s is taken", name)
		}
	}
	_, err := parse("roam6", []byte(local+keyed), 0o640)
	if err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("anchor_key: %v", err)
	}
}

// Every example is right.
func TestExamples(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("testdata", "*.conf"))
	if err != nil || len(names) < 13 {
		t.Fatalf("%d examples, %v", len(names), err)
	}
	for _, name := range names {
		parseTestdata(t, filepath.Base(name))
	}
}

func TestAnchorErrors(t *testing.T) {
	key := " option key '" + anchorKeyText + "'\n"
	other := strings.NewReplacer("'a'", "'b'", "5::1", "6::1").Replace(anchor)
	unheard := node + keyed
	checkErrors(t, []struct{ name, in, want string }{
		// anchors
		{"anchor without address", "config anchor 'a'\n", `option 'address' in section 'a' (roam6:1:1): expected a routable unicast IPv6 address; it is missing`},
		{"anchor without name", strings.Replace(anchor, " 'a'", "", 1), `section '@anchor[0]' (roam6:1:8): "anchor": expected a name after the type: config anchor 'NAME'`},
		{"anchor link-local", strings.Replace(anchor, "2001:db8:5::1", "fe80::1", 1), `option 'address' in section 'a' (roam6:2:17): "fe80::1": expected a routable unicast IPv6 address: this is a link-local address`},
		{"anchor is anycast", strings.Replace(anchor, "5::1", "5::", 1), `option 'address' in section 'a' (roam6:2:17): "2001:db8:5::": expected a single node's address: this is the subnet-router anycast address of 2001:db8:5::/64`},
		{"anchor is the home agents' anycast", strings.Replace(anchor, "5::1", "5:0:fdff:ffff:ffff:fffe", 1), `option 'address' in section 'a' (roam6:2:17): "2001:db8:5:0:fdff:ffff:ffff:fffe": expected a single node's address: this is the home agents' anycast address of 2001:db8:5::/64`},
		{"anchor is a reserved anycast address", strings.Replace(anchor, "5::1", "5:0:fdff:ffff:ffff:ff80", 1), `option 'address' in section 'a' (roam6:2:17): "2001:db8:5:0:fdff:ffff:ffff:ff80": expected a single node's address: this is a reserved anycast address of 2001:db8:5::/64 (RFC 2526)`},
		{"prefix of another length", anchor + " option prefix '2001:db8:5::/48'\n", `option 'prefix' in section 'a' (roam6:3:16): "2001:db8:5::/48": expected 2001:db8:5::/64, the first 64 bits of address (RFC 5380 §6)`},
		{"prefix of another network", anchor + " option prefix '2001:db8:6::/64'\n", `option 'prefix' in section 'a' (roam6:3:16): "2001:db8:6::/64": expected 2001:db8:5::/64, the first 64 bits of address (RFC 5380 §6)`},
		{"two anchors with one address", anchor + strings.Replace(anchor, "'a'", "'b'", 1), `option 'address' in section 'b' (roam6:4:17): "2001:db8:5::1": expected an address that section 'a' (roam6:1:1) does not have`},
		{"two anchors with one prefix", anchor + strings.NewReplacer("'a'", "'b'", "5::1", "5::2").Replace(anchor), `option 'address' in section 'b' (roam6:4:17): "2001:db8:5::2": expected a prefix that does not overlap 2001:db8:5::/64 of section 'a' (roam6:1:1)`},
		{"served twice", anchor + " list served_prefix '2001:db8:a::/48'\n list served_prefix '2001:db8:a::/48'\n", `option 'served_prefix' in section 'a' (roam6:4:21): "2001:db8:a::/48": expected every prefix once`},
		{"served with host bits", anchor + " list served_prefix '2001:db8:a::1/48'\n", `option 'served_prefix' in section 'a' (roam6:3:21): "2001:db8:a::1/48": expected an IPv6 prefix, such as 2001:db8:100::/56: bits beyond the length are set; 2001:db8:a::/48?`},
		{"bindings too short", anchor + " option max_lifetime '19'\n", `option 'max_lifetime' in section 'a' (roam6:3:22): "19": expected an integer from 20 to 262140 (seconds)`},
		{"no bindings at an anchor", anchor + " option max_bindings '0'\n", `option 'max_bindings' in section 'a' (roam6:3:22): "0": expected an integer from 1 to 1000000`},
		{"window of an anchor", anchor + " option replay_window_ms '2999'\n", `option 'replay_window_ms' in section 'a' (roam6:3:26): "2999": expected an integer from 3000 to 60000 (milliseconds)`},
		{"detection on no link", anchor + " option dad '1'\n", `option 'dad' in section 'a' (roam6:3:13): "1": expected 0; or an interface, on which to ask for the address`},
		{"anchor on the tunnel", anchor + " option interface 'roam6'\n", `option 'interface' in section 'a' (roam6:3:19): "roam6": expected another interface: this is the tunnel_device of the globals section`},
		{"anchor on the home prefix", agent + strings.Replace(anchor, "5::1", "1::5", 1), `option 'address' in section 'a' (roam6:6:17): "2001:db8:1::5": expected an anchor whose prefix 2001:db8:1::/64 does not overlap 2001:db8:1::/64 of section 'h' (roam6:1:1)`},
		{"anchor on a deprecated prefix", agent + " list deprecated_prefix '2001:db8:5::/64'\n" + anchor + " option prefix '2001:db8:5::/64'\n", `option 'prefix' in section 'a' (roam6:8:16): "2001:db8:5::/64": expected an anchor whose prefix 2001:db8:5::/64 does not overlap 2001:db8:5::/64 of section 'h' (roam6:1:1)`},
		{"anchor on a pool", agent + " list delegation_pool '2001:db8::/44'\n option delegation_length '56'\n" + strings.Replace(anchor, "5::1", "f::1", 1), `option 'delegation_pool' in section 'h' (roam6:5:23): "2001:db8::/44": expected a prefix that does not overlap 2001:db8:1::/64 of the same section
option 'address' in section 'a' (roam6:8:17): "2001:db8:f::1": expected an anchor whose prefix 2001:db8:f::/64 does not overlap 2001:db8::/44 of section 'h' (roam6:1:1)`},
		{"anchor on a mobile's network", agent + mobile + strings.Replace(anchor, "5::1", "100::1", 1), `option 'address' in section 'a' (roam6:10:17): "2001:db8:100::1": expected an anchor whose prefix 2001:db8:100::/64 does not overlap 2001:db8:100::/56 of section 'm' (roam6:5:1)`},
		{"anchor on this machine's network", router + strings.Replace(anchor, "5::1", "100::1", 1), `option 'address' in section 'a' (roam6:8:17): "2001:db8:100::1": expected an anchor whose prefix 2001:db8:100::/64 does not overlap 2001:db8:100::/56 of section 'r' (roam6:1:1)`},

		// visitors
		{"visitor of no anchor", visitor, `section 'v' (roam6:1:1): "visitor": expected an anchor section in this file, which serves the visitor`},
		{"visitor of another anchor", anchor + visitor + " option anchor 'A1'\n", `option 'anchor' in section 'v' (roam6:5:16): "A1": expected the name of an anchor section; did you mean 'a'?`},
		{"visitor without key", anchor + "config visitor 'v'\n option spi '300'\n", `option 'key' in section 'v' (roam6:3:1): expected a key of 32 hexadecimal digits (16 octets); or the options of IPsec, spi_to_anchor, key_to_anchor, spi_to_mobile and key_to_mobile; it is missing`},
		{"visitor with a short key", anchor + strings.Replace(visitor, "801'", "'", 1), `option 'key' in section 'v' (roam6:4:13): "***": expected a key of 32 hexadecimal digits (16 octets): this has 29 digits`},
		{"insecure visitor", anchor + visitor + " option insecure '1'\n", `option 'insecure' in section 'v' (roam6:5:9): "insecure": expected an option of the section type visitor: enabled, anchor, spi, key, replay, algorithm, spi_to_anchor, key_to_anchor, spi_to_mobile, key_to_mobile, window`},
		{"visitors with one number", anchor + visitor + strings.Replace(visitor, "'v'", "'w'", 1), `option 'spi' in section 'w' (roam6:5:1): expected an SPI that section 'v' (roam6:3:1) does not have: 256`},
		{"visitors of one anchor with one number", anchor + other + visitor + " option anchor 'b'\n" + strings.Replace(visitor, "'v'", "'w'", 1) + " option spi '256'\n", `option 'spi' in section 'w' (roam6:10:13): "256": expected an SPI that section 'v' (roam6:5:1) does not have: 256`},
		{"reserved number of a visitor", anchor + visitor + " option spi '255'\n", `option 'spi' in section 'v' (roam6:5:13): "255": expected an integer from 256 to 4294967295`},

		// keys for anchors
		{"key of no mobile", keyed, `section 'k' (roam6:1:1): "anchor_key": expected a mobile_node or mobile_router section in this file, which uses the key`},
		{"key of another mobile", local + keyed + " option mobile 'm'\n", `option 'hierarchy' in section 'n' (roam6:6:19): "1": expected 0; or an anchor_key section for this mobile, with the key of anchors; or insecure_anchors '1', which says that none is meant
option 'mobile' in section 'k' (roam6:9:16): "m": expected the name of a mobile_node or mobile_router section; did you mean 'n'?`},
		{"key of nothing", local + "config anchor_key 'k'\n", `option 'key' in section 'k' (roam6:7:1): expected a key of 32 hexadecimal digits (16 octets); or the options of IPsec, spi_to_anchor, key_to_anchor, spi_to_mobile and key_to_mobile; it is missing`},
		{"key for IPv4 anchors", local + keyed + " option anchors '192.0.2.0/24'\n", `option 'anchors' in section 'k' (roam6:9:17): "192.0.2.0/24": expected '::/0' or an IPv6 prefix or address, such as 2001:db8:100::/56: this is an IPv4 prefix`},
		{"two keys for the same", local + keyed + strings.Replace(keyed, "'k'", "'l'", 1) + " option anchors '::/0'\n", `option 'anchors' in section 'l' (roam6:11:17): "::/0": expected mobile and anchors that section 'k' (roam6:7:1) does not have`},
		{"two keys of one mobile", local + keyed + " option mobile 'n'\n" + strings.Replace(keyed, "'k'", "'l'", 1) + " option mobile 'n'\n", `option 'mobile' in section 'l' (roam6:12:16): "n": expected mobile and anchors that section 'k' (roam6:7:1) does not have`},
		{"a key that nobody uses", unheard, `section 'k' (roam6:6:1): "anchor_key": expected option hierarchy '1' in the section of the mobile, without which no anchor is used: n`},

		// mobiles
		{"anchors without a key", local, `option 'hierarchy' in section 'n' (roam6:6:19): "1": expected 0; or an anchor_key section for this mobile, with the key of anchors; or insecure_anchors '1', which says that none is meant`},
		{"bindings too short for anchors", local + " option lifetime '19'\n" + keyed, `option 'lifetime' in section 'n' (roam6:7:18): "19": expected at least 20, because of hierarchy`},
		{"the other mobile's key", local + router + " option hierarchy '1'\n" + keyed + " option mobile 'r'\n", `option 'hierarchy' in section 'n' (roam6:6:19): "1": expected 0; or an anchor_key section for this mobile, with the key of anchors; or insecure_anchors '1', which says that none is meant`},
		{"selection of nothing", node + " option anchor_selection 'nearest'\n", `option 'anchor_selection' in section 'n' (roam6:6:26): "nearest": expected hierarchy '1' in the section, without which no anchor is used`},
		{"insecure for nothing", node + " option insecure_anchors '1'\n", `option 'insecure_anchors' in section 'n' (roam6:6:26): "1": expected hierarchy '1' in the section, without which no anchor is used`},
		{"unknown selection", local + " option anchor_selection 'farthest'\n" + "config anchor_key 'k'\n" + key, `option 'anchor_selection' in section 'n' (roam6:7:26): "farthest": expected one of preferred, furthest, nearest: did you mean 'furthest'?`},
	})
}

// What the tests above spoil is right.
func TestAnchorsWithoutErrors(t *testing.T) {
	other := strings.NewReplacer("'a'", "'b'", "5::1", "6::1").Replace(anchor)
	for name, in := range map[string]string{
		"anchor and visitor":             anchor + visitor,
		"anchor, home agent and router":  agent + mobile + anchor + visitor + link + whole,
		"one number at two anchors":      anchor + other + visitor + " option anchor 'a'\n" + strings.Replace(visitor, "'v'", "'w'", 1) + " option anchor 'b'\n",
		"anchor that nobody may use":     anchor,
		"anchor that everybody may use":  anchor + " option insecure '1'\n" + visitor,
		"anchor beside a home prefix":    agent + anchor,
		"disabled anchor on a home link": agent + strings.Replace(anchor, "5::1", "1::5", 1) + " option enabled '0'\n" + visitor,
		"mobile with a key":              local + keyed,
		"mobile without, and it is said": local + " option insecure_anchors '1'\n",
		"hierarchy switched off":         node + " option hierarchy '0'\n option anchor_selection 'nearest'\n" + keyed,
		"key of a disabled mobile":       "config mobile_node 'n'\n option enabled '0'\n" + keyed + " option mobile 'n'\n",
		"one mobile uses the key of all": local + router + keyed,
		"the anchor as a key's address":  local + keyed + " option anchors '2001:db8:5::1'\n",
	} {
		if _, err := Parse("roam6", []byte(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
