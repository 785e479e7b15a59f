package lab

import (
	"fmt"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
	"roam6/internal/role"
)

// report computes the figures.
func (r *rideRun) report(s *stage) *report.Report {
	result := &report.Report{
		Scenario: "ride",
		Conditions: report.Conditions{
			Switching: report.Millis(r.switching), Access: report.Millis(r.access), HomeAgent: report.Millis(r.homeAgent),
			Interval: report.Millis(r.interval), Loss: float64(r.loss), LinkEvents: !r.noLinkEvents, Seed: r.seed,
		},
		TCP: s.tcp(),
	}
	result.Legend = []string{
		fmt.Sprintf("Milliseconds. Round trips: A %.1f to the access router, H %.1f to the home agent. Phases from the new link on.",
			float64(result.Conditions.Access), float64(result.Conditions.HomeAgent)),
		"Limits: downlink L2 + A + H; uplink L2 + A, and half of the difference when the home agent gets nearer or farther.",
	}
	r.judge(s.verdict, result)
	down, up := r.down.Record(), r.up.Record()
	course := r.course(s.told[nodeRouter])
	for i := range r.moves {
		h := course.handover(i, down, up)
		if !h.Completed {
			result.Fail("handover %d, %s → %s, did not complete", i+1, h.From, h.To)
		}
		result.Handovers = append(result.Handovers, h)
	}
	for _, k := range r.kills {
		result.Kills = append(result.Kills, r.killed(k, down, up, result))
	}
	if r.router != "" {
		r.machine(s, result)
	}
	if len(r.moves) > 0 {
		result.Summary.Count(r.moves[0].Left.Add(-r.settling()), r.ended, down, up)
	}
	return result
}

// course is how the moves are measured.
func (r *rideRun) course(told []role.Handover) course {
	return course{
		moves: r.moves, told: told, end: r.end, settling: r.settling(), flight: r.downlinkFlight,
		limits: func(m move) (down, up time.Duration) {
			return report.Limits(m.Attached.Sub(m.Left), r.train.place(m.from), r.train.place(m.to))
		},
	}
}

// judge looks whether the transfer kept its pace where nothing but the moves
// disturbs it. One that crawls is intact too: the sign of packets that are too
// big for the tunnel, and of a sender who is not told.
func (r *rideRun) judge(v probe.Verdict, result *report.Report) {
	if v.Err != nil || r.disturbed() || len(r.kills) > 0 || len(r.moves) == 0 {
		return
	}
	paced := int64(float64(r.rate) / 8 * r.ended.Sub(r.moves[0].Left).Seconds())
	for _, d := range []struct {
		name   string
		octets int64
	}{{"downlink", v.Down}, {"uplink", v.Up}} {
		if d.octets < paced/2 {
			result.Fail("the %s of the TCP transfer did not keep its pace: %d octets of %d", d.name, d.octets, paced)
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
	return next(r.moves, i, r.ended)
}

// downlinkFlight is how long a datagram from the correspondent takes to a
// router that is at a stop. All go through the home agent.
func (r *rideRun) downlinkFlight(stop string) time.Duration {
	toHomeAgent := (r.correspondent + r.homeAgent - r.access) / 2
	return toHomeAgent + r.train.place(stop).HomeAgent/2
}

// killed measures the recovery from a kill, which may take until after later
// moves.
func (r *rideRun) killed(k killed, down, up probe.Record, into *report.Report) report.Kill {
	result := report.Kill{Role: k.role, RecoveredDown: report.None(), RecoveredUp: report.None()}
	until := k.at.Add(r.settling())
	if s, ok := down.Silence(k.at, until, r.ended); ok {
		result.RecoveredDown = report.Millis(s.First.Sub(k.at))
	}
	if s, ok := up.Silence(k.at, until, r.ended); ok {
		result.RecoveredUp = report.Millis(s.First.Sub(k.at))
	}
	if !result.RecoveredDown.Known() || !result.RecoveredUp.Known() {
		into.Fail("the ride did not recover from killing the process of %s", k.role)
	}
	next := next(r.moves, k.move, r.ended)
	result.LostDown = down.Count(k.at.Add(-r.downlinkFlight(r.moves[k.move].to)-closeTo), next.Add(-r.settling())).Lost
	result.LostUp = up.Count(k.at.Add(-closeTo), next.Add(-closeTo)).Lost
	return result
}
