package mr

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/dhcpv6"
	"roam6/internal/role"
	"roam6/mn"
	"roam6/overlay"
)

// The relay agent that is co-located with the requesting router (RFC 6276 §3.1).
// Away from home it wraps the client's messages and sends them from the home
// address to the home agent. They carry the Home Address option, and the replies a
// type 2 routing header, by an optimised route to the home agent that the data
// plane has for the time: packages ro and mr do not meet there, since the home
// agent is never a correspondent (ro.Attachment). At home the relay is off, and
// the client speaks on the home link (§3.2).

// relayPort is where the relay is: its messages leave from there and return.
func (r *Router) relayPort() netip.AddrPort {
	return netip.AddrPortFrom(r.config.HomeAddress, dhcpv6.ServerPort)
}

// sendDHCP sends a message of the client; nothing when there is no way.
func (r *Router) sendDHCP(a role.SendDHCP) []role.Action {
	place := r.node.Place()
	switch {
	case place.AtHome:
		return []role.Action{role.SendDHCP{
			Link: place.Link, From: netip.AddrPortFrom(netip.Addr{}, dhcpv6.ClientPort),
			To: netip.AddrPortFrom(dhcpv6.AllRelayAgentsAndServers(), dhcpv6.ServerPort), Message: a.Message,
		}}
	case !place.Bound:
		return nil
	}
	message, err := dhcpv6.RelayForward(r.config.HomeAddress, a.Message)
	if err != nil {
		return []role.Action{r.log(slog.LevelError, "DHCPv6 message not relayed", slog.String("reason", err.Error()))}
	}
	return []role.Action{role.SendDHCP{
		From: r.relayPort(), To: netip.AddrPortFrom(place.Agent, dhcpv6.ServerPort), Message: message,
	}}
}

// dhcpReceived takes a datagram: away from home one to the relay, of the home
// agent only; at home one to the client's port on the home link. Others are for
// the clients of this node's links.
func (r *Router) dhcpReceived(now time.Time, e role.DHCPReceived) []role.Action {
	if r.delegation == nil || r.stopping {
		return nil
	}
	place := r.node.Place()
	switch {
	case e.To == r.relayPort():
		if !place.CareOf.IsValid() || e.From.Addr() != place.Agent {
			return []role.Action{role.Dropped{Reason: role.DropUnexpected, From: e.From.Addr()}}
		}
		inner, err := dhcpv6.RelayedReply(e.Message)
		if err != nil {
			return []role.Action{role.Dropped{Reason: role.DropMalformed, From: e.From.Addr()}}
		}
		e.Message = inner
	case !place.AtHome || e.Link != place.Link || e.To.Port() != dhcpv6.ClientPort:
		return nil
	}
	if r.delegation.client == nil {
		return nil
	}
	by, ok := r.delegator(place, e.From.Addr())
	if !ok {
		return []role.Action{role.Dropped{Reason: role.DropNotForUs, From: e.From.Addr()}}
	}
	e.Link = 0
	r.delegation.speaking = e.From.Addr()
	out := r.drive(now, by, e)
	r.delegation.speaking = netip.Addr{}
	return r.follow(now, out)
}

// delegator is the home agent whose delegating router sent a message, as far as it can
// be known. At home that is to be the one that will forward for the router when it
// leaves home: ok is false for another one, unless the former is not there, or the
// leases are of the latter.
func (r *Router) delegator(place mn.Place, from netip.Addr) (agent netip.Addr, ok bool) {
	if !place.AtHome {
		return place.Agent, true
	}
	d := r.delegation
	by, there := r.node.AgentBy(from)
	switch {
	case by.IsValid():
		return by, by == place.Agent || !there || len(d.leases) > 0 && d.granter == from
	case len(d.leases) > 0:
		return d.agent, true
	default:
		return place.Agent, true
	}
}

// settleRoute gives the data plane the route to the home agent that it is to have:
// as long as the router is away, registered and asks for prefixes, from the care-of
// address of the tunnel.
func (r *Router) settleRoute() []role.Action {
	var want *overlay.Route
	if p := r.node.Place(); r.delegation != nil && !r.stopping && p.CareOf.IsValid() && p.Bound {
		want = &overlay.Route{
			Pair:   overlay.Pair{Home: r.config.HomeAddress, Peer: p.Agent, Side: overlay.MobileSide},
			CareOf: p.CareOf, Link: p.Link,
		}
	}
	had := r.route
	if had == nil && want == nil || had != nil && want != nil && *had == *want {
		return nil
	}
	var changes []overlay.Change
	if had != nil && (want == nil || want.Pair != had.Pair) {
		changes = append(changes, overlay.Change{Deoptimise: &had.Pair})
	}
	if want != nil {
		set := *want
		changes = append(changes, overlay.Change{Optimise: &set})
	}
	r.route = want
	return []role.Action{role.Forward{Changes: changes}}
}
