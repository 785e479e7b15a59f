package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"roam6/mip6"
)

// homeAgents checks and completes the home_agent sections; advertised are the
// interfaces as they are, with their prefixes.
func homeAgents(entries []entry[homeAgentDraft], advertised []Interface) []HomeAgent {
	var agents []HomeAgent
	addresses := map[netip.Addr]section{}
	var claims, pools, parts []claim
	for _, e := range entries {
		if !e.enabled {
			continue
		}
		h := e.value.HomeAgent
		h.Name = e.Ref()
		if h.Address.IsValid() {
			distinct(addresses, h.Address, e.section, "address", 0, "an address")
		}
		if len(h.Prefixes) > 0 {
			e.inHomePrefix("address", h.Address, h.Prefixes[:1])
		}
		for i, p := range h.Prefixes {
			claims = append(claims, claim{e.section, optionPrefix, i, p})
		}
		for i, p := range h.Deprecated {
			claims = append(claims, claim{e.section, optionDeprecated, i, p})
		}
		for i, p := range e.value.delegation.Pools {
			pool := claim{e.section, optionPool, i, p}
			if e.isPart(h, i, p) {
				parts = append(parts, pool)
			} else {
				pools = append(pools, pool)
			}
		}
		e.checkPrefixes(h)
		h.Delegation = e.completeDelegation(h, e.value.delegation)
		e.completeInformation(&h, advertised)
		agents = append(agents, h)
	}
	disjoint(append(claims, pools...))
	if len(parts) > 0 {
		disjoint(append(parts, pools...))
	}
	return agents
}

// isPart reports whether a pool is a part of a home prefix, as in an aggregated home
// network (RFC 4887 §6), and checks that nothing of the home link itself is in it. Of
// home addresses that is checked with the mobiles.
func (s section) isPart(h HomeAgent, item int, pool netip.Prefix) bool {
	for _, home := range slices.Concat(h.Prefixes, h.Deprecated) {
		if home.Bits() >= pool.Bits() || !home.Contains(pool.Addr()) {
			continue
		}
		for _, a := range []netip.Addr{h.Address, home.Masked().Addr(), mip6.HomeAgentsAnycast(home)} {
			if pool.Contains(a) {
				s.wrong(optionPool, item, fmt.Sprintf("a part of the home prefix %v without %v, which belongs to the home link", home, a))
				break
			}
		}
		return true
	}
	return false
}

// maxHomePrefixes is how many a home link may have: an advertisement of all of
// them has to fit into a packet.
const maxHomePrefixes = 16

// checkPrefixes checks what a home agent says of its home prefixes.
func (s section) checkPrefixes(h HomeAgent) {
	if n := len(h.Prefixes) + len(h.Deprecated); n > maxHomePrefixes {
		s.superfluous(fmt.Sprintf("at most %d home prefixes, the deprecated ones included; there are %d", maxHomePrefixes, n))
	}
	if s.has("deprecated_lifetime") && !s.has(optionDeprecated) {
		s.wrong("deprecated_lifetime", 0, "a deprecated_prefix in the section, whose lifetime this is")
	}
	if h.PrefixMaxInterval < h.PrefixMinInterval {
		option := "prefix_max_interval"
		if !s.has(option) {
			option = "prefix_min_interval"
		}
		s.wrong(option, 0, fmt.Sprintf("a prefix_min_interval (%d) that is not greater than prefix_max_interval (%d)",
			h.PrefixMinInterval/time.Second, h.PrefixMaxInterval/time.Second))
	}
}

// completeInformation takes from the advertisements on the home link what they
// tell of the home agent.
func (s section) completeInformation(h *HomeAgent, advertised []Interface) {
	for _, i := range advertised {
		if i.Name != h.Interface || !i.Advertise {
			continue
		}
		h.Information = i.HomeAgentInfo
		for n, p := range h.Deprecated {
			at := slices.IndexFunc(i.Prefixes, func(q Prefix) bool { return q.Prefix.Masked() == p })
			if at >= 0 && i.Prefixes[at].PreferredLifetime > 0 {
				s.wrong(optionDeprecated, n, "a prefix that this node advertises on the home link, if at all, with AdvPreferredLifetime '0'")
			}
		}
	}
}

// inHomePrefix checks that an address is one of the home prefixes that a node
// can have.
func (s section) inHomePrefix(option string, a netip.Addr, homes []netip.Prefix) {
	if !a.IsValid() || len(homes) == 0 {
		return
	}
	names := make([]string, len(homes))
	for i, home := range homes {
		switch {
		case !home.Contains(a):
			names[i] = home.String()
			continue
		case routerAnycast(netip.PrefixFrom(a, home.Bits())):
			s.wrong(option, 0, fmt.Sprintf("a single node's address: this is the subnet-router anycast address of %v", home))
		case a == mip6.HomeAgentsAnycast(home):
			s.wrong(option, 0, fmt.Sprintf("a single node's address: this is the home agents' anycast address of %v", home))
		}
		return
	}
	what := "an address of the home prefix "
	if len(homes) > 1 {
		what = "an address of one of the home prefixes "
	}
	s.wrong(option, 0, what+strings.Join(names, ", "))
}

// mobiles checks and completes the mobile sections. A mobile whose home agent
// is not enabled is not either.
func mobiles(entries []entry[mobileDraft], agents []entry[homeAgentDraft], protected protections) []Mobile {
	list := slices.Grow([]Mobile(nil), len(entries))
	homes := make(map[netip.Addr]section, len(entries))
	clients := map[string]section{}
	claims := make([]claim, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		if !e.enabled {
			continue
		}
		agent := e.servedBy(e.value.HomeAgent, agents)
		if agent != nil && !agent.enabled {
			e.enabled = false
			continue
		}
		m := e.value.Mobile
		m.Name = e.Ref()
		own := protected.of[m.HomeAddress]
		m.Association = e.association(e.value.credentials, own)
		if m.HomeAddress.IsValid() {
			distinct(homes, m.HomeAddress, e.section, "home_address", 0, "a home address")
		}
		e.completeDelegate(&m, agent)
		if len(m.DUID) > 0 {
			distinct(clients, string(m.DUID), e.section, optionDUID, 0, "an identifier")
		}
		e.checkPools(m, agents)
		if agent != nil {
			m.HomeAgent = agent.Ref()
			m.ESP, m.IKE = e.agentPolicy(m, agent, own)
			e.checkServed(m, agent.value.HomeAgent)
		}
		for i, prefix := range m.Prefixes {
			claims = append(claims, claim{e.section, "prefix", i, prefix})
		}
		list = append(list, m)
	}
	disjoint(claims)
	for _, agent := range agents {
		for i, pool := range agent.value.delegation.Pools {
			if agent.enabled {
				claims = append(claims, claim{agent.section, optionPool, i, pool})
			}
		}
	}
	without(claims, homes)
	return list
}

// servedBy finds the home agent of a mobile; nil and an error if it cannot.
func (s section) servedBy(name string, agents []entry[homeAgentDraft]) *entry[homeAgentDraft] {
	var all []string
	for i := range agents {
		if agents[i].Ref() == name {
			return &agents[i]
		}
		all = append(all, agents[i].Ref())
	}
	switch {
	case len(agents) == 0:
		s.problems.add(&Error{Position: s.Position, Section: s.Ref(), Offending: s.Type,
			Expected: "a home_agent section in this file, which serves the mobile"})
	case name != "":
		s.wrong("home_agent", 0, "the name of a home_agent section"+didYouMean(name, all))
	case s.has("home_agent"): // reported already
	case len(agents) > 1:
		s.missing("home_agent", "the home agent that serves the mobile, one of "+strings.Join(all, ", "))
	default:
		return &agents[0]
	}
	return nil
}

// checkServed checks a mobile against its home agent.
func (s section) checkServed(m Mobile, h HomeAgent) {
	homes := slices.Concat(h.Prefixes, h.Deprecated)
	s.inHomePrefix("home_address", m.HomeAddress, homes)
	if m.HomeAddress.IsValid() && m.HomeAddress == h.Address {
		s.wrong("home_address", 0, "an address other than the home agent's")
	}
	for i, prefix := range m.Prefixes {
		if prefix.Contains(m.HomeAddress) {
			continue // reported with all home addresses
		}
		for _, home := range homes {
			if contains(prefix, home) {
				s.wrong(optionPrefix, i, fmt.Sprintf("a prefix without the home prefix %v", home))
				break
			}
			if a := mip6.HomeAgentsAnycast(home); prefix.Contains(a) || prefix.Contains(home.Addr()) {
				s.wrong(optionPrefix, i, fmt.Sprintf("a prefix without the anycast addresses %v and %v of the home link", home.Masked().Addr(), a))
				break
			}
		}
	}
}
