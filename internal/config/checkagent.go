package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// homeAgents checks and completes the home_agent sections.
func homeAgents(entries []entry[homeAgentDraft]) []HomeAgent {
	var agents []HomeAgent
	addresses := map[netip.Addr]section{}
	var claims []claim
	for _, e := range entries {
		if !e.enabled {
			continue
		}
		h := e.value.HomeAgent
		h.Name = e.Ref()
		if h.Address.IsValid() {
			distinct(addresses, h.Address, e.section, "address", 0, "an address")
		}
		if h.Prefix.IsValid() {
			claims = append(claims, claim{e.section, "prefix", 0, h.Prefix})
			e.inHomePrefix("address", h.Address, h.Prefix)
		}
		agents = append(agents, h)
	}
	disjoint(claims)
	return agents
}

// inHomePrefix checks that an address is one of the home prefix that a node
// can have.
func (s section) inHomePrefix(option string, a netip.Addr, home netip.Prefix) {
	switch {
	case !a.IsValid():
	case !home.Contains(a):
		s.wrong(option, 0, fmt.Sprintf("an address of the home prefix %v", home))
	case routerAnycast(netip.PrefixFrom(a, home.Bits())):
		s.wrong(option, 0, fmt.Sprintf("a single node's address: this is the subnet-router anycast address of %v", home))
	}
}

// mobiles checks and completes the mobile sections. A mobile whose home agent
// is not enabled is not either.
func mobiles(entries []entry[mobileDraft], agents []entry[homeAgentDraft]) []Mobile {
	var list []Mobile
	homes := map[netip.Addr]section{}
	var claims []claim
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
		m.Association = e.association(e.value.credentials)
		if m.HomeAddress.IsValid() {
			distinct(homes, m.HomeAddress, e.section, "home_address", 0, "a home address")
		}
		if !e.has("router") {
			m.Router = len(m.Prefixes) > 0
		} else if !m.Router && len(m.Prefixes) > 0 {
			e.wrong("router", 0, "1, because there are prefixes; or no prefixes")
		}
		if agent != nil {
			m.HomeAgent = agent.Ref()
			e.checkServed(m, agent.value.HomeAgent)
		}
		for i, prefix := range m.Prefixes {
			claims = append(claims, claim{e.section, "prefix", i, prefix})
		}
		list = append(list, m)
	}
	disjoint(claims)
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
	if h.Prefix.IsValid() {
		s.inHomePrefix("home_address", m.HomeAddress, h.Prefix)
	}
	if m.HomeAddress.IsValid() && m.HomeAddress == h.Address {
		s.wrong("home_address", 0, "an address other than the home agent's")
	}
	for i, prefix := range m.Prefixes {
		switch {
		case prefix.Contains(m.HomeAddress):
			s.wrong("prefix", i, fmt.Sprintf("a prefix without the home address %v, which belongs to the home link", m.HomeAddress))
		case h.Prefix.IsValid() && contains(prefix, h.Prefix):
			s.wrong("prefix", i, fmt.Sprintf("a prefix without the home prefix %v", h.Prefix))
		}
	}
}
