package report

import (
	"fmt"
	"html"
	"strings"
)

// htmlHandovers writes the table of handovers, with the columns that it has elsewhere.
func (r *Report) htmlHandovers(b *strings.Builder) {
	all := r.columns()
	b.WriteString(`<section class="card" aria-labelledby="handovers"><h2 id="handovers">Handovers</h2><div class="scroll" tabindex="0" role="region" aria-label="Handovers"><table class="handovers"><thead><tr>`)
	for i := 0; i < len(all); {
		n := 1
		for i+n < len(all) && all[i+n].group == "" && !all[i+n].words {
			n++
		}
		if strings.TrimSpace(all[i].group) == "" {
			n = 1
		}
		fmt.Fprintf(b, `<th colspan="%d">%s</th>`, n, html.EscapeString(strings.TrimSpace(all[i].group)))
		i += n
	}
	b.WriteString("</tr><tr>")
	for _, c := range all {
		fmt.Fprintf(b, `<th scope="col"%s>%s</th>`, aligned(c), html.EscapeString(c.name))
	}
	b.WriteString("</tr></thead><tbody>")
	for n, h := range r.Handovers {
		b.WriteString("<tr>")
		for _, c := range all {
			fmt.Fprintf(b, "<td%s>%s</td>", aligned(c), html.EscapeString(c.cell(n+1, h)))
		}
		b.WriteString("</tr>")
	}
	b.WriteString("</tbody></table></div></section>")
}

func aligned(c column) string {
	if c.words {
		return ""
	}
	return ` class="n"`
}

// htmlFigures writes the single figures.
func (r *Report) htmlFigures(b *strings.Builder) {
	b.WriteString(`<section class="card" aria-labelledby="figures"><h2 id="figures">Figures</h2><div class="scroll" tabindex="0" role="region" aria-label="Figures"><table><thead><tr><th scope="col">Figure</th><th scope="col" class="n">Measured</th><th scope="col" class="n">Limit</th><th scope="col" class="n">At most</th></tr></thead><tbody>`)
	for _, f := range r.Figures {
		known := func(m Milliseconds) string {
			if !m.Known() {
				return "–"
			}
			return f.quantity(m)
		}
		fmt.Fprintf(b, `<tr><th scope="row">%s</th><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td></tr>`,
			html.EscapeString(f.Text), html.EscapeString(known(f.Value)), html.EscapeString(known(f.Limit)), html.EscapeString(known(f.Bound)))
	}
	b.WriteString("</tbody></table></div></section>")
}

// htmlAbout writes how the run was made.
func htmlAbout(b *strings.Builder, a About, planes []string) {
	e := html.EscapeString
	fmt.Fprintf(b, `<section class="card" aria-labelledby="about"><h2 id="about">How it was run</h2><p class="mono">%s</p><p class="soft">roam6 %s; data plane: %s; %s</p>`,
		e(a.Command), e(a.Version), e(strings.Join(planes, ", ")), e(a.Machine))
	b.WriteString(`<div class="scroll" tabindex="0" role="region" aria-label="Parameters"><table><thead><tr><th scope="col">Parameter</th><th scope="col">Value</th><th scope="col">Meaning</th></tr></thead><tbody>`)
	for _, p := range a.Parameters {
		value := e(p.Value)
		if p.Chosen {
			value = "<strong>" + value + "</strong>"
		}
		fmt.Fprintf(b, `<tr><th scope="row">--%s</th><td>%s</td><td class="soft">%s</td></tr>`, e(p.Name), value, e(p.Meaning))
	}
	b.WriteString("</tbody></table></div></section>")
}
