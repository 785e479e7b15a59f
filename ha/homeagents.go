package ha

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/order"
	"roam6/internal/role"
	"roam6/mip6"
)

// Bounds of the home agents list: whoever is on the home link can fill it.
const (
	maxHomeAgents         = 32
	maxHomeAgentAddresses = 8
)

// homeAgent is another home agent on the home link (RFC 6275 §10.1).
type homeAgent struct {
	router        netip.Addr // link-local
	addresses     []agentAddress
	preference    int16
	mobileRouters bool
	expires       time.Time
}

// agentAddress is a global address of a home agent, which ends with its prefix;
// zero: never.
type agentAddress struct {
	addr       netip.Addr
	validUntil time.Time
}

// valid are the addresses whose prefixes are valid.
func (h homeAgent) valid(now time.Time) (list []netip.Addr) {
	for _, a := range h.addresses {
		if a.validUntil.IsZero() || a.validUntil.After(now) {
			list = append(list, a.addr)
		}
	}
	return list
}

// routerHeard maintains the home agents list (RFC 6275 §10.5.1).
func (a *Agent) routerHeard(e role.RouterHeard) {
	if a.link.Index == 0 || e.Link != a.link.Index || e.Router == a.link.LinkLocal {
		return
	}
	a.expireAgents()
	i := slices.IndexFunc(a.agents, func(h homeAgent) bool { return h.router == e.Router })
	heard := homeAgent{router: e.Router}
	lifetime := e.RA.RouterLifetime
	if info := e.RA.HomeAgentInfo; info != nil {
		heard.preference, heard.mobileRouters, lifetime = info.Preference, info.MobileRouter, info.Lifetime
	}
	if !e.RA.HomeAgent || lifetime <= 0 {
		if i >= 0 {
			a.logAgent("home agent gone", a.agents[i])
			a.agents = slices.Delete(a.agents, i, i+1)
		}
		return
	}
	heard.expires = a.now.Add(lifetime)
	if i >= 0 {
		heard.addresses = a.agents[i].addresses
	}
	for _, p := range e.RA.Prefixes {
		a.learnAddress(&heard, p)
	}
	switch {
	case i >= 0:
		a.agents[i] = heard
	case len(heard.addresses) == 0: // RFC 6275 §7.2: it must tell one
	case len(a.agents) == maxHomeAgents:
		a.logAgent("too many home agents", heard)
	default:
		a.agents = append(a.agents, heard)
		a.logAgent("home agent heard", heard)
		a.agentAppeared(heard.router)
	}
}

// learnAddress takes the address of a home agent from one of the prefixes that it
// advertises (RFC 6275 §7.2, flag R), and forgets one whose prefix it withdraws.
func (a *Agent) learnAddress(h *homeAgent, p mip6.PrefixInformation) {
	addr := p.Prefix.Addr()
	if !p.RouterAddress || !mip6.Routable(addr) || addr == a.config.Address || a.homes[addr] != nil {
		return
	}
	i := slices.IndexFunc(h.addresses, func(o agentAddress) bool { return o.addr == addr })
	learned := agentAddress{addr: addr}
	if p.ValidLifetime < mip6.InfiniteLifetime {
		learned.validUntil = a.now.Add(p.ValidLifetime)
	}
	switch {
	case p.ValidLifetime <= 0 && i >= 0:
		h.addresses = slices.Delete(h.addresses, i, i+1)
	case p.ValidLifetime <= 0:
	case i >= 0:
		h.addresses[i] = learned
	case len(h.addresses) < maxHomeAgentAddresses:
		h.addresses = append(h.addresses, learned)
	}
}

// expireAgents forgets the home agents and addresses whose time is over. Nothing
// uses those it has not been called for, so it needs no timer.
func (a *Agent) expireAgents() {
	a.agents = slices.DeleteFunc(a.agents, func(h homeAgent) bool { return !h.expires.After(a.now) })
	for i := range a.agents {
		a.agents[i].addresses = slices.DeleteFunc(a.agents[i].addresses, func(o agentAddress) bool {
			return !o.validUntil.IsZero() && !o.validUntil.After(a.now)
		})
	}
}

func (a *Agent) logAgent(message string, h homeAgent) {
	if a.conflicts.Allow(a.now, complaints) {
		a.do(role.Log{Level: slog.LevelInfo, Message: message, Attrs: []slog.Attr{
			slog.Any("router", h.router), slog.Any("addresses", h.valid(a.now)), slog.Int("preference", int(h.preference))}})
	}
}

// HomeAgentEntry is an entry of the home agents list for people to see.
type HomeAgentEntry struct {
	LinkLocal     netip.Addr // on the home link; invalid where there is none
	Addresses     []netip.Addr
	Preference    int16
	Remaining     time.Duration // of the lifetime
	Self          bool          // this home agent; its entry does not expire
	MobileRouters bool          // serves mobile routers (RFC 3963)
}

// HomeAgents returns the home agents list, the most preferred first.
func (a *Agent) HomeAgents(now time.Time) []HomeAgentEntry {
	list := []HomeAgentEntry{{
		LinkLocal: a.link.LinkLocal, Addresses: []netip.Addr{a.config.Address}, Preference: a.config.Preference,
		Remaining: a.config.Lifetime, Self: true, MobileRouters: a.config.MobileRouters,
	}}
	for _, h := range a.agents {
		if left := h.expires.Sub(now); left > 0 {
			list = append(list, HomeAgentEntry{LinkLocal: h.router, Addresses: h.valid(now), Preference: h.preference,
				Remaining: left, MobileRouters: h.mobileRouters})
		}
	}
	order.SortStable(list, func(x, y HomeAgentEntry) int {
		if by := cmp.Compare(y.Preference, x.Preference); by != 0 || x.Self || y.Self {
			return by
		}
		return x.LinkLocal.Compare(y.LinkLocal)
	})
	return list
}
