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

// delegationOptions are what the user may choose for the scenario delegation.
type delegationOptions struct {
	commonOptions
	handovers int
	homeAgent time.Duration // round trip H
	dwell     time.Duration
	server    string
	preferred time.Duration // lifetimes of what is delegated
	valid     time.Duration
	crash     bool
	ipsec     bool // protects the signalling of mobile router and home agent
	patience  time.Duration
}

// Who delegates: the home agent, or a Kea server behind it.
const (
	byAgent = "own"
	byKea   = "kea"
)

// delegation is the scenario of a mobile router that knows no prefix.
func delegation() Scenario {
	return Scenario{
		Name:    "delegation",
		Summary: "a mobile router gets its network's prefix from home, rides, restarts, comes home, and gets another one",
		Prepare: prepare((*delegationOptions).declare, delegationOptions.validate, func(o delegationOptions) play {
			return &delegationRun{delegationOptions: o}
		}),
	}
}

func (o *delegationOptions) declare(f *flag.FlagSet) {
	o.interval = 2 * time.Millisecond
	o.commonOptions.declare(f)
	f.IntVar(&o.handovers, "handovers", 6, "`number` of moves from access router to access router, before the restarts and the way home")
	f.DurationVar(&o.homeAgent, "delay-ha", 10*time.Millisecond, "round `trip` from the mobile router to the home agent while away (H)")
	f.DurationVar(&o.dwell, "dwell", 2*time.Second, "`time` at each stop")
	f.StringVar(&o.server, "server", byAgent, "`who` delegates: own, the home agent from its pool; kea, a Kea server behind it, to which it relays")
	f.DurationVar(&o.preferred, "preferred", 8*time.Second, "preferred `lifetime` of a delegated prefix, whole seconds; it is renewed after half of it")
	f.DurationVar(&o.valid, "valid", 40*time.Second, "valid `lifetime` of a delegated prefix, whole seconds")
	f.BoolVar(&o.crash, "crash", false, "the daemons that restart are killed")
	f.BoolVar(&o.ipsec, "ipsec", false, "mobile router and home agent protect their signalling by IPsec alone, without a key of RFC 4285; DHCPv6 too, while the router is away")
	f.DurationVar(&o.patience, "patience", 20*time.Second, "how long anything may take that has to happen, a `time`")
}

func (o delegationOptions) validate() error {
	if err := o.commonOptions.validate(); err != nil {
		return err
	}
	whole := func(d time.Duration) bool { return d >= 8*time.Second && d%time.Second == 0 }
	switch {
	case o.homeAgent < o.access:
		return wrongOption("--delay-ha %v is the whole round trip: it cannot be less than --delay-ar %v", o.homeAgent, o.access)
	case o.server != byAgent && o.server != byKea:
		return wrongOption("--server %s: own or kea", o.server)
	case !whole(o.preferred) || !whole(o.valid) || o.valid < o.preferred:
		return wrongOption("--preferred %v, --valid %v: whole seconds, at least 8, of which the second is not shorter", o.preferred, o.valid)
	}
	if err := movesMakeSense(o.handovers); err != nil {
		return err
	}
	return enough("dwell", o.dwell, 4*o.homeAgent+500*time.Millisecond)
}

// Round trips to the correspondent from the core, and to Kea from the home agent.
const (
	correspondentTrip = time.Millisecond
	serverTrip        = time.Millisecond
)

const (
	nodeServer = "dhcp"
	linkServer = "dhcp0"
	// The section names have what file names for saved leases may not have.
	delegationRouter = "Bus_1"
	delegationAgent  = "Depot_A"
)

// passenger is a node behind the mobile router, which knows nothing and configures
// itself.
type passenger struct {
	name, lan string
	address   netip.Addr
	down, up  *probe.Stream // of that address, from and to the correspondent
}

// delegationRun is the scenario under way.
type delegationRun struct {
	delegationOptions
	key        string
	keys       *section // of IPsec; nil: none
	passengers []*passenger
	first      *probe.Stream // from the first passenger, whatever its address

	at         string
	moves      []move
	restarts   []restart
	registered time.Time
	delegated  time.Time
	prefix     netip.Prefix
	renewals   int // seen
	validUntil time.Time
	travelled  time.Time // when the measuring of moves ended
	exchange   replacement
}

// restart is a daemon that ended and began again.
type restart struct {
	node       string
	gone, back time.Time
	connected  time.Time // the passengers, again
	ended      time.Time // of measuring
}

// replacement is how the prefix was exchanged for one of another pool.
type replacement struct {
	at         time.Time // the old pool was taken away
	withdrawn  time.Time // the passengers take the old prefix for deprecated
	renumbered time.Time // they have addresses of the new one
	connected  time.Time // by which they and the correspondent hear each other
	ended      time.Time
	streams    []*probe.Stream // to and from the new addresses
	prefix     netip.Prefix
}

func (r *delegationRun) site() homeSite { return homeSite{1} }

// pools are the one of the beginning and the one that takes its place. Ordinary
// routing brings both to the home agent.
func (r *delegationRun) pools() [2]netip.Prefix {
	return [2]netip.Prefix{netip.MustParsePrefix("2001:db8:8000::/40"), netip.MustParsePrefix("2001:db8:9000::/40")}
}

func (r *delegationRun) serverAddress() netip.Addr { return netip.MustParseAddr("2001:db8:d::2") }

func (r *delegationRun) set() (world.Topology, uint64) {
	s := newSketch(relay.Impairment{})
	s.host(nodeCorrespondent, correspondentTrip, correspondentAddress())
	s.router(nodeHomeAgent, netHomeAgent, r.homeAgent-r.access)
	s.Anchors = []world.Anchor{{Prefix: r.pools()[0], Node: nodeHomeAgent}, {Prefix: r.pools()[1], Node: nodeHomeAgent}}
	if r.server == byKea {
		ends := [2]netip.Prefix{netip.PrefixFrom(r.serverAddress(), 64), netip.PrefixFrom(r.serverAddress().Prev(), 64)}
		s.Nodes = append(s.Nodes, world.Node{Name: nodeServer})
		s.Wires = append(s.Wires, world.Wire{
			A:    world.End{Node: nodeServer, Interface: linkServer, Addresses: ends[:1]},
			B:    world.End{Node: nodeHomeAgent, Interface: nodeServer, Addresses: ends[1:]},
			Path: s.path(serverTrip),
		})
	}
	access := s.accessRouters(2, 0)
	s.Nodes = append(s.Nodes, world.Node{Name: nodeRouter, Router: true})
	for _, p := range r.behind() {
		s.Nodes = append(s.Nodes, world.Node{Name: p.name, Listens: true})
		s.Wires = append(s.Wires, world.Wire{A: world.End{Node: nodeRouter, Interface: p.lan}, B: world.End{Node: p.name, Interface: "eth0"}, Path: s.path(0)})
	}
	s.air(r.access, []world.End{r.site().end(nodeHomeAgent)}, access, world.End{Node: nodeRouter, Interface: linkUp})
	return s.Topology, r.seed
}

// behind are the passengers, each on an interface of its own.
func (r *delegationRun) behind() []*passenger {
	if r.passengers == nil {
		r.passengers = []*passenger{{name: "mnn1", lan: "lan0"}, {name: "mnn2", lan: "lan1"}}
	}
	return r.passengers
}

// place leaves the router where it is, nowhere: it comes when everybody is there.
func (r *delegationRun) place(*stage) error { return nil }

// agent is the home agent that delegates from a pool, or relays to Kea.
func (r *delegationRun) agent(pool netip.Prefix) agent {
	a := agent{name: delegationAgent, site: r.site(), mobiles: []mobile{r.router()}}
	if a.delegates.server = r.serverAddress(); r.server == byAgent {
		a.delegates = delegates{pools: []netip.Prefix{pool}, preferred: r.preferred, valid: r.valid}
	}
	return a
}

func (r *delegationRun) router() mobile {
	m := mobile{
		name: delegationRouter, home: r.site().mobile(), homeAgents: []netip.Addr{r.site().agent()}, key: r.key,
		uplinks: []string{linkUp}, delegation: true,
	}
	for _, p := range r.behind() {
		m.downstream = append(m.downstream, p.lan)
	}
	return m
}

func (r *delegationRun) cast() []part {
	r.key = newKey()
	parts := append([]part{{nodeHomeAgent, r.agent(r.pools()[0]).sections()}}, accessRouters(2)...)
	parts = append(parts, part{nodeRouter, r.router().sections()})
	if r.ipsec {
		r.keys = protect(parts, r.router())
	}
	return parts
}

func (r *delegationRun) placeOf(stop string) report.Place {
	if stop == nodeHomeAgent {
		return report.Place{Access: r.access, HomeAgent: r.access}
	}
	return report.Place{Access: r.access, HomeAgent: r.homeAgent}
}

// settling is the time after a break within which its silence begins.
func (r *delegationRun) settling() time.Duration { return r.homeAgent + correspondentTrip + slack }

func (r *delegationRun) act(ctx context.Context, s *stage) error {
	for _, step := range []func(context.Context, *stage) error{
		r.board,
		r.ride,
		func(ctx context.Context, s *stage) error { return r.restart(ctx, s, nodeRouter) },
		func(ctx context.Context, s *stage) error { return r.restart(ctx, s, nodeHomeAgent) },
		r.comeHome,
		r.leave,
		r.replace,
	} {
		if err := step(ctx, s); err != nil {
			return err
		}
		if err := s.crew.check(); err != nil {
			return err
		}
	}
	return nil
}
