package esp_test

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"roam6/dhcpv6/dhcpconn"
	"roam6/internal/esp"
	"roam6/internal/mhsock"
	"roam6/internal/role"
	"roam6/internal/rtnl/nstest"
	"roam6/mip6"
	"roam6/overlay"
)

// sendRelayed sends a DHCPv6 message from the node's address to the other's, as the
// shell does, by way of where the mobile is, and returns its datagram.
func (n *node) sendRelayed(message []byte) (datagram []byte, err error) {
	n.t.Helper()
	key := overlay.Key{Home: homeAddr, Side: n.side}
	path, ok := n.engine.Path(key)
	if !ok {
		n.t.Fatal("there is no tunnel")
	}
	from, to := netip.AddrPortFrom(homeAddr, 547), netip.AddrPortFrom(agentAddr, 547)
	if n.side == overlay.AgentSide {
		from, to = to, from
	}
	if datagram, err = dhcpconn.AppendDatagram(nil, from, to, message); err != nil {
		n.t.Fatal(err)
	}
	return datagram, n.conn.SendRelayed(key, path, datagram)
}

// RFC 6276 §3, §4: between a mobile router and its home agent, on a kernel that knows
// neither Mobile IPv6 nor ESP, DHCPv6 messages go in ESP, from and to where the mobile
// is; without ESP they pass neither by the tunnel nor with the home address in an
// extension header, and from where it is not not even with ESP.
//
// Covers: D1, H1, Attack: prefix hijack.
func TestRelayBetweenMobileAndAgent(t *testing.T) {
	ofAgent := esp.Policy{Home: homeAddr, Agent: agentAddr, Side: overlay.AgentSide, In: association(1000), Out: association(1001)}
	ofMobile := esp.Policy{Home: homeAddr, Agent: agentAddr, Side: overlay.MobileSide, In: ofAgent.Out, Out: ofAgent.In}
	agent := newNode(t, overlay.AgentSide, ofAgent, agentAddr)
	mobile := newNode(t, overlay.MobileSide, ofMobile, homeAddr, firstAddr, secondAddr)
	nstest.Veth(agent.space, "down", mobile.space, "up")
	agent.space.Sysctl("net/ipv6/conf/all/forwarding", "1")
	agent.space.Address("down", "2001:db8:a1::1/64")
	for _, a := range []netip.Addr{firstAddr, secondAddr} {
		mobile.space.Address("up", netip.PrefixFrom(a, 64).String())
	}
	mobile.space.Address("lo", "2001:db8:10::100/128")
	mobile.space.Route("::/0", "2001:db8:a1::1", "up")
	atAgent, atMobile := tapOf(t, agent.space), tapOf(t, mobile.space)

	plain := func(source, destination, option, route netip.Addr, datagram []byte) []byte {
		b, err := mip6.AppendHomeHeaders(nil, source, destination, option, route, 17)
		if err == nil {
			b = append(b, datagram...)
			err = mip6.SetPayloadLength(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	none := netip.Addr{}
	for i, careOf := range []netip.Addr{firstAddr, secondAddr} {
		agent.at(careOf)
		mobile.at(careOf)
		for _, n := range []*node{mobile, agent} { // the route that mr and ha ask for is there, and is not taken
			r := overlay.Route{Pair: overlay.Pair{Home: homeAddr, Peer: agentAddr, Side: overlay.MobileSide}, CareOf: careOf, Link: mobile.space.Index("up")}
			if n == agent {
				r.Side, r.Link = overlay.CorrespondentSide, 0
			}
			if err := n.engine.Apply([]overlay.Change{{Optimise: &r}}); err != nil {
				t.Fatal(err)
			}
		}
		forth, err := mobile.sendRelayed([]byte("relay-forward " + careOf.String()))
		if err != nil {
			t.Fatal(err)
		}
		if b := atAgent.sealed(mip6.ProtocolDestination); netip.AddrFrom16([16]byte(b[8:])) != careOf || bytes.Contains(b, forth[8:]) {
			t.Errorf("on the wire from %v: %x", careOf, b)
		}
		if r := got(t, "the message to the agent", agent.relay); r.err != nil || !bytes.Equal(r.UDP, forth) || r.From() != homeAddr || r.To() != agentAddr {
			t.Errorf("the agent has %+v", r)
		}
		back, err := agent.sendRelayed([]byte("relay-reply " + careOf.String()))
		if err != nil {
			t.Fatal(err)
		}
		if b := atMobile.sealed(mip6.ProtocolRouting); netip.AddrFrom16([16]byte(b[24:])) != careOf || bytes.Contains(b, back[8:]) {
			t.Errorf("on the wire to %v: %x", careOf, b)
		}
		if r := got(t, "the message to the mobile", mobile.relay); r.err != nil || !bytes.Equal(r.UDP, back) || r.From() != agentAddr || r.To() != homeAddr {
			t.Errorf("the mobile has %+v", r)
		}

		// The same without ESP.
		raw(t, mobile.space, plain(careOf, agentAddr, homeAddr, none, forth))
		raw(t, mobile.space, tunnelled(careOf, agentAddr, plain(homeAddr, agentAddr, none, none, forth)))
		agent.drops(overlay.DropUnprotected, uint64(2*i+2))
		raw(t, agent.space, plain(agentAddr, careOf, none, homeAddr, back))
		raw(t, agent.space, tunnelled(agentAddr, careOf, plain(agentAddr, homeAddr, none, none, back)))
		// And what the kernel would send by the device.
		sendUDP(t, mobile.space, homeAddr, agentAddr)
		mobile.drops(overlay.DropUnprotected, uint64(3*i+3))
	}

	// From a former place, when its time is over, and from where it never was; whatever
	// the key says.
	mobile.at(netip.MustParseAddr("2001:db8:a1::9"))
	mobile.space.Address("up", "2001:db8:a1::9/64")
	if _, err := mobile.sendRelayed([]byte("relay-forward")); err != nil {
		t.Fatal(err)
	}
	if r := got(t, "the message from elsewhere", agent.relay); r.err == nil {
		t.Error("a message from another care-of address is taken")
	}
	agent.drops(overlay.DropOuterSource, 1)

	// What does not fit is not sent, not in fragments either.
	var failed *mhsock.SendError
	if _, err := mobile.sendRelayed(make([]byte, 1400)); !errors.As(err, &failed) || failed.Reason != mhsock.SendTooBig {
		t.Errorf("1400 octets: %v", err)
	}
	if n := mobile.conn.Counters().SendErrors[mhsock.SendTooBig]; n != 1 {
		t.Errorf("%d counted", n)
	}
	if _, err := mobile.sendRelayed(make([]byte, 1300)); err != nil { // and what fits, is
		t.Errorf("1300 octets: %v", err)
	}
	if r := got(t, "the long message", agent.relay); len(r.UDP) != 1308 {
		t.Errorf("the agent has %d octets", len(r.UDP))
	}

	// Damage, and what came by the right key for another purpose.
	sealed := sealUDP(t, ofMobile.Out, secondAddr, 546, 53)
	forged := slices.Clone(sealed)
	forged[len(forged)-1] ^= 1
	raw(t, mobile.space, sealed)
	if r := got(t, "the verdict", agent.denied); r != role.DropProhibited {
		t.Errorf("other ports: %v", r)
	}
	raw(t, mobile.space, forged)
	if r := got(t, "the verdict", agent.denied); r != role.DropBadAuthenticator {
		t.Errorf("forged: %v", r)
	}
	if n := len(agent.relay) + len(mobile.relay) + len(agent.plain) + len(mobile.plain); n != 0 {
		t.Errorf("%d messages too many", n)
	}
}

// sealed returns the next packet with ESP behind an extension header.
func (w *wire) sealed(header byte) []byte {
	w.t.Helper()
	for {
		if b := w.next(header); b[40] == mip6.ProtocolESP {
			return b
		}
	}
}

// sealUDP is a datagram between other ports in ESP.
func sealUDP(t *testing.T, a esp.Association, careOf netip.Addr, from, to uint16) []byte {
	t.Helper()
	out, err := esp.NewOutbound(a, func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	datagram, err := dhcpconn.AppendDatagram(nil, netip.AddrPortFrom(homeAddr, from), netip.AddrPortFrom(agentAddr, to), []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := mip6.AppendHomeHeaders(nil, careOf, agentAddr, homeAddr, netip.Addr{}, mip6.ProtocolESP)
	if err == nil {
		b, err = out.Seal(b, 17, datagram)
	}
	if err == nil {
		err = mip6.SetPayloadLength(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sendUDP sends a datagram to port 547 by a socket.
func sendUDP(t *testing.T, s *nstest.Space, from, to netip.Addr) {
	t.Helper()
	s.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: from.As16(), Port: 547}); err != nil {
			return err
		}
		return unix.Sendto(fd, []byte("message"), 0, &unix.SockaddrInet6{Addr: to.As16(), Port: 547})
	})
}
