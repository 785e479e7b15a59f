package lab

import (
	"fmt"
	"slices"

	"roam6/internal/lab/report"
)

// report computes the figures.
func (r *fleetRun) report(s *stage) *report.Report {
	result := &report.Report{
		Scenario: "fleet",
		Conditions: report.Conditions{
			Switching: report.Millis(r.switching), Access: report.Millis(r.access), HomeAgent: report.Millis(r.homeAgent),
			Interval: report.Millis(r.interval), LinkEvents: true, Seed: r.seed,
		},
		TCP:   s.tcp(),
		Brief: true,
		Legend: []string{
			fmt.Sprintf("%d mobile routers, %d access routers, one home agent. Milliseconds; round trips: A %.1f to the access router, H %.1f to the home agent.",
				r.routers, r.places, millis(r.access), millis(r.homeAgent)),
			"Limit of a move: L2 + A + H, the time without a link included. Interruptions are of echoes, and measured to the interval of the probes.",
		},
	}
	var excess, trips []report.Milliseconds
	for i, n := range r.all() {
		record := r.fan.Record(i)
		for j, m := range r.moves[i] {
			h := report.Handover{
				Mobile: n.node(), From: placeName(m.from), To: placeName(m.to), Kind: m.kind(),
				Switching: report.Millis(m.Attached.Sub(m.Left)), Down: report.None(), Up: report.None(),
				LimitUp: report.None(), Phases: report.NoPhases(),
			}
			limit, _ := report.Limits(m.Attached.Sub(m.Left), r.placeOf(m.from), r.placeOf(m.to))
			h.LimitDown = report.Millis(limit)
			c := course{moves: []move{m.move}, told: s.told[n.node()], settling: r.settling()}
			if silence, ok := record.Silence(m.Left, m.Left.Add(r.settling()), r.stay(i, j)); ok {
				h.Completed, h.Down = true, report.Millis(c.interruption(silence, m.move))
				excess = append(excess, h.Down-h.LimitDown)
			}
			h.LostDown = record.Count(m.Left.Add(-r.settling()), r.stay(i, j).Add(-r.settling())).Lost
			c.phases(&h, m.move, r.stay(i, j))
			if p := h.Phases; p.Updated.Known() && p.Acknowledged.Known() {
				trips = append(trips, p.Acknowledged-p.Updated)
			}
			result.Handovers = append(result.Handovers, h)
		}
		count := record.Count(r.began, r.back.Add(-r.settling()))
		result.Summary.SentDown, result.Summary.LostDown = result.Summary.SentDown+count.Sent, result.Summary.LostDown+count.Lost
		result.Summary.Duplicates += count.Duplicate
	}
	if len(result.Handovers) == 0 {
		result.Fail("no router has moved")
	}
	r.figures(result, excess, trips)
	result.Add(report.Number("foreign_addresses", "addresses that answered and were not asked", "addresses", len(r.fan.Strange())).AtMost(0))
	return result
}

func (r *fleetRun) figures(result *report.Report, excess, trips []report.Milliseconds) {
	took := r.ended.Sub(r.began).Seconds()
	result.Add(report.Number("unreachable", "routers not reachable at the end", "routers", r.routers-r.reached).AtMost(0))
	result.Add(report.Time("reachable_after_ms", "until all were, after the end of the ride", report.Millis(r.back.Sub(r.ended)), report.None()))
	result.Add(report.Number("handovers", "handovers", "handovers", len(result.Handovers)))
	result.Add(report.Time("excess_median_ms", "interruption beyond the limit, median", report.Quantile(excess, .5), report.None()))
	result.Add(report.Time("excess_p99_ms", "interruption beyond the limit, 99 %", report.Quantile(excess, .99), report.None()))
	result.Add(report.Time("update_median_ms", "binding update to acknowledgement, median", report.Quantile(trips, .5), report.Millis(r.homeAgent)))
	result.Add(report.Time("update_p99_ms", "binding update to acknowledgement, 99 %", report.Quantile(trips, .99), report.Millis(r.homeAgent)))
	if r.start.known && r.end.known {
		result.Add(report.Number("messages_per_second", "home agent: signalling messages a second, both ways", "messages", int(float64(r.end.messages-r.start.messages)/took)))
	}
	result.Add(report.Time("processor_ms_per_second", "home agent: processor time a second", report.Millis(r.end.processor-r.start.processor)/report.Milliseconds(took), report.None()))
	result.Add(report.Number("memory_kb", "home agent: memory at most", "kB", r.peak))
	slices.Sort(r.memory)
	if len(r.memory) > 0 {
		result.Add(report.Number("router_memory_kb", "router: memory, median", "kB", r.memory[len(r.memory)/2]))
	}
}
