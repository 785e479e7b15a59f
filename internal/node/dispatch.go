package node

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/metrics"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// dispatch gives an event to the roles it concerns.
func (s *Shell) dispatch(now time.Time, e role.Event) {
	switch e := e.(type) {
	case role.LinkChanged:
		before := s.links[e.Link.Index]
		s.linkChanged(e.Link)
		s.clientLinkChanged(now, before, e.Link)
		s.broadcast(now, e)
		if f, ok := s.foreignAt(now, e.Link.Index); ok && before.Name != e.Link.Name {
			s.toMobiles(now, f, func(*mobileHost) bool { return true })
		}
		s.syncSockets()
	case role.LinkGone:
		s.linkGone(now, e.Index)
		s.broadcast(now, e)
	case role.RouterHeard:
		s.routerHeard(now, e)
		s.toMobiles(now, e, func(*mobileHost) bool { return true })
		s.toAgents(now, e, func(*agentHost) bool { return true })
	case role.NeighborHeard:
		s.broadcast(now, e)
	case role.MessageReceived:
		s.message(now, e)
	case role.ICMPReceived:
		s.icmp(now, e)
	case role.PeerRefused:
		s.toMobiles(now, e, func(h *mobileHost) bool { return h.at(e.Local) })
	case role.TrafficSeen:
		if e.Side == overlay.CorrespondentSide {
			s.toCorrespondent(now, e)
		} else {
			s.toMobiles(now, e, func(h *mobileHost) bool { return homeOf(h.config) == e.Home })
		}
	case role.TunnelSilent:
		s.toMobiles(now, e, func(h *mobileHost) bool { return h.at(e.Home) })
	case role.TunnelRefused:
		s.toMobiles(now, e, func(h *mobileHost) bool { return h.at(e.Home) })
	case role.UnknownHomeAddress:
		// The data plane knows the bindings of the correspondent alone; a mobile may
		// ask its home agent for prefixes with the option, too.
		if !slices.ContainsFunc(s.agents, func(h *agentHost) bool { return h.machine.Serves(e.Home) }) {
			s.toCorrespondent(now, e)
		}
	case role.KeysChanged: // of the shell: keysChanged takes it there
	case role.RouteUnreachable:
		s.toCorrespondent(now, e)
	case role.DHCPReceived:
		s.dhcpReceived(now, e)
	case role.ForeignAddresses:
		s.foreignAddresses(now, e)
	case role.ConfigureLink, role.DeclineAddress, role.LeaseChanged, role.DelegationEnded, role.PrefixesDelegated:
		// Of one role to another: perform takes them there.
	case role.Timeout, role.Stop:
		s.broadcast(now, e)
	}
}

// broadcast gives an event to the roles of Mobile IPv6.
func (s *Shell) broadcast(now time.Time, e role.Event) {
	s.roles(func(m role.Machine) { s.carryOut(m, s.handle(now, m, e)) })
}

// toMobiles gives an event to the mobiles it concerns, and reports whether there
// are any.
func (s *Shell) toMobiles(now time.Time, e role.Event, concerns func(*mobileHost) bool) (taken bool) {
	for _, h := range s.mobiles {
		if concerns(h) {
			taken = true
			s.carryOut(h.machine, s.handle(now, h.machine, e))
		}
	}
	return taken
}

// offer is toMobiles for a message. Mobiles of one host mostly share their care-of
// address, and then only they can tell whose it is, such as by a cookie: what one
// of them takes is not dropped, whatever the others say.
func (s *Shell) offer(now time.Time, e role.Event, concerns func(*mobileHost) bool) (taken bool) {
	var takers []*mobileHost
	var actions [][]role.Action
	wanted := false
	for _, h := range s.mobiles {
		if concerns(h) {
			out := s.handle(now, h.machine, e)
			takers, actions = append(takers, h), append(actions, out)
			wanted = wanted || !slices.ContainsFunc(out, isDropped)
		}
	}
	for i, h := range takers {
		if wanted {
			actions[i] = slices.DeleteFunc(actions[i], isDropped)
		}
		s.carryOut(h.machine, actions[i])
	}
	return len(takers) > 0
}

// toAgents is toMobiles for home agents.
func (s *Shell) toAgents(now time.Time, e role.Event, concerns func(*agentHost) bool) (taken bool) {
	for _, h := range s.agents {
		if concerns(h) {
			taken = true
			s.carryOut(h.machine, s.handle(now, h.machine, e))
		}
	}
	return taken
}

// message gives a Mobility Header message to the role it is addressed to.
func (s *Shell) message(now time.Time, e role.MessageReceived) {
	taken := false
	switch m := e.Packet.Message.(type) {
	case mip6.UnknownMessage:
		s.carryOut(nil, s.refusals.unknownType(now, e.Packet))
		return
	case mip6.BindingUpdate:
		taken = s.update(now, e, m)
	case mip6.HomeTestInit, mip6.CareOfTestInit:
		taken = s.correspond(now, e)
	case mip6.HomeTest, mip6.CareOfTest, mip6.BindingAcknowledgement, mip6.BindingRefreshRequest:
		taken = s.offer(now, e, func(h *mobileHost) bool { return h.machine.Takes(e.Packet) })
		s.received(taken, metrics.RoleMobile, m.Type())
	case mip6.BindingError:
		taken = s.offer(now, e, func(h *mobileHost) bool {
			return h.machine.Takes(e.Packet) && (m.Home.IsUnspecified() || m.Home == homeOf(h.config))
		})
		s.received(taken, metrics.RoleMobile, m.Type())
	}
	if !taken {
		s.dropped(role.Dropped{Reason: role.DropUnexpected, From: e.Packet.From()})
	}
}

// update gives a binding update to a mobility anchor point or a home agent of this
// node or, if it is for neither, to the correspondent. Nobody answers a local one
// (RFC 5380 §4) where no anchor is: its sender would not believe an answer that is not
// authentic.
func (s *Shell) update(now time.Time, e role.MessageReceived, u mip6.BindingUpdate) (taken bool) {
	if u.Flags&mip6.UpdateMAP != 0 {
		taken = s.toAnchors(now, e, func(h *anchorHost) bool { return h.machine.Owns(e.Packet) })
		s.received(taken, metrics.RoleAnchor, u.Type())
		return taken
	}
	home := u.Flags&(mip6.UpdateHome|mip6.UpdateMobileRouter) != 0
	if home && len(s.agents) == 0 {
		s.received(true, metrics.RoleNode, u.Type())
		s.carryOut(nil, s.refusals.homeRegistration(now, e.Packet, u))
		return true
	}
	taken = s.toAgents(now, e, func(h *agentHost) bool {
		return h.takes(e.Packet) && (home || h.machine.Serves(e.Packet.From()))
	})
	if s.received(taken, metrics.RoleAgent, u.Type()); taken || home {
		return taken
	}
	return s.correspond(now, e)
}

// correspond gives a message to the correspondent.
func (s *Shell) correspond(now time.Time, e role.MessageReceived) (taken bool) {
	s.toCorrespondent(now, e)
	s.received(s.correspondent != nil, metrics.RoleCorrespondent, e.Packet.Message.Type())
	return s.correspondent != nil
}

// received counts a message that a role was given.
func (s *Shell) received(taken bool, by metrics.Role, t mip6.MessageType) {
	if taken {
		s.metrics.Received(by, t)
	}
}

// icmp gives an ICMPv6 message of Mobile IPv6 to the role it is addressed to.
func (s *Shell) icmp(now time.Time, e role.ICMPReceived) {
	var taken bool
	by := metrics.RoleAgent
	switch e.Packet.Message.(type) {
	case mip6.HomeAgentRequest:
		taken = s.toAgents(now, e, func(h *agentHost) bool { return h.anycast(e.Packet.Destination) })
	case mip6.PrefixSolicitation:
		taken = s.toAgents(now, e, func(h *agentHost) bool { return h.config.Address == e.Packet.Destination })
	case mip6.HomeAgentReply, mip6.PrefixAdvertisement:
		by = metrics.RoleMobile
		taken = s.offer(now, e, func(h *mobileHost) bool {
			if e.Packet.RouteHome.IsValid() {
				return homeOf(h.config) == e.Packet.RouteHome
			}
			return h.at(e.Packet.Destination)
		})
	}
	if !taken {
		s.dropped(role.Dropped{Reason: role.DropUnexpected, From: e.Packet.From()})
		return
	}
	s.metrics.ReceivedICMP(by, e.Packet.Message.ICMPType())
}

// mobileAt finds the mobile with a home address, ending or not; nil: none.
func (s *Shell) mobileAt(home netip.Addr) *mobileHost {
	i := slices.IndexFunc(s.mobiles, func(h *mobileHost) bool { return homeOf(h.config) == home })
	if i < 0 {
		return nil
	}
	return s.mobiles[i]
}

// mobileOf finds the mobile whose machine m is; nil: none.
func (s *Shell) mobileOf(m role.Machine) *mobileHost {
	i := slices.IndexFunc(s.mobiles, func(h *mobileHost) bool { return h.machine == m })
	if i < 0 {
		return nil
	}
	return s.mobiles[i]
}
