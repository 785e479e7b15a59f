package tun

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	netlinklib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// Sockets are made to look again when a route joins others: once for a batch, not
// more often than the interval says, and not when rules change anyway. What is due
// does not outlive the engine.
func TestNudge(t *testing.T) {
	s := nstest.New(t)
	other := nstest.New(t)
	nstest.Veth(s, "up", other, "up")
	s.Address("up", correspondent.String()+"/64")
	var log bytes.Buffer
	var e *Engine
	s.Do(func() (err error) {
		e, err = Open(Config{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
		return err
	})
	t.Cleanup(func() { e.Close() })
	n := 0
	changes := func(count int) (list []overlay.Change) {
		for range count {
			n++
			r := correspondentRoute(correspondent)
			r.Home = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xaa, 14: byte(n >> 8), 15: byte(n)})
			list = append(list, overlay.Change{Optimise: &r})
		}
		return list
	}
	apply := func(c ...overlay.Change) {
		t.Helper()
		if err := e.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
	state := func() (next time.Duration, due bool) {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.nudging.next, e.nudging.timer != nil
	}
	first := changes(3)
	apply(first...)
	if next, due := state(); next != 0 || due {
		t.Error("nudged although the rule has come")
	}
	apply(first...)
	if next, due := state(); next != 0 || due {
		t.Error("nudged although nothing has come")
	}
	second := changes(100)
	apply(second...)
	next, due := state()
	if next == 0 || due {
		t.Fatal("not nudged by new routes")
	}
	// One after the other: the first may find the time right, the others wait.
	for range 200 {
		apply(changes(1)...)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		later, due := state()
		if !due && later > next {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what was due has not come")
		}
	}
	rules, err := s.Handle.RuleList(unix.AF_INET6)
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for _, r := range rules {
		if r.Priority == DefaultRulePriority+2 {
			ours++
		}
	}
	if ours != 1 {
		t.Errorf("%d rules, want one", ours)
	}
	for due = false; !due; _, due = state() {
		apply(changes(1)...)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, due := state(); due {
		t.Error("due beyond the end")
	}
	e.nudgeLate() // one that could not be stopped any more
	if log.Len() != 0 {
		t.Errorf("log:\n%s", &log)
	}
}

// BenchmarkNudge is what it costs with ten thousand bindings.
func BenchmarkNudge(b *testing.B) {
	s := nstest.New(b)
	other := nstest.New(b)
	nstest.Veth(s, "up", other, "up")
	s.Address("up", correspondent.String()+"/64")
	s.Do(func() error {
		e, err := Open(Config{})
		if err != nil {
			return err
		}
		defer e.Close()
		var list []overlay.Change
		for i := range 10_000 {
			r := correspondentRoute(correspondent)
			r.Home = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xaa, 14: byte(i >> 8), 15: byte(i)})
			list = append(list, overlay.Change{Optimise: &r})
		}
		if err := e.Apply(list); err != nil {
			return err
		}
		for b.Loop() {
			e.mu.Lock()
			e.nudgeNow()
			e.mu.Unlock()
		}
		return nil
	})
}

// RFC 8201 §4: a local socket that was connected without an address of its own
// takes a Packet Too Big from the tunnel to heart. Its route is the default route of
// the main table; what the kernel learns it notes where the home address leads.
func TestSocketsLearnPathMTU(t *testing.T) {
	s, other := nstest.New(t), nstest.New(t)
	nstest.Veth(s, "up", other, "down")
	s.Address("up", careOf.String()+"/64")
	var e *Engine
	s.Do(func() (err error) {
		e, err = Open(Config{})
		return err
	})
	t.Cleanup(func() { e.Close() })
	s.Address(DefaultDevice, home.String()+"/128")
	if err := s.Handle.RouteAdd(&netlinklib.Route{LinkIndex: e.Link(), Dst: &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}, Src: home.AsSlice()}); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply([]overlay.Change{{Set: &overlay.Tunnel{
		Key: overlay.Key{Home: home, Side: overlay.MobileSide}, Inner: []netip.Prefix{netip.PrefixFrom(home, 128)},
		Paths: []overlay.Path{{Local: careOf, Remote: agent, Link: s.Index("up")}},
	}}}); err != nil {
		t.Fatal(err)
	}
	const pathMTU = 1400
	e.table.mobile.lookup(addressOf(home)).paths.Load().preferred().tooBig(pathMTU, e.now())
	s.Do(func() error {
		for number := range 2 { // the kernel knows it already when the second one is connected
			fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO); err != nil {
				return err
			}
			if err := unix.Connect(fd, &unix.SockaddrInet6{Addr: correspondent.As16(), Port: 9}); err != nil {
				return err
			}
			mtu := 0
			for end := time.Now().Add(10 * time.Second); mtu != pathMTU-headerLength; time.Sleep(time.Millisecond) {
				if mtu, err = unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU); err != nil {
					return err
				}
				if time.Now().After(end) {
					return fmt.Errorf("socket %d still sends packets of %d octets, and not %d", number, mtu, pathMTU-headerLength)
				}
				_, _ = unix.Write(fd, make([]byte, mtu-48)) // what is too big is refused, or answered
			}
		}
		return nil
	})
}
