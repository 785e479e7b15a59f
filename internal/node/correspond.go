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

// correspondentHost is the correspondent that the shell hosts.
type correspondentHost struct {
	machine *cn.Correspondent
	random  *tap
}

func newCorrespondentHost(c config.Correspondent) *correspondentHost {
	h := &correspondentHost{random: &tap{keep: true}} // as for a mobile
	h.machine = cn.New(h.roleConfig(c))
	return h
}

// roleConfig is the role's view of the node as a correspondent. Its secrets are not what a
// trace is to have.
func (h *correspondentHost) roleConfig(c config.Correspondent) cn.Config {
	return cn.Config{Optimise: c.Enabled, MaxBindings: c.MaxBindings, MaxLifetime: c.MaxLifetime, Random: h.random.octets, Secret: randomOctets}
}

// toCorrespondent gives an event to the correspondent. Every node that does
// Mobile IPv6 has one, if only for the Binding Errors that RFC 6275 §9.3.3 wants.
func (s *Shell) toCorrespondent(now time.Time, e role.Event) {
	if h := s.correspondent; h != nil {
		s.carryOut(h.machine, s.handle(now, h.machine, e))
	}
}
