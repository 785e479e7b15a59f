package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/world"
)

// rideRun is a ride under way.
type rideRun struct {
	rideOptions
	train    train
	down, up *probe.Stream

	moves []move
	kills []killed
	ended time.Time // of measuring
}

type killed struct {
	role string
	at   time.Time
	move int // during which stop
}

func (r *rideRun) set() (world.Topology, uint64) { return r.train.topology(), r.seed }

func (r *rideRun) place(s *stage) error {
	_, err := s.world.Move(nodeRouter, linkUp, nodeHomeAgent, 0, true)
	return err
}

func (r *rideRun) cast() []part { return r.train.cast(r.homeAgentDAD) }

func (r *rideRun) elsewhere(node string) []string {
	if node == nodeRouter {
		return strings.Fields(r.router)
	}
	return nil
}

// act rides and measures.
func (r *rideRun) act(ctx context.Context, s *stage) error {
	if err := r.depart(ctx, s); err != nil {
		return err
	}
	if err := r.travel(ctx, s); err != nil {
		return err
	}
	s.tell("arrived; the transfer ends")
	r.ended = time.Now()
	if err := r.registeredWhereItIs(ctx, s); err != nil {
		return err
	}
	s.finish(ctx, r.transferFinish, r.settling())
	return nil
}

// depart starts the measuring at home, and waits until the node behind the
// router and the correspondent hear each other.
func (r *rideRun) depart(ctx context.Context, s *stage) error {
	const limit, calm = 15 * time.Second, 300 * time.Millisecond
	const port, transferPort = 9001, 9002
	s.tell("waiting until %s and %s hear each other", nodeCorrespondent, nodeBehind)
	var err error
	if r.down, err = s.stream(nodeCorrespondent, nodeBehind, r.train.behind(), port, r.interval); err != nil {
		return err
	}
	if r.up, err = s.stream(nodeBehind, nodeCorrespondent, r.train.correspondentAt(), port, r.interval); err != nil {
		return err
	}
	if err := s.hear(ctx, limit, r.down, r.up); err != nil {
		return fmt.Errorf("at home, %s and %s do not hear each other: %w (%s)", nodeCorrespondent, nodeBehind, err, heard(r.down, r.up))
	}
	if err := s.connect(ctx, nodeCorrespondent, nodeBehind, r.train.behind(), transferPort, r.rate, r.seed); err != nil {
		return err
	}
	if !sleep(ctx, calm) {
		return ctx.Err()
	}
	return nil
}

// heard tells about two streams that are to work.
func heard(down, up *probe.Stream) string {
	word := func(s *probe.Stream) string {
		if s.NewestSent().IsZero() {
			return "nothing"
		}
		return "something"
	}
	return fmt.Sprintf("downlink: %s arrived, uplink: %s", word(down), word(up))
}

// travel makes all moves.
func (r *rideRun) travel(ctx context.Context, s *stage) error {
	stops := r.train.stops()
	killAt := -1
	if r.kill != "" {
		killAt = r.killAt(len(stops))
	}
	s.tell("riding: %d moves, link gone for %v at each, round trips %v to the access router and %v to the home agent",
		r.handovers, r.switching, r.access, r.homeAgent)
	for i := range r.handovers {
		from, to := stops[i%len(stops)], stops[(i+1)%len(stops)]
		moved, err := s.world.Move(nodeRouter, linkUp, to, r.switching, !r.noLinkEvents)
		if err != nil {
			return err
		}
		r.moves = append(r.moves, move{from: from, to: to, Switch: moved})
		dwell := r.dwell
		if fastLap(i, len(stops)) && i != killAt {
			dwell = r.fast
		}
		if i == killAt {
			err = r.stayAndKill(ctx, s, moved.Attached, dwell)
		} else {
			err = r.stay(ctx, s, moved.Attached, dwell)
		}
		if err == nil {
			err = s.crew.check()
		}
		if err != nil {
			return err
		}
		s.progress(i, r.handovers, r.moves[i], r.settling(), r.down, r.up)
	}
	return nil
}

// stay waits at a stop. Where frames are lost, the train waits for the
// connection; where none are, it goes when it is time.
func (r *rideRun) stay(ctx context.Context, s *stage, since time.Time, dwell time.Duration) error {
	if !sleep(ctx, dwell) {
		return ctx.Err()
	}
	if r.wait || r.disturbed() {
		until(ctx, r.patience, func() bool { return connected(since, r.down, r.up) })
	}
	s.observe(ctx, nodeRouter)
	return ctx.Err()
}

// stayAndKill kills a daemon in the middle of a stop and starts it again.
func (r *rideRun) stayAndKill(ctx context.Context, s *stage, since time.Time, dwell time.Duration) error {
	if err := r.stay(ctx, s, since, dwell/2); err != nil {
		return err
	}
	d, at := s.daemon(r.kill), time.Now()
	if err := d.kill(); err != nil {
		return err
	}
	if err := d.start(); err != nil {
		return err
	}
	r.kills = append(r.kills, killed{r.kill, at, len(r.moves) - 1})
	s.tell("        killed and restarted the process of %s", r.kill)
	// What was under way when it was killed may still arrive: count from
	// the new process on.
	restarted := time.Now().Add(r.homeAgent + r.correspondent)
	if until(ctx, r.patience, func() bool { return connected(restarted, r.down, r.up) || s.crew.check() != nil }) {
		s.tell("        connected again after %.0f ms", float64(time.Since(at))/float64(time.Millisecond))
	} else {
		s.tell("        not connected again within %v: riding on", r.patience)
	}
	return r.stay(ctx, s, time.Now(), dwell/2)
}

// progress tells about a move that is over, as far as it is known yet.
func (s *stage) progress(i, n int, m move, settling time.Duration, down, up *probe.Stream) {
	words := func(s *probe.Stream) string {
		if silence, ok := s.Record().Silence(m.Left, m.Left.Add(settling), time.Now()); ok {
			return fmt.Sprintf("%6.1f ms", float64(silence.Length)/float64(time.Millisecond))
		}
		return "not back"
	}
	s.tell("%3d/%d  %-4s → %-4s  downlink interrupted %s, uplink %s", i+1, n, placeName(m.from), placeName(m.to), words(down), words(up))
}

// settling is the time after a break within which its silence begins at the
// receivers: what was under way arrives until then.
func (r *rideRun) settling() time.Duration { return r.homeAgent + r.correspondent + slack }

// slack is what a busy machine may add to a travelling time.
const slack = 25 * time.Millisecond
