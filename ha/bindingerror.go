package ha

import (
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// BindingErrors answers what no role can take with Binding Error messages, at a
// limited rate (RFC 6275 §9.3.3). A node has one, whatever roles it hosts. The
// zero value is ready.
type BindingErrors struct{ limiter limiter }

// errorRate is that of ICMPv6 errors as RFC 4443 §2.4 (f) recommends for a small
// device: ten a second on average.
var errorRate = rate{every: time.Second / 10, burst: 10}

// UnknownType answers a message of a type that is not known (RFC 6275 §9.2).
func (b *BindingErrors) UnknownType(now time.Time, p mip6.Packet) []role.Action {
	return b.answer(now, p, mip6.BindingErrorUnknownMHType, role.DropUnknownType)
}

// answer drops a packet for the given reason and sends a Binding Error to its
// source, with the addresses as they were on the wire; to a unicast source only,
// and not in answer to a packet that was for several nodes.
func (b *BindingErrors) answer(now time.Time, p mip6.Packet, status mip6.BindingErrorStatus, reason role.DropReason) []role.Action {
	actions := []role.Action{role.Dropped{Reason: reason, From: p.Source}}
	if !p.Source.IsValid() || p.Source.IsUnspecified() || p.Source.IsMulticast() || p.Destination.IsMulticast() {
		return actions
	}
	if !b.limiter.allow(now, errorRate) {
		return append(actions, role.Dropped{Reason: role.DropRateLimited, From: p.Source})
	}
	home := p.HomeAddress
	if !home.IsValid() {
		home = netip.IPv6Unspecified()
	}
	return append(actions, role.Send{Packet: mip6.Packet{
		Source:      p.Destination,
		Destination: p.Source,
		Message:     mip6.BindingError{Status: status, Home: home},
	}})
}
