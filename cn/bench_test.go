package cn

import (
	"runtime"
	"testing"
	"time"

	"roam6/internal/role"
)

// heap is what is in use after a collection.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// benchmarkFlood gives a correspondent prepared events, over and over, with a
// pause between them, and reports what that leaves in memory.
func benchmarkFlood(b *testing.B, w *world, events []role.Event, pause time.Duration) {
	b.Helper()
	before := heap()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		w.node.Handle(w.now, events[i%len(events)])
		w.now = w.now.Add(pause)
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(int64(heap())-int64(before)), "B-left")
	runtime.KeepAlive(w)
	runtime.KeepAlive(events)
}

// BenchmarkFlood is what strangers can send. In a slow flood every message passes
// the limits and is worked on: the price of one; in a fast one, at 10^6 a second,
// most are turned away.
func BenchmarkFlood(b *testing.B) {
	for _, speed := range []struct {
		name  string
		pause time.Duration
	}{{"Slow", 20 * time.Millisecond}, {"Fast", time.Microsecond}} {
		names := floods(newWorld(b, testConfig()))
		for i, f := range names {
			b.Run(f.name+speed.name, func(b *testing.B) {
				w := newWorld(b, testConfig())
				f := floods(w)[i]
				events := make([]role.Event, 4096)
				for i := range events {
					events[i] = f.make(i)
				}
				if speed.pause > time.Millisecond {
					w.node.nonces.keepForever()
				}
				benchmarkFlood(b, w, events, speed.pause)
				if s := w.node.Stats(); s.Registrations != 0 || len(w.node.bindings.entries) != 0 {
					b.Fatalf("%+v", s)
				}
			})
		}
	}
}

// keepForever makes the newest nonce good for a century, so that the messages made
// with it stay what they are.
func (n *nonces) keepForever() {
	n.slots[n.newest%nonceSlots].since = n.slots[n.newest%nonceSlots].since.Add(100 * 365 * 24 * time.Hour)
}

// BenchmarkFloodNewBindings is who has as many addresses as they like, and tests
// and registers all of them: the memory is that of the quota, and what is beyond
// it is refused.
func BenchmarkFloodNewBindings(b *testing.B) {
	w := newWorld(b, testConfig())
	events := make([]role.Event, 8192)
	for i := range events {
		m := w.mobile(scattered(i), scattered(i+1<<20)).test()
		w.now = w.now.Add(5 * time.Millisecond)
		events[i] = role.MessageReceived{Packet: m.registers(420 * time.Second).packet()}
	}
	w.node.nonces.keepForever()
	for i := range events { // the nonces of all
		w.node.nonces.slots[i%nonceSlots].since = w.node.nonces.slots[w.node.nonces.newest%nonceSlots].since
	}
	benchmarkFlood(b, w, events, 11*time.Millisecond)
	if s := w.node.Stats(); s.Bindings+s.Deleted > defaultMaxBindings {
		b.Fatalf("%+v", s)
	}
}

// What a binding holds in memory.
func BenchmarkMemory(b *testing.B) {
	const bindings = 10_000
	for b.Loop() {
		c := testConfig()
		c.MaxBindings = bindings
		w := newWorld(b, c)
		before := heap()
		for i := range bindings {
			m := w.mobile(scattered(i), scattered(i+1<<20)).test()
			w.now = w.now.Add(2 * time.Millisecond)
			w.node.Handle(w.now, role.MessageReceived{Packet: m.registers(420 * time.Second).packet()})
		}
		after := heap()
		if n := len(w.node.bindings.entries); n != bindings {
			b.Fatalf("%d bindings", n)
		}
		b.ReportMetric(float64(after-before)/bindings, "B/binding")
		runtime.KeepAlive(w)
	}
}

// BenchmarkUpdate is a mobile that is bound and renews its binding: verify, judge,
// answer.
func BenchmarkUpdate(b *testing.B) {
	w := newWorld(b, testConfig())
	m := w.mobile(homeA, careOf1).test()
	w.node.nonces.keepForever()
	r := m.registers(420 * time.Second)
	r.sequence = 0
	var events []role.Event
	for range 1 << 12 {
		r.sequence += 16
		r.source = careOf1
		r.sealed = careOf1
		events = append(events, role.MessageReceived{Packet: r.packet()})
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		w.node.Handle(w.now, events[i%len(events)])
		w.now = w.now.Add(20 * time.Millisecond)
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "BU/s")
	if s := w.node.Stats(); s.Refreshes < uint64(b.N)-1 {
		b.Fatalf("%+v", s)
	}
}
