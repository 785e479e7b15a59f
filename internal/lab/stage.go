package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/relay"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
	"roam6/internal/role"
)

// play is what a scenario does in a world. The stage calls the methods in this
// order, each once.
type play interface {
	// set describes the world.
	set() (t world.Topology, seed uint64)
	// place brings everybody to where the play begins, before anything runs.
	place(*stage) error
	// cast are the daemons, in the order of their start.
	cast() []part
	// act starts what is measured when the daemons run, and ends when there is
	// nothing more to measure. The error is about what kept it from happening.
	act(ctx context.Context, s *stage) error
	// report computes the figures.
	report(*stage) *report.Report
}

// part is a daemon's role.
type part struct {
	node     string
	sections []*section
}

// supported is a play in which other programs than roam6 take part.
type supported interface {
	play
	// support are the processes of those programs. They start before the daemons
	// and end after them.
	support(*stage) ([]*daemon, error)
}

// scattered is a play in which daemons may run on machines of their own.
type scattered interface {
	play
	// elsewhere is the command that runs the daemon of a node on another machine, as
	// internal/lab/machine has it; none: it runs here.
	elsewhere(node string) []string
}

// stage is a world with its daemons, and what is measured there.
type stage struct {
	env      Environment
	world    *world.World
	crew     crew
	streams  []*probe.Stream
	transfer *probe.Transfer

	verdict  probe.Verdict              // on the transfer
	stats    relay.Stats                // at the end of measuring
	waits    queueing                   // of the daemons
	told     map[string][]role.Handover // by node, as its daemon told
	silent   map[string]bool            // it did not tell the last time
	failures []string
}

// perform builds the world, plays and measures, and looks that nothing remains
// of the daemons in any namespace. The error is about what kept the play from
// happening.
func perform(ctx context.Context, env Environment, p play) (*report.Report, error) {
	if err := checkTUN(); err != nil {
		return nil, err
	}
	s := &stage{env: env, told: map[string][]role.Handover{}, silent: map[string]bool{}}
	topology, seed := p.set()
	s.tell("building the world: %s", strings.Join(nodes(topology), ", "))
	var err error
	if s.world, err = world.Build(topology, seed); err != nil {
		return nil, err
	}
	defer func() {
		// What goes wrong from here on is no more than a consequence.
		_ = s.stop()
		_ = s.world.Relay.EndCapture()
		_ = s.world.Close()
	}()
	if env.Capture != nil {
		if err := s.world.Relay.Capture(env.Capture); err != nil {
			return nil, fmt.Errorf("capture: %w", err)
		}
	}
	measured := make(chan struct{})
	defer close(measured)
	go s.waits.followRunLoop(os.Getpid(), measured)
	if err := p.place(s); err != nil {
		return nil, err
	}
	before, err := s.world.Snapshots()
	if err != nil {
		return nil, err
	}
	if p, ok := p.(supported); ok {
		if s.crew, err = p.support(s); err != nil {
			return nil, err
		}
	}
	for _, c := range p.cast() {
		d, err := newDaemon(env, s.world.Space(c.node), configuration(env, c.node, c.sections...))
		if err != nil {
			return nil, err
		}
		d.waits = &s.waits
		if p, ok := p.(scattered); ok {
			d.elsewhere = p.elsewhere(c.node)
		}
		s.crew = append(s.crew, d)
	}
	if err := s.run(ctx, p); err != nil {
		s.tails(ctx)
		return nil, err
	}
	s.stats = s.world.Relay.Stats()
	if err := s.crew.stop(); err != nil {
		s.fail("%v", err)
	}
	if err := s.world.Relay.EndCapture(); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	after, err := s.world.Snapshots()
	if err != nil {
		return nil, err
	}
	if left := world.Compare(before, after); len(left) > 0 {
		s.fail("the daemons left traces in the namespaces:\n%s", strings.Join(left, "\n"))
	}
	result := p.report(s)
	result.Relay = s.relay()
	result.Summary.Strays = s.stats.Refused
	result.Planes = s.planes()
	result.Summarise()
	result.Failures = append(s.failures, result.Failures...)
	if len(result.Failures) > 0 {
		s.tails(ctx)
	}
	return result, nil
}

func nodes(t world.Topology) (names []string) {
	for _, n := range t.Nodes {
		names = append(names, n.Name)
	}
	for _, l := range t.LANs {
		names = append(names, l.Name)
	}
	return names
}

func (s *stage) run(ctx context.Context, p play) error {
	if err := s.crew.start(ctx); err != nil {
		return err
	}
	s.tell("%d daemons run", len(s.crew))
	if err := p.act(ctx, s); err != nil {
		return err
	}
	return s.crew.check()
}

func (s *stage) tell(format string, args ...any) {
	fmt.Fprintf(s.env.Progress, format+"\n", args...)
}

func (s *stage) fail(format string, args ...any) {
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

// tails shows the end of every log.
func (s *stage) tails(ctx context.Context) {
	const lines = 12
	if ctx.Err() != nil {
		return // interrupted: nothing is wrong
	}
	s.tell("\nthe last lines of the logs in %s:", s.env.Directory)
	for _, d := range s.crew {
		d.tail(s.env.Progress, lines)
	}
}

// stop ends whatever still runs.
func (s *stage) stop() error {
	for _, stream := range s.streams {
		stream.Stop()
	}
	if s.transfer != nil {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		s.transfer.Finish(ended)
	}
	return errors.Join(s.crew.stop(), s.crew.close())
}

// daemon is the daemon of a node; nil when it has none.
func (s *stage) daemon(node string) *daemon {
	if i := slices.IndexFunc(s.crew, func(d *daemon) bool { return d.name == node }); i >= 0 {
		return s.crew[i]
	}
	return nil
}

// stream starts a probe in one direction, which the stage ends.
func (s *stage) stream(from, to string, address netip.Addr, port uint16, interval time.Duration) (*probe.Stream, error) {
	return s.keep(probe.Start(s.world.Space(from), s.world.Space(to), netip.AddrPortFrom(address, port), interval))
}

// streamFrom does the same from an address of the sender's choice.
func (s *stage) streamFrom(from, to string, source, address netip.Addr, port uint16, interval time.Duration) (*probe.Stream, error) {
	return s.keep(probe.StartFrom(s.world.Space(from), s.world.Space(to), source, netip.AddrPortFrom(address, port), interval))
}

// echo starts a probe there and back, which the stage ends.
func (s *stage) echo(from, to string, address netip.Addr, port uint16, interval time.Duration) (*probe.Stream, error) {
	return s.keep(probe.StartEcho(s.world.Space(from), s.world.Space(to), netip.AddrPortFrom(address, port), interval))
}

func (s *stage) keep(stream *probe.Stream, err error) (*probe.Stream, error) {
	if err == nil {
		s.streams = append(s.streams, stream)
	}
	return stream, err
}

// late starts a probe to an address that its owner's daemon may still have to
// assign.
func (s *stage) late(ctx context.Context, start func() (*probe.Stream, error)) (stream *probe.Stream, err error) {
	const limit = 10 * time.Second
	failed := s.until(ctx, limit, func() bool {
		stream, err = start()
		return !errors.Is(err, unix.EADDRNOTAVAIL)
	})
	return stream, errors.Join(err, failed)
}

// foreign is the figure that counts the addresses that applications saw and
// were not meant to.
func (s *stage) foreign(allowed []netip.Addr) report.Figure {
	var seen []netip.Addr
	for _, stream := range s.streams {
		seen = append(seen, stream.Peers()...)
	}
	if s.transfer != nil {
		client, server := s.transfer.Ends()
		seen = append(seen, client, server)
	}
	slices.SortFunc(seen, netip.Addr.Compare)
	seen = slices.DeleteFunc(slices.Compact(seen), func(a netip.Addr) bool { return slices.Contains(allowed, a) })
	for _, a := range seen {
		s.fail("an application saw the address %v", a)
	}
	return report.Number("foreign_addresses", "addresses that applications saw, but home addresses and correspondents'", "addresses", len(seen)).AtMost(0)
}

// connect starts the TCP transfer, which the stage ends.
func (s *stage) connect(ctx context.Context, from, to string, address netip.Addr, port uint16, rate int, seed uint64) (err error) {
	s.transfer, err = probe.StartTransfer(ctx, s.world.Space(from), s.world.Space(to), netip.AddrPortFrom(address, port), probe.Rate(rate), seed)
	return err
}

// until waits for a condition, which is about to be true unless a daemon ends.
func (s *stage) until(ctx context.Context, limit time.Duration, condition func() bool) error {
	var ended error
	if until(ctx, limit, func() bool { ended = s.crew.check(); return ended != nil || condition() }) {
		return ended
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("not within %v", limit)
}

// hear waits until datagrams sent from now on arrive in every stream.
func (s *stage) hear(ctx context.Context, limit time.Duration, streams ...*probe.Stream) error {
	start := time.Now()
	return s.until(ctx, limit, func() bool { return connected(start, streams...) })
}

// connected reports whether datagrams sent after some time arrive in every
// stream.
func connected(since time.Time, streams ...*probe.Stream) bool {
	return !slices.ContainsFunc(streams, func(s *probe.Stream) bool { return !s.NewestSent().After(since) })
}

// observe collects what a daemon tells about its moves.
func (s *stage) observe(ctx context.Context, node string) {
	o := s.observer(node)
	if o == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.daemon(node).answerTime())
	defer cancel()
	list, err := o.Handovers(ctx)
	if err != nil && !s.silent[node] {
		s.tell("        %s does not tell about its handovers: %v", node, err)
	}
	s.silent[node] = err != nil
	s.told[node] = append(s.told[node], list...)
}

// registration asks a daemon where a home address is registered. It is the zero
// value when nowhere, or when the daemon does not tell.
func (s *stage) registration(ctx context.Context, node string, home netip.Addr) Registration {
	o := s.observer(node)
	if o == nil {
		return Registration{}
	}
	ctx, cancel := context.WithTimeout(ctx, s.daemon(node).answerTime())
	defer cancel()
	list, err := o.Registrations(ctx)
	if err != nil {
		return Registration{}
	}
	if i := slices.IndexFunc(list, func(r Registration) bool { return r.Home == home }); i >= 0 {
		return list[i]
	}
	return Registration{}
}

// registered waits until a home address is registered as wanted, and fails the
// play otherwise.
func (s *stage) registered(ctx context.Context, node string, home netip.Addr, limit time.Duration, what string, wanted func(Registration) bool) error {
	const pause = 20 * time.Millisecond
	deadline := time.Now().Add(limit)
	for last := (Registration{}); ; {
		if last = s.registration(ctx, node, home); last != (Registration{}) && wanted(last) {
			return nil
		}
		if err := s.crew.check(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			s.fail("%v was not registered %s within %v: %+v", home, what, limit, last)
			return nil
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// observer asks the daemon of a node; nil when nothing can.
func (s *stage) observer(node string) Observer {
	d := s.daemon(node)
	if d == nil {
		return nil
	}
	return d.observer()
}

// finish ends the transfer and then the streams, when what is under way for so
// long has arrived.
func (s *stage) finish(ctx context.Context, limit, underWay time.Duration) {
	finish, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if s.transfer != nil {
		s.verdict = s.transfer.Finish(finish)
	}
	// The last datagrams that count were sent before; let them arrive.
	sleep(ctx, underWay)
	for _, stream := range s.streams {
		stream.Stop()
	}
}

// tcp is the verdict on the transfer.
func (s *stage) tcp() report.TCP {
	v := s.verdict
	t := report.TCP{Bytes: v.Down + v.Up, BytesDown: v.Down, BytesUp: v.Up, Intact: v.Err == nil}
	if v.Err != nil {
		t.Error = v.Err.Error()
		s.fail("the TCP transfer is not intact: %v", v.Err)
	}
	return t
}

// relay is the lab's own error.
func (s *stage) relay() report.Relay {
	late := s.stats.Late
	return report.Relay{
		Frames: s.stats.Frames, Discarded: s.stats.Discarded, RealTime: s.stats.HasRTClass,
		MedianLate: report.Millis(late.Quantile(.5)), P99Late: report.Millis(late.Quantile(.99)), MaxLate: report.Millis(late.Max()),
		MaxWait: report.Millis(s.waits.longest()),
	}
}
