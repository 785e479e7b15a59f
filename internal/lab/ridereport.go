package lab

import (
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/relay"
	"roam6/internal/lab/report"
)

// closeTo is within what two clocks of one machine and an event's way to a
// daemon may differ.
const closeTo = 5 * time.Millisecond

// report computes the figures.
func (r *rideRun) report(verdict probe.Verdict, stats relay.Stats) *report.Report {
	result := &report.Report{
		Scenario: "ride",
		Conditions: report.Conditions{
			Switching: report.Millis(r.switching), Access: report.Millis(r.access), HomeAgent: report.Millis(r.homeAgent),
			Interval: report.Millis(r.interval), Loss: float64(r.loss), LinkEvents: !r.noLinkEvents, Seed: r.seed,
		},
		TCP: report.TCP{Bytes: verdict.Down + verdict.Up, BytesDown: verdict.Down, BytesUp: verdict.Up, Intact: verdict.Err == nil},
		Relay: report.Relay{
			Frames: stats.Frames, Discarded: stats.Discarded, RealTime: stats.HasRTClass, MaxLate: report.Millis(stats.Late.Max()),
			MedianLate: report.Millis(stats.Late.Quantile(.5)), P99Late: report.Millis(stats.Late.Quantile(.99)),
		},
	}
	if verdict.Err != nil {
		result.TCP.Error = verdict.Err.Error()
		r.fail("the TCP transfer is not intact: %v", verdict.Err)
	}
	r.judge(verdict)
	down, up := r.down.Record(), r.up.Record()
	for i := range r.moves {
		h := r.handover(i, down, up)
		if !h.Completed {
			r.fail("handover %d, %s → %s, did not complete", i+1, h.From, h.To)
		}
		result.Handovers = append(result.Handovers, h)
	}
	for _, k := range r.kills {
		result.Kills = append(result.Kills, r.killed(k, down, up))
	}
	if len(r.moves) > 0 {
		start := r.moves[0].Left.Add(-r.settling())
		d, u := down.Count(start, r.ended), up.Count(start, r.ended)
		s := &result.Summary
		s.SentDown, s.SentUp, s.LostDown, s.LostUp = d.Sent, u.Sent, d.Lost, u.Lost
		s.Duplicates, s.Reordered = d.Duplicate+u.Duplicate, d.Reordered+u.Reordered
	}
	result.Summary.Strays = stats.Refused
	result.Summarise()
	result.Failures = r.failures
	return result
}

// judge looks whether the transfer kept its pace where nothing but the moves
// disturbs it. One that crawls is intact too: the sign of packets that are too
// big for the tunnel, and of a sender who is not told.
func (r *rideRun) judge(v probe.Verdict) {
	if v.Err != nil || r.disturbed() || len(r.kills) > 0 || len(r.moves) == 0 {
		return
	}
	paced := int64(float64(r.rate) / 8 * r.ended.Sub(r.moves[0].Left).Seconds())
	for _, d := range []struct {
		name   string
		octets int64
	}{{"downlink", v.Down}, {"uplink", v.Up}} {
		if d.octets < paced/2 {
			r.fail("the %s of the TCP transfer did not keep its pace: %d octets of %d", d.name, d.octets, paced)
		}
	}
}

// disturbed reports whether the links do more than delay.
func (r *rideRun) disturbed() bool { return r.loss > 0 || r.duplicate > 0 || r.reorder > 0 }

// end is when the measuring of a move ends: with the next move, or when a
// process is killed.
func (r *rideRun) end(i int) time.Time {
	for _, k := range r.kills {
		if k.move == i {
			return k.at
		}
	}
	return r.next(i)
}

// next is when the move after i began.
func (r *rideRun) next(i int) time.Time {
	if i+1 < len(r.moves) {
		return r.moves[i+1].Left
	}
	return r.ended
}

// downlinkFlight is how long a datagram from the correspondent takes to a
// router that is at a stop. All go through the home agent.
func (r *rideRun) downlinkFlight(stop string) time.Duration {
	toHomeAgent := (r.correspondent + r.homeAgent - r.access) / 2
	return toHomeAgent + r.train.place(stop).HomeAgent/2
}

func (r *rideRun) handover(i int, down, up probe.Record) report.Handover {
	m, end := r.moves[i], r.end(i)
	h := report.Handover{
		From: placeName(m.from), To: placeName(m.to), Switching: report.Millis(m.Attached.Sub(m.Left)),
		Down: report.None(), Up: report.None(), Phases: report.NoPhases(),
	}
	limitDown, limitUp := report.Limits(m.Attached.Sub(m.Left), r.train.place(m.from), r.train.place(m.to))
	h.LimitDown, h.LimitUp = report.Millis(limitDown), report.Millis(limitUp)
	silentDown, okDown := down.Silence(m.Left, m.Left.Add(r.settling()), end)
	silentUp, okUp := up.Silence(m.Left, m.Left.Add(r.settling()), end)
	if okDown {
		h.Down = report.Millis(r.interruption(silentDown, m))
	}
	if okUp {
		h.Up = report.Millis(r.interruption(silentUp, m))
	}
	h.Completed = okDown && okUp
	// What the break loses was sent up to the flight time before it; the same
	// before the next one is that one's.
	early, late := r.downlinkFlight(m.from)+closeTo, r.downlinkFlight(m.to)+closeTo
	h.LostDown = down.Count(m.Left.Add(-early), end.Add(-late)).Lost
	h.LostUp = up.Count(m.Left.Add(-closeTo), end.Add(-closeTo)).Lost
	for _, told := range r.handovers {
		at := told.Start
		if at.Before(m.Left.Add(-closeTo)) || !at.Before(end.Add(-closeTo)) {
			continue
		}
		if told.Acknowledged.IsZero() && h.Phases.Acknowledged.Known() {
			continue
		}
		since := func(t time.Time) report.Milliseconds {
			if t.IsZero() {
				return report.None()
			}
			return report.Millis(t.Sub(m.Attached))
		}
		h.Phases = report.Phases{
			LinkUp: since(told.LinkUp), Solicited: since(told.Solicited), Advertised: since(told.Advertised),
			CareOf: since(told.CareOf), Updated: since(told.Updated), Acknowledged: since(told.Acknowledged),
		}
		h.Trigger, h.Updates = told.Trigger.String(), told.Updates
	}
	return h
}

// interruption is the part of a silence that a move is to blame for. One that
// began long before the move counts from the move on.
func (r *rideRun) interruption(s probe.Silence, m move) time.Duration {
	if s.Last.Before(m.Left.Add(-r.settling())) {
		return s.First.Sub(m.Left)
	}
	return s.Length
}

// killed measures the recovery from a kill, which may take until after later
// moves.
func (r *rideRun) killed(k killed, down, up probe.Record) report.Kill {
	result := report.Kill{Role: k.role, RecoveredDown: report.None(), RecoveredUp: report.None()}
	until := k.at.Add(r.settling())
	if s, ok := down.Silence(k.at, until, r.ended); ok {
		result.RecoveredDown = report.Millis(s.First.Sub(k.at))
	}
	if s, ok := up.Silence(k.at, until, r.ended); ok {
		result.RecoveredUp = report.Millis(s.First.Sub(k.at))
	}
	if !result.RecoveredDown.Known() || !result.RecoveredUp.Known() {
		r.fail("the ride did not recover from killing the process of %s", k.role)
	}
	next := r.next(k.move)
	result.LostDown = down.Count(k.at.Add(-r.downlinkFlight(r.moves[k.move].to)-closeTo), next.Add(-r.settling())).Lost
	result.LostUp = up.Count(k.at.Add(-closeTo), next.Add(-closeTo)).Lost
	return result
}
