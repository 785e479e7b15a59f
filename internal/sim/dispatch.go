package sim

import (
	"net/netip"
	"slices"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// dispatch gives an event to the roles of a host that it concerns, by the rules
// of the shell (internal/node).
func (w *World) dispatch(h *host, e role.Event) {
	if h.down {
		return
	}
	w.batch(h, func() { w.deliver(h, e) })
}

// deliver is dispatch within a batch.
func (w *World) deliver(h *host, e role.Event) {
	switch e := e.(type) {
	case role.RouterHeard:
		w.toMobiles(h, e, func(*mobile) bool { return true })
		w.toAgent(h, e)
	case role.MessageReceived:
		w.message(h, e)
	case role.ICMPReceived:
		w.icmp(h, e)
	case role.PeerRefused:
		w.toMobiles(h, e, func(m *mobile) bool { return m.at(e.Local) })
	case role.TrafficSeen:
		if e.Side == overlay.CorrespondentSide {
			w.toCorrespondent(h, e)
			return
		}
		w.toHome(h, e, e.Home)
	case role.TunnelSilent:
		w.toMobiles(h, e, func(m *mobile) bool { return m.at(e.Home) })
	case role.TunnelRefused:
		w.toMobiles(h, e, func(m *mobile) bool { return m.at(e.Home) })
	case role.UnknownHomeAddress:
		if h.agent == nil || !h.agent.role.Serves(e.Home) {
			w.toCorrespondent(h, e)
		}
	case role.DHCPReceived:
		w.dhcpReceived(h, e)
	case role.ForeignAddresses:
		w.toMobiles(h, e, func(*mobile) bool { return true })
	default:
		w.broadcast(h, e)
	}
}

// at reports whether an address is the mobile's home address or a care-of address
// of it.
func (m *mobile) at(a netip.Addr) bool { return a == m.home || m.role.HasCareOf(a) }

func (w *World) toMobiles(h *host, e role.Event, concerns func(*mobile) bool) {
	for _, m := range slices.Clone(h.mobiles) {
		if !m.gone && concerns(m) {
			w.handle(h, &m.runner, e)
		}
	}
}

func (w *World) toHome(h *host, e role.Event, home netip.Addr) {
	w.toMobiles(h, e, func(m *mobile) bool { return m.home == home })
}

func (w *World) toAgent(h *host, e role.Event) {
	if h.agent != nil {
		w.handle(h, &h.agent.runner, e)
	}
}

func (w *World) toAnchor(h *host, e role.Event) {
	if h.anchor != nil {
		w.handle(h, &h.anchor.runner, e)
	}
}

func (w *World) toCorrespondent(h *host, e role.Event) {
	if h.correspondent != nil {
		w.handle(h, &h.correspondent.runner, e)
	}
}

// message gives a Mobility Header message to the role it is addressed to.
func (w *World) message(h *host, e role.MessageReceived) {
	switch m := e.Packet.Message.(type) {
	case mip6.BindingUpdate:
		home := m.Flags&(mip6.UpdateHome|mip6.UpdateMobileRouter) != 0
		if m.Flags&mip6.UpdateMAP != 0 {
			if h.anchor != nil && h.anchor.role.Owns(e.Packet) {
				w.toAnchor(h, e)
			}
		} else if h.agent != nil && e.Packet.Destination == h.agent.config.Address && (home || h.agent.role.Serves(e.Packet.From())) {
			w.toAgent(h, e)
		} else if !home {
			w.toCorrespondent(h, e)
		}
	case mip6.HomeTestInit, mip6.CareOfTestInit:
		w.toCorrespondent(h, e)
	case mip6.HomeTest, mip6.CareOfTest, mip6.BindingAcknowledgement, mip6.BindingRefreshRequest:
		w.toMobiles(h, e, func(t *mobile) bool { return t.role.Takes(e.Packet) })
	case mip6.BindingError:
		w.toMobiles(h, e, func(t *mobile) bool {
			return t.role.Takes(e.Packet) && (m.Home.IsUnspecified() || m.Home == t.home)
		})
	case mip6.UnknownMessage:
	}
}

// icmp gives an ICMPv6 message of Mobile IPv6 to the role it is addressed to.
func (w *World) icmp(h *host, e role.ICMPReceived) {
	switch e.Packet.Message.(type) {
	case mip6.HomeAgentRequest, mip6.PrefixSolicitation:
		w.toAgent(h, e)
	case mip6.HomeAgentReply, mip6.PrefixAdvertisement:
		w.toMobiles(h, e, func(m *mobile) bool {
			if home := e.Packet.RouteHome; home.IsValid() {
				return m.home == home
			}
			return m.at(e.Packet.Destination)
		})
	}
}
