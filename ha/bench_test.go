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

// What strangers can send, 100,000 messages a round with another source address
// each, all in one second: messages/s is what the agent gets through, B/heap what
// its memory has grown by after all rounds, sent/s what it was made to send.
func BenchmarkFlood(b *testing.B) {
	const messages = 100_000
	stranger := func(i int) netip.Addr { return careOfNumber(i) }
	forged := at(homeA, careOf1, 1)
	forged.sa = &mip6.SecurityAssociation{SPI: association(homeA).SPI}
	bogus := forged.packet(b)
	for _, flood := range []struct {
		name  string
		event func(i int) role.Event
	}{
		{"discovery", func(i int) role.Event {
			p := discoveryRequest(i%2 == 0)
			p.Source = stranger(i)
			return role.ICMPReceived{Packet: p}
		}},
		{"discovery-everywhere", func(i int) role.Event {
			p := discoveryRequest(i%2 == 0)
			p.Source = netip.AddrFrom16([16]byte{0x20, 3, 5: byte(i >> 16), 6: byte(i >> 8), 7: byte(i), 15: 1})
			return role.ICMPReceived{Packet: p}
		}},
		{"update-forged", func(i int) role.Event {
			p := bogus
			p.Source = stranger(i)
			return role.MessageReceived{Packet: p}
		}},
		{"update-unknown", func(i int) role.Event {
			p := bogus
			p.HomeAddress = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, 8: 9, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
			return role.MessageReceived{Packet: p}
		}},
		{"solicitation-unbound", func(i int) role.Event {
			return role.ICMPReceived{Packet: solicitation(homeB, stranger(i), uint16(i))}
		}},
		{"solicitation-spoofed", func(i int) role.Event {
			return role.ICMPReceived{Packet: solicitation(homeN, careOf1, uint16(i))}
		}},
	} {
		b.Run(flood.name, func(b *testing.B) {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			c := testConfig()
			c.DAD, c.Random = false, testRandom(1)
			a := New(c)
			a.Handle(now, role.LinkChanged{Link: role.Link{Index: homeIndex, Name: "eth1", Up: true}})
			for i := range 2 * maxHomeAgents { // a full list
				addr := careOfNumber(i)
				a.Handle(now, role.RouterHeard{Link: homeIndex, Router: netip.AddrFrom16([16]byte{0xfe, 0x80, 15: byte(i)}), RA: homeAgentRA(addr)})
			}
			r := request{home: homeN, source: careOf1, sequence: 1, lifetime: 10 * time.Minute, flags: flagsNode}
			a.Handle(now, role.MessageReceived{Packet: r.packet(b)})
			events := make([]role.Event, messages)
			for i := range events {
				events[i] = flood.event(i)
			}
			sent, handled := 0, 0
			b.ReportAllocs()
			grown := heapAfter(func() {
				for b.Loop() {
					for _, e := range events {
						now = now.Add(time.Second / messages)
						for _, action := range a.Handle(now, e) {
							switch action.(type) {
							case role.Send, role.SendICMP:
								sent++
							}
						}
					}
					handled += messages
				}
			})
			b.ReportMetric(float64(handled)/b.Elapsed().Seconds(), "messages/s")
			b.ReportMetric(float64(grown), "B/heap")
			b.ReportMetric(float64(sent)/float64(handled)*messages, "sent/s")
			runtime.KeepAlive(a)
			runtime.KeepAlive(events)
		})
	}
}
