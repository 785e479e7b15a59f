package dhcpconn

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/dhcpv6"
	"roam6/internal/role"
	"roam6/internal/rtnl/nstest"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// end is a socket and what it heard.
type end struct {
	*Conn
	t     *testing.T
	heard chan role.DHCPReceived
}

// opened wraps one of the Open functions.
func opened(t *testing.T, s *nstest.Space, open func(func(role.DHCPReceived)) (*Conn, error)) *end {
	t.Helper()
	e := &end{t: t, heard: make(chan role.DHCPReceived, 64)}
	s.Do(func() (err error) {
		e.Conn, err = open(func(r role.DHCPReceived) { e.heard <- r })
		return err
	})
	t.Cleanup(func() { e.Close() })
	return e
}

func clientOn(t *testing.T, s *nstest.Space, name string) *end {
	return opened(t, s, func(h func(role.DHCPReceived)) (*Conn, error) { return OpenClient(s.Index(name), h) })
}

func groupOn(t *testing.T, s *nstest.Space, name string) *end {
	return opened(t, s, func(h func(role.DHCPReceived)) (*Conn, error) { return OpenGroup(s.Index(name), h) })
}

func serverAt(t *testing.T, s *nstest.Space, a netip.Addr) *end {
	return opened(t, s, func(h func(role.DHCPReceived)) (*Conn, error) { return OpenServer(a, h) })
}

// next waits for a message.
func (e *end) next(what string) role.DHCPReceived {
	e.t.Helper()
	select {
	case r := <-e.heard:
		return r
	case <-time.After(patience):
		e.t.Fatalf("waited in vain for %s: %+v", what, e.Counters())
		return role.DHCPReceived{}
	}
}

// until repeats f until it succeeds: what the kernel does in its own time.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

var toGroup = netip.AddrPortFrom(dhcpv6.AllRelayAgentsAndServers(), dhcpv6.ServerPort)

func hello(from, to netip.AddrPort) role.SendDHCP {
	return role.SendDHCP{From: from, To: to, Message: []byte{1, 2, 3, 4}}
}

// A client solicits from its link-local address to the group and is answered by
// unicast; the addresses come without zones, and our own multicast does not come
// back (RFC 8415 §7.1, §7.2, §18.2.1).
func TestMulticastAndAnswer(t *testing.T) {
	host, router := nstest.New(t), nstest.New(t)
	nstest.Veth(host, "up0", router, "home0")
	c, g := clientOn(t, host, "up0"), groupOn(t, router, "home0")
	own := groupOn(t, host, "up0") // a server beside the client
	from := netip.AddrPortFrom(host.LinkLocal("up0"), dhcpv6.ClientPort)
	until(t, "the solicitation can be sent", func() bool { return c.Send(hello(from, toGroup)) == nil })
	r := g.next("the solicitation")
	if r.From != from || r.To != toGroup || r.Link != router.Index("home0") || string(r.Message) != "\x01\x02\x03\x04" {
		t.Errorf("%+v, want from %v to %v", r, from, toGroup)
	}
	back := role.SendDHCP{Link: r.Link, From: netip.AddrPortFrom(router.LinkLocal("home0"), dhcpv6.ServerPort), To: r.From, Message: []byte{7, 2, 3, 4}}
	if err := g.Send(back); err != nil {
		t.Fatal(err)
	}
	if r := c.next("the reply"); r.From != back.From || r.To != from || r.Link != host.Index("up0") {
		t.Errorf("%+v, want %+v", r, back)
	}
	if n := own.Counters().Delivered; n != 0 {
		t.Errorf("our own multicast came back %d times", n)
	}
}

// From beyond its link nobody reaches a client, and what is too short or too long
// is counted (RFC 8415 §8).
//
// Covers: Attack: malformed options.
func TestStrangers(t *testing.T) {
	host, router := nstest.New(t), nstest.New(t)
	nstest.Veth(host, "up0", router, "home0")
	careOf := host.Address("up0", "2001:db8:1::2/64")
	router.Address("home0", "2001:db8:1::1/64")
	c := clientOn(t, host, "up0")
	send := func(to netip.Addr, zone uint32, n int) {
		router.Do(func() error {
			fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Sendto(fd, make([]byte, n), 0, &unix.SockaddrInet6{Port: int(dhcpv6.ClientPort), Addr: to.As16(), ZoneId: zone})
		})
	}
	linkLocal, zone := host.LinkLocal("up0"), uint32(router.Index("home0"))
	send(careOf, 0, 100)
	send(linkLocal, zone, 3)
	send(linkLocal, zone, maxMessage+1)
	send(linkLocal, zone, maxMessage)
	if r := c.next("the longest message"); len(r.Message) != maxMessage {
		t.Errorf("%d octets", len(r.Message))
	}
	want := Counters{Delivered: 1, Short: 1, Long: 1, Misdirected: 1}
	if got := c.Counters(); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// An address that comes and goes: the socket is there before and after, and sends
// from it while it is assigned. A server of all other addresses, as other programs
// open it, keeps its own messages and takes none of ours.
func TestServerBesideAnother(t *testing.T) {
	router, agent := nstest.New(t), nstest.New(t)
	nstest.Veth(router, "up0", agent, "home0")
	home := netip.MustParseAddr("2001:db8:10::100")
	address := agent.Address("home0", "2001:db8:10::1/64")
	// Another DHCPv6 server, before ours, with a client of every interface.
	other := make(chan int, 64)
	var others *net.UDPConn
	agent.Do(func() error {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		}}
		p, err := lc.ListenPacket(t.Context(), "udp6", "[::]:547")
		if err != nil {
			return err
		}
		others = p.(*net.UDPConn)
		return nil
	})
	defer others.Close()
	go func() {
		b := make([]byte, 100)
		for {
			n, _, err := others.ReadFrom(b)
			if err != nil {
				return
			}
			other <- n
		}
	}()
	s := serverAt(t, agent, address)
	r := serverAt(t, router, home) // not assigned yet
	from, to := netip.AddrPortFrom(home, dhcpv6.ServerPort), netip.AddrPortFrom(address, dhcpv6.ServerPort)
	router.Address("up0", "2001:db8:10::100/64")
	until(t, "it can be sent", func() bool { return r.Send(hello(from, to)) == nil })
	if got := s.next("the relayed message"); got.From != from || got.To != to {
		t.Errorf("%+v", got)
	}
	if err := s.Send(hello(to, from)); err != nil {
		t.Fatal(err)
	}
	if got := r.next("the answer"); got.From != to || got.To != from {
		t.Errorf("%+v", got)
	}
	// What is for another address is the other server's.
	second := agent.Address("home0", "2001:db8:10::2/64")
	if err := r.Send(hello(from, netip.AddrPortFrom(second, dhcpv6.ServerPort))); err != nil {
		t.Fatal(err)
	}
	select {
	case <-other:
	case <-time.After(patience):
		t.Error("the other server got nothing")
	}
	if n := s.Counters(); n.Delivered != 1 || n.Misdirected != 0 {
		t.Errorf("ours counted %+v", n)
	}
}

// A link that goes down and up, an address that changes, and an interface that is
// removed end nothing (requirement B10).
//
// Covers: B5, B10.
func TestLinkComesAndGoes(t *testing.T) {
	host, router := nstest.New(t), nstest.New(t)
	nstest.Veth(host, "up0", router, "home0")
	c, g := clientOn(t, host, "up0"), groupOn(t, router, "home0")
	solicit := func() error {
		return c.Send(hello(netip.AddrPortFrom(netip.Addr{}, dhcpv6.ClientPort), toGroup))
	}
	until(t, "the first is sent", func() bool { return solicit() == nil })
	first := g.next("the first").From
	host.LinkDown("up0")
	if err := solicit(); err == nil {
		t.Error("sent on a link that is down")
	}
	if err := host.Handle.LinkSetHardwareAddr(host.Link("up0"), net.HardwareAddr{2, 0, 0, 0, 0, 9}); err != nil {
		t.Fatal(err)
	}
	host.LinkUp("up0")
	until(t, "another is heard", func() bool { // what is sent too early is lost
		_ = solicit()
		return g.Counters().Delivered > 1
	})
	second := g.next("the second").From
	if second.Addr() == first.Addr() || !second.Addr().IsLinkLocalUnicast() {
		t.Errorf("from %v after %v", second, first)
	}
	router.LinkDown("home0")
	before := g.Counters().Delivered // nothing is on its way to a link that is down
	router.LinkUp("home0")
	until(t, "one is heard after the server's link was down", func() bool {
		_ = solicit()
		return g.Counters().Delivered > before
	})
	if err := host.Handle.LinkDel(host.Link("up0")); err != nil {
		t.Fatal(err)
	}
	if err := solicit(); err == nil {
		t.Error("sent on an interface that is gone")
	}
	select {
	case <-c.done:
		t.Error("the removal of the interface has ended the socket")
	default:
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := solicit(); err == nil {
		t.Error("sent after Close")
	}
}

// Two clients of different interfaces, and a second one of the same, can be open
// at once; what cannot be opened is said in words.
func TestOpen(t *testing.T) {
	host, router := nstest.New(t), nstest.New(t)
	nstest.Veth(host, "up0", router, "a0")
	nstest.Veth(host, "up1", router, "a1")
	clientOn(t, host, "up0")
	clientOn(t, host, "up1")
	clientOn(t, host, "up0")
	host.Do(func() error {
		if _, err := OpenGroup(9999, func(role.DHCPReceived) {}); err == nil {
			t.Error("opened on an interface that is not there")
		}
		if _, err := OpenClient(host.Index("up0"), nil); err == nil {
			t.Error("opened without a handler")
		}
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		a := netip.MustParseAddr("::1")
		if err := unix.Bind(fd, &unix.SockaddrInet6{Port: int(dhcpv6.ServerPort), Addr: a.As16()}); err != nil {
			return err
		}
		if _, err := OpenServer(a, func(role.DHCPReceived) {}); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("a port that somebody has for himself: %v", err)
		}
		return nil
	})
}
