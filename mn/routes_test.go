package mn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// network is an extension as a mobile router is one: a prefix behind the node.
type network struct {
	prefix netip.Prefix
	judge  func() Verdict // nil: plain
}

func (x network) Extend(u *mip6.BindingUpdate, _ bool) { u.Flags |= mip6.UpdateMobileRouter }
func (x network) Inner() []netip.Prefix                { return []netip.Prefix{x.prefix} }
func (x network) Judge(time.Time, mip6.BindingAcknowledgement) (Verdict, []role.Action) {
	if x.judge != nil {
		return x.judge(), nil
	}
	return VerdictPlain, nil
}

var behind = network{prefix: netip.MustParsePrefix("2001:db8:100::/64")}

func newRouterBench(t *testing.T, change func(*Config)) *bench {
	return newRouterBenchWith(t, change, nil)
}

// newRouterBenchWith is a router with an opinion of acknowledgements.
func newRouterBenchWith(t *testing.T, change func(*Config), judge func() Verdict) *bench {
	c := config()
	if change != nil {
		change(&c)
	}
	x := behind
	x.judge = judge
	b := newBenchOf(t, New(c, x))
	b.kernel.router = true
	return b
}

// Nothing of a mobile network leaves beside the tunnel, whatever happens: after
// each single action, where there is a default route there is a tunnel or the
// home link (RFC 3963 §5.5; see kernel.carryOut).
//
// Covers: R8.
func TestNothingBesideTheTunnel(t *testing.T) {
	for name, ride := range map[string]func(*bench){
		"moves": func(b *bench) {
			b.away()
			b.carrier(false)
			b.carrier(true)
			b.hear(ar2)
			b.acknowledge()
		},
		"home and away": func(b *bench) {
			b.away()
			b.carrier(false)
			b.carrier(true)
			b.hear(atHome)
			b.acknowledge()
			b.carrier(false)
			b.carrier(true)
			b.hear(ar1)
		},
		"better link": func(b *bench) { b.prepared(); b.acknowledge() },
		"home by a better link": func(b *bench) {
			b.second()
			b.carrier(true)
			b.hear(atHome)
			b.pass(2 * time.Second)
			b.acknowledge()
			b.carrier(false)
			b.pass(time.Second)
		},
		"expired":    func(b *bench) { b.away(); b.pass(time.Hour) },
		"refused":    func(b *bench) { b.carrier(true); b.hear(ar1); b.handle(b.answer(mip6.StatusDuplicateAddress, nil)) },
		"unanswered": func(b *bench) { b.carrier(true); b.hear(ar1); b.pass(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newRouterBench(t, nil)
			ride(b)
			b.handle(role.Stop{})
			b.pass(3 * time.Second)
			b.empty()
		})
	}
	// Without a home agent there is no tunnel, and no default route.
	b := newRouterBench(t, func(c *Config) { c.HomeAgents, c.DiscoverHomeAgent = nil, true })
	b.carrier(true)
	b.hear(ar1)
	if d := b.kernel.plainDefaults(); len(d) != 0 {
		t.Errorf("default routes %v", d)
	}
}

// The default route has the home address as its source, and leads into the
// tunnel, while the home agent serves it or is about to, and only then. Otherwise
// the home address is deprecated, for kernels that prefer home addresses (RFC 6724
// §5 rule 4).
func TestDefaultSource(t *testing.T) {
	b := newBench(t, func(c *Config) { c.DefaultSource = true })
	source := func() netip.Addr {
		t.Helper()
		d := b.kernel.plainDefaults()
		if len(d) != 1 {
			t.Fatalf("default routes %v", d)
		}
		deprecated, ok := b.kernel.addresses[placedAddress{0, netip.PrefixFrom(homeAddress, 128)}]
		if away := b.kernel.homeLink == 0; ok != away || deprecated != (away && d[0].Source != homeAddress) {
			t.Errorf("home address on the data plane's device: %v, deprecated %v, with the default route %v", ok, deprecated, d[0])
		}
		return d[0].Source
	}
	b.carrier(true)
	b.hear(ar1)
	if a := source(); a != homeAddress {
		t.Errorf("source %v while the home agent is asked", a)
	}
	b.acknowledge()
	if a := source(); a != homeAddress {
		t.Errorf("source %v when registered", a)
	}
	if r := b.kernel.plainDefaults()[0]; r.Link != 0 || r.Via.IsValid() || r.Metric >= routeMetric {
		t.Errorf("the default route %v does not lead into the tunnel before all others", r)
	}
	b.carrier(false)
	b.carrier(true)
	b.hear(ar2)
	if a := source(); a != homeAddress {
		t.Errorf("source %v in the handover", a)
	}
	b.acknowledge()
	for range 360 { // no answers for an hour
		b.pass(10 * time.Second)
		b.hear(ar2)
	}
	if a := source(); a.IsValid() {
		t.Errorf("source %v after the registration expired", a)
	}
	b.acknowledge()
	c := b.node.config
	c.DefaultSource = false
	b.did(b.node.Reconfigure(b.now, c))
	if a := source(); a.IsValid() {
		t.Errorf("source %v after it was switched off", a)
	}
	c.DefaultSource = true
	b.did(b.node.Reconfigure(b.now, c))
	b.carrier(false)
	b.carrier(true)
	b.hear(atHome)
	if a := source(); a != homeAddress {
		t.Errorf("source %v at home", a)
	}
}

// Two routers of one link with different prefixes: each care-of address goes
// with a router that advertises its prefix, and when that is gone so is the
// address (RFC 8028 §3.1, §3.2).
func TestTwoRoutersOnOneLink(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.pass(time.Second)
	b.hear(ar2)
	b.answering(time.Second) // ours is there
	if b.node.current.router != ar1.router {
		t.Fatalf("left a router that answers for %v", b.node.current.router)
	}
	// Ours ceases to be a default router: then it is the other's turn, under the
	// other's prefix.
	b.handle(advertisement(1, ar1, func(ra *nd.RouterAdvertisement) { ra.RouterLifetime = 0 }))
	_, rs := b.kernelState()
	if _, p := b.lastUpdate(); p.Source != careOf2 || !slices.Contains(rs, "::/0 from 2001:db8:a2::/64 dev 1 via fe80::a2") ||
		slices.ContainsFunc(rs, func(r string) bool { return r == "::/0 from 2001:db8:a2::/64 dev 1 via fe80::a1" }) {
		t.Errorf("update from %v, routes %v", p.Source, rs)
	}
}

// Two routers of one link with the same prefix: when one dies the other carries
// the same care-of address, and the home agent has nothing to learn.
func TestSamePrefixOtherRouter(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.pass(time.Second)
	other := cell{ar2.router, ar1.prefix}
	b.hear(other)
	did := b.pass(time.Second) // ours does not answer
	if n := len(updates(did)); n != 0 {
		t.Errorf("%d updates for the same care-of address", n)
	}
	_, rs := b.kernelState()
	want := []string{"2001:db8:a1::/64 dev 1", "::/0 dev 1 via fe80::a2", "::/0 from 2001:db8:a1::/64 dev 1 via fe80::a2"}
	if !slices.Equal(rs, want) || b.node.handover != nil {
		t.Errorf("routes %v", rs)
	}
}

// At home the router that tells of the home prefix may be a home agent that is
// no default router: another one of the link is used, or none (RFC 4861 §6.3.4).
func TestDefaultRouterAtHome(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.handle(advertisement(1, atHome, func(ra *nd.RouterAdvertisement) { ra.RouterLifetime = 0 }))
	if d := b.kernel.plainDefaults(); len(d) != 0 {
		t.Errorf("default routes %v", d)
	}
	gateway := netip.MustParseAddr("fe80::2")
	b.handle(advertisement(1, cell{gateway, netip.PrefixFrom(netip.MustParseAddr("2001:db8:10::2"), 64)}, nil))
	if d := b.kernel.plainDefaults(); len(d) != 1 || d[0].Via != gateway {
		t.Errorf("default routes %v", d)
	}
}

// A prefix that was on the link of before is not on this one, although its
// care-of address stays for packets that are on their way: who is there now, a
// mobile that came after us perhaps, is reached by the router.
func TestPrefixOfTheLinkBefore(t *testing.T) {
	for name, arrive := range map[string]func(*bench){
		"another access router": func(b *bench) { b.hear(ar2) },
		"home":                  func(b *bench) { b.hear(atHome) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.away()
			onLink := func() bool {
				_, ok := b.kernel.routes[routeText(onLinkRoute(ar1.prefix, 1))]
				return ok
			}
			careOf := b.node.current.careOf
			if !onLink() {
				t.Fatalf("no route to the prefix of the link: %v", b.kernel.routes)
			}
			b.carrier(false)
			b.carrier(true)
			arrive(b)
			if onLink() {
				t.Error("the prefix of the link before is still taken for on-link")
			}
			if !b.kernel.has(1, careOf) {
				t.Error("the care-of address of before is gone, with the packets to it")
			}
			b.acknowledge()
			b.carrier(false)
			b.carrier(true)
			b.hear(ar1)
			if !onLink() {
				t.Error("back on the link, its prefix is not on-link")
			}
		})
	}
}

// A mobile router that hears its own network on an uplink, by a wrong cable or a
// bridge, does not attach there, whatever the address comes from (RFC 6275 §15.1: no
// loops), and stays where it is.
//
// Covers: Attack: loops.
func TestOwnNetworkIsNoUplink(t *testing.T) {
	own := cell{netip.MustParseAddr("fe80::bad"), behind.prefix}
	b := newRouterBench(t, nil)
	b.carrier(true)
	b.hear(own)
	b.handle(lease(1, behind.prefix.Addr().Next()))
	if b.node.current != nil || len(updates(b.all)) != 0 {
		t.Fatalf("attached to its own network: %+v", b.node.current)
	}
	b.hear(ar1)
	b.acknowledge()
	b.handle(upLink(2, "up1", true))
	b.handle(advertisement(2, own, nil))
	b.pass(10 * time.Second)
	if c := b.node.careOfs.on(2, behind.prefix); c != nil {
		t.Errorf("a care-of address stands by in its own network: %+v", c)
	}
	b.handle(upLink(1, "up0", false))
	if a := b.node.current; a == nil || a.link != 1 {
		t.Errorf("at %+v", a)
	}
}
