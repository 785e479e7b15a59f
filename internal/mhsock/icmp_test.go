package mhsock

import (
	"bytes"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"roam6/mip6"
)

// openICMP opens a Conn on the router that takes ICMPv6 messages and refusals.
func (w *world) openICMP(mark uint32) (c *Conn, refused chan [2]netip.Addr) {
	w.t.Helper()
	refused = make(chan [2]netip.Addr, 64)
	deliver := func(p []byte, link int) { w.delivered <- delivery{p, link} }
	w.router.Do(func() (err error) {
		c, err = Open(Options{Local: w.local, Deliver: deliver, ICMP: deliver, Mark: mark,
			Refused: func(local, peer netip.Addr) { refused <- [2]netip.Addr{local, peer} }})
		return err
	})
	w.t.Cleanup(func() { c.Close() })
	return c, refused
}

// icmpPacket is a message of Mobile IPv6 as the codec builds it.
func icmpPacket(t testing.TB, p mip6.ICMPPacket) []byte {
	t.Helper()
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// problem is a Parameter Problem that quotes a packet.
func problem(source, destination netip.Addr, code byte, quoted []byte) []byte {
	message := append([]byte{icmpParameterProblem, code, 0, 0, 0, 0, 0, 6}, quoted...)
	sum := uint32(58 + len(message))
	pseudo := append(append(source.AsSlice(), destination.AsSlice()...), message...)
	for len(pseudo)%2 != 0 {
		pseudo = append(pseudo, 0)
	}
	for i := 0; i < len(pseudo); i += 2 {
		sum += uint32(pseudo[i])<<8 | uint32(pseudo[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	message[2], message[3] = byte(^sum>>8), byte(^sum)
	return build(source, destination, 58, message)
}

// RFC 6275 §6.5–§6.8: what the filter passes of ICMPv6.
func TestFilterICMP(t *testing.T) {
	with, err := bpf.NewVM(signallingOnly(true, false, nil))
	if err != nil {
		t.Fatal(err)
	}
	without, err := bpf.NewVM(signallingOnly(false, false, nil))
	if err != nil {
		t.Fatal(err)
	}
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	icmp := func(kind byte) []byte { return []byte{kind, 0, 0, 0, 0, 7, 0, 0} }
	mobility := build(b, a, 135, mobilityMsg)
	update := build(b, a, 135, mobilityMsg, homeAddressOption(0))
	for _, tt := range []struct {
		name   string
		packet []byte
		accept bool
	}{
		{"discovery request", build(a, b, 58, icmp(144)), true},
		{"discovery reply", build(a, b, 58, icmp(145)), true},
		{"prefix solicitation", build(a, b, 58, icmp(146), homeAddressOption(0)), true},
		{"prefix solicitation, option after others", build(a, b, 58, icmp(146), homeAddressOption(4)), true},
		{"prefix advertisement", build(a, b, 58, icmp(147), routing(2, homeAddress)), true},
		{"prefix advertisement with both", build(a, b, 58, icmp(147), routing(2, homeAddress), homeAddressOption(0)), true},
		{"type 143", build(a, b, 58, icmp(143)), false},
		{"type 148", build(a, b, 58, icmp(148)), false},
		{"echo request along an optimised route", build(a, b, 58, icmp(128), homeAddressOption(0)), false},
		{"neighbour solicitation", build(a, b, 58, icmp(135)), false},
		{"packet too big", build(a, b, 58, append(icmp(2), mobility...)), false},
		{"refused mobility header", problem(a, b, 1, mobility), true},
		{"refused binding update", problem(a, b, 1, update), true},
		{"refused option", problem(a, b, 2, update), false},
		{"erroneous field", problem(a, b, 0, mobility), false},
		{"refused udp", problem(a, b, 1, build(b, a, 17, make([]byte, 64))), false},
		{"refusal cut in the quoted header", problem(a, b, 1, nil), false},
		{"no type", build(a, b, 58, nil), false},
		{"behind three extension headers", build(a, b, 58, icmp(146), homeAddressOption(0), routing(2, homeAddress), homeAddressOption(0)), false},
		{"mobility header", mobility, true},
		{"data with home address option", build(a, b, 17, make([]byte, 64), homeAddressOption(0)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := with.Run(tt.packet)
			if err != nil {
				t.Fatal(err)
			}
			if got := n != 0; got != tt.accept {
				t.Errorf("accepted %v, want %v", got, tt.accept)
			}
			if n, err = without.Run(tt.packet); err != nil || n != 0 && tt.packet[6] == 58 {
				t.Errorf("accepted by the program without ICMPv6: %d, %v", n, err)
			}
		})
	}
}

// RFC 6275 §11.3.5: what counts as a refusal.
//
// Covers: M12.
func TestRefusal(t *testing.T) {
	us, peer, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8::3")
	message := build(us, peer, 135, mobilityMsg)
	spoiled := problem(peer, us, 1, message)
	spoiled[len(spoiled)-1] ^= 1
	for _, tt := range []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"mobility header", problem(peer, us, 1, message), true},
		{"binding update", problem(peer, us, 1, build(us, peer, 135, mobilityMsg, homeAddressOption(0))), true},
		{"cut behind the header", problem(peer, us, 1, message[:40]), true},
		{"from somebody else", problem(other, us, 1, message), false},
		{"of somebody else's", problem(peer, us, 1, build(other, peer, 135, mobilityMsg)), false},
		{"option", problem(peer, us, 2, message), false},
		{"field", problem(peer, us, 0, message), false},
		{"udp", problem(peer, us, 1, build(us, peer, 17, mobilityMsg)), false},
		{"cut in the header", problem(peer, us, 1, message[:39]), false},
		{"version 4", problem(peer, us, 1, append([]byte{0x45}, message[1:]...)), false},
		{"nothing quoted", problem(peer, us, 1, nil), false},
		{"checksum", spoiled, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, at := payloadOf(tt.packet)
			local, from, ok := refusal(tt.packet, at)
			if ok != tt.want {
				t.Fatalf("refusal %v, want %v", ok, tt.want)
			}
			if ok && (local != us || from != peer) {
				t.Errorf("local %v, peer %v", local, from)
			}
		})
	}
}

func FuzzRefusal(f *testing.F) {
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	f.Add(problem(a, b, 1, build(b, a, 135, mobilityMsg)))
	f.Add(build(a, b, 58, []byte{147}, routing(2, homeAddress), homeAddressOption(0)))
	f.Add(build(a, b, 60, nil))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) < ipv6HeaderLen {
			return
		}
		_, at := payloadOf(packet)
		if at > len(packet) {
			t.Fatalf("payload at %d of %d", at, len(packet))
		}
		refusal(packet, at)
	})
}

// RFC 6275 §6.5–§6.8: with or without Home Address option and type 2 routing
// header the messages are delivered, and the kernel says nothing to any of them.
func TestReceiveICMP(t *testing.T) {
	w := newWorld(t)
	c, _ := w.openICMP(0)
	for _, p := range []mip6.ICMPPacket{
		{Message: mip6.HomeAgentRequest{Identifier: 7}},
		{Message: mip6.HomeAgentReply{Identifier: 7, HomeAgents: []netip.Addr{w.addr, w.peerAddr}}},
		{Message: mip6.PrefixSolicitation{Identifier: 7}, HomeAddress: homeAddress},
		{Message: mip6.PrefixAdvertisement{Identifier: 7}, RouteHome: homeAddress},
		{Message: mip6.PrefixAdvertisement{Identifier: 7}, RouteHome: homeAddress, HomeAddress: w.peerAddr},
	} {
		p.Source, p.Destination = w.peerAddr, w.addr
		packet := icmpPacket(t, p)
		send(t, w.peer, packet)
		w.expect(packet, w.router.Index("r0"))
		if n := w.parameterProblems(); n != 0 && c.Silenced() {
			t.Errorf("%v: %d parameter problems", p.Message.ICMPType(), n)
		}
		if got, err := mip6.ParseICMPPacket(packet); err != nil || got.Message == nil {
			t.Errorf("not parsed: %v", err)
		}
	}
	// Forwarded ones are not ours; the next one for us is the next delivery.
	send(t, w.peer, icmpPacket(t, mip6.ICMPPacket{Source: w.peerAddr, Destination: w.hostAddr, Message: mip6.HomeAgentRequest{Identifier: 1}}))
	packet := icmpPacket(t, mip6.ICMPPacket{Source: w.peerAddr, Destination: w.addr, Message: mip6.HomeAgentRequest{Identifier: 2}})
	send(t, w.peer, packet)
	w.expect(packet, w.router.Index("r0"))
	if s := c.Counters(); s.Delivered != 6 || s.NotLocal != 1 {
		t.Errorf("counters %+v", s)
	}
}

// request is a discovery request from the peer to the anycast address.
func (w *world) request(to netip.Addr, identifier uint16) []byte {
	return icmpPacket(w.t, mip6.ICMPPacket{Source: w.peerAddr, Destination: to, Message: mip6.HomeAgentRequest{Identifier: identifier}})
}

// expectRepeated sends until the packet is delivered, as a mobile node does: the
// kernel queues only a few packets for an address that it resolves, and delays
// its answer for an anycast address by up to a second.
func (w *world) expectRepeated(packet []byte, link int) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		send(w.t, w.peer, packet)
		select {
		case d := <-w.delivered:
			if bytes.Equal(d.packet, packet) && d.link == link {
				for len(w.delivered) > 0 {
					<-w.delivered
				}
				return
			}
		case <-time.After(250 * time.Millisecond):
		}
	}
	w.t.Fatal("not delivered")
}

// RFC 6275 §10.5, RFC 4861 §7.2.7: a router joins the home agents anycast
// address; neighbours resolve it, and the answer does not override another home
// agent's.
//
// Covers: H12.
func TestAnycast(t *testing.T) {
	w := newWorld(t)
	c, _ := w.openICMP(0)
	link := w.router.Index("r0")
	anycast := netip.MustParseAddr("2001:db8:1:0:fdff:ffff:ffff:fffe")

	send(t, w.peer, w.request(anycast, 1)) // not joined: nobody has it
	if err := c.JoinAnycast(link, anycast); err != nil {
		t.Fatal(err)
	}
	w.expectRepeated(w.request(anycast, 2), link)
	heard := w.heard.until(func(b []byte) bool {
		return icmpType(b) == 136 && netip.AddrFrom16([16]byte(b[48:])) == anycast
	})
	advertisement := heard[len(heard)-1]
	if flags := advertisement[44]; flags&0x20 != 0 || flags&0x40 == 0 {
		t.Errorf("neighbour advertisement with flags %#x, want S=1 O=0", flags)
	}

	// A Mobility Header to the anycast address is nobody's.
	send(t, w.peer, build(w.peerAddr, anycast, 135, mobilityMsg))
	if n := w.parameterProblems(); n != 0 {
		t.Errorf("%d parameter problems", n)
	}

	// The link goes down and comes back: joining again puts it right.
	w.router.LinkDown("r0")
	w.router.LinkUp("r0")
	w.router.Assign("r0", "2001:db8:1::1/64")
	if w.routeType(anycast) == unix.RTN_ANYCAST {
		t.Error("this kernel keeps the route of an anycast address: JoinAnycast need not be repeated")
	}
	if err := c.JoinAnycast(link, anycast); err != nil {
		t.Fatal(err)
	}
	if w.routeType(anycast) != unix.RTN_ANYCAST {
		t.Error("the kernel takes packets to the anycast address for somebody else's")
	}
	w.expectRepeated(w.request(anycast, 3), link)

	if err := c.LeaveAnycast(link, anycast); err != nil {
		t.Fatal(err)
	}
	if err := c.LeaveAnycast(link, anycast); err != nil {
		t.Errorf("left twice: %v", err)
	}
	if w.anycastAddresses("fdffffff") {
		t.Error("the kernel still has the address")
	}
	send(t, w.peer, w.request(anycast, 4))
	last := w.request(w.addr, 5)
	send(t, w.peer, last)
	w.expect(last, link)

	// What cannot be joined.
	for _, bad := range []netip.Addr{{}, netip.MustParseAddr("ff02::1"), netip.MustParseAddr("192.0.2.1"), w.addr} {
		if err := c.JoinAnycast(link, bad); err == nil {
			t.Errorf("joined %v", bad)
		}
	}
	if err := c.JoinAnycast(9999, anycast); err == nil {
		t.Error("joined on no interface")
	}
}

// anycastAddresses looks for part of an address in the kernel's list.
func (w *world) anycastAddresses(part string) bool {
	var b []byte
	w.router.Do(func() (err error) {
		b, err = os.ReadFile("/proc/thread-self/net/anycast6")
		return err
	})
	return bytes.Contains(b, []byte(part))
}

// routeType is what the router's kernel does with packets to an address.
func (w *world) routeType(a netip.Addr) int {
	routes, err := w.router.Handle.RouteGet(a.AsSlice())
	if err != nil || len(routes) == 0 {
		return unix.RTN_UNSPEC
	}
	return routes[0].Type
}

// B2: the kernel forgets what was joined with the socket.
func TestAnycastEndsWithTheConn(t *testing.T) {
	w := newWorld(t)
	c, _ := w.openICMP(0)
	if err := c.JoinAnycast(w.router.Index("r0"), netip.MustParseAddr("2001:db8:1:0:fdff:ffff:ffff:fffe")); err != nil {
		t.Fatal(err)
	}
	if !w.anycastAddresses("fdffffff") {
		t.Fatal("not in the kernel")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if w.anycastAddresses("fdffffff") {
		t.Error("left after Close")
	}
}

// An interface that disappears takes the anycast address with it.
func TestAnycastOnLostLink(t *testing.T) {
	w := newWorld(t)
	c, _ := w.openICMP(0)
	link := w.router.Index("r0")
	anycast := netip.MustParseAddr("2001:db8:1:0:fdff:ffff:ffff:fffe")
	if err := c.JoinAnycast(link, anycast); err != nil {
		t.Fatal(err)
	}
	if err := w.router.Handle.LinkDel(w.router.Link("r0")); err != nil {
		t.Fatal(err)
	}
	if err := c.LeaveAnycast(link, anycast); err != nil {
		t.Errorf("leave: %v", err)
	}
	// A joined one on a lost interface does not block a new join there.
	if err := c.JoinAnycast(w.router.Index("r1"), anycast); err != nil {
		t.Errorf("join on another interface: %v", err)
	}
}

// RFC 6275 §11.3.5: a stack that does not know the Mobility Header says so, and
// that it does not know the Home Address option is another thing.
//
// Covers: M12.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	c, refused := w.openICMP(0)
	if mobileIPv6(t) {
		t.Skip("needs a kernel without Mobile IPv6 for the peer (CONFIG_IPV6_MIP6 not set)")
	}
	w.peer.Sysctl("net/ipv6/icmp/ratelimit", "0")
	w.peer.Address("lo", "2001:db8:77::1/128")
	w.peer.Address("lo", "2001:db8:77::2/128")
	w.router.Route("2001:db8:77::/64", w.peerAddr.String(), "r0")
	option, plain := netip.MustParseAddr("2001:db8:77::1"), netip.MustParseAddr("2001:db8:77::2")
	for _, packet := range [][]byte{
		build(w.addr, option, 135, mobilityMsg, homeAddressOption(0)), // code 2
		build(w.addr, plain, 17, make([]byte, 16)),                    // port unreachable
		build(w.addr, plain, 135, mobilityMsg),                        // code 1
	} {
		if err := c.Send(packet, 0, netip.Addr{}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case r := <-refused:
		if r != [2]netip.Addr{w.addr, plain} {
			t.Errorf("refused %v, want %v", r, [2]netip.Addr{w.addr, plain})
		}
	case <-time.After(patience):
		t.Fatal("not told")
	}
}

// Covers: Attack: forged answers.
//
// Forged errors are reported at a bounded rate only, and
// those that quote somebody else's packet not at all.
func TestForgedRefusals(t *testing.T) {
	w := newWorld(t)
	c, refused := w.openICMP(0)
	send(t, w.peer, problem(w.peerAddr, w.addr, 1, build(w.hostAddr, w.peerAddr, 135, mobilityMsg)))
	begin := time.Now()
	for range 200 {
		send(t, w.peer, problem(w.peerAddr, w.addr, 1, build(w.addr, w.peerAddr, 135, mobilityMsg)))
	}
	last := w.request(w.addr, 9)
	send(t, w.peer, last)
	w.expect(last, w.router.Index("r0"))
	most := refusalRate.Burst + 1 + int(time.Since(begin)/refusalRate.Every)
	if n := len(refused); n == 0 || n > most {
		t.Errorf("%d of 200 reported, at most %d expected", n, most)
	}
	if s := c.Counters(); s.Limited != uint64(200-len(refused)) || s.Malformed != 1 {
		t.Errorf("counters %+v", s)
	}
}

// Options.Mark: a policy rule can tell what we send.
func TestMark(t *testing.T) {
	w := newWorld(t)
	c, _ := w.openICMP(0x62750000)
	// Marked packets go by a table of their own, in which there is nothing.
	rule := netlink.NewRule()
	rule.Family, rule.Mark, rule.Priority, rule.Type = unix.AF_INET6, 0x62750000, 100, unix.FR_ACT_PROHIBIT
	if err := w.router.Handle.RuleAdd(rule); err != nil {
		t.Skipf("needs policy rules with marks in the kernel (CONFIG_IPV6_MULTIPLE_TABLES): %v", err)
	}
	packet := build(w.addr, w.peerAddr, 135, mobilityMsg)
	if err := c.Send(packet, 0, netip.Addr{}); err == nil {
		t.Error("the rule for marked packets did not apply")
	}
	if err := w.router.Handle.RuleDel(rule); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(packet, 0, netip.Addr{}); err != nil {
		t.Error(err)
	}
}
