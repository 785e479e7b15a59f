package node

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/internal/role"
	"roam6/mip6"
)

// request is a question from the control socket or the configuration watcher,
// answered by the loop, which owns the roles.
type request struct {
	do   func(now time.Time)
	done chan struct{}
}

// ask runs do in the loop and waits for it.
func (s *Shell) ask(ctx context.Context, do func(now time.Time)) error {
	r := request{do: do, done: make(chan struct{})}
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// post hands an event to the loop. It never blocks: an event that does not fit
// is lost and counted, as a packet would be.
func (s *Shell) post(e role.Event) {
	select {
	case s.events <- e:
	default:
		s.lostEvents.Add(1)
	}
}

// eventRunLoop owns the roles until ctx ends and they have de-registered.
func (s *Shell) eventRunLoop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stopping := ctx.Done()
	var giveUp <-chan time.Time
	for {
		s.arm(timer)
		select {
		case e := <-s.events:
			s.dispatch(time.Now(), e)
		case <-timer.C:
			s.timeouts(time.Now())
		case r := <-s.requests:
			r.do(time.Now())
			close(r.done)
		case <-stopping:
			stopping = nil
			giveUp = time.After(stopTimeout)
			s.stopRoles(time.Now())
		case <-giveUp:
			s.log.Warn("stopping without the home agent's answer to the de-registration")
			return
		}
		s.reap(time.Now())
		if stopping == nil && len(s.mobiles) == 0 {
			return
		}
	}
}

// stopTimeout bounds the de-registration at the end: less than the ten seconds
// that procd and the lab allow before they kill.
const stopTimeout = 4 * time.Second

// arm sets the timer to the earliest time that a role asks for.
func (s *Shell) arm(timer *time.Timer) {
	var next time.Time
	s.machines(func(m role.Machine) {
		if t := m.Next(); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	})
	wait := time.Hour
	if !next.IsZero() {
		wait = max(time.Until(next), 0)
	}
	timer.Reset(wait)
}

// machines calls do for every role.
func (s *Shell) machines(do func(role.Machine)) {
	for _, h := range s.mobiles {
		do(h.machine)
	}
	for _, h := range s.agents {
		do(h.machine)
	}
}

// timeouts wakes the roles whose time has come.
func (s *Shell) timeouts(now time.Time) {
	s.machines(func(m role.Machine) {
		if t := m.Next(); !t.IsZero() && !now.Before(t) {
			s.carryOut(m, m.Handle(now, role.Timeout{}))
		}
	})
}

// dispatch gives an event to the roles it concerns.
func (s *Shell) dispatch(now time.Time, e role.Event) {
	switch e := e.(type) {
	case role.LinkChanged:
		s.linkChanged(e.Link)
		s.broadcast(now, e)
	case role.LinkGone:
		s.linkGone(e.Index)
		s.broadcast(now, e)
	case role.RouterHeard:
		for _, h := range s.mobiles {
			s.carryOut(h.machine, h.machine.Handle(now, e))
		}
	case role.NeighborHeard:
		s.broadcast(now, e)
	case role.MessageReceived:
		s.message(now, e)
	case role.TunnelRefused:
		for _, h := range s.mobiles {
			s.carryOut(h.machine, h.machine.Handle(now, e))
		}
	case role.Timeout, role.Stop:
		s.broadcast(now, e)
	}
}

func (s *Shell) broadcast(now time.Time, e role.Event) {
	s.machines(func(m role.Machine) { s.carryOut(m, m.Handle(now, e)) })
}

// message gives a Mobility Header message to the role it is addressed to.
func (s *Shell) message(now time.Time, e role.MessageReceived) {
	if _, unknown := e.Packet.Message.(mip6.UnknownMessage); unknown {
		s.carryOut(nil, s.refusals.unknownType(now, e.Packet))
		return
	}
	taken := false
	for _, h := range s.agents {
		if h.takes(e.Packet) {
			taken = true
			s.carryOut(h.machine, h.machine.Handle(now, e))
		}
	}
	for _, h := range s.mobiles {
		if h.takes(e.Packet) {
			taken = true
			s.carryOut(h.machine, h.machine.Handle(now, e))
		}
	}
	if !taken {
		s.dropped(role.Dropped{Reason: role.DropUnexpected, From: e.Packet.From()})
	}
}

// stopRoles asks every mobile to de-register.
func (s *Shell) stopRoles(now time.Time) {
	s.successors = nil
	for _, h := range s.mobiles {
		h.ending = true
		s.carryOut(h.machine, h.machine.Handle(now, role.Stop{}))
	}
}

// reap forgets mobiles that have ended, and begins those that waited for the
// end of their predecessor with the same home address.
func (s *Shell) reap(now time.Time) {
	kept := s.mobiles[:0]
	for _, h := range s.mobiles {
		if !h.ending || !h.machine.Done() {
			kept = append(kept, h)
		}
	}
	clear(s.mobiles[len(kept):])
	s.mobiles = kept
	for _, c := range s.successors {
		if !s.hosts(homeOf(c)) {
			s.begin(now, c)
		}
	}
	s.successors = slices.DeleteFunc(s.successors, func(c config.MobileNode) bool { return s.lives(homeOf(c)) })
}

// hosts reports whether a mobile with a home address is here, ending or not.
func (s *Shell) hosts(home netip.Addr) bool {
	return slices.ContainsFunc(s.mobiles, func(h *mobileHost) bool { return homeOf(h.config) == home })
}

// lives reports whether one is here that is not ending.
func (s *Shell) lives(home netip.Addr) bool {
	return slices.ContainsFunc(s.mobiles, func(h *mobileHost) bool { return homeOf(h.config) == home && !h.ending })
}

var _ control.Handler = (*Shell)(nil)
