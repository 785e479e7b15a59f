package mip6dconf

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"roam6/internal/order"
	"roam6/internal/translation"
	"roam6/internal/uci"
)

// mobiles makes a section of each home link.
func (t *translator) mobiles() {
	t.leftOutOfMobiles()
	links := slices.Clone(t.HomeLinks)
	links = slices.DeleteFunc(links, func(h HomeLink) bool {
		home := h.HomeAddress.Value.Addr()
		_, twice := t.agentOf[home]
		switch {
		case !usable(home):
			t.say(h.HomeAddress.Position, false, "HomeAddress %v: cannot be a home address: the whole home link was left out", home)
		case twice:
			t.say(h.HomeAddress.Position, false, "HomeAddress %v: another home link has it: this one was left out", home)
		default:
			t.agentOf[home] = netip.Addr{}
			if a := h.HomeAgentAddress.Value; !unspecified(a) {
				t.agentOf[home] = a
			}
			return false
		}
		return true
	})
	uplinks := t.uplinks(links)
	if len(links) == 0 {
		t.say(t.NodeConfig.Position, false, "NodeConfig MN: there is no home address, and so there is no mobile")
		return
	}
	for i, h := range links {
		t.mobile(h, i, len(links), uplinks)
	}
	t.tunnels(uplinks)
}

// leftOutOfMobiles notes the options of mobiles that roam6 does not have, where
// it does another thing than they say.
func (t *translator) leftOutOfMobiles() {
	for _, o := range []struct {
		name     string
		at       uci.Position
		differs  bool
		harmless bool
	}{
		{"MnMaxCnBindingLife", t.MnMaxCnBindingLife.Position, t.MnMaxCnBindingLife.or(maxRoutedBindingLifetime) != maxRoutedBindingLifetime, true},
		{"MnDiscardHaParamProb", t.MnDiscardHaParamProb.Position, t.MnDiscardHaParamProb.Given, true},
		{"MnResetDhaadAtHome", t.MnResetDhaadAtHome.Position, t.MnResetDhaadAtHome.Value, true},
		{"MnFlushAllAtHome", t.MnFlushAllAtHome.Position, t.MnFlushAllAtHome.Value, true},
		{"MnMaxHaConsecutiveResends", t.MnMaxHaConsecutiveResends.Position, t.MnMaxHaConsecutiveResends.Given, true},
		{"MnMaxCnConsecutiveResends", t.MnMaxCnConsecutiveResends.Position, t.MnMaxCnConsecutiveResends.Given, true},
		{"SendMobPfxSols", t.SendMobPfxSols.Position, !t.SendMobPfxSols.or(true), true},
		{"MnUseAllInterfaces", t.MnUseAllInterfaces.Position, t.MnUseAllInterfaces.Value, false},
		{"UseCnBuAck", t.UseCnBuAck.Position, !t.UseCnBuAck.or(true), true},
		{"InterfaceInitialInitDelay", t.InterfaceInitialInitDelay.Position, t.InterfaceInitialInitDelay.Value > 0, true},
		{"MnRouterProbes", t.MnRouterProbes.Position, t.MnRouterProbes.Given, true},
		{"MnRouterProbeTimeout", t.MnRouterProbeTimeout.Position, t.MnRouterProbeTimeout.Value > 0, true},
		{"InitialBindackTimeoutReReg", t.InitialBindackTimeoutReReg.Position, t.InitialBindackTimeoutReReg.Given, true},
		{"InitialSolicitTimer", t.InitialSolicitTimer.Position, t.InitialSolicitTimer.Given, true},
		{"OptimisticHandoff", t.OptimisticHandoff.Position, !t.OptimisticHandoff.or(true), true},
		{"NoHomeReturn", t.NoHomeReturn.Position, t.NoHomeReturn.Value, false},
	} {
		if o.differs {
			t.leftOut(o.name, o.at, o.harmless)
		}
	}
}

// uplinks are the interfaces that mip6d uses, the preferred first; those of home
// links are among them.
func (t *translator) uplinks(links []HomeLink) (all []Interface) {
	named := map[string]bool{}
	for _, i := range t.Interfaces {
		switch {
		case !translation.IsDevice(i.Name):
			t.say(i.Position, false, "Interface: %q cannot be the name of a network device: left out", i.Name)
		case named[i.Name]:
			t.say(i.Position, false, "Interface: %s is there already: left out", i.Name)
		case i.IfType.Given && i.IfType.Value == HomeAgent:
			t.say(i.IfType.Position, false, "IfType HA: %s is left out: a home agent beside the mobile needs a home_agent section", i.Name)
		case i.IfType.Given && i.IfType.Value != Mobile, i.MnIfPreference.Given && i.MnIfPreference.Value == 0:
		default:
			all = append(all, i)
		}
		named[i.Name] = true
		if i.LinkUpDelay.Given {
			t.say(i.LinkUpDelay.Position, true, "LinkUpDelay: left out: %s", keyword("LinkUpDelay", "Interface").Note)
		}
	}
	for _, h := range links {
		if named[h.Interface] {
			continue
		}
		named[h.Interface] = true
		if translation.IsDevice(h.Interface) {
			all = append(all, Interface{Name: h.Interface, Position: h.Position})
		} else {
			t.say(h.Position, false, "MnHomeLink: %q cannot be the name of a network device: it is no uplink", h.Interface)
		}
	}
	order.SortStable(all, func(a, b Interface) int {
		return cmp.Compare(a.MnIfPreference.or(worstPreference), b.MnIfPreference.or(worstPreference))
	})
	return all
}

// tunnels are the uplinks that somebody else configures.
func (t *translator) tunnels(uplinks []Interface) {
	for _, i := range uplinks {
		if i.Tunnel.Value {
			s := t.begin("uplink", "")
			s.Set("interface", i.Name)
			s.Set("addressing", "foreign")
			t.add(s)
		}
	}
}

// mobile makes the section of a home link, which is the i-th of some.
func (t *translator) mobile(h HomeLink, i, of int, uplinks []Interface) {
	kind, name := "mobile_node", "mobile"
	if h.IsMobRtr.Value {
		kind, name = "mobile_router", "router"
	}
	s := t.begin(kind, numbered(name, i, of))
	home := h.HomeAddress.Value
	t.homeAddress(s, h)
	t.agentsOf(s, h)
	var names []string
	for _, u := range uplinks {
		names = append(names, u.Name)
	}
	if len(names) == 0 {
		s.Note(h.Position, "list uplink has to be filled in, with the interfaces that lead outside")
	}
	s.List("uplink", names...)
	within(s, "MnMaxHaBindingLife", "lifetime", t.MnMaxHaBindingLife, leastLifetime, maxBindingLifetime)
	t.timeout(s)
	t.routes(s, h)
	if h.UseAltCoa.Given && !h.UseAltCoa.Value {
		s.Harmless(h.UseAltCoa.Position, "UseAltCoa: left out: %s", keyword("UseAltCoa", "MnHomeLink").Note)
	}
	if h.IsMobRtr.Value {
		t.network(s, h)
	} else if len(h.Networks) > 0 {
		s.Note(h.Networks[0].Position, "HomeAddress: the mobile network prefixes are left out, because IsMobRtr is not enabled")
	}
	t.credentials(s, home.Addr())
	t.add(s)
}

// agentsOf writes which home agents a mobile has: those for which it has keys,
// where it needs some.
func (t *translator) agentsOf(s *translation.Builder, h HomeLink) {
	var protected []string
	for _, set := range t.sets(h.HomeAddress.Value.Addr()) {
		if a := set.HomeAgent.String(); usable(set.HomeAgent) && !slices.Contains(protected, a) {
			protected = append(protected, a)
		}
	}
	switch a := h.HomeAgentAddress; {
	case !unspecified(a.Value):
		s.List("home_agent", a.Value.String())
	case len(protected) > 0:
		s.Remark(a.Position, "Home agents that are discovered have no keys; so they are those of IPsecPolicySet.")
		s.List("home_agent", protected...)
	default:
		s.Switch("discover", true)
	}
}

// homeAddress writes the home address with the length of the home prefix.
func (t *translator) homeAddress(s *translation.Builder, h HomeLink) {
	home := h.HomeAddress.Value
	switch p := h.HomePrefix; {
	case !p.Given || p.Value.Masked() == home.Masked():
	case p.Value.Masked().Contains(home.Addr()):
		s.Remark(p.Position, "HomePrefix %v: home_address has its length", p.Value)
		home = netip.PrefixFrom(home.Addr(), p.Value.Bits())
	default:
		s.Note(p.Position, "HomePrefix %v: left out: %v is not in it, and roam6 has no home addresses outside of the home prefix", p.Value, home.Addr())
	}
	s.Set("home_address", home.String())
}

func (t *translator) timeout(s *translation.Builder) {
	v := t.InitialBindackTimeoutFirstReg
	if !v.Given {
		return
	}
	d := min(max(v.Value, leastTimeout), longestTimeout)
	if d != v.Value {
		s.Harmless(v.Position, "InitialBindackTimeoutFirstReg %v: %v here, which is as near as roam6 comes", v.Value, d)
	}
	s.Number("initial_timeout_ms", d.Milliseconds())
}

// network writes what a mobile router has more.
func (t *translator) network(s *translation.Builder, h HomeLink) {
	if !t.MobRtrUseExplicitMode.or(true) {
		s.Set("mode", "implicit")
	}
	if len(h.Networks) == 0 {
		s.Note(h.HomeAddress.Position, "HomeAddress: list prefix has to be filled in, with the mobile network prefixes, or option prefix_delegation '1', where the home agent delegates them")
	}
	networks(s, "prefix", h.Networks)
	s.Note(h.IsMobRtr.Position, "IsMobRtr: %s", keyword("IsMobRtr", "MnHomeLink").Note)
}

// routes writes with whom routes are optimised.
func (t *translator) routes(s *translation.Builder, h HomeLink) {
	all := t.DoRouteOptimizationMN.or(true)
	at := t.DoRouteOptimizationMN.Position
	single := map[netip.Addr]bool{}
	var peers []netip.Addr
	for _, r := range h.RoutePolicies {
		_, known := single[r.Peer]
		switch {
		case r.Peer.IsUnspecified():
			all, at = r.Optimise, r.Position
		case !usable(r.Peer):
			s.Note(r.Position, "MnRoPolicy %v: left out: this is no correspondent", r.Peer)
		case known:
			s.Note(r.Position, "MnRoPolicy %v: left out: the address has a policy already", r.Peer)
		default:
			single[r.Peer] = r.Optimise
			peers = append(peers, r.Peer)
		}
	}
	var list []string
	for _, a := range peers {
		if single[a] != all {
			list = append(list, a.String())
		}
	}
	optimises := all || len(list) > 0
	switch {
	case optimises && t.hasPayload(h.HomeAddress.Value.Addr()):
		s.Set("route_optimization", "off")
		text := "optimised routes are in no tunnel, and so in no ESP: route_optimization is off"
		if at == (uci.Position{}) {
			s.Remark(at, "%s%s", strings.ToUpper(text[:1]), text[1:])
		} else {
			s.Note(at, "TunnelPayload: %s", text)
		}
		return
	case all:
		s.Set("route_optimization", "on")
	case optimises:
		s.Set("route_optimization", "list")
	default:
		s.Set("route_optimization", "off")
	}
	s.List("correspondent", list...)
}
