package homelink

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// agentHeard keeps the list of home agents on the home link (RFC 6275 §10.5.1):
// an entry is named by the router's link-local address, and has the first global
// address that it tells, one of the home prefix preferred.
func (h *HomeLink) agentHeard(now time.Time, e role.RouterHeard) {
	preference, lifetime, serves := service(e.RA, h.config.MobileRouter)
	global := globalAddress(e.RA, h.config.HomePrefix)
	mine := func(a *agent) bool { return a.origin == Heard && a.router == e.Router }
	if !serves || lifetime == 0 || !global.IsValid() {
		h.agents = slices.DeleteFunc(h.agents, func(a *agent) bool { return mine(a) && a != h.current })
		return
	}
	a := h.findAgent(global)
	switch {
	case a == nil:
		// Whatever else this router told its address to be is replaced.
		h.agents = slices.DeleteFunc(h.agents, func(a *agent) bool { return mine(a) && a != h.current })
		if h.heard() >= maxRouters {
			return
		}
		a = &agent{addr: global, origin: Heard}
		h.agents = append(h.agents, a)
	case a.origin != Heard:
		return // known by better means
	}
	a.router, a.preference, a.until = e.Router, preference, now.Add(lifetime)
	h.sortAgents()
}

// heard is the number of agents heard on the home link.
func (h *HomeLink) heard() (n int) {
	for _, a := range h.agents {
		if a.origin == Heard {
			n++
		}
	}
	return n
}

// service tells whether an advertisement is of a home agent that serves us, with
// what preference and for how long (RFC 6275 §7.4, §10.5.1; RFC 3963 §7.3).
func service(ra nd.RouterAdvertisement, mobileRouter bool) (preference int16, lifetime time.Duration, serves bool) {
	info := ra.HomeAgentInfo
	if info == nil {
		return 0, ra.RouterLifetime, ra.HomeAgent && !mobileRouter
	}
	return info.Preference, info.Lifetime, ra.HomeAgent && (info.MobileRouter || !mobileRouter)
}

// globalAddress is an address that a router tells as its own (R bit, RFC 6275
// §7.2).
func globalAddress(ra nd.RouterAdvertisement, home netip.Prefix) netip.Addr {
	var found netip.Addr
	for _, o := range ra.Prefixes {
		a := o.Prefix.Addr()
		if !o.RouterAddress || !mip6.Routable(a) {
			continue
		}
		if home.Contains(a) {
			return a
		}
		if !found.IsValid() {
			found = a
		}
	}
	return found
}
