// Package world builds networks of namespaces from a description: nodes, wires
// and air interfaces as values. Ordinary routing is set up from the
// description, so that what a lab examines is the only thing missing.
package world

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"roam6/internal/lab/relay"
)

// Topology describes a world.
type Topology struct {
	Nodes []Node
	Wires []Wire
	LANs  []LAN
	Airs  []Air
	// Anchors are prefixes that ordinary routing carries to a node which is not
	// on them, as to a home agent.
	Anchors []Anchor
}

// Node is a network namespace of its own.
type Node struct {
	Name string
	// Router: the node forwards. One that does not is a host, with a default
	// route to the router on its wire.
	Router bool
	// Listens: the node takes addresses and default routes from router
	// advertisements, as hosts do, and has none of its own.
	Listens bool
	// Routes are routes that do not follow from the topology.
	Routes []Route
}

// End is an interface of a node. The interface's first address is the next hop
// for others.
type End struct {
	Node, Interface string
	Addresses       []netip.Prefix
}

// Wire joins two nodes. Without impairment it is a veth pair, with one it goes
// through the relay. One without addresses is no part of ordinary routing.
type Wire struct {
	A, B End
	Path relay.Impairment
}

// LAN is a link of several nodes: a switch, which is a namespace of that name.
type LAN struct {
	Name string
	Ends []End
}

// Air is a radio: each station is at one of the routers, or at none. Routers'
// prefixes are reachable in ordinary routing; stations have to care for
// themselves. A LAN may be among the routers, with an interface and no address:
// an access point of that link.
type Air struct {
	Routers, Stations []End
	// Strict are the nodes among the routers whose network refuses packets with
	// a source that is not of the link's own prefixes (BCP 38).
	Strict []string
	Path   relay.Impairment
}

// Anchor is a prefix that is routed to a node.
type Anchor struct {
	Prefix netip.Prefix
	Node   string
}

// Route is a static route of a node.
type Route struct {
	Prefix    netip.Prefix
	Via       netip.Addr
	Interface string
	Metric    int
}

// Validate reports everything that is wrong with the description.
func (t Topology) Validate() error {
	var errs []error
	nodes := map[string]bool{}
	for _, n := range t.Nodes {
		if nodes[n.Name] {
			errs = append(errs, fmt.Errorf("two nodes are called %s", n.Name))
		}
		nodes[n.Name] = true
	}
	for _, l := range t.LANs {
		if nodes[l.Name] {
			errs = append(errs, fmt.Errorf("a LAN is called %s, and a node too", l.Name))
		}
		nodes[l.Name] = true
		for _, e := range l.Ends {
			if len(e.Addresses) == 0 {
				errs = append(errs, fmt.Errorf("LAN %s: %s needs an address", l.Name, e.Node))
			}
		}
	}
	interfaces := map[string]bool{}
	for _, e := range t.ends() {
		key := e.Node + " " + e.Interface
		switch {
		case !nodes[e.Node]:
			errs = append(errs, fmt.Errorf("interface %s is of an unknown node %q", e.Interface, e.Node))
		case interfaces[key]:
			errs = append(errs, fmt.Errorf("node %s has two interfaces %s", e.Node, e.Interface))
		case e.Interface == "" || len(e.Interface) > 15:
			errs = append(errs, fmt.Errorf("node %s: %q cannot name an interface", e.Node, e.Interface))
		}
		interfaces[key] = true
	}
	for _, w := range t.Wires {
		if (len(w.A.Addresses) == 0) != (len(w.B.Addresses) == 0) {
			errs = append(errs, fmt.Errorf("wire %s–%s: both ends need an address, or none", w.A.Node, w.B.Node))
		}
		errs = append(errs, w.Path.Validate())
	}
	for _, a := range t.Airs {
		errs = append(errs, a.Path.Validate())
	}
	for _, a := range t.Anchors {
		if !nodes[a.Node] {
			errs = append(errs, fmt.Errorf("prefix %v is anchored at an unknown node %q", a.Prefix, a.Node))
		}
	}
	return errors.Join(errs...)
}

func (t Topology) ends() (ends []End) {
	for _, w := range t.Wires {
		ends = append(ends, w.A, w.B)
	}
	for _, l := range t.LANs {
		ends = append(ends, l.Ends...)
	}
	for _, a := range t.Airs {
		ends = append(append(ends, a.Routers...), a.Stations...)
	}
	return ends
}

// neighbor is a node at the other end of a wire, or on the same LAN.
type neighbor struct {
	node      string
	via       netip.Addr
	ifaceHere string
}

// Routes are the routes of ordinary routing, by node: a host has a default
// route, a router with one neighbouring router too, and any other router a
// route to every prefix of its network by the fewest hops, the first wire or LAN
// of the description first among equals. Routes of the nodes'
// own are included.
func (t Topology) Routes() map[string][]Route {
	neighbors := map[string][]neighbor{}
	prefixes := map[string][]netip.Prefix{} // on the node's interfaces, or anchored there
	local := map[string][]netip.Prefix{}
	add := func(e End) {
		for _, a := range e.Addresses {
			p := a.Masked()
			prefixes[e.Node] = append(prefixes[e.Node], p)
			local[e.Node] = append(local[e.Node], p)
		}
	}
	for _, w := range t.Wires {
		add(w.A)
		add(w.B)
		if len(w.A.Addresses) == 0 {
			continue
		}
		neighbors[w.A.Node] = append(neighbors[w.A.Node], neighbor{w.B.Node, w.B.Addresses[0].Addr(), w.A.Interface})
		neighbors[w.B.Node] = append(neighbors[w.B.Node], neighbor{w.A.Node, w.A.Addresses[0].Addr(), w.B.Interface})
	}
	for _, l := range t.LANs {
		for _, here := range l.Ends {
			add(here)
			for _, there := range l.Ends {
				if there.Node != here.Node {
					neighbors[here.Node] = append(neighbors[here.Node], neighbor{there.Node, there.Addresses[0].Addr(), here.Interface})
				}
			}
		}
	}
	for _, a := range t.Airs {
		for _, e := range a.Routers {
			add(e)
		}
	}
	for _, a := range t.Anchors {
		prefixes[a.Node] = append(prefixes[a.Node], a.Prefix)
	}
	router := map[string]bool{}
	for _, n := range t.Nodes {
		router[n.Name] = n.Router
	}
	routes := map[string][]Route{}
	for _, n := range t.Nodes {
		routes[n.Name] = append(t.routesOf(n, neighbors, prefixes, local[n.Name], router), n.Routes...)
	}
	return routes
}

func (t Topology) routesOf(n Node, neighbors map[string][]neighbor, prefixes map[string][]netip.Prefix, known []netip.Prefix, router map[string]bool) (routes []Route) {
	var ways []neighbor
	for _, w := range neighbors[n.Name] {
		if router[w.node] {
			ways = append(ways, w)
		}
	}
	switch {
	case len(ways) == 0:
		return nil
	case len(ways) == 1 || !n.Router:
		return []Route{{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Via: ways[0].via, Interface: ways[0].ifaceHere}}
	}
	known = slices.Clone(known)
	type reached struct {
		node  string
		first neighbor
	}
	seen := map[string]bool{n.Name: true}
	var queue []reached
	for _, w := range neighbors[n.Name] {
		if !seen[w.node] {
			seen[w.node] = true
			queue = append(queue, reached{w.node, w})
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, p := range prefixes[at.node] {
			if !slices.Contains(known, p) {
				known = append(known, p)
				routes = append(routes, Route{Prefix: p, Via: at.first.via, Interface: at.first.ifaceHere})
			}
		}
		if !router[at.node] {
			continue // hosts do not forward
		}
		for _, w := range neighbors[at.node] {
			if !seen[w.node] {
				seen[w.node] = true
				queue = append(queue, reached{w.node, at.first})
			}
		}
	}
	return routes
}
