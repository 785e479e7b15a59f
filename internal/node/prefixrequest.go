package node

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/dhcpv6"
	"roam6/internal/config"
	"roam6/internal/role"
)

// requestOn finds the prefix request on an interface.
func (s *Shell) requestOn(name string) (config.PrefixRequest, bool) {
	i := slices.IndexFunc(s.config.PrefixRequests, func(r config.PrefixRequest) bool { return r.Uplink == name })
	if i < 0 {
		return config.PrefixRequest{}, false
	}
	return s.config.PrefixRequests[i], true
}

// numberRequest gives the downstream interfaces of the prefix request on an uplink
// their /64s of what was delegated there, and takes back what is not delegated or
// not requested any more.
func (s *Shell) numberRequest(now time.Time, uplink string, leased []role.LeasedPrefix) {
	r, _ := s.requestOn(uplink) // without one there is no downstream
	had := s.requested[uplink]
	var given []requestedPrefix
	for _, p := range leased {
		subnets := dhcpv6.Subnets(p.Prefix, len(r.Downstreams))
		for i, subnet := range subnets {
			given = append(given, requestedPrefix{r.Downstreams[i], subnet})
			s.numberDownstream(now, nil, role.NumberDownstream{Interface: r.Downstreams[i], Prefix: subnet, Preferred: p.Preferred, Valid: p.Valid})
		}
		renewed := slices.ContainsFunc(had, func(x requestedPrefix) bool { return p.Prefix.Contains(x.prefix.Addr()) })
		if len(subnets) < len(r.Downstreams) && !renewed {
			s.log.Warn("a delegated prefix is too long for all downstream interfaces", "section", r.Name, "prefix", p.Prefix, "subnets", len(subnets))
		}
	}
	s.takeBackRequested(now, had, func(x requestedPrefix) bool { return !slices.Contains(given, x) })
	if s.requested[uplink] = given; given == nil {
		delete(s.requested, uplink)
	}
}

// takeBackRequested takes from downstream interfaces what is over.
func (s *Shell) takeBackRequested(now time.Time, had []requestedPrefix, over func(requestedPrefix) bool) {
	for _, x := range had {
		if over(x) {
			s.numberDownstream(now, nil, role.NumberDownstream{Interface: x.link, Prefix: x.prefix})
		}
	}
}

// requestedPrefix is a /64 that a prefix request has given to an interface.
type requestedPrefix struct {
	link   string
	prefix netip.Prefix
}

// applyRequests follows a change of the configuration: clients that are not wanted
// end, others have other settings, and prefixes that nobody requests go.
func (s *Shell) applyRequests(now time.Time) {
	for uplink, had := range s.requested { // also where the uplink is not there at present
		r, _ := s.requestOn(uplink)
		over := func(x requestedPrefix) bool { return !slices.Contains(r.Downstreams, x.link) }
		s.takeBackRequested(now, had, over)
		s.requested[uplink] = slices.DeleteFunc(had, over)
	}
	for _, index := range slices.Sorted(maps.Keys(s.clients)) {
		u := s.clients[index]
		// One that is not wanted any more gives back what it has, as it was asked for.
		if u.machine != nil && !u.ending && s.wanted(u) {
			s.carryOut(u.machine, s.reconfigureClient(now, u))
		}
		if !u.leased.IsZero() {
			s.numberRequest(now, u.link.Name, u.leaseAt(now).Prefixes)
		}
		s.serveUplink(now, u)
	}
	for _, l := range s.links {
		if _, served := s.clients[l.Index]; !served {
			s.clientLinkChanged(now, role.Link{}, l)
		}
	}
}
