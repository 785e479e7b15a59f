package mn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/nd"
)

// standing brings the node to ar1 by the better link, with a care-of address that
// stands by on the other.
func (b *bench) standing(ra func(*nd.RouterAdvertisement), events ...role.Event) netip.Addr {
	b.Helper()
	b.away()
	b.handle(upLink(2, "up1", true))
	b.handle(advertisement(2, ar2, ra))
	for _, e := range events {
		b.handle(e)
	}
	b.pass(standbyAfter + retransTimer)
	for _, c := range b.node.careOfs {
		if c.standby && c.link == 2 {
			return c.addr
		}
	}
	b.Fatal("nothing stands by")
	return netip.Addr{}
}

// On an uplink that is not in use a care-of address is kept ready: probed, deprecated
// so that nothing begins with it, with its own default route, and known to the
// router. The place in use does not depend on it. A hand-off to it is then the
// binding update, in the same call, with nothing to probe (RFC 6275 §11.5.3).
//
// Covers: M8.
func TestStandby(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Config)
		ra      func(*nd.RouterAdvertisement)
		events  []role.Event
		want    netip.Addr
		address string // in the kernel; none where somebody else assigned it
		route   string
	}{
		{"formed", nil, nil, nil, careOf2, careOf2.String() + "/64 dev 2", "::/0 from 2001:db8:a2::/64 dev 2 via fe80::a2"},
		{"formed, waiting for duplicates", func(x *Config) { x.WaitForDAD = true }, nil, nil, careOf2,
			careOf2.String() + "/64 dev 2", "::/0 from 2001:db8:a2::/64 dev 2 via fe80::a2"},
		{"leased", nil, managed, []role.Event{lease(2, leased2)}, leased2, leased2.String() + "/128 dev 2",
			"::/0 from 2001:db8:a2::1000/128 dev 2 via fe80::a2"},
		{"formed and leased", nil, both, []role.Event{lease(2, leased2)}, leased2, leased2.String() + "/128 dev 2",
			"::/0 from 2001:db8:a2::1000/128 dev 2 via fe80::a2"},
		{"foreign", func(x *Config) { x.Addressing = map[string]Addressing{"up1": AddressingForeign} }, nil,
			[]role.Event{lent(2, foreign2)}, foreign2, "", "::/0 from 2001:db8:a2::f2/128 dev 2 via fe80::a2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(x *Config) {
				if c.change != nil {
					c.change(x)
				}
			})
			b.carrier(true)
			b.hear(ar1)
			b.pass(retransTimer)
			if a := b.standing(c.ra, c.events...); a != c.want {
				t.Fatalf("%v stands by", a)
			}
			as, rs := b.kernelState()
			if c.address != "" && (!slices.Contains(as, c.address) || !b.kernel.addresses[placedAddress{2, netip.MustParsePrefix(c.address[:len(c.address)-6])}]) {
				t.Errorf("addresses %v", b.kernel.addresses)
			}
			if !slices.Contains(rs, c.route) {
				t.Errorf("routes %v", rs)
			}
			if d := b.kernel.plainDefaults(); len(d) != 1 || d[0].Link != 1 {
				t.Errorf("default routes %v", d)
			}
			if p := only[role.ProbeNeighbor](b.all); !slices.Contains(p, role.ProbeNeighbor{Link: 2, Source: c.want, Target: ar2.router}) {
				t.Errorf("the router does not know it: %v", p)
			}
			if n := b.node.stats.UpdatesSent; n != 1 || b.node.current.careOf != careOf1 || b.node.pending != nil {
				t.Errorf("%d updates, at %v", n, b.node.current.careOf)
			}
			if s := b.node.Snapshot(b.now).CareOfs; len(s) != 2 || !s[1].Standby || s[0].Standby {
				t.Errorf("snapshot %+v", s)
			}

			did := b.carrier(false)
			b.source(c.want)
			if path, _ := tunnelPath(did); path.Local != c.want || path.Link != 2 || len(updates(did)) != 1 {
				t.Errorf("not handed off in the same call: %v", did)
			}
			if p := only[role.ProbeAddress](did); len(p) != 0 {
				t.Errorf("probed once more: %v", p)
			}
			if c.address != "" && b.kernel.addresses[placedAddress{2, netip.MustParsePrefix(c.address[:len(c.address)-6])}] {
				t.Error("still deprecated")
			}
			b.acknowledge()
			b.handle(role.Stop{})
			b.pass(3 * time.Second)
			b.empty()
		})
	}
}

// What a standby address costs while nothing happens: a solicitation now and then.
// Lifetimes follow the router, and it goes when they end.
func TestStandbyKept(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Lifetime = time.Hour })
	b.standing(nil)
	var did []role.Action
	for range 60 {
		did = append(did, b.pass(10*time.Second)...)
		b.handle(advertisement(2, ar2, nil))
		b.hear(ar1)
	}
	probes := slices.DeleteFunc(only[role.ProbeNeighbor](did), func(p role.ProbeNeighbor) bool { return p.Link != 2 })
	if n := len(probes); n < 12 || n > 15 || len(only[role.ProbeAddress](did)) != 0 {
		t.Errorf("%d solicitations in ten minutes", n)
	}
	if c := b.node.careOfs.find(2, careOf2); c == nil || !c.standby || c.validUntil.Sub(b.now) != time.Hour {
		t.Errorf("%+v", c)
	}
}

// What stands by on a third link does so through a hand-off and a refresh of the
// registration, without a gap.
func TestStandbyStays(t *testing.T) {
	third := cell{netip.MustParseAddr("fe80::a3"), netip.MustParsePrefix("2001:db8:a3::/64")}
	b := newBench(t, func(c *Config) { c.Uplinks = []string{"up0", "up1", "up2"} })
	b.away()
	for i, c := range []cell{ar2, third} {
		b.handle(upLink(2+i, []string{"up1", "up2"}[i], true))
		b.handle(advertisement(2+i, c, nil))
	}
	b.pass(standbyAfter + retransTimer)
	begin := len(b.all)
	b.handle(role.TunnelRefused{Home: homeAddress})
	b.acknowledge()
	b.carrier(false)
	b.acknowledge()
	b.pass(time.Minute)
	for _, a := range only[role.UnassignAddress](b.all[begin:]) {
		if a.Link == 3 {
			t.Errorf("taken back: %v", a)
		}
	}
	if c := b.node.careOfs.on(3, third.prefix); c == nil || !c.standby || b.node.current.careOf != careOf2 {
		t.Errorf("%+v, at %v", c, b.node.current.careOf)
	}
}

// When a standby address goes, and what there is instead.
//
// Covers: B2.
func TestStandbyEnds(t *testing.T) {
	third := cell{netip.MustParseAddr("fe80::a3"), netip.MustParsePrefix("2001:db8:a3::/64")}
	for _, c := range []struct {
		name  string
		event func(*bench)
		left  []string // addresses of the link
	}{
		{"carrier", func(b *bench) { b.handle(upLink(2, "up1", false)) }, nil},
		{"interface", func(b *bench) { b.handle(role.LinkGone{Index: 2}) }, nil},
		{"router", func(b *bench) {
			b.handle(advertisement(2, ar2, func(ra *nd.RouterAdvertisement) { ra.RouterLifetime = 0 }))
		}, nil},
		{"prefix", func(b *bench) {
			b.handle(advertisement(2, ar2, func(ra *nd.RouterAdvertisement) { ra.Prefixes[0].PreferredLifetime = 0 }))
		}, nil},
		{"renumbered", func(b *bench) {
			b.handle(advertisement(2, ar2, func(ra *nd.RouterAdvertisement) { ra.Prefixes[0].PreferredLifetime = 0 }))
			b.handle(advertisement(2, cell{ar2.router, third.prefix}, nil))
		}, []string{"2001:db8:a3::ff:fe00:42/64 dev 2"}},
		{"taken by somebody else", func(b *bench) {
			b.handle(upLink(2, "up1", false))
			b.handle(upLink(2, "up1", true))
			b.handle(advertisement(2, ar2, nil))
			b.pass(standbyAfter + retransTimer/2)
			b.handle(role.NeighborHeard{Link: 2, From: netip.MustParseAddr("fe80::99"), Target: careOf2})
			b.pass(standbyAfter)
			if b.kernel.has(2, careOf2) {
				b.Error("still assigned")
			}
		}, []string{"2001:db8:a2:0:c1fe:5fe5:cef1:c977/64 dev 2"}},
		{"a lease takes its place", func(b *bench) { b.handle(lease(2, leased2)) }, []string{leased2.String() + "/128 dev 2"}},
		{"the lease ends", func(b *bench) { b.handle(lease(2, leased2)); b.handle(lease(2)) }, []string{careOf2.String() + "/64 dev 2"}},
		{"another router comes", func(b *bench) {
			b.handle(advertisement(2, third, func(ra *nd.RouterAdvertisement) { ra.Preference = nd.PreferenceHigh }))
		}, []string{careOf2.String() + "/64 dev 2"}},
		{"home by the other link", func(b *bench) {
			b.carrier(false)
			b.carrier(true)
			b.hear(atHome)
			b.acknowledge()
		}, nil},
		{"the uplink is not ours any more", func(b *bench) {
			c := b.node.config
			c.Uplinks = []string{"up0"}
			b.did(b.node.Reconfigure(b.now, c))
			b.acknowledge()
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.standing(nil)
			c.event(b)
			b.pass(standbyAfter + retransTimer)
			var left []string
			as, _ := b.kernelState()
			for _, a := range as {
				if a[len(a)-1] == '2' {
					left = append(left, a)
				}
			}
			if !slices.Equal(left, c.left) {
				t.Errorf("addresses %v, want %v", left, c.left)
			}
			b.handle(role.Stop{})
			b.pass(3 * time.Second)
			b.empty()
		})
	}
}

// A worse link does not become better by what stands by on it, and a link that
// flaps, or comes while the node is not at rest, costs nothing.
//
// Covers: B9.
func TestStandbyWaits(t *testing.T) {
	for name, ride := range map[string]func(*bench){
		"flapping link": func(b *bench) {
			b.away()
			for range 20 {
				b.handle(upLink(2, "up1", true))
				b.handle(advertisement(2, ar2, nil))
				b.pass(standbyAfter - time.Millisecond)
				b.handle(upLink(2, "up1", false))
				b.pass(time.Second)
			}
		},
		"not registered": func(b *bench) {
			b.carrier(true)
			b.hear(ar1)
			b.handle(upLink(2, "up1", true))
			b.handle(advertisement(2, ar2, nil))
			b.answering(time.Minute)
		},
		"not served any more": func(b *bench) {
			b.away()
			b.answering(11 * time.Minute)
			b.handle(upLink(2, "up1", true))
			b.handle(advertisement(2, ar2, nil))
			b.answering(time.Minute)
		},
		"at home": func(b *bench) {
			b.carrier(true)
			b.hear(atHome)
			b.acknowledge()
			b.handle(upLink(2, "up1", true))
			b.handle(advertisement(2, ar2, nil))
			b.pass(time.Minute)
		},
		"the other link is home": func(b *bench) {
			b.away()
			b.handle(upLink(2, "up1", true))
			b.handle(advertisement(2, atHome, nil))
			b.pass(time.Minute)
		},
		"no router": func(b *bench) {
			b.away()
			b.handle(upLink(2, "up1", true))
			b.handle(advertisement(2, ar2, func(ra *nd.RouterAdvertisement) { ra.RouterLifetime = 0 }))
			b.pass(time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			ride(b)
			for p := range b.kernel.addresses {
				if p.link == 2 {
					t.Errorf("addresses %v", b.kernel.addresses)
				}
			}
			if s := only[role.Send](b.all); slices.ContainsFunc(s, func(s role.Send) bool { return s.Link == 2 }) {
				t.Error("updates by the worse link")
			}
		})
	}
}

// Make before break from a standby address is as from none: the update leaves when
// the better link has been good for the hysteresis, and the link that was left gets
// a standby address in its turn.
//
// Covers: M8, B9.
func TestStandbyAndBack(t *testing.T) {
	b := newBench(t, nil)
	b.standing(nil)
	b.carrier(false)
	b.acknowledge()
	b.carrier(true)
	b.hear(ar1)
	b.pass(DefaultHysteresis)
	b.source(careOf1)
	b.undisturbed()
	b.acknowledge()
	b.pass(standbyAfter)
	as, _ := b.kernelState()
	if want := []string{"2001:db8:10::100/128 dev 0", careOf1.String() + "/64 dev 1", careOf2.String() + "/64 dev 2"}; !slices.Equal(as, want) {
		t.Errorf("addresses %v", as)
	}
	if n := b.node.stats.UpdatesSent; n != 3 {
		t.Errorf("%d updates for three moves", n)
	}
}
