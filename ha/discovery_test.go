package ha

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

var (
	anycastAddr = netip.MustParseAddr("2001:db8:1:0:fdff:ffff:ffff:fffe")
	routerX     = netip.MustParseAddr("fe80::beef")
	agentX      = netip.MustParseAddr("2001:db8:1::beef")
)

// testRandom is a source of octets that are the same in every run.
func testRandom(seed uint64) func([]byte) {
	r := rand.New(rand.NewPCG(seed, 7))
	return func(b []byte) {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	}
}

// homeAgentRA is an advertisement of a home agent with one global address.
func homeAgentRA(addr netip.Addr) nd.RouterAdvertisement {
	return nd.RouterAdvertisement{
		HomeAgent: true, RouterLifetime: 30 * time.Minute, SourceLinkAddr: []byte{2, 0, 0, 0, 0, 1},
		Prefixes: []mip6.PrefixInformation{{Prefix: netip.PrefixFrom(addr, 64), OnLink: true, RouterAddress: true,
			ValidLifetime: time.Hour, PreferredLifetime: time.Hour}},
	}
}

func (w *world) hears(router netip.Addr, ra nd.RouterAdvertisement) {
	w.t.Helper()
	wantKinds(w.t, w.handle(role.RouterHeard{Link: homeIndex, Router: router, RA: ra}))
}

func discoveryRequest(mobileRouter bool) mip6.ICMPPacket {
	return mip6.ICMPPacket{Source: careOf1, Destination: anycastAddr, Message: mip6.HomeAgentRequest{Identifier: 77, MobileRouter: mobileRouter}}
}

// discover asks and returns the reply.
func (w *world) discover(mobileRouter bool) mip6.HomeAgentReply {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	actions := w.handle(role.ICMPReceived{Link: 9, Packet: discoveryRequest(mobileRouter)})
	wantKinds(w.t, actions, "mip6.HomeAgentReply to 2001:db8:f1::1")
	if w.t.Failed() {
		w.t.FailNow()
	}
	return actions[0].(role.SendICMP).Packet.Message.(mip6.HomeAgentReply)
}

func (w *world) wantAgents(want ...netip.Addr) {
	w.t.Helper()
	if got := w.discover(false).HomeAgents; !slices.Equal(got, want) {
		w.t.Errorf("home agents %v, want %v", got, want)
	}
}

// RFC 6275 §10.5.1: what an advertisement of another home agent does to the list.
// Covers: H12.
func TestHomeAgentsList(t *testing.T) {
	w := newWorld(t, testConfig())
	w.wantAgents(agentAddr)
	// The identifier is copied, the reply comes from the home agent's own address.
	if r := w.discover(false); r.Identifier != 77 || r.MobileRouter {
		t.Errorf("%+v", r)
	}
	ra := homeAgentRA(agentX)
	ra.HomeAgent = false
	w.hears(routerX, ra) // not a home agent
	w.wantAgents(agentAddr)
	ra = homeAgentRA(agentX)
	ra.Prefixes[0].RouterAddress = false
	w.hears(routerX, ra) // tells no address, RFC 6275 §7.2
	w.wantAgents(agentAddr)

	// The default preference is 0, as this one's; the lifetime the router's.
	w.hears(routerX, homeAgentRA(agentX))
	w.wantAgents(agentX, agentAddr)
	// An address that another one claims too is listed once.
	w.hears(netip.MustParseAddr("fe80::bad"), homeAgentRA(agentX))
	w.wantAgents(agentX, agentAddr)
	gone := homeAgentRA(agentX)
	gone.HomeAgent = false
	w.hears(netip.MustParseAddr("fe80::bad"), gone)
	w.now = w.now.Add(-time.Second) // that wantAgents took
	list := w.agent.HomeAgents(w.now)
	if len(list) != 2 || !list[0].Self || list[1].LinkLocal != routerX || list[1].Remaining != 30*time.Minute-time.Second ||
		list[1].Preference != 0 || list[1].MobileRouters {
		t.Errorf("%+v", list)
	}
	// An advertisement with the option changes both, one without other addresses
	// adds to those known.
	other := netip.MustParseAddr("2001:db8:77::1")
	ra = homeAgentRA(other)
	ra.HomeAgentInfo = &mip6.HomeAgentInformation{Preference: -5, Lifetime: time.Minute, MobileRouter: true}
	w.hears(routerX, ra)
	w.wantAgents(agentAddr, other, agentX)
	list = w.agent.HomeAgents(w.now)
	if len(list) != 2 || list[1].Preference != -5 || !list[1].MobileRouters || list[1].Remaining != 59*time.Second ||
		!slices.Equal(list[1].Addresses, []netip.Addr{agentX, other}) {
		t.Errorf("%+v", list)
	}
	w.now = w.now.Add(57 * time.Second)
	w.wantAgents(agentAddr, other, agentX)
	w.now = w.now.Add(time.Second)
	w.wantAgents(agentAddr) // its lifetime is over
	if len(w.agent.HomeAgents(w.now)) != 1 || len(w.agent.agents) != 0 {
		t.Errorf("an expired entry stays")
	}
	if !w.agent.Next().IsZero() {
		t.Errorf("the list needs a timer: %v", w.agent.Next())
	}
}

// RFC 6275 §10.5.1: entries end with flag H and with a lifetime of zero, §10.1:
// addresses with their prefixes, and all of them with the link they are on.
// Covers: H12.
func TestHomeAgentEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(w *world)
	}{
		{"flag H cleared", func(w *world) {
			ra := homeAgentRA(agentX)
			ra.HomeAgent = false
			w.hears(routerX, ra)
		}},
		{"router lifetime zero", func(w *world) {
			ra := homeAgentRA(agentX)
			ra.RouterLifetime = 0
			w.hears(routerX, ra)
		}},
		{"home agent lifetime zero", func(w *world) {
			ra := homeAgentRA(agentX)
			ra.HomeAgentInfo = &mip6.HomeAgentInformation{Preference: 3}
			w.hears(routerX, ra)
		}},
		{"prefix withdrawn", func(w *world) {
			ra := homeAgentRA(agentX)
			ra.Prefixes[0].ValidLifetime = 0
			w.hears(routerX, ra)
		}},
		{"prefix expired", func(w *world) {
			ra := homeAgentRA(agentX)
			ra.Prefixes[0].ValidLifetime = 10 * time.Second
			w.hears(routerX, ra)
			w.now = w.now.Add(10 * time.Second)
		}},
		{"another home link", func(w *world) {
			w.handle(role.LinkGone{Index: homeIndex})
			w.link.Index = 12
			w.handle(role.LinkChanged{Link: w.link})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			w.hears(routerX, homeAgentRA(agentX))
			w.wantAgents(agentX, agentAddr)
			tt.end(w)
			w.wantAgents(agentAddr)
		})
	}
}

// What is not believed: advertisements on other links, this node's own, and
// addresses that are nobody's or somebody else's.
// Covers: H12.
func TestHomeAgentNotBelieved(t *testing.T) {
	w := newWorld(t, testConfig())
	w.link.LinkLocal = netip.MustParseAddr("fe80::1")
	w.handle(role.LinkChanged{Link: w.link})
	w.handle(role.RouterHeard{Link: homeIndex + 1, Router: routerX, RA: homeAgentRA(agentX)})
	w.hears(w.link.LinkLocal, homeAgentRA(agentX))
	for _, addr := range []netip.Addr{agentAddr, homeA, netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::1"), netip.IPv6Unspecified()} {
		w.hears(routerX, homeAgentRA(addr))
	}
	w.wantAgents(agentAddr)
}

// RFC 6275 §10.5.1: by decreasing preference, the configured one of this home
// agent among them; random among equals, and the addresses of one home agent
// too, anew for every reply.
// Covers: H12.
func TestDiscoveryOrder(t *testing.T) {
	c := testConfig()
	c.Preference, c.Random = 10, testRandom(1)
	w := newWorld(t, c)
	add := func(n byte, preference int16) netip.Addr {
		addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, 14: 0xaa, 15: n})
		ra := homeAgentRA(addr)
		ra.HomeAgentInfo = &mip6.HomeAgentInformation{Preference: preference, Lifetime: time.Hour}
		w.hears(netip.AddrFrom16([16]byte{0xfe, 0x80, 15: n}), ra)
		return addr
	}
	low, high, equal1, equal2 := add(1, -3), add(2, 30000), add(3, 10), add(4, 10)
	var order []netip.Addr
	for _, h := range w.agent.HomeAgents(w.now) {
		order = append(order, h.Addresses...)
	}
	if want := []netip.Addr{high, agentAddr, equal1, equal2, low}; !slices.Equal(order, want) {
		t.Errorf("for people to see: %v, want %v", order, want)
	}
	first := map[netip.Addr]int{}
	for range 300 {
		got := w.discover(false).HomeAgents
		if len(got) != 5 || got[0] != high || got[4] != low {
			t.Fatalf("%v", got)
		}
		first[got[1]]++
	}
	for _, addr := range []netip.Addr{agentAddr, equal1, equal2} {
		if first[addr] < 60 {
			t.Errorf("%v came first of three equals in %d of 300 replies", addr, first[addr])
		}
	}
	// Two addresses of one home agent.
	second := netip.MustParseAddr("2001:db8:1::bb02")
	w.hears(netip.MustParseAddr("fe80::2"), func() nd.RouterAdvertisement {
		ra := homeAgentRA(second)
		ra.HomeAgentInfo = &mip6.HomeAgentInformation{Preference: 30000, Lifetime: time.Hour}
		return ra
	}())
	leads := 0
	for range 100 {
		got := w.discover(false).HomeAgents
		if got[0] == second {
			leads++
		} else if got[0] != high {
			t.Fatalf("%v", got)
		}
	}
	if leads < 25 || leads > 75 {
		t.Errorf("the second address leads %d of 100 times", leads)
	}
}

// RFC 3963 §7: a mobile router is told of home agents that serve mobile routers,
// or, flag R clear, of the others if there is none.
// Covers: N6.
func TestDiscoveryForMobileRouters(t *testing.T) {
	c := testConfig()
	w := newWorld(t, c)
	w.hears(routerX, homeAgentRA(agentX))
	if r := w.discover(true); r.MobileRouter || len(r.HomeAgents) != 2 {
		t.Errorf("none serves mobile routers: %+v", r)
	}
	withdrawn := homeAgentRA(agentX)
	withdrawn.HomeAgentInfo = &mip6.HomeAgentInformation{Lifetime: time.Hour, MobileRouter: true}
	withdrawn.Prefixes[0].ValidLifetime = 0
	w.hears(routerX, withdrawn)
	if r := w.discover(true); r.MobileRouter || len(r.HomeAgents) != 1 {
		t.Errorf("one without an address does: %+v", r)
	}
	w.hears(routerX, homeAgentRA(agentX))
	c.MobileRouters = true
	w.apply(w.agent.Reconfigure(w.now, c))
	if r := w.discover(true); !r.MobileRouter || !slices.Equal(r.HomeAgents, []netip.Addr{agentAddr}) {
		t.Errorf("this one does: %+v", r)
	}
	if r := w.discover(false); r.MobileRouter || len(r.HomeAgents) != 2 {
		t.Errorf("a mobile node asks: %+v", r)
	}
	ra := homeAgentRA(agentX)
	ra.HomeAgentInfo = &mip6.HomeAgentInformation{Preference: 1, Lifetime: time.Hour, MobileRouter: true}
	w.hears(routerX, ra)
	if r := w.discover(true); !r.MobileRouter || !slices.Equal(r.HomeAgents, []netip.Addr{agentX, agentAddr}) {
		t.Errorf("both do: %+v", r)
	}
	if list := w.agent.HomeAgents(w.now); len(list) != 2 || list[0].Self || !list[0].MobileRouters || !list[1].MobileRouters {
		t.Errorf("%+v", list)
	}
}

// Requests that are not answered, and why.
// Covers: H12, A5.
func TestDiscoveryDrops(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*mip6.ICMPPacket)
		want   role.DropReason
	}{
		{"to the home agent itself", func(p *mip6.ICMPPacket) { p.Destination = agentAddr }, role.DropNotForUs},
		{"of another prefix", func(p *mip6.ICMPPacket) {
			p.Destination = mip6.HomeAgentsAnycast(netip.MustParsePrefix("2001:db8:9::/64"))
		}, role.DropNotForUs},
		{"of an expired prefix", func(p *mip6.ICMPPacket) {
			p.Destination = mip6.HomeAgentsAnycast(netip.MustParsePrefix("2001:db8:2::/64"))
		}, role.DropNotForUs},
		{"with a routing header", func(p *mip6.ICMPPacket) { p.RouteHome = homeA }, role.DropNotForUs},
		{"with a Home Address option", func(p *mip6.ICMPPacket) { p.HomeAddress = homeA }, role.DropNoHomeAddress},
		{"from a multicast address", func(p *mip6.ICMPPacket) { p.Source = netip.MustParseAddr("ff02::1") }, role.DropUnroutable},
		{"from the unspecified address", func(p *mip6.ICMPPacket) { p.Source = netip.IPv6Unspecified() }, role.DropUnroutable},
		{"from a link-local address", func(p *mip6.ICMPPacket) { p.Source = routerX }, role.DropUnroutable},
		{"from our own address", func(p *mip6.ICMPPacket) { p.Source = agentAddr }, role.DropUnroutable},
		{"from the anycast address", func(p *mip6.ICMPPacket) { p.Source = anycastAddr }, role.DropUnroutable},
		{"a reply", func(p *mip6.ICMPPacket) { p.Message = mip6.HomeAgentReply{} }, role.DropUnexpected},
		{"a prefix advertisement", func(p *mip6.ICMPPacket) { p.Message = mip6.PrefixAdvertisement{} }, role.DropUnexpected},
		{"nothing", func(p *mip6.ICMPPacket) { p.Message = nil }, role.DropUnexpected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig()
			w := newWorld(t, c)
			c.OtherPrefixes = []HomePrefix{{Prefix: netip.MustParsePrefix("2001:db8:2::/64"), ValidUntil: w.now}}
			w.apply(w.agent.Reconfigure(w.now, c))
			p := discoveryRequest(false)
			tt.change(&p)
			wantKinds(t, w.handle(role.ICMPReceived{Packet: p}), "drop "+tt.want.String())
		})
	}
}

// RFC 6275 §10.5.1: the reply fits into 1280 octets, with the preferred ones in
// it; and however many claim to be home agents, the list is bounded.
// Covers: H12, Attack: rogue router.
func TestManyHomeAgents(t *testing.T) {
	w := newWorld(t, testConfig())
	for i := range 1000 {
		ra := homeAgentRA(agentX)
		ra.Prefixes = nil
		for j := range 20 {
			addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, 12: 1, 13: byte(i >> 8), 14: byte(i), 15: byte(j)})
			ra.Prefixes = append(ra.Prefixes, homeAgentRA(addr).Prefixes...)
		}
		ra.HomeAgentInfo = &mip6.HomeAgentInformation{Preference: int16(i), Lifetime: time.Hour}
		w.handle(role.RouterHeard{Link: homeIndex, Router: netip.AddrFrom16([16]byte{0xfe, 0x80, 14: byte(i >> 8), 15: byte(i)}), RA: ra})
	}
	if list := w.agent.HomeAgents(w.now); len(list) != maxHomeAgents+1 || len(list[0].Addresses) != maxHomeAgentAddresses {
		t.Errorf("%d home agents, the first with %d addresses", len(list), len(list[0].Addresses))
	}
	if len(w.logs) > complaints.Burst {
		t.Errorf("%d log lines", len(w.logs))
	}
	// checkICMP counts the octets.
	r := w.discover(false)
	if len(r.HomeAgents) != maxDiscovered || r.HomeAgents[0].As16()[14] != maxHomeAgents-1 {
		t.Errorf("%d addresses, first %v", len(r.HomeAgents), r.HomeAgents[0])
	}
}

// The anycast address of every home prefix is joined on the home link, and left
// when the prefix is not one any more, and at the end (RFC 6275 §8.4, RFC 2526).
// Covers: H12.
func TestAnycast(t *testing.T) {
	const other = "2001:db8:2:0:fdff:ffff:ffff:fffe"
	c := testConfig()
	w := newWorld(t, c)
	if len(w.joined) != 1 || !w.joined[anycastAddr] {
		t.Errorf("joined %v", w.joined)
	}
	c.OtherPrefixes = []HomePrefix{{Prefix: netip.MustParsePrefix("2001:db8:2::/64")}}
	wantKinds(t, w.apply(w.agent.Reconfigure(w.now, c)), "join "+other)
	wantKinds(t, w.apply(w.agent.Reconfigure(w.now, c)))
	// Without carrier nothing is sent; with it, what the kernel may have lost is
	// joined again.
	w.link.Up = false
	wantKinds(t, w.handle(role.LinkChanged{Link: w.link}))
	c.OtherPrefixes[0].Prefix = netip.MustParsePrefix("2001:db8:3::/64")
	wantKinds(t, w.apply(w.agent.Reconfigure(w.now, c)))
	w.link.Up = true
	wantKinds(t, w.handle(role.LinkChanged{Link: w.link}), "leave "+other,
		"join 2001:db8:1:0:fdff:ffff:ffff:fffe", "join 2001:db8:3:0:fdff:ffff:ffff:fffe")
	wantKinds(t, w.handle(role.Stop{}), "leave 2001:db8:1:0:fdff:ffff:ffff:fffe", "leave 2001:db8:3:0:fdff:ffff:ffff:fffe")
	if len(w.joined) != 0 {
		t.Errorf("still joined: %v", w.joined)
	}
}

// A flood of requests from one place, with whatever interface identifiers: a
// bounded number of replies, flat memory, and a mobile elsewhere is answered all
// the same.
// Covers: Attack: discovery floods.
func TestDiscoveryFlood(t *testing.T) {
	const requests = 100_000
	c := testConfig()
	c.Random = testRandom(2)
	w := newWorld(t, c)
	w.hears(routerX, homeAgentRA(agentX))
	p := discoveryRequest(false)
	answered, dropped, served := 0, 0, 0
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range requests {
		w.now = w.now.Add(10 * time.Second / requests)
		p.Source = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xf7, 12: byte(i >> 24), 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
		for _, action := range w.agent.Handle(w.now, role.ICMPReceived{Packet: p}) {
			switch action := action.(type) {
			case role.SendICMP:
				answered++
			case role.Dropped:
				dropped++
				if action.Reason != role.DropRateLimited {
					t.Fatalf("dropped as %v", action.Reason)
				}
			}
		}
		if i%(requests/10) == requests/20 { // once a second
			served += len(w.agent.Handle(w.now, role.ICMPReceived{Packet: discoveryRequest(false)}))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(w.agent)
	if most := discoveries.Burst + 10; answered > most || answered+dropped != requests {
		t.Errorf("%d answered, %d dropped; at most %d answers in ten seconds", answered, dropped, most)
	}
	if served != 10 || w.agent.Stats().Discoveries != uint64(answered+served) {
		t.Errorf("%d of 10 requests of a mobile answered, %+v", served, w.agent.Stats())
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<10 {
		t.Errorf("the heap grew by %d octets", grown)
	}
}

// The same from forged sources everywhere: what this home agent can be made to
// send is bounded.
// Covers: Attack: discovery floods.
func TestDiscoveryFloodFromEverywhere(t *testing.T) {
	w := newWorld(t, testConfig())
	p, answered := discoveryRequest(false), 0
	for i := range 10_000 {
		p.Source = netip.AddrFrom16([16]byte{0x20, 3, 5: byte(i >> 8), 6: byte(i), 15: 1})
		for _, action := range w.agent.Handle(w.now, role.ICMPReceived{Packet: p}) {
			if _, ok := action.(role.SendICMP); ok {
				answered++
			}
		}
	}
	if answered != allDiscoveries.Burst {
		t.Errorf("%d replies at once, want %d", answered, allDiscoveries.Burst)
	}
}
