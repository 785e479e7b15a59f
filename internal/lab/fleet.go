package lab

import (
	"flag"
	"fmt"
	"net/netip"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/relay"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
)

// fleetOptions are what the user may choose for the scenario fleet.
type fleetOptions struct {
	commonOptions
	routers   int
	places    int // access routers
	homeAgent time.Duration
	duration  time.Duration
	dwell     time.Duration
	patience  time.Duration
}

// fleet is the scenario of many mobile routers with one home agent.
func fleet() Scenario {
	return Scenario{
		Name:    "fleet",
		Summary: "many mobile routers of one home agent ride at random, get lost and return; all are reachable at the end",
		Prepare: prepare((*fleetOptions).declare, fleetOptions.validate, func(o fleetOptions) play { return &fleetRun{fleetOptions: o} }),
	}
}

func (o *fleetOptions) declare(f *flag.FlagSet) {
	// Each router is asked so often.
	o.interval = 20 * time.Millisecond
	o.commonOptions.declare(f)
	f.IntVar(&o.routers, "routers", 50, "`number` of mobile routers")
	f.IntVar(&o.places, "access-routers", 5, "`number` of access routers")
	f.DurationVar(&o.homeAgent, "delay-ha", 20*time.Millisecond, "round `trip` from a mobile router to the home agent while away (H), the one to the access router included")
	f.DurationVar(&o.duration, "duration", time.Minute, "`time` of riding")
	f.DurationVar(&o.dwell, "dwell", 4*time.Second, "`time` at a stop in the middle; each is between half and one and a half of it")
	f.DurationVar(&o.patience, "patience", 20*time.Second, "`time` for all to be reachable, at the beginning and at the end")
}

func (o fleetOptions) validate() error {
	if err := o.commonOptions.validate(); err != nil {
		return err
	}
	switch {
	case o.routers < 1 || o.routers > 250:
		return wrongOption("--routers %d: 1 to 250 make sense", o.routers)
	case o.places < 2 || o.places > 15:
		return wrongOption("--access-routers %d: 2 to 15 make sense", o.places)
	case o.homeAgent < o.access:
		return wrongOption("--delay-ha %v is the whole round trip to the home agent: it cannot be less than --delay-ar %v", o.homeAgent, o.access)
	case o.duration < o.dwell:
		return wrongOption("--duration %v: at least --dwell %v", o.duration, o.dwell)
	}
	return enough("dwell", o.dwell, 8*o.homeAgent+500*time.Millisecond)
}

// fleetNetworks is where the mobile networks are.
var fleetNetworks = netip.MustParsePrefix("2001:db8:1000::/36")

// fleetRouter is one of the mobile routers, counted from zero.
type fleetRouter int

func (n fleetRouter) node() string { return fmt.Sprintf("%s%d", nodeRouter, int(n)+1) }

func (n fleetRouter) home() netip.Prefix {
	return netip.PrefixFrom(homeSite{1}.at(fmt.Sprintf("%x", 0x1000+int(n))), 64)
}

func (n fleetRouter) network() netip.Prefix {
	b := fleetNetworks.Addr().As16()
	b[5] = byte(n) + 1
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

// address is the router's own in its mobile network.
func (n fleetRouter) address() netip.Addr { return n.network().Addr().Next() }

// fleetRun is the scenario under way.
type fleetRun struct {
	fleetOptions
	fan *probe.Fan

	at    []string // where each router is
	moves [][]fleetMove
	began time.Time
	ended time.Time // of riding

	start, end fleetUsage
	peak       int   // the home agent's memory in kilobytes
	memory     []int // the routers', likewise
	reached    int
	back       time.Time // when the last one was
}

// fleetMove is a move of one router; lost: it was nowhere for a while.
type fleetMove struct {
	move
	lost bool
}

// fleetUsage is what the home agent has used so far.
type fleetUsage struct {
	usage
	messages uint64
	known    bool // that number
}

func (r *fleetRun) all() (list []fleetRouter) {
	for i := range r.routers {
		list = append(list, fleetRouter(i))
	}
	return list
}

func (r *fleetRun) site() homeSite { return homeSite{1} }

func (r *fleetRun) set() (world.Topology, uint64) {
	s := newSketch(relay.Impairment{})
	s.host(nodeCorrespondent, 0, correspondentAddress())
	var atHome []world.Route
	var stations []world.End
	for _, n := range r.all() {
		// What holds while the router is at home; a binding's route comes before it.
		atHome = append(atHome, world.Route{Prefix: n.network(), Via: n.home().Addr(), Interface: linkHome, Metric: 4096})
		stations = append(stations, world.End{Node: n.node(), Interface: linkUp})
	}
	s.router(nodeHomeAgent, netHomeAgent, r.homeAgent-r.access, atHome...)
	s.Anchors = []world.Anchor{{Prefix: fleetNetworks, Node: nodeHomeAgent}}
	access := s.accessRouters(r.places, 0)
	for _, n := range r.all() {
		s.Nodes = append(s.Nodes, world.Node{Name: n.node(), Router: true})
	}
	s.air(r.access, []world.End{r.site().end(nodeHomeAgent)}, access, stations...)
	return s.Topology, r.seed
}

// stops are where a router can be, home first.
func (r *fleetRun) stops() []string {
	stops := []string{nodeHomeAgent}
	for i := range r.places {
		stops = append(stops, accessRouterName(i+1))
	}
	return stops
}

// place spreads the routers, and gives each the address in its mobile network that
// is asked.
func (r *fleetRun) place(s *stage) error {
	r.moves = make([][]fleetMove, r.routers)
	stops := r.stops()
	for i, n := range r.all() {
		r.at = append(r.at, stops[i%len(stops)])
		if err := world.AddAddress(s.world.Space(n.node()), "lo", netip.PrefixFrom(n.address(), 128)); err != nil {
			return err
		}
		if _, err := s.world.Move(n.node(), linkUp, r.at[i], 0, true); err != nil {
			return err
		}
	}
	return nil
}

// cast: nobody advertises as fast as possible, since the moves are seen on the
// links; nor is every step in the logs.
func (r *fleetRun) cast() (parts []part) {
	brief := func(sections []*section) []*section {
		for _, s := range sections {
			if s.Type == "interface" {
				s.replace("min_interval_ms", "300").replace("max_interval_ms", "1000")
			}
		}
		return append(sections, newSection("globals", "globals").option("log_level", "info"))
	}
	var last []part
	served := agent{site: r.site()}
	for _, n := range r.all() {
		m := mobile{
			name: n.node(), home: n.home(), homeAgents: []netip.Addr{r.site().agent()}, key: newKey(),
			uplinks: []string{linkUp}, networks: []netip.Prefix{n.network()},
		}
		served.mobiles = append(served.mobiles, m)
		last = append(last, part{n.node(), brief(m.sections())})
	}
	parts = append(parts, part{nodeHomeAgent, brief(served.sections())})
	for _, p := range accessRouters(r.places) {
		parts = append(parts, part{p.node, brief(p.sections)})
	}
	return append(parts, last...)
}

// placeOf is where a router is, as far as the home agent goes.
func (o fleetOptions) placeOf(stop string) report.Place {
	if isHome(stop) {
		return report.Place{Access: o.access, HomeAgent: o.access}
	}
	return report.Place{Access: o.access, HomeAgent: o.homeAgent}
}
