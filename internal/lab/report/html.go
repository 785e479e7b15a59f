package report

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
	"time"

	"roam6/internal/page/style"
)

// About is what a report in HTML says of the run beside its figures.
type About struct {
	Command    string // how to run it again
	Version    string // of roam6
	Machine    string // kernel and processor, and what the program was built with
	Began      time.Time
	Parameters []Parameter
}

// Parameter is an option of the scenario.
type Parameter struct {
	Name, Value, Meaning string
	Chosen               bool // not the default
}

// Most handovers that are drawn one by one; the table and the distributions have all.
const (
	mostSequences = 24
	mostBars      = 60
)

// numbered is a handover with its number in the table.
type numbered struct {
	number int
	Handover
}

const look = `
h1 { font-size: 1.5rem; margin: 1.5rem 0 .25rem; }
figure { margin: 0 0 .5rem; min-width: 0; }
figcaption { font-size: .82rem; color: var(--soft); }
.small { display: grid; gap: .5rem 1.5rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
.pair svg, .small svg { width: 100%; }
.figures + .figures { margin-top: -.5rem; }
svg { height: auto; }
.scroll svg { max-width: none; }
.gone { fill: var(--track); }
.l2 { fill: var(--limit); } i.l2 { background: var(--limit); }
.dots { stroke-width: 2.6; stroke-linecap: round; fill: none; }
.dots.c0, .line.c0 { stroke: var(--c0); } .dots.c1, .line.c1 { stroke: var(--c1); }
.dots.never { stroke: var(--bad); stroke-linecap: square; }
.line { fill: none; stroke-width: 1.5; }
.tick { stroke: var(--ink); stroke-width: 1.5; }
.dot { stroke: var(--ink); stroke-width: 6; stroke-linecap: round; }
.handovers { font-size: .82rem; white-space: nowrap; }
.handovers th, .handovers td { padding: .15rem .6rem .15rem 0; }
.handovers thead tr:first-child th { border: 0; }
pre { overflow-x: auto; font-size: .8rem; }
@media print { .card { break-inside: avoid; border: 0; padding: 0; } .scroll { overflow: visible; } }
`

// WriteHTML writes the report as one HTML file for people, with plots, without anything
// from elsewhere and without scripts.
func (r *Report) WriteHTML(w io.Writer, a About) error {
	var b strings.Builder
	e := html.EscapeString
	fmt.Fprintf(&b, `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,"><title>roam6 lab: %s</title><style>%s%s</style></head><body>
<header><h1>%s</h1><p class="soft">%s</p></header><main>
`, e(r.Scenario), style.Common, look, e(strings.ToUpper(r.Scenario[:1])+r.Scenario[1:])+", measured by roam6 lab", e(a.Began.UTC().Format("2006-01-02 15:04 UTC")+" · roam6 "+a.Version+" · "+a.Machine))
	r.htmlVerdict(&b)
	if len(r.Handovers) > 0 {
		r.htmlPlots(&b)
		r.htmlHandovers(&b)
	}
	if len(r.Figures) > 0 {
		r.htmlFigures(&b)
	}
	var table strings.Builder
	if err := r.WriteTable(&table); err != nil {
		return err
	}
	open := ""
	if len(r.Handovers) == 0 {
		open = " open"
	}
	fmt.Fprintf(&b, `<section class="card" aria-labelledby="text"><h2 id="text">As on the terminal</h2><details%s><summary>All figures as text</summary><pre>%s</pre></details></section>`, open, e(table.String()))
	htmlAbout(&b, a, r.Planes)
	b.WriteString("</main></body></html>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// htmlVerdict writes what came out, in a few figures.
func (r *Report) htmlVerdict(b *strings.Builder) {
	for _, f := range r.Failures {
		fmt.Fprintf(b, `<p class="card bad"><strong>Failed:</strong> %s</p>`, html.EscapeString(f))
	}
	if len(r.Handovers) == 0 {
		return
	}
	s := r.Summary
	tcp := "intact"
	if !r.TCP.Intact {
		tcp = "not intact"
	}
	type figure struct{ name, value string }
	way := func(name string, median, over, high Milliseconds, lost, sent int) []figure {
		return []figure{{name + ", median", millis(median) + " ms"}, {"median of the ratio to its limit", ratio(over)}, {"99 % at most", millis(high) + " ms"}, {"lost", fmt.Sprintf("%d of %d", lost, sent)}}
	}
	for _, line := range [][]figure{
		{{"handovers completed", fmt.Sprintf("%d of %d", s.Completed, s.Handovers)}, {"TCP", tcp}, {"the lab’s own lateness, 99 %", fmt.Sprintf("%.2f ms", float64(r.Relay.P99Late))}},
		way("downlink", s.MedianDown, s.MedianRatioDown, s.P99Down, s.LostDown, s.SentDown),
		way("uplink", s.MedianUp, s.MedianRatioUp, s.P99Up, s.LostUp, s.SentUp),
	} {
		b.WriteString(`<dl class="figures">`)
		for _, f := range line {
			fmt.Fprintf(b, "<div><dt>%s</dt><dd>%s</dd></div>", f.name, html.EscapeString(f.value))
		}
		b.WriteString("</dl>")
	}
	for _, line := range r.Legend {
		fmt.Fprintf(b, `<p class="soft">%s</p>`, html.EscapeString(line))
	}
}

// htmlPlots writes the plots.
func (r *Report) htmlPlots(b *strings.Builder) {
	b.WriteString(`<div class="pair">`)
	for _, d := range directions {
		class := ""
		if d.name == "uplink" {
			class = "up"
		}
		fmt.Fprintf(b, `<section class="card" aria-labelledby="cdf-%[1]s"><h2 id="cdf-%[1]s">Interruption of the %[1]s</h2><p class="soft">The share of handovers that was interrupted for no longer than that; dashed, the share of their physical limits.</p>%[2]s</section>`,
			d.name, cdf(r.Handovers, class, func(h Handover) (Milliseconds, Milliseconds) { return d.gap(h), d.limit(h) }))
	}
	b.WriteString("</div>")
	all := r.numbered()
	bars := choose(all, mostBars)
	fmt.Fprintf(b, `<section class="card" aria-labelledby="phases"><h2 id="phases">Phases of the handovers</h2><p class="soft">Milliseconds since the link was lost, as the mobile tells.%s</p>%s</section>`, chosen(len(bars), len(all)), phases(bars))
	traced := slices.DeleteFunc(all, func(h numbered) bool { return h.Trace == nil })
	if len(traced) == 0 {
		return
	}
	b.WriteString(`<section class="card" aria-labelledby="ride"><h2 id="ride">Sequence numbers over the run</h2><p class="soft">What arrived, over the time of its arrival; grey are the times without a link. Red, below: what was lost, at the time of its sending.</p><div class="scroll" tabindex="0" role="region" aria-label="Sequence numbers over the run">`)
	for _, stream := range streams(traced) {
		if stream[0].Mobile != "" {
			fmt.Fprintf(b, "<h3>%s</h3>", html.EscapeString(stream[0].Mobile))
		}
		for _, d := range directions {
			b.WriteString(ride(stream, d))
		}
	}
	b.WriteString("</div></section>")
	few := choose(traced, mostSequences)
	fmt.Fprintf(b, `<section class="card" aria-labelledby="sequence"><h2 id="sequence">Sequence numbers at each handover</h2><p class="soft">Milliseconds since the link was lost; grey is the time without one; red is what was lost.%s</p><div class="small">`, chosen(len(few), len(traced)))
	for _, h := range few {
		title := fmt.Sprintf("%d  %s → %s", h.number, h.From, h.To)
		if h.Mobile != "" {
			title = h.Mobile + ", " + title
		}
		if !h.Completed {
			title += " (not completed)"
		}
		fmt.Fprintf(b, `<div><h3>%s</h3>`, html.EscapeString(title))
		for _, d := range directions {
			b.WriteString(sequence(h, d))
		}
		b.WriteString("</div>")
	}
	b.WriteString("</div></section>")
}

func (r *Report) numbered() []numbered {
	list := make([]numbered, len(r.Handovers))
	for i, h := range r.Handovers {
		list[i] = numbered{i + 1, h}
	}
	return list
}

// choose takes at most n handovers: those that did not complete and those that took
// longest beyond their limit, for one half, and for the other some at equal distances.
func choose(all []numbered, n int) []numbered {
	if len(all) <= n {
		return all
	}
	excess := func(h numbered) float64 {
		switch {
		case !h.Completed:
			return 1e12
		case !h.Down.Known() || !h.Up.Known():
			return 0
		}
		return float64(max(h.Down-h.LimitDown, h.Up-h.LimitUp))
	}
	worst := slices.Clone(all)
	slices.SortStableFunc(worst, func(a, b numbered) int { return cmp.Compare(excess(b), excess(a)) })
	taken := make(map[int]bool)
	for _, h := range worst[:n/2] {
		taken[h.number] = true
	}
	for i := 0; i < len(all) && len(taken) < n; i += max(1, len(all)/(n-n/2)) {
		taken[all[i].number] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(h numbered) bool { return !taken[h.number] })
}

// chosen says that not all are drawn.
func chosen(n, of int) string {
	if n == of {
		return ""
	}
	return fmt.Sprintf(" Of %d handovers %d are drawn: those that did not complete or took longest beyond their limit, and some at equal distances. The distributions and the table are of all.", of, n)
}

// streams are the handovers that were measured in the same streams, in order.
func streams(all []numbered) (list [][]Handover) {
	for _, h := range all {
		i := slices.IndexFunc(list, func(s []Handover) bool { return sameStream(s[0].Trace, h.Trace) })
		if i < 0 {
			list = append(list, nil)
			i = len(list) - 1
		}
		list[i] = append(list[i], h.Handover)
	}
	return list
}

func sameStream(a, b *Trace) bool {
	return len(a.Down.Sent) > 0 && len(b.Down.Sent) > 0 && &a.Down.Sent[0] == &b.Down.Sent[0]
}
