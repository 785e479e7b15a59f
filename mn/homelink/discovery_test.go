package homelink

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// RFC 6275 §11.4.1, §12: retransmissions of the same request, each after twice
// the time, four of them; and then a pause that grows, but never silence.
//
// Covers: M10.
func TestDiscoveryBackOff(t *testing.T) {
	b := newBench(t, discovering)
	start := b.now
	b.attach(careOf1)
	first := b.one()
	if first.Source != careOf1 || first.Destination != anycast || first.HomeAddress.IsValid() || first.RouteHome.IsValid() {
		t.Errorf("request %+v", first)
	}
	var at []time.Duration
	var identifiers []uint16
	for range 40 {
		b.pass(b.link.Next().Sub(b.now))
		for _, s := range b.icmp() {
			at = append(at, b.now.Sub(start))
			identifiers = append(identifiers, s.Packet.Message.(mip6.HomeAgentRequest).Identifier)
		}
	}
	want := []time.Duration{3 * time.Second, 9 * time.Second, 21 * time.Second, 45 * time.Second,
		153 * time.Second, 156 * time.Second}
	if !slices.Equal(at[:len(want)], want) {
		t.Errorf("sent at %v, want %v", at[:len(want)], want)
	}
	if !slices.Equal(identifiers[:4], slices.Repeat([]uint16{first.Message.(mip6.HomeAgentRequest).Identifier}, 4)) {
		t.Errorf("retransmissions with other identifiers: %v", identifiers[:4])
	}
	if identifiers[4] == identifiers[3] {
		t.Error("the next row has the same identifier")
	}
	if last := b.link.Next().Sub(b.now); last > mostDiscoveryPause {
		t.Errorf("silent for %v", last)
	}
}

// RFC 6275 §11.4.1, RFC 3963 §7: which replies count.
//
// Covers: M10, Attack: discovery floods.
func TestReplies(t *testing.T) {
	heard := func(change func(p *mip6.ICMPPacket, m *mip6.HomeAgentReply)) func(mip6.ICMPPacket) mip6.ICMPPacket {
		return func(request mip6.ICMPPacket) mip6.ICMPPacket {
			p := reply(request, agentA, agentB, agentA)
			m := p.Message.(mip6.HomeAgentReply)
			change(&p, &m)
			p.Message = m
			return p
		}
	}
	var many []netip.Addr
	for i := range 76 {
		many = append(many, netip.MustParseAddr(fmt.Sprintf("2001:db8:10::%x", i+0x200)))
	}
	for _, test := range []struct {
		name         string
		mobileRouter bool
		reply        func(mip6.ICMPPacket) mip6.ICMPPacket
		drop         role.DropReason
		agent        netip.Addr
		agents       int
	}{
		{"accepted", false, heard(func(*mip6.ICMPPacket, *mip6.HomeAgentReply) {}), 0, agentB, 2},
		{"identifier", false, heard(func(_ *mip6.ICMPPacket, m *mip6.HomeAgentReply) { m.Identifier++ }), role.DropUnsolicited, netip.Addr{}, 0},
		{"to another address", false, heard(func(p *mip6.ICMPPacket, _ *mip6.HomeAgentReply) { p.Destination = careOf2 }), 0, netip.Addr{}, 0},
		{"source is not of the home link", false, heard(func(p *mip6.ICMPPacket, _ *mip6.HomeAgentReply) { p.Source = careOf2 }), role.DropUnexpected, netip.Addr{}, 0},
		{"source is link-local", false, heard(func(p *mip6.ICMPPacket, _ *mip6.HomeAgentReply) { p.Source = router }), role.DropUnexpected, netip.Addr{}, 0},
		{"routing header", false, heard(func(p *mip6.ICMPPacket, _ *mip6.HomeAgentReply) { p.RouteHome = homeAddress }), role.DropUnexpected, netip.Addr{}, 0},
		{"home address option", false, heard(func(p *mip6.ICMPPacket, _ *mip6.HomeAgentReply) { p.HomeAddress = agentA }), role.DropUnexpected, netip.Addr{}, 0},
		{"no addresses", false, heard(func(_ *mip6.ICMPPacket, m *mip6.HomeAgentReply) { m.HomeAgents = nil }), role.DropUnroutable, netip.Addr{}, 0},
		{"no usable addresses", false, heard(func(_ *mip6.ICMPPacket, m *mip6.HomeAgentReply) {
			m.HomeAgents = []netip.Addr{router, netip.IPv6Unspecified(), netip.IPv6Loopback(), homeAddress, careOf1, anycast,
				netip.MustParseAddr("ff02::1"), netip.MustParseAddr("::ffff:192.0.2.1")}
		}), role.DropUnroutable, netip.Addr{}, 0},
		{"some usable, one twice", false, heard(func(_ *mip6.ICMPPacket, m *mip6.HomeAgentReply) {
			m.HomeAgents = []netip.Addr{router, agentC, homeAddress, agentC, agentA}
		}), 0, agentC, 2},
		{"too many", false, heard(func(_ *mip6.ICMPPacket, m *mip6.HomeAgentReply) { m.HomeAgents = many }), 0, many[0], maxDiscovered},
		{"for mobile routers", true, heard(func(*mip6.ICMPPacket, *mip6.HomeAgentReply) {}), 0, agentB, 2},
		{"not for mobile routers", true, heard(func(_ *mip6.ICMPPacket, m *mip6.HomeAgentReply) { m.MobileRouter = false }), 0, netip.Addr{}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { discovering(c); c.MobileRouter = test.mobileRouter })
			b.attach(careOf1)
			request := b.one()
			if m := request.Message.(mip6.HomeAgentRequest); m.MobileRouter != test.mobileRouter {
				t.Errorf("R flag is %v", m.MobileRouter)
			}
			b.receive(test.reply(request))
			if got := b.dropped(); got != test.drop {
				t.Errorf("dropped as %v, want %v", got, test.drop)
			}
			b.agent(test.agent)
			if n := len(b.link.Snapshot(b.now).Agents); n != test.agents {
				t.Errorf("%d agents, want %d", n, test.agents)
			}
			if test.agent.IsValid() {
				b.pass(time.Hour)
				if n := len(b.icmp()); n != 0 {
					t.Errorf("%d requests after the answer", n)
				}
				b.receive(test.reply(request))
				if b.dropped() != role.DropUnsolicited {
					t.Error("the same reply is accepted again")
				}
			} else if b.pass(2 * time.Hour); len(b.icmp()) < 5 {
				t.Error("discovery has ended")
			}
		})
	}
}

// An identifier of 16 bits cannot be found by trying: after a few wrong ones it
// is not valid any more.
//
// Covers: Attack: forged answers.
func TestIdentifierIsNotGuessed(t *testing.T) {
	b := newBench(t, discovering)
	b.attach(careOf1)
	request := b.one()
	right := request.Message.(mip6.HomeAgentRequest).Identifier
	for i := range uint16(maxGuesses) {
		p := reply(request, agentA, agentA)
		p.Message = mip6.HomeAgentReply{Identifier: right + 1 + i, HomeAgents: []netip.Addr{agentA}}
		b.receive(p)
	}
	b.receive(reply(request, agentA, agentA))
	b.agent(netip.Addr{})
	b.pass(InitialDHAADTimeout)
	again := b.one()
	if again.Message.(mip6.HomeAgentRequest).Identifier == right {
		t.Fatal("the identifier is used again")
	}
	b.receive(reply(again, agentA, agentA))
	b.agent(agentA)
}

// From a new place the request goes out at once, however long the pause was; but
// a mobile that moves all the time does not flood its home link.
func TestDiscoveryMoves(t *testing.T) {
	b := newBench(t, discovering)
	b.attach(careOf1)
	b.pass(20 * time.Minute)
	b.attach(netip.Addr{})
	if b.pass(20 * time.Minute); len(b.icmp()) != 0 {
		t.Error("requests without a care-of address")
	}
	b.attach(careOf2)
	if p := b.one(); p.Source != careOf2 {
		t.Errorf("from %v", p.Source)
	}
	b.did = b.link.Attach(b.now, careOf2, 1, false)
	if len(b.icmp()) != 0 {
		t.Error("sent again without a move")
	}
	sent := 0
	for i := range 1000 {
		b.attach([]netip.Addr{careOf1, careOf2}[i%2])
		sent += len(b.icmp())
		b.pass(10 * time.Millisecond)
		sent += len(b.icmp())
	}
	if sent > 16 {
		t.Errorf("%d requests in ten seconds", sent)
	}
}

// At home nothing is asked: the advertisements tell.
func TestNoDiscoveryAtHome(t *testing.T) {
	b := newBench(t, discovering)
	b.did = b.link.Attach(b.now, homeAddress, 1, true)
	b.pass(time.Hour)
	if n := len(b.icmp()); n != 0 {
		t.Errorf("%d requests", n)
	}
	b.attach(careOf1)
	b.one()
}

// A home prefix without room for an anycast address cannot be asked (RFC 2526 §2).
func TestNoDiscoveryWithoutAnycastAddress(t *testing.T) {
	b := newBench(t, func(c *Config) {
		discovering(c)
		c.HomePrefix = netip.MustParsePrefix("2001:db8:10::100/124")
	})
	b.attach(careOf1)
	b.pass(time.Hour)
	if n := len(b.icmp()); n != 0 {
		t.Errorf("%d requests", n)
	}
}
