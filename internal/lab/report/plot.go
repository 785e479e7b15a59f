package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// plot draws a static SVG figure with a scale for each axis.
type plot struct {
	b                        strings.Builder
	width, height            float64
	left, right, top, bottom float64 // margins
	x, y                     scale
}

// scale maps values to places.
type scale struct {
	from, to   float64 // values
	start, end float64 // places
	log        bool
}

func (s scale) at(v float64) float64 {
	if s.log {
		return s.start + (s.end-s.start)*math.Log(v/s.from)/math.Log(s.to/s.from)
	}
	return s.start + (s.end-s.start)*(v-s.from)/(s.to-s.from)
}

// within is at, kept inside of the figure.
func (s scale) within(v float64) float64 { return s.at(max(s.from, min(s.to, v))) }

// ticks are round values on the scale, at most n.
func (s scale) ticks(n int) []float64 {
	round := func(v float64) float64 {
		p := math.Pow(10, math.Floor(math.Log10(v)))
		for _, f := range [...]float64{1, 2, 5} {
			if f*p >= v*.999 {
				return f * p
			}
		}
		return 10 * p
	}
	var list []float64
	if s.log {
		for v := round(s.from); v <= s.to; v = round(v * 1.5) {
			list = append(list, v)
		}
		for len(list) > n && len(list) > 2 {
			half := list[:0]
			for i := 0; i < len(list); i += 2 {
				half = append(half, list[i])
			}
			list = half
		}
		return list
	}
	step := round((s.to - s.from) / float64(n))
	for i := int(math.Ceil(s.from / step)); float64(i)*step <= s.to; i++ {
		list = append(list, float64(i)*step)
	}
	return list
}

// newPlot begins a figure of some pixels; label says in words what it shows.
func newPlot(width, height float64, label string) *plot {
	p := &plot{width: width, height: height, left: 46, right: 12, top: 8, bottom: 26}
	fmt.Fprintf(&p.b, `<svg viewBox="0 0 %s %s" width="%s" height="%s" role="img" aria-label="%s">`, num(width), num(height), num(width), num(height), html.EscapeString(label))
	return p
}

// scales sets what the axes reach over.
func (p *plot) scales(x0, x1, y0, y1 float64, logarithmic bool) {
	p.x = scale{from: x0, to: x1, start: p.left, end: p.width - p.right, log: logarithmic}
	p.y = scale{from: y0, to: y1, start: p.height - p.bottom, end: p.top}
}

// axisX draws about n ticks below the figure, the last with the unit.
func (p *plot) axisX(n int, unit string) {
	p.path("axis", fmt.Sprintf("M%s %sH%s", num(p.left), num(p.height-p.bottom), num(p.width-p.right)))
	ticks := p.x.ticks(n)
	for i, v := range ticks {
		text := strconv.FormatFloat(v, 'g', 6, 64)
		if i == len(ticks)-1 {
			text += " " + unit
		}
		x := p.x.at(v)
		p.path("axis", fmt.Sprintf("M%s %sv4", num(x), num(p.height-p.bottom)))
		p.text(x, p.height-p.bottom+16, "middle", text)
	}
}

// axisY draws a line and a word for some values.
func (p *plot) axisY(values []float64, word func(float64) string) {
	for _, v := range values {
		p.path("axis", fmt.Sprintf("M%s %sH%s", num(p.left), num(p.y.at(v)), num(p.width-p.right)))
		p.text(p.left-6, p.y.at(v)+4, "end", word(v))
	}
}

func (p *plot) path(class, d string) { fmt.Fprintf(&p.b, `<path class="%s" d="%s"/>`, class, d) }

func (p *plot) rect(class string, x, y, w, h float64, title string) {
	fmt.Fprintf(&p.b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s">`, class, num(x), num(y), num(max(w, 0)), num(h))
	if title != "" {
		p.b.WriteString("<title>" + html.EscapeString(title) + "</title>")
	}
	p.b.WriteString("</rect>")
}

func (p *plot) text(x, y float64, anchor, s string) {
	fmt.Fprintf(&p.b, `<text x="%s" y="%s" text-anchor="%s">%s</text>`, num(x), num(y), anchor, html.EscapeString(s))
}

// done ends the figure.
func (p *plot) done() string { return p.b.String() + "</svg>" }

// num is a place to the tenth of a pixel.
func num(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// dots are small squares at places, in one path.
type dots struct{ b strings.Builder }

func (d *dots) add(x, y float64) {
	d.b.WriteString("M" + num(x) + " " + num(y) + "h0")
}
