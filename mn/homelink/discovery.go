package homelink

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
)

// mayDiscover: requests are sent only from a care-of address. At home the
// advertisements of the home agents are heard.
func (h *HomeLink) mayDiscover() bool {
	return h.config.Discover && h.place.careOf.IsValid() && !h.place.home && mip6.HomeAgentsAnycast(h.config.HomePrefix).IsValid()
}

// discoveryDue sends a Home Agent Address Discovery Request, or gives up for a
// while (RFC 6275 §11.4.1).
func (h *HomeLink) discoveryDue(now time.Time) {
	if h.config.Discover && h.current == nil {
		h.discovery.want(now)
	}
	if !h.mayDiscover() || !deadline.Due(now, h.discovery.next()) {
		return
	}
	if h.discovery.sends > DHAADRetries {
		h.discovery.rest(now, leastDiscoveryPause, mostDiscoveryPause)
		h.log(slog.LevelWarn, "no answer to home agent discovery", slog.Duration("again_in", h.discovery.at.Sub(now)))
		return
	}
	if !h.requests.Allow(now, requestRate) {
		h.discovery.at = now.Add(requestRate.Every)
		return
	}
	h.discovery.sent(now, InitialDHAADTimeout, InitialDHAADTimeout<<DHAADRetries, h.config.Random)
	h.act(role.SendICMP{Link: h.place.link, Packet: mip6.ICMPPacket{
		Source: h.place.careOf, Destination: mip6.HomeAgentsAnycast(h.config.HomePrefix),
		Message: mip6.HomeAgentRequest{Identifier: h.discovery.identifier, MobileRouter: h.config.MobileRouter},
	}})
}

// replied handles a Home Agent Address Discovery Reply (RFC 6275 §11.4.1,
// RFC 3963 §7.2).
func (h *HomeLink) replied(now time.Time, p mip6.ICMPPacket, m mip6.HomeAgentReply) {
	switch {
	case p.Destination != h.place.careOf || h.place.home:
		return // to another node of this host, or to where we were
	case p.HomeAddress.IsValid() || p.RouteHome.IsValid() || !h.homeAgentSource(p.Source):
		h.drop(role.DropUnexpected, p)
		return
	case !h.discovery.matches(m.Identifier):
		h.drop(role.DropUnsolicited, p)
		return
	}
	if h.config.MobileRouter && !m.MobileRouter {
		h.log(slog.LevelWarn, "no home agent on the home link serves mobile routers", slog.String("answered_by", p.Source.String()))
		h.discovery.rest(now, leastDiscoveryPause, mostDiscoveryPause)
		return
	}
	found := h.usable(m.HomeAgents)
	if len(found) == 0 {
		h.drop(role.DropUnroutable, p)
		return
	}
	h.discovery.answered(now, leastDiscoveryPause)
	h.log(slog.LevelInfo, "home agents discovered", slog.Any("home_agents", found), slog.String("answered_by", p.Source.String()))
	h.replaceDiscovered(found)
	if a := h.findAgent(p.Source); a != nil && a.failure != Refused && a.failure != Lacking {
		a.retry = time.Time{} // it answers now
	}
	h.choose(now)
}

// homeAgentSource reports whether a reply may come from an address: one of the
// home link's, or a configured home agent's.
func (h *HomeLink) homeAgentSource(a netip.Addr) bool {
	return mip6.Routable(a) && (h.config.HomePrefix.Contains(a) || slices.Contains(h.config.Agents, a))
}

// usable returns the addresses of a reply that a home agent may have, in their
// order, a bounded number of them.
func (h *HomeLink) usable(addrs []netip.Addr) []netip.Addr {
	var found []netip.Addr
	for _, a := range addrs {
		if len(found) == maxDiscovered {
			break
		}
		if !mip6.Routable(a) || a == h.config.HomeAddress || a == h.place.careOf ||
			a == mip6.HomeAgentsAnycast(h.config.HomePrefix) || slices.Contains(found, a) {
			continue
		}
		found = append(found, a)
	}
	return found
}
