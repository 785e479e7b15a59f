package node

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/internal/rtnl"
)

// homeAssigned notes that a mobile's home address is on an interface, 0 being the
// data plane's; homeUnassigned that it is not any more. On its way home or away
// it may be on two for a moment: the last one counts. A regional care-of address is
// assigned like a home address, and none.
func (s *Shell) homeAssigned(by role.Machine, link int, a netip.Addr) {
	if h := s.mobileOf(by); h != nil && homeOf(h.config) == a {
		h.homeLinks = append(slices.DeleteFunc(h.homeLinks, func(l int) bool { return l == link }), link)
		s.steerDue = true
	}
}

func (s *Shell) homeUnassigned(by role.Machine, link int, a netip.Addr) {
	if h := s.mobileOf(by); h != nil && homeOf(h.config) == a {
		h.homeLinks = slices.DeleteFunc(h.homeLinks, func(l int) bool { return l == link })
		s.steerDue = true
	}
}

// steer tells the kernel which chosen traffic goes from which home address now,
// if that may have changed.
func (s *Shell) steer(now time.Time) {
	if !s.steerDue {
		return
	}
	s.steerDue = false
	want := s.steering(now)
	if slices.Equal(want, s.steered) {
		return
	}
	s.steered = want
	s.tell(s.state.Steer(want))
}

// steering is the configured policies whose mobile has its home address.
func (s *Shell) steering(now time.Time) []rtnl.Steering {
	var list []rtnl.Steering
	for _, p := range s.config.Policies {
		for _, m := range s.config.MobileNodes {
			if m.Name != p.Mobile {
				continue
			}
			h := s.mobileAt(s.homeInUse(m))
			if h == nil || len(h.homeLinks) == 0 {
				continue
			}
			g := rtnl.Steering{
				Home: homeOf(h.config), Protocol: p.Protocol, FirstPort: p.FirstPort, LastPort: p.LastPort,
				Mark: p.Mark, Mask: p.Mask, Device: h.homeLinks[len(h.homeLinks)-1],
			}
			if a := h.machine.Snapshot(now).Attachment; g.Device != 0 && a.AtHome {
				g.Via = a.Router
			}
			list = append(list, g)
		}
	}
	return list
}
