package planetest

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/internal/xfrm/mobility"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// states are what the kernel has of Mobile IPv6; the test is skipped where it has none.
func (w *world) states(s *nstest.Space) (all []mobility.Status) {
	w.t.Helper()
	err := s.Try(func() error {
		c, err := mobility.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		for _, h := range []mobility.Header{mobility.HomeAddressOption, mobility.Type2RoutingHeader} {
			some, err := c.States(h)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		return nil
	})
	if errors.Is(err, errors.ErrUnsupported) {
		w.t.Skip(err)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// byKernel is how many packets the states at a care-of address have carried.
func (w *world) byKernel(s *nstest.Space, careOf netip.Addr) (n uint64) {
	w.t.Helper()
	for _, x := range w.states(s) {
		if x.CareOf == careOf {
			n += x.Packets
		}
	}
	return n
}

// delegate sends datagrams both ways until the kernels of both ends carry them.
func (w *optimisedWorld) delegate(careOf netip.Addr, one, other *net.UDPConn) {
	w.t.Helper()
	for _, s := range []*nstest.Space{w.mobile, w.correspondent} {
		before := w.byKernel(s, careOf)
		w.eventually("packets by the states of XFRM", func() bool {
			w.passes(one, other)
			w.passes(other, one)
			return w.byKernel(s, careOf) > before+1
		})
	}
}

// byUser is how many packets a device has brought to user space and back.
func (w *world) byUser(s *nstest.Space, e Engine) uint64 {
	w.t.Helper()
	var l netlink.Link
	s.Do(func() (err error) {
		l, err = s.Handle.LinkByIndex(e.Link())
		return err
	})
	return l.Attrs().Statistics.RxPackets + l.Attrs().Statistics.TxPackets
}

// RFC 6275 §9.3, §11.3: what is busy the kernel's Mobile IPv6 carries, alone; it is
// counted, follows moves, comes back when somebody removes it, and ends with the route.
// What it must not take the engine judges as before.
// Covers: C1, C2, M6, M7.
func delegatedRoute(t *testing.T, open Open) {
	w := newOptimisedWorld(t, open)
	w.states(w.mobile) // or skip
	ends := map[*nstest.Space]Engine{w.mobile: w.mobileEngine, w.correspondent: w.correspondentEngine}
	correspondent, home := w.udp(w.correspondent, correspondentAddress), w.udp(w.mobile, homeAddress)
	clear := func() {
		for _, c := range []*net.UDPConn{correspondent, home} {
			for received(c, 0) {
				continue
			}
		}
	}
	for i, careOf := range []netip.Addr{firstCareOf, secondCareOf} {
		if i == 1 { // the kernel asks its routing, which has source-specific routes elsewhere
			w.mobile.Route("2001:db8:c::/64", "2001:db8:2::ff", "wan2")
		}
		w.attach(i)
		w.bind(i)
		w.delegate(careOf, correspondent, home)
		if i > 0 {
			if n := w.byKernel(w.mobile, firstCareOf); n != 0 {
				t.Errorf("%d packets by states of the former care-of address", n)
			}
		}
		const packets = 20
		kernel, user, counted := map[*nstest.Space]uint64{}, map[*nstest.Space]uint64{}, map[*nstest.Space]overlay.Counters{}
		for s, e := range ends {
			kernel[s], user[s], counted[s] = w.byKernel(s, careOf), w.byUser(s, e), e.Routes()[0].Counters
		}
		w.direct("by the kernel", func() {
			for range packets {
				w.passes(correspondent, home)
				w.passes(home, correspondent)
			}
		})
		for s, e := range ends {
			if n := w.byKernel(s, careOf) - kernel[s]; n < 2*packets {
				t.Errorf("%d of %d packets by the kernel", n, 2*packets)
			}
			if n := w.byUser(s, e) - user[s]; n != 0 {
				t.Errorf("%d packets through user space besides", n)
			}
			before, now := counted[s], e.Routes()[0].Counters
			if in, out := now.DecapPackets-before.DecapPackets, now.EncapPackets-before.EncapPackets; in < packets || out < packets || in+out != w.byKernel(s, careOf)-kernel[s] {
				t.Errorf("counted are %d packets in and %d out, the kernel has carried %d", in, out, w.byKernel(s, careOf)-kernel[s])
			}
		}
		w.fragments(correspondent, home)
		w.fragments(home, correspondent)
		w.everything(w.correspondent, correspondentAddress, w.mobile, homeAddress)
		clear()
		if received(home, 0) || received(correspondent, 0) {
			t.Error("packets come twice")
		}
	}
	w.judgedBeside(correspondent)
	w.signalledBeside(w.mobile, homeAddress, correspondentAddress)
	w.signalledBeside(w.correspondent, correspondentAddress, homeAddress)

	for s := range ends {
		s.Do(func() error {
			h, err := netlink.NewHandle(unix.NETLINK_XFRM)
			if err != nil {
				return err
			}
			defer h.Close()
			return errors.Join(h.XfrmStateFlush(0), h.XfrmPolicyFlush())
		})
	}
	w.eventually("what somebody has removed is there again", func() bool {
		return pass(correspondent, home, 50*time.Millisecond) == nil && pass(home, correspondent, 50*time.Millisecond) == nil && w.byKernel(w.mobile, secondCareOf) > 0 && w.byKernel(w.correspondent, secondCareOf) > 0
	})

	w.unbind()
	before := w.tunnelUse()
	w.passes(correspondent, home)
	w.passes(home, correspondent)
	if w.tunnelUse() == before {
		t.Error("nothing through the tunnel after the route has gone")
	}
	for s, e := range ends {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if after := Snapshot(s); s == w.correspondent && after != w.before[s] {
			t.Errorf("left behind:\n%s", difference(w.before[s], after))
		}
		if all := w.states(s); len(all) != 0 {
			t.Errorf("states left behind: %+v", all)
		}
	}
}

// fragments sends a datagram that no packet of the path takes.
func (w *optimisedWorld) fragments(from, to *net.UDPConn) {
	w.t.Helper()
	want, b := pattern(3000), make([]byte, 4000)
	w.eventually("a datagram in fragments", func() bool {
		if _, err := from.WriteToUDPAddrPort(want, addrPort(to)); err != nil {
			w.t.Fatal(err)
		}
		_ = to.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, _, err := to.ReadFromUDPAddrPort(b)
		return err == nil && slices.Equal(b[:n], want)
	})
}

// judgedBeside sends the correspondent, whose kernel carries the route, packets with a Home
// Address option that are not for the kernel.
func (w *optimisedWorld) judgedBeside(correspondent *net.UDPConn) {
	w.t.Helper()
	send := w.rawSocket(w.core)
	inner := udpPacket(netip.AddrPortFrom(homeAddress, 9), addrPort(correspondent))
	withESP := func(packet []byte) []byte { // between option and datagram
		b := slices.Concat(packet[:64], make([]byte, 8), packet[64:])
		b[40], b[64] = unix.IPPROTO_ESP, packet[40]
		b[4], b[5] = byte((len(b)-40)>>8), byte(len(b)-40)
		return b
	}
	behindHops := func(packet []byte) []byte {
		b := slices.Concat(packet[:40], []byte{packet[6], 0, 1, 4, 0, 0, 0, 0}, packet[40:])
		b[6] = unix.IPPROTO_HOPOPTS
		b[4], b[5] = byte((len(b)-40)>>8), byte(len(b)-40)
		return b
	}
	byUser := func() uint64 { return w.byUser(w.correspondent, w.correspondentEngine) }
	for _, test := range []struct {
		name    string
		packet  []byte
		reason  overlay.DropReason // 0: the engine takes it
		arrives bool
		unknown int
	}{
		{"from another care-of address", withOption(inner, foreignAddress), overlay.DropHomeAddress, false, 1},
		{"of another home address", withOption(udpPacket(netip.AddrPortFrom(otherHome, 9), addrPort(correspondent)), secondCareOf), overlay.DropHomeAddress, false, 1},
		{"behind hop-by-hop options", behindHops(withOption(inner, secondCareOf)), 0, true, 0},
		{"with ESP behind", withESP(withOption(inner, secondCareOf)), 0, false, 0},
	} {
		unknown, kernel, user := w.correspondentSees.unknownHomes(), w.byKernel(w.correspondent, secondCareOf), byUser()
		w.judges(test.name, w.correspondentEngine, test.reason, func() { send(test.packet) }, func(limit time.Duration) bool {
			if test.reason == 0 && !test.arrives {
				w.eventually(test.name+": given back to the kernel", func() bool { return byUser() == user+1 })
				return true
			}
			return received(correspondent, limit)
		})
		if n := w.byKernel(w.correspondent, secondCareOf) - kernel; n != 0 {
			w.t.Errorf("%s: %d packets by the kernel", test.name, n)
		}
		if test.arrives && received(correspondent, 20*time.Millisecond) {
			w.t.Errorf("%s: comes twice", test.name)
		}
		if n := w.correspondentSees.unknownHomes() - unknown; n != test.unknown {
			w.t.Errorf("%s: %d reports of an unknown home address", test.name, n)
		}
	}
}

// signalledBeside sends Mobility Headers as the signalling does, which go through the
// tunnel: they prove that home address and peer reach each other so (RFC 6275 §5.2.5).
func (w *optimisedWorld) signalledBeside(s *nstest.Space, from, to netip.Addr) {
	w.t.Helper()
	packet := ipv6Packet(from, to, unix.IPPROTO_MH, []byte{59, 1, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	for name, protocol := range map[string]int{"with its IPv6 header": unix.IPPROTO_RAW, "as its protocol": unix.IPPROTO_MH} {
		var fd int
		s.Do(func() (err error) {
			fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
			return err
		})
		b := packet
		if protocol == unix.IPPROTO_MH {
			b = packet[40:]
		} else if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, tun.DefaultMark); err != nil {
			w.t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: from.As16()}); err != nil { // the route depends on it
			w.t.Fatal(err)
		}
		kernel, tunnel := w.byKernel(s, secondCareOf), w.tunnelUse()
		w.eventually("a Mobility Header sent "+name+" takes the tunnel", func() bool {
			if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet6{Addr: to.As16()}); err != nil {
				w.t.Fatalf("%s: %v", name, err)
			}
			return w.tunnelUse() > tunnel
		})
		if n := w.byKernel(s, secondCareOf) - kernel; n != 0 {
			w.t.Errorf("%s: %d packets by states of XFRM", name, n)
		}
		unix.Close(fd)
	}
}
