package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"roam6/internal/lab/probe"
)

// hierarchyLap is the plan of a lap away from home, by turns: into the first domain,
// within it, to the second, within that, back, and within the first again. Then the train
// is in the first domain and the mobile node in the second.
func hierarchyLap() []nestedLeg {
	return []nestedLeg{
		{nodeRouter, "ar1"}, {nodeMobile, "ar2"},
		{nodeRouter, "ar2"}, {nodeMobile, "ar1"},
		{nodeRouter, "ar3"}, {nodeMobile, "ar4"},
		{nodeRouter, "ar4"}, {nodeMobile, "ar3"},
		{nodeRouter, "ar1"}, {nodeRouter, "ar2"},
	}
}

// hierarchyReturn is the way home, and before it once more inside and between, after
// the anchors have failed.
func hierarchyReturn() []nestedLeg {
	return []nestedLeg{
		{nodeRouter, "ar1"}, {nodeMobile, "ar4"}, {nodeMobile, "ar2"},
		{nodeRouter, nodeHomeAgent}, {nodeMobile, nodeHomeAgent},
	}
}

func (r *hierarchyRun) act(ctx context.Context, s *stage) error {
	if err := r.depart(ctx, s); err != nil {
		return err
	}
	s.tell("link gone for %v at each move; round trips: %v to the router of a link, %v to an anchor, %v to the home agent",
		r.switching, r.access, r.anchor, r.homeAgent)
	for lap := range r.laps {
		if err := r.ride(ctx, s, hierarchyLap(), lap == 0); err != nil {
			return err
		}
	}
	for _, f := range r.chosen() {
		if err := r.fail(ctx, s, f); err != nil {
			return err
		}
	}
	if err := r.ride(ctx, s, hierarchyReturn(), false); err != nil {
		return err
	}
	if !r.alone {
		if err := r.compare(ctx, s); err != nil {
			return err
		}
	}
	r.ended = time.Now()
	if err := s.hear(ctx, r.patience, r.streams()...); err != nil {
		s.fail("in the end not all are reachable: %v", err)
	}
	s.finish(ctx, 10*time.Second, r.settling())
	return s.crew.check()
}

// depart starts the measuring, with all at home.
func (r *hierarchyRun) depart(ctx context.Context, s *stage) error {
	const limit, calm = 15 * time.Second, 300 * time.Millisecond
	const port, transferPort = 9001, 9002
	r.ends = []*far{
		{node: nodeBehind, mover: nodeRouter, address: r.passenger(), home: r.homeOf(nodeRouter).Addr()},
		{node: nodeMobile, mover: nodeMobile, address: r.homeOf(nodeMobile).Addr(), home: r.homeOf(nodeMobile).Addr()},
	}
	if err := r.acquaint(ctx, s); err != nil {
		return err
	}
	for _, e := range r.ends {
		if err := e.converse(ctx, s, port, r.interval); err != nil {
			return err
		}
		if err := s.hear(ctx, limit, e.down, e.up); err != nil {
			return fmt.Errorf("at home, %s and %s do not hear each other: %w (%s)", nodeCorrespondent, e.node, err, heard(e.down, e.up))
		}
	}
	if err := s.connect(ctx, nodeCorrespondent, nodeBehind, r.passenger(), transferPort, r.rate, r.seed); err != nil {
		return err
	}
	if !sleep(ctx, calm) {
		return ctx.Err()
	}
	return nil
}

// acquaint lets the routers learn each other's link-layer addresses, as they have in a
// network that is in use: with these delays the first packet would wait for a third of a
// second.
func (r *hierarchyRun) acquaint(ctx context.Context, s *stage) error {
	const port, interval, limit = 9021, 20 * time.Millisecond, 10 * time.Second
	var all []*probe.Stream
	defer func() {
		for _, stream := range all {
			stream.Stop()
		}
	}()
	nodes := []string{nodeSecondAnchor}
	for _, d := range domains() {
		for _, i := range d.routers {
			nodes = append(nodes, accessRouterName(i))
		}
	}
	for i, node := range nodes {
		to := netip.AddrPortFrom(correspondentAddress(), port+uint16(i))
		stream, err := probe.StartEcho(s.world.Space(node), s.world.Space(nodeCorrespondent), to, interval)
		if err != nil {
			return err
		}
		all = append(all, stream)
	}
	if err := s.hear(ctx, limit, all...); err != nil {
		return fmt.Errorf("%s does not hear all of %v: %w", nodeCorrespondent, nodes, err)
	}
	return nil
}

// ride makes the moves of a plan. first: in the first domain everybody then looks for
// the path MTU.
func (r *hierarchyRun) ride(ctx context.Context, s *stage, plan []nestedLeg, first bool) error {
	for i, l := range plan {
		if err := r.visit(ctx, s, l, i, len(plan)); err != nil {
			return err
		}
		if first && i+1 == len(r.movers()) && !r.off {
			if err := r.discover(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// visit makes a move and stays, at least until the mobile uses the anchor there.
func (r *hierarchyRun) visit(ctx context.Context, s *stage, l nestedLeg, i, n int) error {
	m := hierarchyMove{mover: l.mover, kind: kindOf(r.at[l.mover], l.to, r.off), move: move{from: r.at[l.mover], to: l.to}}
	before, told := r.updates(ctx, s, nodeHomeAgent)
	optimised, toldPeer := r.updates(ctx, s, nodeCorrespondent)
	var err error
	if m.Switch, err = s.world.Move(l.mover, linkUp, l.to, r.switching, true); err != nil {
		return err
	}
	r.at[l.mover] = l.to
	if !sleep(ctx, r.dwell) {
		return ctx.Err()
	}
	if err := r.settle(ctx, s, l.mover); err != nil {
		return err
	}
	m.end = time.Now()
	m.updates, m.optimised = -1, -1
	if after, ok := r.updates(ctx, s, nodeHomeAgent); ok && told {
		m.updates = int(after - before)
	}
	if after, ok := r.updates(ctx, s, nodeCorrespondent); ok && toldPeer {
		m.optimised = int(after - optimised)
	}
	s.observe(ctx, l.mover)
	r.moves = append(r.moves, m)
	e := r.end(l.mover)
	s.progress(i, n, m.move, r.settling(), e.down, e.up)
	return s.crew.check()
}

// end is the end of the streams of a mover.
func (r *hierarchyRun) end(mover string) *far {
	for _, e := range r.ends {
		if e.mover == mover {
			return e
		}
	}
	return nil
}

// settle waits until a mobile is registered where it is: away with a regional care-of
// address, or, with hierarchy off, with another one.
func (r *hierarchyRun) settle(ctx context.Context, s *stage, mover string) error {
	d := domainOf(r.at[mover])
	if d == nil || s.observer(mover) == nil {
		return nil
	}
	wanted, what := d.prefix(), "at "+d.node
	if r.off {
		for _, i := range d.routers {
			if accessRouterName(i) == r.at[mover] {
				wanted, what = accessAddress(i).Masked(), "at "+r.at[mover]
			}
		}
	}
	return s.registered(ctx, mover, r.homeOf(mover).Addr(), r.patience, what, func(g Registration) bool { return wanted.Contains(g.CareOf) })
}

// updates is how many binding updates a node was given; ok is false where it does not
// tell.
func (r *hierarchyRun) updates(ctx context.Context, s *stage, node string) (n uint64, ok bool) {
	o := s.observer(node)
	if o == nil {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	n, err := o.Updates(ctx)
	return n, err == nil
}

// fail lets an anchor fail with a mobile in its domain, waits until the mobile does
// without it, brings it back, and waits until the mobile uses it again.
func (r *hierarchyRun) fail(ctx context.Context, s *stage, f fault) error {
	d, mover := domains()[0], nodeRouter
	if f == unreachable {
		d, mover = domains()[1], nodeMobile
	}
	e, x := r.end(mover), anchorFailure{fault: f, domain: d, mover: mover}
	if err := s.hear(ctx, r.patience, e.down, e.up); err != nil {
		return fmt.Errorf("before %s, %s and %s do not hear each other: %w (%s)", f.words(), nodeCorrespondent, e.node, err, heard(e.down, e.up))
	}
	x.at = time.Now()
	if err := r.breaks(s, f, d); err != nil {
		return err
	}
	// What was under way may still arrive.
	if !sleep(ctx, r.settling()) {
		return ctx.Err()
	}
	if s.hear(ctx, r.patience, e.down, e.up) == nil {
		x.recovered = time.Now()
		s.tell("        %s: connected again after about %.0f ms", f.words(), millis(x.recovered.Sub(x.at)))
	} else if ctx.Err() != nil {
		return ctx.Err()
	}
	if !sleep(ctx, r.dwell) {
		return ctx.Err()
	}
	if f != restarts {
		if err := r.mends(s, f, d); err != nil {
			return err
		}
	}
	x.restored = time.Now()
	failures := len(s.failures)
	if err := r.settle(ctx, s, mover); err != nil {
		return err
	}
	if len(s.failures) == failures {
		x.regained = time.Now()
	}
	if !sleep(ctx, r.dwell) {
		return ctx.Err()
	}
	s.observe(ctx, mover)
	r.failures = append(r.failures, x)
	return s.crew.check()
}

func (r *hierarchyRun) breaks(s *stage, f fault, d domain) error {
	switch f {
	case restarts, dies:
		err := s.daemon(d.node).kill()
		if err == nil && f == restarts {
			err = s.daemon(d.node).start()
		}
		return err
	default:
		return s.world.Partition(d.node, d.aggregation(), true)
	}
}

func (r *hierarchyRun) mends(s *stage, f fault, d domain) error {
	if f == unreachable {
		return s.world.Partition(d.node, d.aggregation(), false)
	}
	return s.daemon(d.node).start()
}

// compare rides the same lap with hierarchy off.
func (r *hierarchyRun) compare(ctx context.Context, s *stage) error {
	s.tell("the same with hierarchy off")
	for _, m := range r.riders {
		if err := s.daemon(m.name).reload(r.mobileSections(m, false)...); err != nil {
			return err
		}
	}
	r.off = true
	if !sleep(ctx, r.dwell) {
		return ctx.Err()
	}
	plan := hierarchyLap()
	for _, mover := range r.movers() {
		plan = append(plan, nestedLeg{mover, nodeHomeAgent})
	}
	return r.ride(ctx, s, plan, false)
}

// optimisedHeader is what an optimised route takes of the path MTU (RFC 6275 §6.3, §6.4).
const optimisedHeader = 24

// discover has everybody find the path MTU with the two tunnels there are. Nobody has
// known a smaller one yet: ends remember that for ten minutes (RFC 8201 §4).
func (r *hierarchyRun) discover(ctx context.Context, s *stage) error {
	const port, limit = 9011, 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for i, e := range r.ends {
		for _, d := range []struct {
			name string
			to   string
			from string
			mtu  int
		}{
			// The home agent's tunnel is made on the way of no other, the anchor's
			// around it is, and may add a limit (RFC 2473 §4.1.1).
			{"down", e.node, nodeCorrespondent, tunnelledMTU(2, s.limits(nodeFirstAnchor))},
			// The mobile makes both.
			{"up", nodeCorrespondent, e.node, tunnelledMTU(2, false)},
		} {
			if r.optimises(e.mover) {
				// In place of the home agent's tunnel, a Home Address option or a type 2
				// routing header; a packet with either is no tunnel packet.
				d.mtu = linkMTU - tunnelHeader - optimisedHeader
			}
			address := e.address
			if d.to == nodeCorrespondent {
				address = correspondentAddress()
			}
			found, err := probe.DiscoverPathMTU(ctx, s.world.Space(d.from), s.world.Space(d.to), netip.AddrPortFrom(address, port+uint16(10*i)))
			if err != nil {
				return fmt.Errorf("path MTU from %s to %s: %w (after %+v)", d.from, d.to, err, found)
			}
			r.paths = append(r.paths, pathFigure{
				name: fmt.Sprintf("path_mtu_%s_%s", d.name, e.node),
				text: fmt.Sprintf("path MTU from %s to %s, in the first domain", d.from, d.to),
				want: d.mtu, got: found.MTU, lost: found.Lost,
			})
		}
	}
	return nil
}
