package lab

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/relay"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
)

// mobilesOptions are what the user may choose for the scenario mobiles.
type mobilesOptions struct {
	commonOptions
	laps      int
	homeAgent time.Duration // round trip H, of both
	direct    time.Duration // round trip between the mobiles when both are away
	dwell     time.Duration
	tunnelled bool
}

// mobiles is the scenario of two mobile nodes that are each other's
// correspondent.
func mobiles() Scenario {
	return Scenario{
		Name:    "mobiles",
		Summary: "two mobile nodes of different homes move, one by one and both at once, and take the direct way",
		Prepare: prepare((*mobilesOptions).declare, mobilesOptions.validate, func(o mobilesOptions) play { return &mobilesRun{mobilesOptions: o} }),
	}
}

func (o *mobilesOptions) declare(f *flag.FlagSet) {
	o.commonOptions.declare(f)
	f.IntVar(&o.laps, "laps", 1, "`number` of laps: each mobile node leaves home, visits access routers, and returns; eight moves")
	f.DurationVar(&o.homeAgent, "delay-ha", 40*time.Millisecond, "round `trip` from each mobile node to its home agent while away (H)")
	f.DurationVar(&o.direct, "delay-direct", 10*time.Millisecond, "direct round `trip` between the mobile nodes while both are away (C)")
	f.DurationVar(&o.dwell, "dwell", 2*time.Second, "`time` between moves")
	f.BoolVar(&o.tunnelled, "no-ro", false, "the mobile nodes do not optimise routes: everything goes through both home agents")
}

func (o mobilesOptions) validate() error {
	if err := o.commonOptions.validate(); err != nil {
		return err
	}
	switch {
	case o.laps < 1 || o.laps > 10_000:
		return wrongOption("--laps %d: 1 to 10000 make sense", o.laps)
	case o.direct < 2*o.access:
		return wrongOption("--delay-direct %v: at least twice --delay-ar %v", o.direct, o.access)
	case o.homeAgent < 2*o.direct:
		return wrongOption("--delay-ha %v: at least twice --delay-direct %v, or the direct way cannot be told from the others", o.homeAgent, o.direct)
	}
	return enough("dwell", o.dwell, 7*o.homeAgent+500*time.Millisecond)
}

// toCore is the round trip from a place to the core, without a tunnel.
func (o mobilesOptions) toCore(stop string) time.Duration {
	if isHome(stop) {
		return o.access + o.agentToCore()
	}
	return o.direct / 2
}

// throughAgent is the round trip from a mobile at a place to the core through
// its home agent.
func (o mobilesOptions) throughAgent(stop string) time.Duration {
	if isHome(stop) {
		return o.toCore(stop)
	}
	return o.homeAgent + o.agentToCore()
}

func (o mobilesOptions) agentToCore() time.Duration { return o.homeAgent - o.direct/2 }

// ways are the round trips of a mobile at a stop while the other one is at peer.
func (o mobilesOptions) ways(stop, peer string) report.Ways {
	w := report.Ways{
		Access: o.access, HomeAgent: o.homeAgent, Home: isHome(stop),
		Direct: o.toCore(stop) + o.toCore(peer),
		Tunnel: o.throughAgent(stop) + o.toCore(peer),
		Test:   o.throughAgent(stop) + o.throughAgent(peer),
		Signal: o.toCore(stop) + o.throughAgent(peer),
	}
	if w.Home {
		w.HomeAgent = o.access
	}
	if o.tunnelled {
		w.Direct, w.Tunnel = w.Test, w.Test
	}
	return w
}

func isHome(stop string) bool { return placeName(stop) == "home" }

// leg is one move in the plan.
type leg struct {
	mobile int // 0 or 1
	to     string
}

// lap is the plan: moves in a row, two of them at once. The two mobiles are
// never at the same place.
func lap() [][]leg {
	return [][]leg{
		{{0, "ar1"}}, {{1, "ar2"}}, {{0, "ar3"}}, {{1, "ar1"}},
		{{0, "ar2"}, {1, "ar3"}},
		{{0, agentNode(0)}}, {{1, agentNode(1)}},
	}
}

func agentNode(mobile int) string  { return fmt.Sprintf("%s%d", nodeHomeAgent, mobile+1) }
func mobileNode(mobile int) string { return fmt.Sprintf("%s%d", nodeMobile, mobile+1) }

// repetition is what a lost test message may cost: it is repeated after a
// second, and then after two (RFC 6275 §11.8).
const repetition = 2500 * time.Millisecond

// mobilesRun is the scenario under way.
type mobilesRun struct {
	mobilesOptions
	towards [2]*probe.Stream // each mobile
	echo    *probe.Stream

	at    [2]string // where they are
	moves []pairMove
	ended time.Time
}

// pairMove is a move of one of the two.
type pairMove struct {
	move
	mobile   int
	together bool      // with the other one
	end      time.Time // when its measuring ends
}

func (r *mobilesRun) site(mobile int) homeSite { return homeSite{mobile + 1} }
func (r *mobilesRun) home(mobile int) netip.Addr {
	return r.site(mobile).mobile().Addr()
}

func (r *mobilesRun) set() (world.Topology, uint64) {
	const accessRouters = 3
	s := newSketch(relay.Impairment{})
	var homes, stations []world.End
	for i := range r.at {
		s.router(agentNode(i), netHomeAgent+i, r.agentToCore())
		homes = append(homes, r.site(i).end(agentNode(i)))
		s.Nodes = append(s.Nodes, world.Node{Name: mobileNode(i)})
		stations = append(stations, world.End{Node: mobileNode(i), Interface: linkUp})
	}
	access := s.accessRouters(accessRouters, r.direct/2-r.access)
	s.air(r.access, homes, access, stations...)
	return s.Topology, r.seed
}

func (r *mobilesRun) place(s *stage) error {
	for i := range r.at {
		r.at[i] = agentNode(i)
		if _, err := s.world.Move(mobileNode(i), linkUp, r.at[i], 0, true); err != nil {
			return err
		}
	}
	return nil
}

func (r *mobilesRun) cast() (parts []part) {
	var last []part
	for i := range r.at {
		m := mobile{
			name: mobileNode(i), home: r.site(i).mobile(), homeAgents: []netip.Addr{r.site(i).agent()}, key: newKey(),
			uplinks: []string{linkUp}, optimise: !r.tunnelled,
		}
		parts = append(parts, part{agentNode(i), agent{site: r.site(i), mobiles: []mobile{m}}.sections()})
		sections := m.sections()
		if !r.tunnelled {
			sections = append(sections, correspondent())
		}
		last = append(last, part{mobileNode(i), sections})
	}
	return append(append(parts, accessRouters(3)...), last...)
}

func (r *mobilesRun) act(ctx context.Context, s *stage) error {
	if err := r.depart(ctx, s); err != nil {
		return err
	}
	plan := lap()
	s.tell("%d laps of %d steps, link gone for %v at each move; round trips: %v to the home agents, %v between the mobiles when both are away",
		r.laps, len(plan), r.switching, r.homeAgent, r.direct)
	for i := range r.laps * len(plan) {
		first := len(r.moves)
		if err := r.step(s, plan[i%len(plan)]); err != nil {
			return err
		}
		dwell := r.dwell
		if len(plan[i%len(plan)]) > 1 {
			dwell += repetition
		}
		if !sleep(ctx, dwell) {
			return ctx.Err()
		}
		for n := range r.at {
			s.observe(ctx, mobileNode(n))
		}
		if err := s.crew.check(); err != nil {
			return err
		}
		now := time.Now()
		for j := first; j < len(r.moves); j++ {
			m := &r.moves[j]
			m.end = now
			s.progress(i, r.laps*len(plan), m.move, r.settling(), r.towards[m.mobile], r.towards[1-m.mobile])
		}
	}
	r.ended = time.Now()
	s.finish(ctx, 10*time.Second, r.settling())
	return nil
}

// step makes the moves of a step, at once.
func (r *mobilesRun) step(s *stage, legs []leg) error {
	moves, errs := make([]pairMove, len(legs)), make([]error, len(legs))
	var all sync.WaitGroup
	for i, l := range legs {
		moves[i] = pairMove{move: move{from: r.at[l.mobile], to: l.to, peer: r.at[1-l.mobile]}, mobile: l.mobile, together: len(legs) > 1}
		all.Go(func() {
			moves[i].Switch, errs[i] = s.world.Move(mobileNode(l.mobile), linkUp, l.to, r.switching, true)
		})
	}
	all.Wait()
	for i, l := range legs {
		if errs[i] != nil {
			return errs[i]
		}
		r.at[l.mobile] = l.to
	}
	for i := range moves {
		moves[i].peer = r.at[1-moves[i].mobile]
	}
	r.moves = append(r.moves, moves...)
	return nil
}

// depart starts the measuring at home.
func (r *mobilesRun) depart(ctx context.Context, s *stage) error {
	const limit, calm = 15 * time.Second, 500 * time.Millisecond
	const port, echoPort, transferPort = 9001, 9003, 9002
	for i := range r.at {
		var err error
		r.towards[i], err = s.late(ctx, func() (*probe.Stream, error) {
			return s.stream(mobileNode(1-i), mobileNode(i), r.home(i), port, r.interval)
		})
		if err != nil {
			return err
		}
	}
	var err error
	if r.echo, err = s.echo(mobileNode(0), mobileNode(1), r.home(1), echoPort, r.echoInterval()); err != nil {
		return err
	}
	if err := s.hear(ctx, limit, r.towards[0], r.towards[1], r.echo); err != nil {
		return fmt.Errorf("at home, the mobile nodes do not hear each other: %w (%s)", err, heard(r.towards[0], r.towards[1]))
	}
	if err := s.connect(ctx, mobileNode(1), mobileNode(0), r.home(0), transferPort, r.rate, r.seed); err != nil {
		return err
	}
	if !sleep(ctx, calm) {
		return ctx.Err()
	}
	return nil
}

// settling is the time after a break within which its silence begins.
func (r *mobilesRun) settling() time.Duration {
	return r.throughAgent("ar1") + slack // twice half of it
}
