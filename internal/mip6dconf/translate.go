package mip6dconf

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"roam6/internal/translation"
	"roam6/internal/uci"
)

// Limits of roam6's options.
const (
	leastLifetime                    = 8
	leastTimeout, longestTimeout     = 500 * time.Millisecond, 32 * time.Second
	mostMinInterval, mostMaxInterval = 86400, 604800
)

// Defaults of mip6d.
const (
	defaultMinInterval, defaultMaxInterval = 600, 86400
)

// Translate makes roam6's configuration of mip6d's. A note is harmless where
// packets of signalling and data go as they went with mip6d, but for timing.
// Keys are not in mip6d's file: what has to be filled in is in notes that are
// not harmless, and roam6 does not take the translation before.
func Translate(f *File) translation.Translation {
	t := translator{File: f, agentOf: map[netip.Addr]netip.Addr{}}
	t.globals()
	for _, r := range f.Repeated {
		t.say(r.Position, true, "%s: without effect, since the option is given again further down", r.Option)
	}
	for _, n := range f.NotFound {
		t.say(n.Position, false, "include: no file fits %q", n.Value)
	}
	for _, p := range f.Proxy {
		t.say(p.Position, false, "%s: left out: %s", p.Keyword, keyword(p.Keyword, "").Note)
	}
	t.forOthers()
	switch f.NodeConfig.Value {
	case Mobile:
		t.mobiles()
	case HomeAgent:
		t.homeAgents()
	case ProxyAnchor, ProxyGateway:
		t.say(f.NodeConfig.Position, false, "NodeConfig %v: left out: roam6 has no Proxy Mobile IPv6", f.NodeConfig.Value)
		return t.end()
	}
	t.leftOutOfAll()
	t.ipsec()
	t.correspondent()
	return t.end()
}

// translator is a translation under way.
type translator struct {
	*File
	translation.Translation
	// agentOf has the home addresses for which there is a section, each with the
	// address of its home agent; an invalid one where that is to be discovered.
	agentOf map[netip.Addr]netip.Addr
}

func (t *translator) end() translation.Translation {
	t.SortNotes()
	return t.Translation
}

// begin begins a section.
func (t *translator) begin(kind, name string) *translation.Builder {
	return translation.Begin(&t.Notes, kind, name)
}

func (t *translator) add(b *translation.Builder) { t.Sections = append(t.Sections, b.Section) }

// say notes what belongs to no section.
func (t *translator) say(at uci.Position, harmless bool, format string, values ...any) {
	t.Notes = append(t.Notes, translation.Note{Position: at, Harmless: harmless, Text: fmt.Sprintf(format, values...)})
}

// leftOut notes that an option was not carried over, for the reason of the table.
func (t *translator) leftOut(name string, at uci.Position, harmless bool) {
	t.say(at, harmless, "%s: left out: %s", name, keyword(name, "").Note)
}

// globals is what concerns the daemon as a whole.
func (t *translator) globals() {
	if t.DebugLevel.Value > 0 {
		s := t.begin("globals", "globals")
		s.Set("log_level", "debug")
		t.add(s)
	}
}

// forOthers notes the options that mip6d does not use for what it is here.
func (t *translator) forOthers() {
	whose := map[string]Entity{homeAgents: HomeAgent, mobiles: Mobile}
	without := func(keyword string, at uci.Position, nodes string) {
		if e, ok := whose[nodes]; ok && e != t.NodeConfig.Value {
			t.say(at, true, "%s: without effect, because it is for %v, and NodeConfig is %v", keyword, e, t.NodeConfig.Value)
		}
	}
	nodes := map[string]string{}
	for _, k := range Keywords() {
		if k.In == "" {
			nodes[k.Name] = k.Nodes
		}
	}
	for _, g := range t.Given {
		without(g.Keyword, g.Position, nodes[g.Keyword])
	}
	for _, h := range t.HomeLinks {
		without("MnHomeLink", h.Position, nodes["MnHomeLink"])
	}
}

// leftOutOfAll notes the options that roam6 does not have, whatever it is.
func (t *translator) leftOutOfAll() {
	given := func(name string, at uci.Position, is, harmless bool) {
		if is {
			t.leftOut(name, at, harmless)
		}
	}
	given("DebugLogFile", t.DebugLogFile.Position, t.DebugLogFile.Given, true)
	given("NonVolatileBindingCache", t.NonVolatileBindingCache.Position, t.NonVolatileBindingCache.Value, true)
	given("TunnelPayloadForceSANego", t.TunnelPayloadForceSANego.Position, t.TunnelPayloadForceSANego.Value, true)
	given("UseMovementModule", t.UseMovementModule.Position, t.UseMovementModule.Value != "", true)
	given("UsePolicyModule", t.UsePolicyModule.Position, t.UsePolicyModule.Given, false)
}

// correspondent is the role that every node of mip6d has beside its own.
func (t *translator) correspondent() {
	optimises := t.DoRouteOptimizationCN.or(true)
	s := t.begin("correspondent", "")
	for _, p := range t.PeerPolicies {
		if p.Accept != optimises {
			s.Note(p.Position, "CnBindingPolicySet: %v is left out: %s", p.HomeAddress, keyword("CnBindingPolicySet", "").Note)
		}
	}
	if !optimises {
		s.Switch("enabled", false)
	}
	t.add(s)
}

// within writes a number within roam6's limits.
func within(s *translation.Builder, keyword, option string, v Setting[uint32], least, most uint32) {
	if !v.Given {
		return
	}
	n := min(max(v.Value, least), most)
	if n != v.Value {
		s.Harmless(v.Position, "%s %d: %d here, which is as near as roam6 comes", keyword, v.Value, n)
	}
	s.Number(option, int64(n))
}

// usable reports whether an address can be that of a node.
func usable(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.Is4In6() }

// networks writes the prefixes of a mobile network.
func networks(s *translation.Builder, option string, all []Prefix) {
	var texts []string
	for _, n := range all {
		if n.Masked() != n.Prefix {
			s.Remark(n.Position, "%v is the prefix %v", n.Prefix, n.Masked())
		}
		if text := n.Masked().String(); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	s.List(option, texts...)
}

// numbered names the sections of a kind.
func numbered(kind string, i, of int) string {
	if of == 1 {
		return kind
	}
	return kind + strconv.Itoa(i+1)
}

// credentials says how a mobile and its home agent know each other, where no
// ipsec section of theirs does.
func (t *translator) credentials(s *translation.Builder, home netip.Addr) {
	switch use := t.UseMnHaIPsec; {
	case use.Given && !use.Value:
		s.Note(use.Position, "UseMnHaIPsec disabled: insecure '1' does without authentication as mip6d did: anybody can redirect the traffic of %v; an option key with 32 hexadecimal digits, the same on both sides, is better", home)
		s.Switch("insecure", true)
	case len(t.sets(home)) == 0:
		s.Note(use.Position, "%v: option key has to be filled in, with 32 hexadecimal digits, the same on both sides: there is no IPsecPolicySet for the address and its home agent", home)
	}
}

// sets are the policy sets in use of a home address with its home agent.
func (t *translator) sets(home netip.Addr) (all []IPsecPolicySet) {
	if !t.UseMnHaIPsec.or(true) {
		return nil
	}
	for _, s := range t.IPsecPolicySets {
		with := t.agentOf[home]
		if (!with.IsValid() || with == s.HomeAgent) && slices.ContainsFunc(s.HomeAddresses, func(p Prefix) bool { return p.Addr() == home }) {
			all = append(all, s)
		}
	}
	return all
}

// hasPayload reports whether IPsec protects what the tunnel of a home address
// carries, and can with roam6, too.
func (t *translator) hasPayload(home netip.Addr) bool {
	return slices.ContainsFunc(t.sets(home), func(s IPsecPolicySet) bool {
		return t.onlyOne(s.HomeAgent) && slices.ContainsFunc(s.Policies, func(p IPsecPolicy) bool { return p.Type == TunnelPayload && p.ESP && p.Allow })
	})
}

// onlyOne reports whether a mobile has no two home addresses with a home agent:
// the kernel could not tell the packets of both tunnels apart, which have the same
// outer addresses.
func (t *translator) onlyOne(agent netip.Addr) bool {
	n := 0
	for _, a := range t.agentOf {
		if !a.IsValid() || a == agent {
			n++
		}
	}
	return n <= 1 || t.NodeConfig.Value == HomeAgent
}
