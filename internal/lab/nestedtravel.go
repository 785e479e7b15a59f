package lab

import (
	"context"
	"fmt"
	"time"

	"roam6/internal/lab/probe"
)

// nestedLeg is a move in the plan.
type nestedLeg struct{ mover, to string }

// nestedLap is the plan of a lap: the train rides with all aboard; car and mobile
// node leave it, each for an access router, and return; the train goes home.
func nestedLap() []nestedLeg {
	return []nestedLeg{
		{nodeRouter, "ar1"}, {nodeRouter, "ar2"},
		{nodeCar, "ar3"}, {nodeRouter, "ar1"}, {nodeCar, nodeRouter},
		{nodeMobile, "ar2"}, {nodeMobile, nodeRouter},
		{nodeRouter, "ar3"}, {nodeRouter, nodeHomeAgent},
	}
}

func (r *nestedRun) act(ctx context.Context, s *stage) error {
	if err := r.depart(ctx, s); err != nil {
		return err
	}
	plan := nestedLap()
	n := r.laps * len(plan)
	s.tell("%d moves, link gone for %v at each; round trips: %v to the router of a link, %v from the train to its home agent",
		n, r.switching, r.access, r.homeAgent)
	for i := range n {
		if err := r.visit(ctx, s, plan[i%len(plan)], i, n); err != nil {
			return err
		}
		if i == 0 {
			if err := r.discover(ctx, s, "away"); err != nil {
				return err
			}
		}
	}
	r.ended = time.Now()
	// At the end, since ends remember for ten minutes how small the path was then.
	if err := r.chase(ctx, s); err != nil {
		return err
	}
	s.finish(ctx, 10*time.Second, r.settling())
	return s.crew.check()
}

// depart waits until those aboard are registered, and starts the measuring.
func (r *nestedRun) depart(ctx context.Context, s *stage) error {
	const limit, calm = 15 * time.Second, 300 * time.Millisecond
	const port, echoPort, transferPort = 9001, 9003, 9002
	r.ends = []*far{
		{node: nodeBehind, mover: nodeCar, address: r.behindCar(), home: r.carSite().mobile().Addr()},
		{node: nodeMobile, mover: nodeMobile, address: r.visitor().Addr(), home: r.visitor().Addr()},
	}
	for _, e := range r.ends {
		if s.observer(e.mover) != nil {
			aboard := func(g Registration) bool { return trainNetwork.Contains(g.CareOf) }
			if err := s.registered(ctx, e.mover, e.home, limit, "aboard the train", aboard); err != nil {
				return err
			}
		}
		if err := e.converse(ctx, s, port, r.interval); err != nil {
			return err
		}
		var err error
		if e.echo, err = s.echo(nodeCorrespondent, e.node, e.address, echoPort, 4*r.echoInterval()); err != nil {
			return err
		}
		if err := s.hear(ctx, limit, e.down, e.up); err != nil {
			return fmt.Errorf("with the train at home, %s and %s do not hear each other: %w (%s)", nodeCorrespondent, e.node, err, heard(e.down, e.up))
		}
	}
	if err := r.discover(ctx, s, "home"); err != nil {
		return err
	}
	if err := s.connect(ctx, nodeCorrespondent, nodeBehind, r.behindCar(), transferPort, r.rate, r.seed); err != nil {
		return err
	}
	if !sleep(ctx, calm) {
		return ctx.Err()
	}
	return nil
}

// visit makes a move and stays.
func (r *nestedRun) visit(ctx context.Context, s *stage, l nestedLeg, i, n int) error {
	m := nestedMove{mover: l.mover, before: r.at, move: move{from: *r.at.of(l.mover), to: l.to}}
	var err error
	if m.Switch, err = s.world.Move(l.mover, linkUp, l.to, r.switching, true); err != nil {
		return err
	}
	*r.at.of(l.mover) = l.to
	m.after = r.at
	if !sleep(ctx, r.dwell) {
		return ctx.Err()
	}
	m.end = time.Now()
	for _, mover := range []string{nodeRouter, nodeCar, nodeMobile} {
		s.observe(ctx, mover)
	}
	if r.at.tunnels(nodeCar) == 2 && r.at.tunnels(nodeMobile) == 2 {
		r.calm = append(r.calm, period{m.end.Add(-r.dwell / 2), m.end.Add(-r.settling())})
	}
	r.moves = append(r.moves, m)
	for _, e := range r.affected(m) {
		s.progress(i, n, m.move, r.settling(), e.down, e.up)
	}
	return s.crew.check()
}

// affected are the ends whose streams a move interrupts.
func (r *nestedRun) affected(m nestedMove) (ends []*far) {
	for _, e := range r.ends {
		if e.mover == m.mover || m.mover == nodeRouter && m.before.aboard(e.mover) {
			ends = append(ends, e)
		}
	}
	return ends
}

// chase lets the train into the network of the car, which is in the train's: each
// of the two is behind the other. What they send goes round, once more in a
// tunnel each time, until the tunnel encapsulation limit ends it (RFC 2473
// §4.1.1). Then the train gets out of it.
func (r *nestedRun) chase(ctx context.Context, s *stage) error {
	const limit = 20 * time.Second
	if r.loop == 0 {
		return nil
	}
	if _, err := s.world.Move(nodeRouter, linkUp, nodeCar, r.switching, true); err != nil {
		return err
	}
	// What needs a moment: a care-of address in the car's network.
	if !sleep(ctx, 10*r.access+slack) {
		return ctx.Err()
	}
	l := nestedLoop{period: period{from: time.Now()}}
	frames, sent := s.world.Relay.Stats().Frames, r.sent()
	if !sleep(ctx, r.loop) {
		return ctx.Err()
	}
	l.to = time.Now()
	l.frames, l.sent = s.world.Relay.Stats().Frames-frames, r.sent()-sent
	moved, err := s.world.Move(nodeRouter, linkUp, accessRouterName(1), r.switching, true)
	if err != nil {
		return err
	}
	l.left = moved.Attached
	for _, e := range r.ends {
		if err := s.hear(ctx, limit, e.down, e.up); err != nil {
			return fmt.Errorf("after the loop, %s and %s do not hear each other: %w (%s)", nodeCorrespondent, e.node, err, heard(e.down, e.up))
		}
	}
	l.back = time.Now()
	r.loops = append(r.loops, l)
	s.tell("        train and car were behind each other for %v: %d frames for %d datagrams; out of it after %.0f ms",
		r.loop, l.frames, l.sent, millis(l.back.Sub(l.left)))
	return nil
}

// sent is how many datagrams the probes have sent.
func (r *nestedRun) sent() (n int) {
	for _, stream := range r.streams() {
		n += len(stream.Record().Sent)
	}
	return n
}

func (r *nestedRun) streams() (all []*probe.Stream) {
	for _, e := range r.ends {
		all = append(all, e.down, e.up, e.echo)
	}
	return all
}

// settling is the time after a break within which its silence begins at the
// receivers: what was under way arrives until then.
func (r *nestedRun) settling() time.Duration {
	farthest := nestedState{train: accessRouterName(1), car: nodeRouter, mobile: nodeRouter}
	return max(r.roundTrip(nodeCar, farthest), r.roundTrip(nodeMobile, farthest))/2 + slack
}
