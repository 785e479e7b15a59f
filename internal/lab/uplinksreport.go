package lab

import (
	"fmt"
	"net/netip"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
)

// report computes the figures.
func (r *uplinksRun) report(s *stage) *report.Report {
	result := &report.Report{
		Scenario: "uplinks",
		Conditions: report.Conditions{
			Access: report.Millis(r.access), HomeAgent: report.Millis(r.agentTrip(uplinkEth)),
			Interval: report.Millis(r.interval), LinkEvents: true, Seed: r.seed,
		},
		TCP: s.tcp(),
		Legend: []string{
			fmt.Sprintf("Milliseconds. Round trips to the home agent H: %.1f by eth, %.1f by wlan, %.1f by wwan.",
				millis(r.agentTrip(uplinkEth)), millis(r.agentTrip(uplinkWLAN)), millis(r.agentTrip(uplinkWWAN))),
			"Limits: where the old link works until the new one is used (make first), nothing; otherwise downlink H of the new link, uplink half of the",
			"difference of the two, counted from the break. A link that falls silent is noticed by the advertisements that are missing.",
		},
	}
	down, up := r.down.Record(), r.up.Record()
	for i, m := range r.moves {
		h := r.handover(s, m, down, up)
		if !h.Completed {
			result.Fail("hand-off %d, %s → %s, did not complete", i+1, h.From, h.To)
		}
		result.Handovers = append(result.Handovers, h)
	}
	r.losses(result)
	r.waiting(result)
	r.restlessness(result, s, down, up)
	result.Add(s.foreign([]netip.Addr{r.address(), correspondentAddress()}))
	if len(r.moves) > 0 {
		result.Summary.Count(r.moves[0].Left.Add(-r.underWay()), r.ended, down, up)
	}
	return result
}

// handover measures a hand-off.
func (r *uplinksRun) handover(s *stage, m uplinkMove, down, up probe.Record) report.Handover {
	c := course{
		moves: []move{m.move}, told: s.told[nodeMobile], settling: r.window(m),
		end:    func(int) time.Time { return m.end },
		flight: func(uplink string) time.Duration { return r.agentTrip(uplink)/2 + r.homeAgent/2 },
		limits: func(move) (down, up time.Duration) {
			if m.what.makes() {
				return 0, 0
			}
			return r.agentTrip(m.to), max(0, (r.agentTrip(m.to)-r.agentTrip(m.from))/2)
		},
	}
	h := c.handover(0, down, up)
	h.Kind = m.what.kind()
	if s.observer(nodeMobile) != nil && m.settled.IsZero() {
		h.Completed = false
	}
	return h
}

// losses: what is lost where the old link works, and how long a dead one is
// used.
func (r *uplinksRun) losses(result *report.Report) {
	lost, silent := 0, report.None()
	for i, m := range r.moves {
		h := result.Handovers[i]
		switch {
		case m.what.makes():
			lost += h.LostDown + h.LostUp
		case m.what == fallsSilent && h.Down.Known():
			over := h.Down - h.LimitDown
			if !silent.Known() || over > silent {
				silent = over
			}
		}
	}
	result.Add(report.Packets("lost_make_first", "lost where the old link works until the new one is used", lost).AtMost(0))
	// Three advertisements and two questions to the router.
	const noticed = 500
	result.Add(report.Time("silence_noticed_ms", "until a link that fell silent is left, beyond its limit", silent, report.None()).AtMost(noticed))
}

// waiting is how long a better link is left unused.
func (r *uplinksRun) waiting(result *report.Report) {
	var all []report.Milliseconds
	for _, m := range r.moves {
		if m.what.makes() && !m.settled.IsZero() {
			all = append(all, report.Millis(m.settled.Sub(m.Left)))
		}
	}
	if len(all) > 0 {
		result.Add(report.Time("better_used_after_ms", "from a better link's return until it is registered", median(all), report.Millis(r.hysteresis)).Within(1, 400))
	}
}

// restlessness: nothing happens while a better link comes and goes.
func (r *uplinksRun) restlessness(result *report.Report, s *stage, down, up probe.Record) {
	if r.flaps == 0 {
		return
	}
	lost, handovers := 0, map[time.Time]bool{}
	for _, p := range r.flapping {
		lost += down.Count(p.from, p.to).Lost + up.Count(p.from, p.to).Lost
		for _, h := range s.told[nodeMobile] {
			if h.Start.After(p.from) && h.Start.Before(p.to) {
				handovers[h.Start] = true
			}
		}
	}
	result.Add(report.Packets("lost_flapping", "lost while a better link comes and goes", lost).AtMost(0))
	result.Add(report.Number("handovers_flapping", "hand-offs while a better link comes and goes", "hand-offs", len(handovers)).AtMost(0))
}
