package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
)

// How near a round trip has to be to what physics leaves, and how many in a
// row tell that it is so: a busy machine delays single datagrams.
const (
	tripRatio = 1.1
	tripMore  = 3 * time.Millisecond
	tripRow   = 5
)

// directTrip is the longest round trip that is about the one expected.
func directTrip(expected time.Duration) time.Duration {
	return time.Duration(tripRatio*float64(expected)) + tripMore
}

// report computes the figures.
func (r *hostRun) report(s *stage) *report.Report {
	result := &report.Report{
		Scenario: "host", Untimed: r.untimed,
		Conditions: report.Conditions{
			Switching: report.Millis(r.switching), Access: report.Millis(r.access), HomeAgent: report.Millis(r.homeAgent),
			Correspondent: report.Millis(r.correspondent), Interval: report.Millis(r.interval), LinkEvents: true, Seed: r.seed,
		},
		TCP:    s.tcp(),
		Legend: r.legend(),
	}
	down, up, echo := r.down.Record(), r.up.Record(), r.echo.Record()
	course := r.course(s.told[nodeMobile])
	for i, m := range r.moves {
		h := course.handover(i, down, up)
		if r.optimise() && !r.untimed {
			measureDirect(&h, m, course.end(i), echo, r.ways(m.to).Direct, r.expected(m).Direct)
		}
		if !h.Completed {
			result.Fail("handover %d, %s → %s, did not complete", i+1, h.From, h.To)
		}
		result.Handovers = append(result.Handovers, h)
	}
	r.roundTrips(result, echo)
	r.firstPacket(result)
	r.addresses(result, s)
	if r.exchange != nil {
		r.exchange.report(result, s)
	}
	if r.clear != nil {
		r.clear.report(result)
	}
	if len(r.moves) > 0 {
		result.Summary.Count(r.moves[0].Left.Add(-r.settling()), r.ended, down, up)
	}
	return result
}

func (r *hostRun) legend() []string {
	lines := []string{fmt.Sprintf("Milliseconds. Round trips: A %.1f to the access router, H %.1f to the home agent, C %.1f to the correspondent, T %.1f to it through the home agent.",
		millis(r.access), millis(r.homeAgent), millis(r.correspondent), millis(r.detour()))}
	if !r.optimise() {
		return append(lines, "Routes are not optimised. Limits: downlink L2 + A + H; uplink L2 + A and half of the difference of the ways.")
	}
	return append(lines,
		"Limits: downlink L2 + A + 2 C, leaving home L2 + A + H; uplink L2 + A + min(T/2, 3/2 C), less half of the way before.",
		"Direct: until the round trip is the direct one: A + C after the link, leaving home A + T.")
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// measureDirect finds out from when on the round trip is the direct one. A move
// without it is not completed.
func measureDirect(h *report.Handover, m move, end time.Time, echo probe.Record, trip, limit time.Duration) {
	direct, least := report.None(), report.Millis(limit)
	if first, ok := echo.Since(m.Attached, end, directTrip(trip), tripRow); ok {
		direct = report.Millis(first.Sent.Sub(m.Attached))
	} else {
		h.Completed = false
	}
	h.Direct, h.LimitDirect = &direct, &least
}

// roundTrips are those that the applications have at home and away.
func (r *hostRun) roundTrips(result *report.Report, echo probe.Record) {
	var home, away, tcp []report.Milliseconds
	for i, m := range r.moves {
		end := next(r.moves, i, r.ended)
		// The second half of a stop is calm.
		trip := echo.Delay(m.Attached.Add(end.Sub(m.Attached)/2), end.Add(-r.detour()-r.switching))
		switch {
		case trip == 0:
			result.Fail("nothing returned in the second half of the stop at %s", placeName(m.to))
		case m.to == nodeHomeAgent:
			home = append(home, report.Millis(trip))
		default:
			away = append(away, report.Millis(trip))
			tcp = append(tcp, r.trips[i])
		}
	}
	if len(home) > 0 {
		result.Add(report.Time("round_trip_home_ms", "round trip at home", median(home), report.Millis(r.fromHome())).Within(tripRatio, report.Millis(tripMore)))
	}
	name, text, way := "round_trip_direct_ms", "round trip away, direct", r.correspondent
	if !r.optimise() {
		name, text, way = "round_trip_tunnel_ms", "round trip away, through the home agent", r.detour()
	}
	result.Add(report.Time(name, text, median(away), report.Millis(way)).Within(tripRatio, report.Millis(tripMore)))
	// TCP acknowledges with what it sends next, or some time later.
	const acknowledge = 45
	result.Add(report.Time("tcp_round_trip_ms", "round trip away, as TCP sees it", median(tcp), report.Millis(way)).Within(1, acknowledge))
}

func median(values []report.Milliseconds) report.Milliseconds {
	if len(values) == 0 {
		return report.None()
	}
	v := slices.Sorted(slices.Values(values))
	return v[len(v)/2]
}

// firstPacket tells how the talk with a new correspondent began.
func (r *hostRun) firstPacket(result *report.Report) {
	if r.fresh == nil || !r.optimise() {
		return
	}
	ways := r.ways(r.moves[0].to)
	record := r.fresh.Record()
	tunnel, optimised := report.None(), report.None()
	if first, ok := record.Since(r.freshAt, r.ended, time.Hour, 1); ok {
		tunnel = report.Millis(first.Taken)
	}
	if first, ok := record.Since(r.freshAt, r.ended, directTrip(ways.Direct), tripRow); ok {
		optimised = report.Millis(first.Sent.Sub(r.freshAt))
	}
	result.Add(report.Time("first_round_trip_ms", "first round trip to a new correspondent", tunnel, report.Millis(ways.Tunnel)).Within(tripRatio, 20))
	result.Add(report.Time("optimised_after_ms", "from its first packet until the direct way is used", optimised, report.Millis(report.FirstPacket(ways))).Within(1.5, 100))
}

// addresses: applications at both ends see the home address and the
// correspondent's, and no other.
func (r *hostRun) addresses(result *report.Report, s *stage) {
	allowed := []netip.Addr{r.site().mobile().Addr(), correspondentAddress(), r.another()}
	result.Add(s.foreign(allowed))
}
