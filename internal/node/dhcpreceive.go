package node

import (
	"slices"
	"time"

	"roam6/dhcpv6"
	"roam6/internal/role"
)

// dhcpReceived gives a DHCPv6 message to those whom it may be for: on one link
// that may be several, which tell by the transaction.
func (s *Shell) dhcpReceived(now time.Time, e role.DHCPReceived) {
	s.metrics.DHCPReceived(e.Message)
	var takers []role.Machine
	switch e.To.Port() {
	case dhcpv6.ClientPort:
		if u := s.clients[e.Link]; u != nil && u.machine != nil {
			takers = append(takers, u.machine)
		}
		for _, h := range s.mobiles {
			if h.config.Delegation {
				takers = append(takers, h.machine)
			}
		}
	case dhcpv6.ServerPort:
		for _, h := range s.delegators {
			if (h.config.Address == e.To.Addr() || e.To.Addr().IsMulticast() && h.config.Interface == s.links[e.Link].Name) && s.vouched(h, e) {
				takers = append(takers, h.machine)
			}
		}
		for _, h := range s.mobiles {
			if h.config.Delegation && homeOf(h.config) == e.To.Addr() {
				takers = append(takers, h.machine)
			}
		}
	}
	if len(takers) == 0 {
		s.metrics.DHCPDropped(role.DropUnexpected)
		return
	}
	s.offerDHCP(now, e, takers)
}

// vouched reports whether a message to a delegating router can be from whom it says.
// A home address proves something only where the data plane has checked it against
// the binding, or on the home link, where neighbours look after it themselves. Of
// the server elsewhere nothing is believed but answers to what it was asked.
func (s *Shell) vouched(h *delegatorHost, e role.DHCPReceived) bool {
	return e.Link == s.tunnel || s.links[e.Link].Name == h.config.Interface || e.From.Addr() == h.config.Delegation.Server
}

// offerDHCP is offer for DHCPv6: what one takes is not dropped.
func (s *Shell) offerDHCP(now time.Time, e role.Event, takers []role.Machine) {
	actions := make([][]role.Action, len(takers))
	wanted := false
	for i, m := range takers {
		actions[i] = s.handle(now, m, e)
		wanted = wanted || !slices.ContainsFunc(actions[i], isDropped)
	}
	for i, m := range takers {
		for _, a := range actions[i] {
			d, dropped := a.(role.Dropped)
			switch {
			case dropped && wanted:
			case dropped:
				s.metrics.DHCPDropped(d.Reason)
			default:
				s.tell(s.perform(m, a))
			}
		}
	}
}

func isDropped(a role.Action) bool {
	_, dropped := a.(role.Dropped)
	return dropped
}
