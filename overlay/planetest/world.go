// Package planetest is what every data plane engine must do, as tests: an
// engine's test calls Run (and Main, see there), its benchmark Throughput. The
// tests send real packets through network namespaces and need root.
//
//	correspondent ─ agent ─ core ═ mobile ─ node
//
// The mobile has two links to the core, and so two care-of addresses. What is
// behind the mobile is the mobile network; the home address is the mobile's own.
// For stacked tunnels the domain of an anchor is between agent and core.
package planetest

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// Engine is what the tests need of an engine.
type Engine interface {
	overlay.Plane
	// Link is the interface that home addresses are assigned to while away.
	Link() int
}

// Options are what an engine is opened with.
type Options struct {
	Log *slog.Logger
	// Adopt is how long what a predecessor left goes on; 0: the engine's default.
	Adopt time.Duration
	// Local reports whether an address is this node's.
	Local func(netip.Addr) bool
	// Reports of the engine, called from its goroutines.
	TrafficSeen        func(home, peer netip.Addr, side overlay.Side)
	Silent             func(home netip.Addr)
	UnknownHomeAddress func(source, destination, home netip.Addr)
	RouteUnreachable   func(pair overlay.Pair, careOf netip.Addr, received uint64)
}

// Open opens an engine in the calling thread's network namespace.
type Open func(Options) (Engine, error)

// Of is the Open of an engine that is opened like tun's.
func Of(open func(tun.Config) (*tun.Engine, error)) Open {
	return func(o Options) (Engine, error) {
		e, err := open(tun.Config{
			Log: o.Log, Adopt: o.Adopt, Local: o.Local, TrafficSeen: o.TrafficSeen, Silent: o.Silent,
			UnknownHomeAddress: o.UnknownHomeAddress, RouteUnreachable: o.RouteUnreachable,
		})
		if err != nil {
			return nil, err // not a nil *tun.Engine, which would be an Engine
		}
		return e, nil
	}
}

// Addresses of the world.
var (
	correspondentAddress = netip.MustParseAddr("2001:db8:c::1")
	agentAddress         = netip.MustParseAddr("2001:db8:a::1")
	firstCareOf          = netip.MustParseAddr("2001:db8:1::2")
	secondCareOf         = netip.MustParseAddr("2001:db8:2::2")
	foreignAddress       = netip.MustParseAddr("2001:db8:2::666") // nobody's care-of address
	nodeAddress          = netip.MustParseAddr("2001:db8:5::2")
	homeAddress          = netip.MustParseAddr("2001:db8:aa::5")
	networkPrefix        = netip.MustParsePrefix("2001:db8:5::/64")
)

// world is the namespaces and, on agent and mobile, the engines.
type world struct {
	t                                        testing.TB
	correspondent, agent, core, mobile, node *nstest.Space
	agentEngine, mobileEngine                Engine
	links                                    [2]int // the mobile's
}

func newWorld(t testing.TB) *world { return makeWorld(t, true) }

// makeWorld makes a world; without a core the mobile is linked to the agent.
func makeWorld(t testing.TB, core bool) *world {
	t.Helper()
	w := &world{t: t}
	for _, s := range []**nstest.Space{&w.correspondent, &w.agent, &w.mobile, &w.node} {
		*s = nstest.New(t)
	}
	w.core = w.agent
	if core {
		w.core = nstest.New(t)
	}
	for _, s := range []*nstest.Space{w.agent, w.core, w.mobile} {
		s.Sysctl("net/ipv6/conf/all/forwarding", "1")
	}
	// No source of a packet is a matter of chance.
	for _, s := range []*nstest.Space{w.correspondent, w.agent, w.core, w.mobile, w.node} {
		s.Sysctl("net/ipv6/icmp/ratelimit", "0")
	}
	nstest.Veth(w.correspondent, "up", w.agent, "cn")
	nstest.Veth(w.mobile, "wan1", w.core, "mr1")
	nstest.Veth(w.mobile, "wan2", w.core, "mr2")
	nstest.Veth(w.node, "up", w.mobile, "lan")

	w.correspondent.Address("up", "2001:db8:c::1/64")
	w.agent.Address("cn", "2001:db8:c::ff/64")
	w.core.Address("mr1", "2001:db8:1::ff/64")
	w.core.Address("mr2", "2001:db8:2::ff/64")
	w.mobile.Address("wan1", "2001:db8:1::2/64")
	w.mobile.Address("wan2", "2001:db8:2::2/64")
	w.mobile.Address("lan", "2001:db8:5::1/64")
	w.node.Address("up", "2001:db8:5::2/64")

	w.correspondent.Route("::/0", "2001:db8:c::ff", "up")
	w.mobile.Route("::/0", "2001:db8:1::ff", "wan1")
	w.node.Route("::/0", "2001:db8:5::1", "up")
	if core {
		nstest.Veth(w.agent, "up", w.core, "ha")
		w.agent.Address("up", agentAddress.String()+"/64")
		w.core.Address("ha", "2001:db8:a::ff/64")
		w.agent.Route("::/0", "2001:db8:a::ff", "up")
		w.core.Route("2001:db8:c::/64", agentAddress.String(), "ha")
	} else {
		w.agent.Address("lo", agentAddress.String()+"/128")
	}
	// A way out by the other link too, but not the preferred one.
	second := &netlink.Route{LinkIndex: w.mobile.Index("wan2"), Gw: net.ParseIP("2001:db8:2::ff"), Priority: 2048}
	if err := w.mobile.Handle.RouteAdd(second); err != nil {
		t.Fatalf("second default route: %v", err)
	}
	w.links = [2]int{w.mobile.Index("wan1"), w.mobile.Index("wan2")}
	return w
}

// open opens an engine in a namespace.
func (w *world) open(s *nstest.Space, open Open) Engine { return w.openWith(s, open, Options{}) }

// openWith opens an engine with options but for the log.
func (w *world) openWith(s *nstest.Space, open Open, o Options) Engine {
	w.t.Helper()
	o.Log = slog.New(slog.NewTextHandler(testWriter{w.t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var e Engine
	s.Do(func() (err error) {
		e, err = open(o)
		return err
	})
	return e
}

// openBoth opens both engines and has them closed before the namespaces go.
func (w *world) openBoth(open Open) {
	w.t.Helper()
	w.agentEngine = w.open(w.agent, open)
	w.mobileEngine = w.open(w.mobile, open)
	w.t.Cleanup(func() {
		for _, e := range []Engine{w.agentEngine, w.mobileEngine} {
			if err := e.Close(); err != nil {
				w.t.Errorf("close: %v", err)
			}
		}
	})
	w.home()
}

// home assigns the home address as the shell does while away.
func (w *world) home() {
	w.t.Helper()
	l, err := w.mobile.Handle.LinkByIndex(w.mobileEngine.Link())
	if err != nil {
		w.t.Fatal(err)
	}
	assignHome(w.mobile, l.Attrs().Name, homeAddress)
}

// assignHome assigns a home address, with the flag that says so.
func assignHome(s *nstest.Space, link string, home netip.Addr) {
	s.Do(func() error {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: home.AsSlice(), Mask: net.CIDRMask(128, 128)}, Flags: unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS}
		return s.Handle.AddrAdd(s.Link(link), a)
	})
	s.Local(home)
}

// path is the i-th path, seen from one side.
func (w *world) path(side overlay.Side, i int) overlay.Path {
	careOf := [2]netip.Addr{firstCareOf, secondCareOf}[i]
	if side == overlay.AgentSide {
		return overlay.Path{Local: agentAddress, Remote: careOf}
	}
	return overlay.Path{Local: careOf, Remote: agentAddress, Link: w.links[i]}
}

func (w *world) tunnel(side overlay.Side, i int) *overlay.Tunnel {
	return &overlay.Tunnel{
		Key:   overlay.Key{Home: homeAddress, Side: side},
		Inner: []netip.Prefix{netip.PrefixFrom(homeAddress, 128), networkPrefix},
		Paths: []overlay.Path{w.path(side, i)},
	}
}

// attach makes the i-th path the one of both ends: the agent first, whose acknowledgement
// the mobile waits for.
func (w *world) attach(i int) {
	w.t.Helper()
	w.apply(w.agentEngine, overlay.Change{Set: w.tunnel(overlay.AgentSide, i)})
	w.apply(w.mobileEngine, overlay.Change{Set: w.tunnel(overlay.MobileSide, i)})
}

// detach removes the tunnel at both ends.
func (w *world) detach() {
	w.t.Helper()
	for side, e := range map[overlay.Side]Engine{overlay.MobileSide: w.mobileEngine, overlay.AgentSide: w.agentEngine} {
		if err := e.Apply([]overlay.Change{{Remove: overlay.Key{Home: homeAddress, Side: side}}}); err != nil {
			w.t.Fatalf("apply: %v", err)
		}
	}
}

// udp opens a socket in a namespace.
func (w *world) udp(s *nstest.Space, at netip.Addr) *net.UDPConn {
	w.t.Helper()
	var c *net.UDPConn
	s.Do(func() (err error) {
		c, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	_ = c.SetReadBuffer(4 << 20)
	w.t.Cleanup(func() { c.Close() })
	return c
}

func addrPort(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// patience bounds every wait for something that must happen.
const patience = 10 * time.Second

// eventually waits until a condition holds.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	end := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(end) {
			w.t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// passes sends datagrams until one arrives, from where it was sent.
func (w *world) passes(from, to *net.UDPConn) {
	w.t.Helper()
	if err := pass(from, to, patience); err != nil {
		w.t.Fatalf("from %v to %v: %v", from.LocalAddr(), to.LocalAddr(), err)
	}
}

func pass(from, to *net.UDPConn, within time.Duration) error {
	want := fmt.Appendf(nil, "%v %d", from.LocalAddr(), time.Now().UnixNano())
	b := make([]byte, 2048)
	end := time.Now().Add(within)
	for time.Now().Before(end) {
		if _, err := from.WriteToUDPAddrPort(want, addrPort(to)); err != nil {
			return err
		}
		wait := time.Now().Add(min(within, 100*time.Millisecond))
		for {
			if err := to.SetReadDeadline(wait); err != nil {
				return err
			}
			n, source, err := to.ReadFromUDPAddrPort(b)
			if err != nil {
				break
			}
			if string(b[:n]) != string(want) {
				continue // of an earlier attempt
			}
			if source.Addr() != addrPort(from).Addr() {
				return fmt.Errorf("arrived from %v", source)
			}
			return nil
		}
	}
	return fmt.Errorf("nothing arrived within %v", within)
}

// rawSocket opens a socket that sends whole packets.
func (w *world) rawSocket(s *nstest.Space) (send func(packet []byte)) {
	w.t.Helper()
	fd := -1
	s.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	w.t.Cleanup(func() { unix.Close(fd) })
	return func(packet []byte) {
		w.t.Helper()
		if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet6{Addr: [16]byte(packet[24:40])}); err != nil {
			w.t.Fatalf("send: %v", err)
		}
	}
}

// testWriter is the test's log.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b[:max(len(b)-1, 0)])
	return len(b), nil
}

// firstLinkMTU sets the MTU of the link between core and mobile, at both ends.
func (w *world) firstLinkMTU(mtu int) {
	w.t.Helper()
	for _, end := range []struct {
		s    *nstest.Space
		name string
	}{{w.core, "mr1"}, {w.mobile, "wan1"}} {
		if err := end.s.Handle.LinkSetMTU(end.s.Link(end.name), mtu); err != nil {
			w.t.Fatal(err)
		}
	}
}

// judges asserts that an engine passes a packet on or, with a reason, drops it
// for that. send sends it, and arrived waits for it.
func (w *world) judges(name string, engine overlay.Plane, reason overlay.DropReason, send func(), arrived func(limit time.Duration) bool) {
	w.t.Helper()
	before := engine.Drops()
	send()
	if reason == 0 {
		if !arrived(patience) {
			w.t.Errorf("%s: did not arrive; drops %v", name, engine.Drops())
		}
		return
	}
	w.eventually(name+": drop "+reason.String(), func() bool {
		return engine.Drops()[reason] == before[reason]+1
	})
	if arrived(20 * time.Millisecond) {
		w.t.Errorf("%s: arrived", name)
	}
}
