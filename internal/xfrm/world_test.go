package xfrm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/esp"
	"roam6/internal/logging/logtest"
	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// A mobile and its home agent on one link, with a data plane each; the correspondent is
// an address of the home agent's host.
var (
	careOf1 = netip.MustParseAddr("2001:db8:a::2")
	careOf2 = netip.MustParseAddr("2001:db8:a::3")
	agent   = netip.MustParseAddr("2001:db8:a::1")
	home    = netip.MustParseAddr("2001:db8:1::7")
	peer    = netip.MustParseAddr("2001:db8:2::1")
)

const (
	keyMark     = "secret" // with which keys begin, so that one is found where none should be
	mobilePort  = 4001
	agentPort   = 4002
	linkMTU     = 1500
	firstInner  = 1406 // of linkMTU with AES-CBC and HMAC-SHA-256
	receiveTime = 5 * time.Second
)

func association(spi uint32) esp.Association {
	return esp.Association{SPI: spi, Algorithm: esp.AESCBCSHA256, Key: esp.Key((keyMark + strings.Repeat(string(rune('a'+spi%26)), 48))[:48])}
}

func policyOn(side overlay.Side) Policy {
	return policyBy(home, side, 1<<31, false)
}

// policyBy is one for a home address, with the SPI to the agent and the one behind it.
func policyBy(home netip.Addr, side overlay.Side, spi uint32, negotiated bool) Policy {
	out, in := association(spi), association(spi+1)
	if side == overlay.AgentSide {
		out, in = in, out
	}
	return Policy{Home: home, Agent: agent, Side: side, Out: &out, In: []esp.Association{in}, Negotiated: negotiated}
}

// node is one of the two.
type node struct {
	t       *testing.T
	space   *nstest.Space
	side    overlay.Side
	manager *Manager
	engine  *tun.Engine
	socket  *net.UDPConn // of home or peer
	log     *logtest.Buffer
}

// newWorld joins the two and opens their data planes; without IPsec for this kernel the
// test is skipped.
func newWorld(t *testing.T) (mobile, homeAgent *node, wire *capture) {
	m, a := nstest.New(t), nstest.New(t)
	nstest.Veth(m, "up", a, "ac")
	m.Address("up", careOf1.String()+"/64")
	m.Address("up", careOf2.String()+"/64")
	a.Address("ac", agent.String()+"/64")
	a.Address("lo", peer.String()+"/128")
	wire = listen(t, a, "ac")
	mobile = openNode(t, m, overlay.MobileSide)
	homeAgent = openNode(t, a, overlay.AgentSide)
	return mobile, homeAgent, wire
}

func openNode(t *testing.T, space *nstest.Space, side overlay.Side) *node {
	n := &node{t: t, space: space, side: side, log: new(logtest.Buffer)}
	log := slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var missing error
	space.Do(func() (err error) {
		if n.engine, err = tun.Open(tun.Config{Log: log, Refuse: side == overlay.AgentSide}); err != nil {
			return err
		}
		n.manager, missing = Open(Options{Log: log, Mark: tun.DefaultMark, Mask: tun.DefaultMarkMask})
		return nil
	})
	t.Cleanup(n.close)
	if errors.Is(missing, ErrKernel) {
		t.Skipf("needs IPsec in the kernel: %v", missing)
	} else if missing != nil {
		t.Fatal(missing)
	}
	if err := n.manager.SetPolicies([]Policy{policyOn(side)}); err != nil {
		t.Fatal(err)
	}
	own, port := peer, agentPort
	if side == overlay.MobileSide {
		own, port = home, mobilePort
		space.Address(tun.DefaultDevice, home.String()+"/128")
	}
	space.Do(func() (err error) {
		n.socket, err = net.ListenUDP("udp6", &net.UDPAddr{IP: own.AsSlice(), Port: port})
		return err
	})
	t.Cleanup(func() { n.socket.Close() })
	return n
}

func (n *node) close() {
	if n.engine != nil {
		n.engine.Close()
	}
	if n.manager != nil {
		n.manager.Close()
	}
}

// set sets the tunnel to a care-of address, sealed or not.
func (n *node) set(careOf netip.Addr, sealed bool) {
	n.t.Helper()
	path := overlay.Path{Local: careOf, Remote: agent, Link: 0}
	if n.side == overlay.AgentSide {
		path = overlay.Path{Local: agent, Remote: careOf, Link: n.space.Index("ac")}
	} else {
		path.Link = n.space.Index("up")
	}
	t := overlay.Tunnel{Key: overlay.Key{Home: home, Side: n.side}, Inner: []netip.Prefix{netip.PrefixFrom(home, 128)}, Paths: []overlay.Path{path}}
	if sealed {
		t.Seal, _ = n.manager.Seal(home, agent, n.side)
		if err := n.manager.Set(t.Key, t.Paths); err != nil {
			n.t.Fatal(err)
		}
	}
	if err := n.engine.Apply([]overlay.Change{{Set: &t}}); err != nil {
		n.t.Fatal(err)
	}
}

// other is where the socket of the other one is.
func (n *node) other() *net.UDPAddr {
	if n.side == overlay.MobileSide {
		return &net.UDPAddr{IP: peer.AsSlice(), Port: agentPort}
	}
	return &net.UDPAddr{IP: home.AsSlice(), Port: mobilePort}
}

// say sends a datagram that is an IPv6 packet of so many octets.
func (n *node) say(text string, packet int) error {
	b := make([]byte, packet-48)
	copy(b, text)
	_, err := n.socket.WriteTo(b, n.other())
	return err
}

// heard reports whether a datagram arrives in time; others before it are passed over.
func (n *node) heard(text string, within time.Duration) bool {
	b := make([]byte, 65536)
	_ = n.socket.SetReadDeadline(time.Now().Add(within))
	for {
		k, _, err := n.socket.ReadFrom(b)
		if err != nil {
			return false
		}
		if strings.HasPrefix(string(b[:k]), text) {
			return true
		}
	}
}

// exchange sends datagrams both ways until both have arrived: the first ones may wait for
// neighbour discovery and be lost.
func exchange(t *testing.T, a, b *node, what string) {
	t.Helper()
	for _, way := range [][2]*node{{a, b}, {b, a}} {
		if err := way[0].say(what, 200); err != nil {
			t.Fatal(err)
		}
		if !way[1].heard(what, receiveTime) {
			t.Fatalf("%s: nothing arrives\n%v\n%v", what, a.describe(), b.describe())
		}
	}
}

func (n *node) describe() string {
	return fmt.Sprintf("side %d: drops %v, kernel %v, tunnels %+v, log:\n%s", n.side, n.engine.Drops(), n.counted(), n.engine.Tunnels(), n.log)
}

// counted is what the kernel's IPsec has counted, but for zeros.
func (n *node) counted() map[string]int {
	all := make(map[string]int)
	n.space.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/xfrm_stat")
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 2 && f[1] != "0" {
				all[f[0]], _ = strconv.Atoi(f[1])
			}
		}
		return err
	})
	return all
}

// capture is what passes on the wire.
type capture struct {
	t  *testing.T
	fd int
}

func listen(t *testing.T, s *nstest.Space, name string) *capture {
	c := &capture{t: t, fd: -1}
	s.Do(func() (err error) {
		const all = uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
		if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
		return unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: s.Index(name)})
	})
	t.Cleanup(func() { unix.Close(c.fd) })
	return c
}

// packets takes the IPv6 packets that have passed.
func (c *capture) packets() (all [][]byte) {
	b := make([]byte, 65536)
	for {
		n, _, err := unix.Recvfrom(c.fd, b, 0)
		if err != nil {
			return all
		}
		if n >= 40 && b[0]>>4 == 6 {
			all = append(all, bytes.Clone(b[:n]))
		}
	}
}

// onlyESP fails the test if anything but ESP and neighbour discovery has passed, and
// returns the ESP packets.
func (c *capture) onlyESP() (all [][]byte) {
	c.t.Helper()
	for _, p := range c.packets() {
		const first, last, report = 133, 137, 143
		switch next := p[6]; {
		case next == unix.IPPROTO_ESP:
			all = append(all, p)
		case next == unix.IPPROTO_ICMPV6 && p[40] >= first && p[40] <= last, next == unix.IPPROTO_HOPOPTS && p[48] == report:
		case next == unix.IPPROTO_FRAGMENT && p[40] == unix.IPPROTO_ESP:
			all = append(all, p)
		default:
			c.t.Errorf("in clear: %x", p[:min(len(p), 100)])
		}
		if bytes.Contains(p, []byte("text ")) {
			c.t.Errorf("can be read: %q", p)
		}
	}
	return all
}

// tunnelPacket is a tunnel packet in clear with a UDP datagram to the other node, behind
// extension headers.
func tunnelPacket(from, to *node, careOf netip.Addr, text string, extensions ...byte) []byte {
	source, destination, port := peer, home, uint16(mobilePort)
	outerSource, outerDestination := agent, careOf
	if from.side == overlay.MobileSide {
		source, destination, port = home, peer, agentPort
		outerSource, outerDestination = careOf, agent
	}
	udp := binary.BigEndian.AppendUint16(nil, 4003)
	udp = binary.BigEndian.AppendUint16(udp, port)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(text)))
	udp = append(append(udp, 0, 0), text...)
	header := func(s, d netip.Addr, next byte, length int) []byte {
		b := []byte{0x60, 0, 0, 0, byte(length >> 8), byte(length), next, 64}
		return append(append(b, s.AsSlice()...), d.AsSlice()...)
	}
	sum := uint32(len(udp)) + unix.IPPROTO_UDP
	for _, b := range [][]byte{source.AsSlice(), destination.AsSlice(), append(bytes.Clone(udp), 0)} {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(b[i])<<8 | uint32(b[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(udp[6:], ^uint16(sum))
	inner := append(header(source, destination, unix.IPPROTO_UDP, len(udp)), udp...)
	next := byte(unix.IPPROTO_IPV6)
	for i := len(extensions) - 1; i >= 0; i-- {
		x := []byte{next, 0, 1, 4, 0, 0, 0, 0} // PadN
		switch extensions[i] {
		case unix.IPPROTO_FRAGMENT: // atomic (RFC 6946)
			x = []byte{next, 0, 0, 0, 0, 0, 0, byte(i)}
		case unix.IPPROTO_ROUTING: // nothing left
			x = []byte{next, 0, 253, 0, 0, 0, 0, 0} // a type for experiments (RFC 4727)
		}
		inner, next = append(x, inner...), extensions[i]
	}
	return append(header(outerSource, outerDestination, next, len(inner)), inner...)
}

// inject sends a packet as it is.
func (n *node) inject(packet []byte) {
	n.t.Helper()
	n.space.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, packet, 0, &unix.SockaddrInet6{Addr: [16]byte(packet[24:40])})
	})
}
