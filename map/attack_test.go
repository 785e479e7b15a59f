package anchor

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// heapAfter is how much the heap has grown after do was called, garbage excluded.
func heapAfter(do func()) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	do()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// lcoaNumber is an on-link care-of address of a served prefix, another one for every
// number.
func lcoaNumber(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0xf1, 9: 1, 12: byte(i >> 24), 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
}

// Strangers: SPIs that are nobody's, SPIs that are somebody's with false keys, no
// authentication at all, for as many addresses and from as many. Each is counted,
// answers and log lines are limited, no state is left; and the visitor whose SPI was
// used is served all the while.
// Covers: P9, Attack: BU spoofing, Attack: cache exhaustion.
func TestStrangers(t *testing.T) {
	w := newWorld(t, testConfig())
	const messages = 3000
	packets := make([]mip6.Packet, 0, 3*messages)
	for i := range messages {
		unknown := local(100+i, rcoaNumber(i), lcoaNumber(i), mip6.Sequence(i))
		forged := local(alice, rcoaNumber(i), lcoaNumber(i), mip6.Sequence(i))
		forged.forged = true
		unsealed := local(alice, rcoaNumber(i), lcoaNumber(i), mip6.Sequence(i))
		unsealed.unsealed = true
		packets = append(packets, unknown.packet(t), forged.packet(t), unsealed.packet(t))
	}
	dropped, answered := 0, 0
	grown := heapAfter(func() {
		for _, p := range packets {
			for _, action := range w.deliver(p) {
				switch action.(type) {
				case role.Dropped:
					dropped++
				case role.Send:
					answered++
				}
			}
		}
	})
	if dropped != len(packets) || answered != failures.Burst || len(w.logs) != complaints.Burst+failures.Burst {
		t.Errorf("%d counted, %d answered, %d log lines", dropped, answered, len(w.logs))
	}
	if grown > 64<<10 || !w.anchor.Next().IsZero() || len(w.anchor.held) != 0 || w.probes != 0 {
		t.Errorf("the heap grew by %d octets; %d addresses, %d probes", grown, len(w.anchor.held), w.probes)
	}
	w.registered(local(alice, rcoaA, lcoa1, 1))
}

// False authenticators for many visitors: the answers to all together are limited.
// Covers: Attack: BU spoofing.
func TestForgedForMany(t *testing.T) {
	c := manyVisitors(200)
	w := newWorld(t, c)
	answered := 0
	for i := range c.Visitors {
		r := local(i, rcoaNumber(i), lcoa1, 1)
		r.forged = true
		answered += len(acks(w.send(r)))
	}
	if answered != allFailures.Burst {
		t.Errorf("%d answers to 200 forged updates, want %d", answered, allFailures.Burst)
	}
}

// A visitor turns on the anchor: with its own key, ever new addresses, moves and
// refused updates. It has four bindings at most, little is remembered of the rest, what
// it gets as refusals and log lines is limited, and the other visitor does not notice.
// Covers: P9, Attack: cache exhaustion.
func TestGreedyVisitor(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(local(bob, rcoaB, lcoa2, 1))
	const messages = 5000
	packets := make([]mip6.Packet, messages)
	for i := range packets {
		packets[i] = stamped(alice, rcoaNumber(i), lcoaNumber(i), mip6.Sequence(i), w.now.Add(time.Duration(i)*time.Microsecond)).packet(t)
	}
	answered := 0
	grown := heapAfter(func() {
		for _, p := range packets {
			answered += len(acks(w.deliver(p)))
		}
	})
	visitor := w.anchor.visitors[association(alice).SPI]
	if s := w.anchor.Stats(); s.Probing != maxBound || len(visitor.addresses) != maxRemembered || w.probes != maxBound+1 {
		t.Errorf("%+v, %d remembered, %d probes", s, len(visitor.addresses), w.probes)
	}
	if answered != refusals.Burst || len(w.logs) > refusals.Burst+2 || grown > 64<<10 {
		t.Errorf("%d answers, %d log lines, the heap grew by %d octets", answered, len(w.logs), grown)
	}
	w.run(time.Second)
	w.logs = nil
	for i := range 1000 { // moves
		w.send(stamped(alice, rcoaNumber(0), lcoaNumber(i), 1, w.now.Add(time.Duration(i)*time.Microsecond)))
	}
	if n := len(w.logs); n == 0 || n > events.Burst {
		t.Errorf("%d log lines for 1000 moves", n)
	}
	w.registered(local(bob, rcoaB, lcoa1, 2))
	w.refused(local(bob, rcoaNumber(0), lcoa1, 1), mip6.StatusDuplicateAddress)
}

// Recorded updates, played again in another order, in numbers, after a move, after the
// end, for another address and by another visitor, change nothing; refusals are
// limited. What was played in advance with a false key does not spoil the true one.
// Covers: P9, Attack: replay.
func TestReplay(t *testing.T) {
	w := newWorld(t, testConfig())
	first, second := stamped(alice, rcoaA, lcoa1, 1, w.now), stamped(alice, rcoaA, lcoa2, 2, w.now.Add(time.Millisecond))
	w.registered(first)
	early := second
	early.forged = true
	w.send(early)
	w.registered(second)
	recorded := []mip6.Packet{first.packet(t), second.packet(t)}
	for _, p := range []mip6.Packet{first.packet(t), second.packet(t)} {
		p.HomeAddress = rcoaB // the checksum is the attacker's to mend
		recorded = append(recorded, p)
		p.HomeAddress, p.Source = rcoaA, lcoa1
		recorded = append(recorded, p)
	}
	answered := 0
	for i := range 6000 {
		answered += len(acks(w.deliver(recorded[i%len(recorded)])))
		if got := w.tunnels[rcoaA].Paths[0].Remote; len(w.tunnels) != 1 || got != lcoa2 {
			t.Fatalf("%v", w.tunnels)
		}
	}
	if answered > refusals.Burst+failures.Burst {
		t.Errorf("%d answers", answered)
	}
	end := stamped(alice, rcoaA, lcoa2, 3, w.now.Add(2*time.Millisecond))
	end.lifetime = 0
	w.now = w.now.Add(time.Second)
	w.registered(end)
	for range 2 {
		for _, p := range recorded {
			w.deliver(p)
		}
		if len(w.tunnels) != 0 || w.anchor.Stats().Probing != 0 {
			t.Fatalf("back again: %v", w.tunnels)
		}
		w.run(time.Hour)
	}
}

// With Insecure strangers can fill the table, as the documentation says, but no
// further, and not by memory of what is over.
// Covers: Attack: cache exhaustion.
func TestInsecureFlood(t *testing.T) {
	c := testConfig()
	c.Insecure, c.DAD, c.MaxBindings = true, false, 100
	c.Random = func(b []byte) { b[0] = 1 }
	w := newWorld(t, c)
	answered := 0
	for i := range 3000 {
		r := local(0, rcoaNumber(i), lcoaNumber(i), 1)
		r.unsealed = true
		answered += len(acks(w.send(r)))
	}
	if s := w.anchor.Stats(); s.Bindings != 100 || answered != 100+refusals.Burst || len(w.anchor.anonymous.addresses) != 0 {
		t.Errorf("%+v, %d answers", s, answered)
	}
	if len(w.logs) > events.Burst+1 {
		t.Errorf("%d log lines", len(w.logs))
	}
	w.run(time.Hour)
	if len(w.anchor.held)+len(w.tunnels) != 0 {
		t.Errorf("left behind %v", w.tunnels)
	}
	if c.MaxBindings = 0; c.withDefaults().MaxBindings != insecureBindings+2*maxBound {
		t.Errorf("no limit: %d", c.withDefaults().MaxBindings)
	}
}
