package homelink

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
)

// Failure is how a home agent failed.
type Failure uint8

// Failures.
const (
	// Unanswered: several binding updates got no answer.
	Unanswered Failure = iota + 1
	// Refused: it does not want to serve this mobile.
	Refused
	// Defended: it found that another home agent still defends the home address. It
	// will serve when that one has let go.
	Defended
	// Rejected: it will not serve this mobile until somebody changes something, and
	// is not to be asked before the configuration does.
	Rejected
	// Lacking: it serves, but does not do all that is wanted of it. One that does not
	// answer is left for it at once.
	Lacking
)

func (f Failure) String() string {
	switch f {
	case Unanswered:
		return "unanswered"
	case Refused:
		return "refused"
	case Defended:
		return "defended"
	case Rejected:
		return "rejected"
	case Lacking:
		return "lacking"
	default:
		return "unknown"
	}
}

// Origin is how a home agent became known, in order of preference.
type Origin uint8

// Origins.
const (
	Configured Origin = iota + 1
	Discovered        // by a reply to discovery
	Heard             // by its advertisements on the home link
)

func (o Origin) String() string {
	switch o {
	case Configured:
		return "configured"
	case Discovered:
		return "discovered"
	case Heard:
		return "heard"
	default:
		return "unknown"
	}
}

// agent is a candidate.
type agent struct {
	addr   netip.Addr
	origin Origin
	rank   int // within its origin, the first is preferred

	failure  Failure   // the last one
	rejected bool      // not to be tried until reconfigured
	strikes  uint      // failures in a row
	retry    time.Time // not before; zero: any time

	// Of those heard on the home link (RFC 6275 §10.5.1).
	router     netip.Addr // link-local
	preference int16
	until      time.Time // the home agent lifetime ends
}

func (a *agent) eligible(now time.Time) bool { return !a.rejected && !now.Before(a.retry) }

// Failed tells that Agent does not serve, and makes another one the Agent if
// there is one to try; if there is none, discovery begins where it is permitted.
// The caller has waited InitialBindackTimeoutFirstReg at least for an answer
// (RFC 6275 §11.4.1).
func (h *HomeLink) Failed(now time.Time, f Failure) []role.Action {
	h.out = nil
	a := h.current
	if a == nil {
		return h.finish(now)
	}
	if a.eligible(now) {
		pause := unansweredPause
		if f == Refused || f == Rejected || f == Lacking {
			pause = refusedPause
		}
		if f == Defended {
			a.strikes = 0
		}
		a.retry = now.Add(min(pause<<min(a.strikes, 10), mostAgentPause))
		a.strikes++
	}
	a.failure, a.rejected = f, a.rejected || f == Rejected
	if a.addr == h.reg.agent {
		h.reg.expires = time.Time{}
	}
	h.choose(now)
	if h.current == a && h.config.Discover {
		h.discovery.want(now)
	}
	return h.finish(now)
}

// Pardon has the agents that have refused something tried again in their order, the
// present one before them: it is not asked for any more.
func (h *HomeLink) Pardon() {
	for _, a := range h.agents {
		if a.failure == Refused || a.failure == Lacking {
			a.retry = time.Time{}
		}
	}
}

// forgive ends long pauses of the other agents when one has answered: they did not
// answer at a time when the way to the home link was bad, perhaps.
func (h *HomeLink) forgive(now time.Time) {
	soon := now.Add(unansweredPause)
	for _, a := range h.agents {
		if a != h.current && a.failure != Refused && a.failure != Lacking && a.retry.After(soon) {
			a.strikes, a.retry = 1, soon
		}
	}
}

// choose makes another candidate the agent if the present one has failed: the
// first that may be tried. Where there is none, the present one stays, unless it has
// rejected the mobile and another one has not.
func (h *HomeLink) choose(now time.Time) {
	old := h.current
	if !slices.Contains(h.agents, old) {
		old, h.current = nil, nil
	}
	if old != nil && old.eligible(now) {
		return
	}
	i := slices.IndexFunc(h.agents, func(a *agent) bool { return a.eligible(now) })
	if i < 0 && (old == nil || old.rejected) {
		i = slices.IndexFunc(h.agents, func(a *agent) bool { return !a.rejected })
	}
	if i < 0 && old != nil && old.failure == Unanswered {
		i = slices.IndexFunc(h.agents, func(a *agent) bool { return a.failure == Lacking && !a.rejected })
		if i >= 0 {
			h.agents[i].retry = time.Time{}
		}
	}
	switch {
	case i >= 0:
		h.current = h.agents[i]
	case old == nil && len(h.agents) > 0:
		h.current = h.agents[0]
	}
	switch {
	case h.current == old:
	case old == nil:
		h.log(slog.LevelInfo, "home agent chosen", slog.String("home_agent", h.current.addr.String()),
			slog.String("origin", h.current.origin.String()))
	default:
		h.log(slog.LevelWarn, "home agent does not serve, trying another one", slog.String("home_agent", old.addr.String()),
			slog.String("reason", old.failure.String()), slog.String("next", h.current.addr.String()))
	}
}

// agentsDue forgets agents whose lifetime has ended, and tries another one when
// its pause is over and the present one has failed.
func (h *HomeLink) agentsDue(now time.Time) {
	h.agents = slices.DeleteFunc(h.agents, func(a *agent) bool { return a != h.current && deadline.Due(now, a.until) })
	for _, a := range h.agents {
		if deadline.Due(now, a.retry) {
			a.retry = time.Time{}
		}
	}
	h.choose(now)
}

// nextAgent is when agentsDue has something to do.
func (h *HomeLink) nextAgent() time.Time {
	var next time.Time
	waiting := h.current != nil && !h.current.retry.IsZero()
	for _, a := range h.agents {
		if a != h.current {
			next = deadline.Earlier(next, a.until)
			if waiting {
				next = deadline.Earlier(next, a.retry)
			}
		}
	}
	return next
}

// configureAgents puts the configured agents first. Of the others none stays
// where discovery is not permitted.
func (h *HomeLink) configureAgents() {
	kept := slices.DeleteFunc(h.agents, func(a *agent) bool { return a.origin == Configured || !h.config.Discover })
	h.agents = nil
	for i, addr := range h.config.Agents {
		h.agents = append(h.agents, h.known(addr, Configured, i))
	}
	for _, a := range kept {
		if h.findAgent(a.addr) == nil {
			h.agents = append(h.agents, a)
		}
	}
}

// known returns the entry of an agent that is the current one, or a new one.
func (h *HomeLink) known(addr netip.Addr, o Origin, rank int) *agent {
	a := h.current
	if a == nil || a.addr != addr {
		a = &agent{addr: addr}
	}
	a.origin, a.rank = o, rank
	a.router, a.preference, a.until = netip.Addr{}, 0, time.Time{}
	return a
}

// replaceDiscovered takes over the list of a reply. The current agent stays: a
// list that lacks it is no reason to leave it.
func (h *HomeLink) replaceDiscovered(found []netip.Addr) {
	old := h.agents
	h.agents = slices.DeleteFunc(slices.Clone(old), func(a *agent) bool { return a.origin == Discovered })
	for i, addr := range found {
		if a := h.findAgent(addr); a != nil {
			if a.origin == Heard {
				a.origin, a.rank, a.router, a.until = Discovered, i, netip.Addr{}, time.Time{}
			}
			continue
		}
		a := &agent{addr: addr}
		if j := slices.IndexFunc(old, func(o *agent) bool { return o.addr == addr }); j >= 0 {
			a = old[j] // with its failures
		}
		a.origin, a.rank = Discovered, i
		h.agents = append(h.agents, a)
	}
	if h.current != nil && !slices.Contains(h.agents, h.current) {
		h.current.rank = len(found)
		h.agents = append(h.agents, h.current)
	}
	h.sortAgents()
}

// Several reports whether more than one home agent is known.
func (h *HomeLink) Several() bool { return len(h.agents) > 1 }

func (h *HomeLink) findAgent(addr netip.Addr) *agent {
	for _, a := range h.agents {
		if a.addr == addr {
			return a
		}
	}
	return nil
}

func (h *HomeLink) sortAgents() {
	slices.SortStableFunc(h.agents, func(a, b *agent) int {
		return cmp.Or(cmp.Compare(a.origin, b.origin), cmp.Compare(a.rank, b.rank), cmp.Compare(b.preference, a.preference))
	})
}
