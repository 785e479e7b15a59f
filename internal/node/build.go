package node

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"time"

	"roam6/ha"
	"roam6/internal/config"
	"roam6/mn"
	"roam6/mn/ro"
	"roam6/mr"
)

// mobileConfig is the role's view of a configured mobile node.
func mobileConfig(c config.MobileNode, seed uint64) mn.Config {
	return mn.Config{
		Name:              c.Name,
		HomeAddress:       c.HomeAddress.Addr(),
		HomePrefix:        c.HomeAddress.Masked(),
		HomeAgents:        c.HomeAgents,
		Random:            randomOctets,
		SA:                c.Association,
		Timestamps:        c.Replay == config.ReplayTimestamp,
		Lifetime:          c.Lifetime,
		Uplinks:           c.Uplinks,
		Hysteresis:        max(c.Hysteresis, 1), // the role takes zero for its default
		DefaultSource:     c.DefaultSource,
		DiscoverHomeAgent: c.Discover,
		RouteOptimisation: routePolicy(c),
		WaitForDAD:        c.DAD == config.DADWait,
		FirstTimeout:      c.InitialTimeout,
		Seed:              seed,
	}
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

// routerConfig is the role's view of a configured mobile router.
func routerConfig(c config.MobileNode, seed uint64) mr.Config {
	r := mr.Config{Config: mobileConfig(c, seed), Mode: mr.Explicit, Prefixes: c.Prefixes}
	if c.Mode == config.ModeImplicit {
		r.Mode = mr.Implicit
	}
	return r
}

// agentConfig is the role's view of a configured home agent and of the mobiles
// that belong to it; since tells from when a prefix is deprecated.
func agentConfig(c config.HomeAgent, mobiles []config.Mobile, since func(netip.Prefix) time.Time) ha.Config {
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
		a.MobileRouters = slices.ContainsFunc(mobiles, func(m config.Mobile) bool { return m.HomeAgent == c.Name && m.Router })
	}
	for _, m := range mobiles {
		if m.HomeAgent != c.Name {
			continue
		}
		a.Mobiles = append(a.Mobiles, ha.Mobile{
			Name: m.Name, HomeAddress: m.HomeAddress, SA: m.Association, Insecure: m.Association == nil,
			Router: m.Router, Prefixes: m.Prefixes, RequireTimestamp: m.Replay == config.ReplayTimestamp,
		})
	}
	return a
}

// randomOctets is what the roles take for unguessable.
func randomOctets(b []byte) { _, _ = rand.Read(b) } // never fails
