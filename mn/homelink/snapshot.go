package homelink

import (
	"net/netip"
	"time"

	"roam6/internal/deadline"
)

// Snapshot is the knowledge of the home link as show tells it.
type Snapshot struct {
	Discovering bool    // requests are sent and not answered
	Agents      []Agent // in order of preference
	Prefixes    []Prefix
}

// Agent is a home agent.
type Agent struct {
	Addr       netip.Addr
	Origin     Origin
	State      AgentState
	Preference int16         // advertised; of those heard on the home link
	RetryAfter time.Duration // of one that failed: until it is tried again
}

// AgentState is what became of a home agent.
type AgentState uint8

// States of home agents.
const (
	Candidate    AgentState = iota + 1 // to be tried when the one in use fails
	Current                            // registering with it
	Registered                         // it accepted the registration
	DidNotAnswer                       // left alone for a while
	DidNotAccept                       // left alone for a while
)

func (s AgentState) String() string {
	switch s {
	case Candidate:
		return "candidate"
	case Current:
		return "current"
	case Registered:
		return "registered"
	case DidNotAnswer:
		return "unanswered"
	case DidNotAccept:
		return "refused"
	default:
		return "unknown"
	}
}

// Prefix is a prefix of the home link.
type Prefix struct {
	Prefix           netip.Prefix
	Home             bool          // that of the home address
	Preferred, Valid time.Duration // remaining; mip6.InfiniteLifetime: for ever
}

// Snapshot returns what is known now.
func (h *HomeLink) Snapshot(now time.Time) Snapshot {
	s := Snapshot{Discovering: h.discovery.outstanding}
	for _, a := range h.agents {
		s.Agents = append(s.Agents, Agent{
			Addr: a.addr, Origin: a.origin, State: h.state(now, a), Preference: a.preference,
			RetryAfter: max(a.retry.Sub(now), 0),
		})
	}
	for _, p := range h.prefixes {
		v := Prefix{
			Prefix: p.prefix, Home: p.prefix == h.config.HomePrefix.Masked(),
			Preferred: deadline.Remaining(now, p.preferredUntil), Valid: deadline.Remaining(now, p.validUntil),
		}
		if p.deprecated {
			v.Preferred = 0
		}
		s.Prefixes = append(s.Prefixes, v)
	}
	return s
}

func (h *HomeLink) state(now time.Time, a *agent) AgentState {
	switch {
	case a == h.current && a.addr == h.reg.agent && h.reg.holds(now):
		return Registered
	case !a.eligible(now) && a.failure != Unanswered:
		return DidNotAccept
	case !a.eligible(now):
		return DidNotAnswer
	case a == h.current:
		return Current
	default:
		return Candidate
	}
}
