package node

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/control"
	"roam6/internal/metrics"
	"roam6/mr"
)

// leases are what this node has from DHCPv6 servers: by its uplinks, and as a
// mobile router by its home agents.
func (s *Shell) leases(now time.Time) control.Leases {
	d := control.Leases{Clients: []control.LeaseClient{}}
	for _, index := range slices.Sorted(maps.Keys(s.clients)) {
		u := s.clients[index]
		if u.machine == nil {
			continue
		}
		d.Clients = append(d.Clients, control.LeaseClientOf(control.ForUplink, u.machine.Snapshot(now)))
	}
	for _, h := range s.mobiles {
		if r, ok := h.machine.(*mr.Router); ok {
			if status := r.Networks(now).Delegation; status != nil {
				d.Clients = append(d.Clients, control.LeaseClientOf(control.ForMobileRouter, status.Client))
			}
		}
	}
	return d
}

// delegations are the prefixes that the home agents of this node have given.
func (s *Shell) delegations(now time.Time) control.Delegations {
	d := control.Delegations{Delegations: []control.Delegation{}, Pools: []control.DelegationPool{}}
	for _, h := range s.delegators {
		list := h.machine.Leases(now)
		d.Delegations = append(d.Delegations, control.DelegationsOf(h.config.Name, list)...)
		d.Pools = append(d.Pools, control.PoolsOf(h.config.Name, h.config.Delegation.Pools, h.config.Delegation.Length, list)...)
	}
	return d
}

// routerNetworks are the mobile network prefixes of a mobile router: those of its
// section, and the delegated ones by the parts that its downstream interfaces have.
func (s *Shell) routerNetworks(now time.Time, h *mobileHost) []control.NetworkPrefix {
	r, ok := h.machine.(*mr.Router)
	if !ok {
		return nil
	}
	var list []control.NetworkPrefix
	configured := 0
	for _, p := range r.Networks(now).Prefixes {
		n := control.NetworkPrefix{
			Side: control.SideMobile, Name: h.config.Name, HomeAddress: homeOf(h.config), Prefix: p.Prefix,
			State: "usable", Origin: control.OriginConfigured,
			Preferred: control.Remaining(p.Preferred), Valid: control.Remaining(p.Valid),
		}
		if !p.Usable {
			n.State = "refused"
		}
		if p.Origin == mr.Configured {
			n.Downstream = downstreamOf(h.config, configured)
			configured++
			list = append(list, n)
			continue
		}
		n.Origin = control.OriginDelegated
		list = append(list, n)
		for _, part := range p.Subnets {
			n.Prefix, n.Downstream = part.Prefix, part.Interface
			list = append(list, n)
		}
	}
	return list
}

// delegatedNetworks are the prefixes that a home agent's mobiles have by
// delegation; registered tells which of them are bound.
func (s *Shell) delegatedNetworks(now time.Time, h *agentHost, registered map[netip.Prefix]netip.Addr) []control.NetworkPrefix {
	i := slices.IndexFunc(s.delegators, func(d *delegatorHost) bool { return d.config.Name == h.config.Name })
	if i < 0 {
		return nil
	}
	var list []control.NetworkPrefix
	for _, l := range s.delegators[i].machine.Leases(now) {
		home, bound := registered[l.Prefix]
		if l.Valid <= 0 && !bound {
			continue
		}
		n := control.NetworkPrefix{
			Side: control.SideAgent, Name: l.Mobile, HomeAddress: l.Home, Prefix: l.Prefix, State: "absent",
			Origin: control.OriginDelegated, Preferred: control.Remaining(l.Preferred), Valid: control.Remaining(l.Valid),
		}
		if bound {
			n.HomeAddress, n.State = home, "registered"
		}
		list = append(list, n)
	}
	return list
}

// dhcpState adds what there is by DHCPv6 to what a scrape shows.
func (s *Shell) dhcpState(now time.Time, state *metrics.State) {
	for _, u := range s.clients {
		if u.machine != nil {
			l := u.leaseAt(now)
			state.LeasedAddresses += len(l.Addresses)
			state.LeasedPrefixes += len(l.Prefixes)
		}
	}
	for _, h := range s.mobiles {
		if r, ok := h.machine.(*mr.Router); ok {
			for _, p := range r.Networks(now).Prefixes {
				if p.Origin == mr.Delegated {
					state.LeasedPrefixes++
				}
			}
		}
	}
	for _, h := range s.delegators {
		x := h.machine.Counters()
		state.Delegators = append(state.Delegators, metrics.Delegator{Name: h.config.Name, Prefixes: x.Bound, Exhaustions: x.Exhaustions})
	}
}
