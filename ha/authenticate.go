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
			a.acknowledge(h, u, mip6.StatusAuthenticationFailed, u.sequence, 0)
			a.logRefused(h, u, mip6.StatusAuthenticationFailed)
		}
		return false
	default:
		a.drop(role.DropUnauthenticated, p.Source) // RFC 4285 §5, §5.3: silently
		return false
	}

	var status mip6.Status
	switch {
	case u.timestamped:
		if h.fresh.CheckTimestamp(u.timestamp, u.sequence, a.now, a.config.ReplayWindow) == nil {
			h.fresh.AcceptTimestamp(u.timestamp, u.sequence)
			return true
		}
		status = mip6.StatusIDMismatch // RFC 4285 §6
	case h.RequireTimestamp:
		status = mip6.StatusMessageIDRequired // RFC 4285 §6
	default:
		if h.fresh.CheckSequence(u.sequence) == nil {
			h.fresh.AcceptSequence(u.sequence)
			return true
		}
		status = mip6.StatusSequenceOutOfWindow // RFC 6275 §9.5.1
	}
	a.drop(role.DropReplay, p.Source)
	if e := a.bindings.Get(u.home); e != nil && e.State == binding.Probing && u.sequence == e.Sequence {
		return false // a copy of the update that waits for its answer
	}
	a.refuse(h, u, status)
	return false
}

// verify checks the authenticator, over the care-of address the update asks for
// or, where that is an alternate one, over the source: RFC 4285 §5.1 says
// "care-of address" and mobiles read it either way. The answer is sealed over the
// same.
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
	err := h.SA.Verify(p.MH, u.careOf, u.home)
	if errors.Is(err, mip6.ErrBadAuthenticator) && u.source != u.careOf &&
		h.SA.Verify(p.MH, u.source, u.home) == nil {
		u.sealed = u.source
		return nil
	}
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
	sequence := u.sequence
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
	a.acknowledge(h, u, status, u.sequence, granted)
}

// acknowledge sends a binding acknowledgement: always, whether or not flag A asks
// for it (RFC 6275 §10.3.1), to the source of the update, and with a type 2
// routing header unless the mobile is at home (§9.5.4).
func (a *Agent) acknowledge(h *home, u *update, status mip6.Status, sequence mip6.Sequence, granted mip6.Lifetime) {
	ba := mip6.BindingAcknowledgement{Status: status, Sequence: sequence, Lifetime: granted}
	if u.router() && h.Router && status != mip6.StatusRouterNotPermitted {
		ba.Flags |= mip6.AckMobileRouter // RFC 3963 §4.2
	}
	if interval := binding.RefreshInterval(granted); interval != 0 {
		ba.Options = append(ba.Options, mip6.RefreshAdvice{Interval: interval})
	}
	if u.timestamped { // RFC 4285 §6
		t := u.timestamp
		if status == mip6.StatusIDMismatch {
			t = binding.MismatchTimestamp(t, a.now)
		}
		ba.Options = append(ba.Options, mip6.ReplayProtection{Timestamp: t})
	}
	var message mip6.Message = ba
	if h.SA != nil {
		var err error
		if message, err = h.SA.Seal(ba, u.sealed, u.home); err != nil {
			a.do(role.Log{Level: slog.LevelError, Message: "binding acknowledgement not sent", Attrs: []slog.Attr{
				slog.String("mobile", h.Name), slog.Any("home", u.home), slog.String("reason", err.Error())}})
			return
		}
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
