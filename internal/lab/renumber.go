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

// renumberOptions are what the user may choose for the scenario renumber.
type renumberOptions struct {
	commonOptions
	homeAgent time.Duration // round trip H
	dwell     time.Duration
	lifetime  time.Duration // of the deprecated prefix
	patience  time.Duration
}

// renumber is the scenario of a home link that gets another prefix.
func renumber() Scenario {
	return Scenario{
		Name:    "renumber",
		Summary: "the home link gets a new prefix and gives up the old one, while the mobile node is away",
		Prepare: prepare((*renumberOptions).declare, renumberOptions.validate, func(o renumberOptions) play { return &renumberRun{renumberOptions: o} }),
	}
}

func (o *renumberOptions) declare(f *flag.FlagSet) {
	o.commonOptions.declare(f)
	f.DurationVar(&o.homeAgent, "delay-ha", 20*time.Millisecond, "round `trip` from the mobile node to its home agent while away (H)")
	f.DurationVar(&o.dwell, "dwell", 2*time.Second, "`time` between the steps")
	f.DurationVar(&o.lifetime, "lifetime", 5*time.Second, "`time` for which the old prefix is good when it has been deprecated, whole seconds")
	f.DurationVar(&o.patience, "patience", 15*time.Second, "how long the mobile node may take to learn the new prefix, a `time`")
}

func (o renumberOptions) validate() error {
	if err := o.commonOptions.validate(); err != nil {
		return err
	}
	switch {
	case o.homeAgent < o.access:
		return wrongOption("--delay-ha %v is the whole round trip: it cannot be less than --delay-ar %v", o.homeAgent, o.access)
	case o.lifetime < 5*time.Second || o.lifetime%time.Second != 0:
		// Bindings last for multiples of four seconds.
		return wrongOption("--lifetime %v: at least 5s, and whole seconds", o.lifetime)
	}
	return enough("dwell", o.dwell, 4*o.homeAgent+500*time.Millisecond)
}

// prefixInterval is how long the home agent waits before it tells of a new
// prefix; the least that can be chosen.
const prefixInterval = time.Second

// renumberRun is the scenario under way.
type renumberRun struct {
	renumberOptions
	key  string
	old  pairOfStreams
	new  pairOfStreams
	echo *probe.Stream

	moves      []move
	learned    time.Time // when the first packet to the new address arrived
	added      time.Time // the new prefix
	deprecated time.Time // the old one
	expired    time.Time // it, at last
	ended      time.Time
}

// pairOfStreams are from and to the correspondent.
type pairOfStreams struct{ down, up *probe.Stream }

// The home link has a prefix of its own, where the home agent is, the one that
// the mobile node belongs to, and then a new one.
func (r *renumberRun) site() homeSite          { return homeSite{1} }
func (r *renumberRun) oldPrefix() netip.Prefix { return netip.MustParsePrefix("2001:db8:11::/64") }
func (r *renumberRun) newPrefix() netip.Prefix { return netip.MustParsePrefix("2001:db8:12::/64") }

// mobileIn is the mobile node's home address under a prefix.
func (r *renumberRun) mobileIn(p netip.Prefix) netip.Addr {
	a, identifier := p.Addr().As16(), r.site().mobile().Addr().As16()
	copy(a[8:], identifier[8:])
	return netip.AddrFrom16(a)
}

func (r *renumberRun) oldAddress() netip.Addr { return r.mobileIn(r.oldPrefix()) }
func (r *renumberRun) newAddress() netip.Addr { return r.mobileIn(r.newPrefix()) }

func (r *renumberRun) set() (world.Topology, uint64) {
	s := newSketch(relay.Impairment{})
	s.host(nodeCorrespondent, 0, correspondentAddress())
	s.router(nodeHomeAgent, netHomeAgent, r.homeAgent-r.access)
	home := r.site().end(nodeHomeAgent)
	for _, p := range []netip.Prefix{r.oldPrefix(), r.newPrefix()} {
		home.Addresses = append(home.Addresses, netip.PrefixFrom(p.Addr().Next(), p.Bits()))
	}
	access := s.accessRouters(2, 0)
	s.Nodes = append(s.Nodes, world.Node{Name: nodeMobile})
	s.air(r.access, []world.End{home}, access, world.End{Node: nodeMobile, Interface: linkUp})
	return s.Topology, r.seed
}

func (r *renumberRun) place(s *stage) error {
	_, err := s.world.Move(nodeMobile, linkUp, nodeHomeAgent, 0, true)
	return err
}

func (r *renumberRun) mobile() mobile {
	return mobile{
		name: nodeMobile, home: netip.PrefixFrom(r.oldAddress(), 64), homeAgents: []netip.Addr{r.site().agent()}, key: r.key,
		uplinks: []string{linkUp},
	}
}

// agent is the home agent with some prefixes beside its own.
func (r *renumberRun) agent(prefixes ...netip.Prefix) agent {
	return agent{site: r.site(), mobiles: []mobile{r.mobile()}, prefixes: prefixes, prefixInterval: prefixInterval}
}

// deprecating is the home agent that gives up the old prefix.
func (r *renumberRun) deprecating() agent {
	a := r.agent(r.newPrefix())
	a.deprecated, a.deprecatedLifetime = r.oldPrefix(), r.lifetime
	return a
}

func (r *renumberRun) cast() []part {
	r.key = newKey()
	parts := append([]part{{nodeHomeAgent, r.agent(r.oldPrefix()).sections()}}, accessRouters(2)...)
	return append(parts, part{nodeMobile, r.mobile().sections()})
}

func (r *renumberRun) act(ctx context.Context, s *stage) error {
	for _, step := range []func(context.Context, *stage) error{
		r.depart,
		func(ctx context.Context, s *stage) error { return r.visit(ctx, s, nodeHomeAgent, "ar1") },
		r.add,
		func(ctx context.Context, s *stage) error { return r.visit(ctx, s, "ar1", "ar2") },
		r.deprecate,
		r.expire,
	} {
		if err := step(ctx, s); err != nil {
			return err
		}
		if err := s.crew.check(); err != nil {
			return err
		}
	}
	r.ended = time.Now()
	s.finish(ctx, 10*time.Second, r.settling())
	return nil
}

const renumberOldPort, renumberNewPort, renumberTransferPort, renumberEchoPort = 9001, 9005, 9002, 9006

// depart starts the measuring at home, with the old address.
func (r *renumberRun) depart(ctx context.Context, s *stage) (err error) {
	const limit, calm = 15 * time.Second, 500 * time.Millisecond
	if r.old, err = r.talk(ctx, s, r.oldAddress(), renumberOldPort); err != nil {
		return err
	}
	if err := s.hear(ctx, limit, r.old.down, r.old.up); err != nil {
		return fmt.Errorf("at home, %s and %s do not hear each other: %w (%s)", nodeCorrespondent, nodeMobile, err, heard(r.old.down, r.old.up))
	}
	if err := s.connect(ctx, nodeCorrespondent, nodeMobile, r.oldAddress(), renumberTransferPort, r.rate, r.seed); err != nil {
		return err
	}
	if !sleep(ctx, calm) {
		return ctx.Err()
	}
	return nil
}

// talk starts streams to and from an address of the mobile node.
func (r *renumberRun) talk(ctx context.Context, s *stage, address netip.Addr, port uint16) (p pairOfStreams, err error) {
	if p.down, err = s.late(ctx, func() (*probe.Stream, error) {
		return s.stream(nodeCorrespondent, nodeMobile, address, port, r.interval)
	}); err != nil {
		return p, err
	}
	p.up, err = s.streamFrom(nodeMobile, nodeCorrespondent, address, correspondentAddress(), port, r.interval)
	return p, err
}

func (r *renumberRun) visit(ctx context.Context, s *stage, from, to string) error {
	moved, err := s.world.Move(nodeMobile, linkUp, to, r.switching, true)
	if err != nil {
		return err
	}
	r.moves = append(r.moves, move{from: from, to: to, Switch: moved})
	if !sleep(ctx, r.dwell) {
		return ctx.Err()
	}
	s.observe(ctx, nodeMobile)
	i := len(r.moves) - 1
	s.progress(i, 2, r.moves[i], r.settling(), r.old.down, r.old.up)
	return nil
}

// add gives the home link its new prefix, and waits until the mobile node can
// be reached at the address that it forms there.
func (r *renumberRun) add(ctx context.Context, s *stage) (err error) {
	r.added = time.Now()
	if err := s.daemon(nodeHomeAgent).reload(r.agent(r.oldPrefix(), r.newPrefix()).sections()...); err != nil {
		return err
	}
	if r.new, err = r.talk(ctx, s, r.newAddress(), renumberNewPort); err != nil {
		return fmt.Errorf("the mobile node does not get the address %v: %w", r.newAddress(), err)
	}
	if err := s.hear(ctx, r.patience, r.new.down, r.new.up); err != nil {
		return fmt.Errorf("the mobile node cannot be reached at %v: %w (%s)", r.newAddress(), err, heard(r.new.down, r.new.up))
	}
	r.learned = time.Now()
	s.tell("        %v works %.0f ms after the home link got its prefix", r.newAddress(), millis(r.learned.Sub(r.added)))
	if !sleep(ctx, r.dwell) {
		return ctx.Err()
	}
	return nil
}

// deprecate deprecates the old prefix. What uses it goes on; then something new
// is begun, and the old transfer ends in time.
func (r *renumberRun) deprecate(ctx context.Context, s *stage) (err error) {
	r.deprecated = time.Now()
	if err := s.daemon(nodeHomeAgent).reload(r.deprecating().sections()...); err != nil {
		return err
	}
	s.tell("        the old prefix is deprecated, for %v", r.lifetime)
	if !sleep(ctx, r.lifetime-time.Second-r.settling()) {
		return ctx.Err()
	}
	if r.echo, err = s.echo(nodeMobile, nodeCorrespondent, correspondentAddress(), renumberEchoPort, r.echoInterval()); err != nil {
		return err
	}
	finish, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s.verdict = s.transfer.Finish(finish)
	return ctx.Err()
}

// expire waits until the old prefix has ended, and withdraws it.
func (r *renumberRun) expire(ctx context.Context, s *stage) error {
	if !sleep(ctx, time.Until(r.deprecated.Add(r.lifetime))) && ctx.Err() != nil {
		return ctx.Err()
	}
	r.expired = time.Now()
	if err := s.daemon(nodeHomeAgent).reload(r.agent(r.newPrefix()).sections()...); err != nil {
		return err
	}
	s.tell("        the old prefix is withdrawn")
	if !sleep(ctx, r.dwell) {
		return ctx.Err()
	}
	return nil
}

func (r *renumberRun) settling() time.Duration { return r.homeAgent + slack }

func (r *renumberRun) placeOf(stop string) report.Place {
	if stop == nodeHomeAgent {
		return report.Place{Access: r.access, HomeAgent: r.access}
	}
	return report.Place{Access: r.access, HomeAgent: r.homeAgent}
}
