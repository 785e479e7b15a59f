package ha

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// A reload keeps what the new configuration permits and ends the rest properly.
func TestReconfigure(t *testing.T) {
	gone := []string{"undefend 2001:db8:1::a", "remove 2001:db8:1::a"}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   []string
		reason string // of the end, in the log
	}{
		{"nothing", func(*Config) {}, nil, ""},
		{"lifetime, key and detection", func(c *Config) {
			c.MaxLifetime, c.DAD, c.MaxBindings = 4*time.Second, false, 1
			c.Mobiles[0].SA = association(homeB)
		}, nil, ""},
		{"mobile removed", func(c *Config) { c.Mobiles = c.Mobiles[1:] }, gone, "mobile removed"},
		{"mobile disabled", func(c *Config) { c.Mobiles[0].Disabled = true }, gone, "mobile disabled"},
		{"not a router", func(c *Config) { c.Mobiles[0].Router, c.Mobiles[0].Prefixes = false, nil }, gone, "no longer a mobile router"},
		{"home prefix", func(c *Config) { c.Prefix, c.Mobiles = netip.MustParsePrefix("2001:db8:2::/64"), nil },
			append(gone, "leave 2001:db8:1:0:fdff:ffff:ffff:fffe", "join 2001:db8:2:0:fdff:ffff:ffff:fffe"), "home prefix removed"},
		{"address", func(c *Config) { c.Address = netip.MustParseAddr("2001:db8:1::2") }, gone, "home agent address changed"},
		{"prefix expired", func(c *Config) { c.PrefixValidUntil = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) }, gone, "home prefix expired"},
		{"prefix withdrawn", func(c *Config) { c.Mobiles[0].Prefixes = prefixes("2001:db8:a:1::/64") },
			[]string{"set [2001:db8:1::a/128 2001:db8:a:1::/64] via 2001:db8:f1::1"}, ""},
		{"prefix added", func(c *Config) { c.Mobiles[0].Prefixes = prefixes("2001:db8:a::/48", "2001:db8:d::/48") },
			[]string{"set [2001:db8:1::a/128 2001:db8:a::/48 2001:db8:d::/48] via 2001:db8:f1::1"}, ""},
		{"all prefixes withdrawn", func(c *Config) { c.Mobiles[0].Prefixes = nil },
			[]string{"set [2001:db8:1::a/128] via 2001:db8:f1::1"}, ""},
		{"no home link", func(c *Config) { c.HomeLink = "" },
			[]string{"undefend 2001:db8:1::a", "leave 2001:db8:1:0:fdff:ffff:ffff:fffe"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			w.registered(at(homeA, careOf1, 1))
			w.run(5 * time.Second)
			w.logs = nil
			c := testConfig()
			tt.change(&c)
			if err := c.Validate(); err != nil && tt.name != "address" {
				t.Fatal(err)
			}
			actions := w.agent.Reconfigure(w.now, c)
			w.apply(actions)
			wantKinds(t, actions, tt.want...)
			_, kept := w.tunnels[homeA]
			if kept != (tt.reason == "") || kept != (w.entry(homeA) != nil) {
				t.Errorf("tunnel there: %t", kept)
			}
			if !kept {
				if v, _ := attribute(w.logs[0], "reason"); v.String() != tt.reason {
					t.Errorf("log says %q, want %q", v, tt.reason)
				}
				if len(w.agent.networks.owner) != 0 {
					t.Errorf("prefixes left behind")
				}
			}
			// The same again changes nothing.
			wantKinds(t, w.agent.Reconfigure(w.now, c))
			w.run(time.Hour)
			if len(w.tunnels) != 0 || !w.agent.Next().IsZero() {
				t.Errorf("left behind after expiry")
			}
		})
	}
}

// The home link is another interface now: given up on the old, defended on the
// new.
func TestReconfigureHomeLink(t *testing.T) {
	w := newWorld(t, testConfig())
	w.handle(role.LinkChanged{Link: role.Link{Index: 5, Name: "eth5", Up: true}})
	w.registered(at(homeA, careOf1, 1))
	w.run(5 * time.Second)
	c := testConfig()
	c.HomeLink = "eth5"
	actions := w.agent.Reconfigure(w.now, c)
	wantKinds(t, actions, "undefend 2001:db8:1::a",
		"leave 2001:db8:1:0:fdff:ffff:ffff:fffe", "join 2001:db8:1:0:fdff:ffff:ffff:fffe", "defend 2001:db8:1::a router=true")
	w.link.Index = 5
	w.apply(actions[1:])
	wantKinds(t, w.run(5*time.Second), "probe 2001:db8:1::a", "announce 2001:db8:1::a router=true")
}

// No binding outlives the home prefix (RFC 6275 §10.3.1).
// Covers: H4.
func TestReconfigurePrefixLifetime(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 1))
	c := testConfig()
	c.PrefixValidUntil = w.now.Add(10 * time.Second)
	w.apply(w.agent.Reconfigure(w.now, c))
	w.run(9999 * time.Millisecond)
	if len(w.tunnels) != 1 {
		t.Errorf("gone too early")
	}
	w.run(time.Millisecond)
	if len(w.tunnels) != 0 {
		t.Errorf("outlives the prefix")
	}
	if ba := onlyAck(t, w.send(at(homeA, careOf1, 2))); ba.Status != mip6.StatusNotHomeSubnet {
		t.Errorf("registration under an expired prefix: %v", ba.Status)
	}
}

// Explicitly named prefixes that are not the mobile's any more are withdrawn, and it is
// asked to update, to be told so (RFC 3963 §5.4.2); what is remembered of it stays.
func TestReconfigureExplicit(t *testing.T) {
	w := newWorld(t, testConfig())
	r := at(homeA, careOf1, 5)
	r.options = prefixOptions("2001:db8:a:1::/64", "2001:db8:a:2::/64")
	w.registered(r)
	w.run(5 * time.Second)
	c := testConfig()
	c.Mobiles[0].Prefixes = prefixes("2001:db8:a:2::/64", "2001:db8:a:3::/64")
	wantKinds(t, w.apply(w.agent.Reconfigure(w.now, c)), "set [2001:db8:1::a/128 2001:db8:a:2::/64] via 2001:db8:f1::1",
		"binding refresh request to 2001:db8:1::a")
	if ba := onlyAck(t, w.send(at(homeA, careOf2, 5))); ba.Status != mip6.StatusSequenceOutOfWindow {
		t.Errorf("replay after a reload: %v", ba.Status)
	}
}

// A registration that is being probed for is judged again when it ends.
func TestReconfigureDuringDetection(t *testing.T) {
	w := newWorld(t, testConfig())
	w.send(at(homeA, careOf1, 1))
	c := testConfig()
	c.Mobiles[0].Prefixes = nil
	wantKinds(t, w.apply(w.agent.Reconfigure(w.now, c)))
	wantKinds(t, w.run(time.Minute), "ack 143 to 2001:db8:f1::1 route 2001:db8:1::a")

	w.send(at(homeA, careOf1, 2))
	w.send(at(homeB, careOf1, 2))
	c.Mobiles = c.Mobiles[1:]
	wantKinds(t, w.apply(w.agent.Reconfigure(w.now, c)))
	c.Mobiles[0].Disabled = true
	wantKinds(t, w.apply(w.agent.Reconfigure(w.now, c)))
	if len(w.agent.Bindings()) != 0 || w.agent.homes[homeB].probe != nil {
		t.Errorf("%+v", w.agent.Bindings())
	}
}

// A lower limit evicts nobody, but nobody new is taken.
// Covers: H6.
func TestReconfigureLimit(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 1))
	w.registered(at(homeB, careOf2, 1))
	c := testConfig()
	c.MaxBindings = 1
	wantKinds(t, w.apply(w.agent.Reconfigure(w.now, c)))
	w.send(at(homeA, careOf2, 2))
	if len(w.tunnels) != 2 {
		t.Errorf("evicted")
	}
	if ba := onlyAck(t, w.send(request{home: homeN, source: careOf1, sequence: 1, lifetime: time.Minute, flags: flagsNode})); ba.Status != mip6.StatusInsufficientResources {
		t.Errorf("%v", ba.Status)
	}
}

func TestValidate(t *testing.T) {
	if err := testConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Address = netip.Addr{} }, "home agent address"},
		{func(c *Config) { c.Address = netip.MustParseAddr("fe80::1") }, "home agent address"},
		{func(c *Config) { c.Prefix = netip.Prefix{} }, "is not an IPv6 prefix"},
		{func(c *Config) { c.Prefix = netip.MustParsePrefix("10.0.0.0/8") }, "is not an IPv6 prefix"},
		{func(c *Config) { c.MaxLifetime = time.Second }, "longest binding lifetime 1s"},
		{func(c *Config) { c.ReplayWindow = time.Second }, "replay window 1s"},
		{func(c *Config) { c.Lifetime = time.Millisecond }, "home agent lifetime 1ms is not between 1s and"},
		{func(c *Config) { c.Lifetime = 24 * time.Hour }, "home agent lifetime 24h0m0s is not between 1s and"},
		{func(c *Config) { c.MinMobPfxAdvInterval = 48 * time.Hour }, "48h0m0s is not between"},
		{func(c *Config) { c.OtherPrefixes = []HomePrefix{{}} }, "home prefix invalid Prefix is not an IPv6 prefix"},
		{func(c *Config) { c.OtherPrefixes = []HomePrefix{{Prefix: homePrefix}} }, "home prefixes 2001:db8:1::/64 and 2001:db8:1::/64 have addresses in common"},
		{func(c *Config) { c.OtherPrefixes = make([]HomePrefix, 16) }, "17 home prefixes are more than 16"},
		{func(c *Config) { c.Mobiles[0].HomeAddress = mip6.HomeAgentsAnycast(homePrefix) }, "is the anycast address of the home agents"},
		{func(c *Config) { c.DupAddrDetectTransmits = -1 }, "must not be negative"},
		{func(c *Config) { c.Mobiles[1].HomeAddress = homeA }, `mobiles "a" and "b" have the same home address 2001:db8:1::a`},
		{func(c *Config) { c.Mobiles[0].HomeAddress = careOf1 }, `mobile "a": home address 2001:db8:f1::1 is not in the home prefix`},
		{func(c *Config) { c.Mobiles[0].HomeAddress = agentAddr }, "is the home agent's own"},
		{func(c *Config) { c.Mobiles[0].SA = nil }, `mobile "a": no key`},
		{func(c *Config) { c.Mobiles[2].Prefixes = prefixes("2001:db8:c::/48") }, `mobile "n": has mobile network prefixes but is not`},
		{func(c *Config) { c.Mobiles[0].Prefixes = prefixes("2001:db8::/32") }, "2001:db8::/32 cannot be a mobile network prefix"},
		{func(c *Config) {
			c.OtherPrefixes = []HomePrefix{{Prefix: newPrefix}}
			c.Mobiles[0].Prefixes = prefixes("2001:db8:2::/48")
		}, "mobile network prefix 2001:db8:2::/48 contains the home prefix 2001:db8:2::/64"},
		{func(c *Config) {
			c.Prefix, c.Address = netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParseAddr("2001:db8:1:ffff::1")
			c.Mobiles[0].Prefixes = prefixes("2001:db8:1:1::/64", "2001:db8:1::/64")
		}, `mobile network prefix 2001:db8:1::/64 contains an anycast address of the home prefix 2001:db8:1::/48`},
		{func(c *Config) {
			c.Prefix, c.Address = netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParseAddr("2001:db8:1:ffff::1")
			c.Mobiles[0].HomeAddress, c.Mobiles[0].Prefixes = netip.MustParseAddr("2001:db8:1:aa::a"), prefixes("2001:db8:1:aa::/64")
			c.Mobiles[1].HomeAddress = netip.MustParseAddr("2001:db8:1:aa::b")
		}, `mobile "a": 2001:db8:1:aa::/64 has the home address 2001:db8:1:aa::b of mobile "b"`},
		{func(c *Config) { c.Mobiles[0].Prefixes = prefixes("fe80::/64") }, "fe80::/64 cannot be a mobile network prefix"},
		{func(c *Config) { c.Mobiles[1].Prefixes = prefixes("2001:db8:b::/48", "2001:db8:a:7::/64") }, `mobiles "a" and "b" both have addresses of 2001:db8:a:7::/64`},
	} {
		c := testConfig()
		tt.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
	// Prefixes of one mobile may overlap.
	c := testConfig()
	c.Mobiles[0].Prefixes = prefixes("2001:db8:a::/48", "2001:db8:a:7::/64", "2001:db8:a::/64")
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}
