package kernel

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
	"roam6/overlay/feature"
	"roam6/overlay/tun"
)

const patience = 10 * time.Second

var (
	correspondentAddress = netip.MustParseAddr("2001:db8:c::1")
	agentAddress         = netip.MustParseAddr("2001:db8:a::1")
	careOf               = [2]netip.Addr{netip.MustParseAddr("2001:db8:1::2"), netip.MustParseAddr("2001:db8:2::2")}
	homeAddress          = netip.MustParseAddr("2001:db8:aa::5")
	nodeAddress          = netip.MustParseAddr("2001:db8:5::2")
	networkPrefix        = netip.MustParsePrefix("2001:db8:5::/64")
)

// world is correspondent ─ agent ═ mobile ─ node, with routes by source on the mobile,
// as a mobile has them.
type world struct {
	testing.TB
	correspondent, agent, mobile, node *nstest.Space
	agentEngine, mobileEngine          *tun.Engine
	paths                              []*path
	without                            bool // hooks at devices
}

// abandon leaves in the kernel what is there, as a process does that is killed.
func (p *path) abandon() {
	p.mu.Lock()
	p.closed = true
	p.release()
	p.mu.Unlock()
	p.guard.running.Wait()
	p.follower.running.Wait()
}

// needed skips a test where the kernel lacks what the engine needs.
func needed(t testing.TB) {
	t.Helper()
	if features := Probe(); !feature.Suffices(features) {
		t.Skipf("needs a kernel with ip6_tunnel and nf_tables, and root: %+v", features)
	}
}

func newWorld(t testing.TB) *world { return makeWorld(t, false) }

// everyKernel runs a test where the kernel has hooks at devices and where it has none.
func everyKernel(t *testing.T, test func(*testing.T, *world)) {
	for name, without := range map[string]bool{"HooksAtDevices": false, "HooksOfAll": true} {
		t.Run(name, func(t *testing.T) { test(t, makeWorld(t, without)) })
	}
}

func makeWorld(t testing.TB, without bool) *world {
	t.Helper()
	needed(t)
	w := &world{TB: t, without: without}
	for _, s := range []**nstest.Space{&w.correspondent, &w.agent, &w.mobile, &w.node} {
		*s = nstest.New(t)
		(*s).Sysctl("net/ipv6/icmp/ratelimit", "0")
	}
	for _, s := range []*nstest.Space{w.agent, w.mobile} {
		s.Sysctl("net/ipv6/conf/all/forwarding", "1")
	}
	nstest.Veth(w.correspondent, "up", w.agent, "cn")
	nstest.Veth(w.mobile, "wan1", w.agent, "mr1")
	nstest.Veth(w.mobile, "wan2", w.agent, "mr2")
	nstest.Veth(w.node, "up", w.mobile, "lan")
	for _, a := range []struct {
		s             *nstest.Space
		link, address string
	}{
		{w.correspondent, "up", "2001:db8:c::1/64"}, {w.agent, "cn", "2001:db8:c::ff/64"}, {w.agent, "lo", "2001:db8:a::1/128"},
		{w.agent, "mr1", "2001:db8:1::ff/64"}, {w.agent, "mr2", "2001:db8:2::ff/64"},
		{w.mobile, "wan1", "2001:db8:1::2/64"}, {w.mobile, "wan2", "2001:db8:2::2/64"},
		{w.mobile, "lan", "2001:db8:5::1/64"}, {w.node, "up", "2001:db8:5::2/64"},
	} {
		a.s.Address(a.link, a.address)
	}
	w.correspondent.Route("::/0", "2001:db8:c::ff", "up")
	w.node.Route("::/0", "2001:db8:5::1", "up")
	for i, via := range []string{"2001:db8:1::ff", "2001:db8:2::ff"} {
		name := []string{"wan1", "wan2"}[i]
		r := &netlink.Route{LinkIndex: w.mobile.Index(name), Gw: net.ParseIP(via), Table: 100 + i}
		if err := w.mobile.Handle.RouteAdd(r); err != nil {
			t.Fatalf("route by %s: %v", name, err)
		}
		rule := netlink.NewRule()
		rule.Family, rule.Priority, rule.Table = unix.AF_INET6, 5000+i, 100+i
		rule.Src = &net.IPNet{IP: careOf[i].AsSlice(), Mask: net.CIDRMask(128, 128)}
		if err := w.mobile.Handle.RuleAdd(rule); err != nil {
			t.Fatalf("rule of %v: %v", careOf[i], err)
		}
	}
	w.mobile.Route("::/0", "2001:db8:1::ff", "wan1")
	w.agentEngine, w.mobileEngine = w.open(w.agent), w.open(w.mobile)
	t.Cleanup(func() {
		for _, e := range []*tun.Engine{w.agentEngine, w.mobileEngine} {
			if err := e.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	})
	w.mobile.Address(tun.DefaultDevice, homeAddress.String()+"/128")
	return w
}

type testWriter struct{ testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.Helper()
	w.Logf("%s", b)
	return len(b), nil
}

func (w *world) open(s *nstest.Space) (e *tun.Engine) {
	w.Helper()
	s.Do(func() (err error) {
		p := &path{without: w.without}
		w.paths = append(w.paths, p)
		e, err = tun.Open(tun.Config{Fast: p, Log: slog.New(slog.NewTextHandler(testWriter{w}, nil))})
		return err
	})
	return e
}

func tunnelOf(side overlay.Side, from, to netip.Addr, link int, home netip.Addr, inner ...netip.Prefix) *overlay.Tunnel {
	p := overlay.Path{Local: from, Remote: to, Link: link}
	return &overlay.Tunnel{Key: overlay.Key{Home: home, Side: side}, Inner: inner, Paths: []overlay.Path{p}}
}

func (w *world) apply(e *tun.Engine, changes ...overlay.Change) {
	w.Helper()
	if err := e.Apply(changes); err != nil {
		w.Fatalf("apply: %v", err)
	}
}

// attach makes the i-th care-of address the mobile's: at the agent first.
func (w *world) attach(i int) {
	w.Helper()
	inner := []netip.Prefix{netip.PrefixFrom(homeAddress, 128), networkPrefix}
	w.apply(w.agentEngine, overlay.Change{Set: tunnelOf(overlay.AgentSide, agentAddress, careOf[i], 0, homeAddress, inner...)})
	w.apply(w.mobileEngine, overlay.Change{Set: tunnelOf(overlay.MobileSide, careOf[i], agentAddress, w.mobile.Index([]string{"wan1", "wan2"}[i]), homeAddress, inner...)})
}

func (w *world) udp(s *nstest.Space, at netip.Addr) (c *net.UDPConn) {
	w.Helper()
	s.Do(func() (err error) {
		c, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	w.Cleanup(func() { c.Close() })
	return c
}

// passes sends until a datagram arrives.
func (w *world) passes(from, to *net.UDPConn) {
	w.Helper()
	w.eventually("a datagram arrives", func() bool {
		if _, err := from.WriteTo([]byte("x"), to.LocalAddr()); err != nil {
			w.Fatal(err)
		}
		return arrives(to, 100*time.Millisecond)
	})
}

func arrives(c *net.UDPConn, within time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := c.Read(make([]byte, 2048))
	return err == nil
}

func (w *world) eventually(what string, f func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// carried are the packets that a device of a namespace has received and sent.
func carried(s *nstest.Space, device string) (n uint64) {
	stats := s.Link(device).Attrs().Statistics
	return stats.RxPackets + stats.TxPackets
}
