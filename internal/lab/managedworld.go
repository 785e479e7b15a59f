package lab

import (
	"fmt"
	"net/netip"

	"roam6/internal/lab/dhcpserver"
	"roam6/internal/lab/relay"
	"roam6/internal/lab/world"
)

// accessLink is an access network: its router, how hosts get addresses there, and
// the program that leases them; none where none does.
type accessLink struct {
	node       string
	number     int
	addressing addressing
	server     dhcpserver.Kind
}

func (l accessLink) managed() bool { return l.addressing != formedOnly }

func (l accessLink) prefix() netip.Prefix { return accessAddress(l.number).Masked() }

// pool are the addresses that the server leases.
func (l accessLink) pool() netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8:a%x::1000/116", l.number))
}

// dns is the address that the server tells.
func (l accessLink) dns() netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("2001:db8:53::%x", l.number))
}

// domain is what the server tells to search.
func (l accessLink) domain() string { return l.node + ".example.net" }

// gives reports whether a care-of address is one that the mobile should have
// there in the end.
func (l accessLink) gives(careOf netip.Addr) bool {
	return l.prefix().Contains(careOf) && l.managed() == l.pool().Contains(careOf)
}

// sections are the router's configuration: its advertisements say how to get an
// address (RFC 4861 §4.2, RFC 4862 §5.5.3).
func (l accessLink) sections() []*section {
	i, p := advertise(linkAccess), newSection("prefix", "").option("interface", linkAccess).list("prefix", l.prefix().String())
	// For longer than the mobile is elsewhere: it may recognise the router
	// (RFC 6059) before it hears an advertisement.
	i.option("AdvDefaultLifetime", "1800")
	if l.managed() {
		i.option("AdvManagedFlag", "1")
	}
	if l.addressing == leasedRapid || l.addressing == leasedSlow {
		p.option("AdvAutonomous", "0")
	}
	return []*section{i, p}
}

func (r *managedRun) site() homeSite { return homeSite{1} }

// network is behind the mobile router.
func (r *managedRun) network() netip.Prefix { return netip.MustParsePrefix("2001:db8:100::/64") }

// node and address are those that talk to the correspondent.
func (r *managedRun) node() string {
	if r.router {
		return nodeBehind
	}
	return nodeMobile
}

func (r *managedRun) address() netip.Addr {
	if r.router {
		return r.network().Addr().Next().Next()
	}
	return r.site().mobile().Addr()
}

func (r *managedRun) set() (world.Topology, uint64) {
	s := newSketch(relay.Impairment{})
	s.host(nodeCorrespondent, 0, correspondentAddress())
	s.router(nodeHomeAgent, netHomeAgent, r.homeAgent-r.access)
	access := s.accessRouters(len(r.links), 0)
	s.Nodes = append(s.Nodes, world.Node{Name: nodeMobile, Router: r.router})
	if r.router {
		s.Nodes = append(s.Nodes, world.Node{Name: nodeBehind})
		s.Anchors = []world.Anchor{{Prefix: r.network(), Node: nodeHomeAgent}}
		s.Wires = append(s.Wires, world.Wire{
			A: world.End{Node: nodeMobile, Interface: linkLAN, Addresses: []netip.Prefix{netip.PrefixFrom(r.network().Addr().Next(), 64)}},
			B: world.End{Node: nodeBehind, Interface: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(r.address(), 64)}},
		})
	}
	// The home link has to be somewhere; nobody goes there.
	s.air(r.access, []world.End{r.site().end(nodeHomeAgent)}, access, world.End{Node: nodeMobile, Interface: linkUp})
	return s.Topology, r.seed
}

func (r *managedRun) place(s *stage) error {
	s.world.Relay.Tap(r.messages.take)
	_, err := s.world.Move(nodeMobile, linkUp, r.links[0].node, 0, true)
	return err
}

func (r *managedRun) cast() []part {
	m := mobile{name: nodeMobile, home: r.site().mobile(), homeAgents: []netip.Addr{r.site().agent()}, key: newKey(), uplinks: []string{linkUp}}
	if r.router {
		m.networks, m.downstream = []netip.Prefix{r.network()}, []string{linkLAN}
	}
	parts := []part{{nodeHomeAgent, agent{site: r.site(), mobiles: []mobile{m}}.sections()}}
	for _, l := range r.links {
		parts = append(parts, part{l.node, l.sections()})
	}
	return append(parts, part{nodeMobile, m.sections()})
}

// support are the DHCPv6 servers. A link for which there is none is not passed.
func (r *managedRun) support(s *stage) ([]*daemon, error) {
	programs, missing := r.findServers(s)
	for _, m := range missing {
		s.tell("%s", m)
	}
	r.without = missing
	r.stops = nil
	var all []*daemon
	for _, l := range r.links {
		if l.managed() {
			if l.server = l.addressing.pick(programs); l.server == "" {
				s.tell("%s: no server that is here can do that: it is left out", l.node)
				continue
			}
			d, err := r.newServer(s, l, programs[l.server])
			if err != nil {
				return nil, err
			}
			all = append(all, d)
			s.tell("%s: %s", l.node, l.server)
		}
		r.stops = append(r.stops, l)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no DHCPv6 server on this machine: apt-get install %s or %s", dhcpserver.Kea.Package(), dhcpserver.Dnsmasq.Package())
	}
	return all, nil
}
