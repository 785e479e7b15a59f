package node

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"time"

	"roam6/dhcpv6"
	"roam6/dhcpv6/delegating"
	"roam6/ha"
	"roam6/internal/config"
	anchor "roam6/map"
	"roam6/mn"
	"roam6/mn/region"
	"roam6/mn/ro"
	"roam6/mr"
)

// surroundings are what a mobile is made of beside its own section.
type surroundings struct {
	uplinks []config.UplinkOptions
	keys    []config.AnchorKey // that it has, in the order in which they are tried
	duid    []byte             // of routers that want prefixes
	saved   []byte             // by an earlier life of such a router
}

// mobileConfig is the role's view of a configured mobile node.
func mobileConfig(c config.MobileNode, around surroundings, seed uint64) mn.Config {
	return mn.Config{
		Name:              c.Name,
		HomeAddress:       c.HomeAddress.Addr(),
		HomePrefix:        c.HomeAddress.Masked(),
		HomeAgents:        c.HomeAgents,
		Random:            randomOctets,
		SA:                c.Association,
		ESP:               len(c.ESP) > 0,
		KeyExchange:       len(c.IKE) > 0,
		KeyMobility:       len(c.IKE) > 0 && c.IKE[0].MOBIKE,
		Timestamps:        c.Replay == config.ReplayTimestamp,
		Lifetime:          c.Lifetime,
		Uplinks:           c.Uplinks,
		Addressing:        addressing(around.uplinks),
		Hysteresis:        max(c.Hysteresis, 1), // the role takes zero for its default
		DefaultSource:     c.DefaultSource,
		DiscoverHomeAgent: c.Discover,
		RouteOptimisation: routePolicy(c),
		WaitForDAD:        c.DAD == config.DADWait,
		FirstTimeout:      c.InitialTimeout,
		Hierarchy:         hierarchy(c, around.keys),
		Seed:              seed,
	}
}

// hierarchy is the role's view of which mobility anchor points to use.
func hierarchy(c config.MobileNode, keys []config.AnchorKey) mn.Hierarchy {
	h := mn.Hierarchy{Enabled: c.Hierarchy, Insecure: c.InsecureAnchors}
	switch c.AnchorSelection {
	case config.AnchorPreferred:
		h.Selection = mn.SelectPreferred
	case config.AnchorFurthest:
		h.Selection = mn.SelectFurthest
	case config.AnchorNearest:
		h.Selection = mn.SelectNearest
	}
	for _, k := range keys {
		h.Keys = append(h.Keys, keyConfig(k))
	}
	return h
}

// keyConfig is the role's view of a key for mobility anchor points.
func keyConfig(c config.AnchorKey) mn.AnchorKey {
	k := mn.AnchorKey{Anchors: c.Anchors, SA: c.Association}
	if c.ESP != nil {
		k.ESP, k.Seed = c.ESP.In.SPI, region.SeedOf([]byte(c.ESP.Out.Key))
	}
	return k
}

// routePolicy is the role's view of whom to optimise routes with.
func routePolicy(c config.MobileNode) ro.Policy {
	p := ro.Policy{Peers: c.Correspondents}
	switch c.RouteOptimisation {
	case config.TunnelledRoutes:
		p.Mode = ro.Off
	case config.OptimisedRoutes:
		p.Mode = ro.On
	case config.ListedRoutes:
		p.Mode = ro.List
	}
	return p
}

// addressing is the role's view of where the addresses of uplinks come from.
func addressing(uplinks []config.UplinkOptions) map[string]mn.Addressing {
	m := make(map[string]mn.Addressing)
	for _, u := range uplinks {
		switch u.Addressing {
		case config.AddressingAuto:
			m[u.Name] = mn.AddressingAuto
		case config.AddressingSLAAC:
			m[u.Name] = mn.AddressingSLAAC
		case config.AddressingDHCP:
			m[u.Name] = mn.AddressingDHCP
		case config.AddressingForeign:
			m[u.Name] = mn.AddressingForeign
		}
	}
	return m
}

// routerConfig is the role's view of a configured mobile router.
func routerConfig(c config.MobileNode, around surroundings, seed uint64) mr.Config {
	r := mr.Config{Config: mobileConfig(c, around, seed), Mode: mr.Explicit, Prefixes: c.Prefixes}
	if c.Mode == config.ModeImplicit {
		r.Mode = mr.Implicit
	}
	if c.Delegation {
		r.Delegation = &mr.Delegation{
			DUID: around.duid, IAID: dhcpv6.IAIDOf(c.Name), Length: c.DelegationLength,
			Downstreams: c.Downstreams, Saved: around.saved,
		}
	}
	return r
}

// agentConfig is the role's view of a configured home agent and of the mobiles
// that belong to it; since tells from when a prefix is deprecated.
func agentConfig(c config.HomeAgent, mobiles []config.Mobile, since func(netip.Prefix) time.Time) ha.Config {
	return agentServing(c, agentMobiles(c, mobiles), since)
}

// mobilesByAgent are the role's view of the mobiles, by the name of their home agent's
// section. With very many of them that takes long, and is not for the loop.
func mobilesByAgent(c *config.Config) map[string][]ha.Mobile {
	all := make(map[string][]ha.Mobile)
	for _, h := range c.HomeAgents {
		all[h.Name] = agentMobiles(h, c.Mobiles)
	}
	return all
}

// agentServing is agentConfig with the mobiles of the home agent alone.
func agentServing(c config.HomeAgent, mobiles []ha.Mobile, since func(netip.Prefix) time.Time) ha.Config {
	a := ha.Config{
		Name: c.Name, HomeLink: c.Interface, Address: c.Address, Prefix: c.Prefixes[0],
		MaxLifetime: c.MaxLifetime, DAD: c.DAD, ReplayWindow: c.ReplayWindow,
		NoPrefixAdvertisements: !c.PrefixAdvertisements,
		MinMobPfxAdvInterval:   c.PrefixMinInterval, MaxMobPfxAdvInterval: c.PrefixMaxInterval,
		Random: randomOctets,
	}
	for _, p := range c.Prefixes[1:] {
		a.OtherPrefixes = append(a.OtherPrefixes, ha.HomePrefix{Prefix: p})
	}
	for _, p := range c.Deprecated {
		a.OtherPrefixes = append(a.OtherPrefixes, ha.HomePrefix{
			Prefix: p, PreferredUntil: since(p), ValidUntil: since(p).Add(c.DeprecatedLifetime),
		})
	}
	if i := c.Information; i != nil {
		a.Preference, a.Lifetime, a.MobileRouters = i.Preference, i.Lifetime, i.MobileRouter
	} else {
		// Nobody says; the mobiles themselves do.
		a.MobileRouters = slices.ContainsFunc(mobiles, func(m ha.Mobile) bool { return m.Router })
	}
	a.Mobiles = mobiles
	return a
}

// agentMobiles is the role's view of the mobiles that belong to a home agent.
func agentMobiles(c config.HomeAgent, mobiles []config.Mobile) []ha.Mobile {
	list := make([]ha.Mobile, 0, len(mobiles)) // mostly there is one home agent
	for i := range mobiles {
		m := &mobiles[i]
		if m.HomeAgent != c.Name {
			continue
		}
		list = append(list, ha.Mobile{
			Name: m.Name, HomeAddress: m.HomeAddress, SA: m.Association, ESP: m.ESP != nil, Insecure: m.Association == nil && m.ESP == nil,
			KeyMobility: m.IKE != nil && m.IKE.MOBIKE,
			Router:      m.Router, Prefixes: m.Prefixes, RequireTimestamp: m.Replay == config.ReplayTimestamp,
			Delegate: m.Delegate && c.Delegation != nil,
		})
	}
	return list
}

// anchorConfig is the role's view of a configured mobility anchor point and of the
// visitors that it serves. taken are addresses that this node has among the regional
// care-of addresses, barred are addresses that are no on-link ones.
func anchorConfig(c config.Anchor, visitors []config.Visitor, taken []netip.Addr, barred func(netip.Addr) bool) anchor.Config {
	a := anchor.Config{
		Name: c.Name, Link: c.Interface, Address: c.Address, Prefix: c.Prefix, Taken: taken, Served: c.Served, Barred: barred,
		MaxLifetime: c.MaxLifetime, MaxBindings: c.MaxBindings, DAD: c.DAD, ReplayWindow: c.ReplayWindow,
		Insecure: c.Insecure, Random: randomOctets,
	}
	for _, v := range visitors {
		if v.Anchor == "" || v.Anchor == c.Name {
			a.Visitors = append(a.Visitors, visitorConfig(v))
		}
	}
	return a
}

// visitorConfig is the role's view of a configured visitor.
func visitorConfig(c config.Visitor) anchor.Visitor {
	v := anchor.Visitor{Name: c.Name, SA: c.Association, RequireTimestamp: c.Replay == config.ReplayTimestamp}
	if c.ESP != nil {
		v.ESP = &c.ESP.In
	}
	return v
}

// delegatingConfig is the view that the delegating router of a configured home
// agent has; c.Delegation is there. formed tells further home addresses of a mobile.
func delegatingConfig(c config.HomeAgent, mobiles []config.Mobile, duid []byte, formed func(netip.Addr) []netip.Addr) delegating.Config {
	d := delegating.Config{
		Name: c.Name, Address: c.Address, DUID: duid,
		Pools: c.Delegation.Pools, Length: c.Delegation.Length,
		Preferred: c.Delegation.Preferred, Valid: c.Delegation.Valid,
		Server: c.Delegation.Server, Random: randomOctets,
	}
	for _, m := range mobiles {
		if m.HomeAgent == c.Name && m.Delegate {
			d.Mobiles = append(d.Mobiles, delegating.Mobile{Name: m.Name, HomeAddress: m.HomeAddress, Formed: formed(m.HomeAddress), DUID: m.DUID})
		}
	}
	return d
}

// randomOctets is what the roles take for unguessable.
func randomOctets(b []byte) { _, _ = rand.Read(b) } // never fails
