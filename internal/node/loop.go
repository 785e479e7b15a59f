package node

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/internal/deadline"
	"roam6/internal/role"
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
	s.applyDelegators(time.Now())
	s.follow(time.Now()) // what they have delegated is the mobiles'
	s.restoreBindings(time.Now())
	s.syncSockets()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stopping := ctx.Done()
	var giveUp <-chan time.Time
	for {
		s.arm(timer)
		select {
		case e := <-s.events:
			s.handling = time.Now()
			s.dispatch(s.handling, e)
		case <-timer.C:
			s.handling = time.Now()
			s.timeouts(s.handling)
		case r := <-s.requests:
			s.handling = time.Now()
			r.do(s.handling)
			s.reap(time.Now()) // the answer comes when all has followed
			close(r.done)
		case <-stopping:
			stopping = nil
			giveUp = time.After(stopTimeout)
			s.stopRoles(time.Now())
		case <-giveUp:
			if s.stopping {
				s.log.Warn("stopping without a DHCPv6 server's answer to the return of its leases")
				return
			}
			s.log.Warn("stopping without the home agent's answer to the de-registration")
			s.mobiles = nil
		}
		s.reap(time.Now())
		if stopping != nil || len(s.mobiles) > 0 {
			continue
		}
		if !s.stopping { // nobody needs a leased address any more
			s.stopping = true
			giveUp = time.After(releaseTimeout)
			s.stopClients(time.Now())
			s.reap(time.Now())
		}
		if len(s.clients) == 0 {
			return
		}
	}
}

// stopTimeout bounds the de-registration at the end: less than the ten seconds
// that procd and the lab allow before they kill.
const stopTimeout = 4 * time.Second

// releaseTimeout bounds the return of leases after that.
const releaseTimeout = 1500 * time.Millisecond

// arm sets the timer to the earliest time that a role asks for.
func (s *Shell) arm(timer *time.Timer) {
	var next time.Time
	s.machines(func(m role.Machine) {
		next = deadline.Earlier(next, m.Next())
	})
	next = deadline.Earlier(next, s.numbering.next())
	next = deadline.Earlier(next, s.advertising.relay.Next())
	wait := time.Hour
	if !next.IsZero() {
		wait = max(time.Until(next), 0)
	}
	timer.Reset(wait)
}

// machines calls do for everything that asks for the time.
func (s *Shell) machines(do func(role.Machine)) {
	s.roles(do)
	for _, u := range s.clients {
		if u.machine != nil {
			do(u.machine)
		}
	}
	for _, h := range s.delegators {
		do(h.machine)
	}
}

// roles calls do for every role of Mobile IPv6.
func (s *Shell) roles(do func(role.Machine)) {
	for _, h := range s.mobiles {
		do(h.machine)
	}
	for _, h := range s.agents {
		do(h.machine)
	}
	for _, h := range s.anchors {
		do(h.machine)
	}
	if s.correspondent != nil {
		do(s.correspondent.machine)
	}
}

// timeouts wakes the roles whose time has come.
func (s *Shell) timeouts(now time.Time) {
	s.machines(func(m role.Machine) {
		if deadline.Due(now, m.Next()) {
			s.carryOut(m, s.handle(now, m, role.Timeout{}))
		}
	})
	if deadline.Due(now, s.advertising.relay.Next()) {
		s.expireAnchors(now)
	}
	if deadline.Due(now, s.numbering.next()) && s.numbering.expire(now) {
		s.renumber()
	}
}

// stopRoles asks every mobile to de-register, and the others to end.
func (s *Shell) stopRoles(now time.Time) {
	s.ended.Store(true)
	s.beginFarewell(now)
	s.successors, s.formed = nil, nil
	for _, h := range s.mobiles {
		h.ending = true
	}
	s.broadcast(now, role.Stop{})
	for _, h := range s.delegators {
		s.carryOut(h.machine, s.handle(now, h.machine, role.Stop{}))
	}
}

// reap follows up every event: it forgets mobiles that have ended, begins those
// that waited for the end of their predecessor with the same home address, and
// changes what depends on which mobiles there are and where.
func (s *Shell) reap(now time.Time) {
	s.follow(now)
	s.handOverHomes(now)
	s.forgetEnded(now)
	for _, c := range s.successors {
		if !s.hosts(homeOf(c)) {
			s.begin(now, c)
		}
	}
	s.successors = slices.DeleteFunc(s.successors, func(c config.MobileNode) bool { return s.lives(homeOf(c)) })
	s.follow(now)
	s.reapClients(now)
	s.follow(now)
	s.renumberDue()
	s.settleTaken(now)
	s.settleDiscards(now)
	s.resolve()
	s.steer(now)
	s.timeOutages(now)
}

// forgetEnded forgets the mobiles that have ended, and what they wanted of others.
func (s *Shell) forgetEnded(now time.Time) {
	var ended []*mobileHost
	s.mobiles = slices.DeleteFunc(s.mobiles, func(h *mobileHost) bool {
		if !h.ending || !h.machine.Done() {
			return false
		}
		ended = append(ended, h)
		return true
	})
	if len(ended) == 0 {
		return
	}
	for _, h := range ended {
		s.traceEnd(now, h.machine)
		s.forgetWants(now, h.machine)
		s.numbersDue = s.numbering.takeBack(now, h.machine) || s.numbersDue
		for _, p := range h.config.Prefixes {
			s.advertisePrefix(nil, role.AdvertisePrefix{Prefix: p, Usable: true}) // its home agent says nothing any more
		}
	}
	s.syncSockets()
	s.settleLinks()
	s.discardsDue = true
}

// hosts reports whether a mobile with a home address is here, ending or not.
func (s *Shell) hosts(home netip.Addr) bool { return s.mobileAt(home) != nil }

// lives reports whether one is here that is not ending.
func (s *Shell) lives(home netip.Addr) bool {
	return slices.ContainsFunc(s.mobiles, func(h *mobileHost) bool { return homeOf(h.config) == home && !h.ending })
}

var _ control.Handler = (*Shell)(nil)
