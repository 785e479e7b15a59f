package node

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/dhcpv6"
	"roam6/ha"
	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
	"roam6/mr"
)

// mobileMachine is a mobile node or a mobile router, seen from the shell.
type mobileMachine interface {
	role.Machine
	Done() bool
	Snapshot(now time.Time) mn.Snapshot
	// Connected reports whether packets to the home address arrive, as far as is known.
	Connected() bool
	// Takes reports whether a Mobility Header message is for this mobile, HasCareOf
	// whether an address is a care-of address of it.
	Takes(p mip6.Packet) bool
	HasCareOf(a netip.Addr) bool
}

// mobileHost is a mobile node or router that the shell hosts.
type mobileHost struct {
	machine mobileMachine
	config  config.MobileNode
	seed    uint64
	random  *tap
	ending  bool      // Stop was delivered
	outage  time.Time // when it began that the mobile is not connected; zero: it is
	// homeLinks are the interfaces that have the home address, 0 being the data
	// plane's; the last one counts.
	homeLinks []int
}

func newMobileHost(c config.MobileNode, around surroundings, seed uint64) *mobileHost {
	h := &mobileHost{config: c, seed: seed, random: &tap{keep: true}} // until it is known whether it is recorded
	r := h.roleConfig(c, around)
	if c.Router {
		h.machine = mr.New(r)
	} else {
		h.machine = mn.New(r.Config, nil)
	}
	return h
}

// roleConfig is routerConfig with the mobile's own source of randomness. That of a mobile
// node is in it.
func (h *mobileHost) roleConfig(c config.MobileNode, around surroundings) mr.Config {
	r := routerConfig(c, around, h.seed)
	r.Random = h.random.octets
	return r
}

// reconfigure applies c in place where the role can; ok is false where it has
// to be ended in order and begun anew: another home address, the home agent in
// use taken away, or a node made a router.
func (h *mobileHost) reconfigure(now time.Time, c config.MobileNode, around surroundings) (actions []role.Action, ok bool) {
	if h.ending || h.config.HomeAddress != c.HomeAddress || h.config.Router != c.Router || !h.keepsAgent(now, c) {
		return nil, false
	}
	h.config = c
	switch m := h.machine.(type) {
	case *mr.Router:
		return m.Reconfigure(now, h.roleConfig(c, around)), true
	case *mn.Node:
		return m.Reconfigure(now, h.roleConfig(c, around).Config), true
	}
	return nil, false
}

// surroundings are those of a mobile as the configuration is now.
func (s *Shell) surroundings(c config.MobileNode) surroundings {
	around := surroundings{uplinks: s.config.Uplinks, keys: s.config.AnchorKeysOf(c.Name)}
	if c.Delegation {
		around.duid, around.saved = s.identifier(), s.kept.load(keptName(keptDelegation+c.Name), dhcpv6.CheckSaved)
	}
	return around
}

// attaches reports whether an interface is an uplink of the mobile.
func (h *mobileHost) attaches(name string) bool { return slices.Contains(h.config.Uplinks, name) }

// keepsAgent reports whether the home agent in use may stay in use: it is
// configured, or it was found and finding is still allowed.
func (h *mobileHost) keepsAgent(now time.Time, c config.MobileNode) bool {
	agent := h.machine.Snapshot(now).HomeAgent
	return !agent.IsValid() || slices.Contains(c.HomeAgents, agent) ||
		c.Discover && !slices.Contains(h.config.HomeAgents, agent)
}

// at reports whether an address is the mobile's home address or a care-of
// address of it, an on-link or a regional one.
func (h *mobileHost) at(a netip.Addr) bool {
	return a == homeOf(h.config) || h.machine.HasCareOf(a)
}

// agentHost is a home agent that the shell hosts.
type agentHost struct {
	machine *ha.Agent
	config  config.HomeAgent
	random  *tap
}

func (h *agentHost) takes(p mip6.Packet) bool { return p.Destination == h.config.Address }

// anycast reports whether an address is the home agents' anycast address of a
// home prefix (RFC 6275 §6.5).
func (h *agentHost) anycast(a netip.Addr) bool {
	is := func(p netip.Prefix) bool { return a == mip6.HomeAgentsAnycast(p) }
	return slices.ContainsFunc(h.config.Prefixes, is) || slices.ContainsFunc(h.config.Deprecated, is)
}

// homeOf is the identity of a configured mobile.
func homeOf(c config.MobileNode) netip.Addr { return c.HomeAddress.Addr() }

func (s *Shell) newAgentHost(now time.Time, c config.HomeAgent, mobiles []config.Mobile) *agentHost {
	h := &agentHost{config: c, random: &tap{keep: true}} // as for a mobile
	a := agentConfig(c, mobiles, s.deprecatedSince(now, c.Name))
	a.Random = h.random.octets
	h.machine = ha.New(a)
	return h
}

// deprecatedPrefix is a home prefix that a home agent's section gives up.
type deprecatedPrefix struct {
	agent  string
	prefix netip.Prefix
}

// deprecatedSince tells from when on a home prefix is deprecated: the first time
// that it is asked for, so that reloads do not prolong its life.
func (s *Shell) deprecatedSince(now time.Time, agent string) func(netip.Prefix) time.Time {
	return func(p netip.Prefix) time.Time {
		key := deprecatedPrefix{agent, p}
		if _, known := s.deprecated[key]; !known {
			s.deprecated[key] = now
		}
		return s.deprecated[key]
	}
}

// forgetDeprecated forgets the prefixes that are not deprecated any more.
func (s *Shell) forgetDeprecated(c *config.Config) {
	maps.DeleteFunc(s.deprecated, func(k deprecatedPrefix, _ time.Time) bool {
		return !slices.ContainsFunc(c.HomeAgents, func(h config.HomeAgent) bool {
			return h.Name == k.agent && slices.Contains(h.Deprecated, k.prefix)
		})
	})
}
