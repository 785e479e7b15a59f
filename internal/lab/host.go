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
	"roam6/internal/role"
)

// hostOptions are what the user may choose for the scenario host.
type hostOptions struct {
	commonOptions
	handovers     int
	homeAgent     time.Duration // round trip H
	correspondent time.Duration // round trip C
	dwell         time.Duration
	tunnelled     bool // the mobile does not optimise
	plain         bool // the correspondent does not know Mobile IPv6
	ipsec         bool // protects the signalling of mobile and home agent
	ike           bool // with keys that strongSwan negotiates
	untimed       bool // figures of time are shown and not judged
	payload       bool // and what the tunnel carries
}

// host is the scenario of route optimisation.
func host() Scenario {
	return Scenario{
		Name:    "host",
		Summary: "a mobile node far from home talks to a correspondent nearby, and takes the direct way",
		Prepare: prepare((*hostOptions).declare, hostOptions.validate, func(o hostOptions) play { return &hostRun{hostOptions: o} }),
	}
}

func (o *hostOptions) declare(f *flag.FlagSet) {
	o.commonOptions.declare(f)
	f.IntVar(&o.handovers, "handovers", 8, "`number` of moves; four are a lap: three access routers and home")
	f.DurationVar(&o.homeAgent, "delay-ha", 50*time.Millisecond, "round `trip` from the mobile node to its home agent while away (H)")
	f.DurationVar(&o.correspondent, "delay-cn", 10*time.Millisecond, "direct round `trip` from the mobile node to the correspondent while away (C)")
	f.DurationVar(&o.dwell, "dwell", 2*time.Second, "`time` at each stop")
	f.BoolVar(&o.tunnelled, "no-ro", false, "the mobile node does not optimise routes: everything goes through the home agent")
	f.BoolVar(&o.ipsec, "ipsec", false, "mobile node and home agent protect their signalling by IPsec alone, without a key of RFC 4285")
	f.BoolVar(&o.ike, "ike", false, "as --ipsec, with keys that strongSwan negotiates by IKEv2: it needs charon-systemd and a kernel with ESP for IPv6")
	f.BoolVar(&o.untimed, "untimed", false, "figures of time are shown and not judged: for emulated machines, which are slow")
	f.BoolVar(&o.payload, "payload", false, "with --ipsec or --ike, and --no-ro: what the tunnel carries is in IPsec, too; needs a kernel with esp6")
	f.BoolVar(&o.plain, "plain-cn", false, "the correspondent knows nothing of Mobile IPv6")
}

func (o hostOptions) validate() error {
	if err := o.commonOptions.validate(); err != nil {
		return err
	}
	switch {
	case o.homeAgent < o.access || o.correspondent < o.access:
		return wrongOption("--delay-ha and --delay-cn are whole round trips: they cannot be less than --delay-ar %v", o.access)
	case o.optimise() && 2*o.correspondent > o.detour():
		return wrongOption("--delay-cn %v: the direct way should be at most half as long as the one through the home agent, %v", o.correspondent, o.detour())
	}
	if o.payload && (!o.ipsec && !o.ike || !o.tunnelled) {
		return wrongOption("--payload needs --ipsec or --ike, and --no-ro: payload is protected in the tunnel, with the keys of IPsec")
	}
	if err := movesMakeSense(o.handovers); err != nil {
		return err
	}
	return enough("dwell", o.dwell, 3*o.detour()+o.homeAgent+500*time.Millisecond)
}

// optimise tells whether routes will be optimised.
func (o hostOptions) optimise() bool { return !o.tunnelled && !o.plain }

// detour is the round trip to the correspondent through the home agent: T.
func (o hostOptions) detour() time.Duration {
	return o.homeAgent + o.homeAgent - o.access + o.correspondent - o.access
}

// fromHome is the round trip to the correspondent from home.
func (o hostOptions) fromHome() time.Duration {
	return o.access + o.homeAgent - o.access + o.correspondent - o.access
}

// ways are the round trips of a mobile at a stop.
func (o hostOptions) ways(stop string) report.Ways {
	if stop == nodeHomeAgent {
		return report.Ways{Access: o.access, HomeAgent: o.access, Direct: o.fromHome(), Tunnel: o.fromHome(), Test: o.fromHome(), Signal: o.fromHome(), Home: true}
	}
	return report.Ways{Access: o.access, HomeAgent: o.homeAgent, Direct: o.correspondent, Tunnel: o.detour(), Test: o.detour(), Signal: o.correspondent}
}

// hostRun is the scenario under way.
type hostRun struct {
	hostOptions
	down, up *probe.Stream // from and to the correspondent
	echo     *probe.Stream
	fresh    *probe.Stream // an echo to a correspondent that was not talked to before
	freshAt  time.Time

	clear *clearWatch // of payload in IPsec; nil: none

	moves []move
	trips []report.Milliseconds // TCP's round trip at the end of each stop
	ended time.Time

	exchange *exchange // of keys; nil: they are configured
}

const hostAccessRouters = 3

// site is the home.
func (r *hostRun) site() homeSite { return homeSite{1} }

// Another correspondent, as far away.
const nodeAnother = "cn2"

func (r *hostRun) another() netip.Addr { return netip.MustParseAddr("2001:db8:c:c2::2") }

func (r *hostRun) set() (world.Topology, uint64) {
	s := newSketch(relay.Impairment{})
	s.host(nodeCorrespondent, r.correspondent-r.access, correspondentAddress())
	s.host(nodeAnother, r.correspondent-r.access, r.another())
	s.router(nodeHomeAgent, netHomeAgent, r.homeAgent-r.access)
	access := s.accessRouters(hostAccessRouters, 0)
	s.Nodes = append(s.Nodes, world.Node{Name: nodeMobile})
	s.air(r.access, []world.End{r.site().end(nodeHomeAgent)}, access, world.End{Node: nodeMobile, Interface: linkUp})
	return s.Topology, r.seed
}

// support are the processes of the key exchange.
func (r *hostRun) support(s *stage) ([]*daemon, error) {
	if r.exchange == nil {
		return nil, nil
	}
	return r.exchange.charons(s, nodeHomeAgent, nodeMobile)
}

// mobile is who travels.
func (r *hostRun) mobile() mobile {
	return mobile{
		name: "host", home: r.site().mobile(), homeAgents: []netip.Addr{r.site().agent()}, key: newKey(),
		uplinks: []string{linkUp}, optimise: !r.tunnelled,
	}
}

func (r *hostRun) place(s *stage) error {
	begins := nodeHomeAgent
	if r.ike {
		r.exchange = exchangeOf(r.mobile(), s.env.Directory, r.payload)
		begins = accessRouterName(1) // where there is nothing without keys
	}
	if r.payload {
		r.clear = &clearWatch{agent: r.site().agent()}
		if r.exchange != nil {
			r.clear.negotiated = map[uint32]bool{}
		}
	}
	if r.exchange != nil || r.clear != nil {
		s.world.Relay.Tap(r.watch)
	}
	_, err := s.world.Move(nodeMobile, linkUp, begins, 0, true)
	return err
}

// watch is for relay.Relay.Tap.
func (r *hostRun) watch(frame []byte, at time.Time) {
	if r.exchange != nil {
		r.exchange.eyes.see(frame, at)
	}
	if r.clear != nil {
		r.clear.take(frame, at)
	}
}

func (r *hostRun) cast() []part {
	m := r.mobile()
	parts := append([]part{{nodeHomeAgent, agent{site: r.site(), mobiles: []mobile{m}}.sections()}}, accessRouters(hostAccessRouters)...)
	if r.optimise() {
		parts = append(parts, part{nodeCorrespondent, []*section{correspondent()}}, part{nodeAnother, []*section{correspondent()}})
	}
	parts = append(parts, part{nodeMobile, m.sections()})
	switch {
	case r.exchange != nil:
		r.exchange.protect(parts)
	case r.ipsec:
		keys := protect(parts, m)
		if r.payload {
			keys.withPayload(m.number)
		}
	}
	return parts
}

func (r *hostRun) act(ctx context.Context, s *stage) error {
	if r.exchange != nil {
		if err := r.exchange.begin(ctx, s, accessAddress(1).Masked()); err != nil {
			return err
		}
		if r.clear != nil {
			r.clear.know(r.exchange.payloadSPIs())
		}
		moved, err := s.world.Move(nodeMobile, linkUp, nodeHomeAgent, r.switching, true)
		if err == nil {
			err = r.exchange.followed(ctx, s, r.prefixAt(nodeHomeAgent), moved.Attached)
		}
		if err != nil {
			return err
		}
	}
	if err := r.depart(ctx, s); err != nil {
		return err
	}
	stops := []string{nodeHomeAgent}
	for i := range hostAccessRouters {
		stops = append(stops, accessRouterName(i+1))
	}
	s.tell("%d moves, link gone for %v at each; round trips: %v to the home agent, to the correspondent %v direct, %v through the home agent",
		r.handovers, r.switching, r.homeAgent, r.correspondent, r.detour())
	for i := range r.handovers {
		from, to := stops[i%len(stops)], stops[(i+1)%len(stops)]
		moved, err := s.world.Move(nodeMobile, linkUp, to, r.switching, true)
		if err != nil {
			return err
		}
		r.moves = append(r.moves, move{from: from, to: to, Switch: moved})
		if err := r.stay(ctx, s, i); err != nil {
			return err
		}
		s.progress(i, r.handovers, r.moves[i], r.settling(), r.down, r.up)
	}
	r.ended = time.Now()
	if r.exchange != nil {
		r.exchange.show(ctx, s)
	}
	s.finish(ctx, 10*time.Second, r.settling())
	return nil
}

// depart starts the measuring at home.
func (r *hostRun) depart(ctx context.Context, s *stage) error {
	const limit, calm = 15 * time.Second, 500 * time.Millisecond
	const port, echoPort, transferPort = 9001, 9003, 9002
	home := r.site().mobile().Addr()
	var err error
	if r.down, err = s.late(ctx, func() (*probe.Stream, error) { return s.stream(nodeCorrespondent, nodeMobile, home, port, r.interval) }); err != nil {
		return err
	}
	if r.up, err = s.stream(nodeMobile, nodeCorrespondent, correspondentAddress(), port, r.interval); err != nil {
		return err
	}
	if r.echo, err = s.echo(nodeMobile, nodeCorrespondent, correspondentAddress(), echoPort, r.echoInterval()); err != nil {
		return err
	}
	if err := s.hear(ctx, limit, r.down, r.up, r.echo); err != nil {
		return fmt.Errorf("at home, %s and %s do not hear each other: %w (%s)", nodeCorrespondent, nodeMobile, err, heard(r.down, r.up))
	}
	if err := s.connect(ctx, nodeCorrespondent, nodeMobile, home, transferPort, r.rate, r.seed); err != nil {
		return err
	}
	if !sleep(ctx, calm) {
		return ctx.Err()
	}
	return nil
}

// stay waits at a stop. In the middle of the first one away, the mobile talks
// to somebody it has not talked to before.
func (r *hostRun) stay(ctx context.Context, s *stage, i int) error {
	const port = 9004
	if r.exchange != nil {
		if err := r.exchange.followed(ctx, s, r.prefixAt(r.moves[i].to), r.moves[i].Attached); err != nil {
			return err
		}
	}
	if !sleep(ctx, r.dwell/2) {
		return ctx.Err()
	}
	if i == 0 {
		var err error
		r.freshAt = time.Now()
		if r.fresh, err = s.echo(nodeMobile, nodeAnother, r.another(), port, r.echoInterval()); err != nil {
			return err
		}
	}
	if !sleep(ctx, r.dwell-r.dwell/2) {
		return ctx.Err()
	}
	if i == 0 {
		r.fresh.Stop()
	}
	r.trips = append(r.trips, report.Millis(s.transfer.RoundTrip()))
	s.observe(ctx, nodeMobile)
	return s.crew.check()
}

// prefixAt is what addresses of the mobile at a stop are of.
func (r *hostRun) prefixAt(stop string) netip.Prefix {
	for i := range hostAccessRouters {
		if stop == accessRouterName(i+1) {
			return accessAddress(i + 1).Masked()
		}
	}
	return r.site().mobile().Masked()
}

// settling is the time after a break within which its silence begins.
func (r *hostRun) settling() time.Duration { return r.detour()/2 + slack }

// flight is how long a datagram to the mobile node takes at most.
func (r *hostRun) flight(stop string) time.Duration { return r.ways(stop).Tunnel / 2 }

// expected are the limits of a move.
func (r *hostRun) expected(m move) report.Expected {
	bound := r.optimise() && m.from != nodeHomeAgent
	return report.Optimised(m.Attached.Sub(m.Left), r.ways(m.from), r.ways(m.to), bound)
}

func (r *hostRun) course(told []role.Handover) course {
	return course{
		moves: r.moves, told: told, settling: r.settling(), flight: r.flight,
		end: func(i int) time.Time { return next(r.moves, i, r.ended) },
		limits: func(m move) (down, up time.Duration) {
			e := r.expected(m)
			return e.Down, e.Up
		},
	}
}
