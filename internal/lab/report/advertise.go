package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Advertising is what a daemon's router advertisements were like, and what they cost.
type Advertising struct {
	Program string `json:"program"`
	Version string `json:"version,omitempty"`
	// Quiet are the gaps while nobody solicits, of all links together, Asked those
	// while hosts do. Links are those of Quiet, link by link.
	Quiet Gaps   `json:"quiet"`
	Asked Gaps   `json:"solicited"`
	Links []Gaps `json:"links"`
	// PerSecond is how many advertisements to all nodes a link got while nobody
	// solicited.
	PerSecond float64 `json:"per_second_and_link"`
	// Solicitations is how many there were, and Unicast how many were answered to
	// the host alone; then the times until such an answer and until any
	// advertisement.
	Solicitations int          `json:"solicitations"`
	Unicast       int          `json:"answered_by_unicast"`
	MedianUnicast Milliseconds `json:"median_unicast_ms"`
	P99Unicast    Milliseconds `json:"p99_unicast_ms"`
	MedianAny     Milliseconds `json:"median_any_ms"`
	P99Any        Milliseconds `json:"p99_any_ms"`
	// Farewells is how many advertisements with a router lifetime of zero each link
	// got at the end, at least.
	Farewells int `json:"farewells"`
	// Processor is the part of one processor that the daemon took while nobody
	// solicited, Waiting how long its threads waited for one, as a part of the time.
	Processor float64 `json:"processor"`
	Waiting   float64 `json:"waiting"`
	// Sending is the processor time for each advertisement to all nodes then.
	Sending Milliseconds `json:"processor_each_ms"`
	// Resident and Proportional are memory in kilobytes, the most of all turns, and
	// Anonymous what of it belongs to no file.
	Resident     int `json:"resident_kb"`
	Proportional int `json:"proportional_kb"`
	Anonymous    int `json:"anonymous_kb"`
}

// Gaps are times between advertisements.
type Gaps struct {
	Count  int          `json:"count"`
	Min    Milliseconds `json:"min_ms"`
	P1     Milliseconds `json:"p1_ms"`
	Median Milliseconds `json:"median_ms"`
	P99    Milliseconds `json:"p99_ms"`
	Max    Milliseconds `json:"max_ms"`
	// Inside is the part of them within the interval that was configured.
	Inside float64 `json:"inside"`
	// Missed counts those beyond its end by more than a tenth of that.
	Missed int `json:"missed"`
	// Excess is by how much they were outside of it, but for Tolerance each, in all.
	Excess Milliseconds `json:"excess_ms"`
	// Distance is the greatest difference between their distribution and the uniform
	// one over the interval (Kolmogorov and Smirnov): 0 is the same, 1 is elsewhere.
	Distance Milliseconds `json:"uniform_distance"`
}

// Tolerance is what a timer of the system may be off without any reason.
const Tolerance Milliseconds = 2

// NewGaps computes the figures of gaps that were to be uniform between two values.
func NewGaps(gaps []Milliseconds, from, to Milliseconds) Gaps {
	g := Gaps{Count: len(gaps), Min: None(), Max: None(), Distance: None(),
		P1: Quantile(gaps, .01), Median: Quantile(gaps, .5), P99: Quantile(gaps, .99)}
	if len(gaps) == 0 {
		return g
	}
	g.Min, g.Max, g.Distance = slices.Min(gaps), slices.Max(gaps), uniformDistance(gaps, from, to)
	inside := 0
	for _, v := range gaps {
		if v >= from && v <= to {
			inside++
		}
		if v > to+to/10 {
			g.Missed++
		}
		g.Excess += max(0, v-to-Tolerance, from-v-Tolerance)
	}
	g.Inside = float64(inside) / float64(len(gaps))
	return g
}

// uniformDistance is the statistic of Kolmogorov and Smirnov. There is at least one
// value.
func uniformDistance(values []Milliseconds, from, to Milliseconds) Milliseconds {
	sorted := slices.Sorted(slices.Values(values))
	distance, n := 0.0, float64(len(sorted))
	for i, v := range sorted {
		uniform := min(1, max(0, float64((v-from)/(to-from))))
		distance = max(distance, uniform-float64(i)/n, float64(i+1)/n-uniform)
	}
	return Milliseconds(distance)
}

// chance is the distance that so many values of the uniform distribution itself
// exceed one time in twenty.
func (g Gaps) chance() float64 { return 1.36 / math.Sqrt(float64(max(1, g.Count))) }

// writeAdvertising compares the daemons, of which the first is measured by the others.
func (r *Report) writeAdvertising(b *strings.Builder) {
	if len(r.Advertising) == 0 {
		return
	}
	ratios := len(r.Advertising) > 1
	columns, header := []column{{words: true}}, []string{""}
	for _, a := range r.Advertising {
		columns, header = append(columns, column{group: " "}), append(header, strings.TrimSpace(a.Program+" "+a.Version))
	}
	if ratios {
		columns, header = append(columns, column{group: " "}), append(header, "ratio")
	}
	rows := [][]string{header}
	// compared is a row whose values are worth a ratio.
	compared := true
	row := func(text, format string, value func(Advertising) float64) {
		line := []string{text}
		var values []float64
		for _, a := range r.Advertising {
			v := value(a)
			values = append(values, v)
			if line = append(line, "–"); !math.IsNaN(v) {
				line[len(line)-1] = fmt.Sprintf(format, v)
			}
		}
		if ratios {
			line = append(line, "")
			if v := values[0] / values[1]; compared && !math.IsNaN(v) && !math.IsInf(v, 0) {
				line[len(line)-1] = fmt.Sprintf("%.3f", v)
			}
		}
		rows = append(rows, line)
	}
	number := func(text, format string, value func(Advertising) float64) {
		compared = false
		row(text, format, value)
		compared = true
	}
	gaps := func(when string, of func(Advertising) Gaps) {
		number("gaps"+when, "%.0f", func(a Advertising) float64 { return float64(of(a).Count) })
		row("  least, ms", "%.2f", func(a Advertising) float64 { return float64(of(a).Min) })
		row("  1 %", "%.2f", func(a Advertising) float64 { return float64(of(a).P1) })
		row("  median", "%.2f", func(a Advertising) float64 { return float64(of(a).Median) })
		row("  99 %", "%.2f", func(a Advertising) float64 { return float64(of(a).P99) })
		row("  most", "%.2f", func(a Advertising) float64 { return float64(of(a).Max) })
		row("  inside of the interval, %", "%.2f", func(a Advertising) float64 { return 100 * of(a).Inside })
		row("  beyond 1.1 × its end", "%.0f", func(a Advertising) float64 { return float64(of(a).Missed) })
		row("  distance to the uniform distribution", "%.4f", func(a Advertising) float64 { return float64(of(a).Distance) })
		number("    95 % of its own samples are nearer than", "%.4f", func(a Advertising) float64 { return of(a).chance() })
	}
	gaps("", func(a Advertising) Gaps { return a.Quiet })
	row("  advertisements a second and link", "%.2f", func(a Advertising) float64 { return a.PerSecond })
	gaps(" while hosts solicit", func(a Advertising) Gaps { return a.Asked })
	number("solicitations", "%.0f", func(a Advertising) float64 { return float64(a.Solicitations) })
	row("  answered by unicast, %", "%.1f", func(a Advertising) float64 { return 100 * float64(a.Unicast) / float64(a.Solicitations) })
	row("    after, ms: median", "%.3f", func(a Advertising) float64 { return float64(a.MedianUnicast) })
	row("    99 %", "%.3f", func(a Advertising) float64 { return float64(a.P99Unicast) })
	row("  any advertisement after, ms: median", "%.3f", func(a Advertising) float64 { return float64(a.MedianAny) })
	row("    99 %", "%.3f", func(a Advertising) float64 { return float64(a.P99Any) })
	number("advertisements of the end (lifetime 0) on each link", "%.0f", func(a Advertising) float64 { return float64(a.Farewells) })
	row("processor, % of one", "%.3f", func(a Advertising) float64 { return 100 * a.Processor })
	row("  µs for each advertisement", "%.1f", func(a Advertising) float64 { return 1000 * float64(a.Sending) })
	row("  its threads were ready and waited, % of the time", "%.2f", func(a Advertising) float64 { return 100 * a.Waiting })
	row("memory, MB: resident (RSS)", "%.2f", func(a Advertising) float64 { return float64(a.Resident) / 1000 })
	row("  of which of no file", "%.2f", func(a Advertising) float64 { return float64(a.Anonymous) / 1000 })
	row("  with its part of what is shared (PSS)", "%.2f", func(a Advertising) float64 { return float64(a.Proportional) / 1000 })
	align(b, columns, rows)
	b.WriteByte('\n')
	r.writeAdvertisedLinks(b)
}

// writeAdvertisedLinks writes a line for each link.
func (r *Report) writeAdvertisedLinks(b *strings.Builder) {
	columns, header := []column{{}}, []string{"link"}
	for _, a := range r.Advertising {
		columns = append(columns, column{group: a.Program}, column{}, column{}, column{}, column{}, column{}, column{}, column{})
		header = append(header, "gaps", "least", "1 %", "p50", "99 %", "most", "inside", "dist.")
	}
	rows := [][]string{header}
	for i := range r.Advertising[0].Links {
		line := []string{fmt.Sprint(i + 1)}
		for _, a := range r.Advertising {
			g := a.Links[i]
			line = append(line, fmt.Sprint(g.Count), millis(g.Min), millis(g.P1), millis(g.Median), millis(g.P99), millis(g.Max),
				fmt.Sprintf("%.1f %%", 100*g.Inside), ratio(g.Distance))
		}
		rows = append(rows, line)
	}
	align(b, columns, rows)
	b.WriteByte('\n')
}
