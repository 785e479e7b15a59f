package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"roam6/internal/lab/relay"
	"roam6/internal/lab/world"
)

// The names that the worlds have in common. An access router is a place and a
// node, and so is a home agent with its home link.
const (
	nodeCorrespondent = "cn"
	nodeCore          = "core"
	nodeHomeAgent     = "ha"
	nodeRouter        = "mr"
	nodeBehind        = "mnn"
	nodeMobile        = "mn"

	linkHome   = "home0"
	linkAccess = "acc0"
	linkUp     = "up0"
	linkLAN    = "lan0"
)

// placeName is what people call a stop.
func placeName(stop string) string {
	if strings.HasPrefix(stop, nodeHomeAgent) {
		return "home"
	}
	return stop
}

// sketch is a topology in the making: everything hangs on a core.
type sketch struct {
	world.Topology
	// every is what each link does to frames beside the delay.
	every relay.Impairment
}

func newSketch(every relay.Impairment) *sketch {
	return &sketch{Topology: world.Topology{Nodes: []world.Node{{Name: nodeCore, Router: true}}}, every: every}
}

// path is a link with half of a round trip each way.
func (s *sketch) path(roundTrip time.Duration) relay.Impairment {
	i := s.every
	i.Delay = roundTrip / 2
	return i
}

// host adds a host at the core.
func (s *sketch) host(name string, roundTrip time.Duration, address netip.Addr) {
	s.Nodes = append(s.Nodes, world.Node{Name: name})
	host := netip.PrefixFrom(address, 64)
	router := netip.PrefixFrom(host.Masked().Addr().Next(), 64)
	s.Wires = append(s.Wires, world.Wire{
		A:    world.End{Node: name, Interface: "eth0", Addresses: []netip.Prefix{host}},
		B:    world.End{Node: nodeCore, Interface: name, Addresses: []netip.Prefix{router}},
		Path: s.path(roundTrip),
	})
}

// router adds a router at the core; net numbers the link between them.
func (s *sketch) router(name string, net int, roundTrip time.Duration, routes ...world.Route) {
	s.Nodes = append(s.Nodes, world.Node{Name: name, Router: true, Routes: routes})
	link := func(host string) []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("2001:db8:c:%x::%s/64", net, host))}
	}
	s.Wires = append(s.Wires, world.Wire{
		A:    world.End{Node: name, Interface: "core0", Addresses: link("2")},
		B:    world.End{Node: nodeCore, Interface: name, Addresses: link("1")},
		Path: s.path(roundTrip),
	})
}

// Numbers of links at the core.
const (
	netHomeAgent = 1
	netAccess    = 0xa0 // and the number of the access router
)

// accessRouters adds access routers 1 to n, which take only packets with a
// source of their own link, and returns their ends of the air interface.
func (s *sketch) accessRouters(n int, roundTrip time.Duration) (ends []world.End) {
	for i := 1; i <= n; i++ {
		s.router(accessRouterName(i), netAccess+i, roundTrip)
		ends = append(ends, world.End{Node: accessRouterName(i), Interface: linkAccess, Addresses: []netip.Prefix{accessAddress(i)}})
	}
	return ends
}

// air adds an air interface between home links and access routers on the one
// hand and stations on the other.
func (s *sketch) air(roundTrip time.Duration, homes, access []world.End, stations ...world.End) {
	a := world.Air{Routers: append(homes, access...), Stations: stations, Path: s.path(roundTrip)}
	for _, e := range access {
		a.Strict = append(a.Strict, e.Node)
	}
	s.Airs = append(s.Airs, a)
}

func accessRouterName(i int) string { return fmt.Sprintf("ar%d", i) }

// accessAddress is the address of an access router on its access link.
func accessAddress(i int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8:a%x::1/64", i))
}

// correspondentAddress is where the correspondent is.
func correspondentAddress() netip.Addr { return netip.MustParseAddr("2001:db8:c::2") }

// homeSite is a home link with the mobile that belongs there: number 1, 2 and
// so on.
type homeSite struct{ number int }

func (h homeSite) at(host string) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::%s", 10*h.number, host))
}

// mobile is the home address of the site's mobile, with the length of the home
// prefix.
func (h homeSite) mobile() netip.Prefix { return netip.PrefixFrom(h.at("100"), 64) }

// agent is the home agent's address.
func (h homeSite) agent() netip.Addr { return h.at("1") }

// end is a home agent's end of the home link.
func (h homeSite) end(node string) world.End {
	return world.End{Node: node, Interface: linkHome, Addresses: []netip.Prefix{netip.PrefixFrom(h.agent(), 64)}}
}
