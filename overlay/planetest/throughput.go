package planetest

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// TCP content arrives as it was sent, both ways, through a change of the path
// and with a link on the way that is smaller than the first.
func transfer(t *testing.T, open Open) {
	w := newWorld(t)
	w.openBoth(open)
	for s, name := range map[*nstest.Space]string{w.core: "mr2", w.mobile: "wan2"} {
		if err := s.Handle.LinkSetMTU(s.Link(name), 1400); err != nil {
			t.Fatal(err)
		}
	}
	w.attach(0)
	const size = 64 << 20
	for _, c := range []struct {
		name     string
		from, to *nstest.Space
		at       netip.Addr
	}{{"down", w.correspondent, w.node, nodeAddress}, {"up", w.node, w.correspondent, correspondentAddress}} {
		sender, receiver := w.connect(c.from, c.to, c.at)
		moved := make(chan struct{})
		sent, got := make(chan hash.Hash, 1), make(chan hash.Hash, 1)
		go func() {
			h := sha256.New()
			source := rand.NewChaCha8([32]byte{1})
			_ = sender.SetWriteDeadline(time.Now().Add(30 * time.Second))
			_, err := io.Copy(io.MultiWriter(sender, h), io.LimitReader(source, size/2))
			<-moved
			if err == nil {
				_, err = io.Copy(io.MultiWriter(sender, h), io.LimitReader(source, size/2))
			}
			if err != nil {
				t.Errorf("%s: send: %v", c.name, err)
			}
			sender.CloseWrite()
			sent <- h
		}()
		go func() {
			h := sha256.New()
			_ = receiver.SetReadDeadline(time.Now().Add(30 * time.Second))
			if n, err := io.Copy(h, receiver); err != nil || n != size {
				t.Errorf("%s: received %d octets of %d: %v", c.name, n, size, err)
			}
			got <- h
		}()
		w.attach(1)
		close(moved)
		if a, b := (<-sent).Sum(nil), (<-got).Sum(nil); string(a) != string(b) {
			t.Errorf("%s: content differs", c.name)
		}
		w.attach(0)
	}
}

// connect makes a TCP connection between two namespaces.
func (w *world) connect(from, to *nstest.Space, at netip.Addr) (sender, receiver *net.TCPConn) {
	w.t.Helper()
	return w.connectFrom(from, netip.Addr{}, to, at)
}

// Throughput measures TCP through the tunnel, from the correspondent to a node
// in the mobile network and back, against plain routing along the same nodes in
// the same run, and reports the ratio: over links that pass aggregates of 64 KB
// on as they are, which is plain routing's best case, and over plain wires. The
// same for an optimised route, between the correspondent and the home address,
// against the care-of address, and for the tunnel that it spares.
func Throughput(b *testing.B, open Open) {
	b.Run("Aggregates", func(b *testing.B) { throughput(b, open, true) })
	b.Run("Wires", func(b *testing.B) { throughput(b, open, false) })
	b.Run("OptimisedAggregates", func(b *testing.B) { optimisedThroughput(b, open, true) })
	b.Run("OptimisedWires", func(b *testing.B) { optimisedThroughput(b, open, false) })
	b.Run("StackedAggregates", func(b *testing.B) { stackedThroughput(b, open, true) })
	b.Run("StackedWires", func(b *testing.B) { stackedThroughput(b, open, false) })
}

// stackedThroughput measures TCP between the correspondent and a node in the mobile
// network in two tunnels on each other against one.
func stackedThroughput(b *testing.B, open Open, offloads bool) {
	w := makeStackedWorld(b, open)
	if !offloads {
		for _, l := range []struct {
			space *nstest.Space
			name  string
		}{
			{w.correspondent, "up"}, {w.agent, "cn"}, {w.agent, "up"}, {w.transit, "ha"}, {w.transit, "map"}, {w.anchor, "up"},
			{w.anchor, "ar"}, {w.core, "map"}, {w.core, "mr1"}, {w.mobile, "wan1"}, {w.mobile, "lan"}, {w.node, "up"},
		} {
			if err := withoutOffloads(l.space, l.name); err != nil {
				b.Fatal(err)
			}
		}
	}
	w.enter(0)
	var one, two rates
	for b.Loop() {
		w.attach(0)
		w.rates(&one)
		w.stack()
		w.rates(&two)
	}
	one.report(b, "single", gigabits)
	two.report(b, "stacked", gigabits)
	two.ratio(b, "stacked", &one)
	logDrops(b, w.agentEngine, w.anchorEngine, w.mobileEngine)
}

// wires makes the links of a world plain ones.
func (w *world) wires() {
	w.t.Helper()
	for _, l := range []struct {
		space *nstest.Space
		name  string
	}{{w.correspondent, "up"}, {w.agent, "cn"}, {w.agent, "mr1"}, {w.mobile, "wan1"}, {w.mobile, "lan"}, {w.node, "up"}} {
		if err := withoutOffloads(l.space, l.name); err != nil {
			w.t.Fatal(err)
		}
	}
}

// period is how long each rate is measured.
const period = 500 * time.Millisecond

func optimisedThroughput(b *testing.B, open Open, offloads bool) {
	w := optimise(makeWorld(b, false), open)
	if !offloads {
		w.wires()
	}
	var plain, optimised, tunnel rates
	measure := func(into *rates, at netip.Addr) {
		into.add(w.rate(w.correspondent, netip.Addr{}, w.mobile, at, period),
			w.rate(w.mobile, at, w.correspondent, correspondentAddress, period))
	}
	for b.Loop() {
		measure(&plain, firstCareOf)
		measure(&tunnel, homeAddress)
		w.bind(0)
		measure(&optimised, homeAddress)
		w.unbind()
	}
	plain.report(b, "plain", gigabits)
	tunnel.report(b, "tunnel", gigabits)
	tunnel.ratio(b, "tunnel", &plain)
	optimised.report(b, "optimised", gigabits)
	optimised.ratio(b, "optimised", &plain)
	logDrops(b, w.correspondentEngine, w.mobileEngine)
}

func throughput(b *testing.B, open Open, offloads bool) {
	w := makeWorld(b, false)
	w.openBoth(open)
	if !offloads {
		w.wires()
	}
	var plain, tunnel rates
	w.agent.Route(networkPrefix.String(), "2001:db8:1::2", "mr1") // behind the tunnel's route
	for b.Loop() {
		w.rates(&plain)
		w.attach(0)
		w.rates(&tunnel)
		w.detach()
	}
	plain.report(b, "plain", gigabits)
	tunnel.report(b, "tunnel", gigabits)
	tunnel.ratio(b, "tunnel", &plain)
	logDrops(b, w.agentEngine, w.mobileEngine)
}

// rates measures TCP between the correspondent and a node in the mobile network.
func (w *world) rates(into *rates) {
	w.t.Helper()
	into.add(w.rate(w.correspondent, netip.Addr{}, w.node, nodeAddress, period),
		w.rate(w.node, netip.Addr{}, w.correspondent, correspondentAddress, period))
}

func logDrops(b *testing.B, engines ...Engine) {
	for _, e := range engines {
		drops := e.Drops()
		for _, r := range overlay.DropReasons() {
			if drops[r] > 0 {
				b.Logf("%s: dropped %d: %v", e.Name(), drops[r], r)
			}
		}
	}
}

// rate returns octets per second of one TCP connection. source may be invalid.
func (w *world) rate(from *nstest.Space, source netip.Addr, to *nstest.Space, at netip.Addr, period time.Duration) float64 {
	sender, receiver := w.connectFrom(from, source, to, at)
	done := make(chan struct{})
	go func() {
		defer close(done)
		block := make([]byte, 1<<18)
		for {
			if _, err := sender.Write(block); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 1<<18)
	read := func(until time.Time) (n int) {
		_ = receiver.SetReadDeadline(until)
		for {
			m, err := receiver.Read(buffer)
			n += m
			if err != nil {
				var timeout net.Error
				if !errors.As(err, &timeout) || !timeout.Timeout() {
					w.t.Fatal(err)
				}
				return n
			}
		}
	}
	read(time.Now().Add(period / 2)) // slow start
	start := time.Now()
	n := read(start.Add(period))
	elapsed := time.Since(start)
	sender.Close()
	receiver.Close()
	<-done
	return float64(n) / elapsed.Seconds()
}
