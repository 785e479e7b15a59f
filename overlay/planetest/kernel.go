package planetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
)

// Snapshot is what a namespace has of links with queue disciplines and filters for what
// they receive and send, IPv6 addresses, routes of all tables, policy rules and policies of
// XFRM, one a line, sorted.
func Snapshot(s *nstest.Space) string {
	var lines []string
	var err error
	s.Do(func() error {
		lines, err = snapshot(s.Handle)
		return err
	})
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func snapshot(h *netlink.Handle) (lines []string, err error) {
	links, err := h.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		lines = append(lines, fmt.Sprintf("link %d %s mtu %d", l.Attrs().Index, l.Attrs().Name, l.Attrs().MTU))
		disciplines, err := h.QdiscList(l)
		if err != nil {
			return nil, err
		}
		for _, q := range disciplines {
			lines = append(lines, fmt.Sprintf("qdisc %s link %d", q.Type(), l.Attrs().Index))
		}
		for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
			filters, err := h.FilterList(l, parent)
			if err != nil {
				return nil, err
			}
			for _, f := range filters {
				lines = append(lines, fmt.Sprintf("filter %s parent %x priority %d link %d", f.Type(), parent, f.Attrs().Priority, l.Attrs().Index))
			}
		}
	}
	addresses, err := h.AddrList(nil, netlink.FAMILY_V6)
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		lines = append(lines, fmt.Sprintf("address %v link %d", a.IPNet, a.LinkIndex))
	}
	routes, err := h.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		lines = append(lines, fmt.Sprintf("route %v via %v link %d table %d protocol %d type %d metric %d", r.Dst, r.Gw, r.LinkIndex, r.Table, r.Protocol, r.Type, r.Priority))
	}
	rules, err := h.RuleList(netlink.FAMILY_V6)
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		lines = append(lines, fmt.Sprintf("rule %d from %v to %v table %d protocol %d", r.Priority, r.Src, r.Dst, r.Table, r.Protocol))
	}
	policies, err := netlink.XfrmPolicyList(netlink.FAMILY_V6)
	if err != nil && !errors.Is(err, unix.EPROTONOSUPPORT) { // a kernel without XFRM
		return nil, err
	}
	for _, p := range policies {
		lines = append(lines, fmt.Sprintf("policy %v from %v to %v priority %d", p.Dir, p.Src, p.Dst, p.Priority))
	}
	return lines, nil
}

func (w *world) removeAddress(s *nstest.Space, link, prefix string) {
	w.t.Helper()
	a, err := netlink.ParseAddr(prefix)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := s.Handle.AddrDel(s.Link(link), a); err != nil {
		w.t.Fatalf("remove %s from %s: %v", prefix, link, err)
	}
}

// routeInto sends all packets to a destination into an engine's device.
func routeInto(s *nstest.Space, destination string, link int) error {
	d, err := netlink.ParseIPNet(destination)
	if err != nil {
		return err
	}
	return s.Handle.RouteAdd(&netlink.Route{Dst: d, LinkIndex: link})
}

// routeAway undoes routeInto.
func (w *world) routeAway(s *nstest.Space, destination string, link int) {
	w.t.Helper()
	d, err := netlink.ParseIPNet(destination)
	if err == nil {
		err = s.Handle.RouteDel(&netlink.Route{Dst: d, LinkIndex: link})
	}
	if err != nil {
		w.t.Fatalf("remove route to %s: %v", destination, err)
	}
}

func setSocketOption(c *net.UDPConn, level, option, value int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil {
		return err
	}
	return failure
}

// discover sends packets that are too big until the kernel has learned a path
// MTU of at most limit, and returns it.
func (w *world) discover(s *nstest.Space, from, to *net.UDPConn, limit int) (mtu int) {
	w.t.Helper()
	var c *net.UDPConn
	s.Do(func() (err error) {
		c, err = net.DialUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addrPort(from).Addr(), 0)), net.UDPAddrFromAddrPort(addrPort(to)))
		return err
	})
	defer c.Close()
	if err := setSocketOption(c, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO); err != nil {
		w.t.Fatal(err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		w.t.Fatal(err)
	}
	b := make([]byte, 1500-48)
	w.eventually("path MTU discovery", func() bool {
		if _, err := c.Write(b[:max(min(mtu, 1500)-48, 1)]); err != nil && mtu == 0 {
			w.t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) { mtu, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU) })
		return err == nil && mtu <= limit
	})
	return mtu
}

// received reports whether anything arrives within a time.
func received(c *net.UDPConn, within time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := c.Read(make([]byte, 2048))
	return err == nil
}

// udpPacket is a UDP datagram in IPv6.
func udpPacket(from, to netip.AddrPort) []byte {
	payload := []byte("hello")
	u := binary.BigEndian.AppendUint16(nil, from.Port())
	u = binary.BigEndian.AppendUint16(u, to.Port())
	u = binary.BigEndian.AppendUint16(u, uint16(8+len(payload)))
	u = append(u, 0, 0)
	u = append(u, payload...)
	pseudo := slices.Concat(from.Addr().AsSlice(), to.Addr().AsSlice(), []byte{0, 0, 0, byte(len(u)), 0, 0, 0, unix.IPPROTO_UDP}, u)
	var sum uint32
	for pair := range slices.Chunk(append(pseudo, bytes.Repeat([]byte{0}, len(pseudo)%2)...), 2) {
		sum += uint32(pair[0])<<8 | uint32(pair[1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(u[6:], ^uint16(sum))
	return ipv6Packet(from.Addr(), to.Addr(), unix.IPPROTO_UDP, u)
}

func tunnelled(from, to netip.Addr, inner []byte) []byte {
	return ipv6Packet(from, to, unix.IPPROTO_IPV6, inner)
}

func ipv6Packet(from, to netip.Addr, next uint8, payload []byte) []byte {
	b := []byte{6 << 4, 0, 0, 0, 0, 0, next, 64}
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	return slices.Concat(b, from.AsSlice(), to.AsSlice(), payload)
}

var interfaceIndex = regexp.MustCompile(`link \d+`)

// withoutIndex is a snapshot in which interface indexes do not count: a device that is
// made anew has another.
func withoutIndex(snapshot string) string {
	lines := strings.Split(interfaceIndex.ReplaceAllString(snapshot, "link"), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
