package lab

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"roam6/internal/lab/relay"
	"roam6/internal/lab/world"
)

// advertiseOptions are what the user may choose for the scenario advertise.
type advertiseOptions struct {
	links    int
	duration time.Duration
	rounds   int
	solicit  time.Duration
	seed     uint64
}

// advertise is the scenario of router advertisements beside radvd's.
func advertising() Scenario {
	return Scenario{
		Name:    "advertise",
		Summary: "router advertisements every 30 to 70 ms on many links, by roam6 and by radvd: when they come, and what they cost",
		Prepare: prepare((*advertiseOptions).declare, advertiseOptions.validate, func(o advertiseOptions) play { return newAdvertiseRun(o) }),
	}
}

func (o *advertiseOptions) declare(f *flag.FlagSet) {
	f.IntVar(&o.links, "links", 10, "`number` of links to advertise on")
	f.DurationVar(&o.duration, "duration", 5*time.Second, "`time` to listen to each daemon, and then again while hosts solicit")
	f.IntVar(&o.rounds, "rounds", 2, "`number` of times that the daemons take turns: what else the machine does changes meanwhile")
	f.DurationVar(&o.solicit, "solicit", time.Second, "mean `time` between the solicitations on a link")
	f.Uint64Var(&o.seed, "seed", 1, "`number` that decides when hosts solicit")
}

func (o advertiseOptions) validate() error {
	switch {
	case o.links < 1 || o.links > 200:
		return wrongOption("--links %d: 1 to 200 make sense", o.links)
	case o.rounds < 1 || o.rounds > 1000:
		return wrongOption("--rounds %d: 1 to 1000 make sense", o.rounds)
	case o.solicit < 600*time.Millisecond || o.solicit > time.Minute:
		return wrongOption("--solicit %v: 600ms to 1m; a router may take half a second for an answer, and need not answer one host more often than it sends to all", o.solicit)
	case o.duration < o.solicit || o.duration > time.Hour:
		return wrongOption("--duration %v: --solicit %v to an hour make sense", o.duration, o.solicit)
	}
	return nil
}

// The interval in use is the shortest that RFC 6275 §7.5 allows.
const (
	advertisedMin, advertisedMax = 30 * time.Millisecond, 70 * time.Millisecond
	// nodeHost is where the other ends of the links are.
	nodeHost = "host"
	// programRoam6 and programRadvd are the daemons.
	programRoam6, programRadvd = "roam6", "radvd"
)

// advertiseRun is the scenario under way.
type advertiseRun struct {
	advertiseOptions
	sniffer    *sniffer
	witness    *witness
	contenders []*contender
	version    string    // radvd's
	missing    string    // why there is no radvd
	loads      []float64 // of the machine, before each turn
}

// contender is one of the daemons and what was measured of it.
type contender struct {
	name   string
	daemon *daemon
	// quiet and asked are the times without and with solicitations, one of each a
	// round.
	quiet, asked []stint
	// solicited is what came of each solicitation.
	solicited []solicited
	// farewells are how many advertisements with a router lifetime of zero it sent at
	// its end, by round and link.
	farewells [][]int
}

// stint is a time during which a daemon was watched.
type stint struct {
	from, to time.Time
	// advertised are the times of the advertisements to all nodes, by link.
	advertised [][]int64
	used       consumption
	// stalled is how long the whole machine stood still.
	stalled time.Duration
}

func newAdvertiseRun(o advertiseOptions) *advertiseRun { return &advertiseRun{advertiseOptions: o} }

// routerLink and hostLink name the ends of a link; they count from 0.
func routerLink(i int) string { return fmt.Sprintf("acc%d", i) }
func hostLink(i int) string   { return fmt.Sprintf("up%d", i) }

// linkPrefix is what is advertised on a link.
func linkPrefix(i int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8:a00:%x::/64", i))
}

func (r *advertiseRun) set() (world.Topology, uint64) {
	s := newSketch(relay.Impairment{})
	s.Nodes = []world.Node{{Name: accessRouterName(1), Router: true}, {Name: nodeHost}}
	for i := range r.links {
		p := linkPrefix(i)
		router, host := p.Addr().Next(), p.Addr().Next().Next()
		s.Wires = append(s.Wires, world.Wire{
			A: world.End{Node: accessRouterName(1), Interface: routerLink(i), Addresses: []netip.Prefix{netip.PrefixFrom(router, p.Bits())}},
			B: world.End{Node: nodeHost, Interface: hostLink(i), Addresses: []netip.Prefix{netip.PrefixFrom(host, p.Bits())}},
		})
	}
	return s.Topology, r.seed
}

// place: the host listens before anything is sent.
func (r *advertiseRun) place(s *stage) (err error) {
	if r.sniffer, err = newSniffer(s.world.Space(nodeHost), r.links, r.seed); err != nil {
		return err
	}
	if r.witness, err = newWitness(s.world.Space(nodeHost)); err != nil {
		r.sniffer.close()
	}
	return err
}

// sections are roam6's configuration. It writes no line for each advertisement,
// nor does radvd.
func (r *advertiseRun) sections() []*section {
	all := []*section{newSection("globals", "globals").option("log_level", "info")}
	for i := range r.links {
		all = append(all,
			advertise(routerLink(i)).option("AdvDefaultLifetime", "1800"),
			newSection("prefix", "").option("interface", routerLink(i)).list("prefix", linkPrefix(i).String()))
	}
	return all
}

// radvdConfig says the same to radvd.
func (r *advertiseRun) radvdConfig() string {
	var b strings.Builder
	for i := range r.links {
		fmt.Fprintf(&b, `interface %s {
	AdvSendAdvert on;
	AdvIntervalOpt on;
	MinRtrAdvInterval 0.03;
	MaxRtrAdvInterval 0.07;
	MinDelayBetweenRAs 0.03;
	AdvRASolicitedUnicast on;
	AdvDefaultLifetime 1800;
	prefix %v { };
};
`, routerLink(i), linkPrefix(i))
	}
	return b.String()
}

// cast: roam6 begins.
func (r *advertiseRun) cast() []part {
	return []part{{accessRouterName(1), r.sections()}}
}

// FindRadvd returns where radvd is, or "".
func FindRadvd() string {
	if path, err := exec.LookPath(programRadvd); err == nil {
		return path
	}
	for _, directory := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(directory, programRadvd)); err == nil {
			return path
		}
	}
	return ""
}

// newRadvd makes radvd's process, in the foreground and otherwise as Debian's unit
// starts it; nil where there is none.
func (r *advertiseRun) newRadvd(s *stage) (*daemon, error) {
	path := FindRadvd()
	if path == "" {
		r.missing = "there is no radvd on this machine (apt-get install radvd)"
		return nil, nil
	}
	file := filepath.Join(s.env.Directory, "radvd.conf")
	if err := os.WriteFile(file, []byte(r.radvdConfig()), 0o600); err != nil {
		return nil, fmt.Errorf("radvd's configuration: %w", err)
	}
	out, _ := exec.Command(path, "--version").CombinedOutput() // only for the report
	r.version = strings.TrimSpace(strings.TrimPrefix(strings.SplitN(string(out), "\n", 2)[0], "Version:"))
	return newForeign(s.env, s.world.Space(accessRouterName(1)), programRadvd, program{
		path: path,
		args: []string{"--nodaemon", "--logmethod", "stderr_clean", "--config", file, "--pidfile", filepath.Join(s.env.Directory, "radvd.pid")},
	})
}

func (r *advertiseRun) act(ctx context.Context, s *stage) error {
	defer r.sniffer.close()
	defer r.witness.close()
	r.contenders = []*contender{{name: programRoam6, daemon: s.daemon(accessRouterName(1))}}
	radvd, err := r.newRadvd(s)
	switch {
	case err != nil:
		return err
	case radvd == nil:
		s.tell("%s: roam6 runs alone", r.missing)
	default:
		s.crew = append(s.crew, radvd)
		r.contenders = append(r.contenders, &contender{name: programRadvd, daemon: radvd})
	}
	// The stage has started roam6; each turn has a process of its own.
	if err := r.contenders[0].daemon.stop(); err != nil {
		return err
	}
	s.tell("%d links, %d times %v without solicitations and as long with them", r.links, r.rounds, r.duration)
	for range r.rounds {
		for _, c := range r.contenders {
			if err := r.watch(ctx, s, c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// watch is one turn of a daemon.
func (r *advertiseRun) watch(ctx context.Context, s *stage, c *contender) error {
	const patience = 20 * time.Second
	r.loads = append(r.loads, loadNow())
	start := time.Now()
	if err := c.daemon.start(); err != nil {
		return err
	}
	// Both begin with a burst of three; by then caches and heaps are warm, too.
	const warm = 10
	if err := s.until(ctx, patience, func() bool { return r.sniffer.everywhere(start, warm) }); err != nil {
		return fmt.Errorf("%d advertisements on every link: %w", warm, err)
	}
	quiet, err := r.stint(ctx, c.daemon, func() error { return nil })
	if err != nil {
		return err
	}
	asked, err := r.stint(ctx, c.daemon, func() error { return r.sniffer.solicit(ctx, r.solicit, r.duration) })
	if err != nil {
		return err
	}
	// What is asked last is answered, too.
	const late = 2 * time.Second
	answered := func() bool {
		return !slices.ContainsFunc(r.sniffer.solicitations(asked.from, asked.to), func(q solicited) bool { return !q.unicast.Known() })
	}
	if err := s.until(ctx, late, answered); err != nil && ctx.Err() != nil {
		return err
	}
	asks := r.sniffer.solicitations(asked.from, asked.to)
	c.quiet, c.asked, c.solicited = append(c.quiet, quiet), append(c.asked, asked), append(c.solicited, asks...)
	ended := time.Now()
	if err := c.daemon.stop(); err != nil {
		return err
	}
	c.farewells = append(c.farewells, r.sniffer.farewells(ended))
	s.tell("  %-6s %5d advertisements in %v, CPU %.2f %%; %d of %d solicitations answered by unicast", c.name, count(quiet.advertised), r.duration,
		100*quiet.used.processor.Seconds()/quiet.to.Sub(quiet.from).Seconds(),
		len(slices.DeleteFunc(slices.Clone(asks), func(q solicited) bool { return !q.unicast.Known() })), len(asks))
	return nil
}

// stint watches a daemon while something is done that takes no longer.
func (r *advertiseRun) stint(ctx context.Context, d *daemon, do func() error) (st stint, err error) {
	before, err := consumed(d)
	if err != nil {
		return st, err
	}
	st.from, st.stalled = time.Now(), -r.witness.stalled()
	if err := do(); err != nil {
		return st, err
	}
	if !sleep(ctx, time.Until(st.from.Add(r.duration))) {
		return st, ctx.Err()
	}
	st.to = time.Now()
	st.stalled += r.witness.stalled()
	after, err := consumed(d)
	if err != nil {
		return st, err
	}
	st.used = after.since(before)
	// What the kernel has stamped may still have to be read.
	sleep(ctx, 2*readPause)
	st.advertised = r.sniffer.advertisements(st.from, st.to)
	return st, nil
}

func count(lists [][]int64) (n int) {
	for _, l := range lists {
		n += len(l)
	}
	return n
}
