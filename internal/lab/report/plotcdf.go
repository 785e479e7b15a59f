package report

import (
	"fmt"
	"slices"
	"strings"
)

// cdf draws which share of handovers was not interrupted for longer than what, and
// which share of their limits is not longer: the curve of a network that costs nothing
// beyond physics.
func cdf(handovers []Handover, class string, of func(Handover) (gap, limit Milliseconds)) string {
	var gaps, limits []float64
	for _, h := range handovers {
		if gap, limit := of(h); gap.Known() && limit.Known() {
			gaps, limits = append(gaps, float64(gap)), append(limits, float64(limit))
		}
	}
	if len(gaps) == 0 {
		return `<p class="soft">Of no handover an interruption was measured.</p>`
	}
	slices.Sort(gaps)
	slices.Sort(limits)
	median := quantile(gaps, .5)
	most := max(gaps[len(gaps)-1], limits[len(limits)-1])
	least := min(gaps[0], limits[0])
	logarithmic := most > 8*median && least > 0
	p := newPlot(560, 230, fmt.Sprintf("Interruption: median %.1f ms, 99 %% %.1f ms, of %d handovers. Limit: median %.1f ms.",
		median, quantile(gaps, .99), len(gaps), quantile(limits, .5)))
	from := 0.0
	if logarithmic {
		from = least * .95
	}
	p.scales(from, max(most*1.05, 1), 0, 1, logarithmic)
	p.axisY([]float64{0, .25, .5, .75, 1}, func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) })
	p.axisX(7, "ms")
	p.path("curve least", steps(p, limits))
	p.path("curve "+class, steps(p, gaps))
	return p.done()
}

// steps is the path of an empirical distribution.
func steps(p *plot, sorted []float64) string {
	var d strings.Builder
	fmt.Fprintf(&d, "M%s %s", num(p.x.within(p.x.from)), num(p.y.at(0)))
	for i, v := range sorted {
		fmt.Fprintf(&d, "H%sV%s", num(p.x.within(v)), num(p.y.at(float64(i+1)/float64(len(sorted)))))
	}
	fmt.Fprintf(&d, "H%s", num(p.x.end))
	return d.String()
}
