package mr

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
)

// Pauses between tries to have refused prefixes accepted after all, while the home
// agent serves in the other mode.
const (
	leastAgain = 5 * time.Minute
	mostAgain  = time.Hour
)

// maxSent is how many updates are remembered: as many as mn takes answers to.
const maxSent = 8

// registering is how the router registers, and with what success.
type registering struct {
	mode     Mode // the configured one, or the other after a refusal
	fellBack bool // the other mode was tried
	refused  bool // the home agent does not take our prefixes
	// agent is the home agent that the above is about: another one is asked as if
	// nothing had been.
	agent netip.Addr
	sent  []sentUpdate // the oldest first
	// again is when the configured mode is tried again; zero: not to be.
	again time.Time
	pause time.Duration
}

// sentUpdate is what an update said of the networks: its answer may come when they
// are others.
type sentUpdate struct {
	sequence mip6.Sequence
	mode     Mode
	prefixes []netip.Prefix // named
}

// Mode is the registration mode in use.
func (r *Router) Mode() Mode {
	if r.delegation != nil && len(r.delegation.leases) == 0 && !r.fellBack {
		return Implicit // RFC 6276 §3.1
	}
	return r.mode
}

// named are the prefixes that updates name now.
func (r *Router) named() []netip.Prefix {
	if r.Mode() != Explicit {
		return nil
	}
	return r.inner()
}

// inner are all prefixes of the mobile network.
func (r *Router) inner() []netip.Prefix {
	all := slices.Clone(r.config.Prefixes)
	if r.delegation == nil {
		return all
	}
	for _, l := range r.delegation.leases {
		if !slices.Contains(all, l.prefix) {
			all = append(all, l.prefix)
		}
	}
	return all
}

// advertise tells whether the configured prefixes may be advertised in the mobile
// network; of delegated ones number does.
func (r *Router) advertise(usable bool) []role.Action {
	var out []role.Action
	for _, p := range r.config.Prefixes {
		out = append(out, role.AdvertisePrefix{Prefix: p, Usable: usable})
	}
	if r.delegation != nil {
		r.delegation.renumber = true
	}
	return out
}

// extension is the router as its node calls it; the indirection keeps these
// methods out of the router's own.
type extension struct{ r *Router }

// Extend sets the R flag and, in explicit mode, names the prefixes: in every
// update, refreshes too (RFC 3963 §5.2), but not in a de-registration (§5.8).
func (x extension) Extend(u *mip6.BindingUpdate, deregistration bool) {
	r := x.r
	u.Flags |= mip6.UpdateMobileRouter
	if deregistration {
		return
	}
	if agent := r.node.Agent(); agent != r.agent {
		r.agent, r.mode, r.fellBack, r.again, r.pause = agent, r.config.Mode, false, time.Time{}, 0
	}
	s := sentUpdate{u.Sequence, r.Mode(), r.named()}
	for _, p := range s.prefixes {
		u.Options = append(u.Options, mip6.MobileNetworkPrefix{Prefix: p})
	}
	if len(r.sent) == maxSent {
		r.sent = slices.Delete(r.sent, 0, 1)
	}
	r.sent = append(r.sent, s)
}

// Inner are the prefixes that enter the tunnel, refused ones too: the home agent
// drops their packets, and beside the tunnel they must not leave.
func (x extension) Inner() []netip.Prefix { return x.r.inner() }

// Judge reads the part of an acknowledgement that concerns a router
// (RFC 3963 §5.3, §5.4).
func (x extension) Judge(now time.Time, a mip6.BindingAcknowledgement) (mn.Verdict, []role.Action) {
	r := x.r
	s, current := r.update(a.Sequence)
	switch {
	case a.Status.Accepted() && a.Flags&mip6.AckMobileRouter == 0:
		return r.reject(mn.VerdictWithdraw, r.refusal("home agent does not support mobile routers, ending the registration", a.Status))
	case a.Status.Accepted():
		return mn.VerdictPlain, r.accepted(now, s, current)
	}
	switch a.Status {
	case mip6.StatusRouterNotPermitted:
		return r.reject(mn.VerdictReject, r.refusal("home agent does not permit mobile router operation", a.Status))
	case mip6.StatusInvalidPrefix, mip6.StatusNotAuthorizedForPrefix:
		if !current {
			return mn.VerdictRetry, nil
		}
		r.refused = true
		out := append(r.advertise(false), r.refusal("home agent refuses the mobile network prefixes, they are no longer advertised", a.Status))
		if s.mode == Implicit { // §5.4.1: must not happen, fatal
			return mn.VerdictStop, out
		}
		if r.delegation != nil {
			r.delegation.doubt() // §5.4.2: obtain them anew
		}
		return r.fallBack(out, s.mode, a.Status)
	case mip6.StatusForwardingSetupFailed:
		if !current {
			return mn.VerdictRetry, nil
		}
		out := []role.Action{r.refusal("home agent cannot set up forwarding for the mobile network", a.Status)}
		if s.mode == Explicit { // §5.4.2: must not happen, fatal
			return mn.VerdictStop, out
		}
		return r.fallBack(out, s.mode, a.Status)
	default:
		return mn.VerdictPlain, nil
	}
}

// update finds what an update said; current tells that one sent now would say the
// same, so that its answer counts.
func (r *Router) update(q mip6.Sequence) (s sentUpdate, current bool) {
	for _, s := range slices.Backward(r.sent) {
		if s.sequence == q {
			return s, s.mode == r.Mode() && slices.Equal(s.prefixes, r.named())
		}
	}
	return sentUpdate{}, false
}

// accepted notes that the home agent takes the prefixes, which it or another one
// may have refused. In implicit mode after a refusal it has not taken ours, but
// those it knows; ours are named again after a while.
func (r *Router) accepted(now time.Time, s sentUpdate, current bool) []role.Action {
	switch {
	case !r.refused || !current:
		return nil
	case s.mode == Implicit && r.fellBack:
		if r.again.IsZero() {
			r.pause = min(max(2*r.pause, leastAgain), mostAgain)
			r.again = now.Add(r.pause)
		}
		return nil
	}
	r.refused, r.again, r.pause = false, time.Time{}, 0
	return r.advertise(true)
}

// tryAgain asks in the configured mode again: somebody may have put the home agent
// right.
func (r *Router) tryAgain(now time.Time) []role.Action {
	r.again = time.Time{}
	r.mode, r.fellBack = r.config.Mode, false
	return r.node.InnerChanged(now, true)
}

// reject asks for another home agent, which is asked in the configured mode
// first.
func (r *Router) reject(verdict mn.Verdict, out ...role.Action) (mn.Verdict, []role.Action) {
	r.mode, r.fellBack, r.again, r.pause = r.config.Mode, false, time.Time{}, 0
	return verdict, out
}

// fallBack tries the mode other than the refused one once; after that every mode
// has failed with this home agent. If there is no other one the router must stop,
// and says so (RFC 3963 §5.4).
func (r *Router) fallBack(out []role.Action, refused Mode, why mip6.Status) (mn.Verdict, []role.Action) {
	next := refused.other()
	if r.fellBack || next == Explicit && len(r.inner()) == 0 {
		return r.reject(mn.VerdictReject, append(out, r.refusal("every registration mode was refused", why))...)
	}
	r.mode, r.fellBack = next, true
	return mn.VerdictRetry, append(out, r.refusal("trying "+next.String()+" registration", why))
}

func (r *Router) refusal(message string, why mip6.Status) role.Action {
	return r.log(slog.LevelError, message, slog.String("home_agent", r.node.Agent().String()),
		slog.Int("status", int(why)), slog.String("reason", why.String()))
}
