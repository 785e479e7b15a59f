package anchor

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/esp"
	"roam6/internal/role"
	"roam6/mip6"
)

// What is wrong is said, each with what to look at.
func TestValidate(t *testing.T) {
	if err := testConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Address = netip.MustParseAddr("fe80::1") }, "is not a routable unicast"},
		{func(c *Config) { c.Address = rcoaA; c.Prefix = netip.MustParsePrefix("2001:db8:8::/64") }, "is not in the prefix"},
		{func(c *Config) { c.Prefix = netip.MustParsePrefix("2001:db8:9::/48") }, "is not an IPv6 /64"},
		{func(c *Config) { c.Prefix = netip.PrefixFrom(rcoaA, 64) }, "is not an IPv6 /64"},
		{func(c *Config) { c.Prefix = netip.Prefix{} }, "is not an IPv6 /64"},
		{func(c *Config) { c.Address = mip6.HomeAgentsAnycast(prefix) }, "anycast"},
		{func(c *Config) { c.Address = prefix.Addr() }, "anycast"},
		{func(c *Config) { c.Served = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }, "served prefix"},
		{func(c *Config) { c.MaxLifetime = time.Second }, "longest binding lifetime"},
		{func(c *Config) { c.MaxBindings = -1 }, "must not be negative"},
		{func(c *Config) { c.RetransTimer = -1 }, "must not be negative"},
		{func(c *Config) { c.ReplayWindow = time.Second }, "replay window"},
		{func(c *Config) { c.Visitors[1].SA = nil }, `visitor "bob": no key`},
		{func(c *Config) { c.Visitors[1].SA = association(alice) }, "same SPI 1001"},
		{func(c *Config) { c.Visitors[1].SA = &mip6.SecurityAssociation{SPI: 255} }, "SPI 255 is less than 256"},
		{func(c *Config) { c.Visitors[1].Name = "alice" }, "two visitors"},
		{func(c *Config) { c.Visitors[0].ESP, c.Visitors[1].ESP = protection(1), protection(1) }, "same SPI 3001 of IPsec"},
		{func(c *Config) { c.Visitors[0].ESP = &esp.Association{SPI: 255} }, "SPI 255"},
	} {
		c := testConfig()
		tt.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

// A reload: bindings survive, but for those that are not permitted any more, and they
// go with all that was done for them.
// Covers: P8, P9.
func TestReconfigure(t *testing.T) {
	keep := []string(nil)
	gone := []string{"undefend 2001:db8:9::a", "remove 2001:db8:9::a"}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   []string
		reason string
		again  mip6.Status // of another update
	}{
		{"nothing", func(*Config) {}, keep, "", 0},
		{"others", func(c *Config) { c.Visitors = c.Visitors[:1]; c.MaxLifetime = time.Hour; c.MaxBindings = 1 }, keep, "", 0},
		{"another order", func(c *Config) { slices.Reverse(c.Visitors) }, keep, "", 0},
		{"renamed", func(c *Config) { c.Visitors[0].Name = "eve" }, keep, "", 0},
		{"renamed to another's name", func(c *Config) {
			c.Visitors = []Visitor{{Name: "carol", SA: association(alice)}, {Name: "alice", SA: association(7)}}
		},
			// The name decides: alice has a new key, and carol is somebody new.
			keep, "", mip6.StatusDuplicateAddress},
		{"removed", func(c *Config) { c.Visitors = c.Visitors[1:] }, gone, "visitor removed", 255},
		{"disabled", func(c *Config) { c.Visitors[0].Disabled = true }, gone, "visitor disabled", 129},
		{"served less", func(c *Config) { c.Served = c.Served[1:] }, gone, "on-link care-of address not served any more", 129},
		{"served more", func(c *Config) { c.Served = nil }, keep, "", 0},
		{"taken", func(c *Config) { c.Taken = []netip.Addr{rcoaA} }, gone, "regional care-of address is taken", 134},
		{"barred", func(c *Config) { c.Barred = func(a netip.Addr) bool { return a == lcoa1 } }, gone, "on-link care-of address is this node's, or in a tunnel of it", 174},
		{"another address", func(c *Config) { c.Address = rcoaB }, gone, "anchor address changed", 255},
		{"another prefix", func(c *Config) {
			c.Prefix = netip.MustParsePrefix("2001:db8:8::/64")
			c.Address = netip.MustParseAddr("2001:db8:8::1")
		}, gone, "anchor address changed", 255},
		{"another link", func(c *Config) { c.Link = "eth2" }, []string{"undefend 2001:db8:9::a", "defend 2001:db8:9::a"}, "", 0},
		{"virtual", func(c *Config) { c.Link = "" }, []string{"undefend 2001:db8:9::a"}, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			w.registered(local(alice, rcoaA, lcoa1, 1))
			w.run(5 * time.Second)
			c := testConfig()
			tt.change(&c)
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			actions := w.anchor.Reconfigure(w.now, c)
			if tt.name == "another link" {
				actions = append(actions, w.moveLink()...)
			}
			wantKinds(t, actions, tt.want...)
			w.apply(actions)
			if n := w.logged("regional binding ended"); (n == 1) != (tt.reason != "") {
				t.Errorf("log %v", w.logs)
			}
			if tt.reason != "" && !strings.Contains(w.logs[len(w.logs)-1].Attrs[4].Value.String(), tt.reason) {
				t.Errorf("log %v, want %q", w.logs, tt.reason)
			}
			actions = w.send(local(alice, rcoaA, lcoa1, 2))
			if tt.again == 255 {
				if len(acks(actions)) != 0 {
					t.Errorf("answered: %q", kinds(actions))
				}
				return
			}
			if ba := onlyAck(t, actions); ba.Status != tt.again {
				t.Errorf("%v, want %v", ba.Status, tt.again)
			}
			w.refused(local(alice, rcoaA, lcoa1, 2), mip6.StatusSequenceOutOfWindow) // is remembered
		})
	}
}

// moveLink makes eth2 the link.
func (w *world) moveLink() []role.Action {
	w.link.Index, w.link.Name = 8, "eth2"
	return w.anchor.Handle(w.now, role.LinkChanged{Link: w.link})
}

// A detection that is not permitted any more ends with the reload, and who was served
// without authentication is not any more.
func TestReconfigureOthers(t *testing.T) {
	c := testConfig()
	c.Insecure = true
	w := newWorld(t, c)
	anybody := local(0, rcoaA, lcoa1, 1)
	anybody.unsealed = true
	w.registered(anybody)
	w.send(local(bob, rcoaB, lcoa2, 1))
	c.Insecure, c.Visitors = false, c.Visitors[:1]
	wantKinds(t, w.apply(w.anchor.Reconfigure(w.now, c)), "undefend 2001:db8:9::a", "remove 2001:db8:9::a")
	anybody.sequence = 2
	wantKinds(t, w.send(anybody), "drop unauthenticated")
	wantKinds(t, w.run(time.Minute))
	if s := w.anchor.Snapshot(w.now); len(s.Bindings) != 0 || s.Stats.Visitors != 1 {
		t.Errorf("%+v", s)
	}
}

// What is a regional care-of address of an anchor is no on-link one of another: what it
// has bound or probes, and all that nobody else can have (RFC 5380 §6.1).
//
// Covers: P6, Attack: loops.
func TestRegional(t *testing.T) {
	c := testConfig()
	w := newWorld(t, c)
	w.send(local(alice, rcoaA, lcoa1, 1))
	check := func(when string, a, b bool) {
		t.Helper()
		if x, y := w.anchor.Regional(rcoaA), w.anchor.Regional(rcoaB); x != a || y != b || w.anchor.Regional(lcoa1) {
			t.Errorf("%s: %v and %v, want %v and %v", when, x, y, a, b)
		}
	}
	check("probed", true, false)
	w.run(5 * time.Second)
	check("bound", true, false)
	c.Link, c.DAD = "", false
	w.apply(w.anchor.Reconfigure(w.now, c))
	check("on no link", true, true)
}

// What people see: bindings in the order of addresses, with what remains.
func TestSnapshot(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(local(bob, rcoaB, lcoa2, 1))
	w.run(10 * time.Second)
	w.send(local(alice, rcoaA, lcoa1, 1))
	s := w.anchor.Snapshot(w.now)
	if s.Name != "map" || s.Address != anchorAddr || s.Prefix != prefix || s.Link != linkIndex || s.Stats.Bindings != 1 || s.Stats.Probing != 1 {
		t.Errorf("%+v", s)
	}
	if len(s.Bindings) != 2 || s.Bindings[0].Home != rcoaA || s.Bindings[0].Remaining != 0 ||
		s.Bindings[1].Visitor != "bob" || s.Bindings[1].Remaining != 50*time.Second || s.Bindings[1].CareOf() != lcoa2 {
		t.Errorf("%+v", s.Bindings)
	}
}
