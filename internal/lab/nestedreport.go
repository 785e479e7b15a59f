package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/relay"
	"roam6/internal/lab/report"
)

// report computes the figures.
func (r *nestedRun) report(s *stage) *report.Report {
	result := &report.Report{
		Scenario: "nested",
		Conditions: report.Conditions{
			Switching: report.Millis(r.switching), Access: report.Millis(r.access), HomeAgent: report.Millis(r.homeAgent),
			Interval: report.Millis(r.interval), LinkEvents: true, Seed: r.seed,
		},
		TCP: s.tcp(),
		Legend: []string{
			fmt.Sprintf("Milliseconds. Round trips: A %.1f to the router of a link, H %.1f from the train to its home agent; from the car to its own home agent",
				millis(r.access), millis(r.homeAgent)),
			fmt.Sprintf("%.1f at an access router and %.1f aboard the train, from the mobile node to its own %.1f and %.1f.",
				millis(r.placeOf(nodeCar, nestedState{car: "ar1"}).HomeAgent), millis(r.placeOf(nodeCar, aboardAway()).HomeAgent),
				millis(r.placeOf(nodeMobile, nestedState{mobile: "ar1"}).HomeAgent), millis(r.placeOf(nodeMobile, aboardAway()).HomeAgent)),
			"Limits: downlink L2 + A + H, with the H of who moves; uplink L2 + A, and half of the difference when the home agent gets nearer or farther.",
		},
	}
	records := map[*probe.Stream]probe.Record{}
	for _, stream := range r.streams() {
		records[stream] = stream.Record()
	}
	for i, m := range r.moves {
		for _, e := range r.affected(m) {
			h := r.handover(s, m, e, records[e.down], records[e.up])
			if !h.Completed {
				result.Fail("move %d, %s %s → %s: %s was not reached again", i+1, h.Mobile, h.From, h.To, e.node)
			}
			result.Handovers = append(result.Handovers, h)
		}
	}
	r.unnoticed(result, s, records)
	r.trips(result, records)
	pathFigures(result, r.paths)
	r.chased(result)
	r.strays(result, s)
	allowed := []netip.Addr{correspondentAddress()}
	for _, e := range r.ends {
		allowed = append(allowed, e.address)
	}
	result.Add(s.foreign(allowed))
	if len(r.moves) > 0 {
		inner := r.ends[0]
		result.Summary.Count(r.moves[0].Left.Add(-r.settling()), r.ended, records[inner.down], records[inner.up])
	}
	return result
}

// aboardAway is the train away with all aboard.
func aboardAway() nestedState {
	return nestedState{train: accessRouterName(1), car: nodeRouter, mobile: nodeRouter}
}

// handover measures a move in the streams of an end.
func (r *nestedRun) handover(s *stage, m nestedMove, e *far, down, up probe.Record) report.Handover {
	c := course{
		moves: []move{m.move}, told: s.told[m.mover], settling: r.settling(),
		end:    func(int) time.Time { return m.end },
		flight: func(string) time.Duration { return r.roundTrip(e.mover, aboardAway()) / 2 },
		limits: func(move) (down, up time.Duration) {
			return report.Limits(m.Attached.Sub(m.Left), r.placeOf(m.mover, m.before), r.placeOf(m.mover, m.after))
		},
	}
	h := c.handover(0, down, up)
	h.Mobile, h.Kind = m.mover, "to "+e.node
	if m.mover != nodeRouter {
		// Home is the train's; theirs is never visited.
		h.From, h.To = aboardName(h.From), aboardName(h.To)
	}
	return h
}

// aboardName is what people call a stop of those who ride.
func aboardName(stop string) string {
	if stop == nodeRouter {
		return "train"
	}
	return stop
}

// unnoticed: the moves of one are not those of another. Who is aboard has no
// handover when the train has one, and who is not concerned loses nothing.
func (r *nestedRun) unnoticed(result *report.Report, s *stage, records map[*probe.Stream]probe.Record) {
	noticed, lost := map[string]bool{}, 0
	for _, m := range r.moves {
		for _, mover := range []string{nodeRouter, nodeCar, nodeMobile} {
			if mover == m.mover {
				continue
			}
			for _, h := range s.told[mover] {
				if !h.Start.Before(m.Left) && h.Start.Before(m.end) {
					noticed[fmt.Sprint(mover, h.Start)] = true
				}
			}
		}
		concerned := r.affected(m)
		for _, e := range r.ends {
			if slices.Contains(concerned, e) {
				continue
			}
			from, to := m.Left, m.end.Add(-r.settling())
			lost += records[e.down].Count(from, to).Lost + records[e.up].Count(from, to).Lost
		}
	}
	result.Add(report.Number("handovers_of_others", "handovers of those who did not move themselves", "handovers", len(noticed)).AtMost(0))
	result.Add(report.Packets("lost_of_others", "lost by those whom a move does not concern", lost).AtMost(0))
}

// trips are the round trips through two tunnels.
func (r *nestedRun) trips(result *report.Report, records map[*probe.Stream]probe.Record) {
	for _, e := range r.ends {
		var all []report.Milliseconds
		for _, p := range r.calm {
			if trip := records[e.echo].Delay(p.from, p.to); trip > 0 {
				all = append(all, report.Millis(trip))
			}
		}
		name := "round_trip_" + e.node + "_ms"
		text := "round trip to " + e.node + ", through two tunnels"
		result.Add(report.Time(name, text, median(all), report.Millis(r.roundTrip(e.mover, aboardAway()))).Within(tripRatio, report.Millis(tripMore)))
	}
}

// chased is what became of packets while train and car were behind each other.
func (r *nestedRun) chased(result *report.Report) {
	// With no limit each datagram would go round until its hop limit ends, some
	// hundred times. With one it takes some links to the loop, twice seven links
	// of it, and as many ICMPv6 errors take it apart.
	const most = 40
	for _, l := range r.loops {
		if l.sent > 0 {
			result.Add(report.Number("loop_frames_each", "frames for each datagram while train and car were behind each other", "frames", int(l.frames)/l.sent).AtMost(most))
		}
		result.Add(report.Time("loop_left_after_ms", "from the train's new link out of that until all hear each other", report.Millis(l.back.Sub(l.left)),
			report.Millis(r.access+r.homeAgent)))
	}
}

// strays are packets that a network refused. There are always some from the
// care-of address that was just left; any other source does not belong where it
// was seen.
func (r *nestedRun) strays(result *report.Report, s *stage) {
	var foreign []string
	n := uint64(0)
	for refused, count := range s.stats.Refusals {
		node, _, _ := strings.Cut(refused.From, "/")
		if !r.mayHave(node, refused.Source) {
			n += count
			foreign = append(foreign, describe(refused, count))
		}
	}
	slices.Sort(foreign)
	for _, f := range foreign {
		result.Fail("packets left with a source that does not belong there: %s", f)
	}
	result.Add(report.Packets("foreign_sources", "sent to a network with a source that was never an address there", int(n)).AtMost(0))
}

// describe is for people.
func describe(refused relay.Refusal, count uint64) string {
	return fmt.Sprintf("%d from %v, from %s to %s", count, refused.Source, refused.From, refused.To)
}

// mayHave reports whether an address may be a care-of address of a node: of an
// access link, or of the network that it rides in.
func (r *nestedRun) mayHave(node string, a netip.Addr) bool {
	visited := []netip.Prefix{trainNetwork}
	if node == nodeRouter {
		visited = []netip.Prefix{visitorsNetwork}
	}
	for i := range nestedAccessRouters {
		visited = append(visited, accessAddress(i+1).Masked())
	}
	return slices.ContainsFunc(visited, func(p netip.Prefix) bool { return p.Contains(a) })
}
