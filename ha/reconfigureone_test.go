package ha

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"

	"roam6/internal/role"
	"roam6/mip6"
)

// A reload that looks only at the mobiles that have changed does what one does that looks
// at all of them.
func TestReconfigureChangedAlone(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		config := func() Config {
			c := manyMobiles(12)
			c.NoPrefixAdvertisements = true // would be sent by an agent that takes its prefix for a new one
			for i := range c.Mobiles {
				m := &c.Mobiles[i]
				m.Name = fmt.Sprint("m", i)
				m.Delegate = seed%3 == 0 && i%2 == 0
				switch r.IntN(12) {
				case 0:
					m.Prefixes = append(m.Prefixes, netip.PrefixFrom(networkA.Addr(), 50+i))
				case 1:
					m.Prefixes = nil
				case 2:
					m.Disabled = true
				case 3:
					m.Router, m.Delegate, m.Prefixes = false, false, nil
				case 4:
					m.Name += "x"
				case 5:
					m.SA = association(careOf1)
				case 6: // two of them exchange their networks
					other := &c.Mobiles[(i+1)%len(c.Mobiles)]
					m.Prefixes, other.Prefixes = other.Prefixes, m.Prefixes
				case 7: // or their names
					other := &c.Mobiles[(i+1)%len(c.Mobiles)]
					m.Name, other.Name = other.Name, m.Name
				}
				if !m.Router {
					m.Prefixes, m.Delegate = nil, false
				}
			}
			r.Shuffle(len(c.Mobiles), func(i, j int) { c.Mobiles[i], c.Mobiles[j] = c.Mobiles[j], c.Mobiles[i] })
			c.Mobiles = slices.DeleteFunc(c.Mobiles, func(Mobile) bool { return r.IntN(8) == 0 })
			return c
		}
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		c := config()
		changed, all := New(c), New(c)
		both := func(what string, do func(a *Agent) []role.Action) {
			t.Helper()
			if x, y := do(changed), do(all); !reflect.DeepEqual(x, y) {
				t.Fatalf("seed %d, %s:\n%v\nif all are looked at:\n%v", seed, what, kinds(x), kinds(y))
			}
		}
		handle := func(e role.Event) {
			now = now.Add(time.Second)
			both(fmt.Sprintf("%T", e), func(a *Agent) []role.Action { return a.Handle(now, e) })
		}
		handle(role.LinkChanged{Link: role.Link{Index: homeIndex, Name: "eth1", Up: true}})
		for round := range 6 {
			for i, m := range manyMobiles(12).Mobiles {
				u := at(m.HomeAddress, careOfNumber(i), mip6.Sequence(round+1))
				u.lifetime = 10 * time.Minute
				if r.IntN(3) == 0 {
					u.flags = flagsNode
				}
				switch r.IntN(4) {
				case 0:
					u.options = []mip6.Option{mip6.MobileNetworkPrefix{Prefix: m.Prefixes[0]}}
				case 1: // inside another one's network
					other := manyMobiles(12).Mobiles[r.IntN(12)].Prefixes[0].Addr().As16()
					other[15] = byte(1 + i)
					u.source = netip.AddrFrom16(other)
				case 2:
					continue
				}
				handle(role.MessageReceived{Packet: u.packet(t)})
			}
			if seed%3 == 0 {
				home := manyMobiles(12).Mobiles[r.IntN(12)].HomeAddress
				handle(role.PrefixesDelegated{Home: home, Until: now.Add(time.Minute), Prefixes: []netip.Prefix{netip.PrefixFrom(networkB.Addr(), 52+r.IntN(8))}})
			}
			now, c = now.Add(time.Second), config()
			all.prefixes = []HomePrefix{{Prefix: homePrefix, ValidUntil: now.Add(time.Hour)}} // so that it gets another one
			both("reload", func(a *Agent) []role.Action { return a.Reconfigure(now, c) })
			if len(changed.homes) != len(c.Mobiles) || changed.Stats() != all.Stats() {
				t.Fatalf("seed %d: %d home addresses of %d mobiles, %+v and %+v", seed, len(changed.homes), len(c.Mobiles), changed.Stats(), all.Stats())
			}
		}
	}
}

// Mobiles that stay as they are have the keys of the new configuration, and nothing of the
// old one stays in memory because of them.
func TestReconfigureLetsGo(t *testing.T) {
	c := testConfig()
	a := New(c)
	old := weak.Make(c.Mobiles[0].SA)
	c = testConfig()
	c.Mobiles[0].SA.Key = association(homeB).Key
	a.Reconfigure(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), c)
	if sa := a.homes[homeA].SA; sa != c.Mobiles[0].SA {
		t.Errorf("the key of %d", sa.SPI)
	}
	runtime.GC()
	if old.Value() != nil {
		t.Error("the old key is still in memory")
	}
	runtime.KeepAlive(a)
}

// BenchmarkReconfigure is a reload with one mobile more, or less, among 100,000 that are
// registered: ratio is to making an agent of that configuration, without a binding.
func BenchmarkReconfigure(b *testing.B) {
	const mobiles = 100_000
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	more := manyMobiles(mobiles + 1)
	less := more
	less.Mobiles = more.Mobiles[:mobiles]
	a := New(less)
	a.Handle(now, role.LinkChanged{Link: role.Link{Index: homeIndex, Name: "eth1", Up: true}})
	register(b, a, now, less.Mobiles)
	var anew time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		start := time.Now()
		New(more)
		anew += time.Since(start)
		b.StartTimer()
		c := more
		if i%2 == 1 {
			c = less
		}
		a.Reconfigure(now, c)
	}
	if n := a.Stats().Bindings; n != mobiles {
		b.Fatalf("%d bindings", n)
	}
	b.ReportMetric(b.Elapsed().Seconds()/anew.Seconds(), "ratio")
}
