package config

import (
	"net/netip"
	"slices"

	"roam6/internal/esp"
	"roam6/overlay"
)

// Options of ipsec sections for what the tunnel carries.
const (
	optionPayload          = "payload"
	optionSPIPayloadAgent  = "spi_payload_to_agent"
	optionKeyPayloadAgent  = "key_payload_to_agent"
	optionSPIPayloadMobile = "spi_payload_to_mobile"
	optionKeyPayloadMobile = "key_payload_to_mobile"
)

// leastPayloadSPI divides the SPIs in two: those of signalling are below, so that its
// socket, which takes a range of them from the wire, does not take every packet of
// every tunnel besides.
const leastPayloadSPI = 1 << 31

// payloadDraft is what an ipsec section says of the tunnel's payload.
type payloadDraft struct {
	on                bool
	toAgent, toMobile halfAssociation
}

func payloadOptions() []option[ipsecDraft] {
	spi := func(name string, field func(*payloadDraft) *halfAssociation) option[ipsecDraft] {
		return one(name, integer[uint32](leastPayloadSPI, 0xffffffff, ""), func(d *ipsecDraft) *uint32 { return &field(&d.payload).spi }).
			dependent("none; required with payload, without ike")
	}
	key := func(name string, field func(*payloadDraft) *halfAssociation) option[ipsecDraft] {
		return one(name, espKey(), func(d *ipsecDraft) *esp.Key { return &field(&d.payload).key }).
			dependent("none; required with payload, without ike")
	}
	toAgent := func(p *payloadDraft) *halfAssociation { return &p.toAgent }
	toMobile := func(p *payloadDraft) *halfAssociation { return &p.toMobile }
	return []option[ipsecDraft]{
		one(optionPayload, boolean(), func(d *ipsecDraft) *bool { return &d.payload.on }).fallback("0").
			help("Whether all that the tunnel carries is in ESP, too (RFC 4877 §4.3), both ways; what comes without it is dropped. The kernel does it: on OpenWrt install kmod-ipsec6, elsewhere load esp6. Without that roam6 does not start: nothing goes in clear instead. " +
				"With `ike` strongSwan negotiates the keys of this, too, in place of the next four options. " +
				"Only with AES-CBC and HMAC-SHA-256: `algorithm` 'aes-gcm' is for signalling alone. Without `route_optimization` and `hierarchy`, whose packets are in no such tunnel. " +
				"With `prefix_delegation`, what the mobile router and the home agent themselves say to each other, from home address to home agent, is not in the tunnel either; what is forwarded is. " +
				"The tunnel takes 74 to 89 octets more than without (1,406 of 1,500 remain for a packet). The firewall has to let ESP (protocol 50) in. " +
				"There is no anti-replay window, since each care-of address has sequence numbers of its own: what is recorded can be sent again from where the mobile is."),
		spi(optionSPIPayloadAgent, toAgent).
			help("The security parameter index of what the mobile sends through the tunnel. SPIs of this half are for that alone; no other section of the home agent has the same."),
		key(optionKeyPayloadAgent, toAgent).
			help("The key of that, made as `key_to_agent` is, and another one."),
		spi(optionSPIPayloadMobile, toMobile).
			help("The security parameter index of what the home agent sends through the tunnel. No other section of the mobile has the same."),
		key(optionKeyPayloadMobile, toMobile).
			help("The key of that."),
	}
}

func payloadOptionNames() []string {
	return []string{optionSPIPayloadAgent, optionKeyPayloadAgent, optionSPIPayloadMobile, optionKeyPayloadMobile}
}

// checkPayload checks what a section says of payload by itself.
func (e *ipsecEntry) checkPayload() {
	options := payloadOptionNames()
	if i := slices.IndexFunc(options, e.has); i >= 0 && !e.has(optionPayload) {
		e.missing(optionPayload, "1, or 0 for none, because there is "+options[i])
	}
	if !e.value.payload.on {
		return
	}
	for _, option := range options {
		if !e.value.exchange.enabled && !e.has(option) {
			e.missing(option, "with "+optionPayload+" all of "+options[0]+", "+options[1]+", "+options[2]+" and "+options[3])
		}
	}
	if e.value.algorithm == esp.AESGCM {
		why := ": a configured key outlives restarts and hand-overs, each of which begins its initialization vectors anew, and with AES-GCM one that comes twice lets others read and forge (RFC 8221 §3)"
		if e.value.exchange.enabled {
			why = ": a hand-over begins the initialization vectors of a key anew, and with AES-GCM one that comes twice lets others read and forge (RFC 4106 §2)"
		}
		e.wrong(optionAlgorithm, 0, esp.AESCBCSHA256.String()+", because of "+optionPayload+why)
	}
}

// payloadAssociations are those for payload, in the order of the table.
func (e *ipsecEntry) payloadAssociations() []namedAssociation {
	p := e.value.payload
	return []namedAssociation{
		{p.toAgent, optionSPIPayloadAgent, optionKeyPayloadAgent, true},
		{p.toMobile, optionSPIPayloadMobile, optionKeyPayloadMobile, false},
	}
}

// addPayload adds what a section says of payload to its policy.
func (e *ipsecEntry) addPayload(p *esp.Policy) {
	v := e.value.payload
	if !v.on {
		return
	}
	make := func(h halfAssociation) *esp.Association {
		return &esp.Association{SPI: h.spi, Algorithm: e.value.algorithm, Key: h.key}
	}
	out, in := make(v.toAgent), make(v.toMobile)
	if p.Side == overlay.AgentSide {
		out, in = in, out
	}
	p.PayloadOut, p.PayloadIn = out, in
}

// spiSpace is how SPIs that this node receives by are divided.
type spiSpace struct {
	payload bool      // some are for payload
	high    []namedIn // of signalling, in payload's half
}

// divided notes an SPI of a receiver, which is invalid for this node.
func (x *spiSpace) divided(receiver netip.Addr, s section, o namedAssociation) {
	switch {
	case receiver.IsValid() || o.spi == 0:
	case o.spiOption == optionSPIPayloadAgent || o.spiOption == optionSPIPayloadMobile:
		x.payload = true
	case o.spi >= leastPayloadSPI:
		x.high = append(x.high, namedIn{s, o.spiOption})
	}
}

// checkSpace reports signalling in payload's half.
func (x *spiSpace) checkSpace() {
	if !x.payload {
		return
	}
	for _, n := range x.high {
		n.section.wrong(n.option, 0, "an integer from 256 to 2147483647, because a section has "+optionPayload+", whose SPIs are those above")
	}
}

// checkPayloads checks sections with payload against the mobiles that they are for, and
// against each other.
func (p protections) checkPayloads(s sections) {
	for i := range s.mobileNodes {
		node := &s.mobileNodes[i]
		if !node.enabled {
			continue
		}
		for _, e := range p.of[node.value.HomeAddress.Addr()] {
			if e.value.payload.on {
				e.checkPayloadOf(node, s.mobileNodes)
			}
		}
	}
}

func (e *ipsecEntry) checkPayloadOf(node *entry[mobileNodeDraft], all []entry[mobileNodeDraft]) {
	because := ", because " + quoted(e.section) + " has " + optionPayload + ": "
	if node.value.RouteOptimisation != TunnelledRoutes {
		node.wrong("route_optimization", 0, "off"+because+"optimised routes are beside the tunnel, and not encrypted")
	}
	if node.value.Hierarchy {
		node.wrong("hierarchy", 0, "0"+because+"a tunnel through that of an anchor cannot be encrypted")
	}
	for i := range all {
		other := &all[i]
		if other.enabled && other.Position != node.Position && slices.Contains(other.value.HomeAgents, e.value.agent) {
			e.wrong(optionPayload, 0, "0, because "+quoted(other.section)+" has the same home agent: the kernel could not tell the packets of both tunnels apart, which have the same outer addresses")
		}
	}
}
