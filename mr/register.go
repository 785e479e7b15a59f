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
// agent serves without them.
const (
	leastAgain = 5 * time.Minute
	mostAgain  = time.Hour
)

// maxSent is how many updates are remembered: as many as mn takes answers to.
const maxSent = 8

// maxDenied bounds the refusals that are remembered: two of each home agent.
const maxDenied = 32

// registering is how the router registers, and with what success.
type registering struct {
	denied []denial
	// agent is the home agent that registers the router; what follows is about it,
	// but for unusable. Another one is asked as if nothing had been.
	agent netip.Addr
	sent  []sentUpdate // the oldest first
	sieve sieve
	// again is when what was refused is asked for again; zero: not to be. asking: the
	// mode that was denied is, now.
	again  time.Time
	pause  time.Duration
	asking bool
	// unusable are the prefixes that were refused, and not accepted since.
	unusable []netip.Prefix
}

// denial is a mode that a home agent has refused.
type denial struct {
	agent netip.Addr
	mode  Mode
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
	mode := r.wanted()
	if !r.asking && r.denies(mode) {
		mode = mode.other()
	}
	if mode == Explicit && len(r.sieve.name(r.nameable())) == 0 {
		return Implicit // on the wire it is
	}
	return mode
}

// wanted is the mode that the configuration wants: implicit, too, as long as
// prefixes are asked for by delegation and there are none (RFC 6276 §3.1).
func (r *Router) wanted() Mode {
	if r.delegation != nil && !r.delegation.leasedBy(r.node.Agent()) {
		return Implicit
	}
	return r.config.Mode
}

// denies reports whether the home agent has refused a mode.
func (r *Router) denies(m Mode) bool { return slices.Contains(r.denied, denial{r.agent, m}) }

// named are the prefixes that updates name now.
func (r *Router) named() []netip.Prefix {
	if r.Mode() != Explicit {
		return nil
	}
	return r.sieve.name(r.nameable())
}

// nameable are the prefixes that the home agent can know: those of the mobile network
// but for what another home agent has delegated, which are in the tunnel until the
// present one has taken their place.
func (r *Router) nameable() []netip.Prefix {
	if r.delegation == nil || r.delegation.leasedBy(r.node.Agent()) {
		return r.inner()
	}
	return slices.Clone(r.config.Prefixes)
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

// use makes prefixes those that may not be used in the mobile network. Of delegated
// ones number tells the network.
func (r *Router) use(unusable []netip.Prefix) []role.Action {
	r.unusable = unusable
	var out []role.Action
	for _, p := range r.config.Prefixes {
		out = append(out, role.AdvertisePrefix{Prefix: p, Usable: r.usable(p)})
	}
	if r.delegation != nil {
		r.delegation.renumber = true
	}
	return out
}

// usable reports whether a prefix may be used in the mobile network: the home agent
// has not refused it.
func (r *Router) usable(p netip.Prefix) bool { return !slices.Contains(r.unusable, p) }

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
		r.registering = registering{agent: agent, denied: r.denied, sent: r.sent, unusable: r.unusable}
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
		return mn.VerdictWithdraw, []role.Action{r.refusal("home agent does not support mobile routers, ending the registration", a.Status)}
	case a.Status.Accepted():
		return mn.VerdictPlain, r.accepted(now, s, current)
	}
	switch a.Status {
	case mip6.StatusRouterNotPermitted:
		return mn.VerdictReject, []role.Action{r.refusal("home agent does not permit mobile router operation", a.Status)}
	case mip6.StatusInvalidPrefix, mip6.StatusNotAuthorizedForPrefix:
		switch {
		case !current:
			return mn.VerdictRetry, nil
		case s.mode == Implicit: // §5.4.1: must not happen, fatal
			return mn.VerdictStop, append(r.use(r.inner()), r.refusal("home agent refuses the mobile networks, they are no longer advertised", a.Status))
		}
		return r.prefixesRefused(s, a.Status)
	case mip6.StatusForwardingSetupFailed:
		out := []role.Action{r.refusal("home agent cannot set up forwarding for the mobile network", a.Status)}
		switch {
		case !current:
			return mn.VerdictRetry, nil
		case s.mode == Explicit: // §5.4.2: must not happen, fatal
			return mn.VerdictStop, out
		}
		return r.deny(s.mode, a.Status, out)
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

// deny notes that the home agent refuses a mode. Another one is asked for the same
// first; when none takes it they are asked in the other mode, and when that is in
// vain, too, the router must stop, and says so (RFC 3963 §5.4).
func (r *Router) deny(mode Mode, why mip6.Status, out []role.Action) (mn.Verdict, []role.Action) {
	asked, next := r.asking, mode.other()
	r.asking = false
	if !r.denies(mode) {
		if len(r.denied) == maxDenied {
			r.denied = slices.Delete(r.denied, 0, 1)
		}
		r.denied = append(r.denied, denial{r.agent, mode})
	}
	switch {
	case r.denies(next), next == Explicit && len(r.nameable()) == 0:
		return mn.VerdictReject, append(out, r.refusal("every registration mode was refused", why))
	case asked: // as before: no reason to leave a home agent that serves
		return mn.VerdictRetry, out
	}
	return mn.VerdictElsewhere, append(out, r.refusal("trying another home agent, or "+next.String()+" registration", why))
}

// accepted notes what the home agent takes. In implicit mode after a refusal it has
// not taken our prefixes, but those it knows.
func (r *Router) accepted(now time.Time, s sentUpdate, current bool) []role.Action {
	if !current {
		return nil
	}
	left := r.unusable
	switch {
	case s.mode == Explicit:
		r.sieve.pass(s.prefixes, r.nameable())
		r.asking = false
		r.denied = slices.DeleteFunc(r.denied, func(d denial) bool { return d == denial{r.agent, Explicit} })
		left = without(left, s.prefixes)
		if r.delegation != nil {
			r.delegation.pardoned = without(r.delegation.pardoned, s.prefixes)
		}
	case !r.denies(Explicit):
		left = nil
	}
	var out []role.Action
	if len(left) < len(r.unusable) {
		out = r.use(left)
	}
	switch {
	case len(left) == 0:
		r.again, r.pause = time.Time{}, 0
	case r.again.IsZero() && !r.sieve.more:
		r.pause = min(max(2*r.pause, leastAgain), mostAgain)
		r.again = now.Add(r.pause)
	}
	return out
}

// tryAgain asks again for what was refused: somebody may have put the home agent
// right.
func (r *Router) tryAgain(now time.Time) []role.Action {
	r.again = time.Time{}
	r.asking = r.denies(r.wanted())
	r.sieve.open()
	return r.node.InnerChanged(now, true)
}

func (r *Router) refusal(message string, why mip6.Status, attrs ...slog.Attr) role.Action {
	return r.log(slog.LevelError, message, append([]slog.Attr{slog.String("home_agent", r.node.Agent().String()),
		slog.Int("status", int(why)), slog.String("reason", why.String())}, attrs...)...)
}
