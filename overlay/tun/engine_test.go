package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"protocol":      {RouteProtocol: 4},
		"priority":      {RulePriority: 32764},
		"main table":    {Table: unix.RT_TABLE_MAIN},
		"table before":  {Table: unix.RT_TABLE_COMPAT},
		"mark":          {Mark: 0x10001},
		"metric":        {RouteMetric: -1},
		"path MTU":      {PathMTU: 1279},
		"batch":         {Batch: 2000},
		"socket buffer": {SocketBuffer: -5},
	} {
		if e, err := Open(c); err == nil {
			e.Close()
			t.Errorf("%s: %+v is accepted", name, c)
		}
	}
}

// Errors of Open say what to do, and can be told apart.
func TestOpenErrors(t *testing.T) {
	for err, want := range map[error]error{unix.EPERM: ErrPrivilege, unix.EACCES: ErrPrivilege, unix.EAFNOSUPPORT: ErrNoIPv6} {
		got := openError("raw socket", err)
		if !errors.Is(got, want) || !errors.Is(got, err) || strings.Contains(got.Error(), "\n") {
			t.Errorf("%v: %v", err, got)
		}
	}
	s := nstest.New(t)
	s.Do(func() error {
		e, err := Open(Config{Device: "first"})
		if err != nil {
			return err
		}
		defer e.Close()
		if _, err := Open(Config{Device: "first"}); !errors.Is(err, ErrDeviceBusy) {
			t.Errorf("same name: %v", err)
		}
		if _, err := Open(Config{Device: "a-name-that-is-too-long"}); !errors.Is(err, unix.EINVAL) {
			t.Errorf("long name: %v", err)
		}
		return nil
	})
}

func TestUnsupportedPath(t *testing.T) {
	e := &Engine{}
	for _, p := range []overlay.Path{
		{Local: careOf, Remote: netip.MustParseAddr("::ffff:192.0.2.1"), RemotePort: 4191},
		{Local: careOf, Remote: agent, RemotePort: 4191},
		{Local: careOf, Remote: netip.MustParseAddr("192.0.2.1")},
	} {
		_, err := e.check(&overlay.Tunnel{
			Key: overlay.Key{Home: home, Side: overlay.MobileSide}, Inner: []netip.Prefix{network}, Paths: []overlay.Path{p},
		})
		if !errors.Is(err, ErrPathUnsupported) {
			t.Errorf("%v: %v", p, err)
		}
	}
}

// A route of somebody else's in the way is reported, left alone, and no
// obstacle once it has gone.
func TestForeignRoute(t *testing.T) {
	s := nstest.New(t)
	nstest.Veth(s, "a", s, "b")
	tunnel := &overlay.Tunnel{
		Key: overlay.Key{Home: home, Side: overlay.MobileSide}, Inner: []netip.Prefix{network},
		Paths: []overlay.Path{{Local: careOf, Remote: agent}},
	}
	s.Do(func() error {
		e, err := Open(Config{})
		if err != nil {
			return err
		}
		defer e.Close()
		// Only the second of the three requests fails, so that the others are half
		// of an installation.
		foreign := []rtbatch.Request{{Kind: unix.RTM_NEWRULE, Flags: unix.NLM_F_CREATE, Body: (&kernel{config: e.config, index: e.device.index}).ruleBody(e.config.RulePriority, unix.RT_TABLE_MAIN, netip.Prefix{}, network)}}
		if err := e.commit("foreign rule", foreign); err != nil {
			return err
		}
		err = e.Apply([]overlay.Change{{Set: tunnel}})
		if !errors.Is(err, unix.EEXIST) {
			t.Errorf("foreign rule: %v", err)
		}
		if err := e.Apply([]overlay.Change{{Set: tunnel}}); err != nil {
			t.Errorf("again: %v", err)
		}
		return nil
	})
}

// An agent's first link may be smaller than the usual MTU without its paths
// saying which link that is.
func TestFirstHopTooSmall(t *testing.T) {
	s, far := nstest.New(t), nstest.New(t)
	nstest.Veth(s, "up", far, "down")
	s.Address("up", "2001:db8:a::1/64")
	far.Address("down", "2001:db8:a::ff/64")
	s.Route("::/0", "2001:db8:a::ff", "up")
	if err := s.Handle.LinkSetMTU(s.Link("up"), 1440); err != nil {
		t.Fatal(err)
	}
	s.Do(func() error {
		e, err := Open(Config{})
		if err != nil {
			return err
		}
		defer e.Close()
		if err := e.Apply([]overlay.Change{{Set: &overlay.Tunnel{
			Key: overlay.Key{Home: home, Side: overlay.AgentSide}, Inner: []netip.Prefix{network},
			Paths: []overlay.Path{{Local: agent, Remote: careOf}},
		}}}); err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		big := udp(agent, nodeBehind, text(1460-48))
		for end := time.Now().Add(10 * time.Second); e.Tunnels()[0].MTU != 1400; {
			if err := unix.Sendto(fd, big, 0, &unix.SockaddrInet6{Addr: nodeBehind.As16()}); err != nil {
				return err
			}
			if time.Now().After(end) {
				return fmt.Errorf("tunnel MTU %d, want 1400; drops %v", e.Tunnels()[0].MTU, e.Drops())
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	})
}

// BenchmarkApply installs and removes ten thousand bindings, each with its route.
func BenchmarkApply(b *testing.B) {
	s := nstest.New(b)
	const n = 10_000
	var set, remove []overlay.Change
	for i := range n {
		h := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 5: byte(i >> 8), 6: byte(i), 15: 1})
		k := overlay.Key{Home: h, Side: overlay.AgentSide}
		set = append(set, overlay.Change{Set: &overlay.Tunnel{
			Key: k, Inner: []netip.Prefix{netip.PrefixFrom(h, 128)}, Paths: []overlay.Path{{Local: agent, Remote: careOf}},
		}})
		remove = append(remove, overlay.Change{Remove: k})
	}
	s.Do(func() error {
		e, err := Open(Config{})
		if err != nil {
			return err
		}
		defer e.Close()
		for b.Loop() {
			if err := errors.Join(e.Apply(set), e.Apply(set), e.Apply(remove)); err != nil {
				return err
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/binding")
		return nil
	})
}
