package lab

import (
	"fmt"
	"net/netip"
	"time"

	"roam6/internal/lab/relay"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
)

// The names in the train's world. An access router is a place and a node.
const (
	nodeCorrespondent = "cn"
	nodeCore          = "core"
	nodeHomeAgent     = "ha"
	nodeRouter        = "mr"
	nodeBehind        = "mnn"

	linkHome   = "home0"
	linkAccess = "acc0"
	linkUp     = "up0"
	linkLAN    = "lan0"
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

func (t train) home() netip.Prefix          { return netip.MustParsePrefix("2001:db8:10::100/64") }
func (t train) homeAgentAddr() netip.Addr   { return netip.MustParseAddr("2001:db8:10::1") }
func (t train) network() netip.Prefix       { return netip.MustParsePrefix("2001:db8:100::/64") }
func (t train) behind() netip.Addr          { return netip.MustParseAddr("2001:db8:100::2") }
func (t train) correspondentAt() netip.Addr { return netip.MustParseAddr("2001:db8:c::2") }

func (t train) accessRouter(i int) string { return fmt.Sprintf("ar%d", i) }

func (t train) accessAddress(i int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8:a%x::1/64", i))
}

// stops are the nodes that the train passes, home first.
func (t train) stops() []string {
	stops := []string{nodeHomeAgent}
	for i := range t.accessRouters {
		stops = append(stops, t.accessRouter(i+1))
	}
	return stops
}

// placeName is what people call a stop.
func placeName(stop string) string {
	if stop == nodeHomeAgent {
		return "home"
	}
	return stop
}

func (t train) place(stop string) report.Place {
	if stop == nodeHomeAgent {
		return report.Place{Access: t.access, HomeAgent: t.access}
	}
	return report.Place{Access: t.access, HomeAgent: t.homeAgent}
}

// path is a link with half of a round trip each way.
func (t train) path(roundTrip time.Duration) relay.Impairment {
	i := t.every
	i.Delay = roundTrip / 2
	return i
}

func (t train) topology() world.Topology {
	one := func(address string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(address)} }
	lan := netip.PrefixFrom(t.network().Addr().Next(), t.network().Bits())
	topology := world.Topology{
		Nodes: []world.Node{
			{Name: nodeCorrespondent},
			{Name: nodeCore, Router: true},
			{Name: nodeHomeAgent, Router: true, Routes: []world.Route{{
				// What holds while the mobile router is at home; a binding's
				// route comes before it.
				Prefix: t.network(), Via: t.home().Addr(), Interface: linkHome, Metric: 4096,
			}}},
			{Name: nodeRouter, Router: true},
			{Name: nodeBehind},
		},
		Wires: []world.Wire{
			{
				A:    world.End{Node: nodeCorrespondent, Interface: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(t.correspondentAt(), 64)}},
				B:    world.End{Node: nodeCore, Interface: nodeCorrespondent, Addresses: one("2001:db8:c::1/64")},
				Path: t.path(t.correspondent),
			}, {
				A:    world.End{Node: nodeHomeAgent, Interface: "core0", Addresses: one("2001:db8:c:1::2/64")},
				B:    world.End{Node: nodeCore, Interface: nodeHomeAgent, Addresses: one("2001:db8:c:1::1/64")},
				Path: t.path(t.homeAgent - t.access),
			}, {
				A:    world.End{Node: nodeRouter, Interface: linkLAN, Addresses: []netip.Prefix{lan}},
				B:    world.End{Node: nodeBehind, Interface: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(t.behind(), 64)}},
				Path: t.path(0),
			},
		},
		Airs: []world.Air{{
			Routers:  []world.End{{Node: nodeHomeAgent, Interface: linkHome, Addresses: []netip.Prefix{netip.PrefixFrom(t.homeAgentAddr(), t.home().Bits())}}},
			Stations: []world.End{{Node: nodeRouter, Interface: linkUp}},
			Path:     t.path(t.access),
		}},
		Anchors: []world.Anchor{{Prefix: t.network(), Node: nodeHomeAgent}},
	}
	for i := 1; i <= t.accessRouters; i++ {
		name := t.accessRouter(i)
		topology.Nodes = append(topology.Nodes, world.Node{Name: name, Router: true})
		topology.Wires = append(topology.Wires, world.Wire{
			A:    world.End{Node: name, Interface: "core0", Addresses: one(fmt.Sprintf("2001:db8:c:a%x::2/64", i))},
			B:    world.End{Node: nodeCore, Interface: name, Addresses: one(fmt.Sprintf("2001:db8:c:a%x::1/64", i))},
			Path: t.path(0),
		})
		topology.Airs[0].Strict = append(topology.Airs[0].Strict, name)
		topology.Airs[0].Routers = append(topology.Airs[0].Routers,
			world.End{Node: name, Interface: linkAccess, Addresses: []netip.Prefix{t.accessAddress(i)}})
	}
	return topology
}

// crew configures a daemon for each role. Nothing is started yet.
func (t train) crew(env Environment, w *world.World, homeAgentDAD bool) (crew, error) {
	m := mobile{home: t.home(), homeAgent: t.homeAgentAddr(), networks: []netip.Prefix{t.network()}, key: newKey()}
	var daemons crew
	add := func(node string, sections []*section) error {
		d, err := newDaemon(env, w.Space(node), configuration(env.Directory, node, sections...))
		daemons = append(daemons, d)
		return err
	}
	if err := add(nodeHomeAgent, homeAgent(linkHome, m, homeAgentDAD)); err != nil {
		return nil, err
	}
	for i := 1; i <= t.accessRouters; i++ {
		if err := add(t.accessRouter(i), accessRouter(linkAccess, t.accessAddress(i))); err != nil {
			return nil, err
		}
	}
	if err := add(nodeRouter, mobileRouter(m, []string{linkUp}, []string{linkLAN})); err != nil {
		return nil, err
	}
	return daemons, nil
}
