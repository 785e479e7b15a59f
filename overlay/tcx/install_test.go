package tcx

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// bindings are so many of an agent's, each with a home address and a network.
func bindings(n int) (set, remove []overlay.Change) {
	for i := range n {
		home := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb9, byte(i >> 16), byte(i >> 8), byte(i), 15: 1})
		k := overlay.Key{Home: home, Side: overlay.AgentSide}
		set = append(set, overlay.Change{Set: &overlay.Tunnel{
			Key: k, Inner: []netip.Prefix{netip.PrefixFrom(home, 128), netip.PrefixFrom(home, 64).Masked()},
			Paths: []overlay.Path{{Local: agent, Remote: away}},
		}})
		remove = append(remove, overlay.Change{Remove: k})
	}
	return set, remove
}

// engineBench opens an engine on an agent.
func engineBench(b *testing.B) (*tun.Engine, *fastPath) {
	b.Helper()
	need(b)
	s := nstest.New(b)
	nstest.Veth(s, "wan", s, "net")
	s.Address("wan", agent.String()+"/64")
	f, err := newFastPath(bpffs)
	if err != nil {
		b.Fatal(err)
	}
	var e *tun.Engine
	s.Do(func() (err error) {
		e, err = tun.Open(tun.Config{Fast: f})
		return err
	})
	b.Cleanup(func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	})
	return e, f
}

func apply(b *testing.B, e *tun.Engine, changes ...overlay.Change) time.Duration {
	b.Helper()
	start := time.Now()
	if err := e.Apply(changes); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// BenchmarkInstall installs bindings with two prefixes each, swaps the paths of all and
// removes them, in one batch each; the routes are the greater part of it. The last
// figures are those of the maps alone: time, and memory for each binding.
func BenchmarkInstall(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e, f := engineBench(b)
			set, remove := bindings(n)
			var all, maps [3]time.Duration
			var octets uint64
			changes := make([]tun.FastChange, n)
			gone := make([]tun.FastChange, n)
			for i, c := range set {
				changes[i] = tun.FastChange{Set: &tun.FastTunnel{
					Key: c.Set.Key, Inner: c.Set.Inner, Path: c.Set.Paths[0], Ends: []tun.End{{From: away, To: agent}}, MTU: 1500,
				}}
				gone[i] = tun.FastChange{Remove: c.Set.Key}
			}
			failed := func(_ int, err error) { b.Fatal(err) }
			timed := func(changes []tun.FastChange) time.Duration {
				start := time.Now()
				f.Apply(changes, failed)
				return time.Since(start)
			}
			for b.Loop() {
				all[0] += apply(b, e, set...)
				for _, c := range set {
					c.Set.Paths[0].Remote = further
				}
				all[1] += apply(b, e, set...)
				all[2] += apply(b, e, remove...)

				before := f.memory()
				maps[0] += timed(changes)
				octets += f.memory() - before
				for _, c := range changes {
					c.Set.Path.Remote = further
				}
				maps[1] += timed(changes)
				maps[2] += timed(gone)
				time.Sleep(2 * retirement) // what was removed makes room
			}
			for i, what := range []string{"install", "swap", "remove"} {
				b.ReportMetric(all[i].Seconds()*1000/float64(b.N), what+"-ms")
				b.ReportMetric(maps[i].Seconds()*1000/float64(b.N), "maps-"+what+"-ms")
			}
			b.ReportMetric(float64(octets)/float64(b.N)/float64(n), "octets/binding")
			b.ReportMetric(0, "ns/op") // says nothing here
		})
	}
}

// memory is what the maps take of the kernel's, as it accounts for it.
func (f *fastPath) memory() (octets uint64) {
	for _, m := range f.loaded.maps {
		if info, err := m.Info(); err == nil {
			n, _ := info.Memlock()
			octets += n
		}
	}
	return octets
}

// BenchmarkSwap swaps the path of one binding among ten thousand.
func BenchmarkSwap(b *testing.B) {
	e, _ := engineBench(b)
	set, _ := bindings(10_000)
	apply(b, e, set...)
	paths := []overlay.Path{{Local: agent, Remote: away}, {Local: agent, Remote: further}}
	i := 0
	for b.Loop() {
		i++
		s := *set[5000].Set
		s.Paths = paths[i%2 : i%2+1]
		if err := e.Apply([]overlay.Change{{Set: &s}}); err != nil {
			b.Fatal(err)
		}
	}
}
