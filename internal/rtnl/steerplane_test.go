package rtnl

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"roam6/internal/role"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// Rules that choose all traffic of the host lead neither the data plane's own
// packets back into its device, nor signalling from the care-of address: each
// packet of an application passes once, in the tunnel and along optimised routes,
// also while the tunnel is not there yet or any more.
func TestSteerAll(t *testing.T) {
	for _, all := range []Steering{
		{Home: steeredHome},
		{Home: steeredHome, Protocol: udp},
		{Home: steeredHome, Mask: 1}, // what has no such mark
		{Home: steeredHome, Mark: 0x100, Mask: 0xff00},
	} {
		f := newFixture(t)
		var plane *tun.Engine
		f.mr.Do(func() (err error) {
			plane, err = tun.Open(tun.Config{Device: "roam0"})
			return err
		})
		t.Cleanup(func() { plane.Close() })
		f.must(f.state.SetHomeLink(plane.Link()))
		f.must(f.state.AssignAddress(f.assign("2001:db8:1::c0/64")))
		f.must(f.state.AssignAddress(role.AssignAddress{Prefix: pfx("2001:db8:10::9/128"), Valid: forever, Preferred: forever, Home: true}))
		f.must(f.state.AddRoute(role.AddRoute{Route: f.defaultRoute("fe80::1", "", 512)}))
		f.must(f.state.Steer([]Steering{all}))
		careOf, agent, peer, bound := ip("2001:db8:1::c0"), ip("2001:db8:99::a"), ip("2001:db8:99::1"), ip("2001:db8:aa::2")

		c := &steeredSocket{fixture: f, plane: plane, mark: int(all.Mark)}
		tunnel := overlay.Key{Home: steeredHome, Side: overlay.MobileSide}
		own := overlay.Pair{Home: steeredHome, Peer: peer, Side: overlay.MobileSide}
		other := overlay.Pair{Home: bound, Peer: steeredHome, Side: overlay.CorrespondentSide}
		c.sends("no tunnel yet", peer, 0, 0)
		f.must(plane.Apply([]overlay.Change{{Set: &overlay.Tunnel{
			Key: tunnel, Inner: []netip.Prefix{pfx("2001:db8:10::9/128")}, Paths: []overlay.Path{{Local: careOf, Remote: agent}},
		}}}))
		c.sends("tunnel", peer, 1, 0)
		f.must(plane.Apply([]overlay.Change{{Optimise: &overlay.Route{Pair: own, CareOf: careOf}}}))
		c.sends("optimised", peer, 0, 1)
		f.must(plane.Apply([]overlay.Change{{Optimise: &overlay.Route{Pair: other, CareOf: ip("2001:db8:99::2")}}}))
		c.sends("to a bound address", bound, 1, 1)
		f.must(plane.Apply([]overlay.Change{{Deoptimise: &own}, {Remove: tunnel}}))
		c.sends("no tunnel any more", peer, 0, 0)
		c.sends("no tunnel any more, to a bound address", bound, 0, 1)
		if dev := f.device(careOf, agent.String(), 22); dev != "u0" {
			t.Errorf("from the care-of address by %s", dev)
		}
		f.must(plane.Close())
		f.must(f.state.Close())
	}
}

// marked puts a firewall mark on what a socket sends.
func marked(mark int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) }); e != nil {
			return e
		}
		return err
	}
}

// steeredSocket is an application that leaves the choice of its address to the
// host, and the engine that its packets pass.
type steeredSocket struct {
	*fixture
	plane *tun.Engine
	mark  int
}

// passed is how many packets the plane has put into tunnels and on optimised
// routes, and how many it has dropped.
func (c *steeredSocket) passed() (tunnelled, optimised, dropped uint64) {
	for _, s := range c.plane.Tunnels() {
		tunnelled += s.Counters.EncapPackets
	}
	for _, r := range c.plane.Routes() {
		optimised += r.EncapPackets
	}
	for r, n := range c.plane.Drops() {
		if r != overlay.DropLinkScope { // the kernel's own, when the device comes up
			dropped += n
		}
	}
	return tunnelled, optimised, dropped
}

// sends sends packets, each of which must pass tunnels and routes so many times; if
// none of them, it is dropped once.
func (c *steeredSocket) sends(what string, to netip.Addr, tunnels, routes uint64) {
	c.t.Helper()
	if got := c.fixture.source(unix.SOCK_DGRAM, to.String(), 9, c.mark); got != steeredHome {
		c.t.Errorf("%s: source %v", what, got)
	}
	const packets = 20
	tunnelled, optimised, dropped := c.passed()
	c.mr.Do(func() error {
		l := net.ListenConfig{}
		if c.mark != 0 {
			l.Control = marked(c.mark)
		}
		s, err := l.ListenPacket(c.t.Context(), "udp6", ":0")
		if err != nil {
			return err
		}
		defer s.Close()
		for range packets {
			if _, err := s.WriteTo([]byte("x"), &net.UDPAddr{IP: to.AsSlice(), Port: 9}); err != nil {
				return err
			}
		}
		return nil
	})
	want := packets * max(tunnels+routes, 1)
	count := func() uint64 {
		t, o, d := c.passed()
		return t - tunnelled + o - optimised + d - dropped
	}
	eventually(c.t, what+": all packets", func() bool { return count() >= want })
	t, o, d := c.passed()
	if t -= tunnelled; t != packets*tunnels {
		c.t.Errorf("%s: %d times in a tunnel, %d packets", what, t, packets)
	}
	if o -= optimised; o != packets*routes {
		c.t.Errorf("%s: %d times on optimised routes, %d packets", what, o, packets)
	}
	if d -= dropped; d != 0 && tunnels+routes > 0 {
		c.t.Errorf("%s: %d drops, %d packets", what, d, packets)
	}
}
