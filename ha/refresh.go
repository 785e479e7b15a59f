package ha

import (
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

// Requests to refresh a binding: so many, in the last part of its lifetime.
const (
	maxRefreshRequests      = 3
	refreshRequestsPart     = 10
	minRefreshRequestsApart = time.Second
)

// askAt is when the mobile of an active entry is to be asked to refresh its
// binding, unless it has done so by then; zero: not again.
func (h *home) askAt(e *binding.Entry) time.Time {
	if h.asked == maxRefreshRequests {
		return time.Time{}
	}
	part := e.Lifetime.Duration() / refreshRequestsPart
	apart := max(minRefreshRequestsApart, part/maxRefreshRequests)
	at := e.Expires.Add(time.Duration(h.asked)*apart - part)
	if !at.Before(e.Expires) {
		return time.Time{}
	}
	return at
}

// askRefresh sends the binding refresh request that is due (RFC 6275 §9.5.5),
// without a routing header (§6.1) to the home address, and so through the tunnel.
func (a *Agent) askRefresh(e *binding.Entry, h *home) {
	if at := h.askAt(e); at.IsZero() || at.After(a.now) {
		return
	}
	h.asked++
	a.counts.RefreshRequests++
	a.do(role.Send{Packet: mip6.Packet{Source: a.config.Address, Destination: e.Home, Message: mip6.BindingRefreshRequest{}}})
}
