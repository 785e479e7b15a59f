package ha

import (
	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

// askRefresh sends the binding refresh request that is due (RFC 6275 §9.5.5).
func (a *Agent) askRefresh(e *binding.Entry, h *home) {
	if !h.requests.Take(e, a.now) {
		return
	}
	a.sendRefreshRequest(e)
}

// sendRefreshRequest asks for an update at once, without a routing header (RFC 6275
// §6.1) to the home address, and so through the tunnel.
func (a *Agent) sendRefreshRequest(e *binding.Entry) {
	a.counts.RefreshRequests++
	a.do(role.Send{Packet: mip6.Packet{Source: a.config.Address, Destination: e.Home, Message: mip6.BindingRefreshRequest{}}})
}
