package anchor

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// manyVisitors is a configuration with visitors 0 to n-1.
func manyVisitors(n int) Config {
	c := Config{Link: "eth1", Address: anchorAddr, Prefix: prefix, MaxLifetime: 10 * time.Minute, Visitors: make([]Visitor, n)}
	for i := range c.Visitors {
		c.Visitors[i] = Visitor{Name: strconv.Itoa(i), SA: association(i)}
	}
	return c
}

// bound is an anchor with a binding of each of many visitors.
func bound(b *testing.B, visitors int, now time.Time) *Anchor {
	b.Helper()
	a := New(manyVisitors(visitors))
	a.Handle(now, role.LinkChanged{Link: role.Link{Index: linkIndex, Name: "eth1", Up: true}})
	for i := range visitors {
		r := local(i, rcoaNumber(i), lcoaNumber(i), 1)
		r.lifetime = 10 * time.Minute
		a.Handle(now, role.MessageReceived{Packet: r.packet(b)})
	}
	if n := a.Stats().Bindings; n != visitors {
		b.Fatalf("%d bindings of %d", n, visitors)
	}
	return a
}

// What an anchor with 100,000 bindings holds in memory, configuration and keys
// included.
func BenchmarkMemory(b *testing.B) {
	const visitors = 100_000
	for b.Loop() {
		var a *Anchor
		grown := heapAfter(func() { a = bound(b, visitors, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) })
		b.ReportMetric(float64(grown)/visitors, "B/binding")
		runtime.KeepAlive(a)
	}
}

// One move among 100,000 bindings: verify, judge, swap the path, seal the answer. The
// messages are made beforehand.
func BenchmarkUpdate(b *testing.B) {
	const visitors = 100_000
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := bound(b, visitors, now)
	packets := make([]mip6.Packet, 0, visitors)
	round := 0
	next := func() {
		packets = packets[:0]
		round++
		for i := range visitors {
			r := local(i, rcoaNumber(i), lcoaNumber(i+round*visitors), mip6.Sequence(1+round))
			r.lifetime = 10 * time.Minute
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
