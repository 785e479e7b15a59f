// Package mr is the mobile router (RFC 3963): a mobile node that registers the
// prefixes of the network behind it. It is what NEMO adds to package mn: the R
// flag, explicit and implicit registration, what to do when a home agent refuses,
// and prefixes that the home agent delegates (RFC 6276). Like mn it is a pure
// state machine.
package mr

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
	"roam6/overlay"
)

// Router is a mobile router. One goroutine owns it.
type Router struct {
	node   *mn.Node
	config Config

	registering
	delegation *delegation    // nil: not configured
	route      *overlay.Route // to the home agent, for what is relayed; nil: none
	stopping   bool
}

// New returns a mobile router at no link. The configuration must be valid.
func New(c Config) *Router {
	r := &Router{config: c}
	r.node = mn.New(c.Config, extension{r})
	r.delegate()
	return r
}

// Handle implements role.Machine.
func (r *Router) Handle(now time.Time, e role.Event) []role.Action {
	if e, ok := e.(role.DHCPReceived); ok {
		return r.dhcpReceived(now, e)
	}
	if _, ok := e.(role.Stop); ok && !r.stopping {
		return r.stop(now)
	}
	return r.follow(now, r.node.Handle(now, e))
}

// stop ends the router in order. Delegated prefixes are not released: a router
// that is switched off for the night wants the same ones tomorrow, and RFC 8415
// §18.2.7 leaves it to the client. They are taken from the downstream interfaces.
func (r *Router) stop(now time.Time) []role.Action {
	r.stopping = true
	out := r.node.Handle(now, role.Stop{})
	if r.delegation != nil {
		r.delegation.client = nil
		out = append(out, r.delegation.takeBack()...)
	}
	return append(out, r.settleRoute()...)
}

// follow does what the router has to do after its node has done something.
func (r *Router) follow(now time.Time, out []role.Action) []role.Action {
	if r.stopping {
		return out
	}
	out = append(out, r.settleRoute()...)
	if r.sieve.more {
		r.sieve.more = false
		out = append(out, r.node.InnerChanged(now, true)...)
	}
	if deadline.Due(now, r.again) {
		out = append(out, r.tryAgain(now)...)
	}
	if r.delegation == nil {
		return out
	}
	if r.delegation.renumber {
		out = append(out, r.number(now)...)
	}
	out = append(out, r.delegationDue(now)...)
	return append(out, r.settleRoute()...) // the home agent may be another now
}

// Next implements role.Machine.
func (r *Router) Next() time.Time {
	next := r.node.Next()
	if r.stopping {
		return next
	}
	next = deadline.Earlier(next, r.again)
	if r.delegation != nil {
		next = deadline.Earlier(next, r.delegation.next())
	}
	return next
}

// Done reports that a Stop has been carried out.
func (r *Router) Done() bool { return r.node.Done() }

// Reconfigure applies a new configuration for the same home address. What changes
// is registered, forwarded and advertised at once. Prefixes that the home agent
// has refused are asked for again, and stay out of use until it accepts them.
func (r *Router) Reconfigure(now time.Time, c Config) []role.Action {
	if r.stopping {
		return nil
	}
	old := r.config
	r.config = c
	gone := without(old.Prefixes, c.Prefixes)
	r.sieve.forget(gone)
	r.registering = registering{agent: r.agent, sent: r.sent, sieve: sieve{good: r.sieve.good}, unusable: r.unusable}
	var out []role.Action
	for _, p := range gone {
		out = append(out, role.AdvertisePrefix{Prefix: p})
	}
	out = append(out, r.redelegate(now)...)
	out = append(out, r.use(without(r.unusable, without(r.unusable, r.inner())))...)
	return r.follow(now, append(out, r.node.Reconfigure(now, c.Config)...))
}

// Agent is the home agent to register with; invalid while none is known.
func (r *Router) Agent() netip.Addr { return r.node.Agent() }

// HasCareOf reports whether an address is a care-of address of this router.
func (r *Router) HasCareOf(a netip.Addr) bool { return r.node.HasCareOf(a) }

// Takes reports whether a Mobility Header message is for this router; see
// mn.Node.
func (r *Router) Takes(p mip6.Packet) bool { return r.node.Takes(p) }

// Connected reports whether packets to the home address arrive, as far as this router can
// know: see mn.Node.Connected.
func (r *Router) Connected() bool { return r.node.Connected() }

// Snapshot returns the node's state for show and metrics; Networks has the rest.
func (r *Router) Snapshot(now time.Time) mn.Snapshot { return r.node.Snapshot(now) }

func (r *Router) log(level slog.Level, message string, attrs ...slog.Attr) role.Action {
	all := append([]slog.Attr{slog.String("node", r.config.Name), slog.String("home", r.config.HomeAddress.String())}, attrs...)
	return role.Log{Level: level, Message: message, Attrs: all}
}

var _ role.Machine = (*Router)(nil)
