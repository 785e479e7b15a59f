package control

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxDrawn is how many moves are drawn for people, the last ones; JSON has all.
const maxDrawn = 20

// Render draws the timeline of each move: a bar for each phase, to a scale that is the
// move's, with what it took and when it was over.
func (d Handovers) Render(w io.Writer) error {
	if len(d.Handovers) == 0 {
		_, err := fmt.Fprintln(w, "no handovers")
		return err
	}
	style := styleOf(w)
	var b strings.Builder
	drawn := d.Handovers
	if n := len(drawn) - maxDrawn; n > 0 {
		fmt.Fprintf(&b, "%d earlier moves: --json has all\n", n)
		drawn = drawn[n:]
	}
	b.WriteString("milliseconds that each phase took, and from the start of the move to its end\n")
	for _, h := range drawn {
		b.WriteByte('\n')
		h.draw(&b, style)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// point is the end of a phase.
type point struct {
	name string
	at   *Milliseconds
}

func (p Phases) points() [6]point {
	return [...]point{
		{"link up", p.LinkUp}, {"solicited", p.Solicited}, {"advertised", p.Advertised},
		{"care-of", p.CareOf}, {"update", p.Updated}, {"answer", p.Acknowledged},
	}
}

// draw writes two lines about a move, and one for each phase.
func (h Handover) draw(b *strings.Builder, s Style) {
	arrow := "->"
	if s.Unicode {
		arrow = "→"
	}
	from, to := h.From.String(), h.To.String()
	if from == "" {
		from = "nowhere"
	}
	if to == "" {
		to = "nowhere"
	}
	total, as := "no answer", toneBad
	if h.Total != nil {
		total, as = milliseconds(*h.Total)+" ms", toneStrong
	}
	updates := strconv.Itoa(h.Updates) + " updates"
	if h.Updates == 1 {
		updates = "1 update"
	}
	// As many parts on a line as fit.
	column := 0
	for i, part := range [...]struct {
		text string
		as   tone
	}{
		{h.HomeAddress.String(), toneStrong}, {from + " " + arrow + " " + to, toneStrong},
		{h.Trigger + ", " + span(time.Duration(h.Age)) + " ago, " + updates, toneNone}, {total, as},
	} {
		n := utf8.RuneCountInString(part.text)
		if i > 0 {
			if column+len(gap)+n > s.columns() {
				b.WriteByte('\n')
				column = 0
			}
			b.WriteString(gap)
			n += len(gap)
		}
		b.WriteString(s.paint(part.as, part.text))
		column += n
	}
	b.WriteByte('\n')

	// The columns: a name, two numbers, the bar.
	const name, number = 10, 9
	room := max(s.columns()-len(gap)-name-2*number-len(gap), 8)
	end := Milliseconds(0)
	for _, p := range h.Phases.points() {
		if p.at != nil {
			end = max(end, *p.at)
		}
	}
	var before Milliseconds
	for _, p := range h.Phases.points() {
		if p.at == nil {
			continue
		}
		took := max(*p.at-before, 0)
		fmt.Fprintf(b, "%s%-*s%*s%*s%s%s\n", gap, name, p.name, number, milliseconds(took), number, milliseconds(*p.at), gap, s.bar(before, max(*p.at, before), end, room))
		before = max(before, *p.at)
	}
}

// bar is a line of so many columns for the time until end, of which that from a moment to
// another one is filled, or marked where there is none between.
func (s Style) bar(from, to, end Milliseconds, room int) string {
	fill, mark := "#", "|"
	if s.Unicode {
		fill, mark = "█", "▏"
	}
	if end <= 0 {
		return mark
	}
	column := func(m Milliseconds) int { return int(float64(m)/float64(end)*float64(room) + 0.5) }
	first, last := column(from), column(to)
	if first >= last {
		return strings.Repeat(" ", min(first, room-1)) + mark
	}
	return strings.Repeat(" ", first) + strings.Repeat(fill, last-first)
}

// milliseconds is a number of them with one decimal.
func milliseconds(m Milliseconds) string {
	return strconv.FormatFloat(float64(m)/float64(time.Millisecond), 'f', 1, 64)
}
