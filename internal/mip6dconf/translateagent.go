package mip6dconf

import (
	"net/netip"
	"slices"
	"strings"

	"roam6/internal/translation"
	"roam6/internal/uci"
)

// agent is a home agent under translation.
type agent struct {
	name, link string
	address    netip.Addr   // invalid: not in the file
	prefix     netip.Prefix // of the home link; invalid: not in the file
}

// served is a mobile under translation.
type served struct {
	home     netip.Addr
	at       uci.Position
	networks []Prefix
}

// bitsOfHome is the length of home prefixes whose length no file tells.
const bitsOfHome = 64

// homeAgents makes the sections of home agents and of their mobiles.
func (t *translator) homeAgents() {
	mobiles := t.served()
	agents := t.agents(mobiles)
	for i, a := range agents {
		t.homeAgent(a, i == 0)
	}
	outside := false
	for i, m := range mobiles {
		at := slices.IndexFunc(agents, func(a agent) bool { return a.prefix.IsValid() && a.prefix.Contains(m.home) })
		if at < 0 && slices.ContainsFunc(agents, func(a agent) bool { return a.prefix.IsValid() }) {
			outside = true
			t.say(m.at, false, "%v: left out: it is in no home prefix, and roam6 has no home addresses elsewhere", m.home)
			continue
		}
		t.agentOf[m.home] = agents[max(at, 0)].address
		s := t.begin("mobile", numbered("mobile", i, len(mobiles)))
		s.Set("home_address", m.home.String())
		if len(agents) > 1 {
			s.Set("home_agent", agents[max(at, 0)].name)
		}
		t.mayHaveNetworks(s, m)
		t.credentials(s, m.home)
		t.add(s)
	}
	for _, p := range t.ServedPrefixes {
		t.say(p.Position, !outside, "HaServedPrefix %v: left out: %s", p.Prefix, keyword("HaServedPrefix", "").Note)
	}
	if d := t.DefaultBindingAclPolicy; d.or(Accepted).accepts() {
		t.say(d.Position, false, "DefaultBindingAclPolicy allow, which is the default: %s", keyword("DefaultBindingAclPolicy", "").Note)
	}
}

// served are the mobiles that the file names, those of policies first.
func (t *translator) served() (all []served) {
	known := map[netip.Addr]bool{}
	add := func(m served, what string) {
		switch {
		case !usable(m.home):
			t.say(m.at, false, "%s %v: cannot be a home address: left out", what, m.home)
		case known[m.home] && what == "BindingAclPolicy":
			t.say(m.at, false, "BindingAclPolicy %v: there is one for the address already: left out", m.home)
		case !known[m.home]:
			all = append(all, m)
		}
		known[m.home] = true
	}
	for _, b := range t.BindingACL {
		if b.Verdict.accepts() {
			add(served{b.HomeAddress, b.Position, b.Networks}, "BindingAclPolicy")
			continue
		}
		known[b.HomeAddress] = true
		t.say(b.Position, true, "BindingAclPolicy %v: left out: nobody is served who has no mobile section", b.HomeAddress)
	}
	for _, s := range t.IPsecPolicySets {
		for _, h := range s.HomeAddresses {
			add(served{home: h.Addr(), at: h.Position}, "HomeAddress")
		}
	}
	return all
}

// agents are the home agents: one an interface, or one an address of IPsec's
// policies where there are more of these.
func (t *translator) agents(mobiles []served) (all []agent) {
	var links []string
	for _, i := range t.Interfaces {
		switch {
		case !translation.IsDevice(i.Name):
			t.say(i.Position, false, "Interface: %q cannot be the name of a network device: left out", i.Name)
		case slices.Contains(links, i.Name):
			t.say(i.Position, false, "Interface: %s is there already: left out", i.Name)
		case i.IfType.Given && i.IfType.Value == Mobile:
			t.say(i.IfType.Position, false, "IfType MN: %s is left out: a mobile beside the home agent needs a mobile_node section", i.Name)
		case i.IfType.Given && i.IfType.Value != HomeAgent:
		default:
			links = append(links, i.Name)
		}
		if i.Tunnel.Value {
			t.say(i.Tunnel.Position, false, "Tunnel: left out: mip6d has no tunnels as home links either")
		}
		if i.LinkUpDelay.Given {
			t.say(i.LinkUpDelay.Position, true, "LinkUpDelay: left out: %s", keyword("LinkUpDelay", "Interface").Note)
		}
	}
	var addresses []netip.Addr
	for _, s := range t.IPsecPolicySets {
		if !slices.Contains(addresses, s.HomeAgent) {
			addresses = append(addresses, s.HomeAgent)
		}
	}
	n := max(len(links), len(addresses), 1)
	for i := range n {
		a := agent{name: numbered("agent", i, n)}
		if i < len(links) {
			a.link = links[i]
		} else if len(links) == 1 {
			a.link = links[0]
		}
		if i < len(addresses) {
			a.address = addresses[i]
		}
		a.prefix = t.homePrefix(a.address, mobiles, n)
		all = append(all, a)
	}
	return all
}

// homePrefix is the prefix of a home link: that of a home address and its home
// agent; where no address of a home agent is in the file, that in which all home
// addresses are.
func (t *translator) homePrefix(address netip.Addr, mobiles []served, agents int) (p netip.Prefix) {
	for _, s := range t.IPsecPolicySets {
		for _, h := range s.HomeAddresses {
			if s.HomeAgent == address && h.Bits() > 0 && h.Bits() < 128 && h.Masked().Contains(address) {
				return h.Masked()
			}
		}
	}
	if address.IsValid() {
		return netip.PrefixFrom(address, bitsOfHome).Masked()
	}
	for _, m := range mobiles {
		of := netip.PrefixFrom(m.home, bitsOfHome).Masked()
		if p.IsValid() && p != of || agents > 1 {
			return netip.Prefix{}
		}
		p = of
	}
	return p
}

// homeAgent writes the section of a home agent; what is said of all of them is
// said at the first.
func (t *translator) homeAgent(a agent, first bool) {
	s := t.begin("home_agent", a.name)
	var missing []string
	fill := func(option, value, what string) {
		if value == "" {
			missing = append(missing, "option "+option+", "+what)
		} else {
			s.Set(option, value)
		}
	}
	address, prefix := "", ""
	if a.address.IsValid() {
		address = a.address.String()
	}
	if a.prefix.IsValid() {
		prefix = a.prefix.String()
		if !a.address.IsValid() {
			s.Remark(uci.Position{}, "The prefix is that in which the home addresses are.")
		}
	}
	fill("interface", a.link, "that of the home link")
	fill("address", address, "the home agent's own on it")
	fill("prefix", prefix, "the home prefix")
	if len(missing) > 0 {
		s.Note(t.NodeConfig.Position, "NodeConfig HA: %s has to be filled in: %s; mip6d finds out by itself", a.name, strings.Join(missing, "; "))
	}
	within(s, "HaMaxBindingLife", "max_lifetime", t.HaMaxBindingLife, leastLifetime, maxBindingLifetime)
	t.prefixAdvertisements(s)
	if first {
		s.Remark(uci.Position{}, "Router advertisements on the home link, of radvd with mip6d, are roam6's, too: roam6 import translates radvd.conf.")
	}
	t.add(s)
}

// prefixAdvertisements writes what mobiles that are away are told of the home
// prefixes.
func (t *translator) prefixAdvertisements(s *translation.Builder) {
	if v := t.SendMobPfxAdvs; v.Given {
		s.Switch("prefix_advertisements", v.Value)
	}
	if v := t.SendUnsolMobPfxAdvs; !v.or(true) && t.SendMobPfxAdvs.or(true) {
		s.Note(v.Position, "SendUnsolMobPfxAdvs disabled: left out: %s", keyword("SendUnsolMobPfxAdvs", "").Note)
	}
	least, most := t.MinMobPfxAdvInterval, t.MaxMobPfxAdvInterval
	if lo, hi := min(least.or(defaultMinInterval), mostMinInterval), max(most.or(defaultMaxInterval), 1); lo > hi {
		at := most.Position
		if !most.Given {
			at = least.Position
		}
		s.Harmless(at, "MinMobPfxAdvInterval %d is more than MaxMobPfxAdvInterval %d: both are %d here", least.or(defaultMinInterval), most.or(defaultMaxInterval), hi)
		s.Number("prefix_min_interval", int64(hi))
		s.Number("prefix_max_interval", int64(hi))
		return
	}
	within(s, "MinMobPfxAdvInterval", "prefix_min_interval", least, 1, mostMinInterval)
	within(s, "MaxMobPfxAdvInterval", "prefix_max_interval", most, 1, mostMaxInterval)
}

// mayHaveNetworks writes the networks of a mobile router, where the home agent
// has any.
func (t *translator) mayHaveNetworks(s *translation.Builder, m served) {
	if t.HaAcceptMobRtr.Value {
		networks(s, "prefix", m.networks)
	} else if len(m.networks) > 0 {
		at := m.networks[0].Position
		if t.HaAcceptMobRtr.Given {
			at = t.HaAcceptMobRtr.Position
		}
		s.Note(at, "HaAcceptMobRtr is disabled: the mobile network prefixes of %v are left out", m.home)
	}
}
