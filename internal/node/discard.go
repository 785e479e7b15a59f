package node

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mr"
)

// discardMetric comes behind every route that leads somewhere.
const discardMetric = 1 << 30

// settleDiscards keeps routes that lead nowhere for prefixes of which others send
// everything here: the networks of mobile routers, what is delegated to prefix
// requests, the pools of home agents, and the prefixes of mobility anchor points that
// are on no link. Without them packets to an address that is
// on no link, or that nobody has, would follow the default route back to where they
// came from, and go round until their hop limit ends (RFC 7084 §4.3 WPD-5).
func (s *Shell) settleDiscards(now time.Time) {
	if !s.discardsDue {
		return
	}
	s.discardsDue = false
	want := make(map[netip.Prefix]bool)
	for _, h := range s.mobiles {
		if r, ok := h.machine.(*mr.Router); ok && !h.ending {
			for _, n := range r.Networks(now).Prefixes {
				want[n.Prefix.Masked()] = true
			}
		}
	}
	for _, u := range s.clients {
		if _, requested := s.requestOn(u.link.Name); requested {
			for _, p := range u.lease.Prefixes {
				want[p.Prefix.Masked()] = true
			}
		}
	}
	for _, h := range s.delegators {
		for _, p := range h.config.Delegation.Pools {
			want[p.Masked()] = true
		}
	}
	for _, h := range s.anchors {
		if h.config.Interface == "" {
			want[h.config.Prefix] = true
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(s.discarded), netip.Prefix.Compare) {
		if !want[p] {
			s.tell(s.state.RemoveRoute(role.RemoveRoute{Route: discard(p)}))
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(want), netip.Prefix.Compare) {
		if !s.discarded[p] {
			s.tell(s.state.AddRoute(role.AddRoute{Route: discard(p)}))
		}
	}
	s.discarded = want
}

func discard(p netip.Prefix) role.Route {
	return role.Route{Destination: p, Unreachable: true, Metric: discardMetric}
}
