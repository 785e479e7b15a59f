// Package mr is the mobile router (RFC 3963): a mobile node that registers the
// prefixes of the network behind it. It is what NEMO adds to package mn: the R
// flag, explicit and implicit registration, and what to do when a home agent
// refuses. Like mn it is a pure state machine.
package mr

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
)

// Mode says how the home agent learns the mobile network prefixes (RFC 3963 §5.2).
type Mode uint8

// Modes of registration.
const (
	// Explicit names the prefixes in every binding update.
	Explicit Mode = iota + 1
	// Implicit leaves them to the home agent's own configuration.
	Implicit
)

func (m Mode) String() string {
	switch m {
	case Explicit:
		return "explicit"
	case Implicit:
		return "implicit"
	default:
		return fmt.Sprintf("mode %d", uint8(m))
	}
}

// other is the mode to try when m was refused.
func (m Mode) other() Mode {
	if m == Explicit {
		return Implicit
	}
	return Explicit
}

// Config is what the administrator decides for a mobile router.
type Config struct {
	mn.Config
	Mode Mode
	// Prefixes are the mobile network prefixes. In implicit mode the home agent
	// has to know the same ones: here they decide what may enter the tunnel.
	Prefixes []netip.Prefix
	// Delegation asks the home agent for prefixes (RFC 6276), beside Prefixes; nil
	// does not. It needs implicit mode.
	Delegation *Delegation
}

// Delegation is how a mobile router gets prefixes from its home agent.
type Delegation struct {
	// DUID and IAID identify the router to the delegating router: stable across
	// restarts.
	DUID []byte
	IAID uint32
	// Length of the prefix to ask for; 0 leaves it to the delegating router.
	Length int
	// Downstreams are the interfaces that get a /64 each, in order.
	Downstreams []string
	// Saved is what an earlier life kept by role.Save, under the node's name with
	// "delegation-" before it. Only New looks at it.
	Saved []byte
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	errs := []error{c.Config.Validate()}
	if c.Mode != Explicit && c.Mode != Implicit {
		errs = append(errs, fmt.Errorf("unknown registration %v", c.Mode))
	}
	if c.Mode == Explicit && len(c.Prefixes) == 0 {
		errs = append(errs, errors.New("explicit mode needs at least one mobile network prefix"))
	}
	for _, p := range c.Prefixes {
		if !p.IsValid() || !p.Addr().Is6() || p != p.Masked() || p.Bits() == 0 {
			errs = append(errs, fmt.Errorf("mobile network prefix %v is not an IPv6 prefix without host bits", p))
		}
		for _, a := range c.HomeAgents {
			if p.IsValid() && p.Contains(a) {
				errs = append(errs, fmt.Errorf("mobile network prefix %v contains the home agent %v", p, a))
			}
		}
	}
	return errors.Join(errs...)
}

// Router is a mobile router. One goroutine owns it.
type Router struct {
	node     *mn.Node
	config   Config
	mode     Mode // in use: the configured one, or the other after a refusal
	fellBack bool // the other mode was tried
	refused  bool // the home agent does not take our prefixes
}

// New returns a mobile router at no link. The configuration must be valid.
func New(c Config) *Router {
	r := &Router{config: c, mode: c.Mode}
	r.node = mn.New(c.Config, extension{r})
	return r
}

// Handle implements role.Machine.
func (r *Router) Handle(now time.Time, e role.Event) []role.Action { return r.node.Handle(now, e) }

// Next implements role.Machine.
func (r *Router) Next() time.Time { return r.node.Next() }

// Done reports that a Stop has been carried out.
func (r *Router) Done() bool { return r.node.Done() }

// Reconfigure applies a new configuration for the same home address.
func (r *Router) Reconfigure(now time.Time, c Config) []role.Action {
	var out []role.Action
	for _, p := range r.config.Prefixes {
		if !slices.Contains(c.Prefixes, p) {
			out = append(out, role.AdvertisePrefix{Prefix: p})
		}
	}
	r.config, r.mode, r.fellBack, r.refused = c, c.Mode, false, false
	return append(append(out, r.advertise(true)...), r.node.Reconfigure(now, c.Config)...)
}

// Agent is the home agent to register with; invalid while none is known.
func (r *Router) Agent() netip.Addr { return r.node.Agent() }

// HasCareOf reports whether an address is a care-of address of this router.
func (r *Router) HasCareOf(a netip.Addr) bool { return r.node.HasCareOf(a) }

// Takes reports whether a Mobility Header message is for this router; see
// mn.Node.
func (r *Router) Takes(p mip6.Packet) bool { return r.node.Takes(p) }

// Mode is the registration mode in use.
func (r *Router) Mode() Mode { return r.mode }

// Prefixes are the mobile network prefixes and whether the home agent takes them.
func (r *Router) Prefixes() (prefixes []netip.Prefix, usable bool) {
	return slices.Clone(r.config.Prefixes), !r.refused
}

// Snapshot returns the state for show and metrics.
func (r *Router) Snapshot(now time.Time) mn.Snapshot { return r.node.Snapshot(now) }

// advertise tells whether the prefixes may be advertised in the mobile network.
func (r *Router) advertise(usable bool) []role.Action {
	var out []role.Action
	for _, p := range r.config.Prefixes {
		out = append(out, role.AdvertisePrefix{Prefix: p, Usable: usable})
	}
	return out
}

// extension is the router as its node calls it; the indirection keeps these
// methods out of the router's own.
type extension struct{ r *Router }

// Extend sets the R flag and, in explicit mode, names the prefixes: in every
// update, refreshes too (RFC 3963 §5.2), but not in a de-registration (§5.8).
func (x extension) Extend(u *mip6.BindingUpdate, deregistration bool) {
	u.Flags |= mip6.UpdateMobileRouter
	if x.r.mode != Explicit || deregistration {
		return
	}
	for _, p := range x.r.config.Prefixes {
		u.Options = append(u.Options, mip6.MobileNetworkPrefix{Prefix: p})
	}
}

// Inner are the prefixes that enter the tunnel, refused ones too: the home agent
// drops their packets, and beside the tunnel they must not leave.
func (x extension) Inner() []netip.Prefix { return x.r.config.Prefixes }

// Judge reads the part of an acknowledgement that concerns a router
// (RFC 3963 §5.3, §5.4).
func (x extension) Judge(_ time.Time, a mip6.BindingAcknowledgement) (mn.Verdict, []role.Action) {
	r := x.r
	switch {
	case a.Status.Accepted() && a.Flags&mip6.AckMobileRouter == 0:
		_, out := r.reject([]role.Action{r.log("home agent does not support mobile routers, ending the registration", a.Status)})
		return mn.VerdictWithdraw, out
	case a.Status.Accepted():
		return mn.VerdictPlain, r.accepted()
	}
	switch a.Status {
	case mip6.StatusRouterNotPermitted:
		return r.reject([]role.Action{r.log("home agent does not permit mobile router operation", a.Status)})
	case mip6.StatusInvalidPrefix, mip6.StatusNotAuthorizedForPrefix:
		r.refused = true
		out := append(r.advertise(false), r.log("home agent refuses the mobile network prefixes, they are no longer advertised", a.Status))
		if r.mode == Implicit { // §5.4.1: must not happen, fatal
			return mn.VerdictStop, out
		}
		return r.fallBack(out, a.Status)
	case mip6.StatusForwardingSetupFailed:
		out := []role.Action{r.log("home agent cannot set up forwarding for the mobile network", a.Status)}
		if r.mode == Explicit { // §5.4.2: must not happen, fatal
			return mn.VerdictStop, out
		}
		if len(r.config.Prefixes) == 0 {
			return mn.VerdictStop, out
		}
		return r.fallBack(out, a.Status)
	default:
		return mn.VerdictPlain, nil
	}
}

// accepted notes that the home agent takes the prefixes as they are configured,
// which another one may have refused.
func (r *Router) accepted() []role.Action {
	if !r.refused || r.fellBack {
		return nil
	}
	r.refused = false
	return r.advertise(true)
}

// reject asks for another home agent, which is asked in the configured mode
// first.
func (r *Router) reject(out []role.Action) (mn.Verdict, []role.Action) {
	r.mode, r.fellBack = r.config.Mode, false
	return mn.VerdictReject, out
}

// fallBack tries the other mode once; after that every mode has failed with this
// home agent. If there is no other one the router must stop, and says so
// (RFC 3963 §5.4).
func (r *Router) fallBack(out []role.Action, why mip6.Status) (mn.Verdict, []role.Action) {
	if r.fellBack {
		return r.reject(append(out, r.log("every registration mode was refused", why)))
	}
	r.fellBack = true
	r.mode = r.mode.other()
	return mn.VerdictRetry, append(out, r.log("trying "+r.mode.String()+" registration", why))
}

func (r *Router) log(message string, why mip6.Status) role.Action {
	return role.Log{Level: slog.LevelError, Message: message, Attrs: []slog.Attr{
		slog.String("node", r.config.Name), slog.String("home", r.config.HomeAddress.String()),
		slog.String("home_agent", r.node.Agent().String()), slog.Int("status", int(why)), slog.String("reason", why.String()),
	}}
}
