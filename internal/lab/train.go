package lab

import (
	"net/netip"
	"time"

	"roam6/internal/lab/relay"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
)

// train is the world of the train ride: a correspondent, a core, a home agent
// with its home link, access routers, and a mobile router with a node behind
// it.
type train struct {
	accessRouters int
	// Round trips: from the mobile router to the router of its link (A), from
	// there on to the home agent (so that H, the whole way, is their sum while
	// away), and from the correspondent to the core.
	access, homeAgent, correspondent time.Duration
	// every is what each link does to frames beside the delay.
	every relay.Impairment
}

func (t train) site() homeSite              { return homeSite{1} }
func (t train) network() netip.Prefix       { return netip.MustParsePrefix("2001:db8:100::/64") }
func (t train) behind() netip.Addr          { return netip.MustParseAddr("2001:db8:100::2") }
func (t train) correspondentAt() netip.Addr { return correspondentAddress() }

// stops are the nodes that the train passes, home first.
func (t train) stops() []string {
	stops := []string{nodeHomeAgent}
	for i := range t.accessRouters {
		stops = append(stops, accessRouterName(i+1))
	}
	return stops
}

func (t train) place(stop string) report.Place {
	if stop == nodeHomeAgent {
		return report.Place{Access: t.access, HomeAgent: t.access}
	}
	return report.Place{Access: t.access, HomeAgent: t.homeAgent}
}

func (t train) topology() world.Topology {
	s := newSketch(t.every)
	s.host(nodeCorrespondent, t.correspondent, t.correspondentAt())
	s.router(nodeHomeAgent, netHomeAgent, t.homeAgent-t.access, world.Route{
		// What holds while the mobile router is at home; a binding's route comes
		// before it.
		Prefix: t.network(), Via: t.site().mobile().Addr(), Interface: linkHome, Metric: 4096,
	})
	s.Anchors = []world.Anchor{{Prefix: t.network(), Node: nodeHomeAgent}}
	access := s.accessRouters(t.accessRouters, 0)
	s.Nodes = append(s.Nodes, world.Node{Name: nodeRouter, Router: true}, world.Node{Name: nodeBehind})
	lan := netip.PrefixFrom(t.network().Addr().Next(), t.network().Bits())
	s.Wires = append(s.Wires, world.Wire{
		A:    world.End{Node: nodeRouter, Interface: linkLAN, Addresses: []netip.Prefix{lan}},
		B:    world.End{Node: nodeBehind, Interface: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(t.behind(), 64)}},
		Path: s.path(0),
	})
	s.air(t.access, []world.End{t.site().end(nodeHomeAgent)}, access, world.End{Node: nodeRouter, Interface: linkUp})
	return s.Topology
}

// cast is a daemon for each role.
func (t train) cast(homeAgentDAD bool) []part {
	m := mobile{
		name: "train", home: t.site().mobile(), homeAgents: []netip.Addr{t.site().agent()}, key: newKey(),
		uplinks: []string{linkUp}, networks: []netip.Prefix{t.network()}, downstream: []string{linkLAN},
	}
	parts := []part{{nodeHomeAgent, agent{site: t.site(), dad: homeAgentDAD, mobiles: []mobile{m}}.sections()}}
	parts = append(parts, accessRouters(t.accessRouters)...)
	return append(parts, part{nodeRouter, m.sections()})
}
