package config

import (
	"fmt"
	"time"
)

// checkDelegation checks what a mobile router says of its prefixes: they are
// configured, or the home agent gives them, or both.
func (s section) checkDelegation(m MobileNode) {
	if !m.Router {
		return
	}
	if m.Netifd && s.has(optionDownstream) {
		s.wrong(optionNetifd, 0, "0, because there is a downstream, which roam6 numbers; or no downstream")
	}
	if !m.Delegation {
		if !s.has(optionPrefix) {
			s.missing(optionPrefix, network().name+", or "+optionDelegation+" '1'")
		}
		if s.has(optionLength) {
			s.wrong(optionLength, 0, optionDelegation+" '1' in the section: this is the length to ask for")
		}
		return
	}
	if !m.Netifd && !s.has(optionDownstream) {
		s.missing(optionDownstream, "an interface to number with what is delegated, because of "+optionDelegation+"; or "+optionNetifd+" '1', which leaves that to netifd")
	}
	s.enoughLinks(optionLength, m.DelegationLength, m.Downstreams)
}

// enoughLinks checks that a prefix of the length that is asked for has a /64 for
// each downstream.
func (s section) enoughLinks(option string, length int, downstreams []string) {
	longest := longestDelegation
	for len(downstreams) > 1<<(longestDelegation-longest) {
		longest--
	}
	if length > longest {
		s.wrong(option, 0, fmt.Sprintf("at most %d, so that each of the %d downstream interfaces gets a /64", longest, len(downstreams)))
	}
}

// prefixRequests checks the prefix_request sections.
func prefixRequests(entries []entry[prefixRequestDraft]) []PrefixRequest {
	var list []PrefixRequest
	asked := map[string]section{}
	for _, e := range entries {
		if !e.enabled {
			continue
		}
		r := e.value.PrefixRequest
		r.Name = e.Ref()
		if r.Uplink != "" {
			distinct(asked, r.Uplink, e.section, optionUplink, 0, "an uplink")
		}
		twice(e.section, optionDownstream, r.Downstreams, "interface")
		e.enoughLinks("length", r.Length, r.Downstreams)
		list = append(list, r)
	}
	return list
}

// uplinks checks the uplink sections. Those that only disabled sections use are
// left out.
func uplinks(s sections) []UplinkOptions {
	var list []UplinkOptions
	used := s.uplinkUse()
	names := map[string]section{}
	foreign := map[string]section{}
	for _, e := range s.uplinks {
		u := e.value.UplinkOptions
		if u.Name == "" {
			continue
		}
		u.NoRapidCommit = !e.value.rapidCommit
		if u.Addressing == AddressingForeign {
			foreign[u.Name] = e.section
			if e.has("rapid_commit") {
				e.wrong("rapid_commit", 0, "no such option: with addressing 'foreign' roam6 asks no DHCPv6 server there")
			}
		}
		distinct(names, u.Name, e.section, "interface", 0, "an interface")
		if indexOf(used.all, u.Name) < 0 {
			e.wrong("interface", 0, "the uplink of a mobile_router, mobile_node or prefix_request section"+orNone(u.Name, used.all))
		}
		if used.enabled[u.Name] {
			list = append(list, u)
		}
	}
	for _, e := range s.requests {
		if other, ok := foreign[e.value.Uplink]; ok && e.enabled {
			e.wrong(optionUplink, 0, "an uplink that roam6 manages: "+quoted(other)+" leaves it to another DHCPv6 client, which is the one to ask for prefixes")
		}
	}
	return list
}

// uplinkUse is who has which uplink.
type uplinkUse struct {
	all     []string // in the order of the file, each once
	enabled map[string]bool
}

func (s sections) uplinkUse() uplinkUse {
	use := uplinkUse{enabled: map[string]bool{}}
	add := func(name string, enabled bool) {
		if name == "" {
			return
		}
		if _, known := use.enabled[name]; !known {
			use.all = append(use.all, name)
		}
		use.enabled[name] = use.enabled[name] || enabled
	}
	for _, e := range s.mobileNodes {
		for _, name := range e.value.Uplinks {
			add(name, e.enabled)
		}
	}
	for _, e := range s.requests {
		add(e.value.Uplink, e.enabled)
	}
	return use
}

// maxPools is how many a home agent may have: each mobile's prefixes are
// compared with all of them.
const maxPools = 16

// delegates reports whether a home agent section is about delegation.
func (s section) delegates() bool { return s.has(optionPool) || s.has(optionServer) }

// completeDelegation gives what a home agent delegates; nil where it does not.
func (s section) completeDelegation(h HomeAgent, d Delegation) *Delegation {
	settings := [...]string{optionLength, "delegation_preferred", "delegation_lifetime"}
	refuse := func(expected string) {
		for _, option := range settings {
			if s.has(option) {
				s.wrong(option, 0, expected)
			}
		}
	}
	switch {
	case !s.delegates():
		refuse("a " + optionPool + " in the section, of whose prefixes this is said")
		return nil
	case s.has(optionServer):
		if s.has(optionPool) {
			s.wrong(optionServer, 0, "no server, because there is a "+optionPool+"; or no pool")
			return nil
		}
		refuse("no such option, because of " + optionServer + ": the server decides")
		if d.Server.IsValid() && d.Server == h.Address {
			s.wrong(optionServer, 0, "the address of another node, not the home agent's own")
		}
		return &Delegation{Server: d.Server}
	}
	if len(d.Pools) > maxPools {
		s.wrong(optionPool, maxPools, fmt.Sprintf("at most %d pools; there are %d", maxPools, len(d.Pools)))
	}
	for i, pool := range d.Pools {
		switch {
		case pool.Bits() <= d.Length:
		case s.has(optionLength):
			s.wrong(optionLength, 0, fmt.Sprintf("at least the length of the pool %v", pool))
			return &d
		default:
			s.wrong(optionPool, i, fmt.Sprintf("a pool of at most %d bits, or a %s of %d or more", d.Length, optionLength, pool.Bits()))
		}
	}
	if d.Valid < d.Preferred {
		option := "delegation_lifetime"
		if !s.has(option) {
			option = "delegation_preferred"
		}
		s.wrong(option, 0, fmt.Sprintf("a delegation_preferred (%d) that is not greater than delegation_lifetime (%d)",
			d.Preferred/time.Second, d.Valid/time.Second))
	}
	return &d
}

// completeDelegate decides whether a mobile is a router, and whether it gets
// prefixes by delegation of its home agent, which is nil where that is unknown.
func (s section) completeDelegate(m *Mobile, agent *entry[homeAgentDraft]) {
	if !s.has("router") {
		m.Router = len(m.Prefixes) > 0 || m.Delegate
	} else if !m.Router && len(m.Prefixes) > 0 {
		s.wrong("router", 0, "1, because there are prefixes; or no prefixes")
	}
	if agent == nil {
		return
	}
	switch {
	case !s.has(optionDelegate):
		m.Delegate = m.Router && agent.delegates()
	case m.Delegate && !m.Router:
		s.wrong(optionDelegate, 0, "0, because router is 0: only mobile routers get prefixes")
	case m.Delegate && !agent.delegates():
		s.wrong(optionDelegate, 0, "0; or a "+optionPool+" or "+optionServer+" in "+quoted(agent.section))
	}
	if s.has(optionDUID) && !m.Delegate {
		s.wrong(optionDUID, 0, "a mobile router that gets prefixes by delegation, whose identifier this would be")
	}
}

// checkPools checks that no mobile's prefix is one that a home agent could
// delegate to another mobile.
func (s section) checkPools(m Mobile, agents []entry[homeAgentDraft]) {
	for i, prefix := range m.Prefixes {
		for _, agent := range agents {
			for _, pool := range agent.value.delegation.Pools {
				if agent.enabled && pool.Overlaps(prefix) {
					s.wrong(optionPrefix, i, fmt.Sprintf("a prefix that does not overlap the %s %v of %s", optionPool, pool, quoted(agent.section)))
				}
			}
		}
	}
}
