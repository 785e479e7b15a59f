package lab

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
)

// scaleOptions are what the user may choose for the scenario scale.
type scaleOptions struct {
	mobiles int
	rate    int
}

// scale is the scenario of a home agent with very many mobile routers.
func scale() Scenario {
	return Scenario{
		Name:    "scale",
		Summary: "very many mobile routers register with one home agent and move; its memory, its answers, reload and restart",
		Prepare: prepare((*scaleOptions).declare, scaleOptions.validate, func(o scaleOptions) play { return &scaleRun{scaleOptions: o} }),
	}
}

func (o *scaleOptions) declare(f *flag.FlagSet) {
	f.IntVar(&o.mobiles, "mobiles", 10_000, "`number` of mobile routers, each with one prefix")
	f.IntVar(&o.rate, "rate", 1000, "binding updates a `second` where answers are timed")
}

func (o scaleOptions) validate() error {
	switch {
	case o.mobiles < 100 || o.mobiles > 100_000:
		return wrongOption("--mobiles %d: 100 to 100000 make sense", o.mobiles)
	case o.rate < 10 || o.rate > 10_000:
		return wrongOption("--rate %d: 10 to 10000 a second make sense", o.rate)
	}
	return nil
}

const nodeCrowd = "crowd"

// crowdPrefix is where the care-of addresses of the crowd are, and routed to it.
var crowdPrefix = netip.MustParsePrefix("2001:db8:ca00::/40")

// scaleRun is the scenario under way.
type scaleRun struct {
	scaleOptions
	key string // of all of them

	idle, bound          usage         // without and with bindings
	registered, moved    time.Duration // all of them
	steady, reloading    updates       // at a rate
	reload, restart, end time.Duration
	missing              int // bindings that the restart lost
}

func (r *scaleRun) site() homeSite { return homeSite{1} }

// home is the home address of a mobile: number 0, 1 and so on.
func (r *scaleRun) home(i int) netip.Addr {
	b := r.site().agent().As16()
	b[11], b[13], b[14], b[15] = 1, byte(i>>16), byte(i>>8), byte(i)
	return netip.AddrFrom16(b)
}

// network is the prefix of a mobile.
func (r *scaleRun) network(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0x80 | byte(i>>16), byte(i >> 8), byte(i)}), 64)
}

// careOf is where a mobile is in a round of moves.
func careOf(i, round int) netip.Addr {
	b := crowdPrefix.Addr().As16()
	b[7], b[13], b[14], b[15] = byte(round), byte(i>>16), byte(i>>8), byte(i)
	return netip.AddrFrom16(b)
}

// set: the crowd is next to the home agent, so that it alone is measured.
func (r *scaleRun) set() (world.Topology, uint64) {
	ends := [2]netip.Prefix{netip.MustParsePrefix("2001:db8:c:e::1/64"), netip.MustParsePrefix("2001:db8:c:e::2/64")}
	return world.Topology{
		Nodes: []world.Node{
			{Name: nodeHomeAgent, Router: true, Routes: []world.Route{{Prefix: crowdPrefix, Via: ends[1].Addr(), Interface: "wan0"}}},
			{Name: nodeCrowd},
		},
		Wires: []world.Wire{
			{
				A: world.End{Node: nodeHomeAgent, Interface: "wan0", Addresses: ends[:1]},
				B: world.End{Node: nodeCrowd, Interface: "eth0", Addresses: ends[1:]},
			},
			{
				A: r.site().end(nodeHomeAgent),
				B: world.End{Node: nodeCrowd, Interface: "eth1", Addresses: []netip.Prefix{netip.PrefixFrom(r.site().at("2"), 64)}},
			},
		},
	}, 1
}

func (r *scaleRun) place(*stage) error { return nil }

// cast: the home agent does not write a line for each message.
func (r *scaleRun) cast() []part {
	if r.key == "" {
		r.key = newKey()
	}
	return []part{{nodeHomeAgent, r.sections(r.mobiles)}}
}

// sections are the home agent's, with so many mobiles.
func (r *scaleRun) sections(mobiles int) []*section {
	a := agent{site: r.site()}
	for i := range mobiles {
		a.mobiles = append(a.mobiles, mobile{
			name: fmt.Sprintf("m%d", i), home: netip.PrefixFrom(r.home(i), 64), key: r.key, networks: []netip.Prefix{r.network(i)},
		})
	}
	return append(a.sections(), newSection("globals", "globals").option("log_level", "info"))
}

// Limits of what may take long with a hundred thousand.
const (
	scalePatience = 5 * time.Minute
	// scaleSteady is for how long answers are timed.
	scaleSteady = 3 * time.Second
)

func (r *scaleRun) act(ctx context.Context, s *stage) error {
	d := s.daemon(nodeHomeAgent)
	d.patience = scalePatience
	c, err := newCrowd(s.world, r.site().agent(), r.key)
	if err != nil {
		return err
	}
	defer c.close()
	homes := make([]netip.Addr, r.mobiles)
	for i := range homes {
		homes[i] = r.home(i)
	}
	if err := c.register(ctx, scalePatience, homes[:1], 0); err != nil {
		return err
	}
	if r.idle, err = usageOf(d); err != nil {
		return err
	}
	s.tell("%d mobile routers register, as fast as they are answered", r.mobiles)
	if r.registered, err = timed(func() error { return c.register(ctx, scalePatience, homes, 0) }); err != nil {
		return fmt.Errorf("registration: %w", err)
	}
	if r.bound, err = usageOf(d); err != nil {
		return err
	}
	s.tell("  %.1f s; now %d a second", r.registered.Seconds(), r.rate)
	if r.steady, err = c.paced(ctx, homes, 1, r.rate, scaleSteady, nil); err != nil {
		return err
	}
	s.tell("all of them move")
	if r.moved, err = timed(func() error { return c.register(ctx, scalePatience, homes, 2) }); err != nil {
		return fmt.Errorf("moves: %w", err)
	}
	if err := r.reloads(ctx, s, c, homes); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	if err := r.restarts(ctx, s, c, homes); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	r.end, err = timed(d.stop)
	return err
}

// reloads gives the home agent one more mobile, and waits until it serves that one;
// meanwhile the others go on.
func (r *scaleRun) reloads(ctx context.Context, s *stage, c *crowd, homes []netip.Addr) (err error) {
	s.tell("the home agent's configuration gets one more")
	const round, again = 3, 10 * time.Millisecond
	start := time.Now()
	if err := s.daemon(nodeHomeAgent).reload(r.sections(r.mobiles + 1)...); err != nil {
		return err
	}
	fresh, served, asked := r.home(r.mobiles), false, time.Time{}
	r.reloading, err = c.paced(ctx, homes, round, r.rate, scalePatience, func() bool {
		now := time.Now()
		if served = c.bound(fresh, round); served {
			r.reload = now.Sub(start)
		} else if now.Sub(asked) >= again {
			asked = now
			_ = c.ask(fresh, round) // and again
		}
		return served
	})
	if err == nil && !served {
		err = fmt.Errorf("%w to the mobile that is new", errNoAnswer)
	}
	return err
}

// restarts kills the home agent and starts it again: what is registered shows by the
// answer to who was there, which is not the first one's.
func (r *scaleRun) restarts(ctx context.Context, s *stage, c *crowd, homes []netip.Addr) (err error) {
	s.tell("the home agent is killed, and started again")
	d := s.daemon(nodeHomeAgent)
	if err := d.kill(); err != nil {
		return err
	}
	start := time.Now()
	if err := d.start(); err != nil {
		return err
	}
	for !until(ctx, 10*time.Millisecond, func() bool { return c.bound(homes[0], 4) }) {
		if time.Since(start) > scalePatience || ctx.Err() != nil {
			return errNoAnswer
		}
		if err := c.ask(homes[0], 4); err != nil {
			return err
		}
	}
	r.restart = time.Since(start)
	n, err := bindings(ctx, d)
	r.missing = len(homes) + 1 - n
	return err
}

// bindings is how many registrations a home agent has.
func bindings(ctx context.Context, d *daemon) (int, error) {
	o := d.observer()
	if o == nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, scalePatience)
	defer cancel()
	return o.Bindings(ctx)
}

func timed(f func() error) (time.Duration, error) {
	start := time.Now()
	err := f()
	return time.Since(start), err
}

// What is demanded of the home agent.
const (
	// scaleMemory is in kilobytes for each binding, scaleFixed beside them: what a
	// collector of garbage needs for the transition is as much as what is in use.
	scaleMemory, scaleFixed = 10, 40_000
)

// report computes the figures.
func (r *scaleRun) report(*stage) *report.Report {
	result := &report.Report{
		Scenario: "scale", Unmoved: true,
		Legend: []string{
			fmt.Sprintf("%d mobile routers with a prefix each at one home agent; the crowd shares its processors.", r.mobiles),
			"Where answers are timed, nothing is asked twice. A reload adds one mobile; the restart is after a kill.",
		},
	}
	perSecond := func(d time.Duration) int { return int(float64(r.mobiles) / d.Seconds()) }
	growth := r.bound.resident - r.idle.resident
	result.Add(report.Number("idle_kb", "memory with the configuration alone", "kB", r.idle.resident))
	result.Add(report.Number("bound_kb", "memory with all bindings", "kB", r.bound.resident))
	result.Add(report.Number("growth_kb", "memory of the bindings", "kB", growth).AtMost(report.Milliseconds(scaleFixed + scaleMemory*r.mobiles)))
	result.Add(report.Number("registered_per_second", "registrations, as fast as they are answered", "BU/s", perSecond(r.registered)))
	result.Add(report.Number("moved_per_second", "moves, as fast as they are answered", "BU/s", perSecond(r.moved)))
	for _, u := range []struct {
		name, text string
		updates
	}{{"steady", fmt.Sprintf("at %d BU/s", r.rate), r.steady}, {"reload", "during the reload", r.reloading}} {
		result.Add(report.Time(u.name+"_p50_ms", "BU to BA "+u.text+", median", u.quantile(.5), report.None()))
		result.Add(report.Time(u.name+"_p99_ms", "BU to BA "+u.text+", 99th percentile", u.quantile(.99), report.None()))
		result.Add(report.Number(u.name+"_unanswered", "not answered "+u.text, "BU", u.asked-len(u.answers)))
	}
	result.Add(report.Time("reload_ms", "from a new configuration to the service of the mobile in it", report.Millis(r.reload), report.None()))
	result.Add(report.Time("reload_stall_ms", "during the reload, the longest wait for an answer", r.reloading.quantile(1), report.None()))
	result.Add(report.Time("restart_ms", "from a start after a crash to the first answer", report.Millis(r.restart), report.None()))
	result.Add(report.Number("missing", "bindings that the restart lost", "bindings", r.missing).AtMost(0))
	result.Add(report.Time("end_ms", "to end in order", report.Millis(r.end), report.None()))
	return result
}

// updates are binding updates that were sent once each, and the times of the answers.
type updates struct {
	asked   int
	answers []report.Milliseconds
}

func (u updates) quantile(q float64) report.Milliseconds {
	if len(u.answers) == 0 {
		return report.None()
	}
	return report.Quantile(slices.Clone(u.answers), q)
}
