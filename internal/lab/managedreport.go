package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/lab/dhcpserver"
	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
	"roam6/internal/role"
)

// report computes the figures.
func (r *managedRun) report(s *stage) *report.Report {
	result := &report.Report{
		Scenario: "managed",
		Conditions: report.Conditions{
			Switching: report.Millis(r.switching), Access: report.Millis(r.access), HomeAgent: report.Millis(r.homeAgent),
			Interval: report.Millis(r.interval), LinkEvents: !r.noLinkEvents, Seed: r.seed,
		},
		TCP:    s.tcp(),
		Legend: r.legend(),
	}
	down, up := r.down.Record(), r.up.Record()
	lost := 0
	for i, m := range r.moves {
		h := r.handover(s, m, down, up)
		if !h.Completed {
			result.Fail("handover %d, %s → %s, did not complete", i+1, h.From, h.To)
		}
		result.Handovers = append(result.Handovers, h)
		if again, ok := r.replacement(s, m, down, up); ok {
			result.Handovers = append(result.Handovers, again)
		} else if m.way() == wayFormedFirst && s.observer(nodeMobile) != nil {
			result.Fail("at %s the leased address did not take the place of the formed one", m.to)
		}
		lost += lostSettled(m, h, r.settling(), down, up)
	}
	r.figures(result, lost)
	result.Add(s.foreign([]netip.Addr{r.address(), correspondentAddress()}))
	if len(r.moves) > 0 {
		result.Summary.Count(r.moves[0].Left.Add(-r.settling()), r.ended, down, up)
	}
	return result
}

func (r *managedRun) legend() []string {
	lines := []string{
		fmt.Sprintf("Milliseconds. Round trips: A %.1f to the access router, H %.1f to the home agent. Phases and DHCPv6 messages from the new link on.",
			millis(r.access), millis(r.homeAgent)),
		"Limits: downlink L2 + n A + H, uplink L2 + n A. Formed and known addresses: n is 1, for the advertisement; leased ones: 2 with rapid",
		"commit, 3 without. What the server took (column server) is not in the limits. Where a leased address takes the place of a formed one: nothing.",
	}
	if r.noLinkEvents {
		lines = append(lines, "The interface does not notice the moves: the limits are those of moves that it notices.")
	}
	if r.noPreference {
		lines = append(lines, "Without a preference of 255 a second more (RFC 8415 §18.2.1).")
	}
	for _, l := range r.stops {
		if l.managed() {
			lines = append(lines, fmt.Sprintf("%s: %s.", l.node, l.server))
		}
	}
	return append(lines, r.without...)
}

// handover measures the move to a link.
func (r *managedRun) handover(s *stage, m managedMove, down, up probe.Record) report.Handover {
	c := course{
		moves: []move{m.move}, told: slices.DeleteFunc(slices.Clone(s.told[nodeMobile]), readdressed), settling: r.settling(),
		end: func(int) time.Time { return m.end }, flight: r.flight,
		limits: func(move) (down, up time.Duration) { return r.limits(m) },
	}
	h := c.handover(0, down, up)
	h.Kind = m.way()
	h.Lease = r.lease(m)
	return h
}

// wayBack is how long after a replacement its losses are looked for.
const wayBack = 250 * time.Millisecond

// replacement measures how a leased address takes the place of a formed one.
func (r *managedRun) replacement(s *stage, m managedMove, down, up probe.Record) (report.Handover, bool) {
	i := slices.IndexFunc(s.told[nodeMobile], func(h role.Handover) bool {
		return readdressed(h) && h.Start.After(m.Attached) && h.Start.Before(m.end)
	})
	if i < 0 {
		return report.Handover{}, false
	}
	told := s.told[nodeMobile][i]
	settling := told.Acknowledged.Sub(told.Start) + r.settling()
	end := told.Start.Add(settling + wayBack) // what the next break loses is not counted
	if end.After(m.end) {
		end = m.end
	}
	c := course{
		moves: []move{{from: m.to, to: m.to, Switch: world.Switch{Left: told.Start, Attached: told.Start}}},
		told:  []role.Handover{told}, settling: settling, flight: r.flight,
		end:    func(int) time.Time { return end },
		limits: func(move) (down, up time.Duration) { return 0, 0 },
	}
	h := c.handover(0, down, up)
	h.Kind = wayReplaced
	return h, true
}

// lease is how the address at a link was asked for, or nil.
func (r *managedRun) lease(m managedMove) *report.Lease {
	l := &report.Lease{Asked: report.None(), Answered: report.None(), Server: report.None()}
	for _, e := range exchanges(r.messages.between(m.Attached, m.end)) {
		if e.asked.kind == wire.MessageTypeRenew || e.asked.kind == wire.MessageTypeRebind {
			continue
		}
		if l.Messages == 0 {
			l.Message, l.Asked = e.asked.kind.String(), report.Millis(e.asked.at.Sub(m.Attached))
		}
		l.Messages += e.sent
		if !e.complete() {
			continue
		}
		l.Messages++
		l.Answered = report.Millis(e.answered.at.Add(r.access / 2).Sub(m.Attached))
		took := report.Millis(e.answered.at.Sub(e.asked.at.Add(r.access / 2)))
		if l.Server.Known() {
			took += l.Server
		}
		l.Server = took
		if e.answered.kind == wire.MessageTypeReply {
			break
		}
	}
	if l.Messages == 0 {
		return nil
	}
	return l
}

// lostSettled counts what is lost of that which is sent at a stop after the handover,
// and before something that arrives there: while leases are renewed, and replaced.
func lostSettled(m managedMove, h report.Handover, settling time.Duration, streams ...probe.Record) (lost int) {
	for _, d := range streams {
		silence, ok := d.Silence(m.Left, m.Left.Add(settling), m.end)
		if !ok {
			continue // a failure already
		}
		from := silence.First
		if h.Phases.Acknowledged.Known() {
			complete := m.Attached.Add(time.Duration(float64(h.Phases.Acknowledged) * float64(time.Millisecond)))
			if complete.After(from) {
				from = complete
			}
		}
		var last int64
		for _, a := range d.Arrivals {
			if !time.Unix(0, a.At).After(m.end) && int(a.Number) < len(d.Sent) {
				last = max(last, d.Sent[a.Number])
			}
		}
		lost += d.Count(from, time.Unix(0, last)).Lost
	}
	return lost
}

// figures are those over the whole ride.
func (r *managedRun) figures(result *report.Report, lost int) {
	var beyond []report.Milliseconds
	for _, h := range result.Handovers {
		if h.Lease != nil && h.Down.Known() && h.Lease.Server.Known() && (h.Kind == wayRapid || h.Kind == waySlow) {
			beyond = append(beyond, h.Down-h.LimitDown-h.Lease.Server)
		}
	}
	if len(beyond) > 0 {
		result.Add(report.Time("beyond_limit_and_server_ms", "downlink interruption at a new lease beyond limit and server, median", median(beyond), report.None()))
	}
	result.Add(report.Packets("lost_settled", "lost between arrival and departure, leases renewed and replaced", lost).AtMost(0))
	renewed, unanswered, repeated, returned := 0, 0, 0, 0
	for _, e := range exchanges(r.messages.between(time.Time{}, time.Now())) {
		switch {
		case !e.complete() && !r.cutShort(e):
			unanswered++
		case e.asked.kind == wire.MessageTypeRenew:
			renewed++
		case e.asked.kind == wire.MessageTypeRelease:
			returned++
		}
		repeated += e.sent - 1
	}
	kea := slices.ContainsFunc(r.stops, func(l accessLink) bool { return l.server == dhcpserver.Kea })
	result.Add(report.Number("renewals", "leases renewed", "times", renewed))
	if kea && renewed == 0 && len(r.moves) > 0 && r.dwell > r.renew+time.Second {
		result.Fail("no lease was renewed during the ride")
	}
	asked := report.Number("unanswered", "DHCPv6 messages without an answer", "messages", unanswered)
	if !r.noLinkEvents { // otherwise some are sent to servers of the link that was left
		asked = asked.AtMost(0)
	}
	result.Add(asked)
	result.Add(report.Number("repeated", "DHCPv6 messages sent again", "messages", repeated))
	if len(r.moves) > 0 && r.moves[len(r.moves)-1].link.managed() {
		result.Add(report.Number("returned", "leases returned at the end", "leases", returned))
		if returned == 0 {
			result.Fail("the lease of the last stop was not returned")
		}
	}
}

// cutShort reports whether the link was left before an answer could come.
func (r *managedRun) cutShort(e exchanged) bool {
	const enough = 300 * time.Millisecond
	return slices.ContainsFunc(r.moves, func(m managedMove) bool { return !e.asked.at.After(m.Left) && m.Left.Sub(e.asked.at) < enough })
}
