package tcx

import (
	"encoding/binary"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// newMap makes one of the engine's maps, of its own.
func newMap(t testing.TB, name string, tunnels uint32) *ebpf.Map {
	t.Helper()
	need(t)
	for _, spec := range specs(tunnels) {
		if spec.Name != name {
			continue
		}
		m, err := ebpf.NewMap(spec)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
	t.Fatalf("there is no map %s", name)
	return nil
}

// fill adds the entries with the numbers from first on, under the key of each.
func fill[K comparable](t testing.TB, m *ebpf.Map, key func(number uint32) K, first, n uint32) {
	t.Helper()
	if n == 0 {
		return
	}
	keys, values := make([]K, n), make([]uint32, n)
	for i := range n {
		keys[i], values[i] = key(first+i), first+i
	}
	if _, err := m.BatchUpdate(keys, values, nil); err != nil {
		t.Fatal(err)
	}
}

func numberKey(number uint32) uint32 { return number }

// networkKey is a network of 64 bits with each number but every fifth, which is one
// around four others.
func networkKey(number uint32) (k prefixKey) {
	k.Bits, k.Address = 64, [16]byte{0x20, 1, 0xd, 0xb8}
	binary.BigEndian.PutUint32(k.Address[4:], number<<4)
	if number%5 == 0 {
		k.Bits = 60
	}
	return k
}

// All entries of a map are read, whatever their number, and as the kernel tells one by
// one.
func TestReader(t *testing.T) {
	t.Run(mapTunnels, func(t *testing.T) { testReader(t, mapTunnels, numberKey) })
	t.Run(mapAgent, func(t *testing.T) { testReader(t, mapAgent, networkKey) })
}

func testReader[K comparable](t *testing.T, name string, key func(uint32) K) {
	m := newMap(t, name, 4*mostBatch)
	var r reader[K, uint32]
	first := uint32(1)
	for _, n := range []uint32{0, 1, leastBatch, leastBatch + 1, mostBatch, mostBatch + 1, 3*mostBatch + 7} {
		fill(t, m, key, first, n-(first-1))
		first = n + 1
		want := make(map[K]uint32)
		for i := range n {
			want[key(i+1)] = i + 1
		}
		got, single := make(map[K]uint32), make(map[K]uint32)
		calls := uint32(0)
		err := errors.Join(
			r.each(m, func(k K, v []uint32) { got[k], calls = v[0], calls+1 }),
			r.oneByOne(m, func(k K, v []uint32) { single[k] = v[0] }),
		)
		if err != nil || calls != n || !maps.Equal(got, want) || !maps.Equal(single, want) {
			t.Errorf("of %d entries %d are read in %d calls, %d one by one (%v)", n, len(got), calls, len(single), err)
		}
	}
}

// What each processor has of an entry comes together, in one call or several.
func TestReaderOfProcessors(t *testing.T) {
	m := newMap(t, mapStates, 2*mostBatch)
	c, err := newCounting()
	if err != nil {
		t.Fatal(err)
	}
	const n = 2*mostBatch + 5
	for number := uint32(1); number <= n; number++ {
		states := make([]stateValue, c.read.processors)
		for i := range states {
			states[i].DecapPackets = uint64(number) * uint64(i+1)
		}
		if err := m.Put(number, states); err != nil {
			t.Fatal(err)
		}
	}
	fresh := c.read // one that has read nothing yet
	for what, read := range map[string]func(*ebpf.Map, func(uint32, []stateValue)) error{
		"together": c.read.each, "one by one": c.read.oneByOne, "one by one at first": fresh.oneByOne,
	} {
		met := make(map[uint32]bool)
		if err := read(m, func(number uint32, states []stateValue) {
			met[number] = true
			for i, s := range states {
				if s.DecapPackets != uint64(number)*uint64(i+1) || len(states) != c.read.processors {
					t.Errorf("%s: entry %d of processor %d of %d: %+v", what, number, i, len(states), s)
				}
			}
		}); err != nil || len(met) != n {
			t.Errorf("%s: %d entries of %d (%v)", what, len(met), n, err)
		}
	}
}

// What stays in a map is read although other entries come and go meanwhile, those among
// them from which the kernel would go on.
func TestReaderOfChanges(t *testing.T) {
	t.Run(mapTunnels, func(t *testing.T) { testReaderOfChanges(t, mapTunnels, numberKey) })
	t.Run(mapAgent, func(t *testing.T) { testReaderOfChanges(t, mapAgent, networkKey) })
}

func testReaderOfChanges[K comparable](t *testing.T, name string, key func(uint32) K) {
	const n = 3 * mostBatch
	m := newMap(t, name, 2*n)
	fill(t, m, key, 1, n)
	stays := make(map[K]bool)
	for number := uint32(1); number <= n; number += 3 {
		stays[key(number)] = true
	}
	var r reader[K, uint32]
	met, added := make(map[K]bool), uint32(0)
	if err := r.each(m, func(k K, _ []uint32) {
		met[k] = true
		if stays[k] {
			return
		}
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Fatal(err)
		}
		if added < n/2 {
			added++
			fill(t, m, key, n+added, 1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for k := range stays {
		if !met[k] {
			t.Fatalf("%v was there all the time and is not read", k)
		}
	}
}

// A map into which somebody puts more than is taken out does not keep its reader for ever.
func TestReaderGivesUp(t *testing.T) {
	m := newMap(t, mapAgent, 1) // with room for prefixesEach
	fill(t, m, networkKey, 1, 4)
	var r reader[prefixKey, uint32]
	r.grow(1)
	last := uint32(4)
	err := r.each(m, func(k prefixKey, _ []uint32) {
		if err := m.Delete(k); err != nil {
			return
		}
		last++
		fill(t, m, networkKey, last, 1)
	})
	if last > 4+2*mostOften*m.MaxEntries() {
		t.Errorf("read for %d entries (%v)", last, err)
	}
}

// BenchmarkAdopt reads the maps of 100,000 tunnels, each with two inner prefixes: µs are
// those of a tunnel, ratio is to one entry after the other in the same run.
func BenchmarkAdopt(b *testing.B) {
	const n = 100_000
	trie, tunnels := newMap(b, mapAgent, n), newMap(b, mapTunnels, n)
	paths := newMap(b, mapPaths, n)
	fill(b, trie, networkKey, 1, 2*n)
	fill(b, tunnels, numberKey, 1, n)
	numbers, values := make([]uint32, n), make([]pathValue, n)
	for i := range numbers {
		numbers[i], values[i].Number = uint32(i+1), uint32(i+1)
	}
	if _, err := paths.BatchUpdate(numbers, values, nil); err != nil {
		b.Fatal(err)
	}
	var prefixes reader[prefixKey, uint32]
	var each reader[uint32, uint32]
	var path reader[uint32, pathValue]
	met := 0
	took := func(read ...func() error) time.Duration {
		met = 0
		start := time.Now()
		for _, f := range read {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
		if met < 4*n {
			b.Fatalf("%d entries of %d", met, 4*n)
		}
		return time.Since(start)
	}
	var together, single time.Duration
	for b.Loop() {
		together += took(
			func() error { return prefixes.each(trie, func(prefixKey, []uint32) { met++ }) },
			func() error { return each.each(tunnels, func(uint32, []uint32) { met++ }) },
			func() error { return path.each(paths, func(uint32, []pathValue) { met++ }) },
		)
		single += took(
			func() error { return prefixes.oneByOne(trie, func(prefixKey, []uint32) { met++ }) },
			func() error { return each.oneByOne(tunnels, func(uint32, []uint32) { met++ }) },
			func() error { return path.oneByOne(paths, func(uint32, []pathValue) { met++ }) },
		)
	}
	b.ReportMetric(float64(together.Nanoseconds())/1e3/float64(b.N)/n, "µs/tunnel")
	b.ReportMetric(together.Seconds()/single.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op") // says nothing here
}
