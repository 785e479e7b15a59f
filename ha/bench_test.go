package ha

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

func manyMobiles(n int) Config {
	c := Config{HomeLink: "eth1", Address: agentAddr, Prefix: homePrefix, MaxLifetime: 10 * time.Minute, Mobiles: make([]Mobile, n)}
	for i := range c.Mobiles {
		home := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 1, 12: byte(i >> 24), 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
		network := netip.AddrFrom16([16]byte{0x20, 2, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		c.Mobiles[i] = Mobile{HomeAddress: home, SA: association(home), Router: true, Prefixes: []netip.Prefix{netip.PrefixFrom(network, 48)}}
	}
	return c
}

// careOfNumber is a care-of address, another one for every number.
func careOfNumber(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 3, 12: byte(i >> 24), 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
}

func register(b *testing.B, a *Agent, now time.Time, mobiles []Mobile) {
	b.Helper()
	for i, m := range mobiles {
		r := at(m.HomeAddress, careOfNumber(i), 1)
		r.lifetime = 10 * time.Minute
		a.Handle(now, role.MessageReceived{Packet: r.packet(b)})
	}
	if n := a.Stats().Bindings; n != len(mobiles) {
		b.Fatalf("%d bindings of %d", n, len(mobiles))
	}
}

// What an agent with 100,000 registered mobile routers holds in memory,
// configuration and keys included.
func BenchmarkMemory(b *testing.B) {
	const mobiles = 100_000
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		c := manyMobiles(mobiles)
		a := New(c)
		a.Handle(now, role.LinkChanged{Link: role.Link{Index: homeIndex, Name: "eth1", Up: true}})
		register(b, a, now, c.Mobiles)
		c.Mobiles = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/mobiles, "B/binding")
		runtime.KeepAlive(a)
	}
}

// One move among 100,000 bindings: verify, judge, swap the path, seal the answer.
// The messages are made beforehand.
func BenchmarkUpdate(b *testing.B) {
	const mobiles = 100_000
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := manyMobiles(mobiles)
	a := New(c)
	a.Handle(now, role.LinkChanged{Link: role.Link{Index: homeIndex, Name: "eth1", Up: true}})
	register(b, a, now, c.Mobiles)
	packets := make([]mip6.Packet, 0, mobiles)
	round := 0
	next := func() {
		packets = packets[:0]
		round++
		for i, m := range c.Mobiles {
			r := at(m.HomeAddress, careOfNumber(i+round*mobiles), mip6.Sequence(1+round))
			r.lifetime, r.options = 10*time.Minute, []mip6.Option{mip6.MobileNetworkPrefix{Prefix: m.Prefixes[0]}}
			packets = append(packets, r.packet(b))
		}
	}
	next()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i == len(packets) {
			b.StopTimer()
			next()
			i = 0
			b.StartTimer()
		}
		now = now.Add(10 * time.Microsecond)
		a.Handle(now, role.MessageReceived{Packet: packets[i]})
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "BU/s")
	if s := a.Stats(); s.Moves != uint64(b.N) {
		b.Fatalf("%d moves of %d", s.Moves, b.N)
	}
}

// A forged update, which is all that a stranger can make the agent do.
func BenchmarkForgedUpdate(b *testing.B) {
	a := New(testConfig())
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a.Handle(now, role.LinkChanged{Link: role.Link{Index: homeIndex, Name: "eth1", Up: true}})
	r := at(homeA, careOf1, 1)
	r.sa = &mip6.SecurityAssociation{SPI: association(homeA).SPI}
	e := role.MessageReceived{Packet: r.packet(b)}
	b.ReportAllocs()
	for b.Loop() {
		a.Handle(now, e)
	}
}
