package lab

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"roam6/internal/lab/report"
)

// report computes the figures.
func (r *advertiseRun) report(s *stage) *report.Report {
	result := &report.Report{
		Scenario:   "advertise",
		Conditions: report.Conditions{LinkEvents: true, Seed: r.seed},
		TCP:        s.tcp(), // there is none
	}
	for _, c := range r.contenders {
		a := c.figures()
		if c.name == programRadvd {
			a.Version = r.version
		}
		result.Advertising = append(result.Advertising, a)
	}
	result.Legend = []string{
		fmt.Sprintf("Advertisements every %v to %v on %d links, each daemon %d times for %v, and as long again while hosts", advertisedMin, advertisedMax, r.links, r.rounds, r.duration),
		fmt.Sprintf("solicit on each link every %v or so. All times are the kernel's, at the hosts' ends.", r.solicit),
		fmt.Sprintf("The machine has %d processors and a load of %s, this lab included.", runtime.NumCPU(), r.load()),
	}
	if r.missing != "" {
		result.Legend = append(result.Legend, "No comparison: "+r.missing+".")
	}
	r.judge(result, r.contenders[0], result.Advertising[0])
	return result
}

// judge looks at roam6's facts. What comes too late is none: a machine with other
// things to do makes it so. But it has to be explained by the daemon's waiting for a
// processor, and nothing comes too early (RFC 4861 §6.2.6), whoever waits.
func (r *advertiseRun) judge(result *report.Report, c *contender, a report.Advertising) {
	var waited time.Duration
	for _, st := range slices.Concat(c.quiet, c.asked) {
		waited += st.used.waiting + st.stalled
	}
	for i, l := range a.Links {
		if l.Count == 0 {
			result.Fail("link %d got no advertisements", i+1)
		}
		asked := newGaps(gapsOf(c.asked, i))
		const clock report.Milliseconds = .5 // the kernel's is corrected meanwhile
		if least := min(l.Min, asked.Min); least < report.Millis(advertisedMin)-clock {
			result.Fail("link %d: an advertisement %.3f ms after the one before", i+1, float64(least))
		}
		// A thread that waits keeps all links waiting.
		if excess := l.Excess + asked.Excess; excess > report.Millis(waited) {
			result.Fail("link %d: gaps outside of the interval by %.1f ms in all, but the daemon waited for a processor for %v only", i+1, float64(excess), waited)
		}
	}
	if a.Unicast != a.Solicitations {
		result.Fail("of %d solicitations %d were answered by unicast", a.Solicitations, a.Unicast)
	}
	const last = 3 // RFC 4861 §10: MAX_FINAL_RTR_ADVERTISEMENTS
	if a.Farewells != last {
		result.Fail("a link got %d last advertisements, not %d", a.Farewells, last)
	}
}

// load is what the machine's load was.
func (r *advertiseRun) load() string {
	var all []string
	for _, l := range r.loads {
		all = append(all, fmt.Sprintf("%.1f", l))
	}
	return strings.Join(slices.Compact(all), ", ")
}

// figures are those of one daemon.
func (c *contender) figures() report.Advertising {
	a := report.Advertising{Program: c.name, Solicitations: len(c.solicited)}
	var quiet []report.Milliseconds
	for i := range c.quiet[0].advertised {
		g := gapsOf(c.quiet, i)
		quiet = append(quiet, g...)
		a.Links = append(a.Links, newGaps(g))
	}
	a.Quiet = newGaps(quiet)
	var asked []report.Milliseconds
	for i := range c.asked[0].advertised {
		asked = append(asked, gapsOf(c.asked, i)...)
	}
	a.Asked = newGaps(asked)
	var took float64
	var processor, waiting time.Duration
	sent := 0
	for _, st := range c.quiet {
		took += st.to.Sub(st.from).Seconds()
		processor, waiting, sent = processor+st.used.processor, waiting+st.used.waiting, sent+count(st.advertised)
	}
	a.PerSecond = float64(sent) / took / float64(len(a.Links))
	a.Processor, a.Waiting = processor.Seconds()/took, waiting.Seconds()/took
	a.Sending = report.Millis(processor) / report.Milliseconds(sent)
	for _, st := range slices.Concat(c.quiet, c.asked) {
		a.Resident, a.Proportional = max(a.Resident, st.used.resident), max(a.Proportional, st.used.proportional)
		a.Anonymous = max(a.Anonymous, st.used.anonymous)
	}
	var unicast, first []report.Milliseconds
	for _, q := range c.solicited {
		if q.unicast.Known() {
			unicast = append(unicast, q.unicast)
		}
		if q.first.Known() {
			first = append(first, q.first)
		}
	}
	a.Unicast = len(unicast)
	a.MedianUnicast, a.P99Unicast = report.Quantile(unicast, .5), report.Quantile(unicast, .99)
	a.MedianAny, a.P99Any = report.Quantile(first, .5), report.Quantile(first, .99)
	a.Farewells = slices.Min(slices.Concat(c.farewells...))
	return a
}

// gapsOf are the times between the advertisements on a link, in all stints.
func gapsOf(stints []stint, link int) (gaps []report.Milliseconds) {
	for _, st := range stints {
		at := st.advertised[link]
		for i := 1; i < len(at); i++ {
			gaps = append(gaps, report.Millis(time.Duration(at[i]-at[i-1])))
		}
	}
	return gaps
}

func newGaps(gaps []report.Milliseconds) report.Gaps {
	return report.NewGaps(gaps, report.Millis(advertisedMin), report.Millis(advertisedMax))
}
