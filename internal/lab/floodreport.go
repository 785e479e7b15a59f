package lab

import (
	"fmt"

	"roam6/internal/lab/report"
)

// What is demanded of the home agent.
const (
	// floodMemory is what a collector of garbage needs beyond an idle daemon, in
	// kilobytes, whatever comes; floodDrift what may be added from the end of the
	// first flood on.
	floodMemory, floodDrift = 16_000, 5_000
	// floodRecovery is in milliseconds.
	floodRecovery = 1000
	// floodUnanswered is in percent of the registrations of the home agent's own
	// mobiles, over all floods. What strangers ask of a correspondent has a limit,
	// which those who forge sources use up.
	floodUnanswered = 20
)

// report computes the figures.
func (r *floodRun) report(s *stage) *report.Report {
	result := &report.Report{
		Scenario:   "flood",
		Conditions: report.Conditions{Interval: report.Millis(r.interval), LinkEvents: true, Seed: r.seed},
		TCP:        s.tcp(),
		Floods:     r.floods,
		Legend: []string{
			fmt.Sprintf("%d packets a second for %v each, at a home agent that is a correspondent too. back: packets that it sent to the attacker.", r.rate, r.duration),
			"Meanwhile somebody honest asks, and never twice: home registrations, registrations with the correspondent, and care-of tests;",
			"milliseconds. tunnel: datagrams of a stream to a mobile. recovered: until all services answered again, milliseconds after the end.",
		},
	}
	peak, slowest, asked, answered := r.start.resident, report.Milliseconds(0), 0, 0
	for _, f := range r.floods {
		peak = max(peak, f.Peak)
		if !f.Recovered.Known() {
			result.Fail("after the flood of %s from %s, not every service answered again", f.Kind, f.Sources)
		} else {
			slowest = max(slowest, f.Recovered)
		}
		asked, answered = asked+f.Services[serviceHome].Asked, answered+f.Services[serviceHome].Answered
		result.Summary.LostDown, result.Summary.SentDown = result.Summary.LostDown+f.DataLost, result.Summary.SentDown+f.DataSent
	}
	unanswered := 0
	if asked > 0 {
		unanswered = 100 * (asked - answered) / asked
	}
	drift := r.floods[len(r.floods)-1].After - r.floods[0].After
	result.Add(report.Number("memory_growth_kb", "memory of the daemon at most, beyond that before the first flood", "kB", peak-r.start.resident).AtMost(floodMemory))
	result.Add(report.Number("memory_drift_kb", "memory after the last flood, beyond that after the first one", "kB", drift).AtMost(floodDrift))
	result.Add(report.Number("home_unanswered_percent", "home registrations not answered during floods", "%", unanswered).AtMost(floodUnanswered))
	result.Add(report.Time("recovered_ms", "after a flood, until every service answers, at most", slowest, report.None()).AtMost(floodRecovery))
	return result
}
