package node

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"roam6/cn"
	"roam6/ha"
	"roam6/internal/ike"
	"roam6/internal/logging"
	"roam6/internal/metrics"
	"roam6/internal/role"
	"roam6/internal/rtnl"
	anchor "roam6/map"
	"roam6/nd/ndconn"
	"roam6/overlay"
)

// carryOut does what a role decided, in its order. A failure is told and never
// ends anything: the role's own timers repeat what matters.
func (s *Shell) carryOut(by role.Machine, actions []role.Action) {
	for _, a := range actions {
		s.tell(s.perform(by, a))
	}
}

// tell logs what the kernel or the data plane refused. What it will do later is
// no failure.
func (s *Shell) tell(err error) {
	if err != nil && !errors.Is(err, rtnl.ErrDeferred) {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "action failed", slog.String("reason", err.Error()))
	}
}

// follow carries out what roles said to each other, one after the other: when
// they said it, the actions of the one were not all carried out, and those of the
// other would have come between them.
func (s *Shell) follow(now time.Time) {
	for len(s.following) > 0 {
		next := s.following[0]
		s.following = s.following[1:]
		next(now)
	}
	s.following = nil
}

// perform carries out one action of a role.
func (s *Shell) perform(by role.Machine, a role.Action) error {
	later := func(do func(now time.Time)) { s.following = append(s.following, do) }
	switch a := a.(type) {
	case role.Send:
		return s.send(by, a)
	case role.SendICMP:
		return s.sendICMP(by, a)
	case role.RequestKeys:
		e := ike.Ends{Home: a.Home, Agent: a.Agent, Side: overlay.MobileSide}
		if k := s.exchange(e); k != nil {
			k.Request(e, a.CareOf)
		}
	case role.RenewKeys:
		e := ike.Ends{Home: a.Home, Agent: a.Agent, Side: overlay.MobileSide}
		if k := s.exchange(e); k != nil {
			k.Renew(e, a.CareOf)
		}
	case role.JoinAnycast:
		return s.signalling.JoinAnycast(a.Link, a.Addr)
	case role.LeaveAnycast:
		return s.signalling.LeaveAnycast(a.Link, a.Addr)
	case role.HomeAddressFormed:
		s.homeAddressFormed(a)
	case role.SolicitRouter:
		return s.onLink(a.Link, (*ndconn.Conn).SendRS)
	case role.ProbeAddress:
		return s.onLink(a.Link, func(c *ndconn.Conn) error { return c.SendDAD(a.Addr) })
	case role.ProbeNeighbor:
		return s.onLink(a.Link, func(c *ndconn.Conn) error { return c.SendNS(a.Source, a.Target) })
	case role.AnnounceAddress:
		return s.onLink(a.Link, func(c *ndconn.Conn) error { return c.Announce(a.Addr, a.Router) })
	case role.DefendAddress:
		return s.onLink(a.Link, func(c *ndconn.Conn) error { c.Defend(a.Addr, a.Router); return nil })
	case role.UndefendAddress:
		return s.onLink(a.Link, func(c *ndconn.Conn) error { c.Undefend(a.Addr); return nil })
	case role.AssignAddress:
		s.holders.hold(heldAddress(a.Link, a.Prefix), by)
		if a.Home {
			s.homeAssigned(by, a.Link, a.Prefix.Addr())
		}
		s.takenDue = true
		return s.state.AssignAddress(a)
	case role.UnassignAddress:
		s.homeUnassigned(by, a.Link, a.Prefix.Addr())
		s.takenDue = true
		if s.holders.release(heldAddress(a.Link, a.Prefix), by) {
			return s.state.UnassignAddress(a)
		}
	case role.AddRoute:
		s.holders.hold(heldRoute(a.Route), by)
		s.steerDue = true // the router may be another
		return s.state.AddRoute(a)
	case role.RemoveRoute:
		if s.holders.release(heldRoute(a.Route), by) {
			return s.state.RemoveRoute(a)
		}
	case role.LearnNeighbor:
		return s.state.LearnNeighbor(a)
	case role.ForgetNeighbor:
		return s.state.ForgetNeighbor(a)
	case role.Forward:
		s.discardsDue = true // the networks may be others
		return s.applyTunnels(s.inner.change(a.Changes))
	case role.AdvertisePrefix:
		s.advertisePrefix(by, a)
	case role.ConfigureLink:
		later(func(now time.Time) { s.configureLink(now, by, a) })
	case role.DeclineAddress:
		later(func(now time.Time) { s.declineAddress(now, a) })
	case role.LeaseChanged:
		later(func(now time.Time) { s.leaseChanged(now, by, a) })
	case role.PrefixesDelegated:
		later(func(now time.Time) { s.prefixesDelegated(now, by, a) })
	case role.NumberDownstream:
		later(func(now time.Time) { s.numberDownstream(now, by, a) })
	case role.DelegationEnded: // of interest to a mobile router, which has its own client
	case role.SendDHCP:
		return s.sendDHCP(a)
	case role.Save:
		s.kept.save(keptName(a.Name), a.Data)
	case role.Remember:
		s.remember(by, a.Memory)
	case role.Dropped:
		s.dropped(a)
	case role.Log:
		logging.Write(context.Background(), s.log, a)
	case role.HandoverDone:
		s.handovers.add(a.Handover)
		s.settled(a.Handover.Home)
		s.metrics.Handover(a.Handover)
		s.logHandover(a.Handover)
	case role.BindingChanged:
		s.changes.add(change{BindingChanged: a, at: s.handling, took: time.Since(s.handling)})
	case role.Acknowledged:
		s.metrics.Acknowledged(metricsRole(by), a)
	}
	return nil
}

// send encodes a Mobility Header message and gives it to the kernel to route.
func (s *Shell) send(by role.Machine, a role.Send) error {
	b, err := a.Packet.Append(s.buffer[:0])
	if err != nil {
		return err
	}
	s.buffer = b
	s.metrics.Sent(metricsRole(by), a.Packet.Message.Type())
	return s.signalling.SendBy(a.SPI, b, a.Link, a.Packet.Source)
}

// sendICMP is send for ICMPv6 messages.
func (s *Shell) sendICMP(by role.Machine, a role.SendICMP) error {
	b, err := a.Packet.Append(s.buffer[:0])
	if err != nil {
		return err
	}
	s.buffer = b
	s.metrics.SentICMP(metricsRole(by), a.Packet.Message.ICMPType())
	return s.signalling.Send(b, a.Link, a.Packet.Source)
}

// metricsRole is the label of a role in the metrics; nil is the node itself.
func metricsRole(m role.Machine) metrics.Role {
	switch m.(type) {
	case nil:
		return metrics.RoleNode
	case *ha.Agent:
		return metrics.RoleAgent
	case *anchor.Anchor:
		return metrics.RoleAnchor
	case *cn.Correspondent:
		return metrics.RoleCorrespondent
	default:
		return metrics.RoleMobile
	}
}

// dropped counts a message that was not accepted.
func (s *Shell) dropped(d role.Dropped) {
	s.metrics.Dropped(d.Reason)
	s.log.LogAttrs(context.Background(), slog.LevelDebug, "message dropped",
		slog.String("reason", d.Reason.String()), slog.Any("from", d.From))
}

// logHandover says in one line how a move went.
func (s *Shell) logHandover(h role.Handover) {
	s.log.LogAttrs(context.Background(), slog.LevelInfo, "handover",
		slog.String("home", h.Home.String()), slog.String("from", place(h.From)), slog.String("to", place(h.To)),
		slog.String("trigger", h.Trigger.String()), slog.Duration("duration", h.Acknowledged.Sub(h.Start)),
		slog.Int("updates", h.Updates))
}

// place names an attachment in a few characters.
func place(a role.Attachment) string {
	switch {
	case a.AtHome:
		return "home"
	case a.Router.IsValid():
		return a.Router.String() + "%" + a.Link
	default:
		return "nowhere"
	}
}
