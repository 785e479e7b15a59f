package planetest

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/internal/sock"
	"roam6/overlay"
)

// dial connects a UDP socket: it keeps the route it has found.
func (w *world) dial(s *nstest.Space, from netip.Addr, to *net.UDPConn) *net.UDPConn {
	w.t.Helper()
	var c *net.UDPConn
	s.Do(func() (err error) {
		c, err = net.DialUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(addrPort(to)))
		return err
	})
	w.t.Cleanup(func() { c.Close() })
	return c
}

// used is how many packets an engine has sent along an optimised route.
func used(e Engine, p overlay.Pair) uint64 {
	for _, r := range e.Routes() {
		if r.Pair == p {
			return r.EncapPackets
		}
	}
	return 0
}

// follows checks that what is connected already takes an optimised route.
func (w *optimisedWorld) follows(what string, e Engine, p overlay.Pair, c net.Conn) {
	w.t.Helper()
	before := used(e, p)
	w.eventually(what+" takes the optimised route", func() bool {
		if _, err := c.Write([]byte("x")); err != nil {
			w.t.Fatalf("%s: %v", what, err)
		}
		return used(e, p) > before
	})
}

// A kernel's sockets keep their routes, but connections that exist take each
// optimised route when it comes, not only the first of its table, and leave it
// when it goes.
// Covers: C2.
func sockets(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	home := w.udp(w.mobile, homeAddress)
	datagrams := w.dial(w.correspondent, correspondentAddress, home)
	stream, _ := w.connectFrom(w.correspondent, correspondentAddress, w.mobile, homeAddress)
	conns := map[string]net.Conn{"a UDP socket": datagrams, "a TCP connection": stream}
	e := w.correspondentEngine
	other := w.route(overlay.CorrespondentSide, 0)
	other.Home = otherHome
	w.apply(e, overlay.Change{Optimise: other})
	for range 3 {
		for what, c := range conns {
			w.tunnels(what, c)
		}
		w.apply(e, overlay.Change{Optimise: w.route(overlay.CorrespondentSide, 0)})
		for what, c := range conns {
			w.follows(what, e, pair(overlay.CorrespondentSide), c)
		}
		w.apply(e, overlay.Change{Deoptimise: new(pair(overlay.CorrespondentSide))})
	}
}

// tunnels checks that what is connected goes through the home agent.
func (w *optimisedWorld) tunnels(what string, c net.Conn) {
	w.t.Helper()
	before := w.tunnelUse()
	w.eventually(what+" takes the tunnel", func() bool {
		if _, err := c.Write([]byte("x")); err != nil {
			w.t.Fatalf("%s: %v", what, err)
		}
		return w.tunnelUse() > before
	})
}

// Bindings that come one right after the other: connections to each of the home
// addresses follow.
// Covers: C2.
func manySockets(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	const n = 50
	routes := make([]*overlay.Route, n)
	conns := make([]net.Conn, n)
	for i := range n {
		routes[i] = w.route(overlay.CorrespondentSide, 0)
		routes[i].Home = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xaa, 0xaa, 15: byte(i + 1)})
		w.correspondent.Do(func() (err error) {
			conns[i], err = net.DialUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(correspondentAddress, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(routes[i].Home, 9)))
			return err
		})
		w.t.Cleanup(func() { conns[i].Close() })
	}
	w.apply(w.correspondentEngine, overlay.Change{Optimise: w.route(overlay.CorrespondentSide, 0)})
	for _, c := range conns { // finds the way by the home agent, whatever becomes of it there
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range routes {
		w.apply(w.correspondentEngine, overlay.Change{Optimise: r})
	}
	for i, c := range conns {
		w.follows(routes[i].Home.String(), w.correspondentEngine, routes[i].Pair, c)
	}
}

// A mobile's connections go through the tunnel while it is away and not when it
// is at home, however often it comes and goes; an optimised route that comes shows
// them its larger MTU.
func mobileSockets(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	far := w.udp(w.correspondent, correspondentAddress)
	datagrams := w.dial(w.mobile, homeAddress, far)
	stream, _ := w.connectFrom(w.mobile, homeAddress, w.correspondent, correspondentAddress)
	conns := map[string]net.Conn{"a UDP socket": datagrams, "a TCP connection": stream}
	// Plain routing, as on the home link.
	w.core.Route(homeAddress.String()+"/128", firstCareOf.String(), "mr1")
	w.agent.Route(homeAddress.String()+"/128", "2001:db8:a::ff", "up")
	for range 3 {
		for what, c := range conns {
			w.tunnels(what, c)
		}
		w.bind(0)
		for what, c := range conns {
			w.follows(what, w.mobileEngine, pair(overlay.MobileSide), c)
		}
		if mtu := w.socketMTU(datagrams); mtu != 1476 {
			t.Errorf("optimised: MTU %d, want 1476", mtu)
		}
		w.unbind()
		for what, c := range conns {
			w.tunnels(what, c)
		}
		if mtu := w.socketMTU(datagrams); mtu != 1460 {
			t.Errorf("in the tunnel: MTU %d, want 1460", mtu)
		}
		w.settled(stream, datagrams, far)
		w.detach()
		sent, drops := w.mobile.Link("wan1").Attrs().Statistics.TxPackets, w.mobileEngine.Drops()
		for what, c := range conns {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		w.eventually("plain packets", func() bool { return w.mobile.Link("wan1").Attrs().Statistics.TxPackets >= sent+2 })
		for _, r := range []overlay.DropReason{overlay.DropInnerSource, overlay.DropNoTunnel} {
			if n := w.mobileEngine.Drops()[r] - drops[r]; n != 0 {
				t.Errorf("at home %d packets enter the device: %v", n, r)
			}
		}
		w.attach(0)
	}
}

// settled waits until what was written has passed the device, so that no packet of
// before is taken for one of later: first all octets of a stream, then a datagram
// behind whatever is queued. A fast path may carry that datagram past others that are the
// engine's, and that it has yet to read.
func (w *optimisedWorld) settled(stream net.Conn, datagrams, far *net.UDPConn) {
	w.t.Helper()
	raw, err := stream.(*net.TCPConn).SyscallConn()
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually("everything acknowledged", func() bool {
		var queued int
		var err error
		if e := raw.Control(func(fd uintptr) { queued, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) }); e != nil || err != nil {
			w.t.Fatal(e, err)
		}
		return queued == 0
	})
	const last = "the last of all"
	if _, err := datagrams.Write([]byte(last)); err != nil {
		w.t.Fatal(err)
	}
	defer w.read(w.mobile, w.mobileEngine)
	b := make([]byte, 100)
	far.SetReadDeadline(time.Now().Add(patience))
	for {
		n, err := far.Read(b)
		if err != nil {
			w.t.Fatalf("waiting for a datagram: %v", err)
		}
		if string(b[:n]) == last {
			return
		}
	}
}

// read waits until an engine has read what is queued in its device: a packet behind it
// all that is none of IPv6.
func (w *world) read(s *nstest.Space, e Engine) {
	w.t.Helper()
	before := e.Drops()[overlay.DropMalformed]
	s.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, make([]byte, 40), 0, &unix.SockaddrLinklayer{Ifindex: e.Link(), Protocol: sock.NetworkOrder16(unix.ETH_P_IPV6)})
	})
	w.eventually("the device's queue is read", func() bool { return e.Drops()[overlay.DropMalformed] > before })
}

// socketMTU is the path MTU that a connected socket knows.
func (w *optimisedWorld) socketMTU(c *net.UDPConn) (mtu int) {
	w.t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		w.t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { mtu, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU) }); e != nil || err != nil {
		w.t.Fatal(e, err)
	}
	return mtu
}
