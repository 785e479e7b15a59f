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

// numberRequest gives the downstream interfaces of a prefix request their /64s of
// what was delegated, and takes back what is not delegated any more.
func (s *Shell) numberRequest(now time.Time, r config.PrefixRequest, leased []role.LeasedPrefix) {
	var given []requestedPrefix
	for _, p := range leased {
		subnets := dhcpv6.Subnets(p.Prefix, len(r.Downstreams))
		for i, subnet := range subnets {
			given = append(given, requestedPrefix{r.Downstreams[i], subnet})
			s.numberDownstream(now, nil, role.NumberDownstream{Interface: r.Downstreams[i], Prefix: subnet, Preferred: p.Preferred, Valid: p.Valid})
		}
		if len(subnets) < len(r.Downstreams) {
			s.log.Warn("a delegated prefix is too long for all downstream interfaces", "section", r.Name, "prefix", p.Prefix, "subnets", len(subnets))
		}
	}
	for _, had := range s.requested[r.Name] {
		if !slices.Contains(given, had) {
			s.numberDownstream(now, nil, role.NumberDownstream{Interface: had.link, Prefix: had.prefix})
		}
	}
	s.requested[r.Name] = given
}

// requestedPrefix is a /64 that a prefix request has given to an interface.
type requestedPrefix struct {
	link   string
	prefix netip.Prefix
}

// applyRequests follows a change of the configuration: clients that are not wanted
// end, others have other settings, and prefixes that nobody requests go.
func (s *Shell) applyRequests(now time.Time) {
	for name := range s.requested {
		i := slices.IndexFunc(s.config.PrefixRequests, func(r config.PrefixRequest) bool { return r.Name == name })
		if i < 0 {
			s.numberRequest(now, config.PrefixRequest{Name: name}, nil)
			delete(s.requested, name)
		}
	}
	for _, index := range slices.Sorted(maps.Keys(s.clients)) {
		u := s.clients[index]
		request, requested := s.requestOn(u.link.Name)
		if u.machine != nil && !u.ending {
			c := s.clientConfig(u.link, request)
			s.carryOut(u.machine, u.machine.Reconfigure(now, c))
		}
		if requested {
			s.numberRequest(now, request, u.leaseAt(now).Prefixes)
		}
		s.serveUplink(now, u)
	}
	for _, l := range s.links {
		if _, served := s.clients[l.Index]; !served {
			s.clientLinkChanged(now, role.Link{}, l)
		}
	}
}
