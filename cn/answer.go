package cn

import (
	"log/slog"

	"roam6/internal/role"
	"roam6/mip6"
)

// accept answers an update that was carried out, if the mobile asks for an answer
// (RFC 6275 §9.5.4).
func (c *Correspondent) accept(u *update, granted mip6.Lifetime) {
	if u.flags&mip6.UpdateAcknowledge != 0 {
		c.acknowledge(u, mip6.StatusAccepted, u.sequence, granted)
	}
}

// refuse answers an update with an error status, whether or not the mobile asks
// for an answer: RFC 6275 §9.5.4 demands that for most statuses, and a mobile that
// went without would believe it is bound. Anybody can send one with nonces that
// are too old, or send a recorded one again, so the answers are limited.
func (c *Correspondent) refuse(u *update, status mip6.Status) {
	if !c.refusals.allow(c.now, u.source) {
		c.drop(role.DropRateLimited, u.source)
		return
	}
	sequence := u.sequence
	switch status {
	case mip6.StatusInsufficientResources:
		c.counts.InsufficientResources++
	case mip6.StatusExpiredHomeNonce, mip6.StatusExpiredCareOfNonce, mip6.StatusExpiredNonces:
		c.counts.ExpiredNonces++
		c.drop(role.DropUnauthenticated, u.source)
	case mip6.StatusSequenceOutOfWindow:
		c.counts.SequenceOutOfWindow++
		c.drop(role.DropReplay, u.source)
		sequence = c.bindings.entries[u.pair].sequence // RFC 6275 §9.5.1
	case mip6.StatusInvalidCareOfAddress:
		c.counts.InvalidCareOfAddresses++
		c.warnOfLoop(u)
	}
	c.acknowledge(u, status, sequence, 0)
}

// warnOfLoop says that something odd is going on.
func (c *Correspondent) warnOfLoop(u *update) {
	if c.complaints.Allow(c.now, complaints) {
		c.do(role.Log{Level: slog.LevelWarn, Message: "mobile node's care-of address leads in a circle", Attrs: []slog.Attr{
			slog.Any("home", u.home), slog.Any("care_of", u.careOf), slog.Any("address", u.peer)}})
	}
}

// acknowledge sends a binding acknowledgement to the source of the update, with a
// type 2 routing header unless that is the home address, and sealed unless it says
// that nonces are too old (RFC 6275 §9.5.4).
func (c *Correspondent) acknowledge(u *update, status mip6.Status, sequence mip6.Sequence, granted mip6.Lifetime) {
	var message mip6.Message = mip6.BindingAcknowledgement{Status: status, Sequence: sequence, Lifetime: granted}
	switch status {
	case mip6.StatusExpiredHomeNonce, mip6.StatusExpiredCareOfNonce, mip6.StatusExpiredNonces:
	default:
		sealed, err := u.key.SealAuthorization(message, u.sealed, u.peer)
		if err != nil {
			c.do(role.Log{Level: slog.LevelError, Message: "binding acknowledgement not sent", Attrs: []slog.Attr{
				slog.Any("home", u.home), slog.String("reason", err.Error())}})
			return
		}
		message = sealed
	}
	p := mip6.Packet{Source: u.peer, Destination: u.source, Message: message}
	if u.source != u.home {
		p.RouteHome = u.home
	}
	c.do(role.Send{Packet: p}, role.Acknowledged{Status: status, Sent: true})
}

// unknownHomeAddress answers a data packet whose Home Address option no binding
// permits, to its source on the wire (RFC 6275 §9.3.1, §9.3.3), unless a binding
// permits it by now: the packet was faster than the change of the data plane.
func (c *Correspondent) unknownHomeAddress(e role.UnknownHomeAddress) {
	if !mip6.Routable(e.Source) || !mip6.Routable(e.Destination) || e.Source == e.Destination || !e.Home.Is6() {
		return
	}
	if b := c.bindings.active(pair{home: e.Home, peer: e.Destination}); b != nil && b.careOf == e.Source {
		return
	}
	if !c.faults.allow(c.now, e.Source) {
		return
	}
	c.counts.BindingErrors++
	c.send(e.Destination, e.Source, mip6.BindingError{Status: mip6.BindingErrorUnknownBinding, Home: e.Home})
}

// logBinding says what became of a binding. There can be many, and anybody with an
// address can make one.
func (c *Correspondent) logBinding(message string, e *entry) {
	c.do(role.Log{Level: slog.LevelDebug, Message: message, Attrs: []slog.Attr{
		slog.Any("home", e.home), slog.Any("care_of", e.careOf), slog.Any("address", e.peer),
		slog.Duration("lifetime", e.lifetime.Duration())}})
}
