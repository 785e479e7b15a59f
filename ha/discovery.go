package ha

import (
	"cmp"
	"net/netip"
	"slices"

	"roam6/internal/limit"
	"roam6/internal/order"
	"roam6/internal/role"
	"roam6/mip6"
)

// maxDiscovered is how many addresses a discovery reply has room for in a packet
// of 1280 octets, which no link fragments (RFC 6275 §10.5.1).
const maxDiscovered = (1280 - 40 - 8) / 16

// discovery limits the replies to discovery requests, which nobody has to
// authenticate: to each sender, so that one that floods does not keep the others
// from being answered, and to all.
type discovery struct {
	all  limit.Limiter
	each *limit.Sources
}

func newDiscovery(random func([]byte)) discovery {
	var seed limit.Seed
	if random != nil {
		random(seed[:])
	}
	return discovery{each: limit.NewSources(discoveries, seed)}
}

// receiveICMP takes in an ICMPv6 message of Mobile IPv6.
func (a *Agent) receiveICMP(p mip6.ICMPPacket) {
	switch m := p.Message.(type) {
	case mip6.HomeAgentRequest:
		a.discover(p, m)
	case mip6.PrefixSolicitation:
		a.solicit(p, m)
	case mip6.HomeAgentReply, mip6.PrefixAdvertisement, nil:
		a.drop(role.DropUnexpected, p.Source)
	}
}

// discover answers a home agent address discovery request (RFC 6275 §10.5.1):
// whoever asks, at the address it asks from (§6.5).
func (a *Agent) discover(p mip6.ICMPPacket, request mip6.HomeAgentRequest) {
	home := a.prefixOf(p.Destination)
	switch {
	case p.HomeAddress.IsValid():
		a.drop(role.DropNoHomeAddress, p.Source)
		return
	case home == nil || p.RouteHome.IsValid() || p.Destination != mip6.HomeAgentsAnycast(home.Prefix):
		a.drop(role.DropNotForUs, p.Source)
		return
	case !home.ValidUntil.IsZero() && !home.ValidUntil.After(a.now):
		a.drop(role.DropNotForUs, p.Source)
		return
	case !mip6.Routable(p.Source) || p.Source == a.config.Address || p.Source == p.Destination:
		a.drop(role.DropUnroutable, p.Source)
		return
	case !a.discovery.each.Allow(a.now, p.Source) || !a.discovery.all.Allow(a.now, allDiscoveries):
		a.drop(role.DropRateLimited, p.Source)
		return
	}
	agents, routers := a.discovered(request.MobileRouter)
	a.counts.Discoveries++
	a.do(role.SendICMP{Packet: mip6.ICMPPacket{
		Source: a.config.Address, Destination: p.Source,
		Message: mip6.HomeAgentReply{Identifier: request.Identifier, MobileRouter: routers, HomeAgents: agents},
	}})
}

// discovered are the addresses for a reply, the preferred ones first and those of
// equal preference in random order. For a mobile router they are those of home
// agents that serve such, if there are any, and routers is true then (RFC 3963
// §7.2).
func (a *Agent) discovered(mobileRouter bool) (list []netip.Addr, routers bool) {
	a.expireAgents()
	agents := make([]homeAgent, 0, 1+len(a.agents))
	agents = append(agents, homeAgent{addresses: []agentAddress{{addr: a.config.Address}},
		preference: a.config.Preference, mobileRouters: a.config.MobileRouters})
	agents = append(agents, a.agents...)
	if mobileRouter {
		serve := func(h homeAgent) bool { return h.mobileRouters && len(h.addresses) > 0 }
		if routers = slices.ContainsFunc(agents, serve); routers {
			agents = slices.DeleteFunc(agents, func(h homeAgent) bool { return !serve(h) })
		}
	}
	shuffle(a, agents)
	order.SortStable(agents, func(x, y homeAgent) int { return cmp.Compare(y.preference, x.preference) })
	for _, h := range agents {
		addresses := h.valid(a.now)
		shuffle(a, addresses)
		for _, addr := range addresses {
			if len(list) < maxDiscovered && !slices.Contains(list, addr) {
				list = append(list, addr)
			}
		}
	}
	return list, routers
}

// shuffle puts a list into random order.
func shuffle[T any](a *Agent, list []T) {
	for i := len(list) - 1; i > 0; i-- {
		j := a.below(int64(i + 1))
		list[i], list[j] = list[j], list[i]
	}
}

// anycast are the anycast addresses that are joined on the home link.
type anycast struct {
	link  int
	addrs []netip.Addr
}

// joinAnycast joins the home agents' anycast address of each home prefix on the
// home link (RFC 6275 §8.4), and leaves those joined before that are not wanted
// any more. again repeats those that are there already: after the link was down.
func (a *Agent) joinAnycast(again bool) {
	if a.link.Index != a.anycast.link {
		a.leaveAnycast()
	}
	if a.link.Index == 0 || !a.link.Up {
		return
	}
	var wanted []netip.Addr
	for _, p := range a.prefixes {
		if addr := mip6.HomeAgentsAnycast(p.Prefix); addr.IsValid() {
			wanted = append(wanted, addr)
		}
	}
	for _, addr := range a.anycast.addrs {
		if !slices.Contains(wanted, addr) {
			a.do(role.LeaveAnycast{Link: a.anycast.link, Addr: addr})
		}
	}
	for _, addr := range wanted {
		if again || !slices.Contains(a.anycast.addrs, addr) {
			a.do(role.JoinAnycast{Link: a.link.Index, Addr: addr})
		}
	}
	a.anycast = anycast{link: a.link.Index, addrs: wanted}
}

// leaveAnycast leaves all of them.
func (a *Agent) leaveAnycast() {
	for _, addr := range a.anycast.addrs {
		a.do(role.LeaveAnycast{Link: a.anycast.link, Addr: addr})
	}
	a.anycast = anycast{}
}
