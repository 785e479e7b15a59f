package anchor

import (
	"errors"
	"log/slog"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

// authenticate is the second gate: whose update this is, and whether it was sent just
// now. It returns what is remembered of the address, or counts and answers a failure
// itself and returns nil.
func (a *Anchor) authenticate(p mip6.Packet, bu mip6.BindingUpdate, spi uint32, u *update) *regional {
	u.sealed = u.careOf
	v := a.visitorOf(bu, spi, u)
	if v == nil || v.SA != nil && !a.verify(v, p.MH, u) {
		return nil
	}
	r, status := a.take(v, u)
	if status.Accepted() {
		return r
	}
	a.drop(role.DropReplay, u.source)
	if e := a.bindings.Get(u.home); e != nil && e.State == binding.Probing && a.held[u.home] == r && u.proof.Sequence == e.Sequence {
		return nil // a copy of the update that waits for its answer
	}
	a.refuse(r, u, status)
	return nil
}

// visitorOf finds the visitor of an update by its SPI alone: that of the IPsec
// association under which it came, or else of its authentication option; nil: it is
// nobody's.
func (a *Anchor) visitorOf(bu mip6.BindingUpdate, spi uint32, u *update) *visitor {
	option, sealed := mip6.AuthenticationOf(bu)
	if spi != 0 {
		return a.protectedBy(spi, bu, sealed, u)
	}
	if !sealed {
		if a.anonymous == nil {
			a.drop(role.DropUnauthenticated, u.source) // RFC 4285 §5: silently
		}
		return a.anonymous
	}
	v := a.visitors[option.SPI]
	switch {
	case v == nil: // RFC 4285 §5.1.1: discard
		a.unknown(option.SPI, u)
	case v.ESP != nil: // RFC 5380 §12.1: not without it
		a.drop(role.DropUnauthenticated, u.source)
		return nil
	}
	return v
}

// unknown drops an update of nobody.
func (a *Anchor) unknown(spi uint32, u *update) {
	a.drop(role.DropUnknownMobile, u.source)
	if a.strangers.Allow(a.now, complaints) {
		a.log(slog.LevelWarn, "local binding update of an unknown visitor", slog.Uint64("spi", uint64(spi)),
			slog.Any("regional_care_of", u.home), slog.Any("care_of", u.careOf))
	}
}

// verify checks the authenticator with the visitor's association.
func (a *Anchor) verify(v *visitor, mh []byte, u *update) bool {
	var err error
	u.sealed, err = binding.Verify(*v.SA, mh, u.careOf, u.source, u.home)
	switch {
	case err == nil:
		return true
	case errors.Is(err, mip6.ErrBadAuthenticator):
		// RFC 4285 §5.1.1, §5.3: a security association exists, so the mobile is told.
		// The sender may be anyone, with any source address.
		a.drop(role.DropBadAuthenticator, u.source)
		if v.failures.Allow(a.now, failures) && a.failures.Allow(a.now, allFailures) {
			a.acknowledge(v, u, mip6.StatusAuthenticationFailed, u.proof.Sequence, 0)
			a.logRefused(v, u, mip6.StatusAuthenticationFailed)
		}
	default:
		a.drop(role.DropUnauthenticated, u.source) // RFC 4285 §5: silently
	}
	return false
}

// refuse answers an authentic update with an error status, and says so in the log.
// Updates that are recorded and sent again, or sent too often, are answered at a
// limited rate; those without authentication at one by sender and one over all.
func (a *Anchor) refuse(r *regional, u *update, status mip6.Status) {
	v := r.visitor
	allowed := !v.anonymous() && v.refusals.Allow(a.now, refusals) ||
		v.anonymous() && a.each.Allow(a.now, u.source) && v.refusals.Allow(a.now, allFailures)
	if !allowed {
		a.drop(role.DropRateLimited, u.source)
		return
	}
	sequence := u.proof.Sequence
	if status == mip6.StatusSequenceOutOfWindow {
		sequence = r.fresh.Sequence() // RFC 6275 §9.5.1
	}
	a.acknowledge(v, u, status, sequence, 0)
	a.logRefused(v, u, status)
}

// accept answers an update that was carried out.
func (a *Anchor) accept(r *regional, u *update, granted mip6.Lifetime) {
	a.acknowledge(r.visitor, u, mip6.StatusAccepted, u.proof.Sequence, granted)
}

// acknowledge sends a binding acknowledgement: always, to the source of the update,
// and with a type 2 routing header with the regional care-of address, without which a
// mobile ignores it (RFC 5380 §6.1, §6.2).
func (a *Anchor) acknowledge(v *visitor, u *update, status mip6.Status, sequence mip6.Sequence, granted mip6.Lifetime) {
	answer := binding.Answer{Status: status, Sequence: sequence, Granted: granted, Proof: u.proof}
	message, err := answer.Message(a.now, v.SA, u.sealed, u.home)
	if err != nil {
		a.log(slog.LevelError, "binding acknowledgement not sent", slog.String("visitor", v.Name),
			slog.Any("regional_care_of", u.home), slog.String("reason", err.Error()))
		return
	}
	send := role.Send{Packet: mip6.Packet{Source: a.config.Address, Destination: u.source, RouteHome: u.home, Message: message}}
	if v.ESP != nil {
		send.SPI = v.ESP.SPI // its own, whoever else asks for the same address
	}
	if u.source == u.home {
		send.Link = a.link.Index // past the tunnel that may still be there
	}
	a.do(send, role.Acknowledged{Status: status, Sent: true})
}

func (a *Anchor) logRefused(v *visitor, u *update, status mip6.Status) {
	if !v.events.Allow(a.now, events) {
		return
	}
	a.log(slog.LevelWarn, "local binding update refused", slog.String("visitor", v.Name),
		slog.Any("regional_care_of", u.home), slog.Any("care_of", u.careOf),
		slog.Int("status", int(status)), slog.String("reason", status.String()))
}
