package ro

import (
	"log/slog"
	"time"

	"roam6/internal/limit"
	"roam6/internal/role"
	"roam6/mip6"
)

// Pauses after a failure. A correspondent that never answered probably does not
// know Mobile IPv6, as most do not; one that did was out of reach. Each failure
// doubles the pause. A refusal is remembered longer, but not for ever: an
// ICMPv6 error can be forged (RFC 6275 §11.3.5).
const (
	backOffUnknown = time.Minute
	backOffProven  = 10 * time.Second
	longestBackOff = time.Hour
	refusalPause   = 2 * time.Hour
)

// doubtedAfter is after how many failures in a row a correspondent that once
// answered is not trusted to be able any more.
const doubtedAfter = 5

// maxNonceErrors is how often a correspondent may refuse its own nonces before
// that is a failure.
const maxNonceErrors = 2

// hintRate is how often a Binding Error or a Binding Refresh Request of a
// correspondent, which anybody can forge, leads to new signalling at once.
var hintRate = limit.Rate{Every: 30 * time.Second, Burst: 3}

// fail ends a run without success: packets go through the home agent again
// (RFC 6275 §5.2.9), and the next try waits. The end of a binding is tried again,
// too: until then, or until it ends by itself, what the correspondent sends goes to
// where the mobile node is not.
func (o *Optimiser) fail(now time.Time, e *entry, why string) {
	pause := backOffUnknown
	if e.proven {
		pause = backOffProven
	}
	o.giveUp(now, e, min(pause<<min(e.failures, 16), longestBackOff), false, why)
}

// refuse ends a run for a reason that will not go away soon.
func (o *Optimiser) refuse(now time.Time, e *entry, why string) {
	o.giveUp(now, e, refusalPause, true, why)
}

func (o *Optimiser) giveUp(now time.Time, e *entry, pause time.Duration, refused bool, why string) {
	deleting := e.deleting
	e.rest()
	if deleting {
		if again := now.Add(backOffProven << min(e.inVain, 6)); again.Before(e.held) {
			e.endAt = again
			e.inVain++
		}
		o.log(slog.LevelDebug, "binding at correspondent has not ended", e, slog.String("reason", why))
		return
	}
	o.tunnel(e)
	e.refused = refused
	e.retryAfter = now.Add(pause)
	if e.failures++; e.failures >= doubtedAfter {
		e.capable = false
	}
	o.stats.Failures++
	o.log(slog.LevelDebug, "route not optimised", e, slog.String("reason", why), slog.Duration("retry_after", pause))
}

// peerRefused handles an ICMPv6 Parameter Problem that a Mobility Header message
// caused. Nobody is entered in the list for that (RFC 6275 §11.3.5). It counts
// only while an answer is waited for, from a correspondent that never answered
// anything, and only if no answer comes: who returns a cookie has proved more
// than an ICMPv6 error can.
func (o *Optimiser) peerRefused(e role.PeerRefused) {
	peer := o.peers[e.Peer]
	if peer == nil || peer.capable || !peer.awaits() || e.Local != o.config.Home && !o.at.has(e.Local) {
		o.act(role.Dropped{Reason: role.DropUnsolicited, From: e.Peer})
		return
	}
	peer.doubted = true
}

// bindingError handles a Binding Error of a correspondent (RFC 6275 §11.3.6).
func (o *Optimiser) bindingError(now time.Time, p mip6.Packet, m mip6.BindingError) {
	e := o.peers[p.Source]
	if e == nil || p.Destination != o.config.Home && !o.at.has(p.Destination) {
		o.drop(role.DropUnsolicited, p)
		return
	}
	switch m.Status {
	case mip6.BindingErrorUnknownBinding:
		o.bindingUnknown(now, p, e, m)
	case mip6.BindingErrorUnknownMHType:
		if e.capable || !e.awaits() {
			o.drop(role.DropUnsolicited, p)
			return
		}
		e.doubted = true
	default:
		o.drop(role.DropUnexpected, p)
	}
}

// bindingUnknown handles a correspondent that says it has no binding for our
// home address. Nothing tells whether packets still arrive there, so that the
// entry has to go and the tunnel to be used (RFC 6275 §11.3.6); a forged error
// costs the optimisation and not the traffic. A correspondent that lost its
// bindings has lost its key as well: the tokens go too. The new procedure begins
// at once, unless there were too many such errors.
func (o *Optimiser) bindingUnknown(now time.Time, p mip6.Packet, e *entry, m mip6.BindingError) {
	if e.route == nil || m.Home != o.config.Home {
		o.drop(role.DropUnsolicited, p)
		return
	}
	o.log(slog.LevelInfo, "correspondent does not know the binding", e)
	e.rest()
	o.tunnel(e)
	e.home.proof, e.careOf.proof, e.left = proof{}, proof{}, proof{}
	if !e.hints.Allow(now, hintRate) {
		e.retryAfter = now.Add(hintRate.Every)
		return
	}
	o.begin(now, e)
}

// refreshRequested handles a Binding Refresh Request (RFC 6275 §11.7.4).
func (o *Optimiser) refreshRequested(now time.Time, p mip6.Packet) {
	if p.Destination != o.config.Home {
		o.drop(role.DropNotForUs, p)
		return
	}
	e := o.peers[p.Source]
	switch {
	case e == nil || e.route == nil:
		o.drop(role.DropUnsolicited, p)
	case e.phase != resting || e.idle(now):
		// It is being renewed, or is not worth it.
	case !e.hints.Allow(now, hintRate):
		o.drop(role.DropRateLimited, p)
	default:
		o.begin(now, e)
	}
}
