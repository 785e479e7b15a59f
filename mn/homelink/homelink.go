// Package homelink is what a mobile node knows of its home link while it is
// away: which home agents serve there (RFC 6275 §11.4.1, RFC 3963 §7), in what
// order to try them, and which prefixes the link has (§11.4.2, §11.4.3). It is a
// pure part of a mobile node: the node calls it and carries out its actions.
//
// Home agents: the configured ones come first, in their order; then those that
// discovery found, in the order of the reply; then those heard on the home link,
// by preference. The one in use stays until it fails. Then the next one is
// tried, and the one that failed is left alone for a time that doubles with each
// failure. When all have failed discovery asks for others, while the last one
// tried remains the Agent: the mobile goes on asking it, ever more rarely, until
// the pause of another one ends. So two dead agents do not make it flap, and it
// never falls silent.
//
// Trust: discovery is not authenticated at all. A reply is accepted if it
// answers the identifier of our request, and all it can do is to name candidates;
// a false agent cannot authenticate a binding acknowledgement. Prefix
// advertisements are to be protected by IPsec (RFC 6275 §6.8). Without it the
// random identifier of a solicitation under way is all that tells them from
// forged ones, so an unsolicited one changes nothing (§11.4.3 demands that
// anyway): it only makes us solicit, which acknowledges it too. A lifetime is
// never shortened below two hours by an advertisement (RFC 4862 §5.5.3).
package homelink

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/limit"
	"roam6/internal/role"
	"roam6/mip6"
)

// HomeLink is a mobile's knowledge of its home link. It is not safe for
// concurrent use: the mobile node owns it.
type HomeLink struct {
	config Config
	place  place
	reg    registration

	agents   []*agent // in order of preference
	current  *agent   // nil while none is known
	prefixes []*prefix
	informed netip.Addr // the agent that told the prefixes
	renewAt  time.Time  // when to ask for the prefixes again; zero: no need
	answered struct {   // the solicitation that was answered last
		identifier uint16
		ok         bool
	}

	discovery    exchange
	solicitation exchange
	requests     limit.Limiter
	solicits     limit.Limiter

	out []role.Action // of the call under way
}

// place is where the mobile is.
type place struct {
	careOf netip.Addr // invalid: nowhere
	link   int
	home   bool
}

// registration is the last one that a home agent accepted.
type registration struct {
	agent   netip.Addr // stays when the registration has ended (RFC 6275 §11.4.3)
	careOf  netip.Addr
	expires time.Time // zero: not registered
}

func (r registration) holds(now time.Time) bool { return now.Before(r.expires) }

// New returns the knowledge of a mobile that is nowhere. The configuration must
// be valid.
func New(c Config) *HomeLink {
	h := &HomeLink{config: c}
	h.configureAgents()
	h.choose(time.Time{})
	return h
}

// Reconfigure applies a new configuration with the same home address. The
// failures of agents are forgiven. A registration that holds is kept to if its
// agent is still among the configured (RFC 6275 §11.4.1).
func (h *HomeLink) Reconfigure(now time.Time, c Config) []role.Action {
	h.out = nil
	old := h.config
	h.config = c
	if old.HomePrefix != c.HomePrefix {
		h.prefixes, h.informed, h.renewAt = nil, netip.Addr{}, time.Time{}
		h.solicitation.reset()
	}
	changed := !slices.Equal(old.Agents, c.Agents) || old.Discover != c.Discover || old.MobileRouter != c.MobileRouter
	if changed || old.HomePrefix != c.HomePrefix {
		h.discovery.reset()
		h.configureAgents()
		if h.current == nil || !h.reg.holds(now) || h.current.addr != h.reg.agent {
			h.current = nil
		}
	}
	for _, a := range h.agents {
		a.strikes, a.retry, a.rejected = 0, time.Time{}, false
	}
	h.choose(now)
	return h.finish(now)
}

// Agent is the home agent to register with now; invalid while none is known. It
// may change with every call, Timeout included.
func (h *HomeLink) Agent() netip.Addr {
	if h.current == nil {
		return netip.Addr{}
	}
	return h.current.addr
}

// Attach tells where the mobile is now; a zero careOf is nowhere. home: on the
// home link, where agents and prefixes are learned from router advertisements.
// It comes before the RouterHeard of that link.
func (h *HomeLink) Attach(now time.Time, careOf netip.Addr, link int, home bool) []role.Action {
	h.out = nil
	to := place{careOf: careOf, link: link, home: home}
	if to == h.place {
		return h.finish(now)
	}
	h.place = to
	// Another way may reach what the last one did not.
	h.discovery.moved(now)
	h.solicitation.relocated(now)
	return h.finish(now)
}

// Registered tells that Agent accepted a home registration, a renewal, or, with
// a zero time, the end of one.
func (h *HomeLink) Registered(now time.Time, careOf netip.Addr, expires time.Time) []role.Action {
	h.out = nil
	if h.current == nil || !now.Before(expires) {
		h.reg.expires = time.Time{}
		return h.finish(now)
	}
	h.reg = registration{agent: h.current.addr, careOf: careOf, expires: expires}
	h.current.strikes, h.current.retry = 0, time.Time{}
	h.forgive(now)
	h.discovery.reset()
	if h.informed != h.current.addr {
		h.solicitation.want(now)
	}
	return h.finish(now)
}

// PrefixesDue tells that the home agent wants the mobile to ask for the
// prefixes: it acknowledged with status 1 (RFC 6275 §11.7.3).
func (h *HomeLink) PrefixesDue(now time.Time) []role.Action {
	h.out = nil
	h.solicitation.want(now)
	return h.finish(now)
}

// Handle takes ICMPReceived, RouterHeard and Timeout; everything else does not
// concern the home link.
func (h *HomeLink) Handle(now time.Time, e role.Event) []role.Action {
	h.out = nil
	switch e := e.(type) {
	case role.ICMPReceived:
		h.received(now, e.Packet)
	case role.RouterHeard:
		if h.place.home && e.Link == h.place.link {
			h.routerHeard(now, e)
		}
	case role.Timeout:
	default:
		return nil
	}
	return h.finish(now)
}

// received handles an ICMPv6 message. The others are for home agents.
func (h *HomeLink) received(now time.Time, p mip6.ICMPPacket) {
	switch m := p.Message.(type) {
	case mip6.HomeAgentReply:
		h.replied(now, p, m)
	case mip6.PrefixAdvertisement:
		h.advertised(now, p, m)
	case mip6.HomeAgentRequest, mip6.PrefixSolicitation:
	}
}

// finish does what is due and returns the actions of the call.
func (h *HomeLink) finish(now time.Time) []role.Action {
	if !h.reg.expires.IsZero() && !h.reg.holds(now) {
		h.reg.expires = time.Time{}
	}
	h.agentsDue(now)
	h.prefixesDue(now)
	h.discoveryDue(now)
	h.solicitationDue(now)
	out := h.out
	h.out = nil
	return out
}

// Next is when Timeout must be delivered; zero is never.
func (h *HomeLink) Next() time.Time {
	next := deadline.Earlier(h.reg.expires, h.nextAgent())
	for _, p := range h.prefixes {
		next = deadline.Earlier(next, p.next())
	}
	if h.mayDiscover() {
		next = deadline.Earlier(next, h.discovery.next())
	}
	if h.maySolicit() {
		next = deadline.Earlier(next, h.solicitation.next())
	}
	return deadline.Earlier(next, h.renewAt)
}

func (h *HomeLink) act(a role.Action) { h.out = append(h.out, a) }

func (h *HomeLink) drop(r role.DropReason, p mip6.ICMPPacket) {
	h.act(role.Dropped{Reason: r, From: p.From()})
}

// log adds a line that names the node and its home address.
func (h *HomeLink) log(level slog.Level, message string, attrs ...slog.Attr) {
	all := append([]slog.Attr{slog.String("node", h.config.Name), slog.String("home", h.config.HomeAddress.String())}, attrs...)
	h.act(role.Log{Level: level, Message: message, Attrs: all})
}
