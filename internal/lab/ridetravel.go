package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
	"roam6/internal/role"
)

// move is what is known of one handover while riding.
type move struct {
	from, to string
	world.Switch
}

// rideRun is a ride under way.
type rideRun struct {
	rideOptions
	env      Environment
	train    train
	world    *world.World
	crew     crew
	down, up *probe.Stream
	transfer *probe.Transfer

	moves     []move
	handovers []role.Handover // as the router told
	silent    bool            // it did not tell the last time
	kills     []killed
	ended     time.Time // of measuring
	failures  []string
}

type killed struct {
	role string
	at   time.Time
	move int // during which stop
}

// runRide builds the world, rides and measures. The error is about what kept
// the ride from happening.
func runRide(ctx context.Context, env Environment, o rideOptions) (*report.Report, error) {
	if err := checkTUN(); err != nil {
		return nil, err
	}
	r := &rideRun{rideOptions: o, env: env, train: o.train()}
	r.tell("building the world: %s", strings.Join([]string{nodeCorrespondent, nodeCore, nodeHomeAgent, "ar1", "ar2", "ar3", nodeRouter, nodeBehind}, ", "))
	var err error
	if r.world, err = world.Build(r.train.topology(), o.seed); err != nil {
		return nil, err
	}
	defer func() {
		// What goes wrong from here on is no more than a consequence.
		_ = r.stop()
		_ = r.world.Close()
	}()
	if _, err := r.world.Move(nodeRouter, linkUp, nodeHomeAgent, 0, true); err != nil {
		return nil, err
	}
	before, err := r.world.Snapshots()
	if err != nil {
		return nil, err
	}
	if r.crew, err = r.train.crew(env, r.world, o.homeAgentDAD); err != nil {
		return nil, err
	}
	if err := r.depart(ctx); err != nil {
		r.tails(ctx)
		return nil, err
	}
	if err := r.travel(ctx); err != nil {
		r.tails(ctx)
		return nil, err
	}
	verdict := r.arrive(ctx)
	stats := r.world.Relay.Stats()
	if err := r.crew.stop(); err != nil {
		r.fail("%v", err)
	}
	after, err := r.world.Snapshots()
	if err != nil {
		return nil, err
	}
	if left := world.Compare(before, after); len(left) > 0 {
		r.fail("the daemons left traces in the namespaces:\n%s", strings.Join(left, "\n"))
	}
	result := r.report(verdict, stats)
	if len(result.Failures) > 0 {
		r.tails(ctx)
	}
	return result, nil
}

func (r *rideRun) tell(format string, args ...any) {
	fmt.Fprintf(r.env.Progress, format+"\n", args...)
}

func (r *rideRun) fail(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// tails shows the end of every log.
func (r *rideRun) tails(ctx context.Context) {
	const lines = 12
	if ctx.Err() != nil {
		return // interrupted: nothing is wrong
	}
	r.tell("\nthe last lines of the logs in %s:", r.env.Directory)
	for _, d := range r.crew {
		d.tail(r.env.Progress, lines)
	}
}

// stop ends whatever still runs.
func (r *rideRun) stop() error {
	for _, s := range []*probe.Stream{r.down, r.up} {
		if s != nil {
			s.Stop()
		}
	}
	if r.transfer != nil {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		r.transfer.Finish(ended)
	}
	return r.crew.stop()
}

// depart starts the daemons at home and the measuring, and waits until the node
// behind the router and the correspondent hear each other.
func (r *rideRun) depart(ctx context.Context) error {
	const limit, calm = 15 * time.Second, 300 * time.Millisecond
	if err := r.crew.start(ctx); err != nil {
		return err
	}
	r.tell("%d daemons run; waiting until %s and %s hear each other", len(r.crew), nodeCorrespondent, nodeBehind)
	const port, transferPort = 9001, 9002
	cn, mnn := r.world.Space(nodeCorrespondent), r.world.Space(nodeBehind)
	var err error
	if r.down, err = probe.Start(cn, mnn, netip.AddrPortFrom(r.train.behind(), port), r.interval); err != nil {
		return err
	}
	if r.up, err = probe.Start(mnn, cn, netip.AddrPortFrom(r.train.correspondentAt(), port), r.interval); err != nil {
		return err
	}
	start := time.Now()
	if !until(ctx, limit, func() bool { return r.connected(start) || r.crew.check() != nil }) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("at home, %s and %s do not hear each other after %v (%s)", nodeCorrespondent, nodeBehind, limit, r.heard())
	}
	if err := r.crew.check(); err != nil {
		return err
	}
	r.transfer, err = probe.StartTransfer(ctx, cn, mnn, netip.AddrPortFrom(r.train.behind(), transferPort), r.rate, r.seed)
	if err != nil {
		return err
	}
	if !sleep(ctx, calm) {
		return ctx.Err()
	}
	return nil
}

// connected reports whether datagrams sent after some time arrive both ways.
func (r *rideRun) connected(since time.Time) bool {
	return r.down.NewestSent().After(since) && r.up.NewestSent().After(since)
}

func (r *rideRun) heard() string {
	word := func(s *probe.Stream) string {
		if s.NewestSent().IsZero() {
			return "nothing"
		}
		return "something"
	}
	return fmt.Sprintf("downlink: %s arrived, uplink: %s", word(r.down), word(r.up))
}

// travel makes all moves.
func (r *rideRun) travel(ctx context.Context) error {
	stops := r.train.stops()
	killAt := -1
	if r.kill != "" {
		killAt = r.killAt(len(stops))
	}
	r.tell("riding: %d moves, link gone for %v at each, round trips %v to the access router and %v to the home agent",
		r.rideOptions.handovers, r.switching, r.access, r.homeAgent)
	for i := range r.rideOptions.handovers {
		from, to := stops[i%len(stops)], stops[(i+1)%len(stops)]
		moved, err := r.world.Move(nodeRouter, linkUp, to, r.switching, !r.noLinkEvents)
		if err != nil {
			return err
		}
		r.moves = append(r.moves, move{from, to, moved})
		dwell := r.dwell
		if fastLap(i, len(stops)) && i != killAt {
			dwell = r.fast
		}
		if i == killAt {
			err = r.stayAndKill(ctx, moved.Attached, dwell)
		} else {
			err = r.stay(ctx, moved.Attached, dwell)
		}
		if err == nil {
			err = r.crew.check()
		}
		if err != nil {
			return err
		}
		r.progress(i)
	}
	return nil
}

// stay waits at a stop. Where frames are lost, the train waits for the
// connection; where none are, it goes when it is time.
func (r *rideRun) stay(ctx context.Context, since time.Time, dwell time.Duration) error {
	if !sleep(ctx, dwell) {
		return ctx.Err()
	}
	if r.wait || r.disturbed() {
		until(ctx, r.patience, func() bool { return r.connected(since) })
	}
	r.observe(ctx)
	return ctx.Err()
}

// stayAndKill kills a daemon in the middle of a stop and starts it again.
func (r *rideRun) stayAndKill(ctx context.Context, since time.Time, dwell time.Duration) error {
	if err := r.stay(ctx, since, dwell/2); err != nil {
		return err
	}
	for _, d := range r.crew {
		if d.name != r.kill {
			continue
		}
		at := time.Now()
		if err := d.kill(); err != nil {
			return err
		}
		if err := d.start(); err != nil {
			return err
		}
		r.kills = append(r.kills, killed{r.kill, at, len(r.moves) - 1})
		r.tell("        killed and restarted the process of %s", r.kill)
		// What was under way when it was killed may still arrive: count from
		// the new process on.
		restarted := time.Now().Add(r.homeAgent + r.correspondent)
		if until(ctx, r.patience, func() bool { return r.connected(restarted) || r.crew.check() != nil }) {
			r.tell("        connected again after %.0f ms", float64(time.Since(at))/float64(time.Millisecond))
		} else {
			r.tell("        not connected again within %v: riding on", r.patience)
		}
	}
	return r.stay(ctx, time.Now(), dwell/2)
}

// observe collects what the router tells about its moves.
func (r *rideRun) observe(ctx context.Context) {
	for _, d := range r.crew {
		if d.name != nodeRouter {
			continue
		}
		o := d.observer()
		if o == nil {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		list, err := o.Handovers(ctx)
		if err != nil && !r.silent {
			r.tell("        %s does not tell about its handovers: %v", d.name, err)
		}
		r.silent = err != nil
		r.handovers = append(r.handovers, list...)
	}
}

// progress tells about a move that is over, as far as it is known yet.
func (r *rideRun) progress(i int) {
	m := r.moves[i]
	words := func(s *probe.Stream) string {
		if silence, ok := s.Record().Silence(m.Left, m.Left.Add(r.settling()), time.Now()); ok {
			return fmt.Sprintf("%6.1f ms", float64(silence.Length)/float64(time.Millisecond))
		}
		return "not back"
	}
	r.tell("%3d/%d  %-4s → %-4s  downlink interrupted %s, uplink %s", i+1, r.rideOptions.handovers, placeName(m.from), placeName(m.to), words(r.down), words(r.up))
}

// settling is the time after a break within which its silence begins at the
// receivers: what was under way arrives until then.
func (r *rideRun) settling() time.Duration {
	const slack = 25 * time.Millisecond
	return r.homeAgent + r.correspondent + slack
}

// arrive ends the measuring.
func (r *rideRun) arrive(ctx context.Context) probe.Verdict {
	r.tell("arrived; the transfer ends")
	r.ended = time.Now()
	finish, cancel := context.WithTimeout(ctx, r.transferFinish)
	defer cancel()
	verdict := r.transfer.Finish(finish)
	// The last datagrams that count were sent before; let them arrive.
	sleep(ctx, r.settling())
	r.down.Stop()
	r.up.Stop()
	return verdict
}
