package lab

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"roam6/internal/lab/relay"
	"roam6/internal/lab/world"
)

// anchorAside is the round trip between an aggregation router and the anchor beside it:
// about nothing, but a link that can be cut.
const anchorAside = 100 * time.Microsecond

// Names of links.
const (
	linkAggregation = "agg0" // of an access router, to its aggregation router
	linkAnchor      = "map0" // of an anchor's host, to its aggregation router
)

// Numbers of links at the aggregation routers.
const (
	netAggregation = 0xe0 // and the number of the access router
	netAside       = 0xe8
)

// aggregation is the aggregation router of a domain.
func (d domain) aggregation() string {
	if d.number == 1 {
		return d.node
	}
	return nodeAggregation
}

// join wires a router to another one above it, which has an interface named after it;
// net numbers the link.
func (s *sketch) join(lower, ifname, upper string, net int, roundTrip time.Duration) {
	address := func(host string) []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("2001:db8:c:%x::%s/64", net, host))}
	}
	s.Wires = append(s.Wires, world.Wire{
		A:    world.End{Node: lower, Interface: ifname, Addresses: address("2")},
		B:    world.End{Node: upper, Interface: lower, Addresses: address("1")},
		Path: s.path(roundTrip),
	})
}

// set: the correspondent is beyond the home agent, seen from the mobiles, and the
// anchors are between the home agent and the access routers.
func (r *hierarchyRun) set() (world.Topology, uint64) {
	const netDomain = 0xd0
	s := newSketch(relay.Impairment{})
	correspondent := netip.PrefixFrom(correspondentAddress(), 64)
	s.Nodes = append(s.Nodes, world.Node{Name: nodeCorrespondent})
	s.Wires = append(s.Wires, world.Wire{
		A: world.End{Node: nodeCorrespondent, Interface: "eth0", Addresses: []netip.Prefix{correspondent}},
		B: world.End{Node: nodeHomeAgent, Interface: nodeCorrespondent, Addresses: []netip.Prefix{gateway(correspondent.Masked())}},
	})
	s.router(nodeHomeAgent, netHomeAgent, r.homeAgent-r.anchor, world.Route{
		// What holds while the train is at home; a binding's route comes before it.
		Prefix: trainNetwork, Via: r.site().mobile().Addr(), Interface: linkHome, Metric: 4096,
	})
	s.Anchors = []world.Anchor{{Prefix: trainNetwork, Node: nodeHomeAgent}}
	var access []world.End
	for _, d := range domains() {
		s.router(d.aggregation(), netDomain+d.number, 0)
		s.Anchors = append(s.Anchors, world.Anchor{Prefix: d.prefix(), Node: d.node})
		toRouters := r.anchor - r.access
		if d.aggregation() != d.node {
			s.Nodes = append(s.Nodes, world.Node{Name: d.node, Router: true})
			s.join(d.node, linkAnchor, d.aggregation(), netAside, anchorAside)
			toRouters -= anchorAside
		}
		for _, i := range d.routers {
			s.Nodes = append(s.Nodes, world.Node{Name: accessRouterName(i), Router: true})
			s.join(accessRouterName(i), linkAggregation, d.aggregation(), netAggregation+i, toRouters)
			access = append(access, world.End{Node: accessRouterName(i), Interface: linkAccess, Addresses: []netip.Prefix{accessAddress(i)}})
		}
	}
	s.Nodes = append(s.Nodes, world.Node{Name: nodeRouter, Router: true}, world.Node{Name: nodeBehind}, world.Node{Name: nodeMobile})
	s.Wires = append(s.Wires, world.Wire{
		A: world.End{Node: nodeRouter, Interface: linkLAN, Addresses: []netip.Prefix{gateway(trainNetwork)}},
		B: world.End{Node: nodeBehind, Interface: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(r.passenger(), 64)}},
	})
	var stations []world.End
	for _, mover := range r.movers() {
		stations = append(stations, world.End{Node: mover, Interface: linkUp})
	}
	s.air(r.access, []world.End{r.site().end(nodeHomeAgent)}, access, stations...)
	return s.Topology, r.seed
}

// place puts all home, and gives the anchors their addresses, which are on no link:
// the prefixes are routed there.
func (r *hierarchyRun) place(s *stage) error {
	for _, d := range domains() {
		if err := world.AddAddress(s.world.Space(d.node), "lo", netip.PrefixFrom(d.address(), 128)); err != nil {
			return err
		}
	}
	r.at = map[string]string{}
	for _, mover := range r.movers() {
		r.at[mover] = nodeHomeAgent
		if _, err := s.world.Move(mover, linkUp, nodeHomeAgent, 0, true); err != nil {
			return err
		}
	}
	return nil
}

func (r *hierarchyRun) cast() []part {
	r.keys, r.protected, r.riders = map[string]*section{}, map[string]*section{}, nil
	for i, mover := range r.movers() {
		m := mobile{name: mover, number: i, home: r.homeOf(mover), homeAgents: []netip.Addr{r.site().agent()}, key: newKey(), uplinks: []string{linkUp}}
		if mover == nodeRouter {
			m.networks, m.downstream = []netip.Prefix{trainNetwork}, []string{linkLAN}
		}
		m.optimise = r.optimises(mover)
		if r.ipsec {
			r.protected[mover] = m.ipsec()
		}
		r.riders = append(r.riders, m)
		for _, d := range domains() {
			r.keys[mover+d.node] = r.anchorKey(i, d)
		}
	}
	home := agent{site: r.site(), mobiles: r.riders}.sections()
	for _, m := range r.riders {
		home = r.withIPsec(m, home)
	}
	parts := []part{{nodeHomeAgent, home}}
	for _, d := range domains() {
		parts = append(parts, part{d.node, r.anchorSections(d)})
		for _, i := range d.routers {
			parts = append(parts, part{accessRouterName(i), d.accessRouter(i)})
		}
	}
	if r.optimise {
		parts = append(parts, part{nodeCorrespondent, []*section{correspondent()}})
	}
	for _, m := range r.riders {
		parts = append(parts, part{m.name, r.mobileSections(m, true)})
	}
	return parts
}

// anchorSections are the configuration of an anchor. Where it is the aggregation router
// it also tells the access routers of itself.
func (r *hierarchyRun) anchorSections(d domain) (all []*section) {
	if d.aggregation() == d.node {
		for _, i := range d.routers {
			all = append(all,
				newSection("interface", "").option("interface", accessRouterName(i)).option("AdvSendAdvert", "1").
					// Access routers look for no default router here.
					option("max_interval_ms", "4000"),
				mapOption(accessRouterName(i), d.address(), 1))
		}
	}
	all = append(all, newSection("anchor", d.node).
		option("address", d.address().String()).
		option("prefix", d.prefix().String()).
		list("served_prefix", texts(d.serves())...))
	for _, mover := range r.movers() {
		all = append(all, newSection("visitor", mover).option("anchor", d.node).with(r.keys[mover+d.node]))
	}
	return all
}

// anchorKey are the options by which an anchor knows a mobile, in the section of either.
func (r *hierarchyRun) anchorKey(mobile int, d domain) *section {
	const spi, ofESP = 1000, 2000
	if r.ipsec {
		return newSection("", "").associations(uint32(ofESP+100*mobile+10*d.number), "to_anchor", "to_mobile")
	}
	return newSection("", "").option("spi", strconv.Itoa(spi+mobile)).option("key", newKey())
}

// withIPsec is protected, where there is IPsec.
func (r *hierarchyRun) withIPsec(m mobile, sections []*section) []*section {
	if keys := r.protected[m.name]; keys != nil {
		return protected(sections, m, keys)
	}
	return sections
}

// mapOption advertises an anchor.
func mapOption(ifname string, anchor netip.Addr, distance int) *section {
	return newSection("map_option", "").
		option("interface", ifname).
		option("address", anchor.String()).
		option("distance", strconv.Itoa(distance))
}

// accessRouter is the configuration of an access router of the domain.
func (d domain) accessRouter(i int) []*section {
	all := accessRouter(linkAccess, accessAddress(i))
	if d.aggregation() == d.node {
		all[0].list("map_upstream", linkAggregation)
		return all
	}
	const distance = 3 // access router, aggregation router, anchor
	return append(all, mapOption(linkAccess, d.address(), distance))
}

// mobileSections are a mobile's own configuration.
func (r *hierarchyRun) mobileSections(m mobile, hierarchy bool) []*section {
	all := r.withIPsec(m, m.sections())
	if !hierarchy {
		return all
	}
	all[0].option("hierarchy", "1")
	for _, d := range domains() {
		all = append(all, newSection("anchor_key", d.node).
			option("mobile", m.name).
			option("anchors", d.address().String()).
			with(r.keys[m.name+d.node]))
	}
	return all
}
