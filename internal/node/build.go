package node

import (
	"crypto/rand"
	"net/netip"

	"roam6/ha"
	"roam6/internal/config"
	"roam6/mn"
	"roam6/mr"
)

// mobileConfig is the role's view of a configured mobile node.
func mobileConfig(c config.MobileNode, seed uint64) mn.Config {
	return mn.Config{
		Name:         c.Name,
		HomeAddress:  c.HomeAddress.Addr(),
		HomePrefix:   c.HomeAddress.Masked(),
		HomeAgents:   []netip.Addr{c.HomeAgent},
		Random:       randomOctets,
		SA:           c.Association,
		Timestamps:   c.Replay == config.ReplayTimestamp,
		Lifetime:     c.Lifetime,
		Uplinks:      c.Uplinks,
		WaitForDAD:   c.DAD == config.DADWait,
		FirstTimeout: c.InitialTimeout,
		Seed:         seed,
	}
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
// that belong to it.
func agentConfig(c config.HomeAgent, mobiles []config.Mobile) ha.Config {
	a := ha.Config{
		Name: c.Name, HomeLink: c.Interface, Address: c.Address, Prefix: c.Prefix,
		MaxLifetime: c.MaxLifetime, DAD: c.DAD, ReplayWindow: c.ReplayWindow,
	}
	for _, m := range mobiles {
		if m.HomeAgent != c.Name {
			continue
		}
		a.Mobiles = append(a.Mobiles, ha.Mobile{
			Name: m.Name, HomeAddress: m.HomeAddress, SA: m.Association, Insecure: m.Association == nil,
			Router: m.Router, Prefixes: m.Prefixes,
		})
	}
	return a
}

// randomOctets is what the roles take for unguessable.
func randomOctets(b []byte) { _, _ = rand.Read(b) } // never fails
