package planetest

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"roam6/internal/mhsock"
	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// A second mobile, for tests of two: the correspondent, with a home address too.
var (
	otherHome  = netip.MustParseAddr("2001:db8:aa::6")
	peerSecond = netip.MustParseAddr("2001:db8:c::2") // another address of the correspondent's
)

// optimisedWorld is a world with an engine at the correspondent, too, where the
// kernels keep quiet about what they do not know (as the signalling sees to).
type optimisedWorld struct {
	*world
	correspondentEngine Engine
	correspondentSees   reports
	mobileSees          reports
	before              map[*nstest.Space]string // snapshots without the engines
}

// reports collects what an engine reports.
type reports struct {
	mu      sync.Mutex
	traffic []overlay.Pair
	silent  []netip.Addr
	unknown [][3]netip.Addr
	nowhere []overlay.Route
}

func (r *reports) options(local ...netip.Addr) Options {
	return Options{
		Local: func(a netip.Addr) bool { return slices.Contains(local, a) },
		TrafficSeen: func(home, peer netip.Addr, side overlay.Side) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.traffic = append(r.traffic, overlay.Pair{Home: home, Peer: peer, Side: side})
		},
		Silent: func(home netip.Addr) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.silent = append(r.silent, home)
		},
		UnknownHomeAddress: func(source, destination, home netip.Addr) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.unknown = append(r.unknown, [3]netip.Addr{source, destination, home})
		},
		RouteUnreachable: func(p overlay.Pair, careOf netip.Addr, _ uint64) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.nowhere = append(r.nowhere, overlay.Route{Pair: p, CareOf: careOf})
		},
	}
}

// sightings is how often a pair was reported.
func (r *reports) sightings(p overlay.Pair) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.traffic {
		if q == p {
			n++
		}
	}
	return n
}

func newOptimisedWorld(t testing.TB, open Open) *optimisedWorld {
	t.Helper()
	return optimise(makeWorld(t, true), open)
}

func optimise(made *world, open Open) *optimisedWorld {
	made.t.Helper()
	w := &optimisedWorld{world: made}
	w.correspondent.Address("up", peerSecond.String()+"/64")
	for _, s := range []*nstest.Space{w.correspondent, w.mobile} {
		w.silence(s)
	}
	w.before = map[*nstest.Space]string{w.mobile: Snapshot(w.mobile), w.correspondent: Snapshot(w.correspondent)}
	w.agentEngine = w.open(w.agent, open)
	w.mobileEngine = w.openWith(w.mobile, open, w.mobileSees.options(firstCareOf, secondCareOf, homeAddress, regionalCareOf))
	w.correspondentEngine = w.openWith(w.correspondent, open, w.correspondentSees.options(correspondentAddress, peerSecond, otherHome))
	w.t.Cleanup(func() {
		for _, e := range []Engine{w.agentEngine, w.mobileEngine, w.correspondentEngine} {
			if err := e.Close(); err != nil {
				w.t.Errorf("close: %v", err)
			}
		}
	})
	w.home()
	w.attach(0)
	return w
}

// silence keeps a kernel from answering what it does not know.
func (w *optimisedWorld) silence(s *nstest.Space) {
	w.t.Helper()
	var c *mhsock.Conn
	s.Do(func() (err error) {
		c, err = mhsock.Open(mhsock.Options{
			Local: func(netip.Addr) bool { return false }, Deliver: func([]byte, int) {},
			RouteMark: tun.RouteMark(tun.DefaultMark, tun.DefaultMarkMask),
		})
		return err
	})
	w.t.Cleanup(func() { c.Close() })
	if !c.Silenced() {
		w.t.Skip("needs nftables in the kernel: CONFIG_NF_TABLES, CONFIG_NF_TABLES_IPV6 (OpenWrt: kmod-nft-core)")
	}
}

// pair is that of the mobile and the correspondent, at one end.
func pair(side overlay.Side) overlay.Pair {
	return overlay.Pair{Home: homeAddress, Peer: correspondentAddress, Side: side}
}

// route is the optimised route between the mobile at its i-th care-of address
// and the correspondent, at one end.
func (w *optimisedWorld) route(side overlay.Side, i int) *overlay.Route {
	r := &overlay.Route{Pair: pair(side), CareOf: [2]netip.Addr{firstCareOf, secondCareOf}[i]}
	if side == overlay.MobileSide {
		r.Link = w.links[i]
	}
	return r
}

func (w *world) apply(e Engine, changes ...overlay.Change) {
	w.t.Helper()
	if err := e.Apply(changes); err != nil {
		w.t.Fatalf("apply: %v", err)
	}
}

// bind installs the optimised route at both ends: the correspondent first, whose
// acknowledgement the mobile waits for.
func (w *optimisedWorld) bind(i int) {
	w.t.Helper()
	w.apply(w.correspondentEngine, overlay.Change{Optimise: w.route(overlay.CorrespondentSide, i)})
	w.apply(w.mobileEngine, overlay.Change{Optimise: w.route(overlay.MobileSide, i)})
}

// unbind removes it: the mobile first, as one does that has moved.
func (w *optimisedWorld) unbind() {
	w.t.Helper()
	w.apply(w.mobileEngine, overlay.Change{Deoptimise: new(pair(overlay.MobileSide))})
	w.apply(w.correspondentEngine, overlay.Change{Deoptimise: new(pair(overlay.CorrespondentSide))})
}

// tunnelUse is how many packets the agent's tunnels have carried.
func (w *optimisedWorld) tunnelUse() (n uint64) {
	for _, s := range w.agentEngine.Tunnels() {
		n += s.Counters.EncapPackets + s.Counters.DecapPackets
	}
	return n
}

// direct runs f, during which no packet may pass the agent's tunnels.
func (w *optimisedWorld) direct(what string, f func()) {
	w.t.Helper()
	before := w.tunnelUse()
	f()
	if n := w.tunnelUse() - before; n != 0 {
		w.t.Errorf("%s: %d packets through the home agent", what, n)
	}
}

// everything sends UDP, TCP and echo requests both ways between two addresses.
func (w *optimisedWorld) everything(a *nstest.Space, from netip.Addr, b *nstest.Space, to netip.Addr) {
	w.t.Helper()
	one, other := w.udp(a, from), w.udp(b, to)
	w.passes(one, other)
	w.passes(other, one)
	for _, c := range []struct {
		client, server *nstest.Space
		from, at       netip.Addr
	}{{a, b, from, to}, {b, a, to, from}} {
		w.transfers(c.client, c.from, c.server, c.at)
		w.echo(c.client, c.from, c.at)
	}
}

// transfers moves a megabyte each way over a TCP connection.
func (w *optimisedWorld) transfers(client *nstest.Space, from netip.Addr, server *nstest.Space, at netip.Addr) {
	w.t.Helper()
	sender, receiver := w.connectFrom(client, from, server, at)
	const size = 1 << 20
	for _, c := range [][2]*net.TCPConn{{sender, receiver}, {receiver, sender}} {
		_ = c[0].SetDeadline(time.Now().Add(patience))
		_ = c[1].SetDeadline(time.Now().Add(patience))
		go func() { _, _ = c[0].Write(pattern(size)) }()
		got := make([]byte, size)
		if _, err := io.ReadFull(c[1], got); err != nil {
			w.t.Fatalf("TCP from %v: %v", c[0].LocalAddr(), err)
		}
		if !slices.Equal(got, pattern(size)) {
			w.t.Errorf("TCP from %v: content differs", c[0].LocalAddr())
		}
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// echo sends echo requests until a reply comes.
func (w *optimisedWorld) echo(s *nstest.Space, from, to netip.Addr) {
	w.t.Helper()
	var c net.PacketConn
	s.Do(func() (err error) {
		c, err = net.ListenPacket("ip6:ipv6-icmp", from.String())
		return err
	})
	defer c.Close()
	request := []byte{128, 0, 0, 0, 0x12, 0x34, 0, 1, 'r', 'o', 'a', 'm'}
	b := make([]byte, 2048)
	w.eventually(fmt.Sprintf("echo reply from %v to %v", to, from), func() bool {
		if _, err := c.WriteTo(request, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			w.t.Fatalf("echo request to %v: %v", to, err)
		}
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		for {
			n, source, err := c.ReadFrom(b)
			if err != nil {
				return false
			}
			if n == len(request) && b[0] == 129 && source.(*net.IPAddr).IP.Equal(to.AsSlice()) {
				return true
			}
		}
	})
}

// RFC 6275 §9.3.1, §9.3.2, §11.3.1, §11.3.3: over an optimised route everything
// passes between home address and correspondent, past the home agent, and
// nothing changes for applications. Without one it takes the tunnel.
// Covers: C1, C2, M6, M7.
func optimisedRoute(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	before := w.tunnelUse()
	w.everything(w.correspondent, correspondentAddress, w.mobile, homeAddress)
	if w.tunnelUse() == before {
		t.Fatal("nothing through the tunnel without a route")
	}
	w.bind(0)
	w.direct("optimised", func() { w.everything(w.correspondent, correspondentAddress, w.mobile, homeAddress) })
	w.bind(0) // again: nothing changes
	w.direct("optimised twice", func() { w.everything(w.correspondent, correspondentAddress, w.mobile, homeAddress) })
	for side, e := range map[overlay.Side]Engine{overlay.MobileSide: w.mobileEngine, overlay.CorrespondentSide: w.correspondentEngine} {
		all := e.Routes()
		if len(all) != 1 || all[0].Route != *w.route(side, 0) || all[0].Since.IsZero() {
			t.Fatalf("routes %+v", all)
		}
		if c := all[0].Counters; c.EncapPackets < 10 || c.DecapPackets < 10 || c.EncapBytes < 4<<20 || c.DecapBytes < 4<<20 {
			t.Errorf("counters %+v", c)
		}
	}
	for r, p := range map[*reports]overlay.Pair{&w.mobileSees: pair(overlay.MobileSide), &w.correspondentSees: pair(overlay.CorrespondentSide)} {
		if n := r.sightings(p); n != 1 {
			t.Errorf("traffic of %v reported %d times", p, n)
		}
	}
	for _, e := range []Engine{w.mobileEngine, w.correspondentEngine} {
		d := e.Drops()
		delete(d, overlay.DropLinkScope) // the kernel's own, when the device comes up
		if len(d) != 0 {
			t.Errorf("drops %v", d)
		}
	}
	// What is not of the pair is not affected.
	w.passes(w.udp(w.node, nodeAddress), w.udp(w.correspondent, correspondentAddress))
	w.passes(w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress))
	other := w.udp(w.correspondent, peerSecond)
	home := w.udp(w.mobile, homeAddress)
	before = w.tunnelUse()
	w.passes(other, home)
	w.passes(home, other)
	if w.tunnelUse() == before {
		t.Error("another address of the correspondent's uses the route")
	}
	// Not even a route into the device makes such packets turn round there.
	if err := routeInto(w.correspondent, homeAddress.String()+"/128", w.correspondentEngine.Link()); err != nil {
		t.Fatal(err)
	}
	w.eventually("drop of a packet that would come back", func() bool {
		if _, err := other.WriteToUDPAddrPort([]byte("x"), addrPort(home)); err != nil {
			t.Fatal(err)
		}
		return w.correspondentEngine.Drops()[overlay.DropUnreachable] > 0
	})
	w.direct("with the route into the device", func() { w.everything(w.correspondent, correspondentAddress, w.mobile, homeAddress) })
	w.routeAway(w.correspondent, homeAddress.String()+"/128", w.correspondentEngine.Link())

	w.unbind()
	w.unbind() // to remove what is not there is no failure
	before = w.tunnelUse()
	w.everything(w.correspondent, correspondentAddress, w.mobile, homeAddress)
	if w.tunnelUse() == before {
		t.Error("nothing through the tunnel after the route has gone")
	}
	if n := len(w.mobileEngine.Routes()) + len(w.correspondentEngine.Routes()); n != 0 {
		t.Errorf("%d routes left", n)
	}
}

// connectFrom is connect with an address of the client's.
func (w *world) connectFrom(from *nstest.Space, source netip.Addr, to *nstest.Space, at netip.Addr) (sender, receiver *net.TCPConn) {
	w.t.Helper()
	var l *net.TCPListener
	to.Do(func() (err error) {
		l, err = net.ListenTCP("tcp6", net.TCPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	defer l.Close()
	var local *net.TCPAddr
	if source.IsValid() {
		local = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	from.Do(func() error {
		c, err := net.DialTCP("tcp6", local, l.Addr().(*net.TCPAddr))
		sender = c
		return err
	})
	_ = l.SetDeadline(time.Now().Add(patience))
	receiver, err := l.AcceptTCP()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { sender.Close(); receiver.Close() })
	return sender, receiver
}
