package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// WriteTable writes the report for people: a line for each handover, the
// verdict on the transfer, and the summary.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	c := r.Conditions
	fmt.Fprintf(&b, "Milliseconds. Round trips: A %s to the access router, H %s to the home agent. Phases from the new link on.\n",
		millis(c.Access), millis(c.HomeAgent))
	fmt.Fprintf(&b, "Limits: downlink L2 + A + H; uplink L2 + A, and half of the difference when the home agent gets nearer or farther.\n\n")
	rows := [][]string{
		{"", "", "", "", "phases", "", "", "", "", "downlink", "", "", "", "uplink", "", "", ""},
		{"", "from", "to", "L2", "link", "RA", "CoA", "BU", "BA", "gap", "limit", "ratio", "lost", "gap", "limit", "ratio", "lost"},
	}
	for i, h := range r.Handovers {
		p := h.Phases
		rows = append(rows, []string{fmt.Sprint(i + 1), h.From, h.To, millis(h.Switching),
			millis(p.LinkUp), millis(p.Advertised), millis(p.CareOf), millis(p.Updated), millis(p.Acknowledged),
			millis(h.Down), millis(h.LimitDown), ratio(Milliseconds(h.RatioDown())), fmt.Sprint(h.LostDown),
			millis(h.Up), millis(h.LimitUp), ratio(Milliseconds(h.RatioUp())), fmt.Sprint(h.LostUp)})
		if !h.Completed {
			rows[len(rows)-1] = append(rows[len(rows)-1], "not completed")
		}
	}
	align(&b, rows)
	b.WriteByte('\n')
	for _, k := range r.Kills {
		fmt.Fprintf(&b, "%s killed and restarted: downlink back after %s ms (%d lost), uplink after %s ms (%d lost)\n",
			strings.ToUpper(k.Role), millis(k.RecoveredDown), k.LostDown, millis(k.RecoveredUp), k.LostUp)
	}
	if r.TCP.Intact {
		fmt.Fprintf(&b, "TCP       intact: %s down, %s up, as sent\n", octets(r.TCP.BytesDown), octets(r.TCP.BytesUp))
	} else {
		fmt.Fprintf(&b, "TCP       NOT intact: %s down, %s up: %s\n", octets(r.TCP.BytesDown), octets(r.TCP.BytesUp), r.TCP.Error)
	}
	s := r.Summary
	fmt.Fprintf(&b, "downlink  median %s ms = %s × limit (limit + %s ms), 99 %% %s ms = %s × limit; lost %d of %d\n",
		millis(s.MedianDown), ratio(s.MedianRatioDown), millis(s.ExcessDown), millis(s.P99Down), ratio(s.P99RatioDown), s.LostDown, s.SentDown)
	fmt.Fprintf(&b, "uplink    median %s ms = %s × limit (limit + %s ms), 99 %% %s ms = %s × limit; lost %d of %d\n",
		millis(s.MedianUp), ratio(s.MedianRatioUp), millis(s.ExcessUp), millis(s.P99Up), ratio(s.P99RatioUp), s.LostUp, s.SentUp)
	fmt.Fprintf(&b, "probes    %d duplicates, %d out of order\n", s.Duplicates, s.Reordered)
	if s.Strays > 0 {
		fmt.Fprintf(&b, "strays    %d packets with a source of another network were refused at an access router\n", s.Strays)
	}
	fmt.Fprintf(&b, "the lab   %d frames late by %.3f ms (median), %.3f ms (99 %%), %.3f ms (most); %d discarded\n",
		r.Relay.Frames, r.Relay.MedianLate, r.Relay.P99Late, r.Relay.MaxLate, r.Relay.Discarded)
	fmt.Fprintf(&b, "handovers %d of %d completed\n", s.Completed, s.Handovers)
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "FAILED    %s\n", strings.ReplaceAll(f, "\n", "\n          "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func millis(m Milliseconds) string {
	if !m.Known() {
		return "–"
	}
	return fmt.Sprintf("%.1f", float64(m))
}

func ratio(m Milliseconds) string {
	if !m.Known() {
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

// leftAligned are the columns of words; numbers are aligned to the right.
const leftAligned = 3

// align writes rows in columns. Rows may be of different length. The first row
// groups columns: a cell in it covers those up to the next that is not empty.
func align(b *strings.Builder, rows [][]string) {
	var widths []int
	for _, row := range rows[1:] {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	group := rows[0]
	line := ""
	column := 0
	for i := range group {
		if group[i] != "" {
			line += strings.Repeat(" ", max(0, column-utf8.RuneCountInString(line))) + group[i]
		}
		column += widths[i] + gap(i+1)
	}
	b.WriteString(line + "\n")
	for _, row := range rows[1:] {
		line := ""
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				line += strings.Repeat(" ", gap(i))
			}
			if i > 0 && i < leftAligned || i >= len(group) {
				line += cell + space
			} else {
				line += space + cell
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// gap is the space before a column: more where a group begins.
func gap(column int) int {
	switch column {
	case 0:
		return 0
	case 3, 4, 9, 13:
		return 3
	default:
		return 1
	}
}
