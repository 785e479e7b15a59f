package main

import (
	"net/netip"
	"strings"
	"testing"

	labworld "roam6/internal/lab/world"
)

// TestNetworkAtHome: the network of a mobile router is reached through the home
// agent's route on the home link while the router is at home (RFC 3963 §5.8, §6.4),
// through the tunnel while it is away, and again through the link when it has
// returned. When the router is switched off, senders are told so, and nothing goes
// round between home agent and core.
//
// Covers: R7, N5, B2, B3.
func TestNetworkAtHome(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"explicit", "implicit"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			e := newEstate(t)
			before := e.snapshots()
			net := estateNets[0]
			agent := e.homeAgent(estateAgent, "", e.mobile("Bus_1", estateHome, "\tlist prefix '"+net.String()+"'\n"))
			router := e.router("Bus_1", estateHome, toAgent+"\toption mode '"+mode+"'\n\tlist prefix '"+net.String()+"'\n\tlist downstream 'lan0'\n")
			e.start("ar", e.accessRouter())
			e.start("agent", agent)
			// Before the router was ever there, packets to its network end at the home link.
			inside := net.Addr().Next().Next()
			e.becomes("the network of a router that is nowhere is unreachable", inside, echoUnreachable+"3", echoTimeExceeded)

			e.must(labworld.AddAddress(e.world.Space("mr"), "lan0", netip.PrefixFrom(net.Addr().Next(), 64)))
			e.move("mr", estateHomeLAN)
			e.start("mr", router)
			node := e.addressOf("mnn", net)
			e.reached("mnn", node)
			if b, err := e.daemons["agent"].client.Bindings(t.Context()); err != nil || len(b.Bindings) != 0 {
				t.Errorf("at home there are bindings: %+v, %v", b, err)
			}
			for _, place := range []string{"ar", estateHomeLAN, "ar"} {
				e.move("mr", place)
				e.registeredAt("mr", place == "ar")
				e.reached("mnn", node)
			}
			e.end("mr")
			e.becomes("after the router's end its network is unreachable", node, echoUnreachable+"3", echoTimeExceeded)
			e.end("agent")
			e.end("ar")
			e.must(e.world.Space("mr").Link.AddrDel(e.link("mr", "lan0"), ipAddr(netip.PrefixFrom(net.Addr().Next(), 64))))
			if left := labworld.Compare(before, e.snapshots()); len(left) > 0 {
				t.Errorf("left:\n%s", strings.Join(left, "\n"))
			}
			complaints(t, e.captured())
		})
	}
}

// TestNoLoops: what nobody has of a pool, and what nobody uses of a delegated
// prefix, is unreachable. Nothing goes round between the home agent and the core, or
// in the tunnel (RFC 7084 §4.3 WPD-5).
func TestNoLoops(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	e.start("ar", e.accessRouter())
	e.start("agent", e.homeAgent(estateAgent, fromPool, e.mobile("Bus_1", estateHome, isRouter)))
	unused := netip.MustParseAddr("2001:db8:80ff:ff00::1")
	if outcome := e.echoWithin(resolution, "cn", estateCN, unused); !strings.HasPrefix(outcome, echoUnreachable) {
		t.Errorf("an address of the pool that nobody has: %s", outcome)
	}
	e.move("mr", "ar")
	e.start("mr", e.router("Bus_1", estateHome, toAgent+getsPrefix))
	p := e.delegatedTo("agent", "Bus_1")
	node := e.addressOf("mnn", netip.PrefixFrom(p.Addr(), 64))
	e.reached("mnn", node)
	b := p.Addr().As16()
	b[7] = 0xff
	for _, place := range []string{"ar", estateHomeLAN} {
		if place != "ar" {
			e.move("mr", place)
			e.registeredAt("mr", false)
			e.reached("mnn", node)
		}
		if outcome := e.echoWithin(resolution, "cn", estateCN, netip.AddrFrom16(b)); !strings.HasPrefix(outcome, echoUnreachable) {
			t.Errorf("an address of the delegated prefix that is on no link, router at %s: %s", place, outcome)
		}
	}
}

// TestNetworksAtRunTime: a mobile network prefix that is configured while the
// daemons run is advertised and reached, and one that is taken away is deprecated
// in the mobile network and reached no more: by a reload of the mobile router, and
// by one of the home agent, in both modes (RFC 3963 §5.2, §6.2, §5.4).
//
// Covers: R2, R5, N1, N3.
func TestNetworksAtRunTime(t *testing.T) {
	t.Parallel()
	list := func(nets ...netip.Prefix) (text string) {
		for _, n := range nets {
			text += "\tlist prefix '" + n.String() + "'\n"
		}
		return text
	}
	first, second := estateNets[0], estateNets[1]
	for _, mode := range []string{"explicit", "implicit"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			e := newEstate(t)
			agent := func(nets ...netip.Prefix) string {
				return e.homeAgent(estateAgent, "", e.mobile("Bus_1", estateHome, list(nets...)))
			}
			router := func(nets ...netip.Prefix) string {
				return e.router("Bus_1", estateHome, toAgent+"\toption mode '"+mode+"'\n"+list(nets...)+"\tlist downstream 'lan0'\n\tlist downstream 'lan1'\n")
			}
			for i, ifname := range []string{"lan0", "lan1"} {
				e.must(labworld.AddAddress(e.world.Space("mr"), ifname, netip.PrefixFrom(estateNets[i].Addr().Next(), 64)))
			}
			e.start("ar", e.accessRouter())
			e.start("agent", agent(first, second))
			e.move("mr", "ar")
			e.start("mr", router(first))
			node := e.addressOf("mnn", first)
			e.reached("mnn", node)

			// The mobile router's configuration.
			e.reload("mr", router(first, second))
			other := e.addressOf("mnn", second)
			e.reached("mnn", other)
			e.reload("mr", router(first))
			e.until("the prefix that was taken away is deprecated", func() bool { _, deprecated := e.hostAddress("mnn", second); return deprecated })
			if mode == "explicit" { // in implicit mode the home agent forwards it as before
				e.becomes("what was taken away is unreachable", other, echoUnreachable+"0", echoTimeExceeded)
			}
			e.reached("mnn", node)

			// The home agent's.
			e.reload("mr", router(first, second))
			e.until("the prefix is preferred again", func() bool { _, deprecated := e.hostAddress("mnn", second); return !deprecated })
			e.reached("mnn", other)
			e.reload("agent", agent(first))
			if mode == "explicit" { // §5.4.2: it is refused, and not advertised any more
				e.until("what the home agent has taken away is deprecated", func() bool { _, deprecated := e.hostAddress("mnn", second); return deprecated })
			}
			e.until("what the home agent has taken away is not reached", func() bool { return e.echo("cn", estateCN, other) != echoReply })
			e.reached("mnn", node)
			e.reload("agent", agent(first, second))
			if mode == "implicit" { // the home agent alone decides
				e.reached("mnn", other)
			}
		})
	}
}
