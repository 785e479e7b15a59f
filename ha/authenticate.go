package ha

import (
	"errors"
	"log/slog"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

// authenticate is the second gate: whether the mobile with this home address
// sent the update, and just now. It counts and answers a failure itself.
func (a *Agent) authenticate(p mip6.Packet, bu mip6.BindingUpdate, h *home, u *update) bool {
	u.sealed = u.careOf
	switch err := a.verify(p, bu, h, u); {
	case err == nil:
	case errors.Is(err, mip6.ErrBadAuthenticator):
		// RFC 4285 §5.1.1, §5.3: a security association exists, so the mobile is
		// told. The sender may be anyone, with any source address.
		a.drop(role.DropBadAuthenticator, p.Source)
		if h.failures.Allow(a.now, failures) && a.failures.Allow(a.now, allFailures) {
			a.acknowledge(h, u, mip6.StatusAuthenticationFailed, u.proof.Sequence, 0)
			a.logRefused(h, u, mip6.StatusAuthenticationFailed)
		}
		return false
	default:
		a.drop(role.DropUnauthenticated, p.Source) // RFC 4285 §5, §5.3: silently
		return false
	}

	before := h.fresh
	status := h.fresh.Take(u.proof, a.now, a.config.ReplayWindow, h.RequireTimestamp)
	if status.Accepted() {
		return true
	}
	if h.fresh != before {
		a.remember(h)
	}
	a.drop(role.DropReplay, p.Source)
	if e := a.bindings.Get(u.home); e != nil && e.State == binding.Probing && u.proof.Sequence == e.Sequence {
		return false // a copy of the update that waits for its answer
	}
	a.refuse(h, u, status)
	return false
}

// verify checks the authenticator, if the mobile has to have one.
func (a *Agent) verify(p mip6.Packet, bu mip6.BindingUpdate, h *home, u *update) error {
	if h.SA == nil {
		_, sealed := mip6.AuthenticationOf(bu)
		if h.ESP && !sealed {
			return careOfProtected(bu, u)
		}
		if h.Insecure && !sealed {
			return nil
		}
		return mip6.ErrUnknownSPI // RFC 4285 §5.1.1
	}
	var err error
	u.sealed, err = binding.Verify(*h.SA, p.MH, u.careOf, u.source, u.home)
	return err
}

// refuse answers an authentic update with an error status, and says so in the
// log. Updates that are recorded and sent again, or sent too often, are answered
// at a limited rate.
func (a *Agent) refuse(h *home, u *update, status mip6.Status) {
	if !h.refusals.Allow(a.now, refusals) {
		a.drop(role.DropRateLimited, u.source)
		return
	}
	sequence := u.proof.Sequence
	if status == mip6.StatusSequenceOutOfWindow {
		sequence = h.fresh.Sequence() // RFC 6275 §9.5.1
	}
	a.acknowledge(h, u, status, sequence, 0)
	a.logRefused(h, u, status)
}

// accept answers an update that was carried out.
func (a *Agent) accept(h *home, u *update, granted mip6.Lifetime) {
	status := mip6.StatusAccepted
	if granted != 0 {
		prefix := a.prefixOf(u.home) // judged before
		status = binding.AcceptedStatus(granted,
			binding.Remaining(a.now, prefix.PreferredUntil), binding.Remaining(a.now, prefix.ValidUntil))
	}
	a.acknowledge(h, u, status, u.proof.Sequence, granted)
}

// acknowledge sends a binding acknowledgement: always, whether or not flag A asks
// for it (RFC 6275 §10.3.1), to the source of the update, and with a type 2
// routing header unless the mobile is at home (§9.5.4).
func (a *Agent) acknowledge(h *home, u *update, status mip6.Status, sequence mip6.Sequence, granted mip6.Lifetime) {
	answer := binding.Answer{Status: status, Sequence: sequence, Granted: granted, Proof: u.proof}
	if u.router() && h.Router && status != mip6.StatusRouterNotPermitted {
		answer.Flags = mip6.AckMobileRouter // RFC 3963 §4.2
	}
	if status.Accepted() && h.KeyMobility && u.flags&mip6.UpdateKeyManagement != 0 {
		answer.Flags |= mip6.AckKeyManagement // RFC 6275 §10.3.1, §10.3.2
	}
	message, err := answer.Message(a.now, h.SA, u.sealed, u.home)
	if err != nil {
		a.do(role.Log{Level: slog.LevelError, Message: "binding acknowledgement not sent", Attrs: []slog.Attr{
			slog.String("mobile", h.Name), slog.Any("home", u.home), slog.String("reason", err.Error())}})
		return
	}
	send := role.Send{Packet: mip6.Packet{Source: a.config.Address, Destination: u.source, Message: message}}
	if u.atHome() {
		send.Link = a.link.Index
	} else {
		send.Packet.RouteHome = u.home
	}
	a.do(send, role.Acknowledged{Status: status, Sent: true})
}

func (a *Agent) logRefused(h *home, u *update, status mip6.Status) {
	a.do(role.Log{Level: slog.LevelWarn, Message: "binding update refused", Attrs: []slog.Attr{
		slog.String("mobile", h.Name), slog.Any("home", u.home), slog.Any("care_of", u.careOf),
		slog.Int("status", int(status)), slog.String("reason", status.String())}})
}

// logBinding says what became of a binding. Refreshes are routine.
func (a *Agent) logBinding(message string, e *binding.Entry, h *home) {
	level := slog.LevelInfo
	if message == "binding refreshed" {
		level = slog.LevelDebug
	}
	a.do(role.Log{Level: level, Message: message, Attrs: []slog.Attr{
		slog.String("mobile", h.Name), slog.Any("home", e.Home), slog.Any("care_of", e.CareOf()),
		slog.Duration("lifetime", e.Lifetime.Duration())}})
}
