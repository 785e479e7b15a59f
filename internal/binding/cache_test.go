package binding

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

var start = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func home(i int) netip.Addr {
	a := netip.MustParseAddr("2001:db8:1::").As16()
	a[12], a[13], a[14], a[15] = byte(i>>24), byte(i>>16), byte(i>>8), byte(i)
	return netip.AddrFrom16(a)
}

func TestCacheEntries(t *testing.T) {
	c := NewCache(2)
	e, err := c.Add(home(1))
	if err != nil || e.Home != home(1) || c.Get(home(1)) != e {
		t.Fatalf("Add: %v, %v", e, err)
	}
	if again, err := c.Add(home(1)); again != e || err != nil {
		t.Errorf("Add of an existing home address: another entry, %v", err)
	}
	if e.CareOf().IsValid() {
		t.Errorf("an entry without paths has care-of address %v", e.CareOf())
	}
	// RFC 5648 §4.1: several care-of addresses for one home address.
	first, second := netip.MustParseAddr("2001:db8:a::1"), netip.MustParseAddr("2001:db8:b::1")
	e.Paths = []overlay.Path{{BID: 1, Remote: first}, {BID: 2, Remote: second}}
	if e.CareOf() != first || !e.HasCareOf(second) || e.HasCareOf(home(1)) {
		t.Errorf("care-of addresses of %v are wrong", e.Paths)
	}
	if _, err := c.Add(home(2)); err != nil {
		t.Fatal(err)
	}
	// RFC 6275 §9.5.2: insufficient resources.
	if _, err := c.Add(home(3)); !errors.Is(err, ErrFull) {
		t.Errorf("third entry of two: %v, want ErrFull", err)
	}
	c.SetLimit(1)
	if c.Len() != 2 {
		t.Errorf("a lower limit evicted entries")
	}
	c.Remove(home(2))
	c.Remove(home(2))
	if c.Len() != 1 || c.Get(home(2)) != nil {
		t.Errorf("entry is still there after Remove")
	}
}

func TestCacheSorted(t *testing.T) {
	c := NewCache(0)
	for _, i := range []int{5, 1, 4, 2, 3} {
		c.Add(home(i))
	}
	var got []netip.Addr
	for _, e := range c.Sorted() {
		got = append(got, e.Home)
	}
	if want := []netip.Addr{home(1), home(2), home(3), home(4), home(5)}; !slices.Equal(got, want) {
		t.Errorf("Sorted: %v", got)
	}
}

// The heap against the simplest model: a map searched from end to end.
func TestDeadlinesAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c, model, now := NewCache(0), map[netip.Addr]time.Time{}, start
	for step := range 20000 {
		h := home(r.IntN(200))
		switch r.IntN(4) {
		case 0, 1:
			e, _ := c.Add(h)
			at := now.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
			c.Wake(e, at)
			model[h] = at
		case 2:
			if e := c.Get(h); e != nil && r.IntN(2) == 0 {
				c.Wake(e, time.Time{})
			} else {
				c.Remove(h)
			}
			delete(model, h)
		case 3:
			now = now.Add(time.Duration(r.IntN(20)) * time.Millisecond)
			var last time.Time
			for {
				next := c.Next()
				e := c.Due(now)
				if e == nil {
					break
				}
				at, ok := model[e.Home]
				if !ok || at.After(now) || !at.Equal(next) || at.Before(last) {
					t.Fatalf("step %d: %v is due at %v, the model says %v, last was %v", step, e.Home, next, at, last)
				}
				last = at
				delete(model, e.Home)
			}
		}
		var want time.Time
		for _, at := range model {
			if want.IsZero() || at.Before(want) {
				want = at
			}
		}
		if !c.Next().Equal(want) {
			t.Fatalf("step %d: Next is %v, the model says %v", step, c.Next(), want)
		}
	}
}

// What 100,000 bindings cost in memory: B/entry is the figure to look at.
func BenchmarkCacheMemory(b *testing.B) {
	const entries = 100_000
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		c := NewCache(0)
		for i := range entries {
			e, _ := c.Add(home(i))
			e.Paths = []overlay.Path{{Local: home(0), Remote: home(i)}}
			e.Prefixes = []netip.Prefix{netip.PrefixFrom(home(i), 64)}
			c.Wake(e, start.Add(time.Duration(i)*time.Millisecond))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/entries, "B/entry")
		runtime.KeepAlive(c)
	}
}

// A refresh among 100,000: find the entry and move its deadline.
func BenchmarkCacheRefresh(b *testing.B) {
	const entries = 100_000
	c := NewCache(0)
	for i := range entries {
		e, _ := c.Add(home(i))
		c.Wake(e, start.Add(time.Duration(i)*time.Millisecond))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		c.Wake(c.Get(home(i*7919%entries)), start.Add(time.Duration(i+entries)*time.Millisecond))
	}
}

func TestStateString(t *testing.T) {
	for s, want := range map[State]string{Probing: "probing", Active: "active", Deleted: "deleted", 0: "unknown"} {
		if s.String() != want {
			t.Errorf("State(%d) is %q, want %q", s, s, want)
		}
	}
}
