package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// WriteTable writes the report for people: a line for each handover, the
// figures, the verdict on the transfer, and the summary.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	for _, line := range r.Legend {
		b.WriteString(line + "\n")
	}
	if len(r.Planes) > 0 {
		fmt.Fprintf(&b, "Data plane: %s.\n", strings.Join(r.Planes, ", "))
	}
	if len(r.Legend)+len(r.Planes) > 0 {
		b.WriteByte('\n')
	}
	if len(r.Handovers) > 0 && !r.Brief {
		r.writeHandovers(&b)
		b.WriteByte('\n')
	}
	if len(r.Figures) > 0 {
		r.writeFigures(&b)
		b.WriteByte('\n')
	}
	for _, k := range r.Kills {
		fmt.Fprintf(&b, "%s killed and restarted: downlink back after %s ms (%d lost), uplink after %s ms (%d lost)\n",
			strings.ToUpper(k.Role), millis(k.RecoveredDown), k.LostDown, millis(k.RecoveredUp), k.LostUp)
	}
	r.writeFloods(&b)
	if r.writeAdvertising(&b); len(r.Advertising) == 0 && !r.Unmoved { // which have no handovers
		r.writeSummary(&b)
	}
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "FAILED    %s\n", strings.ReplaceAll(f, "\n", "\n          "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeSummary(b *strings.Builder) {
	s := r.Summary
	if r.TCP.Intact {
		fmt.Fprintf(b, "TCP       intact: %s down, %s up, as sent\n", octets(r.TCP.BytesDown), octets(r.TCP.BytesUp))
	} else {
		fmt.Fprintf(b, "TCP       NOT intact: %s down, %s up: %s\n", octets(r.TCP.BytesDown), octets(r.TCP.BytesUp), r.TCP.Error)
	}
	line := func(name string, median, ratioMedian, excess, p99, ratioP99 Milliseconds, lost, sent int) {
		fmt.Fprintf(b, "%-9s ", name)
		if median.Known() {
			fmt.Fprintf(b, "median %s ms = %s × limit (limit + %s ms), 99 %% %s ms = %s × limit; ",
				millis(median), ratio(ratioMedian), millis(excess), millis(p99), ratio(ratioP99))
		}
		fmt.Fprintf(b, "lost %d of %d\n", lost, sent)
	}
	line("downlink", s.MedianDown, s.MedianRatioDown, s.ExcessDown, s.P99Down, s.P99RatioDown, s.LostDown, s.SentDown)
	line("uplink", s.MedianUp, s.MedianRatioUp, s.ExcessUp, s.P99Up, s.P99RatioUp, s.LostUp, s.SentUp)
	fmt.Fprintf(b, "probes    %d duplicates, %d out of order\n", s.Duplicates, s.Reordered)
	if s.Strays > 0 {
		fmt.Fprintf(b, "strays    %d packets with a source of another network were refused at an access router\n", s.Strays)
	}
	fmt.Fprintf(b, "the lab   %d frames late by %.3f ms (median), %.3f ms (99 %%), %.3f ms (most); %d discarded; a process waited for a processor for %.0f ms of 500 (most)\n",
		r.Relay.Frames, r.Relay.MedianLate, r.Relay.P99Late, r.Relay.MaxLate, r.Relay.Discarded, r.Relay.MaxWait)
	fmt.Fprintf(b, "handovers %d of %d completed\n", s.Completed, s.Handovers)
}

// column is one column of the table of handovers.
type column struct {
	group string // of this column and those that follow without one
	name  string
	words bool // aligned to the left
	cell  func(number int, h Handover) string
}

// columns are those that have something to show.
func (r *Report) columns() []column {
	has := func(f func(Handover) bool) bool { return slices.ContainsFunc(r.Handovers, f) }
	word := func(name string, f func(Handover) string) column {
		return column{name: name, words: true, cell: func(_ int, h Handover) string { return f(h) }}
	}
	number := func(group, name string, f func(Handover) string) column {
		return column{group: group, name: name, cell: func(_ int, h Handover) string { return f(h) }}
	}
	all := []column{{cell: func(number int, _ Handover) string { return fmt.Sprint(number) }}}
	if has(func(h Handover) bool { return h.Mobile != "" }) {
		all = append(all, word("who", func(h Handover) string { return h.Mobile }))
	}
	all = append(all,
		word("from", func(h Handover) string { return h.From }),
		word("to", func(h Handover) string { return h.To }))
	if has(func(h Handover) bool { return h.Kind != "" }) {
		all = append(all, word("how", func(h Handover) string { return h.Kind }))
	}
	all = append(all, number(" ", "L2", func(h Handover) string { return millis(h.Switching) }))
	if has(func(h Handover) bool { return h.Phases.Known() }) {
		all = append(all,
			number("phases", "link", func(h Handover) string { return millis(h.Phases.LinkUp) }),
			number("", "RA", func(h Handover) string { return millis(h.Phases.Advertised) }),
			number("", "CoA", func(h Handover) string { return millis(h.Phases.CareOf) }),
			number("", "BU", func(h Handover) string { return millis(h.Phases.Updated) }),
			number("", "BA", func(h Handover) string { return millis(h.Phases.Acknowledged) }))
	}
	if has(func(h Handover) bool { return h.Lease != nil }) {
		lease := func(f func(*Lease) string) func(Handover) string {
			return func(h Handover) string {
				if h.Lease == nil {
					return ""
				}
				return f(h.Lease)
			}
		}
		first := number("DHCPv6", "first", lease(func(l *Lease) string { return strings.ToLower(l.Message) }))
		first.words = true
		all = append(all, first,
			number("", "at", lease(func(l *Lease) string { return millis(l.Asked) })),
			number("", "answer", lease(func(l *Lease) string { return millis(l.Answered) })),
			number("", "server", lease(func(l *Lease) string { return millis(l.Server) })))
	}
	optional := func(m *Milliseconds) string {
		if m == nil {
			return ""
		}
		return millis(*m)
	}
	all = append(all,
		number("downlink", "gap", func(h Handover) string { return millis(h.Down) }),
		number("", "limit", func(h Handover) string { return millis(h.LimitDown) }),
		number("", "ratio", func(h Handover) string { return ratio(Milliseconds(h.RatioDown())) }))
	if has(func(h Handover) bool { return h.LimitPlain != nil }) {
		all = append(all, number("", "plain", func(h Handover) string { return optional(h.LimitPlain) }))
	}
	all = append(all,
		number("", "lost", func(h Handover) string { return fmt.Sprint(h.LostDown) }),
		number("uplink", "gap", func(h Handover) string { return millis(h.Up) }),
		number("", "limit", func(h Handover) string { return millis(h.LimitUp) }),
		number("", "ratio", func(h Handover) string { return ratio(Milliseconds(h.RatioUp())) }),
		number("", "lost", func(h Handover) string { return fmt.Sprint(h.LostUp) }))
	if has(func(h Handover) bool { return h.Direct != nil }) {
		all = append(all,
			number("direct", "after", func(h Handover) string { return optional(h.Direct) }),
			number("", "limit", func(h Handover) string { return optional(h.LimitDirect) }))
	}
	if has(func(h Handover) bool { return h.HomeUpdates != nil }) {
		all = append(all, number("home agent", "BUs", func(h Handover) string {
			if h.HomeUpdates == nil {
				return ""
			}
			return fmt.Sprint(*h.HomeUpdates)
		}))
	}
	return append(all, word("", func(h Handover) string {
		if h.Completed {
			return ""
		}
		return "not completed"
	}))
}

func (r *Report) writeHandovers(b *strings.Builder) {
	all := r.columns()
	header := make([]string, len(all))
	for i, c := range all {
		header[i] = c.name
	}
	rows := [][]string{header}
	for n, h := range r.Handovers {
		row := make([]string, len(all))
		for i, c := range all {
			row[i] = c.cell(n+1, h)
		}
		rows = append(rows, row)
	}
	align(b, all, rows)
}

// writeFigures writes a line for each figure.
func (r *Report) writeFigures(b *strings.Builder) {
	var columns []column
	for _, name := range []string{"", "measured", "limit", "ratio", "at most"} {
		columns = append(columns, column{name: name, words: name == ""})
	}
	rows := [][]string{{"", "measured", "limit", "ratio", "at most"}}
	for _, f := range r.Figures {
		limit, over, bound := "", "", ""
		if f.Limit.Known() {
			limit, over = f.quantity(f.Limit), ratio(f.Value/f.Limit)
		}
		if f.Bound.Known() {
			bound = f.quantity(f.Bound)
		}
		rows = append(rows, []string{f.Text, f.quantity(f.Value), limit, over, bound})
	}
	align(b, columns, rows)
}

func millis(m Milliseconds) string {
	if !m.Known() {
		return "–"
	}
	return fmt.Sprintf("%.1f", float64(m))
}

func ratio(m Milliseconds) string {
	if !m.Known() || m < 0 || m > 1e6 { // to a limit of nothing
		return "–"
	}
	return fmt.Sprintf("%.2f", float64(m))
}

func octets(n int64) string {
	switch {
	case n >= 1_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	default:
		return fmt.Sprintf("%d octets", n)
	}
}

// align writes rows in columns, below the names of their groups if there are
// any.
func align(b *strings.Builder, columns []column, rows [][]string) {
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	groups, grouped, at := "", false, 0
	for i, c := range columns {
		at += space(columns, i)
		if group := strings.TrimSpace(c.group); group != "" {
			grouped = true
			groups += strings.Repeat(" ", max(0, at-utf8.RuneCountInString(groups))) + group
		}
		at += widths[i]
	}
	if grouped {
		b.WriteString(groups + "\n")
	}
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += strings.Repeat(" ", space(columns, i))
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if columns[i].words {
				line += cell + pad
			} else {
				line += pad + cell
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// space is the room before a column: more where a group begins.
func space(columns []column, i int) int {
	switch {
	case i == 0:
		return 0
	case columns[i].group != "":
		return 3
	default:
		return 1
	}
}
