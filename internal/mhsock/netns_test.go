package mhsock

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/rtnl/nstest"
	"roam6/internal/sock"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// world is a peer on one link of a router, and a host on the other.
//
//	peer ──── router ──── host
type world struct {
	t                  testing.TB
	peer, router, host *nstest.Space
	peerAddr, addr     netip.Addr // on the first link
	hostAddr           netip.Addr
	delivered          chan delivery
	heard              *tap // what reaches the peer
}

type delivery struct {
	packet []byte
	link   int
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, peer: nstest.New(t), router: nstest.New(t), host: nstest.New(t), delivered: make(chan delivery, 64)}
	nstest.Veth(w.router, "r0", w.peer, "p0")
	nstest.Veth(w.router, "r1", w.host, "h0")
	w.router.Sysctl("net/ipv6/conf/all/forwarding", "1")
	w.router.Sysctl("net/ipv6/icmp/ratelimit", "0")
	w.addr = w.router.Address("r0", "2001:db8:1::1/64")
	w.router.Address("r1", "2001:db8:2::1/64")
	w.peerAddr = w.peer.Address("p0", "2001:db8:1::2/64")
	w.peer.Route("::/0", "2001:db8:1::1", "p0")
	w.hostAddr = w.host.Address("h0", "2001:db8:2::2/64")
	w.host.Route("::/0", "2001:db8:2::1", "h0")
	w.heard = newTap(t, w.peer)
	return w
}

func (w *world) local(a netip.Addr) bool { return a == w.addr || a == homeAddress }

// openSilent opens a Conn on the router, for a test that is about nftables.
func (w *world) openSilent() *Conn {
	w.t.Helper()
	c := w.open()
	if !c.Silenced() {
		w.t.Skip("needs nftables in the kernel: CONFIG_NF_TABLES, CONFIG_NF_TABLES_IPV6 (OpenWrt: kmod-nft-core)")
	}
	return c
}

// open opens a Conn on the router.
func (w *world) open() *Conn {
	w.t.Helper()
	var c *Conn
	w.router.Do(func() (err error) {
		c, err = Open(Options{Local: w.local, Deliver: func(p []byte, link int) { w.delivered <- delivery{p, link} }})
		return err
	})
	w.t.Cleanup(func() { c.Close() })
	return c
}

func (w *world) expect(packet []byte, link int) {
	w.t.Helper()
	select {
	case d := <-w.delivered:
		if !bytes.Equal(d.packet, packet) || d.link != link {
			w.t.Fatalf("delivered % x on %d, want % x on %d", d.packet, d.link, packet, link)
		}
	case <-time.After(patience):
		w.t.Fatalf("not delivered: % x", packet)
	}
}

// send sends a packet whole from a namespace.
func send(t testing.TB, s *nstest.Space, packet []byte) {
	t.Helper()
	s.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, packet, 0, &unix.SockaddrInet6{Addr: [16]byte(packet[24:40])})
	})
}

// tap records the IPv6 packets that reach a namespace.
type tap struct {
	t  testing.TB
	fd int
}

func newTap(t testing.TB, s *nstest.Space) *tap {
	p := &tap{t: t}
	s.Do(func() (err error) {
		p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, int(sock.NetworkOrder16(unix.ETH_P_IPV6)))
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return err
		}
		timeout := unix.NsecToTimeval(int64(patience))
		return unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	})
	t.Cleanup(func() { unix.Close(p.fd) })
	return p
}

// until returns the packets up to and including the first that match accepts.
func (p *tap) until(match func([]byte) bool) [][]byte {
	p.t.Helper()
	var all [][]byte
	for {
		b := make([]byte, 4096)
		n, _, err := unix.Recvfrom(p.fd, b, 0)
		if err != nil {
			p.t.Fatalf("waiting for a packet: %v (%d others came)", err, len(all))
		}
		all = append(all, b[:n])
		if match(b[:n]) {
			return all
		}
	}
}

func icmpType(b []byte) int {
	if len(b) > 40 && b[6] == 58 {
		return int(b[40])
	}
	return -1
}

// parameterProblems counts the ICMPv6 Parameter Problems that the peer has got
// by now. An echo request, answered by the same kernel in the same order, says
// when now is.
func (w *world) parameterProblems() int {
	w.t.Helper()
	echo := []byte{128, 0, 0, 0, 0, 7, 0, 7}
	sum := uint32(58 + len(echo))
	pseudo := append(append(w.peerAddr.AsSlice(), w.addr.AsSlice()...), echo...)
	for i := 0; i < len(pseudo); i += 2 {
		sum += uint32(pseudo[i])<<8 | uint32(pseudo[i+1])
	}
	sum = sum>>16 + sum&0xffff
	sum = ^(sum>>16 + sum)
	echo[2], echo[3] = byte(sum>>8), byte(sum)
	send(w.t, w.peer, build(w.peerAddr, w.addr, 58, echo))
	n := 0
	for _, b := range w.heard.until(func(b []byte) bool { return icmpType(b) == 129 }) {
		if icmpType(b) == 4 {
			n++
		}
	}
	return n
}

// tableExists looks by deleting, so it must come last.
func tableExists(t testing.TB, s *nstest.Space, name string) bool {
	t.Helper()
	err := s.Try(func() error {
		n, err := nft.Open()
		if err != nil {
			return err
		}
		defer n.Close()
		return n.Commit(func(t *nft.Batch) { t.DeleteTable(name) })
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		t.Fatal(err)
	}
	return err == nil
}

func (w *world) signalling() map[string][]byte {
	m := map[string][]byte{
		"plain":                 build(w.peerAddr, w.addr, 135, mobilityMsg),
		"type 2 routing header": build(w.peerAddr, w.addr, 135, mobilityMsg, routing(2, homeAddress)),
		"both":                  build(w.peerAddr, w.addr, 135, mobilityMsg, routing(2, homeAddress), homeAddressOption(0)),
	}
	for place := range homeAddressPlaces {
		m["home address option at place "+string(rune('0'+place))] = build(w.peerAddr, w.addr, 135, mobilityMsg, homeAddressOption(place))
	}
	return m
}

// mobileIPv6 asks the kernel under test.
func mobileIPv6(t testing.TB) bool {
	t.Helper()
	s, err := openSender(0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.file.Close()
	return kernelHasMobileIPv6(s.file)
}

// With or without nftables, every kind of signalling is delivered.
func TestReceive(t *testing.T) {
	w := newWorld(t)
	c := w.open()
	for _, packet := range w.signalling() {
		send(t, w.peer, packet)
		w.expect(packet, w.router.Index("r0"))
	}
	t.Logf("kernel with Mobile IPv6: %v; silenced: %v; parameter problems: %d", mobileIPv6(t), c.Silenced(), w.parameterProblems())
}

// A stack without Mobile IPv6 answers each of these when left alone; with a
// Conn open each is delivered and none is answered.
func TestReceiveInSilence(t *testing.T) {
	w := newWorld(t)
	if !mobileIPv6(t) {
		for name, packet := range w.signalling() {
			send(t, w.peer, packet)
			if n := w.parameterProblems(); n != 1 {
				t.Errorf("%s: %d parameter problems from the bare stack, want 1: the kernel differs from what this package assumes", name, n)
			}
		}
	}
	c := w.openSilent()
	for name, packet := range w.signalling() {
		t.Run(name, func(t *testing.T) {
			send(t, w.peer, packet)
			w.expect(packet, w.router.Index("r0"))
			if n := w.parameterProblems(); n != 0 {
				t.Errorf("%d parameter problems", n)
			}
		})
	}
	w.dataIsDropped()
	if s := c.Counters(); s.Received != s.Delivered || s.Delivered != uint64(len(w.signalling())) {
		t.Errorf("counters %+v", s)
	}
}

// dataIsDropped: data of route optimisation is dropped without a word; it is the
// data plane's, which has it from a packet socket of its own.
func (w *world) dataIsDropped() {
	w.t.Helper()
	for name, headers := range map[string][]header{
		"home address option":              {homeAddressOption(0)},
		"home address option after others": {homeAddressOption(2)},
		"type 2 routing header":            {routing(2, homeAddress)},
		"both":                             {routing(2, homeAddress), homeAddressOption(0)},
	} {
		send(w.t, w.peer, build(w.peerAddr, w.addr, 17, make([]byte, 32), headers...))
		if n := w.parameterProblems(); n != 0 {
			w.t.Errorf("data with %s: %d parameter problems", name, n)
		}
	}
}

// A kernel with Mobile IPv6 answers these Mobility Headers itself (RFC 6275
// §9.2); the answer is the roles', so it must not.
func TestMalformedIsNotAnswered(t *testing.T) {
	w := newWorld(t)
	w.openSilent()
	for name, message := range map[string][]byte{
		"payload proto":    append([]byte{17}, mobilityMsg[1:]...),
		"header too short": {59, 0, 5, 0, 0, 0, 0, 1},
	} {
		packet := build(w.peerAddr, w.addr, 135, message)
		send(t, w.peer, packet)
		w.expect(packet, w.router.Index("r0"))
		if n := w.parameterProblems(); n != 0 {
			t.Errorf("%s: %d parameter problems", name, n)
		}
	}
}

// What the rules must not touch: an option header that is not ours is still
// answered by the kernel, and a tunnel's passes.
func TestOtherOptionsAreTheKernels(t *testing.T) {
	w := newWorld(t)
	w.openSilent()
	unknown := header{60, []byte{0, 0x80, 4, 0, 0, 0, 0}} // RFC 8200 §4.2: discard, Parameter Problem code 2
	send(t, w.peer, build(w.peerAddr, w.addr, 17, make([]byte, 32), unknown))
	if n := w.parameterProblems(); n != 1 {
		t.Errorf("%d parameter problems, want the kernel's one", n)
	}
	// The inner source has the octets of a Home Address option where one would
	// stand in a longer header.
	limit := header{60, []byte{0, 4, 1, 4, 1, 1, 0}}
	inner := build(homeAddress, w.addr, 59, nil)
	send(t, w.peer, build(w.peerAddr, w.addr, 41, inner, limit))
	w.router.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_IPV6)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		timeout := unix.NsecToTimeval(int64(patience))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			return err
		}
		if err := w.peer.Try(func() error {
			s, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_RAW)
			if err != nil {
				return err
			}
			defer unix.Close(s)
			return unix.Sendto(s, build(w.peerAddr, w.addr, 41, inner, limit), 0, &unix.SockaddrInet6{Addr: w.addr.As16()})
		}); err != nil {
			return err
		}
		b := make([]byte, 2048)
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err == nil && !bytes.Equal(b[:n], inner) {
			t.Errorf("tunnelled packet arrived as % x", b[:n])
		}
		return err
	})
}

func TestForwardedIsNotDelivered(t *testing.T) {
	w := newWorld(t)
	c := w.open()
	behind := newTap(t, w.host)
	send(t, w.peer, build(w.peerAddr, w.hostAddr, 135, mobilityMsg, homeAddressOption(0)))
	// It is forwarded …
	behind.until(func(b []byte) bool { return b[6] == 60 })
	// … and not delivered here: the next one, for us, is the first delivery.
	packet := build(w.peerAddr, w.addr, 135, mobilityMsg)
	send(t, w.peer, packet)
	w.expect(packet, w.router.Index("r0"))
	if s := c.Counters(); s.NotLocal != 1 || s.Delivered != 1 {
		t.Errorf("counters %+v", s)
	}
}

// Tunnelled signalling arrives through the data plane's TUN device.
func TestReceiveThroughTUN(t *testing.T) {
	w := newWorld(t)
	var tun *os.File
	w.router.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		ifr, err := unix.NewIfreq("t0")
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			return err
		}
		tun = os.NewFile(uintptr(fd), "tun")
		return nil
	})
	defer tun.Close()
	w.router.LinkUp("t0")
	w.open()
	packet := build(w.peerAddr, homeAddress, 135, mobilityMsg)
	if _, err := tun.Write(packet); err != nil {
		t.Fatal(err)
	}
	w.expect(packet, w.router.Index("t0"))
}

// A node's messages to itself: a home agent that is its own correspondent.
func TestReceiveOwn(t *testing.T) {
	w := newWorld(t)
	c := w.open()
	packet := build(w.addr, w.addr, 135, mobilityMsg)
	if err := c.Send(packet, 0, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	w.expect(packet, w.router.Index("lo"))
}

func TestOverflowIsCounted(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	first := make(chan struct{}, 1)
	var c *Conn
	w.router.Do(func() (err error) {
		c, err = Open(Options{ReceiveBuffer: 4096, Local: w.local, Deliver: func([]byte, int) {
			select {
			case first <- struct{}{}:
			default:
			}
			<-release
		}})
		return err
	})
	defer c.Close()
	for range 64 {
		send(t, w.peer, build(w.peerAddr, w.addr, 135, mobilityMsg))
	}
	<-first
	w.parameterProblems() // everything sent has been received by now
	close(release)
	if s := c.Counters(); s.Overflowed == 0 || s.Overflowed > 63 {
		t.Errorf("%d overflowed of 64 packets in a buffer for a few", s.Overflowed)
	}
}

// B2: nothing is left after Close, whatever was there before.
func TestTableLifecycle(t *testing.T) {
	w := newWorld(t)
	w.openSilent().Close()
	// A killed instance left its table, with a chain that would drop everything.
	w.router.Do(func() error {
		n, err := nft.Open()
		if err != nil {
			return err
		}
		defer n.Close()
		return replaceTable(n, DefaultTableName, []nft.Rule{nft.Rule(nil).Drop()})
	})
	c := w.openSilent()
	// The stale rule is gone: the echo of parameterProblems is answered.
	send(t, w.peer, build(w.peerAddr, w.addr, 135, mobilityMsg, homeAddressOption(0)))
	if n := w.parameterProblems(); n != 0 {
		t.Errorf("%d parameter problems", n)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if tableExists(t, w.router, DefaultTableName) {
		t.Error("table exists after Close")
	}
	if err := c.Send(build(w.addr, w.peerAddr, 135, mobilityMsg), 0, netip.Addr{}); err == nil {
		t.Error("Send after Close succeeded")
	}
	buf := make([]byte, 1<<20)
	if s := string(buf[:runtime.Stack(buf, true)]); strings.Contains(s, "RunLoop") {
		t.Errorf("goroutine left after Close:\n%s", s)
	}
}

// Somebody flushes the ruleset: the table comes back.
func TestTableRestored(t *testing.T) {
	w := newWorld(t)
	c := w.openSilent()
	if !tableExists(t, w.router, DefaultTableName) { // and deletes it
		t.Fatal("no table")
	}
	deadline := time.Now().Add(patience)
	for c.Counters().Restored == 0 {
		if time.Now().After(deadline) {
			t.Fatal("not restored")
		}
		time.Sleep(time.Millisecond)
	}
	send(t, w.peer, build(w.peerAddr, w.addr, 135, mobilityMsg, homeAddressOption(0)))
	if n := w.parameterProblems(); n != 0 {
		t.Errorf("%d parameter problems", n)
	}
	if n := c.Counters().Restored; n != 1 {
		t.Errorf("restored %d times for one deletion", n)
	}
}

// The rules for a kernel with Mobile IPv6, on whichever kernel this is: they
// load, they take signalling and data away from the stack, and they leave to it
// what IPsec protects (RFC 6275 §9.3.1: no binding is needed before ESP and AH).
func TestRulesForMobileIPv6Kernel(t *testing.T) {
	w := newWorld(t)
	c := w.openSilent()
	if err := replaceTable(c.silencer.nft, DefaultTableName, rules(true, 0)); err != nil {
		t.Fatal(err)
	}
	for name, packet := range w.signalling() {
		send(t, w.peer, packet)
		w.expect(packet, w.router.Index("r0"))
		if n := w.parameterProblems(); n != 0 {
			t.Errorf("%s: %d parameter problems", name, n)
		}
	}
	w.dataIsDropped()
	if mobileIPv6(t) {
		return
	}
	// This kernel cannot handle these and says so: it got them.
	for _, ipsec := range []byte{50, 51} {
		for _, headers := range [][]header{{homeAddressOption(0)}, {routing(2, homeAddress)}, {routing(2, homeAddress), homeAddressOption(0)}} {
			send(t, w.peer, build(w.peerAddr, w.addr, ipsec, make([]byte, 32), headers...))
			if n := w.parameterProblems(); n != 1 {
				t.Errorf("protocol %d behind %d headers did not reach the stack: %d parameter problems", ipsec, len(headers), n)
			}
		}
	}
}

// With Options.RouteMark a kernel with Mobile IPv6 gets data with its headers in the usual
// places, marked, and nothing else with the mark; whatever kernel this is.
func TestRouteMark(t *testing.T) {
	const mark, table = 1 << 31, "roam6_marked"
	w := newWorld(t)
	c := w.openSilent()
	if err := replaceTable(c.silencer.nft, DefaultTableName, rules(true, mark)); err != nil {
		t.Fatal(err)
	}
	if mobileIPv6(t) {
		t.Skip("this kernel says nothing of what it gets")
	}
	t.Cleanup(func() { _ = c.silencer.nft.RemoveTable(table) })
	for _, test := range []struct {
		name    string
		next    byte
		headers []header
		kernel  bool // gets it
		marked  bool
	}{
		{"option", 17, []header{homeAddressOption(0)}, true, true},
		{"routing header", 17, []header{routing(2, homeAddress)}, true, true},
		{"both", 17, []header{routing(2, homeAddress), homeAddressOption(0)}, true, true},
		{"option after others", 17, []header{homeAddressOption(2)}, false, false},
		{"both, option after others", 17, []header{routing(2, homeAddress), homeAddressOption(1)}, false, false},
		{"signalling behind the option", 135, []header{homeAddressOption(0)}, false, false},
		{"signalling behind the routing header", 135, []header{routing(2, homeAddress)}, false, false},
		{"signalling behind both", 135, []header{routing(2, homeAddress), homeAddressOption(0)}, false, false},
		{"ESP behind the option", 50, []header{homeAddressOption(0)}, true, false},
		{"AH behind both", 51, []header{routing(2, homeAddress), homeAddressOption(0)}, true, false},
	} {
		gets := func(drop bool) int { // and complains, unless what is marked is dropped behind
			err := c.silencer.nft.Commit(func(b *nft.Batch) {
				b.EmptyTable(table)
				b.NewChain(nft.Chain{Table: table, Name: chainName, Base: true, Hook: nft.Input, Priority: nft.Raw + 1})
				if drop {
					b.Append(table, chainName, nft.Rule(nil).LoadMeta(nft.Mark).Equal(nft.MarkBits(mark)...).Drop())
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			send(t, w.peer, build(w.peerAddr, w.addr, test.next, make([]byte, 32), test.headers...))
			return w.parameterProblems()
		}
		if got := gets(false); got != map[bool]int{true: 1}[test.kernel] {
			t.Errorf("%s: the stack got %d, want it %v", test.name, got, test.kernel)
		}
		if got := gets(true); got != map[bool]int{true: 1}[test.kernel && !test.marked] {
			t.Errorf("%s: the stack got %d without the mark, want the mark %v", test.name, got, test.marked)
		}
	}
}

func TestKernelHasMobileIPv6(t *testing.T) {
	w := newWorld(t)
	c := w.open()
	has := kernelHasMobileIPv6(c.raw.file)
	// Asking again must give the same: the option does not stick.
	if again := kernelHasMobileIPv6(c.raw.file); again != has {
		t.Errorf("first %v, then %v", has, again)
	}
	packet := build(w.addr, w.peerAddr, 135, mobilityMsg)
	if err := c.Send(packet, 0, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	got := w.heard.until(func(b []byte) bool { return b[6] == 135 || b[6] == 43 })
	if !bytes.Equal(got[len(got)-1], packet) {
		t.Errorf("sent % x, want % x", got[len(got)-1], packet)
	}
}

func TestSend(t *testing.T) {
	w := newWorld(t)
	c := w.open()
	r0, r1 := w.router.Index("r0"), w.router.Index("r1")
	reaches := func(t *testing.T, at *tap, packet []byte, link int, source netip.Addr) {
		t.Helper()
		if err := c.Send(packet, link, source); err != nil {
			t.Fatal(err)
		}
		got := at.until(func(b []byte) bool { return b[6] == packet[6] })
		if !bytes.Equal(got[len(got)-1], packet) {
			t.Errorf("arrived as % x, sent % x", got[len(got)-1], packet)
		}
	}
	t.Run("routed", func(t *testing.T) {
		reaches(t, w.heard, build(w.addr, w.peerAddr, 135, mobilityMsg), 0, netip.Addr{})
	})
	t.Run("binding update from a care-of address just assigned", func(t *testing.T) {
		careOf := w.router.Assign("r0", "2001:db8:1::c0/64")
		reaches(t, w.heard, build(careOf, w.peerAddr, 135, mobilityMsg, homeAddressOption(0)), r0, careOf)
	})
	t.Run("home address as source, assigned elsewhere", func(t *testing.T) {
		w.router.Address("lo", "2001:db8:c910:c910::9/128")
		reaches(t, w.heard, build(homeAddress, w.peerAddr, 135, mobilityMsg), r0, homeAddress)
	})
	t.Run("link-local next hop", func(t *testing.T) {
		w.router.Route("2001:db8:77::/64", w.peer.LinkLocal("p0").String(), "r0")
		w.peer.Address("lo", "2001:db8:77::1/128")
		reaches(t, w.heard, build(w.addr, netip.MustParseAddr("2001:db8:77::1"), 135, mobilityMsg), r0, netip.Addr{})
	})
	t.Run("link-local destination", func(t *testing.T) {
		reaches(t, w.heard, build(w.router.LinkLocal("r0"), w.peer.LinkLocal("p0"), 135, mobilityMsg), r0, netip.Addr{})
	})
	t.Run("out of the link asked for, past a better route", func(t *testing.T) {
		// The specific route leads to the peer; the default on the other link must serve.
		w.router.Route("2001:db8:88::/64", w.peerAddr.String(), "r0")
		w.router.Route("::/0", w.hostAddr.String(), "r1")
		at := newTap(t, w.host)
		reaches(t, at, build(w.addr, netip.MustParseAddr("2001:db8:88::1"), 135, mobilityMsg), r1, netip.Addr{})
	})
	// B10: an error is an error of one packet.
	if err := w.router.Handle.RouteDel(&netlink.Route{Dst: nil, LinkIndex: r1, Gw: w.hostAddr.AsSlice(), Family: unix.AF_INET6}); err != nil {
		t.Fatal(err)
	}
	elsewhere := netip.MustParseAddr("2001:db8:99::1")
	for _, tt := range []struct {
		name   string
		packet []byte
		link   int
		want   SendReason
		errno  error
	}{
		{"no route", build(w.addr, elsewhere, 135, mobilityMsg), 0, SendUnreachable, unix.ENETUNREACH},
		{"no such link", build(w.addr, w.peerAddr, 135, mobilityMsg), 9999, SendUnreachable, nil},
		{"source not assigned", build(elsewhere, w.peerAddr, 135, mobilityMsg), 0, SendNoSource, unix.EINVAL},
		{"too big", build(w.addr, w.peerAddr, 135, make([]byte, 2000)), 0, SendTooBig, unix.EMSGSIZE},
		{"no packet", []byte{0x60}, 0, SendMalformed, nil},
		{"version 4", append([]byte{0x45}, make([]byte, 40)...), 0, SendMalformed, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := c.Send(tt.packet, tt.link, netip.Addr{})
			var e *SendError
			if !errors.As(err, &e) || e.Reason != tt.want {
				t.Fatalf("error %v, want reason %v", err, tt.want)
			}
			if tt.errno != nil && !errors.Is(err, tt.errno) {
				t.Errorf("error %v, want %v", err, tt.errno)
			}
			if n := c.Counters().SendErrors[tt.want]; n == 0 {
				t.Error("not counted")
			}
			reaches(t, w.heard, build(w.addr, w.peerAddr, 135, mobilityMsg), 0, netip.Addr{})
		})
	}
}

func TestOpenNeedsItsCallbacks(t *testing.T) {
	if _, err := Open(Options{}); err == nil {
		t.Error("opened without Local and Deliver")
	}
}

func TestUnavailable(t *testing.T) {
	for _, e := range []error{unix.EPROTONOSUPPORT, unix.EOPNOTSUPP, os.NewSyscallError("sendto", unix.EINVAL)} {
		if !unavailable(e) {
			t.Errorf("%v taken for a failure of a working nftables", e)
		}
	}
	for _, e := range []error{unix.EPERM, unix.ENOMEM, unix.EAGAIN} {
		if unavailable(e) {
			t.Errorf("%v taken for a kernel without nftables", e)
		}
	}
}

// BenchmarkRoundTrip is a message to ourselves: Send, the loopback interface,
// Deliver.
func BenchmarkRoundTrip(b *testing.B) {
	w := newWorld(b)
	c := w.open()
	packet := build(w.addr, w.addr, 135, mobilityMsg, homeAddressOption(0))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Send(packet, 0, netip.Addr{}); err != nil {
			b.Fatal(err)
		}
		<-w.delivered
	}
}

// BenchmarkSendMany has no answer to wait for.
func BenchmarkSendMany(b *testing.B) {
	w := newWorld(b)
	c := w.open()
	packet := build(w.addr, w.peerAddr, 135, mobilityMsg)
	link := w.router.Index("r0")
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Send(packet, link, netip.Addr{}); err != nil {
			b.Fatal(err)
		}
	}
}
