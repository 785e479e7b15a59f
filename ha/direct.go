package ha

import (
	"roam6/internal/binding"
	"roam6/overlay"
)

// A mobile that asks for prefixes while it is away does so by DHCPv6 messages that
// carry the Home Address option, and is answered with a type 2 routing header
// (RFC 6276 §3.1): between its home address and the home agent's, the data plane
// has an optimised route of the correspondent's side, as long as there is a
// binding.

// direct is the change that gives an active entry its route, or a new care-of
// address; none where nothing changes.
func (a *Agent) direct(e *binding.Entry, h *home) []overlay.Change {
	if !h.Delegate || !h.Router {
		return h.indirect()
	}
	want := overlay.Route{
		Pair:   overlay.Pair{Home: h.addr, Peer: a.config.Address, Side: overlay.CorrespondentSide},
		CareOf: e.CareOf(),
	}
	if h.direct != nil && *h.direct == want {
		return nil
	}
	h.direct = &want
	set := want
	return []overlay.Change{{Optimise: &set}}
}

// indirect is the change that removes the route of a home address, if it has one.
func (h *home) indirect() []overlay.Change {
	if h.direct == nil {
		return nil
	}
	pair := h.direct.Pair
	h.direct = nil
	return []overlay.Change{{Deoptimise: &pair}}
}
