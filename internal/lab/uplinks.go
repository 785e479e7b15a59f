package lab

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/relay"
	"roam6/internal/lab/world"
)

// uplinksOptions are what the user may choose for the scenario uplinks.
type uplinksOptions struct {
	commonOptions
	laps       int
	wlan, wwan time.Duration // round trips like access, which is that of eth
	homeAgent  time.Duration // round trip from the access routers to the home agent
	hysteresis time.Duration
	dwell      time.Duration
	flaps      int
	router     bool
}

// uplinks is the scenario of a mobile with several interfaces.
func uplinks() Scenario {
	return Scenario{
		Name:    "uplinks",
		Summary: "a mobile with three uplinks loses them and gets them back: vertical hand-offs, down and up",
		Prepare: prepare((*uplinksOptions).declare, uplinksOptions.validate, func(o uplinksOptions) play { return &uplinksRun{uplinksOptions: o} }),
	}
}

func (o *uplinksOptions) declare(f *flag.FlagSet) {
	f.DurationVar(&o.access, "delay-eth", 2*time.Millisecond, "round `trip` to the access router of the first uplink")
	f.DurationVar(&o.wlan, "delay-wlan", 10*time.Millisecond, "round `trip` to the access router of the second uplink")
	f.DurationVar(&o.wwan, "delay-wwan", 60*time.Millisecond, "round `trip` to the access router of the third uplink")
	f.DurationVar(&o.homeAgent, "delay-ha", 8*time.Millisecond, "round `trip` from the access routers to the home agent")
	f.DurationVar(&o.hysteresis, "hysteresis", 500*time.Millisecond, "how long a better uplink must be good before a working one is left for it, a `time`")
	f.DurationVar(&o.dwell, "dwell", 1500*time.Millisecond, "`time` between the events")
	f.IntVar(&o.laps, "laps", 1, "`number` of laps; eight events each")
	f.IntVar(&o.flaps, "flaps", 4, "`number` of times that the best uplink comes and goes before it stays")
	o.declareProbes(f)
	f.BoolVar(&o.router, "router", false, "the mobile is a mobile router with a node behind it")
}

func (o uplinksOptions) validate() error {
	if err := o.commonOptions.validate(); err != nil {
		return err
	}
	switch {
	case o.wlan < 0 || o.wwan < 0 || o.homeAgent < 0:
		return wrongOption("a delay cannot be negative")
	case o.hysteresis < 10*time.Millisecond || o.hysteresis > time.Minute:
		return wrongOption("--hysteresis %v: 10ms to 1m", o.hysteresis)
	case o.laps < 1 || o.laps > 10_000:
		return wrongOption("--laps %d: 1 to 10000 make sense", o.laps)
	case o.flaps < 0 || o.flaps > 1000:
		return wrongOption("--flaps %d: 0 to 1000 make sense", o.flaps)
	}
	return enough("dwell", o.dwell, o.hysteresis+4*max(o.access, o.wlan, o.wwan)+2*o.homeAgent+500*time.Millisecond)
}

// The uplinks, best first. The access router of each has the same name.
const (
	uplinkEth  = "eth"
	uplinkWLAN = "wlan"
	uplinkWWAN = "wwan"
)

func uplinkNames() []string { return []string{uplinkEth, uplinkWLAN, uplinkWWAN} }

// device is the mobile's interface.
func device(uplink string) string { return uplink + "0" }

func (o uplinksOptions) accessTrip(uplink string) time.Duration {
	switch uplink {
	case uplinkEth:
		return o.access
	case uplinkWLAN:
		return o.wlan
	default:
		return o.wwan
	}
}

// agentTrip is the round trip to the home agent by an uplink: H.
func (o uplinksOptions) agentTrip(uplink string) time.Duration {
	return o.accessTrip(uplink) + o.homeAgent
}

// happening is something that is done to an uplink.
type happening uint8

const (
	goes        happening = iota // with its carrier
	fallsSilent                  // and nothing but silence tells
	returns
	returnsSilently // from silence
)

// kind is the hand-off that follows.
func (h happening) kind() string {
	switch h {
	case goes:
		return "break first"
	case fallsSilent:
		return "silence"
	default:
		return "make first"
	}
}

// makes: the old link works until the new one is used.
func (h happening) makes() bool { return h == returns || h == returnsSilently }

// event is something that happens to an uplink, and which uplink is the one to
// use then.
type event struct {
	what   happening
	uplink string
	use    string
}

// events are those of a lap, which begins and ends with all uplinks there. The
// best one flaps before it returns the last time.
func events() []event {
	return []event{
		{goes, uplinkEth, uplinkWLAN}, {returns, uplinkEth, uplinkEth},
		{fallsSilent, uplinkEth, uplinkWLAN}, {returnsSilently, uplinkEth, uplinkEth},
		{goes, uplinkEth, uplinkWLAN}, {goes, uplinkWLAN, uplinkWWAN},
		{returns, uplinkWLAN, uplinkWLAN}, {returns, uplinkEth, uplinkEth},
	}
}

// uplinksRun is the scenario under way.
type uplinksRun struct {
	uplinksOptions
	down, up *probe.Stream

	using    string
	moves    []uplinkMove
	flapping []period // of the best uplink
	ended    time.Time
}

// uplinkMove is a hand-off; Left is when its cause happened.
type uplinkMove struct {
	move
	event
	settled time.Time // when the daemon told that it is registered by the new uplink; zero: it did not
	end     time.Time
}

// period is some time.
type period struct{ from, to time.Time }

func (r *uplinksRun) site() homeSite { return homeSite{1} }

// network is behind the mobile router.
func (r *uplinksRun) network() netip.Prefix { return netip.MustParsePrefix("2001:db8:100::/64") }

// node and address are those that talk to the correspondent.
func (r *uplinksRun) node() string {
	if r.router {
		return nodeBehind
	}
	return nodeMobile
}

func (r *uplinksRun) address() netip.Addr {
	if r.router {
		return r.network().Addr().Next().Next()
	}
	return r.site().mobile().Addr()
}

func (r *uplinksRun) set() (world.Topology, uint64) {
	const netUplinks = 0xb0
	s := newSketch(relay.Impairment{})
	s.host(nodeCorrespondent, 0, correspondentAddress())
	s.router(nodeHomeAgent, netHomeAgent, r.homeAgent)
	s.Nodes = append(s.Nodes, world.Node{Name: nodeMobile, Router: r.router})
	if r.router {
		s.Nodes = append(s.Nodes, world.Node{Name: nodeBehind})
		s.Anchors = []world.Anchor{{Prefix: r.network(), Node: nodeHomeAgent}}
		s.Wires = append(s.Wires, world.Wire{
			A: world.End{Node: nodeMobile, Interface: linkLAN, Addresses: []netip.Prefix{netip.PrefixFrom(r.network().Addr().Next(), 64)}},
			B: world.End{Node: nodeBehind, Interface: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(r.address(), 64)}},
		})
	}
	for i, name := range uplinkNames() {
		s.router(name, netUplinks+i, 0)
		var homes []world.End
		if i == 0 {
			// The home link has to be somewhere; nobody goes there.
			homes = append(homes, r.site().end(nodeHomeAgent))
		}
		access := world.End{Node: name, Interface: linkAccess, Addresses: []netip.Prefix{r.accessOf(name)}}
		s.air(r.accessTrip(name), homes, []world.End{access}, world.End{Node: nodeMobile, Interface: device(name)})
	}
	return s.Topology, r.seed
}

// accessOf is the address of an access router on its link.
func (r *uplinksRun) accessOf(uplink string) netip.Prefix {
	for i, name := range uplinkNames() {
		if name == uplink {
			return accessAddress(i + 1)
		}
	}
	return netip.Prefix{}
}

func (r *uplinksRun) place(s *stage) error {
	for _, name := range uplinkNames() {
		if _, err := s.world.Move(nodeMobile, device(name), name, 0, true); err != nil {
			return err
		}
	}
	r.using = uplinkEth
	return nil
}

func (r *uplinksRun) cast() []part {
	m := mobile{
		name: nodeMobile, home: r.site().mobile(), homeAgents: []netip.Addr{r.site().agent()}, key: newKey(),
		hysteresis: r.hysteresis,
	}
	if r.router {
		m.networks, m.downstream = []netip.Prefix{r.network()}, []string{linkLAN}
	}
	for _, name := range uplinkNames() {
		m.uplinks = append(m.uplinks, device(name))
	}
	parts := []part{{nodeHomeAgent, agent{site: r.site(), mobiles: []mobile{m}}.sections()}}
	for _, name := range uplinkNames() {
		parts = append(parts, part{name, accessRouter(linkAccess, r.accessOf(name))})
	}
	return append(parts, part{nodeMobile, m.sections()})
}

func (r *uplinksRun) act(ctx context.Context, s *stage) error {
	if err := r.depart(ctx, s); err != nil {
		return err
	}
	plan := events()
	n := r.laps * len(plan)
	s.tell("%d events; round trips to the home agent: %v by eth, %v by wlan, %v by wwan; hysteresis %v",
		n, r.agentTrip(uplinkEth), r.agentTrip(uplinkWLAN), r.agentTrip(uplinkWWAN), r.hysteresis)
	for i := range n {
		e := plan[i%len(plan)]
		if i%len(plan) == len(plan)-1 {
			if err := r.flap(ctx, s); err != nil {
				return err
			}
		}
		at, err := r.happen(s, e)
		if err != nil {
			return err
		}
		m := uplinkMove{move: move{from: r.using, to: e.use, Switch: world.Switch{Left: at, Attached: at}}, event: e}
		settled, err := r.settle(ctx, s, e.use)
		if err != nil {
			return err
		}
		m.settled = settled
		if !sleep(ctx, time.Until(at.Add(r.dwell))) && ctx.Err() != nil {
			return ctx.Err()
		}
		m.end = time.Now()
		s.observe(ctx, nodeMobile)
		r.moves = append(r.moves, m)
		s.progress(i, n, m.move, r.window(m), r.down, r.up)
		r.using = e.use
	}
	r.ended = time.Now()
	s.finish(ctx, 10*time.Second, r.underWay())
	return s.crew.check()
}

// depart starts the measuring on the best uplink.
func (r *uplinksRun) depart(ctx context.Context, s *stage) error {
	const limit = 15 * time.Second
	const port, transferPort = 9001, 9002
	var err error
	if r.down, err = s.late(ctx, func() (*probe.Stream, error) {
		return s.stream(nodeCorrespondent, r.node(), r.address(), port, r.interval)
	}); err != nil {
		return err
	}
	if r.up, err = s.stream(r.node(), nodeCorrespondent, correspondentAddress(), port, r.interval); err != nil {
		return err
	}
	if err := s.hear(ctx, limit, r.down, r.up); err != nil {
		return fmt.Errorf("%s and %s do not hear each other: %w (%s)", nodeCorrespondent, r.node(), err, heard(r.down, r.up))
	}
	if err := s.connect(ctx, nodeCorrespondent, r.node(), r.address(), transferPort, r.rate, r.seed); err != nil {
		return err
	}
	if _, err := r.settle(ctx, s, uplinkEth); err != nil {
		return err
	}
	if !sleep(ctx, r.hysteresis+500*time.Millisecond) {
		return ctx.Err()
	}
	return nil
}

// happen lets an event happen, and returns the moment.
func (r *uplinksRun) happen(s *stage, e event) (time.Time, error) {
	switch e.what {
	case goes, fallsSilent:
		return s.world.Detach(nodeMobile, device(e.uplink), e.what == goes)
	default:
		return s.world.Attach(nodeMobile, device(e.uplink), e.uplink, e.what == returns)
	}
}

// flap lets the best uplink come and go, each time too briefly to be used.
func (r *uplinksRun) flap(ctx context.Context, s *stage) error {
	p := period{from: time.Now()}
	for range r.flaps {
		for _, e := range []event{{what: returns, uplink: uplinkEth}, {what: goes, uplink: uplinkEth}} {
			if _, err := r.happen(s, e); err != nil {
				return err
			}
			if !sleep(ctx, r.hysteresis/2) {
				return ctx.Err()
			}
		}
	}
	p.to = time.Now()
	r.flapping = append(r.flapping, p)
	now := s.registration(ctx, nodeMobile, r.site().mobile().Addr())
	if o := s.observer(nodeMobile); o != nil && !r.accessOf(r.using).Masked().Contains(now.CareOf) {
		s.fail("after the flapping the mobile is registered at %v, not by %s", now.CareOf, r.using)
	}
	return nil
}

// settle waits until the home agent knows the care-of address of an uplink, and
// returns the moment.
func (r *uplinksRun) settle(ctx context.Context, s *stage, uplink string) (time.Time, error) {
	const limit = 5 * time.Second
	if s.observer(nodeMobile) == nil {
		return time.Time{}, nil
	}
	prefix := r.accessOf(uplink).Masked()
	failures := len(s.failures)
	err := s.registered(ctx, nodeMobile, r.site().mobile().Addr(), limit, "by "+uplink, func(g Registration) bool { return prefix.Contains(g.CareOf) })
	if err != nil || len(s.failures) > failures {
		return time.Time{}, err
	}
	return time.Now(), nil
}

// underWay is how long a datagram takes at most.
func (r *uplinksRun) underWay() time.Duration {
	return max(r.agentTrip(uplinkEth), r.agentTrip(uplinkWLAN), r.agentTrip(uplinkWWAN))/2 + r.homeAgent/2 + slack
}

// window is the time in which the silence of a hand-off may begin: where the
// old link works on, at any time.
func (r *uplinksRun) window(m uplinkMove) time.Duration {
	if m.what.makes() {
		return m.end.Sub(m.Left) - r.underWay()
	}
	return r.underWay()
}
