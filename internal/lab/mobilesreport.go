package lab

import (
	"fmt"
	"net/netip"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
)

// report computes the figures.
func (r *mobilesRun) report(s *stage) *report.Report {
	result := &report.Report{
		Scenario: "mobiles",
		Conditions: report.Conditions{
			Switching: report.Millis(r.switching), Access: report.Millis(r.access), HomeAgent: report.Millis(r.homeAgent),
			Correspondent: report.Millis(r.direct), Interval: report.Millis(r.interval), LinkEvents: true, Seed: r.seed,
		},
		TCP:    s.tcp(),
		Legend: r.legend(),
	}
	towards := [2]probe.Record{r.towards[0].Record(), r.towards[1].Record()}
	echo := r.echo.Record()
	var away []report.Milliseconds
	for i, m := range r.moves {
		e := r.expected(m)
		c := course{
			moves: []move{m.move}, told: s.told[mobileNode(m.mobile)], settling: r.settling(),
			end:    func(int) time.Time { return m.end },
			flight: func(stop string) time.Duration { return r.ways(stop, m.peer).Test / 2 },
			limits: func(move) (down, up time.Duration) { return e.Down, e.Up },
		}
		h := c.handover(0, towards[m.mobile], towards[1-m.mobile])
		h.Mobile, h.Kind = mobileNode(m.mobile), "alone"
		if m.together {
			h.Kind = "together"
		}
		trip := r.ways(m.to, m.peer).Direct
		if !r.tunnelled {
			measureDirect(&h, m.move, m.end, echo, trip, e.Direct)
		}
		if !h.Completed {
			result.Fail("handover %d, %s %s → %s, did not complete", i+1, h.Mobile, h.From, h.To)
		}
		result.Handovers = append(result.Handovers, h)
		if !isHome(m.to) && !isHome(m.peer) {
			away = append(away, report.Millis(echo.Delay(m.Attached.Add(m.end.Sub(m.Attached)/2), m.end.Add(-r.settling()))))
		}
	}
	name, text := "round_trip_direct_ms", "round trip when both are away, direct"
	if r.tunnelled {
		name, text = "round_trip_tunnel_ms", "round trip when both are away, through both home agents"
	}
	result.Add(report.Time(name, text, median(away), report.Millis(r.ways("ar1", "ar2").Direct)).Within(tripRatio, report.Millis(tripMore)))
	result.Add(s.foreign([]netip.Addr{r.home(0), r.home(1)}))
	if len(r.moves) > 0 {
		result.Summary.Count(r.moves[0].Left.Add(-r.settling()), r.ended, towards[0], towards[1])
	}
	return result
}

func (r *mobilesRun) legend() []string {
	lines := []string{fmt.Sprintf("Milliseconds. Round trips: A %.1f to the access router, H %.1f to the home agents, C %.1f between the mobile nodes when both are away.",
		millis(r.access), millis(r.homeAgent), millis(r.direct))}
	if r.tunnelled {
		return append(lines, "Routes are not optimised. Limits: downlink L2 + A + H; uplink L2 + A and half of the difference of the ways, and nothing more when both move at once.")
	}
	return append(lines,
		"Limits are those of a correspondent that stays where it is. Of two that move at once one may lose the other's test message,",
		"which is repeated a second later. Direct: from the new link until the round trip is the direct one.")
}

// expected are the limits of a move.
func (r *mobilesRun) expected(m pairMove) report.Expected {
	bound := !r.tunnelled && !isHome(m.from)
	return report.Optimised(m.Attached.Sub(m.Left), r.ways(m.from, m.peer), r.ways(m.to, m.peer), bound)
}
