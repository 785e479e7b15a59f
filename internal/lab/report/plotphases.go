package report

import (
	"fmt"
	"strings"
)

// phaseNames are the phases of a handover in their order, behind the time without a
// link.
var phaseNames = [...]string{"link", "solicit", "advertise", "configure", "update", "acknowledge"}

// points are the ends of the phases, from the moment on that the new link was ready.
func (p Phases) points() [len(phaseNames)]Milliseconds {
	return [...]Milliseconds{p.LinkUp, p.Solicited, p.Advertised, p.CareOf, p.Updated, p.Acknowledged}
}

// phases draws a bar for each handover: the time without a link, and what the router
// says that it did then. A mark is the downlink's limit, another one what was measured.
func phases(list []numbered) string {
	const row = 18.0
	var most float64
	for _, h := range list {
		for _, v := range append([]Milliseconds{h.Switching + h.Phases.Acknowledged, h.LimitDown}, h.Down) {
			if v.Known() {
				most = max(most, float64(v))
			}
		}
	}
	if most == 0 {
		return `<p class="soft">The router told of no handover.</p>`
	}
	p := newPlot(1180, row*float64(len(list))+34, fmt.Sprintf("Phases of %d handovers as stacked bars; the table has the figures.", len(list)))
	p.left = 150
	p.scales(0, most*1.03, 0, 1, false)
	p.axisX(12, "ms")
	for i, h := range list {
		y := p.top + row*float64(i)
		p.text(p.left-8, y+12, "end", fmt.Sprintf("%d  %s → %s", h.number, h.From, h.To))
		last, l2 := 0.0, float64(h.Switching)
		p.rect("l2", p.x.at(0), y+3, p.x.at(l2)-p.x.at(0), row-6, fmt.Sprintf("without a link %.1f ms", l2))
		for k, end := range h.Phases.points() {
			if !end.Known() || float64(end) <= last {
				continue
			}
			p.rect(fmt.Sprintf("c%d", k), p.x.at(l2+last), y+3, p.x.within(l2+float64(end))-p.x.at(l2+last), row-6,
				fmt.Sprintf("%s %.2f ms", phaseNames[k], float64(end)-last))
			last = float64(end)
		}
		if h.LimitDown.Known() {
			p.path("tick", fmt.Sprintf("M%s %sv%s", num(p.x.within(float64(h.LimitDown))), num(y), num(row)))
		}
		if h.Down.Known() {
			p.path("dot", fmt.Sprintf("M%s %sh0", num(p.x.within(float64(h.Down))), num(y+row/2)))
		}
	}
	var key strings.Builder
	key.WriteString(`<ul class="key"><li><i class="l2"></i>no link</li>`)
	for k, name := range phaseNames {
		fmt.Fprintf(&key, `<li><i class="c%d"></i>%s</li>`, k, name)
	}
	key.WriteString(`<li>│ limit of the downlink</li><li>● its interruption, as measured at the receiver</li></ul>`)
	return key.String() + `<div class="scroll" tabindex="0" role="region" aria-label="Phases">` + p.done() + "</div>"
}
