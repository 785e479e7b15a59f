package node

import (
	"net/netip"
	"slices"
	"time"

	"roam6/dhcpv6/delegating"
	"roam6/internal/config"
	"roam6/internal/role"
)

// delegatorHost is the delegating router of a home agent, or its relay.
type delegatorHost struct {
	machine *delegating.Server
	config  config.HomeAgent
}

// applyDelegators begins, changes and ends delegating routers as the home agents
// want it; their section's name tells which is which.
func (s *Shell) applyDelegators(now time.Time) {
	s.discardsDue = true
	kept := s.delegators[:0]
	for _, h := range s.delegators {
		i := slices.IndexFunc(s.config.HomeAgents, func(a config.HomeAgent) bool { return a.Name == h.config.Name && a.Delegation != nil })
		if i < 0 {
			s.carryOut(h.machine, s.handle(now, h.machine, role.Stop{}))
			s.traceEnd(now, h.machine)
			continue
		}
		h.config = s.config.HomeAgents[i]
		s.carryOut(h.machine, s.reconfigureDelegator(now, h))
		kept = append(kept, h)
	}
	clear(s.delegators[len(kept):])
	s.delegators = kept
	if s.plane == nil {
		return
	}
	for _, a := range s.config.HomeAgents {
		if a.Delegation == nil || slices.ContainsFunc(s.delegators, func(h *delegatorHost) bool { return h.config.Name == a.Name }) {
			continue
		}
		saved := s.kept.load(keptName(keptDelegating+a.Name), delegating.CheckSaved)
		h := &delegatorHost{machine: delegating.New(s.delegatingConfig(a), saved), config: a}
		s.delegators = append(s.delegators, h)
		s.traceDelegator(now, h, saved, nil)
		s.carryOut(h.machine, s.handle(now, h.machine, role.Timeout{})) // it tells the home agent what it has
	}
}

// delegatingConfig is what a delegating router is to do now.
func (s *Shell) delegatingConfig(c config.HomeAgent) delegating.Config {
	return delegatingConfig(c, s.config.Mobiles, s.identifier(), s.formedHomes(c.Name))
}

// formedHomes tells the further home addresses that the mobiles of a home agent may
// have formed.
func (s *Shell) formedHomes(agent string) func(netip.Addr) []netip.Addr {
	i := slices.IndexFunc(s.agents, func(h *agentHost) bool { return h.config.Name == agent })
	if i < 0 {
		return func(netip.Addr) []netip.Addr { return nil }
	}
	return s.agents[i].machine.Formed
}

// prefixesDelegated takes what a delegating router has given to its home agent.
func (s *Shell) prefixesDelegated(now time.Time, by role.Machine, e role.PrefixesDelegated) {
	i := slices.IndexFunc(s.delegators, func(h *delegatorHost) bool { return role.Machine(h.machine) == by })
	if i < 0 {
		return
	}
	name := s.delegators[i].config.Name
	s.toAgents(now, e, func(h *agentHost) bool { return h.config.Name == name })
}
