package homelink

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/internal/role/roletest"
	"roam6/mip6"
	"roam6/nd"
)

var (
	homeAddress = netip.MustParseAddr("2001:db8:10::100")
	homePrefix  = netip.MustParsePrefix("2001:db8:10::/64")
	agentA      = netip.MustParseAddr("2001:db8:10::a")
	agentB      = netip.MustParseAddr("2001:db8:10::b")
	agentC      = netip.MustParseAddr("2001:db8:10::c")
	careOf1     = netip.MustParseAddr("2001:db8:a1::42")
	careOf2     = netip.MustParseAddr("2001:db8:a2::42")
	anycast     = netip.MustParseAddr("2001:db8:10:0:fdff:ffff:ffff:fffe")
	router      = netip.MustParseAddr("fe80::1")
)

// bench drives one home link.
type bench struct {
	*testing.T
	link *HomeLink
	now  time.Time
	did  []role.Action // of the last call, or of pass
}

func newBench(t *testing.T, change func(*Config)) *bench {
	random := rand.NewChaCha8([32]byte{7})
	c := Config{
		Name: "train", HomeAddress: homeAddress, HomePrefix: homePrefix, Agents: []netip.Addr{agentA, agentB},
		Random: func(b []byte) { _, _ = random.Read(b) },
	}
	if change != nil {
		change(&c)
	}
	return &bench{T: t, link: New(c), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func discovering(c *Config) { c.Agents, c.Discover = nil, true }

func (b *bench) attach(careOf netip.Addr) {
	b.did = b.link.Attach(b.now, careOf, 1, false)
}

func (b *bench) registered(d time.Duration) {
	b.did = b.link.Registered(b.now, b.link.place.careOf, b.now.Add(d))
}

func (b *bench) failed(f Failure) { b.did = b.link.Failed(b.now, f) }

func (b *bench) handle(e role.Event) { b.did = b.link.Handle(b.now, e) }

func (b *bench) receive(p mip6.ICMPPacket) { b.handle(role.ICMPReceived{Link: 1, Packet: p}) }

// pass lets time pass and wakes the home link whenever it asks for it.
func (b *bench) pass(d time.Duration) {
	b.Helper()
	b.did = roletest.Pass(b, &b.now, d, b.link.Next, func() []role.Action {
		b.handle(role.Timeout{})
		return b.did
	})
}

// icmp are the messages among the last actions.
func (b *bench) icmp() []role.SendICMP {
	var sent []role.SendICMP
	for _, a := range b.did {
		if s, ok := a.(role.SendICMP); ok {
			sent = append(sent, s)
		}
	}
	return sent
}

// one is the only message among the last actions.
func (b *bench) one() mip6.ICMPPacket {
	b.Helper()
	sent := b.icmp()
	if len(sent) != 1 {
		b.Fatalf("%d messages sent, want 1: %v", len(sent), b.did)
	}
	return sent[0].Packet
}

func (b *bench) dropped() role.DropReason {
	for _, a := range b.did {
		if d, ok := a.(role.Dropped); ok {
			return d.Reason
		}
	}
	return 0
}

func (b *bench) formed() []role.HomeAddressFormed {
	var f []role.HomeAddressFormed
	for _, a := range b.did {
		if x, ok := a.(role.HomeAddressFormed); ok {
			f = append(f, x)
		}
	}
	return f
}

func (b *bench) agent(want netip.Addr) {
	b.Helper()
	if got := b.link.Agent(); got != want {
		b.Fatalf("agent is %v, want %v", got, want)
	}
}

// reply answers a discovery request from an agent.
func reply(request mip6.ICMPPacket, from netip.Addr, agents ...netip.Addr) mip6.ICMPPacket {
	m := request.Message.(mip6.HomeAgentRequest)
	return mip6.ICMPPacket{Source: from, Destination: request.Source, Message: mip6.HomeAgentReply{
		Identifier: m.Identifier, MobileRouter: m.MobileRouter, HomeAgents: agents,
	}}
}

func info(p string, valid, preferred time.Duration) mip6.PrefixInformation {
	return mip6.PrefixInformation{
		Prefix: netip.MustParsePrefix(p), OnLink: true, Autonomous: true, ValidLifetime: valid, PreferredLifetime: preferred,
	}
}

// advertisement answers a solicitation.
func advertisement(solicitation mip6.ICMPPacket, prefixes ...mip6.PrefixInformation) mip6.ICMPPacket {
	return mip6.ICMPPacket{
		Source: solicitation.Destination, Destination: solicitation.Source, RouteHome: solicitation.HomeAddress,
		Message: mip6.PrefixAdvertisement{
			Identifier: solicitation.Message.(mip6.PrefixSolicitation).Identifier, Prefixes: prefixes,
		},
	}
}

// homeRA is the advertisement of a home agent on the home link.
func homeRA(link int, from, global netip.Addr, change func(*nd.RouterAdvertisement)) role.RouterHeard {
	ra := nd.RouterAdvertisement{
		HomeAgent: true, RouterLifetime: 30 * time.Minute,
		Prefixes: []mip6.PrefixInformation{{
			Prefix: netip.PrefixFrom(global, 64), OnLink: true, Autonomous: true, RouterAddress: true,
			ValidLifetime: 24 * time.Hour, PreferredLifetime: 4 * time.Hour,
		}},
	}
	if change != nil {
		change(&ra)
	}
	return role.RouterHeard{Link: link, Router: from, RA: ra}
}
