package cn

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// scattered is an address, of another link for every number.
func scattered(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 3, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i), 15: 1})
}

// flood is something a stranger can send without having received anything: its
// i-th event, from scattered sources.
type flood struct {
	name string
	make func(i int) role.Event
}

func floods(w *world) []flood {
	known := w.mobile(homeB, careOf3).test() // a stranger can learn indices
	test := func(i int, m mip6.Message) role.Event {
		return role.MessageReceived{Packet: mip6.Packet{Source: scattered(i), Destination: own, Message: m}}
	}
	forged := func(i int, indices mip6.NonceIndices) role.Event {
		m := w.mobile(scattered(i), scattered(i+1<<20))
		m.indices = indices
		return role.MessageReceived{Packet: m.registers(time.Minute).packet()}
	}
	return []flood{
		{"HoTI", func(i int) role.Event { return test(i, mip6.HomeTestInit{}) }},
		{"CoTI", func(i int) role.Event { return test(i, mip6.CareOfTestInit{}) }},
		{"BUUnknownNonces", func(i int) role.Event {
			return forged(i, mip6.NonceIndices{Home: known.indices.Home + 9999, CareOf: known.indices.CareOf + 9999})
		}},
		{"BUBogus", func(i int) role.Event { return forged(i, known.indices) }},
		{"HAO", func(i int) role.Event {
			return role.UnknownHomeAddress{Source: scattered(i), Destination: own, Home: homeA}
		}},
	}
}

// 10^5 messages of each kind leave nothing behind, and are answered at a limited
// rate; a mobile that is bound stays so, and others get through when the flood
// leaves room (RFC 6275 §15.4.5).
//
// Covers: C4, Attack: test floods, Attack: cache exhaustion.
func TestFlood(t *testing.T) {
	const messages = 100_000
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1).test()
	m.registers(420 * time.Second).accepted()
	before, stats := w.node.Bindings(), w.node.Stats()
	for _, flood := range floods(w) {
		begin, answers := w.now, 0
		var heap, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&heap)
		for i := range messages {
			answers += len(sent(w.node.Handle(w.now, flood.make(i))))
			w.now = w.now.Add(10 * time.Microsecond)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		took := w.now.Sub(begin)
		// At most 1000 at once and 1000 a second, of the tests; less of the rest.
		if limit := allTests.Burst + int(took/allTests.Every) + 1; answers > limit {
			t.Errorf("%s: %d answers in %v, want at most %d", flood.name, answers, took, limit)
		}
		if grown := int64(after.HeapAlloc) - int64(heap.HeapAlloc); grown > 64<<10 {
			t.Errorf("%s: %d octets more on the heap", flood.name, grown)
		}
		if n := len(w.node.bindings.entries); n != 1 {
			t.Errorf("%s: %d entries", flood.name, n)
		}
	}
	if got := w.node.Bindings(); len(got) != 1 || got[0] != before[0] {
		t.Errorf("bindings %+v, before %+v", got, before)
	}
	if s := w.node.Stats(); s.Registrations != stats.Registrations || s.Bindings != 1 || s.Deleted != 0 {
		t.Errorf("%+v", s)
	}
	w.run(2 * time.Second) // and all is as before
	m.test().registers(420 * time.Second).accepted()
}

// One sender that floods does not keep others from being answered.
//
// Covers: Attack: test floods.
func TestFloodOfOne(t *testing.T) {
	w := newWorld(t, testConfig())
	answers := 0
	for i := range 100_000 {
		source := careOf2.As16()
		source[15], source[14], source[13] = byte(i), byte(i>>8), byte(i>>16) // all of one link
		answers += len(sent(w.node.Handle(w.now, role.MessageReceived{Packet: mip6.Packet{
			Source: netip.AddrFrom16(source), Destination: own, Message: mip6.HomeTestInit{}}})))
	}
	if answers != tests.Burst {
		t.Errorf("%d answers, want %d", answers, tests.Burst)
	}
	m := w.mobile(homeA, careOf1).test()
	// The same for updates: all crypto that one link gets is its share.
	flooder := w.mobile(homeB, careOf2)
	flooder.indices = m.indices
	p := flooder.registers(time.Minute).packet()
	verified := 0
	for range 100_000 {
		if kinds(w.node.Handle(w.now, role.MessageReceived{Packet: p}))[0] == "drop bad_authenticator" {
			verified++
		}
	}
	if verified != updates.Burst {
		t.Errorf("%d authenticators verified, want %d", verified, updates.Burst)
	}
	m.registers(time.Minute).accepted()
}

// Answers to updates with nonces that are too old can be caused by anybody, and
// sent to any address: they are limited (RFC 6275 §9.5.4 demands them).
//
// Covers: C7, Attack: reflection.
func TestRefusalLimit(t *testing.T) {
	w := newWorld(t, testConfig())
	m := w.mobile(homeA, careOf1)
	p := m.registers(time.Minute).packet()
	answers := 0
	for range 1000 {
		answers += len(sent(w.receive(p)))
	}
	if answers != refusals.Burst {
		t.Errorf("%d answers to one, want %d", answers, refusals.Burst)
	}
	// A recorded update, sent again.
	w.run(time.Minute)
	p = m.test().registers(time.Minute).packet()
	w.receive(p)
	answers = 0
	for range 1000 {
		answers += len(sent(w.receive(p)))
	}
	if answers != refusals.Burst {
		t.Errorf("%d answers to a replay, want %d", answers, refusals.Burst)
	}
}
