package mip6dconf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"roam6/internal/translation"
	"roam6/internal/uci"
)

// pair is a home address with one of its home agents.
type pair struct{ home, agent netip.Addr }

// protected are the policies of a pair, of all sets together.
type protected struct {
	pair
	at       uci.Position
	policies []IPsecPolicy
}

// ipsec makes a section of each home address that IPsec protects and that has a
// section.
func (t *translator) ipsec() {
	if len(t.IPsecPolicySets) > 0 && (!t.UseMnHaIPsec.or(true) || t.NodeConfig.Value == Correspondent) {
		t.say(t.IPsecPolicySets[0].Position, true, "IPsecPolicySet: without effect, because there is no MN or HA that uses IPsec")
		return
	}
	if k := t.KeyMngMobCapability; k.Value && len(t.IPsecPolicySets) == 0 && t.NodeConfig.Value != Correspondent {
		t.say(k.Position, false, "KeyMngMobCapability: left out: there is no IPsecPolicySet; an ipsec section with ike '1' makes keys")
	}
	var all []*protected
	known := map[pair]*protected{}
	for _, s := range t.IPsecPolicySets {
		for _, h := range s.HomeAddresses {
			p := pair{h.Addr(), s.HomeAgent}
			with, served := t.agentOf[p.home]
			switch {
			case known[p] != nil:
			case !served:
				t.say(h.Position, true, "HomeAddress %v: the policies are left out, because this node has no such mobile", p.home)
				continue
			case with.IsValid() && with != p.agent:
				t.say(h.Position, true, "HomeAddress %v: the policies with %v are left out, because its home agent is %v", p.home, p.agent, with)
				continue
			case !usable(p.agent):
				t.say(h.Position, false, "HomeAgentAddress %v: cannot be a home agent's address: the policies of %v are left out", p.agent, p.home)
				continue
			default:
				known[p] = &protected{pair: p, at: h.Position}
				all = append(all, known[p])
			}
			known[p].policies = append(known[p].policies, s.Policies...)
		}
	}
	for _, p := range all {
		t.protect(p)
	}
}

// protect makes one section.
func (t *translator) protect(p *protected) {
	s := t.begin("ipsec", "")
	s.Set("home_address", p.home.String())
	s.Set("home_agent", p.agent.String())
	var does [numPolicyTypes]bool
	for _, x := range p.policies {
		if x.Others {
			s.Note(x.Position, "IPsecPolicy %v: UseAH and UseIPComp are left out: %s", x.Type, keyword("UseAH", "IPsecPolicy").Note)
		}
		if !x.Allow {
			s.Note(x.Position, "IPsecPolicy %v: left out: roam6 has no policies that block", x.Type)
		}
		switch {
		case !x.ESP || !x.Allow:
		case x.Type == TunnelPayload && !t.onlyOne(p.agent):
			s.Note(x.Position, "IPsecPolicy %v: left out: roam6 protects what tunnels carry for one home address with %v, and here are several: what goes through the tunnel goes in clear", x.Type, p.agent)
		default:
			does[x.Type] = true
		}
	}
	if does[TunnelPayload] {
		s.Switch("payload", true)
	}
	if t.KeyMngMobCapability.Value {
		s.Switch("ike", true)
		s.Note(t.KeyMngMobCapability.Position, "KeyMngMobCapability: of %v with %v has to be filled in: option psk, or local_cert, local_key and ca, and identities where they are no addresses; strongSwan makes the keys", p.home, p.agent)
	} else {
		t.keysMissing(s, p, does)
	}
	t.add(s)
}

// keysMissing says which keys have to be filled in, and what mip6d's file says of
// them.
func (t *translator) keysMissing(s *translation.Builder, p *protected, does [numPolicyTypes]bool) {
	options := []string{"spi_to_agent, key_to_agent, spi_to_mobile and key_to_mobile"}
	if does[TunnelHomeTesting] || does[TunnelMH] {
		options = append(options, "the four with tunnel in their names")
	}
	if does[TunnelPayload] {
		options = append(options, "the four with payload in their names, whose SPIs are 2147483648 and more")
	}
	var requests []string
	for _, x := range p.policies {
		if x.RequestID != [2]uint32{} {
			if text := fmt.Sprintf("%v %d and %d", x.Type, x.RequestID[0], x.RequestID[1]); !slices.Contains(requests, text) {
				requests = append(requests, text)
			}
		}
	}
	ids := ""
	if len(requests) > 0 {
		const most = 8
		if len(requests) > most {
			requests = append(requests[:most], "…")
		}
		ids = " (request ids, to the home agent and to the mobile: " + strings.Join(requests, ", ") + ")"
	}
	s.Note(p.at, "IPsecPolicySet: of %v with %v has to be filled in: options %s: SPIs and keys of the associations that setkey or ip xfrm sets up%s, if these are AES-CBC with HMAC-SHA-256; otherwise new ones, the same on both sides",
		p.home, p.agent, strings.Join(options, "; "), ids)
}
