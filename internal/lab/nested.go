package lab

import (
	"context"
	"flag"
	"net/netip"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/relay"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
)

// nestedOptions are what the user may choose for the scenario nested.
type nestedOptions struct {
	commonOptions
	homeAgent time.Duration // round trip H of the train
	second    time.Duration // round trip from the core to the car's home agent
	laps      int
	dwell     time.Duration
	loop      time.Duration
}

// nested is the scenario of mobile networks within mobile networks.
func nested() Scenario {
	return Scenario{
		Name:    "nested",
		Summary: "a car with a network of its own and a mobile node ride on a train, leave it and return: tunnels in tunnels",
		Prepare: prepare((*nestedOptions).declare, nestedOptions.validate, func(o nestedOptions) play { return &nestedRun{nestedOptions: o} }),
	}
}

func (o *nestedOptions) declare(f *flag.FlagSet) {
	// Four streams, each of them twice through most of the links.
	o.interval = 2 * time.Millisecond
	o.commonOptions.declare(f)
	f.DurationVar(&o.homeAgent, "delay-ha", 10*time.Millisecond, "round `trip` from the train to its home agent while away (H), the one to the access router included")
	f.DurationVar(&o.second, "delay-ha2", 6*time.Millisecond, "round `trip` from the core to the car's home agent")
	f.IntVar(&o.laps, "laps", 1, "`number` of laps; nine moves each")
	f.DurationVar(&o.dwell, "dwell", 1500*time.Millisecond, "`time` between moves")
	f.DurationVar(&o.loop, "loop", time.Second, "`time` that the train is in the network of the car that rides on it; 0: never")
}

func (o nestedOptions) validate() error {
	if err := o.commonOptions.validate(); err != nil {
		return err
	}
	switch {
	case o.laps < 1 || o.laps > 10_000:
		return wrongOption("--laps %d: 1 to 10000 make sense", o.laps)
	case o.homeAgent < o.access:
		return wrongOption("--delay-ha %v is the whole round trip to the home agent: it cannot be less than --delay-ar %v", o.homeAgent, o.access)
	case o.second < 0:
		return wrongOption("a delay cannot be negative")
	case o.loop < 0 || o.loop > time.Minute:
		return wrongOption("--loop %v: at most a minute", o.loop)
	}
	return enough("dwell", o.dwell, 4*(o.homeAgent+o.second)+500*time.Millisecond)
}

const (
	nodeCar         = "car"
	nodeSecondHome  = "ha2" // of the car
	linkCarVisitors = "lan1"
)

// The networks: the train's, the car's own, and another one of the car's, in
// which others can be.
var (
	trainNetwork    = netip.MustParsePrefix("2001:db8:100::/64")
	carNetwork      = netip.MustParsePrefix("2001:db8:200::/64")
	visitorsNetwork = netip.MustParsePrefix("2001:db8:201::/64")
)

// gateway is the router's address in a network.
func gateway(network netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(network.Addr().Next(), network.Bits())
}

// far is one of those in the inner networks whom the correspondent talks to.
type far struct {
	node    string
	mover   string // who moves with it
	address netip.Addr
	home    netip.Addr // of the mover

	down, up, echo *probe.Stream
}

// converse begins the streams between the correspondent, which sends to port, and the
// end.
func (e *far) converse(ctx context.Context, s *stage, port uint16, interval time.Duration) (err error) {
	if e.down, err = s.late(ctx, func() (*probe.Stream, error) {
		return s.stream(nodeCorrespondent, e.node, e.address, port, interval)
	}); err != nil {
		return err
	}
	// One port for each, since there is one correspondent.
	answer := port + uint16(len(s.streams))
	e.up, err = s.stream(e.node, nodeCorrespondent, correspondentAddress(), answer, interval)
	return err
}

// nestedRun is the scenario under way.
type nestedRun struct {
	nestedOptions
	ends []*far

	at    nestedState
	moves []nestedMove
	paths []pathFigure
	loops []nestedLoop
	calm  []period // the second halves of stops with everybody aboard, away from home
	ended time.Time
}

// nestedState is where everybody is.
type nestedState struct{ train, car, mobile string }

// of is where one of them is.
func (n *nestedState) of(mover string) *string {
	switch mover {
	case nodeCar:
		return &n.car
	case nodeMobile:
		return &n.mobile
	default:
		return &n.train
	}
}

// aboard reports whether one of the inner ones is in the train's network.
func (n nestedState) aboard(mover string) bool { return *n.of(mover) == nodeRouter }

// nestedMove is a move of one of them.
type nestedMove struct {
	move
	mover         string
	before, after nestedState
	end           time.Time
}

// nestedLoop is a time in which the train was in the network of the car that was
// in the train's.
type nestedLoop struct {
	period
	frames uint64 // on all links
	sent   int    // datagrams of the probes
	// left is when the train got out of it, back when every stream had recovered.
	left, back time.Time
}

func (r *nestedRun) trainSite() homeSite { return homeSite{1} }
func (r *nestedRun) carSite() homeSite   { return homeSite{2} }

// visitor is the mobile node's home address: the train's home agent is its own.
func (r *nestedRun) visitor() netip.Prefix { return netip.PrefixFrom(r.trainSite().at("200"), 64) }

// behindCar is the innermost node.
func (r *nestedRun) behindCar() netip.Addr { return carNetwork.Addr().Next().Next() }

// set: one air interface for all, so that everybody can be everywhere: also the
// train in the car's network, where it should not be.
func (r *nestedRun) set() (world.Topology, uint64) {
	s := newSketch(relay.Impairment{})
	s.host(nodeCorrespondent, 0, correspondentAddress())
	s.router(nodeHomeAgent, netHomeAgent, r.homeAgent-r.access, world.Route{
		// What holds while the train is at home; a binding's route comes before it.
		Prefix: trainNetwork, Via: r.trainSite().mobile().Addr(), Interface: linkHome, Metric: 4096,
	})
	s.router(nodeSecondHome, netHomeAgent+1, r.second)
	s.Anchors = []world.Anchor{{Prefix: trainNetwork, Node: nodeHomeAgent}, {Prefix: carNetwork, Node: nodeSecondHome}, {Prefix: visitorsNetwork, Node: nodeSecondHome}}
	access := s.accessRouters(nestedAccessRouters, 0)
	for _, node := range []string{nodeRouter, nodeCar} {
		s.Nodes = append(s.Nodes, world.Node{Name: node, Router: true})
	}
	s.Nodes = append(s.Nodes, world.Node{Name: nodeBehind}, world.Node{Name: nodeMobile})
	s.Wires = append(s.Wires, world.Wire{
		A: world.End{Node: nodeCar, Interface: linkLAN, Addresses: []netip.Prefix{gateway(carNetwork)}},
		B: world.End{Node: nodeBehind, Interface: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(r.behindCar(), 64)}},
	})
	access = append(access,
		world.End{Node: nodeRouter, Interface: linkLAN, Addresses: []netip.Prefix{gateway(trainNetwork)}},
		world.End{Node: nodeCar, Interface: linkCarVisitors, Addresses: []netip.Prefix{gateway(visitorsNetwork)}})
	var stations []world.End
	for _, node := range []string{nodeRouter, nodeCar, nodeMobile} {
		stations = append(stations, world.End{Node: node, Interface: linkUp})
	}
	s.air(r.access, []world.End{r.trainSite().end(nodeHomeAgent), r.carSite().end(nodeSecondHome)}, access, stations...)
	return s.Topology, r.seed
}

const nestedAccessRouters = 3

// place puts the train home, with all aboard.
func (r *nestedRun) place(s *stage) error {
	r.at = nestedState{train: nodeHomeAgent, car: nodeRouter, mobile: nodeRouter}
	for _, node := range []string{nodeRouter, nodeCar, nodeMobile} {
		if _, err := s.world.Move(node, linkUp, *r.at.of(node), 0, true); err != nil {
			return err
		}
	}
	return nil
}

func (r *nestedRun) cast() []part {
	router := func(name string, site homeSite, networks []netip.Prefix, downstream ...string) mobile {
		return mobile{
			name: name, home: site.mobile(), homeAgents: []netip.Addr{site.agent()}, key: newKey(),
			uplinks: []string{linkUp}, networks: networks, downstream: downstream,
		}
	}
	train := router("train", r.trainSite(), []netip.Prefix{trainNetwork}, linkLAN)
	car := router("car", r.carSite(), []netip.Prefix{carNetwork, visitorsNetwork}, linkLAN, linkCarVisitors)
	visitor := mobile{
		name: "visitor", home: r.visitor(), homeAgents: []netip.Addr{r.trainSite().agent()}, key: newKey(), uplinks: []string{linkUp},
	}
	parts := []part{
		{nodeHomeAgent, agent{site: r.trainSite(), mobiles: []mobile{train, visitor}}.sections()},
		{nodeSecondHome, agent{site: r.carSite(), mobiles: []mobile{car}}.sections()},
	}
	parts = append(parts, accessRouters(nestedAccessRouters)...)
	return append(parts,
		part{nodeRouter, append(train.sections(), accessRouter(linkLAN, gateway(trainNetwork))...)},
		part{nodeCar, append(car.sections(), accessRouter(linkCarVisitors, gateway(visitorsNetwork))...)},
		part{nodeMobile, visitor.sections()})
}

// agentToCore is the round trip from the train's home agent to the core.
func (o nestedOptions) agentToCore() time.Duration { return o.homeAgent - o.access }

// trainPlace is where the train is, as far as its home agent goes.
func (o nestedOptions) trainPlace(stop string) report.Place {
	if isHome(stop) {
		return report.Place{Access: o.access, HomeAgent: o.access}
	}
	return report.Place{Access: o.access, HomeAgent: o.homeAgent}
}

// place is where somebody is, as far as its own home agent goes. From aboard the
// train the way is to the train, by its tunnel to its home agent, and from there
// on to the own one.
func (o nestedOptions) placeOf(mover string, at nestedState) report.Place {
	beyond := o.second // from the core to its home agent
	switch mover {
	case nodeRouter:
		return o.trainPlace(at.train)
	case nodeMobile:
		beyond = o.agentToCore()
	}
	if !at.aboard(mover) {
		return report.Place{Access: o.access, HomeAgent: o.access + beyond}
	}
	toTrainAgent := o.access + o.trainPlace(at.train).HomeAgent
	if mover == nodeMobile {
		return report.Place{Access: o.access, HomeAgent: toTrainAgent}
	}
	return report.Place{Access: o.access, HomeAgent: toTrainAgent + o.agentToCore() + beyond}
}

// roundTrip is the one between the correspondent and an end: to the mover's home
// agent and through its tunnel.
func (o nestedOptions) roundTrip(mover string, at nestedState) time.Duration {
	toAgent := o.second
	if mover == nodeMobile {
		toAgent = o.agentToCore()
	}
	return toAgent + o.placeOf(mover, at).HomeAgent
}

// tunnels is how many an end's packets are in at a time.
func (at nestedState) tunnels(mover string) int {
	if at.aboard(mover) && !isHome(at.train) {
		return 2
	}
	return 1
}
