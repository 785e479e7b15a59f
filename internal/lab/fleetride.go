package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"roam6/internal/lab/probe"
)

// Of a hundred moves so many lead home, and so many through a time without a link.
const fleetHomeward, fleetLost = 10, 12

func (r *fleetRun) act(ctx context.Context, s *stage) error {
	defer func() {
		if r.fan != nil {
			r.fan.Stop()
		}
	}()
	if err := r.depart(ctx, s); err != nil {
		return err
	}
	var err error
	if r.start, err = r.look(ctx, s); err != nil {
		return err
	}
	r.began = time.Now()
	s.tell("%d routers ride for %v, some %v at each stop; round trips: %v to the router of a link, %v to the home agent", r.routers, r.duration, r.dwell, r.access, r.homeAgent)
	if err := r.ride(ctx, s); err != nil {
		return err
	}
	r.ended = time.Now()
	if r.end, err = r.look(ctx, s); err != nil {
		return err
	}
	if err := r.arrive(ctx, s); err != nil {
		return err
	}
	s.finish(ctx, 20*time.Second, r.settling())
	r.fan.Stop()
	return s.crew.check()
}

// depart waits until every router is reachable.
func (r *fleetRun) depart(ctx context.Context, s *stage) error {
	const port, transferPort = 9001, 9002
	var targets []probe.Target
	for _, n := range r.all() {
		targets = append(targets, probe.Target{Space: s.world.Space(n.node()), Address: netip.AddrPortFrom(n.address(), port)})
	}
	var err error
	if r.fan, err = probe.StartFan(s.world.Space(nodeCorrespondent), targets, r.interval); err != nil {
		return err
	}
	began := time.Now()
	if err := s.until(ctx, r.patience, func() bool { return r.reachable(began) == r.routers }); err != nil {
		return fmt.Errorf("%d of %d routers are reachable: %w", r.reachable(began), r.routers, err)
	}
	s.tell("all reachable after %.1f s", time.Since(began).Seconds())
	// One connection, slow beside all the echoes.
	return s.connect(ctx, nodeCorrespondent, fleetRouter(0).node(), fleetRouter(0).address(), transferPort, r.rate/10, r.seed)
}

// reachable is how many routers have answered what was sent after a time.
func (r *fleetRun) reachable(since time.Time) (n int) {
	for i := range r.routers {
		if r.fan.NewestSent(i).After(since) {
			n++
		}
	}
	return n
}

// ride lets all routers ride until the time is over.
func (r *fleetRun) ride(ctx context.Context, s *stage) error {
	end := r.began.Add(r.duration)
	errs := make([]error, r.routers)
	var all sync.WaitGroup
	for i := range r.routers {
		all.Go(func() { errs[i] = r.rideOne(ctx, s, i, end) })
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	const look = 250 * time.Millisecond
	for {
		select {
		case <-done:
			return errors.Join(append(errs, ctx.Err(), s.crew.check())...)
		case <-time.After(look):
			if u, err := usageOf(s.daemon(nodeHomeAgent)); err == nil {
				r.peak = max(r.peak, u.resident)
			}
		}
	}
}

// rideOne lets one router ride. Where it goes, and when, follows from the seed.
func (r *fleetRun) rideOne(ctx context.Context, s *stage, i int, end time.Time) error {
	random := rand.New(rand.NewPCG(r.seed, uint64(i)))
	node, stops := fleetRouter(i).node(), r.stops()
	for {
		dwell := r.dwell/2 + time.Duration(random.Int64N(int64(r.dwell)))
		if next := time.Now().Add(dwell); next.After(end) || !sleep(ctx, dwell) {
			return nil // the caller looks whether it was interrupted
		}
		m := fleetMove{move: move{from: r.at[i]}, lost: random.IntN(100) < fleetLost}
		if m.to = stops[0]; r.at[i] == stops[0] || random.IntN(100) >= fleetHomeward {
			away := slices.DeleteFunc(slices.Clone(stops[1:]), func(stop string) bool { return stop == r.at[i] })
			m.to = away[random.IntN(len(away))]
		}
		switching := r.switching
		if m.lost {
			switching += time.Duration(random.Int64N(int64(r.dwell)))
		}
		var err error
		if m.Switch, err = s.world.Move(node, linkUp, m.to, switching, true); err != nil {
			return err
		}
		r.at[i] = m.to
		r.moves[i] = append(r.moves[i], m)
	}
}

// arrive waits until every router is reachable where it has ended, and looks at
// what the daemons say.
func (r *fleetRun) arrive(ctx context.Context, s *stage) error {
	if err := s.until(ctx, r.patience, func() bool { return r.reachable(r.ended) == r.routers }); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	r.back = time.Now()
	r.reached = r.reachable(r.ended)
	s.tell("%d of %d reachable %.1f s after the end of the ride", r.reached, r.routers, r.back.Sub(r.ended).Seconds())
	for i, n := range r.all() {
		if !r.fan.NewestSent(i).After(r.ended) {
			s.fail("%s, at %s, is not reachable %v after its ride", n.node(), placeName(r.at[i]), r.patience)
		}
		s.observe(ctx, n.node())
		if s.observer(n.node()) != nil {
			r.whereabouts(ctx, s, i)
		}
		u, err := usageOf(s.daemon(n.node()))
		if err != nil {
			return err
		}
		r.memory = append(r.memory, u.resident)
	}
	u, err := usageOf(s.daemon(nodeHomeAgent))
	r.peak = max(r.peak, u.resident)
	return err
}

// whereabouts checks that a router is registered where it is: nowhere at home.
func (r *fleetRun) whereabouts(ctx context.Context, s *stage, i int) {
	n := fleetRouter(i)
	g := s.registration(ctx, n.node(), n.home().Addr())
	for at := range r.places {
		if accessRouterName(at+1) == r.at[i] && !accessAddress(at+1).Masked().Contains(g.CareOf) {
			s.fail("%s is at %s, and registered at %v", n.node(), r.at[i], g.CareOf)
		}
	}
	if isHome(r.at[i]) && g.CareOf.IsValid() && g.CareOf != n.home().Addr() {
		s.fail("%s is at home, and registered at %v", n.node(), g.CareOf)
	}
}

// look is what the home agent has used.
func (r *fleetRun) look(ctx context.Context, s *stage) (u fleetUsage, err error) {
	if u.usage, err = usageOf(s.daemon(nodeHomeAgent)); err != nil {
		return u, err
	}
	r.peak = max(r.peak, u.resident)
	if o := s.observer(nodeHomeAgent); o != nil {
		if n, err := o.Messages(ctx); err == nil {
			u.messages, u.known = n, true
		}
	}
	return u, nil
}

// settling is the time after a break within which its silence begins.
func (r *fleetRun) settling() time.Duration { return 2*r.homeAgent + slack + r.interval }

// stay is when the stay after a move ended.
func (r *fleetRun) stay(i, move int) time.Time {
	if move+1 < len(r.moves[i]) {
		return r.moves[i][move+1].Left
	}
	return r.back
}

// kind is what people call a move.
func (m fleetMove) kind() string {
	if m.lost {
		return "lost"
	}
	return "move"
}
