package kernel

import (
	"testing"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
	"roam6/overlay/planetest"
	"roam6/overlay/tun"
)

// end is one end of a tunnel of the kernel.
type end struct {
	s *nstest.Space
	link
	route
}

// alone are the ends of a tunnel with a device of its own at the agent.
func alone(e planetest.Ends) []end {
	return []end{
		{e.Agent, link{local: e.AgentAddress, remote: e.CareOf}, route{to: e.Network}},
		{e.Mobile, link{local: e.CareOf, remote: e.AgentAddress}, route{from: e.Network}},
	}
}

// shared are those of one that shares the agent's device, as the engine's tunnels do: it
// costs the kernel more a packet, and is there once for all bindings.
func shared(e planetest.Ends) []end {
	ends := alone(e)
	ends[0].link, ends[0].path = link{external: true}, overlay.Path{Local: e.AgentAddress, Remote: e.CareOf}
	return ends
}

// bare makes a tunnel of the kernel, with nothing else.
func bare(t testing.TB, ends []end) (remove func()) {
	t.Helper()
	var undo []func()
	for _, end := range ends {
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
	planetest.AgainstBare(b, openPlane,
		func(e planetest.Ends) (remove func()) { return bare(b, alone(e)) },
		func(e planetest.Ends) (remove func()) { return bare(b, shared(e)) })
}

// BenchmarkAgainstXFRM compares the engine with that in user space and with XFRM alone,
// along an optimised route. It needs a kernel with CONFIG_IPV6_MIP6.
func BenchmarkAgainstXFRM(b *testing.B) {
	needed(b)
	planetest.AgainstXFRM(b, planetest.Of(tun.Open), openPlane)
}
