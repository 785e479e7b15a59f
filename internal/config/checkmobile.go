package config

import (
	"fmt"
	"net/netip"

	"roam6/mip6"
)

// association gives the security association that a section configures, or
// nil where the administrator wants none, or IPsec alone; own are the ipsec
// sections of the home address.
func (s section) association(c credentials, own ipsecEntries) *mip6.SecurityAssociation {
	hasKey, hasSPI := s.has(optionKey), s.has(optionSPI)
	switch {
	case c.insecure && len(own) > 0:
		s.wrong(optionInsecure, 0, "0, because "+quoted(own[0].section)+" protects the signalling")
	case c.insecure && hasKey:
		s.wrong(optionInsecure, 0, "0, because there is a key; or no key")
	case c.insecure && hasSPI:
		s.wrong(optionInsecure, 0, "0 and a key, because there is an SPI; or no SPI")
	case c.insecure:
	case !hasKey && len(own) > 0:
		if hasSPI {
			s.wrong(optionSPI, 0, "a key in the section, whose number this would be; or no SPI, because "+quoted(own[0].section)+" has its own")
		}
	case !hasKey:
		s.wrong(optionKey, 0, "a key of 32 hexadecimal digits; without one, option insecure '1' says that this is meant")
	default:
		return &mip6.SecurityAssociation{SPI: c.spi, Key: c.key}
	}
	return nil
}

// mobileNodes checks and completes the mobile_node and mobile_router sections.
func mobileNodes(entries []entry[mobileNodeDraft], protected protections) []MobileNode {
	var nodes []MobileNode
	homes := map[netip.Addr]section{}
	var claims []claim
	for _, e := range entries {
		if !e.enabled {
			continue
		}
		m := e.value.MobileNode
		m.Name = e.Ref()
		own := protected.of[m.HomeAddress.Addr()]
		m.Association = e.association(e.value.credentials, own)
		if home := m.HomeAddress.Addr(); home.IsValid() {
			distinct(homes, home, e.section, "home_address", 0, "a home address")
		}
		e.completeHomeAgents(&m)
		m.ESP, m.IKE = e.mobilePolicies(m, own)
		e.checkRoutes(m)
		e.checkDelegation(m)
		twice(e.section, optionUplink, m.Uplinks, "interface")
		twice(e.section, optionDownstream, m.Downstreams, "interface")
		for i, prefix := range m.Prefixes {
			e.checkNetwork(m, i)
			claims = append(claims, claim{e.section, optionPrefix, i, prefix})
		}
		nodes = append(nodes, m)
	}
	disjoint(claims)
	completeDefaultSource(entries, nodes)
	return nodes
}

// completeHomeAgents checks what a mobile knows of its home agents, and decides
// whether it looks for them.
func (s section) completeHomeAgents(m *MobileNode) {
	twice(s, optionHomeAgent, m.HomeAgents, "home agent")
	for i, a := range m.HomeAgents {
		if a == m.HomeAddress.Addr() {
			s.wrong(optionHomeAgent, i, "an address other than the home address")
		}
	}
	if !s.has("discover") {
		m.Discover = !s.has(optionHomeAgent)
	}
	switch {
	case !m.Discover && !s.has(optionHomeAgent):
		s.missing(optionHomeAgent, "the address of a home agent, because discover is 0")
	case m.Discover && m.HomeAddress.IsValid() && !mip6.HomeAgentsAnycast(m.HomeAddress.Masked()).IsValid():
		s.wrong("home_address", 0, "a home prefix of at most 121 bits, which has an anycast address of its home agents; or a home_agent and discover '0'")
	}
}

// checkRoutes checks what a mobile says of route optimisation.
func (s section) checkRoutes(m MobileNode) {
	const option = "route_optimization"
	switch {
	case m.RouteOptimisation == ListedRoutes && !s.has("correspondent"):
		s.wrong(option, 0, "on or off; or prefixes in the list correspondent")
	case s.has("correspondent") && !s.has(option):
		s.missing(option, "on, which excepts the prefixes of correspondent, or list, which is for them alone")
	}
}

// maxNamed is how many prefixes a mobile router may name, so that its updates fit the
// least MTU.
const maxNamed = 32

// checkNetwork checks a mobile network prefix against what is not in the mobile
// network.
func (s section) checkNetwork(m MobileNode, item int) {
	prefix := m.Prefixes[item]
	if item == maxNamed && m.Mode == ModeExplicit {
		s.wrong(optionPrefix, item, fmt.Sprintf("at most %d prefixes, as many as a binding update names; or mode implicit", maxNamed))
	}
	if prefix.Contains(m.HomeAddress.Addr()) {
		s.wrong(optionPrefix, item, fmt.Sprintf("a prefix without the home address %v, which belongs to the home link", m.HomeAddress.Addr()))
		return
	}
	for _, a := range m.HomeAgents {
		if prefix.Contains(a) {
			s.wrong(optionPrefix, item, fmt.Sprintf("a prefix without the home agent %v, which is not in the mobile network", a))
			return
		}
	}
}

// completeDefaultSource lets one mobile have the default source: the one that
// says so, otherwise the first that does not say no.
func completeDefaultSource(entries []entry[mobileNodeDraft], nodes []MobileNode) {
	var first, holder *entry[mobileNodeDraft]
	for i := range entries {
		e := &entries[i]
		if !e.enabled {
			continue
		}
		if first == nil {
			first = e
		}
		switch {
		case !e.value.DefaultSource:
		case holder == nil:
			holder = e
		default:
			e.wrong("default_source", 0, "0, because "+quoted(holder.section)+" has it")
		}
	}
	if first != nil && holder == nil && !first.has("default_source") {
		nodes[0].DefaultSource = true
	}
}

// policies checks and completes the policy sections. The policies of a mobile
// that is not enabled are left out.
func policies(entries []entry[policyDraft], mobiles []entry[mobileNodeDraft]) []Policy {
	var list []Policy
	var names []string
	enabled := map[string]bool{}
	for _, m := range mobiles {
		names = append(names, m.Ref())
		enabled[m.Ref()] = m.enabled
	}
	for _, e := range entries {
		p := e.value.Policy
		p.Name = e.Ref()
		p.FirstPort, p.LastPort = e.value.ports.first, e.value.ports.last
		p.Mark, p.Mask = e.value.mark.mark, e.value.mark.mask
		if p.Protocol == 0 && e.has("port") {
			e.wrong("port", 0, "no port, or proto 'tcp' or 'udp' in the section")
		}
		if e.sound && p.Protocol == 0 && !e.has("port") && p.Mask == 0 {
			e.superfluous("a condition: proto, port or mark; all traffic is a matter of default_source")
		}
		on, known := enabled[p.Mobile]
		if !known && p.Mobile != "" {
			e.wrong("mobile_node", 0, "the name of a mobile_node or mobile_router section"+orNone(p.Mobile, names))
		}
		if on {
			list = append(list, p)
		}
	}
	return list
}
