package kernel

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay/tun"
)

// bare makes tunnels of the kernel between the two, with nothing else.
func (w *world) bare() (remove func()) {
	w.Helper()
	var undo []func()
	for _, end := range []struct {
		s             *nstest.Space
		local, remote netip.Addr
		route         route
	}{
		{w.agent, agentAddress, careOf[0], route{to: networkPrefix, table: unix.RT_TABLE_MAIN, metric: 1}},
		{w.mobile, careOf[0], agentAddress, route{from: networkPrefix, table: unix.RT_TABLE_MAIN, metric: 1}},
	} {
		end.s.Do(func() error {
			c, err := rtbatch.Open()
			if err != nil {
				return err
			}
			p := path{route: c}
			l := link{name: "bare", local: end.local, remote: end.remote, mtu: 1460}
			if err := p.create(&l); err != nil {
				return err
			}
			end.route.device = l.index
			undo = append(undo, func() {
				_ = p.commitAll("remove", []rtbatch.Request{l.remove()})
				c.Close()
			})
			return p.commitAll("route", []rtbatch.Request{end.route.add(unix.RTPROT_STATIC)})
		})
	}
	return func() {
		for _, f := range undo {
			f()
		}
	}
}

// rate is that of one TCP connection, in octets per second.
func (w *world) rate(from, to *nstest.Space, at netip.Addr) float64 {
	w.Helper()
	var l net.Listener
	var c net.Conn
	to.Do(func() (err error) {
		l, err = net.Listen("tcp6", netip.AddrPortFrom(at, 0).String())
		return err
	})
	defer l.Close()
	from.Do(func() (err error) {
		c, err = net.Dial("tcp6", l.Addr().String())
		return err
	})
	defer c.Close()
	r, err := l.Accept()
	if err != nil {
		w.Fatal(err)
	}
	defer r.Close()
	go func() {
		b := make([]byte, 1<<17)
		for {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 1<<17)
	read := func(d time.Duration) (n int) {
		_ = r.SetReadDeadline(time.Now().Add(d))
		for {
			m, err := r.Read(b)
			n += m
			if err != nil {
				return n
			}
		}
	}
	read(500 * time.Millisecond) // slow start
	start := time.Now()
	n := read(2 * time.Second)
	return float64(n) / time.Since(start).Seconds()
}

// BenchmarkAgainstBareTunnel compares TCP through the engine with TCP through a bare
// tunnel of the kernel, on the same links.
func BenchmarkAgainstBareTunnel(b *testing.B) {
	var engine, bare [2]float64
	for b.Loop() {
		w := newWorld(b)
		measure := func(into *[2]float64) {
			into[0] += w.rate(w.correspondent, w.node, nodeAddress)
			into[1] += w.rate(w.node, w.correspondent, correspondentAddress)
		}
		w.attach(0)
		measure(&engine)
		for _, e := range []*tun.Engine{w.agentEngine, w.mobileEngine} {
			if err := e.Close(); err != nil {
				b.Fatal(err)
			}
		}
		remove := w.bare()
		measure(&bare)
		remove()
	}
	for i, direction := range []string{"down", "up"} {
		b.ReportMetric(bare[i]/float64(b.N)*8/1e6, "bare-"+direction+"-Mbit/s")
		b.ReportMetric(engine[i]/bare[i], direction+"-ratio")
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}
