package kernel

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"roam6/overlay"
)

// agents are so many changes of bindings.
func agents(n int) (set, move, remove []overlay.Change) {
	for i := range n {
		home := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xaa, byte(i >> 16), byte(i >> 8), byte(i), 15: 1})
		inner := []netip.Prefix{netip.PrefixFrom(home, 64).Masked()}
		set = append(set, overlay.Change{Set: tunnelOf(overlay.AgentSide, agentAddress, careOf[0], 0, home, inner...)})
		move = append(move, overlay.Change{Set: tunnelOf(overlay.AgentSide, agentAddress, careOf[1], 0, home, inner...)})
		remove = append(remove, overlay.Change{Remove: overlay.Key{Home: home, Side: overlay.AgentSide}})
	}
	return set, move, remove
}

// available is the free memory of the machine in octets.
func available(b *testing.B) int {
	b.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		b.Fatal(err)
	}
	var kilobytes int
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kilobytes); err == nil {
			return kilobytes << 10
		}
	}
	return 0
}

// BenchmarkInstall measures bindings of an agent installed, moved and removed in one
// Apply each, and one by one.
func BenchmarkInstall(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b)
			set, move, remove := agents(n)
			each := func(name string, changes []overlay.Change) {
				start := time.Now()
				w.apply(w.agentEngine, changes...)
				b.ReportMetric(float64(time.Since(start).Microseconds())/float64(n), name+"-µs/binding")
			}
			for b.Loop() {
				runtime.GC()
				before := available(b)
				each("set", set)
				runtime.GC()
				b.ReportMetric(float64(before-available(b))/float64(n), "B/binding")
				each("move", move)
				start := time.Now()
				w.agentEngine.Tunnels()
				b.ReportMetric(float64(time.Since(start).Milliseconds()), "list-ms")
				const single = 200
				start = time.Now()
				for i := range single {
					w.apply(w.agentEngine, set[i])
				}
				b.ReportMetric(float64(time.Since(start).Microseconds())/single, "single-µs")
				each("remove", remove)
			}
			b.ReportMetric(0, "ns/op") // says nothing here
		})
	}
}
