package mn

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn/ro"
	"roam6/nd"
	"roam6/overlay"
)

// What the DHCPv6 client of a link is told, and when: once for each link event and
// when flags or link change, not with every advertisement (RFC 4861 §4.2,
// RFC 8415 §18.2.12).
//
// Covers: M8.
func TestConfigureLink(t *testing.T) {
	flags := func(m, o bool) func(*nd.RouterAdvertisement) {
		return func(ra *nd.RouterAdvertisement) { ra.Managed, ra.OtherConfig = m, o }
	}
	here := role.LinkIdentity{Router: ar1.router, Prefix: ar1.prefix}
	there := role.LinkIdentity{Router: ar2.router, Prefix: ar2.prefix}
	ask := func(id role.LinkIdentity, m, o bool) role.ConfigureLink {
		return role.ConfigureLink{Link: 1, Identity: id, Managed: m, Other: o}
	}
	end := role.ConfigureLink{Link: 1}
	bounce := func(b *bench) { b.carrier(false); b.pass(time.Second); b.carrier(true) }
	for _, c := range []struct {
		name       string
		addressing Addressing
		ride       func(*bench)
		want       []role.ConfigureLink
	}{
		{"nothing wanted", AddressingAuto, func(b *bench) { b.hear(ar1); bounce(b); b.hear(ar1) }, nil},
		{"managed, heard often", AddressingAuto, func(b *bench) {
			for range 5 {
				b.handle(advertisement(1, ar1, flags(true, true)))
				b.pass(time.Second)
			}
		}, []role.ConfigureLink{ask(here, true, true)}},
		{"information", AddressingAuto, func(b *bench) { b.handle(advertisement(1, ar1, flags(false, true))) }, []role.ConfigureLink{ask(here, false, true)}},
		{"information, then addresses, then none", AddressingAuto, func(b *bench) {
			b.handle(advertisement(1, ar1, flags(false, true)))
			b.handle(advertisement(1, ar1, flags(true, true)))
			b.handle(advertisement(1, ar1, flags(true, false))) // the same: M makes O redundant
			b.handle(advertisement(1, ar1, flags(false, false)))
			b.pass(wishPatience)
			b.handle(advertisement(1, ar1, flags(false, false)))
		}, []role.ConfigureLink{ask(here, false, true), ask(here, true, true), end}},
		{"flags that change with each advertisement", AddressingAuto, func(b *bench) {
			for i := range 1000 {
				b.handle(advertisement(1, ar1, flags(i%2 == 0, i%3 == 0)))
				b.pass(30 * time.Millisecond)
			}
		}, []role.ConfigureLink{ask(here, true, true)}},
		{"the router that wants it is silent for a while", AddressingAuto, func(b *bench) {
			b.hear(ar1)
			often := func(ra *nd.RouterAdvertisement) { ra.Managed, ra.Interval = true, 100*time.Millisecond }
			b.handle(advertisement(1, ar2, often))
			b.answering(20 * time.Second)
			b.handle(advertisement(1, ar2, often))
			b.answering(20 * time.Second)
		}, []role.ConfigureLink{ask(here, true, false)}},
		{"the router that wants it is gone", AddressingAuto, func(b *bench) {
			b.hear(ar1)
			b.handle(advertisement(1, ar2, func(ra *nd.RouterAdvertisement) { ra.Managed, ra.Interval = true, 100*time.Millisecond }))
			b.answering(time.Minute)
		}, []role.ConfigureLink{ask(here, true, false), end}},
		{"one router of two wants it", AddressingAuto, func(b *bench) {
			b.hear(ar1)
			b.handle(advertisement(1, ar2, flags(true, false)))
			b.hear(ar1)
		}, []role.ConfigureLink{ask(here, true, false)}},
		{"the carrier came back, same link", AddressingAuto, func(b *bench) {
			b.handle(advertisement(1, ar1, flags(true, false)))
			bounce(b)
			b.handle(advertisement(1, ar1, flags(true, false)))
			b.handle(advertisement(1, ar1, flags(true, false)))
		}, []role.ConfigureLink{ask(here, true, false), ask(here, true, false)}},
		{"the carrier came back, its router answers", AddressingAuto, func(b *bench) {
			b.handle(advertisement(1, eui, flags(true, false)))
			bounce(b)
			b.handle(role.NeighborHeard{Link: 1, From: eui.router, Target: eui.router, Solicited: true})
			b.handle(advertisement(1, eui, flags(true, false)))
		}, []role.ConfigureLink{ask(role.LinkIdentity{Router: eui.router, Prefix: eui.prefix}, true, false),
			ask(role.LinkIdentity{Router: eui.router, Prefix: eui.prefix}, true, false)}},
		{"the carrier came back, other link", AddressingAuto, func(b *bench) {
			b.handle(advertisement(1, ar1, flags(true, false)))
			bounce(b)
			b.handle(advertisement(1, ar2, flags(true, false)))
		}, []role.ConfigureLink{ask(here, true, false), ask(there, true, false)}},
		{"the carrier came back to a link that does not want it", AddressingAuto, func(b *bench) {
			b.handle(advertisement(1, ar1, flags(true, false)))
			bounce(b)
			b.hear(ar2)
		}, []role.ConfigureLink{ask(here, true, false), end}},
		{"moved without a carrier event", AddressingAuto, func(b *bench) {
			b.handle(advertisement(1, ar1, flags(true, false)))
			b.handle(advertisement(1, ar2, flags(true, false)))
			b.pass(time.Second) // ours does not answer
		}, []role.ConfigureLink{ask(here, true, false), ask(there, true, false)}},
		{"another router with the same prefix", AddressingAuto, func(b *bench) {
			b.handle(advertisement(1, ar1, flags(true, false)))
			b.handle(advertisement(1, ar2, flags(true, false)))
			b.answering(time.Second)
		}, []role.ConfigureLink{ask(here, true, false)}},
		{"router of the same name, other link", AddressingAuto, func(b *bench) {
			b.handle(advertisement(1, ar1, flags(true, false)))
			b.handle(advertisement(1, cell{ar1.router, ar2.prefix}, func(ra *nd.RouterAdvertisement) {
				ra.Managed, ra.SourceLinkAddr = true, net.HardwareAddr{2, 0, 0, 0, 0, 0x77}
			}))
		}, []role.ConfigureLink{ask(here, true, false), ask(role.LinkIdentity{Router: ar1.router, Prefix: ar2.prefix}, true, false)}},
		{"router without prefixes", AddressingAuto, func(b *bench) { b.handle(advertisement(1, ar1, bare)) },
			[]role.ConfigureLink{ask(role.LinkIdentity{Router: ar1.router}, true, false)}},
		{"its router falls silent, and returns", AddressingAuto, func(b *bench) {
			often := func(ra *nd.RouterAdvertisement) { ra.Managed, ra.Interval = true, time.Second }
			b.handle(advertisement(1, ar1, often))
			b.pass(time.Minute)
			b.handle(advertisement(1, ar1, often))
		}, []role.ConfigureLink{ask(here, true, false)}},
		{"always DHCPv6: with the carrier, once", AddressingDHCP, func(b *bench) { b.hear(ar1); b.hear(ar1) }, []role.ConfigureLink{ask(role.LinkIdentity{}, true, false)}},
		{"always DHCPv6: flags do not matter", AddressingDHCP, func(b *bench) {
			b.handle(advertisement(1, ar1, flags(true, true)))
			b.handle(advertisement(1, ar1, flags(false, false)))
		}, []role.ConfigureLink{ask(role.LinkIdentity{}, true, false)}},
		{"always DHCPv6: the carrier came back", AddressingDHCP, func(b *bench) { b.hear(ar1); bounce(b); b.hear(ar2) },
			[]role.ConfigureLink{ask(role.LinkIdentity{}, true, false), ask(role.LinkIdentity{}, true, false)}},
		{"always DHCPv6: moved without a carrier event", AddressingDHCP, func(b *bench) {
			b.handle(advertisement(1, ar1, managed))
			b.handle(lease(1, leased1))
			b.hear(ar2)
			b.pass(time.Second)
		}, []role.ConfigureLink{ask(role.LinkIdentity{}, true, false), ask(there, true, false)}},
		{"SLAAC only", AddressingSLAAC, func(b *bench) { b.handle(advertisement(1, ar1, flags(true, true))) }, nil},
		{"somebody else's", AddressingForeign, func(b *bench) { b.handle(advertisement(1, ar1, flags(true, true))) }, nil},
		{"the interface goes", AddressingDHCP, func(b *bench) { b.handle(role.LinkGone{Index: 1}) },
			[]role.ConfigureLink{ask(role.LinkIdentity{}, true, false), end}},
		{"the interface is renamed", AddressingDHCP, func(b *bench) { b.handle(upLink(1, "eth7", true)) },
			[]role.ConfigureLink{ask(role.LinkIdentity{}, true, false), end}},
		{"the node stops", AddressingDHCP, func(b *bench) { b.handle(role.Stop{}) },
			[]role.ConfigureLink{ask(role.LinkIdentity{}, true, false), end}},
		{"at home", AddressingAuto, func(b *bench) { b.handle(advertisement(1, atHome, flags(false, true))) },
			[]role.ConfigureLink{ask(role.LinkIdentity{Router: atHome.router, Prefix: homePrefix}, false, true)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(x *Config) { x.Addressing = map[string]Addressing{"up0": c.addressing} })
			b.carrier(true)
			c.ride(b)
			if got := only[role.ConfigureLink](b.all); !slices.Equal(got, c.want) {
				t.Errorf("told %v\nwant %v", got, c.want)
			}
		})
	}
}

// What is urgent comes first: the binding update of the formed address, then the
// client, then probes.
func TestClientBehindUpdate(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	var order []string
	for _, a := range b.handle(advertisement(1, ar1, both)) {
		switch a.(type) {
		case role.Send:
			order = append(order, "update")
		case role.ConfigureLink:
			order = append(order, "client")
		case role.ProbeAddress:
			order = append(order, "probe")
		}
	}
	if want := []string{"update", "client", "probe"}; !slices.Equal(order, want) {
		t.Errorf("order %v", order)
	}
}

// A reload that says otherwise where addresses come from: what does not suit any
// more goes, the client is told, and the node goes on by what there is.
//
// Covers: B2.
func TestReaddress(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.handle(advertisement(1, ar1, both))
	b.handle(lease(1, leased1))
	b.acknowledge()
	b.pass(5 * time.Second)
	b.handle(lent(1, foreign1))
	to := func(a Addressing, careOf netip.Addr, told ...role.ConfigureLink) {
		t.Helper()
		c := b.node.config
		c.Addressing = map[string]Addressing{"up0": a}
		did := b.did(b.node.Reconfigure(b.now, c))
		b.source(careOf)
		b.acknowledge()
		if b.node.reg.careOf != careOf {
			t.Errorf("registered %v", b.node.reg.careOf)
		}
		if got := only[role.ConfigureLink](did); !slices.Equal(got, told) {
			t.Errorf("told %v", got)
		}
		b.pass(retireAfter)
		for p := range b.kernel.addresses {
			if p.link == 1 && p.prefix.Addr() != careOf {
				t.Errorf("left behind: %v", p)
			}
		}
	}
	here := role.LinkIdentity{Router: ar1.router, Prefix: ar1.prefix}
	to(AddressingSLAAC, careOf1, role.ConfigureLink{Link: 1})
	to(AddressingDHCP, leased1, role.ConfigureLink{Link: 1, Identity: here, Managed: true})
	to(AddressingForeign, foreign1, role.ConfigureLink{Link: 1})
	to(AddressingAuto, leased1, role.ConfigureLink{Link: 1, Identity: here, Managed: true})
	b.handle(role.Stop{})
	b.pass(3 * time.Second)
	b.empty()
}

// An address that is formed again is refreshed by the router's lifetimes, a leased
// one by its client's alone (RFC 8415 §18.2.10.1).
func TestLifetimesOfLease(t *testing.T) {
	b := newBench(t, nil)
	b.byLease()
	b.handle(advertisement(1, ar1, func(ra *nd.RouterAdvertisement) {
		managed(ra)
		ra.Prefixes = append(ra.Prefixes, mip6.PrefixInformation{Prefix: netip.PrefixFrom(leased1, 128), Autonomous: true,
			ValidLifetime: time.Minute, PreferredLifetime: time.Minute})
	}))
	if c := b.node.careOfs.find(1, leased1); c.validUntil.Sub(b.now) != time.Hour {
		t.Errorf("valid for %v", c.validUntil.Sub(b.now))
	}
}

// Uplinks that leave the configuration go together: the node does not turn to one
// that is about to go, nor to one as it was before the change.
//
// Covers: B9, B10.
func TestUplinksLeaveTheConfiguration(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Uplinks = []string{"up0", "up1", "up2"} })
	b.away()
	b.handle(upLink(2, "up1", true))
	b.handle(upLink(3, "up2", true))
	b.handle(advertisement(2, ar2, nil))
	b.handle(advertisement(3, atHome, nil))
	c := b.node.config
	c.Uplinks, c.Addressing = []string{"up2"}, map[string]Addressing{"up2": AddressingForeign}
	did := b.did(b.node.Reconfigure(b.now, c))
	if a := b.node.current; a == nil || a.name != "up2" || len(b.node.links) != 1 {
		t.Errorf("at %+v", a)
	}
	for _, s := range only[role.Send](did) {
		if s.Link != 3 {
			t.Errorf("turned to an uplink that goes: %+v", s)
		}
	}
	for _, r := range only[role.AddRoute](did) {
		if r.Route.Link == 3 && r.Route.Destination == homePrefix {
			t.Errorf("an interface of somebody else's gets %v", r.Route)
		}
	}
	c.Uplinks = []string{"up0", "up1", "up2"}
	b.did(b.node.Reconfigure(b.now, c))
	if len(b.node.links) != 3 || !b.node.links[1].Up {
		t.Error("they do not come back")
	}
}

// When the uplink in use leaves the configuration, and with it the policy for routes
// or the way to find home agents changes, nothing is sent from the address that went
// with it (see kernel.carryOut).
func TestUplinkLeavesWithMore(t *testing.T) {
	b := newBench(t, func(c *Config) { c.RouteOptimisation.Mode = ro.On })
	b.away()
	b.correspondent(b.handle(role.TrafficSeen{Home: homeAddress, Peer: peer, Side: overlay.MobileSide}))
	b.correspondent(b.actions)
	if p := b.node.optimiser.Peers(b.now); len(p) != 1 || p[0].State != ro.StateOptimised {
		t.Fatalf("peers %+v", p)
	}
	c := b.node.config
	c.Uplinks, c.RouteOptimisation = []string{"up1"}, ro.Policy{}
	c.HomeAgents, c.DiscoverHomeAgent = nil, true
	b.did(b.node.Reconfigure(b.now, c))
}
