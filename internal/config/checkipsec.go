package config

import (
	"net/netip"
	"slices"

	"roam6/internal/esp"
	"roam6/internal/ike"
	"roam6/overlay"
)

// ipsecEntry is an ipsec section.
type ipsecEntry struct{ entry[ipsecDraft] }

// ipsecEntries are ipsec sections, in the order of the file.
type ipsecEntries []*ipsecEntry

// protections are the ipsec sections of a file, by home address.
type protections struct {
	all ipsecEntries
	of  map[netip.Addr]ipsecEntries
}

// ipsec checks the ipsec sections, each by itself.
func ipsec(entries []entry[ipsecDraft]) protections {
	p := protections{of: map[netip.Addr]ipsecEntries{}}
	for _, e := range entries {
		own := &ipsecEntry{e}
		own.checkExchange()
		own.checkTunnel()
		own.checkPayload()
		own.checkKeys()
		p.all = append(p.all, own)
		if home := e.value.home; home.IsValid() {
			p.of[home] = append(p.of[home], own)
		}
	}
	return p
}

// between is the section for a home agent, of those of a home address; nil if there
// is none.
func (l ipsecEntries) between(agent netip.Addr) *ipsecEntry {
	for _, e := range l {
		if e.value.agent == agent {
			return e
		}
	}
	return nil
}

// tunnelOptions are those of tunnel mode: all or none.
func tunnelOptions() []string {
	return []string{optionSPITunnelAgent, optionKeyTunnelAgent, optionSPITunnelMobile, optionKeyTunnelMobile}
}

// tunnels reports whether home tests are protected.
func (e *ipsecEntry) tunnels() bool { return slices.ContainsFunc(tunnelOptions(), e.has) }

func (e *ipsecEntry) checkTunnel() {
	options := tunnelOptions()
	i := slices.IndexFunc(options, e.has)
	if i < 0 {
		return
	}
	for _, option := range options {
		if !e.has(option) {
			e.missing(option, "with "+options[i]+" all of "+options[0]+", "+options[1]+", "+options[2]+" and "+options[3])
		}
	}
}

// checkKeys checks that the keys are of a length that the algorithm has.
func (e *ipsecEntry) checkKeys() {
	for _, o := range e.associations() {
		e.checkKey(e.value.algorithm, o)
	}
}

// namedAssociation is one of a section's associations with its options.
type namedAssociation struct {
	halfAssociation
	spiOption, keyOption string
	toAgent              bool // the home agent, or the anchor, receives by it
}

// associations are those of a section, in the order of its table.
func (e *ipsecEntry) associations() []namedAssociation {
	return append([]namedAssociation{
		{e.value.toAgent, optionSPIToAgent, optionKeyToAgent, true},
		{e.value.toMobile, optionSPIToMobile, optionKeyToMobile, false},
		{e.value.tunnelToAgent, optionSPITunnelAgent, optionKeyTunnelAgent, true},
		{e.value.tunnelToMobile, optionSPITunnelMobile, optionKeyTunnelMobile, false},
	}, e.payloadAssociations()...)
}

// policy is what a section says, seen from one side.
func (e *ipsecEntry) policy(side overlay.Side) esp.Policy {
	if e.value.exchange.enabled {
		return e.exchanged(side)
	}
	send := func(h halfAssociation) esp.Association {
		return esp.Association{SPI: h.spi, Algorithm: e.value.algorithm, Key: h.key}
	}
	receive := func(h halfAssociation) esp.Association {
		a := send(h)
		a.Window = e.value.window
		return a
	}
	v := e.value
	if side == overlay.AgentSide {
		v.toAgent, v.toMobile = v.toMobile, v.toAgent
		v.tunnelToAgent, v.tunnelToMobile = v.tunnelToMobile, v.tunnelToAgent
	}
	p := esp.Policy{Home: v.home, Agent: v.agent, Side: side, Out: send(v.toAgent), In: receive(v.toMobile)}
	if e.tunnels() {
		out, in := send(v.tunnelToAgent), receive(v.tunnelToMobile)
		p.TunnelOut, p.TunnelIn = &out, &in
	}
	e.addPayload(&p)
	return p
}

// mobilePolicies gives the policies of a mobile, one for each of its home agents, and
// the key exchanges of those that have one; own are the ipsec sections of its home
// address. None are there where there are errors.
func (s section) mobilePolicies(m MobileNode, own ipsecEntries) (policies []esp.Policy, exchanges []ike.Peer) {
	if len(own) == 0 {
		return nil, nil
	}
	why := ", because " + quoted(own[0].section) + " protects the signalling: home agents that are found have no keys"
	switch {
	case !s.has(optionHomeAgent):
		if m.Discover { // otherwise it is reported already
			s.missing(optionHomeAgent, "the address of the home agent"+why)
		}
		return nil, nil
	case m.Discover:
		s.wrong("discover", 0, "0"+why)
	}
	for _, e := range own {
		if len(m.HomeAgents) > 0 && e.value.agent.IsValid() && !slices.Contains(m.HomeAgents, e.value.agent) {
			e.wrong(optionHomeAgent, 0, "a home_agent of "+quoted(s))
		}
	}
	for i, agent := range m.HomeAgents {
		if e := own.between(agent); e != nil {
			policies = append(policies, e.policy(overlay.MobileSide))
			if p := e.peer(overlay.MobileSide); p != nil {
				exchanges = append(exchanges, *p)
			}
			if x, first := e.value.exchange, own[0].value.exchange; x.enabled != first.enabled || x.mobike != first.mobike {
				e.wrong(optionIKE, 0, "the same as in "+quoted(own[0].section)+", and the same "+optionMOBIKE+": the home address is the same")
			}
		} else if !slices.ContainsFunc(own, func(e *ipsecEntry) bool { return !e.sound }) {
			s.wrong(optionHomeAgent, i, "a home agent with an ipsec section for "+m.HomeAddress.Addr().String()+
				", as there is "+quoted(own[0].section)+" for "+own[0].value.agent.String())
		}
	}
	return policies, exchanges
}

// agentPolicy gives the policy for a mobile that a home agent serves, and the key
// exchange if there is one; nil where its signalling is not protected.
func (s section) agentPolicy(m Mobile, agent *entry[homeAgentDraft], own ipsecEntries) (*esp.Policy, *ike.Peer) {
	if len(own) > 0 && m.Replay == ReplayTimestamp && !s.has(optionKey) {
		s.wrong("replay", 0, "sequence; or a key, because updates carry timestamps under its authenticator only (RFC 4285 §6)")
	}
	for _, e := range own {
		if e.value.agent.IsValid() && agent.value.Address.IsValid() && e.value.agent != agent.value.Address {
			e.wrong(optionHomeAgent, 0, "the address of "+quoted(agent.section)+", which serves "+quoted(s))
		}
	}
	e := own.between(agent.value.Address)
	if e == nil {
		return nil, nil
	}
	p := e.policy(overlay.AgentSide)
	return &p, e.peer(overlay.AgentSide)
}

// check checks the ipsec sections against each other, and that each is of one
// mobile.
func (p protections) check(s sections, seen *associationsSeen) {
	owners := s.owners()
	pairs := map[[2]netip.Addr]section{}
	for _, e := range p.all {
		if !e.value.home.IsValid() || !e.value.agent.IsValid() {
			continue
		}
		distinct(pairs, [2]netip.Addr{e.value.home, e.value.agent}, e.section, optionHomeAgent, 0, "a home agent")
		node, mobile := owners[e.value.home].node, owners[e.value.home].mobile
		switch {
		case node == nil && mobile == nil:
			e.wrong("home_address", 0, "the home address of a mobile_node, mobile_router or mobile section")
			continue
		case node != nil && mobile != nil:
			e.wrong("home_address", 0, "an address that is either this node's or one that it serves; "+quoted(*node)+" and "+quoted(*mobile)+" have it both")
			continue
		}
		for _, o := range e.associations() {
			receiver := e.value.home
			switch {
			case o.toAgent == (mobile != nil):
				receiver = netip.Addr{} // this node
			case o.toAgent:
				receiver = e.value.agent
			}
			seen.receives(receiver, e.section, o)
			seen.divided(receiver, e.section, o)
			seen.keyed(e.value.algorithm, e.section, o)
		}
	}
}

// associationsSeen are those of all sections so far.
type associationsSeen struct {
	indices map[receivedSPI]namedIn
	keys    map[esp.Key]namedIn // with AES-GCM
	spiSpace
}

func newAssociationsSeen() *associationsSeen {
	return &associationsSeen{indices: map[receivedSPI]namedIn{}, keys: map[esp.Key]namedIn{}}
}

// receives notes an SPI of a receiver, which has each once.
func (x *associationsSeen) receives(receiver netip.Addr, s section, o namedAssociation) {
	if o.spi != 0 {
		once(x.indices, receivedSPI{receiver, o.spi}, s, o.spiOption, "an SPI")
	}
}

// keyed notes a key, of which there is no second one with AES-GCM.
func (x *associationsSeen) keyed(a esp.Algorithm, s section, o namedAssociation) {
	if a == esp.AESGCM && o.key != "" {
		once(x.keys, o.key, s, o.keyOption, "with "+optionAlgorithm+" '"+esp.AESGCM.String()+"' a key")
	}
}

// receivedSPI is an SPI and whose: invalid stands for this node, whatever its
// address.
type receivedSPI struct {
	receiver netip.Addr
	spi      uint32
}

// namedIn is an option and where it is.
type namedIn struct {
	section section
	option  string
}

// once reports a value that another option has, too.
func once[K comparable](seen map[K]namedIn, key K, s section, option, what string) {
	other, ok := seen[key]
	switch {
	case !ok:
		seen[key] = namedIn{s, option}
	case other.section.Section == s.Section:
		s.wrong(option, 0, what+" that is not that of "+other.option+", too")
	default:
		s.wrong(option, 0, what+" that "+other.option+" of "+quoted(other.section)+" does not have")
	}
}

// owner is who has a home address: a mobile of this machine, or one that it serves;
// nil where there is none.
type owner struct{ node, mobile *section }

// owners are those of all home addresses, enabled or not.
func (s sections) owners() map[netip.Addr]owner {
	all := make(map[netip.Addr]owner, len(s.mobileNodes)+len(s.mobiles))
	for i := range s.mobileNodes {
		home := s.mobileNodes[i].value.HomeAddress.Addr()
		all[home] = owner{&s.mobileNodes[i].section, nil}
	}
	for i := range s.mobiles {
		home := s.mobiles[i].value.HomeAddress
		all[home] = owner{all[home].node, &s.mobiles[i].section}
	}
	return all
}

// HomeTestsReadable reports whether routes are optimised and home test messages go
// through the tunnel without ESP although the other signalling has it: RFC 3776
// §4.1 and RFC 6275 §10.4.6 say that they should not.
func (m MobileNode) HomeTestsReadable() bool {
	return m.RouteOptimisation != TunnelledRoutes && slices.ContainsFunc(m.ESP, func(p esp.Policy) bool { return p.TunnelOut == nil && p.Negotiated == nil })
}
