package node

import (
	"time"

	"roam6/cn"
	"roam6/internal/config"
	"roam6/internal/role"
)

// mobility reports whether a configuration has anything to do with Mobile IPv6,
// beyond the advertising of prefixes.
func mobility(c *config.Config) bool {
	return len(c.MobileNodes)+len(c.HomeAgents)+len(c.Anchors) > 0 || c.Correspondent.Enabled
}

// correspondentConfig is the role's view of the node as a correspondent.
func correspondentConfig(c config.Correspondent) cn.Config {
	return cn.Config{Optimise: c.Enabled, MaxBindings: c.MaxBindings, MaxLifetime: c.MaxLifetime, Random: randomOctets}
}

// toCorrespondent gives an event to the correspondent. Every node that does
// Mobile IPv6 has one, if only for the Binding Errors that RFC 6275 §9.3.3 wants.
func (s *Shell) toCorrespondent(now time.Time, e role.Event) {
	if s.correspondent != nil {
		s.carryOut(s.correspondent, s.correspondent.Handle(now, e))
	}
}
