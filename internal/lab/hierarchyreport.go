package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
)

// report computes the figures.
func (r *hierarchyRun) report(s *stage) *report.Report {
	records := map[*probe.Stream]probe.Record{}
	for _, stream := range r.streams() {
		records[stream] = stream.Record()
	}
	return r.compute(s, records)
}

// compute computes the figures from what the streams measured.
func (r *hierarchyRun) compute(s *stage, records map[*probe.Stream]probe.Record) *report.Report {
	result := &report.Report{
		Scenario: "hierarchy",
		Conditions: report.Conditions{
			Switching: report.Millis(r.switching), Access: report.Millis(r.access), HomeAgent: report.Millis(r.homeAgent),
			Anchor: report.Millis(r.anchor), Interval: report.Millis(r.interval), LinkEvents: true, Seed: r.seed,
		},
		TCP:    s.tcp(),
		Legend: r.legend(),
	}
	for i, m := range r.moves {
		e := r.end(m.mover)
		h := r.handover(s, m, records[e.down], records[e.up])
		if !h.Completed {
			result.Fail("move %d, %s %s → %s: %s was not reached again", i+1, h.Mobile, h.From, h.To, e.node)
		}
		result.Handovers = append(result.Handovers, h)
	}
	r.byKind(result)
	r.told(result)
	for _, x := range r.failures {
		r.failed(result, x, records)
	}
	r.untouched(result, records)
	pathFigures(result, r.paths)
	r.strays(result, s)
	result.Add(s.foreign([]netip.Addr{correspondentAddress(), r.passenger(), r.homeOf(nodeMobile).Addr()}))
	if len(r.moves) > 0 {
		train := r.end(nodeRouter)
		result.Summary.Count(r.moves[0].Left.Add(-r.settling()), r.ended, records[train.down], records[train.up])
	}
	return result
}

func (r *hierarchyRun) legend() []string {
	lines := []string{
		fmt.Sprintf("Milliseconds. Round trips: A %.1f to the access router, M %.1f to the anchor of its domain, H %.1f to the home agent.",
			millis(r.access), millis(r.anchor), millis(r.homeAgent)),
		"Limits of the downlink: without anchors (plain) L2 + A + H; inside a domain, and between domains where the anchor of before forwards,",
		"L2 + A + M; between others L2 + A + M + H. Uplink L2 + A, and half of the difference when the home agent gets nearer or farther, and M",
		"between those others. BUs: what the home agent was told.",
	}
	if r.optimise {
		lines = append(lines, "The mobile node optimises its route: where the correspondent has to be told, H more.")
	}
	return lines
}

// handover measures a move.
func (r *hierarchyRun) handover(s *stage, m hierarchyMove, down, up probe.Record) report.Handover {
	plain, limitDown, limitUp := r.limits(m.kind, m.move, r.optimises(m.mover))
	c := course{
		moves: []move{m.move}, told: s.told[m.mover], settling: r.settling(),
		end:    func(int) time.Time { return m.end },
		flight: func(stop string) time.Duration { return r.placeOf(stop).HomeAgent / 2 },
		limits: func(move) (down, up time.Duration) { return limitDown, limitUp },
	}
	h := c.handover(0, down, up)
	h.Mobile, h.Kind = m.mover, m.kind.String()
	without := report.Millis(plain)
	h.LimitPlain = &without
	if m.updates >= 0 {
		h.HomeUpdates = &m.updates
	}
	return h
}

// comparable reports whether a move would be an ordinary one between access routers if
// hierarchy were off, and whether it is: those that are compared.
func (m hierarchyMove) comparable() bool { return !isHome(m.from) && !isHome(m.to) }

// byKind are the interruptions by kind of move, with and without hierarchy.
func (r *hierarchyRun) byKind(result *report.Report) {
	for _, k := range []struct {
		kind       moveKind
		name, text string
	}{
		{movesInside, "inside", "inside a domain"},
		{movesFrom, "forwarded", "between domains, the anchor of before forwards"},
		{movesBetween, "between", "between domains, the anchor of before does not"},
		{movesPlain, "plain", "the same moves with hierarchy off"},
	} {
		var down, up, limitDown, limitUp, plain []report.Milliseconds
		for i, m := range r.moves {
			if m.kind != k.kind || !m.comparable() {
				continue
			}
			h := result.Handovers[i]
			down, up = append(down, h.Down), append(up, h.Up)
			limitDown, limitUp, plain = append(limitDown, h.LimitDown), append(limitUp, h.LimitUp), append(plain, *h.LimitPlain)
		}
		if len(down) == 0 {
			continue
		}
		f := report.Time(k.name+"_down_ms", "downlink interruption "+k.text, median(down), median(limitDown))
		g := report.Time(k.name+"_up_ms", "uplink interruption "+k.text, median(up), median(limitUp))
		if k.kind == movesInside || k.kind == movesFrom {
			// What would have been without anchors.
			f = f.AtMost(median(plain))
		}
		result.Add(f)
		result.Add(g)
	}
}

// told are the updates that the home agent was given; inside a domain none.
func (r *hierarchyRun) told(result *report.Report) {
	count := func(kind moveKind, of func(hierarchyMove) int) (n, moves int, known bool) {
		known = true
		for _, m := range r.moves {
			if m.kind == kind && m.comparable() {
				n, moves, known = n+of(m), moves+1, known && of(m) >= 0
			}
		}
		return n, moves, known
	}
	home := func(m hierarchyMove) int { return m.updates }
	if n, moves, known := count(movesInside, home); known && moves > 0 {
		result.Add(report.Number("home_updates_inside", fmt.Sprintf("updates at the home agent, %d moves inside a domain", moves), "updates", n).AtMost(0))
	}
	for _, k := range []struct {
		kind       moveKind
		name, text string
	}{{movesFrom, "forwarded", "between domains, forwarded"}, {movesBetween, "between", "between domains"}, {movesPlain, "plain", "with hierarchy off"}} {
		if n, moves, known := count(k.kind, home); known && moves > 0 {
			result.Add(report.Number("home_updates_"+k.name, fmt.Sprintf("updates at the home agent, %d moves %s", moves, k.text), "updates", n))
		}
	}
	if n, moves, known := count(movesInside, func(m hierarchyMove) int { return m.optimised }); r.optimise && known && moves > 0 {
		result.Add(report.Number("peer_updates_inside", fmt.Sprintf("updates at the correspondent, %d moves inside a domain", moves), "updates", n).AtMost(0))
	}
}

// failed is how the failure of an anchor was survived.
func (r *hierarchyRun) failed(result *report.Report, x anchorFailure, records map[*probe.Stream]probe.Record) {
	// A dead anchor is to cost five seconds at most, and a busy machine may add to it.
	const most = 6000
	detection, waits := r.detection(x.fault)
	e := r.end(x.mover)
	for _, d := range []struct {
		name   string
		stream *probe.Stream
		then   time.Duration // after the anchor is given up
	}{
		// The home agent is told, and sends by the other way; right behind its update
		// go packets up.
		{"downlink", e.down, r.homeAgent},
		{"uplink", e.up, 0},
	} {
		record := records[d.stream]
		recovered, limit := report.None(), report.None()
		if silence, ok := record.Silence(x.at, x.at.Add(r.settling()), x.restored); ok {
			recovered = report.Millis(silence.First.Sub(x.at))
			if silence.Length < slack {
				recovered = 0 // nothing was noticed
			}
		}
		if waits {
			limit = report.Millis(detection + d.then)
		}
		result.Add(report.Time(fmt.Sprintf("%s_recovered_%s_ms", x.fault, d.name), fmt.Sprintf("%s back after %s", d.name, x.words()), recovered, limit).AtMost(most))
		lost := record.Count(x.at.Add(-r.homeAgent), x.restored.Add(-r.homeAgent)).Lost
		f := report.Packets(fmt.Sprintf("%s_lost_%s", x.fault, d.name), fmt.Sprintf("lost on the %s when %s", d.name, x.words()), lost)
		if waits {
			f.Limit = report.Milliseconds((detection + d.then) / r.interval)
		}
		result.Add(f)
	}
	regained := report.None()
	if !x.regained.IsZero() {
		regained = report.Millis(x.regained.Sub(x.restored))
	}
	result.Add(report.Time(fmt.Sprintf("%s_regained_ms", x.fault), "until the anchor was used again, after "+x.words(), regained, report.None()).AtMost(report.Millis(r.patience)))
	// Nothing is lost by that.
	returned := 0
	for _, stream := range []*probe.Stream{e.down, e.up} {
		returned += records[stream].Count(x.restored, x.regained).Lost
	}
	if x.fault != restarts {
		result.Add(report.Packets(fmt.Sprintf("%s_lost_return", x.fault), "lost when it returned, after "+x.words(), returned).AtMost(r.unsteady()))
	}
}

// untouched: who is in the other domain when an anchor fails loses nothing.
func (r *hierarchyRun) untouched(result *report.Report, records map[*probe.Stream]probe.Record) {
	if len(r.failures) == 0 {
		return
	}
	lost := 0
	for _, x := range r.failures {
		for _, e := range r.ends {
			if e.mover != x.mover {
				lost += records[e.down].Count(x.at, x.restored).Lost + records[e.up].Count(x.at, x.restored).Lost
			}
		}
	}
	result.Add(report.Packets("lost_other_domain", "lost in the other domain when an anchor failed", lost).AtMost(r.unsteady()))
}

// unsteady is how many packets a busy machine may lose where nothing else loses any: far
// fewer than an anchor that fails.
func (r *hierarchyRun) unsteady() report.Milliseconds {
	const most = 200 * time.Millisecond
	return report.Milliseconds(most / r.interval)
}

// strays are packets that an access network refused. There are always some from the
// care-of address that was just left; any other source does not belong there, a regional
// care-of address above all.
func (r *hierarchyRun) strays(result *report.Report, s *stage) {
	var foreign []string
	n := uint64(0)
	for refused, count := range s.stats.Refusals {
		if !r.onLink(refused.Source) {
			n += count
			foreign = append(foreign, describe(refused, count))
		}
	}
	slices.Sort(foreign)
	if len(foreign) > 0 {
		result.Fail("packets left with a source that does not belong there: %s", strings.Join(foreign, "; "))
	}
	result.Add(report.Packets("foreign_sources", "sent to a network with a source that was never an address there", int(n)).AtMost(0))
}

// onLink reports whether an address is of an access link.
func (r *hierarchyRun) onLink(a netip.Addr) bool {
	for _, d := range domains() {
		for _, i := range d.routers {
			if accessAddress(i).Masked().Contains(a) {
				return true
			}
		}
	}
	return false
}
