package binding

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"roam6/mip6"
	"roam6/overlay"
)

// someMemory is one with everything in it.
func someMemory() Memory {
	m := Memory{
		Home: home(1), Visitor: "bus", Mobile: "2001:db8:1::1 train", State: Active,
		Updated: start.Add(2 * time.Minute), Created: start.Add(time.Minute), Expires: start.Add(10 * time.Minute),
		Flags: mip6.UpdateAcknowledge | mip6.UpdateHome | mip6.UpdateMobileRouter, Sequence: 7, Lifetime: mip6.LifetimeFrom(8 * time.Minute),
		Paths:    []overlay.Path{{BID: 3, Local: home(2), Remote: home(3)}, {Local: home(2), Remote: netip.MustParseAddr("::ffff:192.0.2.1"), RemotePort: 4191}},
		Explicit: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:a::/48"), netip.MustParsePrefix("2001:db8:b:8000::/49")},
	}
	m.Fresh.AcceptTimestamp(mip6.TimestampFrom(start), 9)
	m.Fresh.refuse(mip6.TimestampFrom(start.Add(time.Hour)), 10, start, time.Second)
	return m
}

func TestMemoryWire(t *testing.T) {
	deleted := someMemory().Unbound()
	deleted.State, deleted.Created, deleted.Expires = Deleted, start, start.Add(MaxDeleteTime)
	numbered := Memory{Home: home(4), Updated: start}
	numbered.Fresh.AcceptSequence(0)
	for name, m := range map[string]Memory{
		"all there is": someMemory(), "without binding": someMemory().Unbound(), "deleted": deleted, "sequence number zero": numbered,
		"nothing": {Home: home(5), Updated: start},
	} {
		b := m.Append(nil, start)
		// The clock of another process begins elsewhere.
		later := start.Add(time.Hour)
		got, err := ParseMemory(b, later)
		for _, at := range []*time.Time{&m.Updated, &m.Created, &m.Expires} {
			if m.State != 0 || at == &m.Updated {
				*at = at.Add(time.Hour)
			}
		}
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", name, err, got, m)
		}
		for n := range b {
			if m, err := ParseMemory(b[:n], start); !errors.Is(err, ErrMemory) {
				t.Errorf("%s: %d of %d octets are %+v, %v", name, n, len(b), m, err)
			}
		}
		if _, err := ParseMemory(append(b, 0), start); !errors.Is(err, ErrMemory) {
			t.Errorf("%s: one octet more: %v", name, err)
		}
	}
}

// Whatever is in the octets, they are read without a panic and with little memory, and
// what is read is written as it was.
func TestMemoryWireHostile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	whole := someMemory().Append(nil, start)
	read := 0
	for range 100_000 {
		b := append([]byte(nil), whole[:r.IntN(len(whole)+1)]...)
		for range r.IntN(4) {
			if len(b) > 0 {
				b[r.IntN(len(b))] = byte(r.Uint32())
			}
		}
		m, err := ParseMemory(b, start)
		if err != nil {
			continue
		}
		read++
		again, err := ParseMemory(m.Append(nil, start), start)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%x: %+v, written and read %+v, %v", b, m, again, err)
		}
	}
	if read < 100 {
		t.Errorf("only %d were read", read)
	}
}

// What still counts of many records is what all of them leave, in the same order.
func TestLatestMemories(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var records [][]byte
		var want []Memory // as a reader of all takes them in
		for range r.IntN(60) {
			m := someMemory()
			m.Home = home(r.IntN(6))
			m.Visitor = []string{"", "bus", "tram"}[r.IntN(3)]
			switch m.Sequence = mip6.Sequence(r.Uint32()); r.IntN(4) {
			case 0:
				m = m.Unbound()
			case 1:
				m = Memory{Home: m.Home, Visitor: m.Visitor, Mobile: m.Mobile, Updated: start}
			}
			records = append(records, m.Append(nil, start))
			if i := slices.IndexFunc(want, func(o Memory) bool { return o.Key() == m.Key() }); i >= 0 {
				want[i] = m
			} else {
				want = append(want, m)
			}
		}
		want = slices.DeleteFunc(want, Memory.Forgotten)
		latest, err := LatestMemories(records)
		if err != nil {
			t.Fatal(err)
		}
		var got []Memory
		for _, b := range latest {
			m, err := ParseMemory(b, start)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m)
		}
		if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("got\n%+v\nwant\n%+v", got, want)
		}
	}
	whole := someMemory().Append(nil, start)
	for n := range 1 + 16 + 1 + len("bus") {
		if list, err := LatestMemories([][]byte{whole[:n]}); !errors.Is(err, ErrMemory) {
			t.Errorf("%d octets: %d, %v", n, len(list), err)
		}
	}
}

// A binding lasts as long as was granted, whatever the clock says.
func TestMemoryLasts(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Memory)
		lasts  bool
	}{
		"in time":                {func(*Memory) {}, true},
		"its last moment":        {func(m *Memory) { m.Expires = start.Add(1) }, true},
		"over":                   {func(m *Memory) { m.Expires = start }, false},
		"all of the lifetime":    {func(m *Memory) { m.Expires = start.Add(m.Lifetime.Duration()) }, true},
		"more than the lifetime": {func(m *Memory) { m.Expires = start.Add(m.Lifetime.Duration() + 1) }, false},
		"no lifetime":            {func(m *Memory) { m.Lifetime = 0 }, false},
		"no binding":             {func(m *Memory) { *m = m.Unbound() }, false},
		"deleted":                {func(m *Memory) { m.State, m.Lifetime, m.Expires = Deleted, 0, start.Add(MaxDeleteTime) }, true},
		"deleted for too long":   {func(m *Memory) { m.State, m.Lifetime, m.Expires = Deleted, 0, start.Add(MaxDeleteTime+1) }, false},
	} {
		m := someMemory()
		m.Expires = start.Add(time.Minute)
		test.change(&m)
		if m.Lasts(start) != test.lasts {
			t.Errorf("%s: lasts %v", name, !test.lasts)
		}
	}
}

// What was due before the restart is not sent because of it; what is due later is.
func TestRefreshRequestsResume(t *testing.T) {
	for left, want := range map[time.Duration]int{10 * time.Minute: 3, 30 * time.Second: 1, 10 * time.Second: 0} {
		e := &Entry{Lifetime: mip6.LifetimeFrom(10 * time.Minute), Expires: start.Add(left)}
		var r RefreshRequests
		if r.Resume(e, start); r.Take(e, start) {
			t.Errorf("%v before the end one is sent at once", left)
		}
		sent := 0
		for now := start; now.Before(e.Expires); now = now.Add(time.Second) {
			if r.Take(e, now) {
				sent++
			}
		}
		if sent != want {
			t.Errorf("%v before the end: %d are sent, want %d", left, sent, want)
		}
	}
}

// What it costs to write and to read 100,000 bindings: ns and octets for each.
func BenchmarkMemoryWire(b *testing.B) {
	m := someMemory()
	m.Visitor, m.Paths = "", m.Paths[:1]
	var octets []byte
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			octets = m.Append(octets[:0], start)
		}
		b.ReportMetric(float64(len(octets)), "octets")
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseMemory(octets, start); err != nil {
				b.Fatal(err)
			}
		}
	})
}
