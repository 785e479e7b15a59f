package config

import (
	"fmt"
	"net/netip"
	"slices"

	"roam6/mip6"
)

// association gives the security association that a section configures, or
// nil where the administrator wants none.
func (s section) association(c credentials) *mip6.SecurityAssociation {
	hasKey, hasSPI := s.has(optionKey), s.has(optionSPI)
	switch {
	case c.insecure && hasKey:
		s.wrong(optionInsecure, 0, "0, because there is a key; or no key")
	case c.insecure && hasSPI:
		s.wrong(optionInsecure, 0, "0 and a key, because there is an SPI; or no SPI")
	case c.insecure:
	case !hasKey:
		s.wrong(optionKey, 0, "a key of 32 hexadecimal digits; without one, option insecure '1' says that this is meant")
	case !hasSPI:
		s.wrong(optionSPI, 0, "the SPI that goes with the key, an integer from 256 to 4294967295")
	default:
		return &mip6.SecurityAssociation{SPI: c.spi, Key: c.key}
	}
	return nil
}

// mobileNodes checks and completes the mobile_node and mobile_router sections.
func mobileNodes(entries []entry[mobileNodeDraft]) []MobileNode {
	var nodes []MobileNode
	homes := map[netip.Addr]section{}
	var claims []claim
	for _, e := range entries {
		if !e.enabled {
			continue
		}
		m := e.value.MobileNode
		m.Name = e.Ref()
		m.Association = e.association(e.value.credentials)
		if home := m.HomeAddress.Addr(); home.IsValid() {
			distinct(homes, home, e.section, "home_address", 0, "a home address")
			if home == m.HomeAgent {
				e.wrong("home_agent", 0, "an address other than the home address")
			}
		}
		twice(e.section, "uplink", m.Uplinks)
		twice(e.section, "downstream", m.Downstreams)
		for i, prefix := range m.Prefixes {
			switch {
			case prefix.Contains(m.HomeAddress.Addr()):
				e.wrong("prefix", i, fmt.Sprintf("a prefix without the home address %v, which belongs to the home link", m.HomeAddress.Addr()))
			case prefix.Contains(m.HomeAgent):
				e.wrong("prefix", i, fmt.Sprintf("a prefix without the home agent %v, which is not in the mobile network", m.HomeAgent))
			}
			claims = append(claims, claim{e.section, "prefix", i, prefix})
		}
		nodes = append(nodes, m)
	}
	disjoint(claims)
	return nodes
}

// checkLinks checks that no interface has two jobs that exclude each other.
func checkLinks(s sections, tunnel string) {
	uplinks := map[string]section{}
	for _, e := range s.mobileNodes {
		if e.enabled {
			for _, name := range e.value.Uplinks {
				uplinks[name] = e.section
			}
		}
	}
	check := func(e section, option string, item int, name string) {
		if name == tunnel {
			e.wrong(option, item, "another interface: this is the tunnel_device of the globals section")
		}
	}
	for _, e := range s.mobileNodes {
		if !e.enabled {
			continue
		}
		for i, name := range e.value.Uplinks {
			check(e.section, "uplink", i, name)
		}
		for i, name := range e.value.Downstreams {
			check(e.section, "downstream", i, name)
			if other, ok := uplinks[name]; ok {
				e.wrong("downstream", i, "an interface that is not an uplink of "+quoted(other))
			}
		}
	}
	for _, e := range s.homeAgents {
		if e.enabled {
			check(e.section, "interface", 0, e.value.Interface)
		}
	}
	for _, e := range s.interfaces {
		name := e.value.Name
		check(e.section, "interface", 0, name)
		if other, ok := uplinks[name]; ok && e.value.Advertise {
			// RFC 3963 §7.1: no router advertisements on the egress while away.
			e.wrong("interface", 0, "an interface that is not an uplink of "+quoted(other)+": a mobile does not advertise there")
		}
	}
}

// links are the names of all interfaces with an interface section.
func links(entries []entry[interfaceDraft]) []string {
	var l []string
	for _, e := range entries {
		if e.value.Name != "" && !slices.Contains(l, e.value.Name) {
			l = append(l, e.value.Name)
		}
	}
	return l
}
