package lab

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/relay"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
)

// floodOptions are what the user may choose for the scenario flood.
type floodOptions struct {
	rate     int
	duration time.Duration
	interval time.Duration
	only     string
	seed     uint64
}

// flood is the scenario of an attacker who sends as much as the wire bears.
func flood() Scenario {
	return Scenario{
		Name:    "flood",
		Summary: "an attacker floods a home agent that is a correspondent too; its memory, and how it serves honest mobiles meanwhile",
		Prepare: prepare((*floodOptions).declare, floodOptions.validate, func(o floodOptions) play { return &floodRun{floodOptions: o} }),
	}
}

func (o *floodOptions) declare(f *flag.FlagSet) {
	f.IntVar(&o.rate, "rate", 100_000, "`packets` a second of a flood")
	f.DurationVar(&o.duration, "duration", 3*time.Second, "`time` that each flood takes")
	f.DurationVar(&o.interval, "probe-interval", 40*time.Millisecond, "`time` between honest requests to each service; a correspondent answers fifty tests a second of one network")
	f.StringVar(&o.only, "only", "", "`words` that choose among the kinds of floods, with commas between them (default: all)")
	f.Uint64Var(&o.seed, "seed", 1, "`number` that decides about what is random in the floods")
}

func (o floodOptions) validate() error {
	switch {
	case o.rate < 1000 || o.rate > 10_000_000:
		return wrongOption("--rate %d: 1000 to 10000000 packets a second make sense", o.rate)
	case o.interval < 20*time.Millisecond:
		return wrongOption("--probe-interval %v: at least 20ms, or the correspondent takes the honest for a flood", o.interval)
	case o.duration < 5*o.interval || o.duration > time.Minute:
		return wrongOption("--duration %v: five times --probe-interval %v to a minute make sense", o.duration, o.interval)
	case len(o.kinds()) == 0:
		return wrongOption("--only %q: there is no such kind of flood", o.only)
	}
	return nil
}

// kinds are the floods that the user wants.
func (o floodOptions) kinds() (chosen []floodKind) {
	words := strings.FieldsFunc(o.only, func(r rune) bool { return r == ',' })
	for _, k := range floodKinds() {
		wanted := len(words) == 0
		for _, w := range words {
			wanted = wanted || strings.Contains(k.name, strings.TrimSpace(w))
		}
		if wanted {
			chosen = append(chosen, k)
		}
	}
	return chosen
}

const (
	nodeAttacker = "evil"
	nodeCaller   = "caller"
	linkAttacker = "evil0"
)

// Where the attacker's packets seem to come from, and what the caller's do; both
// are routed there.
var (
	floodPrefix  = netip.MustParsePrefix("2001:db8:e000::/36")
	callerPrefix = netip.MustParsePrefix("2001:db8:ca00::/40")
)

// floodRun is the scenario under way.
type floodRun struct {
	floodOptions
	caller *caller
	stream *probe.Stream // to the mobile, through its tunnel
	keys   [2]string     // of the mobile, and of the caller's home address

	start  usage // of the home agent's daemon, before the first flood
	floods []report.Flood
}

func (r *floodRun) site() homeSite         { return homeSite{1} }
func (r *floodRun) target() netip.Addr     { return r.site().agent() }
func (r *floodRun) victim() netip.Addr     { return r.site().mobile().Addr() }
func (r *floodRun) callerHome() netip.Addr { return r.site().at("200") }

// set: the attacker is next to the home agent, so that nobody else's queue
// protects it.
func (r *floodRun) set() (world.Topology, uint64) {
	s := newSketch(relay.Impairment{})
	s.host(nodeCorrespondent, 0, correspondentAddress())
	s.host(nodeCaller, 0, callerPrefix.Addr().Next().Next())
	s.Anchors = []world.Anchor{{Prefix: callerPrefix, Node: nodeCaller}}
	ends := [2]netip.Prefix{netip.MustParsePrefix("2001:db8:c:e::1/64"), netip.MustParsePrefix("2001:db8:c:e::2/64")}
	s.router(nodeHomeAgent, netHomeAgent, 0, world.Route{Prefix: floodPrefix, Via: ends[1].Addr(), Interface: linkAttacker})
	s.Nodes = append(s.Nodes, world.Node{Name: nodeAttacker}, world.Node{Name: nodeMobile})
	s.Wires = append(s.Wires, world.Wire{
		A: world.End{Node: nodeHomeAgent, Interface: linkAttacker, Addresses: ends[:1]},
		B: world.End{Node: nodeAttacker, Interface: "eth0", Addresses: ends[1:]},
	})
	access := s.accessRouters(1, 0)
	s.air(0, []world.End{r.site().end(nodeHomeAgent)}, access, world.End{Node: nodeMobile, Interface: linkUp})
	return s.Topology, r.seed
}

// place leaves the mobile where it is, nowhere, until its home agent serves.
func (r *floodRun) place(*stage) error { return nil }

// cast: the home agent does not write a line for each dropped packet.
func (r *floodRun) cast() []part {
	r.keys = [2]string{newKey(), newKey()}
	m := mobile{
		name: nodeMobile, home: r.site().mobile(), homeAgents: []netip.Addr{r.target()}, key: r.keys[0], uplinks: []string{linkUp},
	}
	called := mobile{name: nodeCaller, home: netip.PrefixFrom(r.callerHome(), 64), key: r.keys[1]}
	sections := append(agent{site: r.site(), mobiles: []mobile{m, called}}.sections(),
		correspondent(), newSection("globals", "globals").option("log_level", "info"))
	return []part{
		{nodeHomeAgent, sections},
		{accessRouterName(1), accessRouter(linkAccess, accessAddress(1))},
		{nodeMobile, m.sections()},
	}
}

func (r *floodRun) act(ctx context.Context, s *stage) error {
	defer func() {
		if r.caller != nil {
			r.caller.close()
		}
	}()
	if err := r.prepare(ctx, s); err != nil {
		return err
	}
	attacker, err := newAttacker(s.world, r.seed)
	if err != nil {
		return err
	}
	defer attacker.close()
	kinds := r.kinds()
	s.tell("%d floods of %v, %d packets a second; each service is asked every %v, and nothing twice", 2*len(kinds), r.duration, r.rate, r.interval)
	for _, k := range kinds {
		for _, many := range []bool{false, true} {
			if err := r.pour(ctx, s, attacker, k, many); err != nil {
				return fmt.Errorf("flood of %s: %w", k.name, err)
			}
		}
	}
	if err := r.caller.register(ctx, 0); err != nil {
		return fmt.Errorf("de-registration: %w", err)
	}
	s.finish(ctx, 10*time.Second, slack)
	return nil
}

// prepare starts what is measured, and waits until it works.
func (r *floodRun) prepare(ctx context.Context, s *stage) (err error) {
	const limit = 15 * time.Second
	const port, transferPort, rate = 9001, 9002, 200_000
	if r.caller, err = newCaller(s.world.Space(nodeCaller), r.target(), r.callerHome(), r.keys[1]); err != nil {
		return err
	}
	if err := r.caller.register(ctx, homeLifetime); err != nil {
		return fmt.Errorf("registration: %w", err)
	}
	if _, err := s.world.Move(nodeMobile, linkUp, accessRouterName(1), 0, true); err != nil {
		return err
	}
	r.stream, err = s.late(ctx, func() (*probe.Stream, error) {
		return s.stream(nodeCorrespondent, nodeMobile, r.victim(), port, time.Millisecond)
	})
	if err != nil {
		return err
	}
	if err := s.hear(ctx, limit, r.stream); err != nil {
		return fmt.Errorf("%s does not hear %s: %w", nodeMobile, nodeCorrespondent, err)
	}
	if err := s.connect(ctx, nodeCorrespondent, nodeMobile, r.victim(), transferPort, rate, r.seed); err != nil {
		return err
	}
	// What a daemon needs once and keeps is not what a flood costs.
	if err := r.caller.authorise(ctx); err != nil {
		return err
	}
	r.ask(ctx, s, 500*time.Millisecond, func() bool { return false })
	r.start, err = usageOf(s.daemon(nodeHomeAgent))
	return err
}

// ask has the caller ask every service until a condition holds; ok is false when
// the time is over before. It also looks at the daemon's memory.
func (r *floodRun) ask(ctx context.Context, s *stage, limit time.Duration, condition func() bool) (peak int, ok bool) {
	const look = 5 * time.Millisecond
	next := time.Now()
	for end := next.Add(limit); ; {
		now := time.Now()
		if u, err := usageOf(s.daemon(nodeHomeAgent)); err == nil {
			peak = max(peak, u.resident)
		}
		switch {
		case condition():
			return peak, true
		case now.After(end):
			return peak, false
		}
		if !now.Before(next) {
			r.caller.ask()
			next = next.Add(r.interval)
		}
		if !sleep(ctx, look) {
			return peak, false
		}
	}
}

// pour floods once, and measures.
func (r *floodRun) pour(ctx context.Context, s *stage, a *attacker, k floodKind, many bool) error {
	// New tokens outlive the flood; and so the services work before it.
	if err := r.caller.authorise(ctx); err != nil {
		return err
	}
	f := report.Flood{Kind: k.name, Sources: "one", Recovered: report.None()}
	if many {
		f.Sources = "many"
	}
	if err := a.load(floodOf{kind: k, many: many, run: r}); err != nil {
		return err
	}
	before, err := r.look(s, a)
	if err != nil {
		return err
	}
	start := time.Now()
	done := a.pour(ctx, r.rate, r.duration)
	peak, _ := r.ask(ctx, s, 2*r.duration, func() bool { return len(done) > 0 })
	f.Sent = <-done
	ended := time.Now()
	after, err := r.look(s, a)
	if err != nil {
		return err
	}
	// The answers to the last requests, and to the last packets of the flood.
	const patience, grace = 5 * time.Second, 100 * time.Millisecond
	late, _ := r.ask(ctx, s, patience, func() bool { return !r.caller.recovered(ended).IsZero() })
	if t := r.caller.recovered(ended); !t.IsZero() {
		f.Recovered = report.Millis(t.Sub(ended))
	}
	if !sleep(ctx, grace) {
		return ctx.Err()
	}
	rest, err := r.look(s, a)
	if err != nil {
		return err
	}
	took := ended.Sub(start).Seconds()
	f.PerSecond, f.Processor = int(float64(f.Sent)/took), (after.processor-before.processor).Seconds()/took
	f.Before, f.Peak, f.After = before.resident, max(peak, late, rest.resident), rest.resident
	f.Answers = int(rest.answers - before.answers)
	f.Services = r.caller.services(start, ended)
	count := r.stream.Record().Count(start, ended)
	f.DataSent, f.DataLost = count.Sent, count.Lost
	r.floods = append(r.floods, f)
	s.tell("  %-20s %-4s %6d/s  memory %.1f MB, at most %.1f  CPU %3.0f %%  %s", f.Kind, f.Sources, f.PerSecond,
		float64(f.Before)/1000, float64(f.Peak)/1000, 100*f.Processor, shares(f.Services))
	return s.crew.check()
}

// look is what the daemon uses, and how often it has answered the attacker.
func (r *floodRun) look(s *stage, a *attacker) (l struct {
	usage
	answers uint64
}, err error) {
	if l.usage, err = usageOf(s.daemon(nodeHomeAgent)); err == nil {
		l.answers, err = a.received()
	}
	return l, err
}

func shares(services []report.Service) string {
	var all []string
	for _, s := range services {
		all = append(all, fmt.Sprintf("%s %.0f %%", s.Name, 100*s.Share()))
	}
	return strings.Join(all, ", ")
}
