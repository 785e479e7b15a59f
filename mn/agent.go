package mn

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/mip6"
	"roam6/mn/homelink"
)

// The home agent is chosen by package homelink; here is what a change means. The
// old one may still hold a binding and defend the home address, so that the new
// one would refuse (RFC 6275 §11.7.1). An old one that answers is left in order:
// de-registered first (RFC 3963 §5.3). One that does not answer is left at once,
// and told as soon as another one has accepted, until its binding has run out:
// it may only have been out of reach. Each has a sequence space of its own.

// maxFormer bounds the home agents that are remembered.
const maxFormer = 8

// withdrawal says why a registration is ended while the node is away.
type withdrawal uint8

const (
	staying         withdrawal = iota // it is not
	withdrawRefused                   // the home agent does not serve us after all: then another one, or none
	withdrawSwitch                    // another home agent was chosen
	withdrawRenew                     // to register anew, as something else
)

func (n *Node) withdrawing() bool { return n.ending != staying }

// withdraw ends the registration. What comes then is in withdrawn.
func (n *Node) withdraw(now time.Time, why withdrawal) {
	if n.pending != nil {
		n.dropPending(now, "the registration ends")
	}
	n.ending = why
	n.freshTimeout()
	n.requestUpdate(now)
}

// withdrawn goes on after the home agent has acknowledged the end of the
// registration, or has not answered.
func (n *Node) withdrawn(now time.Time, status mip6.Status) {
	why := n.ending
	n.ending = staying
	n.reg.forget()
	n.settleDefault()
	switch why {
	case staying:
	case withdrawRefused:
		n.reject(now, status)
	case withdrawSwitch, withdrawRenew:
		if n.homeLink.Agent() != n.reg.agent {
			n.followAgent(now)
			return
		}
		n.freshTimeout()
		n.requestUpdate(now)
	}
}

// elsewhere asks another home agent for what this one has refused in its answer to
// s. When each has, they are asked for something else, this one first.
func (n *Node) elsewhere(now time.Time, s sent) {
	before := n.homeLink.Agent()
	n.failed(now, homelink.Lacking)
	if n.homeLink.Agent() == before {
		n.homeLink.Pardon()
		n.tryAgain(now, s)
	}
}

// reject gives a home agent up that will not serve this node until somebody
// changes something. When there is no other one all updates end.
func (n *Node) reject(now time.Time, status mip6.Status) {
	rejected := n.reg
	rejected.rejected = true
	rejected.forget()
	n.failed(now, homelink.Rejected)
	if n.reg == rejected {
		n.halt(status)
	}
}

// failed reports the home agent's failure and follows what is chosen then.
func (n *Node) failed(now time.Time, f homelink.Failure) {
	if n.homeLink.Agent() == n.reg.agent {
		n.out = append(n.out, n.homeLink.Failed(now, f)...)
	}
	n.followAgent(now)
}

// followAgent turns to the home agent that is chosen now.
func (n *Node) followAgent(now time.Time) {
	want := n.homeLink.Agent()
	a := n.current
	switch {
	case !want.IsValid() || want == n.reg.agent || n.stopping || n.withdrawing():
	case n.atHome() && a.homeState == homeReturning && n.reg.agent.IsValid():
		// The old one has to let the home address go.
	case n.reg.registered && n.reg.silent < n.config.Attempts && !n.atHome():
		n.withdraw(now, withdrawSwitch)
	default:
		n.switchAgent(now, want)
	}
}

// switchAgent begins to register with another home agent.
func (n *Node) switchAgent(now time.Time, want netip.Addr) {
	if n.pending != nil {
		n.dropPending(now, "another home agent comes first")
	}
	old := n.reg
	n.reg = n.registrationWith(want)
	if old.rejected && !n.reg.rejected {
		n.halted = false // every one that was known had refused; this one is new
	}
	old.retransmit, old.refresh, old.outstanding = time.Time{}, time.Time{}, nil
	if old.agent.IsValid() {
		n.remember(old)
	}
	a := n.current
	switch {
	case a == nil:
		return
	case a.home:
		if a.homeState == homeReturning || a.homeState == homeUnanswered {
			n.freshTimeout()
			n.requestUpdate(now)
		}
		return
	case n.reg.rejected: // and found anew
		n.reject(now, mip6.StatusReasonUnspecified)
		return
	}
	n.log(slog.LevelInfo, "turning to another home agent", slog.String("home_agent", want.String()))
	n.forward()
	n.settleDefault()
	n.freshTimeout()
	if n.reg.refusedUntil.After(now) {
		n.reg.retransmit = n.reg.refusedUntil
		return
	}
	n.requestUpdate(now)
}

// registrationWith returns what is known of a home agent.
func (n *Node) registrationWith(agent netip.Addr) *registration {
	i := slices.IndexFunc(n.former, func(r *registration) bool { return r.agent == agent })
	if i < 0 {
		return &registration{agent: agent}
	}
	r := n.former[i]
	n.former = slices.Delete(n.former, i, i+1)
	r.farewell, r.retransmit, r.outstanding = false, time.Time{}, nil
	r.heard()
	return r
}

// remember keeps a former home agent. Of too many one without a binding goes,
// else the oldest.
func (n *Node) remember(r *registration) {
	n.former = append(n.former, r)
	if len(n.former) <= maxFormer {
		return
	}
	victim := max(slices.IndexFunc(n.former, func(r *registration) bool { return !r.registered }), 0)
	n.former = slices.Delete(n.former, victim, victim+1)
}

// registrationOf returns the registration with the sender of a message, or nil.
func (n *Node) registrationOf(agent netip.Addr) *registration {
	if agent == n.reg.agent {
		return n.reg
	}
	for _, r := range n.former {
		if r.agent == agent {
			return r
		}
	}
	return nil
}

// carrier is the registration whose home agent carries the tunnel: the present
// one, or a former one as long as that has not accepted.
func (n *Node) carrier() *registration {
	if a := n.current; a != nil && !n.reg.registered {
		for _, r := range n.former {
			if _, ok := n.reaches(r.careOf, a); r.registered && ok {
				return r
			}
		}
	}
	return n.reg
}

// boundElsewhere reports whether another home agent may have a binding, and defend
// the home address: one that was asked for it, answered or not, or any, as long
// as one of an earlier life of this node may last.
func (n *Node) boundElsewhere(now time.Time) bool {
	for _, r := range n.former {
		if r.mayHold(now) {
			return true
		}
	}
	return (n.config.DiscoverHomeAgent || n.homeLink.Several()) && now.Before(n.began.Add(n.config.Lifetime+bindingDelay))
}

// sayFarewell ends the bindings that former home agents may still have.
func (n *Node) sayFarewell(now time.Time) {
	for _, r := range n.former {
		if r.mayHold(now) && !r.farewell && n.current.speaks() {
			r.farewell, r.timeout = true, InitialBindAckTimeout
			n.endBinding(now, r)
		}
	}
}

// farewells repeats what was not answered, as long as the binding may last.
func (n *Node) farewells(now time.Time) {
	for _, r := range n.former {
		if r.registered && !now.Before(r.expires) {
			r.forget()
		}
		if !r.mayHold(now) {
			r.farewell = false
		}
		if r.farewell && deadline.Due(now, r.retransmit) && n.current.speaks() {
			r.backOff()
			n.endBinding(now, r)
		}
	}
}

// endBinding sends a former home agent an update that ends its binding, as soon as the
// rate limit allows.
func (n *Node) endBinding(now time.Time, r *registration) {
	if t := r.earliest(now); t.After(now) {
		r.retransmit = t
		return
	}
	n.send(now, r, n.current, true)
}

// farewellAnswered handles an authentic acknowledgement of a former home agent.
func (n *Node) farewellAnswered(now time.Time, r *registration, a mip6.BindingAcknowledgement) {
	switch {
	case !r.farewell:
	case a.Status == mip6.StatusSequenceOutOfWindow:
		r.sequence = a.Sequence // for the next one
	case a.Status == mip6.StatusIDMismatch:
		if o, ok := mip6.Find[mip6.ReplayProtection](a); ok {
			r.adjustClock(now, o.Timestamp)
		}
	default:
		r.forget()
		r.farewell, r.held = false, time.Time{}
	}
}
