package planetest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv6"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// Install measures what bindings cost an agent's engine: the time to install and to
// remove each of 1,000, 10,000 and 100,000, and the memory that each takes here and in
// the kernel. With no device for each the time for one is the same whatever their number.
func Install(b *testing.B, open Open) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { install(b, open, n) })
	}
}

func install(b *testing.B, open Open, n int) {
	w := makeWorld(b, false)
	e := w.open(w.agent, open)
	defer e.Close()
	set, remove := bindings(n)
	var in, out time.Duration
	for b.Loop() {
		heap, slab := memory(b)
		start := time.Now()
		if err := e.Apply(set); err != nil {
			b.Fatal(err)
		}
		in += time.Since(start)
		heapAfter, slabAfter := memory(b)
		b.ReportMetric((heapAfter-heap)/float64(n), "B/binding")
		b.ReportMetric((slabAfter-slab)/float64(n), "kernel-B/binding")
		if got := len(e.Tunnels()); got != n {
			b.Fatalf("%d tunnels, want %d", got, n)
		}
		start = time.Now()
		if err := e.Apply(remove); err != nil {
			b.Fatal(err)
		}
		out += time.Since(start)
	}
	per := float64(b.N) * float64(n)
	b.ReportMetric(float64(in.Nanoseconds())/per/1e3, "install-µs/binding")
	b.ReportMetric(float64(out.Nanoseconds())/per/1e3, "remove-µs/binding")
	b.ReportMetric(0, "ns/op") // says nothing here
}

// bindings are those of n mobiles with a network each, and their removal.
func bindings(n int) (set, remove []overlay.Change) {
	for i := range n {
		home := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xaa, byte(i >> 16), byte(i >> 8), byte(i), 15: 1})
		k := overlay.Key{Home: home, Side: overlay.AgentSide}
		set = append(set, overlay.Change{Set: &overlay.Tunnel{
			Key: k, Inner: []netip.Prefix{netip.PrefixFrom(home, 64).Masked()},
			Paths: []overlay.Path{{Local: agentAddress, Remote: firstCareOf}},
		}})
		remove = append(remove, overlay.Change{Remove: k})
	}
	return set, remove
}

// memory is what this process has on its heap, and what the kernel's objects take, in
// octets; the latter with whatever else the machine does.
func memory(b *testing.B) (heap, slab float64) {
	b.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib float64
		for _, kind := range []string{"Slab:", "Percpu:"} {
			if _, err := fmt.Sscanf(line, kind+" %f", &kib); err == nil {
				slab += kib * 1024
			}
		}
	}
	return float64(m.HeapAlloc), slab
}

// Rebind measures a change of the care-of address, on each side, while 1,000 other
// bindings are there.
func Rebind(b *testing.B, open Open) {
	for side, name := range map[overlay.Side]string{overlay.AgentSide: "Agent", overlay.MobileSide: "Mobile"} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			w.openBoth(open)
			others, _ := bindings(1000)
			if err := w.agentEngine.Apply(others); err != nil {
				b.Fatal(err)
			}
			w.attach(0)
			e := map[overlay.Side]Engine{overlay.AgentSide: w.agentEngine, overlay.MobileSide: w.mobileEngine}[side]
			var paths [2][]overlay.Change
			for i := range paths {
				paths[i] = []overlay.Change{{Set: w.tunnel(side, i)}}
			}
			i := 0
			for b.Loop() {
				i++
				if err := e.Apply(paths[i%2]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// PacketRate measures how many small datagrams a second pass the tunnel, each way,
// against plain routing along the same nodes in the same run.
func PacketRate(b *testing.B, open Open) {
	w := makeWorld(b, false)
	w.openBoth(open)
	w.wires()
	measure := w.packetRates()
	w.agent.Route(networkPrefix.String(), "2001:db8:1::2", "mr1") // behind the tunnel's route
	var plain, tunnel rates
	for b.Loop() {
		measure(&plain)
		w.attach(0)
		measure(&tunnel)
		w.detach()
	}
	plain.report(b, "plain", packets)
	tunnel.report(b, "tunnel", packets)
	tunnel.ratio(b, "tunnel", &plain)
	logDrops(b, w.agentEngine, w.mobileEngine)
}

// packetRates prepares to measure datagrams between the correspondent and a node in the
// mobile network.
func (w *world) packetRates() (measure func(into *rates)) {
	w.t.Helper()
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	return func(into *rates) {
		w.passes(correspondent, node)
		w.passes(node, correspondent)
		into.add(w.packets(w.correspondent, correspondentAddress, node), w.packets(w.node, nodeAddress, correspondent))
	}
}

// packets returns how many datagrams of 64 octets a second arrive at a socket while as
// many as possible are sent to it.
func (w *world) packets(from *nstest.Space, at netip.Addr, to *net.UDPConn) float64 {
	const burst = 64
	conn := w.dial(from, at, to)
	defer conn.Close()
	out, in := ipv6.NewPacketConn(conn), ipv6.NewPacketConn(to)
	messages, received := make([]ipv6.Message, burst), make([]ipv6.Message, burst)
	for i := range burst {
		messages[i].Buffers = [][]byte{make([]byte, 64)}
		received[i].Buffers = [][]byte{make([]byte, 64)}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = out.WriteBatch(messages, 0) // what does not fit is lost
			}
		}
	}()
	count := func(until time.Time) (n int) {
		_ = to.SetReadDeadline(until)
		for {
			m, err := in.ReadBatch(received, 0)
			if err != nil {
				return n
			}
			n += m
		}
	}
	count(time.Now().Add(period / 4))
	start := time.Now()
	n := count(start.Add(period))
	elapsed := time.Since(start)
	close(stop)
	<-done
	count(time.Now().Add(period / 10)) // what is still on its way
	return float64(n) / elapsed.Seconds()
}
