package esp_test

import (
	"bytes"
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/esp"
	"roam6/internal/mhsock"
	"roam6/internal/role"
	"roam6/internal/rtnl/nstest"
	"roam6/internal/sock"
	"roam6/mip6"
	"roam6/overlay"
	"roam6/overlay/tun"
)

const patience = 10 * time.Second

// node is a mobile or a home agent: signalling and data plane in a namespace, put
// together as the shell does it.
type node struct {
	t      *testing.T
	space  *nstest.Space
	side   overlay.Side
	conn   *mhsock.Conn
	engine *tun.Engine
	opened chan struct{} // closed when both are there
	plain  chan []byte   // delivered without ESP
	secure chan []byte
	denied chan role.DropReason
	tunnel chan error // what became of home tests in ESP
	relay  chan relayed
}

// relayed is a DHCPv6 message in ESP, and what the data plane thinks of it.
type relayed struct {
	esp.Datagram
	err error
}

func newNode(t *testing.T, side overlay.Side, policy esp.Policy, local ...netip.Addr) *node {
	n := &node{
		t: t, space: nstest.New(t), side: side, opened: make(chan struct{}), plain: make(chan []byte, 64), secure: make(chan []byte, 64),
		denied: make(chan role.DropReason, 64), tunnel: make(chan error, 64),
		relay: make(chan relayed, 64),
	}
	policies := esp.NewPolicies(func(b []byte) { _, _ = rand.Read(b) })
	isLocal := func(a netip.Addr) bool { return slices.Contains(local, a) }
	n.space.Do(func() (err error) {
		if n.conn, err = mhsock.Open(mhsock.Options{
			Local: isLocal, Mark: tun.DefaultMark,
			Deliver: func(p []byte, _ int) { n.plain <- p },
			ICMP:    func(p []byte, _ int) { n.plain <- p },
			IPsec: &mhsock.IPsec{
				Policies: policies,
				Deliver:  func(p []byte, _ int) { n.secure <- p },
				ICMP:     func(p []byte, _ int) { n.secure <- p },
				Dropped:  func(r role.DropReason, _ netip.Addr) { n.denied <- r },
				Relayed: func(d esp.Datagram) {
					<-n.opened
					n.relay <- relayed{d, n.engine.Accept(d.Key, d.Source, d.Destination)}
				},
				Tunnelled: func(p []byte, end esp.TunnelEnd) {
					<-n.opened
					n.tunnel <- n.engine.HomeTestReceived(end.Key, end.Source, end.Destination, p)
				},
			},
		}); err != nil {
			return err
		}
		n.engine, err = tun.Open(tun.Config{
			Local: isLocal, Signalling: policies.Has,
			Relayed: func(local, remote netip.Addr) bool { _, ok := policies.Between(local, remote); return ok },
			HomeTest: func(home overlay.Key, path overlay.Path, p []byte) {
				if err := n.conn.SendTunnelled(home, path, p); err != nil {
					t.Error(err)
				}
			},
		})
		close(n.opened)
		return err
	})
	t.Cleanup(func() {
		n.conn.Close()
		n.engine.Close()
	})
	if err := n.conn.SetPolicies([]esp.Policy{policy}); err != nil {
		t.Fatal(err)
	}
	return n
}

// at makes the tunnel of the home address lead to a care-of address.
func (n *node) at(careOf netip.Addr) {
	n.t.Helper()
	path := overlay.Path{Local: agentAddr, Remote: careOf}
	if n.side == overlay.MobileSide {
		path = overlay.Path{Local: careOf, Remote: agentAddr, Link: n.space.Index("up")}
	}
	if err := n.engine.Apply([]overlay.Change{{Set: &overlay.Tunnel{
		Key: overlay.Key{Home: homeAddr, Side: n.side}, Inner: []netip.Prefix{netip.PrefixFrom(homeAddr, 128)},
		Paths: []overlay.Path{path}, Protected: true,
	}}}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) send(p mip6.Packet) []byte {
	n.t.Helper()
	b, err := p.Append(nil)
	if err == nil {
		err = n.conn.Send(b, 0, netip.Addr{})
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

var (
	homeAddr   = netip.MustParseAddr("2001:db8:10::100")
	agentAddr  = netip.MustParseAddr("2001:db8:a1::1")
	firstAddr  = netip.MustParseAddr("2001:db8:a1::7")
	secondAddr = netip.MustParseAddr("2001:db8:a1::8")
	peerAddr   = netip.MustParseAddr("2001:db8:c::9")
)

func association(spi uint32) esp.Association {
	return esp.Association{SPI: spi, Algorithm: esp.AESCBCSHA256, Key: esp.Key(strings.Repeat(string([]byte{byte(spi)}), 64))}
}

// wire records what reaches an interface's namespace.
type wire struct {
	t  *testing.T
	fd int
}

func tapOf(t *testing.T, s *nstest.Space) *wire {
	w := &wire{t: t}
	s.Do(func() (err error) {
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(sock.NetworkOrder16(unix.ETH_P_IPV6))); err != nil {
			return err
		}
		timeout := unix.NsecToTimeval(int64(patience))
		return unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	})
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

// next returns the next packet of a protocol.
func (w *wire) next(protocol byte) []byte {
	w.t.Helper()
	for {
		b := make([]byte, 4096)
		n, _, err := unix.Recvfrom(w.fd, b, 0)
		if err != nil {
			w.t.Fatalf("waiting for protocol %d: %v", protocol, err)
		}
		if n >= 40 && b[6] == protocol {
			return b[:n]
		}
	}
}

func got[T any](t *testing.T, what string, c chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("%s does not come", what)
	}
	return v
}

// RFC 6275 §10.4.6, RFC 3776 §3, RFC 4877: between a mobile and its home agent, on a
// kernel that knows neither Mobile IPv6 nor ESP, updates go in transport mode, home
// tests through the tunnel in tunnel mode, and the tunnel's outer address follows the
// care-of address; without ESP neither passes.
//
// Covers: H1, H11.
func TestBetweenMobileAndAgent(t *testing.T) {
	tunnelToAgent, tunnelToMobile := association(1002), association(1003)
	ofAgent := esp.Policy{Home: homeAddr, Agent: agentAddr, Side: overlay.AgentSide, In: association(1000), Out: association(1001),
		TunnelIn: &tunnelToAgent, TunnelOut: &tunnelToMobile}
	ofMobile := esp.Policy{Home: homeAddr, Agent: agentAddr, Side: overlay.MobileSide, In: ofAgent.Out, Out: ofAgent.In,
		TunnelIn: &tunnelToMobile, TunnelOut: &tunnelToAgent}
	agent := newNode(t, overlay.AgentSide, ofAgent, agentAddr)
	mobile := newNode(t, overlay.MobileSide, ofMobile, homeAddr, firstAddr, secondAddr)
	peer := nstest.New(t)
	nstest.Veth(agent.space, "down", mobile.space, "up")
	nstest.Veth(agent.space, "out", peer, "in")
	agent.space.Sysctl("net/ipv6/conf/all/forwarding", "1")
	agent.space.Address("down", "2001:db8:a1::1/64")
	agent.space.Address("out", "2001:db8:c::1/64")
	for _, a := range []netip.Addr{firstAddr, secondAddr} {
		mobile.space.Address("up", netip.PrefixFrom(a, 64).String())
	}
	mobile.space.Address("lo", "2001:db8:10::100/128")
	mobile.space.Route("::/0", "2001:db8:a1::1", "up")
	peer.Address("in", "2001:db8:c::9/64")
	peer.Route("::/0", "2001:db8:c::1", "in")
	atPeer, atAgent, atMobile := tapOf(t, peer), tapOf(t, agent.space), tapOf(t, mobile.space)

	for sequence, careOf := range []netip.Addr{firstAddr, secondAddr} {
		update := mobile.send(mip6.Packet{Source: careOf, Destination: agentAddr, HomeAddress: homeAddr, Message: mip6.BindingUpdate{
			Sequence: mip6.Sequence(sequence), Flags: mip6.UpdateHome | mip6.UpdateAcknowledge, Lifetime: 10,
			Options: []mip6.Option{mip6.AlternateCareOf{Addr: careOf}},
		}})
		if b := got(t, "the update", agent.secure); !bytes.Equal(b, update) {
			t.Fatalf("the agent has %x, want %x", b, update)
		}
		agent.at(careOf)
		answer := agent.send(mip6.Packet{Source: agentAddr, Destination: careOf, RouteHome: homeAddr,
			Message: mip6.BindingAcknowledgement{Sequence: mip6.Sequence(sequence), Lifetime: 10}})
		if b := got(t, "the acknowledgement", mobile.secure); !bytes.Equal(b, answer) {
			t.Fatalf("the mobile has %x, want %x", b, answer)
		}
		mobile.at(careOf)

		init := mobile.send(mip6.Packet{Source: homeAddr, Destination: peerAddr, Message: mip6.HomeTestInit{Cookie: mip6.Cookie{byte(sequence)}}})
		if b := atAgent.next(mip6.ProtocolESP); netip.AddrFrom16([16]byte(b[8:])) != careOf || bytes.Contains(b, init[40:]) {
			t.Errorf("on the wire from %v, not %v: %x", netip.AddrFrom16([16]byte(b[8:])), careOf, b)
		}
		if err := got(t, "the home test init", agent.tunnel); err != nil {
			t.Fatal(err)
		}
		if b := atPeer.next(mip6.ProtocolMobility); !bytes.Equal(b[40:], init[40:]) {
			t.Errorf("the peer has %x, want %x", b, init)
		}
		test, err := mip6.Packet{Source: peerAddr, Destination: homeAddr, Message: mip6.HomeTest{Cookie: mip6.Cookie{byte(sequence)}, Token: mip6.KeygenToken{9}}}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		raw(t, peer, test)
		if b := atMobile.next(mip6.ProtocolESP); netip.AddrFrom16([16]byte(b[24:])) != careOf || bytes.Contains(b, test[40:]) {
			t.Errorf("on the wire to %v, not %v: %x", netip.AddrFrom16([16]byte(b[24:])), careOf, b)
		}
		if err := got(t, "the home test", mobile.tunnel); err != nil {
			t.Fatal(err)
		}
		if b := got(t, "the home test, out of the tunnel", mobile.plain); !bytes.Equal(b[40:], test[40:]) {
			t.Errorf("the mobile has %x, want %x", b, test)
		}

		// The same without ESP, from the agent's own address and from the care-of
		// address: what an eavesdropper could forge.
		raw(t, agent.space, tunnelled(agentAddr, careOf, test))
		mobile.drops(overlay.DropUnprotected, uint64(sequence+1))
		raw(t, mobile.space, tunnelled(careOf, agentAddr, init))
		agent.drops(overlay.DropUnprotected, uint64(sequence+1))
		raw(t, mobile.space, update)
		if r := got(t, "the update without ESP", agent.denied); r != role.DropUnauthenticated {
			t.Errorf("an update without ESP: %v", r)
		}
	}
	// ESP from where the mobile is not (RFC 6275 §10.4.5).
	mobile.at(netip.MustParseAddr("2001:db8:a1::9"))
	mobile.space.Address("up", "2001:db8:a1::9/64")
	mobile.send(mip6.Packet{Source: homeAddr, Destination: peerAddr, Message: mip6.HomeTestInit{}})
	if err := got(t, "the home test init", agent.tunnel); err == nil {
		t.Error("a home test init from another care-of address is taken")
	}
	// Nobody has heard more than that: no update came twice, no test past the tunnel.
	for what, n := range map[string]int{"to the agent": len(agent.secure) + len(agent.plain), "to the mobile": len(mobile.secure) + len(mobile.plain)} {
		if n != 0 {
			t.Errorf("%d messages too many %s", n, what)
		}
	}
	for reason, n := range agent.engine.Drops() {
		if reason != overlay.DropUnprotected && reason != overlay.DropOuterSource {
			t.Errorf("the agent's data plane has dropped %d for %v", n, reason)
		}
	}
}

// drops waits until an engine has dropped so many.
func (n *node) drops(reason overlay.DropReason, want uint64) {
	n.t.Helper()
	for end := time.Now().Add(patience); n.engine.Drops()[reason] != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("drops %v, want %d for %v", n.engine.Drops(), want, reason)
		}
	}
}

// tunnelled puts a plain tunnel header before a packet.
func tunnelled(from, to netip.Addr, inner []byte) []byte {
	b := []byte{0x60, 0, 0, 0, byte(len(inner) >> 8), byte(len(inner)), 41, 64}
	return slices.Concat(b, from.AsSlice(), to.AsSlice(), inner)
}

// raw sends a packet whole from a namespace.
func raw(t *testing.T, s *nstest.Space, packet []byte) {
	t.Helper()
	s.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, packet, 0, &unix.SockaddrInet6{Addr: [16]byte(packet[24:40])})
	})
}
