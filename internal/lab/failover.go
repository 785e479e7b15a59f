package lab

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/relay"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
)

// failoverOptions are what the user may choose for the scenario failover.
type failoverOptions struct {
	commonOptions
	homeAgent time.Duration // round trip H
	dwell     time.Duration
	patience  time.Duration
}

// failover is the scenario of two home agents, one of which dies.
func failover() Scenario {
	return Scenario{
		Name:    "failover",
		Summary: "a mobile node discovers the two home agents of its home link; the one in use dies, and returns",
		Prepare: prepare((*failoverOptions).declare, failoverOptions.validate, func(o failoverOptions) play { return &failoverRun{failoverOptions: o} }),
	}
}

func (o *failoverOptions) declare(f *flag.FlagSet) {
	o.commonOptions.declare(f)
	f.DurationVar(&o.homeAgent, "delay-ha", 20*time.Millisecond, "round `trip` from the mobile node to its home link while away (H)")
	f.DurationVar(&o.dwell, "dwell", 2*time.Second, "`time` at each stop, before the home agent dies, and after it has returned")
	f.DurationVar(&o.patience, "patience", 20*time.Second, "how long the recovery may take, a `time`")
}

func (o failoverOptions) validate() error {
	if err := o.commonOptions.validate(); err != nil {
		return err
	}
	if o.homeAgent < o.access {
		return wrongOption("--delay-ha %v is the whole round trip: it cannot be less than --delay-ar %v", o.homeAgent, o.access)
	}
	return enough("dwell", o.dwell, 4*o.homeAgent+500*time.Millisecond)
}

const (
	// nodeHomeLink is the home link: a switch with an access point.
	nodeHomeLink = "home"
	// nodeHomeRouter leads from the core to the home link.
	nodeHomeRouter = "hr"
	// The home agents; the first is preferred.
	nodeFirstAgent, nodeSecondAgent = "ha1", "ha2"
)

// failoverRun is the scenario under way.
type failoverRun struct {
	failoverOptions
	down, up *probe.Stream

	at    string
	moves []move
	died  time.Time
	back  time.Time // the first home agent
	calm  time.Time // when the time to look for flapping ended
	ended time.Time
}

func (r *failoverRun) site() homeSite { return homeSite{1} }
func (r *failoverRun) agent(node string) netip.Addr {
	if node == nodeFirstAgent {
		return r.site().at("1")
	}
	return r.site().at("2")
}

func (r *failoverRun) set() (world.Topology, uint64) {
	const router = "f"
	s := newSketch(relay.Impairment{})
	s.host(nodeCorrespondent, 0, correspondentAddress())
	s.router(nodeHomeRouter, netHomeAgent, r.homeAgent-r.access)
	on := func(node string, a netip.Addr) world.End {
		return world.End{Node: node, Interface: linkHome, Addresses: []netip.Prefix{netip.PrefixFrom(a, 64)}}
	}
	lan := world.LAN{Name: nodeHomeLink, Ends: []world.End{on(nodeHomeRouter, r.site().at(router))}}
	for _, node := range []string{nodeFirstAgent, nodeSecondAgent} {
		s.Nodes = append(s.Nodes, world.Node{Name: node, Router: true})
		lan.Ends = append(lan.Ends, on(node, r.agent(node)))
	}
	s.LANs = []world.LAN{lan}
	s.Nodes = append(s.Nodes, world.Node{Name: nodeMobile})
	access := s.accessRouters(2, 0)
	s.air(r.access, []world.End{{Node: nodeHomeLink, Interface: "ap0"}}, access, world.End{Node: nodeMobile, Interface: linkUp})
	return s.Topology, r.seed
}

// place also makes the home router believe in a neighbour for seconds only, and
// not for half a minute: an operator with two home agents wants that, since the
// router may know the anycast address of all home agents as that of the dead
// one.
func (r *failoverRun) place(s *stage) error {
	if err := s.world.Neighbours(nodeHomeRouter, linkHome, time.Second, time.Second, 200*time.Millisecond); err != nil {
		return err
	}
	// It has never been at home, so that it knows nothing of the home agents.
	r.at = "ar1"
	_, err := s.world.Move(nodeMobile, linkUp, r.at, 0, true)
	return err
}

func (r *failoverRun) cast() (parts []part) {
	m := mobile{name: nodeMobile, home: r.site().mobile(), key: newKey(), uplinks: []string{linkUp}}
	for i, node := range []string{nodeFirstAgent, nodeSecondAgent} {
		a := agent{site: r.site(), address: r.agent(node), preference: 20 - 10*i, mobiles: []mobile{m}}
		parts = append(parts, part{node, a.sections()})
	}
	return append(append(parts, accessRouters(2)...), part{nodeMobile, m.sections()})
}

func (r *failoverRun) act(ctx context.Context, s *stage) error {
	if err := r.depart(ctx, s); err != nil {
		return err
	}
	if err := r.die(ctx, s); err != nil {
		return err
	}
	if err := r.comeBack(ctx, s); err != nil {
		return err
	}
	for _, stop := range []string{"ar2", nodeHomeLink} {
		if err := r.visit(ctx, s, stop); err != nil {
			return err
		}
	}
	r.ended = time.Now()
	s.finish(ctx, 10*time.Second, r.settling())
	return s.crew.check()
}

// depart waits until the mobile is registered, with the preferred home agent,
// and starts the measuring. Before that, applications could have no address but
// the care-of address.
func (r *failoverRun) depart(ctx context.Context, s *stage) error {
	if err := r.using(ctx, s, nodeFirstAgent); err != nil {
		return err
	}
	const port, transferPort = 9001, 9002
	home := r.site().mobile().Addr()
	var err error
	if r.down, err = s.late(ctx, func() (*probe.Stream, error) { return s.stream(nodeCorrespondent, nodeMobile, home, port, r.interval) }); err != nil {
		return err
	}
	if r.up, err = s.stream(nodeMobile, nodeCorrespondent, correspondentAddress(), port, r.interval); err != nil {
		return err
	}
	if err := s.hear(ctx, r.patience, r.down, r.up); err != nil {
		return fmt.Errorf("%s and %s do not hear each other: %w (%s)", nodeCorrespondent, nodeMobile, err, heard(r.down, r.up))
	}
	if err := s.connect(ctx, nodeCorrespondent, nodeMobile, home, transferPort, r.rate, r.seed); err != nil {
		return err
	}
	if !sleep(ctx, r.dwell) {
		return ctx.Err()
	}
	return nil
}

// visit moves to a stop and stays there.
func (r *failoverRun) visit(ctx context.Context, s *stage, to string) error {
	moved, err := s.world.Move(nodeMobile, linkUp, to, r.switching, true)
	if err != nil {
		return err
	}
	r.moves = append(r.moves, move{from: r.at, to: to, Switch: moved})
	r.at = to
	if err := s.hear(ctx, r.patience, r.down, r.up); err != nil {
		return fmt.Errorf("%s and %s do not hear each other at %s: %w (%s)", nodeCorrespondent, nodeMobile, to, err, heard(r.down, r.up))
	}
	if !sleep(ctx, time.Until(moved.Attached.Add(r.dwell))) && ctx.Err() != nil {
		return ctx.Err()
	}
	s.observe(ctx, nodeMobile)
	i := len(r.moves) - 1
	s.progress(i, 2, r.moves[i], r.settling(), r.down, r.up)
	return s.crew.check()
}

// using waits until the mobile is registered with a home agent.
func (r *failoverRun) using(ctx context.Context, s *stage, node string) error {
	if s.observer(nodeMobile) == nil {
		return nil
	}
	return s.registered(ctx, nodeMobile, r.site().mobile().Addr(), r.patience, "with "+node, func(g Registration) bool { return g.HomeAgent == r.agent(node) })
}

// die kills the first home agent, takes its cables away, and waits for the
// recovery.
func (r *failoverRun) die(ctx context.Context, s *stage) error {
	r.died = time.Now()
	if err := s.world.Unplug(nodeFirstAgent, true); err != nil {
		return err
	}
	if err := s.daemon(nodeFirstAgent).kill(); err != nil {
		return err
	}
	s.tell("        killed %s and cut it off", nodeFirstAgent)
	// What was under way when it died may still arrive.
	after := r.died.Add(r.settling())
	if err := s.until(ctx, r.patience, func() bool { return connected(after, r.down, r.up) }); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.fail("no recovery from the death of %s: %v", nodeFirstAgent, err)
	}
	s.tell("        connected again after %.1f s", time.Since(r.died).Seconds())
	if err := r.using(ctx, s, nodeSecondAgent); err != nil {
		return err
	}
	if !sleep(ctx, r.dwell) {
		return ctx.Err()
	}
	return nil
}

// comeBack lets the first home agent return. The mobile stays where it is
// registered.
func (r *failoverRun) comeBack(ctx context.Context, s *stage) error {
	r.back = time.Now()
	if err := s.world.Unplug(nodeFirstAgent, false); err != nil {
		return err
	}
	if err := s.daemon(nodeFirstAgent).start(); err != nil {
		return err
	}
	s.tell("        %s is back", nodeFirstAgent)
	if !sleep(ctx, r.dwell) {
		return ctx.Err()
	}
	r.calm = time.Now()
	g := s.registration(ctx, nodeMobile, r.site().mobile().Addr())
	if s.observer(nodeMobile) != nil && g.HomeAgent != r.agent(nodeSecondAgent) {
		s.fail("%s is back, and the mobile node is registered with %v instead of %v", nodeFirstAgent, g.HomeAgent, r.agent(nodeSecondAgent))
	}
	return s.crew.check()
}

func (r *failoverRun) settling() time.Duration { return r.homeAgent + slack }

func (r *failoverRun) placeOf(stop string) report.Place {
	if stop == nodeHomeLink {
		return report.Place{Access: r.access, HomeAgent: r.access}
	}
	return report.Place{Access: r.access, HomeAgent: r.homeAgent}
}

// report computes the figures.
func (r *failoverRun) report(s *stage) *report.Report {
	result := &report.Report{
		Scenario: "failover",
		Conditions: report.Conditions{
			Switching: report.Millis(r.switching), Access: report.Millis(r.access), HomeAgent: report.Millis(r.homeAgent),
			Interval: report.Millis(r.interval), LinkEvents: true, Seed: r.seed,
		},
		TCP: s.tcp(),
		Legend: []string{
			fmt.Sprintf("Milliseconds. Round trips: A %.1f to the access router, H %.1f to the home link. Limits: downlink L2 + A + H; uplink L2 + A,", millis(r.access), millis(r.homeAgent)),
			"and half of the difference when the home link gets nearer. Before the moves the home agent in use dies, and returns.",
		},
	}
	down, up := r.down.Record(), r.up.Record()
	c := course{
		moves: r.moves, told: s.told[nodeMobile], settling: r.settling(),
		end:    func(i int) time.Time { return next(r.moves, i, r.ended) },
		flight: func(string) time.Duration { return r.homeAgent },
		limits: func(m move) (down, up time.Duration) {
			return report.Limits(m.Attached.Sub(m.Left), r.placeOf(m.from), r.placeOf(m.to))
		},
	}
	for i := range r.moves {
		h := c.handover(i, down, up)
		if !h.Completed {
			result.Fail("handover %d, %s → %s, did not complete", i+1, h.From, h.To)
		}
		result.Handovers = append(result.Handovers, h)
	}
	r.recovery(result, down, up)
	result.Add(s.foreign([]netip.Addr{r.site().mobile().Addr(), correspondentAddress()}))
	result.Summary.Count(r.died.Add(-r.settling()), r.ended, down, up)
	return result
}

// recovery is how the death of the home agent, and its return, were survived.
func (r *failoverRun) recovery(result *report.Report, down, up probe.Record) {
	// A tunnel that is silent for three seconds is suspected, and updates that go
	// unanswered for seven turn the mobile to another home agent.
	const bound = 15_000
	for _, d := range []struct {
		name   string
		record probe.Record
	}{{"downlink", down}, {"uplink", up}} {
		recovered := report.None()
		if silence, ok := d.record.Silence(r.died, r.died.Add(r.settling()), r.back); ok {
			recovered = report.Millis(silence.First.Sub(r.died))
		}
		result.Add(report.Time("recovered_"+d.name+"_ms", d.name+" back after the home agent's death", recovered, report.None()).AtMost(bound))
		lost := d.record.Count(r.died.Add(-r.homeAgent), r.back.Add(-r.homeAgent)).Lost
		result.Add(report.Packets("lost_"+d.name, d.name+": lost by the home agent's death", lost))
	}
	// What was under way when the next move began is that one's.
	calm := r.calm.Add(-r.settling())
	flapped := down.Count(r.back, calm).Lost + up.Count(r.back, calm).Lost
	result.Add(report.Packets("lost_return", "lost when the home agent returned", flapped).AtMost(0))
}
