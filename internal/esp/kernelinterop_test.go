package esp_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/esp"
	"roam6/internal/role"
	"roam6/internal/rtnl/nstest"
	"roam6/mip6"
	"roam6/overlay"
)

// join links a mobile, its agent and a peer behind that.
func join(t *testing.T, mobile, agent *nstest.Space) (peer *nstest.Space) {
	t.Helper()
	peer = nstest.New(t)
	nstest.Veth(agent, "down", mobile, "up")
	nstest.Veth(agent, "out", peer, "in")
	agent.Sysctl("net/ipv6/conf/all/forwarding", "1")
	agent.Address("down", agentAddr.String()+"/64")
	agent.Address("out", "2001:db8:c::1/64")
	for _, a := range []netip.Addr{firstAddr, secondAddr} {
		mobile.Address("up", netip.PrefixFrom(a, 64).String())
	}
	mobile.Route("::/0", agentAddr.String(), "up")
	peer.Address("in", peerAddr.String()+"/64")
	peer.Route("::/0", "2001:db8:c::1", "in")
	return peer
}

func update(careOf netip.Addr, sequence int) mip6.Packet {
	return mip6.Packet{Source: careOf, Destination: agentAddr, HomeAddress: homeAddr, Message: mip6.BindingUpdate{
		Sequence: mip6.Sequence(sequence), Flags: mip6.UpdateHome | mip6.UpdateAcknowledge, Lifetime: 10,
		Options: []mip6.Option{mip6.AlternateCareOf{Addr: careOf}},
	}}
}

func acknowledgement(careOf netip.Addr, sequence int) mip6.Packet {
	return mip6.Packet{Source: agentAddr, Destination: careOf, RouteHome: homeAddr,
		Message: mip6.BindingAcknowledgement{Sequence: mip6.Sequence(sequence), Lifetime: 10}}
}

func solicitation(careOf netip.Addr, identifier uint16) mip6.ICMPPacket {
	return mip6.ICMPPacket{Source: careOf, Destination: agentAddr, HomeAddress: homeAddr, Message: mip6.PrefixSolicitation{Identifier: identifier}}
}

func advertisement(careOf netip.Addr, identifier uint16) mip6.ICMPPacket {
	return mip6.ICMPPacket{Source: agentAddr, Destination: careOf, RouteHome: homeAddr, Message: mip6.PrefixAdvertisement{
		Identifier: identifier,
		Prefixes:   []mip6.PrefixInformation{{Prefix: netip.PrefixFrom(homeAddr, 64).Masked(), OnLink: true, ValidLifetime: time.Hour, PreferredLifetime: time.Minute}},
	}}
}

var (
	homeTestInit = mip6.Packet{Source: homeAddr, Destination: peerAddr, Message: mip6.HomeTestInit{Cookie: mip6.Cookie{1, 2, 3}}}
	homeTest     = mip6.Packet{Source: peerAddr, Destination: homeAddr, Message: mip6.HomeTest{Cookie: mip6.Cookie{1, 2, 3}, Token: mip6.KeygenToken{9}}}
)

// forgeries asserts that no bit of a packet in ESP can be changed unnoticed. The receiver
// knows nothing of it yet.
func forgeries(t *testing.T, packet []byte, a esp.Association) {
	t.Helper()
	sealed := packet[espAt(t, packet):]
	for octet := range sealed {
		in, err := esp.NewInbound(a)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := in.Open(nil, flipped(sealed, octet)); err == nil {
			t.Errorf("with another octet %d of %d the kernel's packet is accepted", octet, len(sealed))
		}
		if _, _, err := in.Open(nil, sealed); err != nil {
			t.Fatalf("after a forgery the kernel's packet is refused: %v", err)
		}
	}
}

// refuses asserts that our end refuses a packet that comes from a namespace.
func (n *node) refuses(what string, from *nstest.Space, packet []byte, want role.DropReason) {
	n.t.Helper()
	raw(n.t, from, packet)
	if r := got(n.t, what, n.denied); r != want {
		n.t.Errorf("%s: %v, want %v", what, r, want)
	}
}

// refuses asserts that the kernel's end refuses, and counts, a packet in ESP that it has had,
// and ones that were changed on their way, of a sender who is ahead of ours.
func (k *kernelEnd) refuses(from *nstest.Space, packet []byte, a esp.Association, in *netlink.XfrmState, protocol uint8, payload []byte) {
	k.t.Helper()
	replayed, forged := k.counts(in)
	raw(k.t, from, packet)
	eventually(k.t, "a replayed packet is counted", func() bool { n, _ := k.counts(in); return n == replayed+1 })
	ahead := resealed(k.t, packet, a, 13, protocol, payload)
	at := espAt(k.t, packet)
	for i, octet := range []int{at + 7, at + 8, at + 20, at + 40, len(ahead) - 1} { // sequence number, vector, text, check value
		raw(k.t, from, flipped(ahead, octet))
		eventually(k.t, "a forged packet is counted", func() bool { _, n := k.counts(in); return n == forged+uint32(i)+1 })
	}
	k.messages.quiet()
}

// late asserts that the kernel's end takes packets out of order, and each once.
func (k *kernelEnd) late(from *nstest.Space, packet, genuine []byte) {
	k.t.Helper()
	in := k.transport(k.policy.In, true)
	replayed, _ := k.counts(in)
	for i, before := range []int{12, 10, 11} {
		b := resealed(k.t, packet, k.policy.In, before, mip6.ProtocolMobility, genuine)
		raw(k.t, from, b)
		if h := k.messages.receive("a packet out of order"); string(h.payload) != string(genuine) {
			k.t.Errorf("out of order: %x, want %x", h.payload, genuine)
		}
		raw(k.t, from, b)
		eventually(k.t, "its copy is counted", func() bool { n, _ := k.counts(in); return n == replayed+uint32(i)+1 })
	}
	k.messages.quiet()
}

// RFC 4303, RFC 4877, with the kernel's Mobile IPv6 and ESP as the home agent: it takes our
// updates and prefix solicitations, and we its answers, from one care-of address and from
// the next; home tests pass in tunnel mode. Neither end takes what was changed on the way,
// was there before, or is in no ESP.
//
// Covers: H1, H11.
func TestKernelAgent(t *testing.T) {
	suites(t, func(t *testing.T, ofMobile, ofAgent esp.Policy) {
		agent := newKernelEnd(t, ofAgent)
		mobile := newNode(t, overlay.MobileSide, ofMobile, homeAddr, firstAddr, secondAddr)
		peer := join(t, mobile.space, agent.space)
		mobile.space.Address("lo", homeAddr.String()+"/128")
		agent.space.Route(homeAddr.String()+"/128", "", "down")
		agent.secure(agentAddr)
		toAgent, toMobile, toPeer := tapOf(t, agent.space), tapOf(t, mobile.space), tapOf(t, peer)

		var packet, tunnelled []byte
		for i, careOf := range []netip.Addr{firstAddr, secondAddr} {
			sent := mobile.send(update(careOf, i))
			h := agent.messages.receive("the update")
			if h.source != homeAddr || h.careOf != careOf || string(h.payload) != string(message(t, sent)) {
				t.Fatalf("the kernel has from %v at %v %x, want %x", h.source, h.careOf, h.payload, message(t, sent))
			}
			packet = toAgent.next(mip6.ProtocolDestination)
			espAt(t, packet)
			agent.at(careOf)
			mobile.at(careOf)

			answer := appended(t, acknowledgement(careOf, i))
			agent.messages.send(homeAddr, message(t, answer))
			same(t, "the acknowledgement", got(t, "the acknowledgement", mobile.secure), answer)
			recorded := toMobile.next(mip6.ProtocolRouting)
			forgeries(t, recorded, ofMobile.In)

			wanted := appended(t, solicitation(careOf, uint16(i)))
			if err := mobile.conn.Send(wanted, 0, netip.Addr{}); err != nil {
				t.Fatal(err)
			}
			if h := agent.icmp.receive("the prefix solicitation"); h.source != homeAddr || h.careOf != careOf || string(h.payload) != string(message(t, wanted)) {
				t.Fatalf("the kernel has from %v at %v %x, want %x", h.source, h.careOf, h.payload, message(t, wanted))
			}
			espAt(t, toAgent.next(mip6.ProtocolDestination))
			prefixes := appended(t, advertisement(careOf, uint16(i)))
			agent.icmp.send(homeAddr, message(t, prefixes))
			same(t, "the prefix advertisement", got(t, "the prefix advertisement", mobile.secure), prefixes)
			espAt(t, toMobile.next(mip6.ProtocolRouting))

			init := mobile.send(homeTestInit)
			if b := toPeer.next(mip6.ProtocolMobility); string(b[8:]) != string(init[8:]) {
				t.Errorf("the peer has %x, want %x", b, init)
			}
			tunnelled = toAgent.next(mip6.ProtocolESP)
			if from := netip.AddrFrom16([16]byte(tunnelled[8:])); from != careOf {
				t.Errorf("home test init from %v, not %v", from, careOf)
			}
			test := appended(t, homeTest)
			raw(t, peer, test)
			if err := got(t, "the home test", mobile.tunnel); err != nil {
				t.Fatal(err)
			}
			if b := got(t, "the home test, out of the tunnel", mobile.plain); string(b[8:]) != string(test[8:]) {
				t.Errorf("the mobile has %x, want %x", b, test)
			}
			forgeries(t, toMobile.next(mip6.ProtocolESP), *ofMobile.TunnelIn)

			mobile.refuses("a recorded acknowledgement", agent.space, recorded, role.DropReplay)
			ahead := resealed(t, recorded, ofAgent.Out, 40, mip6.ProtocolMobility, message(t, answer))
			mobile.refuses("a forged acknowledgement", agent.space, flipped(ahead, espAt(t, ahead)+30), role.DropBadAuthenticator)
			mobile.refuses("an acknowledgement without ESP", agent.space, answer, role.DropUnauthenticated)
		}
		// Home agent discovery knows no association (RFC 6275 §11.4.1), and passes all this.
		request := mip6.ICMPPacket{Source: secondAddr, Destination: agentAddr, Message: mip6.HomeAgentRequest{Identifier: 7}}
		if err := mobile.conn.Send(appended(t, request), 0, netip.Addr{}); err != nil {
			t.Fatal(err)
		}
		if h := agent.icmp.receive("the discovery request"); h.source != secondAddr {
			t.Errorf("discovery request from %v", h.source)
		}
		reply := appended(t, mip6.ICMPPacket{Source: agentAddr, Destination: secondAddr, Message: mip6.HomeAgentReply{Identifier: 7, HomeAgents: []netip.Addr{agentAddr}}})
		agent.icmp.send(secondAddr, message(t, reply))
		same(t, "the discovery reply", got(t, "the discovery reply", mobile.plain), reply)

		raw(t, mobile.space, appended(t, update(secondAddr, 2)))
		genuine := message(t, appended(t, update(secondAddr, 3)))
		agent.refuses(mobile.space, packet, ofAgent.In, agent.transport(ofAgent.In, true), mip6.ProtocolMobility, genuine)
		agent.refuses(mobile.space, tunnelled, *ofAgent.TunnelIn, agent.tunnel(*ofAgent.TunnelIn, true), mip6.ProtocolIPv6, appended(t, homeTestInit))
		agent.late(mobile.space, packet, genuine)
		// Ours, behind those, is still new to the window.
		last := mobile.send(update(secondAddr, 4))
		if h := agent.messages.receive("the last update"); string(h.payload) != string(message(t, last)) {
			t.Errorf("the kernel has %x, want %x", h.payload, message(t, last))
		}
		nothingElse(t, mobile)
	})
}

// The other way round: the kernel as the mobile, and we are the home agent.
//
// Covers: H1, H11.
func TestKernelMobile(t *testing.T) {
	suites(t, func(t *testing.T, ofMobile, ofAgent esp.Policy) {
		mobile := newKernelEnd(t, ofMobile)
		agent := newNode(t, overlay.AgentSide, ofAgent, agentAddr)
		peer := join(t, mobile.space, agent.space)
		home := &netlink.Addr{IPNet: network(homeAddr.AsSlice()), Flags: unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS}
		if err := mobile.space.Handle.AddrAdd(mobile.space.Link("lo"), home); err != nil {
			t.Fatal(err)
		}
		mobile.secure(homeAddr)
		toAgent, toMobile, toPeer := tapOf(t, agent.space), tapOf(t, mobile.space), tapOf(t, peer)

		var packet, tunnelled []byte
		for i, careOf := range []netip.Addr{firstAddr, secondAddr} {
			mobile.at(careOf)
			sent := appended(t, update(careOf, i))
			mobile.messages.send(agentAddr, message(t, sent))
			same(t, "the update", got(t, "the update", agent.secure), sent)
			recorded := toAgent.next(mip6.ProtocolDestination)
			forgeries(t, recorded, ofAgent.In)
			agent.at(careOf)

			answer := agent.send(acknowledgement(careOf, i))
			if h := mobile.messages.receive("the acknowledgement"); h.source != agentAddr || string(h.payload) != string(message(t, answer)) {
				t.Fatalf("the kernel has from %v %x, want %x", h.source, h.payload, message(t, answer))
			}
			packet = toMobile.next(mip6.ProtocolRouting)
			espAt(t, packet)

			wanted := appended(t, solicitation(careOf, uint16(i)))
			mobile.icmp.send(agentAddr, message(t, wanted))
			same(t, "the prefix solicitation", got(t, "the prefix solicitation", agent.secure), wanted)
			espAt(t, toAgent.next(mip6.ProtocolDestination))
			prefixes := appended(t, advertisement(careOf, uint16(i)))
			if err := agent.conn.Send(prefixes, 0, netip.Addr{}); err != nil {
				t.Fatal(err)
			}
			if h := mobile.icmp.receive("the prefix advertisement"); h.source != agentAddr || string(h.payload) != string(message(t, prefixes)) {
				t.Fatalf("the kernel has from %v %x, want %x", h.source, h.payload, message(t, prefixes))
			}

			init := appended(t, homeTestInit)
			mobile.messages.send(peerAddr, message(t, init))
			if err := got(t, "the home test init", agent.tunnel); err != nil {
				t.Fatal(err)
			}
			if b := toPeer.next(mip6.ProtocolMobility); string(b[8:]) != string(init[8:]) {
				t.Errorf("the peer has %x, want %x", b, init)
			}
			forgeries(t, toAgent.next(mip6.ProtocolESP), *ofAgent.TunnelIn)
			test := appended(t, homeTest)
			raw(t, peer, test)
			if h := mobile.messages.receive("the home test"); h.source != peerAddr || string(h.payload) != string(message(t, test)) {
				t.Errorf("the kernel has from %v %x, want %x", h.source, h.payload, message(t, test))
			}
			tunnelled = toMobile.next(mip6.ProtocolESP)
			if to := netip.AddrFrom16([16]byte(tunnelled[24:])); to != careOf {
				t.Errorf("home test to %v, not %v", to, careOf)
			}

			agent.refuses("a recorded update", mobile.space, recorded, role.DropReplay)
			ahead := resealed(t, recorded, ofMobile.Out, 40, mip6.ProtocolMobility, message(t, sent))
			agent.refuses("a forged update", mobile.space, flipped(ahead, espAt(t, ahead)+30), role.DropBadAuthenticator)
			agent.refuses("an update without ESP", mobile.space, sent, role.DropUnauthenticated)
		}
		raw(t, agent.space, appended(t, acknowledgement(secondAddr, 2)))
		genuine := message(t, appended(t, acknowledgement(secondAddr, 3)))
		mobile.refuses(agent.space, packet, ofMobile.In, mobile.transport(ofMobile.In, true), mip6.ProtocolMobility, genuine)
		mobile.refuses(agent.space, tunnelled, *ofMobile.TunnelIn, mobile.tunnel(*ofMobile.TunnelIn, true), mip6.ProtocolIPv6, appended(t, homeTest))
		mobile.late(agent.space, packet, genuine)
		last := agent.send(acknowledgement(secondAddr, 4))
		if h := mobile.messages.receive("the last acknowledgement"); string(h.payload) != string(message(t, last)) {
			t.Errorf("the kernel has %x, want %x", h.payload, message(t, last))
		}
		nothingElse(t, agent)
	})
}

// nothingElse asserts that our end has heard no more than it was asked for.
func nothingElse(t *testing.T, n *node) {
	t.Helper()
	if more := len(n.secure) + len(n.plain) + len(n.denied) + len(n.tunnel) + len(n.relay); more != 0 {
		t.Errorf("%d messages too many", more)
	}
}
