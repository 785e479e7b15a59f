package planetest

import (
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
)

// Processor measures the time of the processor that it takes to bring a packet through
// the tunnel, each way, against plain routing along the same nodes in the same run: from
// one socket to the other, all of it in one thread, so that what else the machine does
// matters little. Of each kind the least of all rounds counts. Small datagrams and full
// ones pass plain wires; streams of TCP pass those and links with aggregates.
func Processor(b *testing.B, open Open) {
	datagrams := func(octets int) func(*world, *nstest.Space, netip.Addr, *nstest.Space, netip.Addr) *exchange {
		return func(w *world, from *nstest.Space, source netip.Addr, to *nstest.Space, at netip.Addr) *exchange {
			receiver := w.udp(to, at)
			return newExchange(w, w.dial(from, source, receiver), receiver, octets, 16)
		}
	}
	stream := func(w *world, from *nstest.Space, source netip.Addr, to *nstest.Space, at netip.Addr) *exchange {
		sender, receiver := w.connectFrom(from, source, to, at)
		return newExchange(w, sender, receiver, 1<<17, 1)
	}
	b.Run("Small", func(b *testing.B) { processor(b, open, false, datagrams(64)) })
	b.Run("Full", func(b *testing.B) { processor(b, open, false, datagrams(1400)) })
	b.Run("Wires", func(b *testing.B) { processor(b, open, false, stream) })
	b.Run("Aggregates", func(b *testing.B) { processor(b, open, true, stream) })
}

func processor(b *testing.B, open Open, offloads bool, connect func(w *world, from *nstest.Space, source netip.Addr, to *nstest.Space, at netip.Addr) *exchange) {
	w := makeWorld(b, false)
	w.openBoth(open)
	if !offloads {
		w.wires()
	}
	w.agent.Route(networkPrefix.String(), "2001:db8:1::2", "mr1") // behind the tunnel's route
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	var plain, tunnel [2]time.Duration
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	measure := func(into *[2]time.Duration) {
		w.passes(correspondent, node)
		w.passes(node, correspondent)
		for i, x := range []*exchange{
			connect(w, w.correspondent, correspondentAddress, w.node, nodeAddress), connect(w, w.node, nodeAddress, w.correspondent, correspondentAddress),
		} {
			if each := x.cost(); into[i] == 0 || each < into[i] {
				into[i] = each
			}
			x.close()
		}
	}
	for b.Loop() {
		measure(&plain)
		w.attach(0)
		measure(&tunnel)
		w.detach()
	}
	for i, direction := range []string{"down", "up"} {
		b.ReportMetric(float64(plain[i].Nanoseconds()), "plain-"+direction+"-ns")
		b.ReportMetric(float64(tunnel[i].Nanoseconds()), "tunnel-"+direction+"-ns")
		b.ReportMetric(plain[i].Seconds()/tunnel[i].Seconds(), "tunnel-"+direction+"-ratio")
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}

// exchange sends from one socket to another, both in the hands of one thread.
type exchange struct {
	w        *world
	conns    []net.Conn
	message  []byte
	burst    int // messages that are sent before they are looked for
	from, to syscall.RawConn
}

func newExchange(w *world, sender, receiver interface {
	net.Conn
	syscall.Conn
}, octets, burst int) *exchange {
	w.t.Helper()
	x := &exchange{w: w, conns: []net.Conn{sender, receiver}, message: make([]byte, octets), burst: burst}
	var err error
	if x.from, err = sender.SyscallConn(); err == nil {
		x.to, err = receiver.SyscallConn()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return x
}

func (x *exchange) close() {
	for _, c := range x.conns {
		c.Close()
	}
}

// cost is the time of the processor for a message.
func (x *exchange) cost() time.Duration {
	const blocks, block = 8, 25 * time.Millisecond
	least := time.Duration(0)
	for range blocks {
		start, n := processorTime(), 0
		for processorTime()-start < block {
			n += x.round()
		}
		if each := (processorTime() - start) / time.Duration(max(n, 1)); least == 0 || each < least {
			least = each
		}
	}
	return least
}

// round sends messages, and returns how many of them have come when none comes any more.
func (x *exchange) round() (n int) {
	octets := 0
	_ = x.from.Write(func(fd uintptr) bool {
		for range x.burst {
			m, err := unix.Write(int(fd), x.message)
			if err != nil {
				break // the buffer is full
			}
			octets += m
		}
		return true
	})
	buffer := make([]byte, len(x.message))
	got := 0
	_ = x.to.Read(func(fd uintptr) bool {
		for end := time.Now().Add(time.Millisecond); got < octets && time.Now().Before(end); {
			if m, err := unix.Read(int(fd), buffer); err == nil {
				got += m
			}
		}
		return true
	})
	return got / len(x.message)
}

// processorTime is what the calling thread has had, softirqs in it included.
func processorTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
