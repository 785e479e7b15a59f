package lab

import (
	"fmt"
	"slices"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
)

// report computes the figures.
func (r *renumberRun) report(s *stage) *report.Report {
	result := &report.Report{
		Scenario: "renumber",
		Conditions: report.Conditions{
			Switching: report.Millis(r.switching), Access: report.Millis(r.access), HomeAgent: report.Millis(r.homeAgent),
			Interval: report.Millis(r.interval), LinkEvents: true, Seed: r.seed,
		},
		TCP: s.tcp(),
		Legend: []string{
			fmt.Sprintf("Milliseconds. Round trips: A %.1f to the access router, H %.1f to the home agent. Limits: downlink L2 + A + H; uplink L2 + A, and half", millis(r.access), millis(r.homeAgent)),
			"of the difference when the home agent gets farther. Between the moves the home link gets a new prefix; after them the old one is given up.",
		},
	}
	oldDown, oldUp := r.old.down.Record(), r.old.up.Record()
	newDown, newUp := r.new.down.Record(), r.new.up.Record()
	for i, m := range r.moves {
		result.Handovers = append(result.Handovers, r.handover(s, i, "old", oldDown, oldUp))
		if m.Left.After(r.learned) {
			result.Handovers = append(result.Handovers, r.handover(s, i, "new", newDown, newUp))
		}
	}
	for i, h := range result.Handovers {
		if !h.Completed {
			result.Fail("handover %d, %s → %s of the %s address, did not complete", i+1, h.From, h.To, h.Mobile)
		}
	}
	r.prefixes(result, oldDown, oldUp, newDown, newUp)
	if len(r.moves) > 0 {
		result.Summary.Count(r.moves[0].Left.Add(-r.settling()), r.deprecated, oldDown, oldUp)
	}
	return result
}

// handover measures a move for one of the two home addresses.
func (r *renumberRun) handover(s *stage, i int, name string, down, up probe.Record) report.Handover {
	c := course{
		moves: r.moves, told: s.told[nodeMobile], settling: r.settling(),
		end: func(i int) time.Time {
			if i == 0 {
				return r.added
			}
			return r.deprecated
		},
		flight: func(string) time.Duration { return r.homeAgent },
		limits: func(m move) (down, up time.Duration) {
			return report.Limits(m.Attached.Sub(m.Left), r.placeOf(m.from), r.placeOf(m.to))
		},
	}
	h := c.handover(i, down, up)
	h.Mobile = name
	return h
}

// prefixes is what became of the two prefixes.
func (r *renumberRun) prefixes(result *report.Report, oldDown, oldUp, newDown, newUp probe.Record) {
	// The home agent waits, then tells (H/2); the mobile node asks and hears (H),
	// and its binding update brings the first packet (H).
	least := prefixInterval + r.homeAgent/2 + 2*r.homeAgent
	result.Add(report.Time("new_address_after_ms", "from the new prefix until the new home address works", report.Millis(r.learned.Sub(r.added)), report.Millis(least)).AtMost(report.Millis(r.patience)))
	lost := func(from, to time.Time, records ...probe.Record) (n int) {
		for _, record := range records {
			n += record.Count(from, to.Add(-r.homeAgent)).Lost
		}
		return n
	}
	result.Add(report.Packets("lost_old_deprecated", "old address: lost while its prefix is deprecated", lost(r.deprecated, r.expired.Add(-time.Second), oldDown, oldUp)).AtMost(0))
	result.Add(report.Packets("lost_new", "new address: lost while the old prefix goes", lost(r.deprecated, r.ended, newDown, newUp)).AtMost(0))
	// The home agent's timers are its own.
	const grace = time.Second
	late := 0
	for _, a := range slices.Concat(oldDown.Arrivals, oldUp.Arrivals) {
		if time.Unix(0, a.At).After(r.expired.Add(grace)) {
			late++
		}
	}
	result.Add(report.Packets("old_after_end", "old address: packets a second and more after the prefix was withdrawn", late).AtMost(0))
	stale := 0
	if slices.Contains(r.echo.Peers(), r.oldAddress()) {
		stale = 1
	}
	result.Add(report.Number("new_from_old", "conversations begun from the old address after it was deprecated", "conversations", stale).AtMost(0))
}
