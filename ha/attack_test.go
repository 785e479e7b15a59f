package ha

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

// Updates for every address of the home prefix, with keys that are nobody's or
// another mobile's: silence, a count for each, no state.
// Covers: Attack: BU spoofing.
func TestSpoofedUpdates(t *testing.T) {
	w := newWorld(t, testConfig())
	counted := 0
	forge := func(home netip.Addr, sa *mip6.SecurityAssociation) {
		r := at(home, careOf1, 1)
		r.sa = sa
		for _, action := range w.send(r) {
			switch action.(type) {
			case role.Dropped:
				counted++
			case role.Log:
			default:
				t.Errorf("%v: %T", home, action)
			}
		}
	}
	grown := heapAfter(func() {
		for i := range 20_000 {
			home := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, 12: 9, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
			forge(home, association(home))
		}
		for range 1000 {
			forge(homeA, association(homeB)) // an association is good for one mobile only
		}
	})
	if counted != 21_000 || len(w.agent.Bindings()) != 0 || !w.agent.Next().IsZero() || len(w.logs) > complaints.Burst {
		t.Errorf("%d counted, %d log lines, %+v", counted, len(w.logs), w.agent.Bindings())
	}
	if grown > 64<<10 {
		t.Errorf("the heap grew by %d octets", grown)
	}
}

// What nobody authenticated does not touch the sequence number or the timestamp,
// so that the next genuine update is fresh; and one recorded for a home address
// is not good for another of the same mobile.
// Covers: Attack: replay, Attack: replay.
func TestSequencePrePlay(t *testing.T) {
	w := newWorld(t, renumbering())
	w.registered(at(homeA, careOf1, 10))
	for _, sequence := range []mip6.Sequence{11, 12, 1000, 32777} {
		r := at(homeA, careOf2, sequence)
		r.timestamp = w.now.Add(5 * time.Second)
		r.sa = &mip6.SecurityAssociation{SPI: association(homeA).SPI}
		w.send(r)
	}
	w.registered(at(homeA, careOf1, 11))
	recorded := at(homeA, careOf2, 12).packet(t)
	recorded.HomeAddress = newA // the checksum is the attacker's to mend
	wantKinds(t, w.handle(role.MessageReceived{Packet: recorded}), "drop bad_authenticator", "ack 146 to 2001:db8:f2::1 route 2001:db8:2::a")
	if w.agent.Serves(newA) {
		t.Errorf("bound by a recorded update")
	}
	w.registered(at(homeA, careOf1, 12))
	// An authentic update that is refused for what it asks cannot be played later.
	r := at(homeA, careOf2, 13)
	r.options = prefixOptions("2001:db8:b::/48")
	w.send(r)
	if ba := onlyAck(t, w.send(at(homeA, careOf2, 13))); ba.Status != mip6.StatusSequenceOutOfWindow {
		t.Errorf("%v", ba.Status)
	}
}

// Registrations beyond the limit are refused, and none that exists goes for them
// (RFC 6275 §10.3.1); addresses that are not configured cost nothing at all.
// Covers: H6, Attack: cache exhaustion.
func TestCacheExhaustion(t *testing.T) {
	c := manyMobiles(50)
	c.MaxBindings, c.DAD = 10, true
	w := newWorld(t, c)
	for i, m := range c.Mobiles {
		r := at(m.HomeAddress, careOfNumber(i), 1)
		r.sa = m.SA
		w.send(r)
	}
	w.run(time.Second)
	for i := range 20_000 {
		home := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, 12: 9, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
		w.send(at(home, careOf1, 1))
	}
	if n := w.agent.bindings.Len(); n != 10 || len(w.tunnels) != 10 || w.probes != 10 {
		t.Errorf("%d entries, %d tunnels, %d probes", n, len(w.tunnels), w.probes)
	}
	for i, m := range c.Mobiles {
		if _, ok := w.tunnels[m.HomeAddress]; ok != (i < 10) {
			t.Errorf("mobile %d is bound: %t", i, ok)
		}
		r := at(m.HomeAddress, careOfNumber(1000+i), 2)
		r.sa = m.SA
		ba := onlyAck(t, w.send(r))
		if want := map[bool]mip6.Status{true: 0, false: mip6.StatusInsufficientResources}[i < 10]; ba.Status != want {
			t.Errorf("mobile %d: %v, want %v", i, ba.Status, want)
		}
	}
}

// An authentic mobile router reaches for what is not its own: a network of
// another, bound or not, a part of it, one around it, the home link, everything.
// Covers: N2, N7, Attack: prefix hijack.
func TestPrefixHijack(t *testing.T) {
	for _, victimBound := range []bool{false, true} {
		for _, reach := range []string{
			"2001:db8:b::/48", "2001:db8:b:7::/64", "2001:db8:b:7::1/128", "2001:db8::/32", "2001:db8:a::/47",
			"2001:db8:1::/64", "2001:db8:1::b/128", "2001:db8:1::1/128", "2001:db8:f2::1/128", "::/0", "ff00::/8", "fe80::/10", "2000::/3",
		} {
			w := newWorld(t, testConfig())
			if victimBound {
				w.registered(at(homeB, careOf2, 1))
			}
			r := at(homeA, careOf1, 1)
			r.options = prefixOptions("2001:db8:a:1::/64", reach)
			ba := onlyAck(t, append(w.send(r), w.run(time.Second)...))
			if s := ba.Status; s != mip6.StatusNotAuthorizedForPrefix && s != mip6.StatusInvalidPrefix {
				t.Errorf("%s: %v", reach, s)
			}
			if w.agent.Serves(homeA) || len(w.agent.networks.owner) != len(w.tunnels) {
				t.Errorf("%s: forwarded are %v", reach, w.agent.networks.owner)
			}
		}
	}
}
