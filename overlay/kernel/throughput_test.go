package kernel

import (
	"testing"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay/planetest"
	"roam6/overlay/tun"
)

// bare makes tunnels of the kernel between two ends, with nothing else.
func bare(t testing.TB, ends planetest.Ends) (remove func()) {
	t.Helper()
	var undo []func()
	for _, end := range []struct {
		s *nstest.Space
		link
		route
	}{
		{ends.Agent, link{local: ends.AgentAddress, remote: ends.CareOf}, route{to: ends.Network}},
		{ends.Mobile, link{local: ends.CareOf, remote: ends.AgentAddress}, route{from: ends.Network}},
	} {
		end.s.Do(func() error {
			c, err := rtbatch.Open()
			if err != nil {
				return err
			}
			p, l, r := path{route: c}, end.link, end.route
			l.name, l.mtu = "bare", 1460
			if err := p.create(&l); err != nil {
				return err
			}
			r.device, r.table, r.metric = l.index, unix.RT_TABLE_MAIN, 1
			undo = append(undo, func() {
				_ = p.commitAll("remove", []rtbatch.Request{l.remove()})
				c.Close()
			})
			return p.commitAll("route", []rtbatch.Request{r.add(unix.RTPROT_STATIC)})
		})
	}
	return func() {
		for _, f := range undo {
			f()
		}
	}
}

// BenchmarkAgainstBareTunnel compares the engine with a bare tunnel of the kernel.
func BenchmarkAgainstBareTunnel(b *testing.B) {
	needed(b)
	planetest.AgainstBare(b, openPlane, func(e planetest.Ends) (remove func()) { return bare(b, e) })
}

// BenchmarkAgainstXFRM compares the engine with that in user space and with XFRM alone,
// along an optimised route. It needs a kernel with CONFIG_IPV6_MIP6.
func BenchmarkAgainstXFRM(b *testing.B) {
	needed(b)
	planetest.AgainstXFRM(b, planetest.Of(tun.Open), openPlane)
}
