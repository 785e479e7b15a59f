package control

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// table collects rows of cells and aligns them. A dash stands for nothing.
type table struct {
	heading []string
	rows    [][]string
	marks   map[place]tone
}

// place is a cell of a table.
type place struct{ row, column int }

func newTable(heading ...string) *table { return &table{heading: heading} }

// row adds a row. A cell of several lines makes the row as many lines high.
func (t *table) row(cells ...string) {
	height := 1
	split := make([][]string, len(cells))
	for i, c := range cells {
		if c == "" {
			c = "-"
		}
		split[i] = strings.Split(c, "\n")
		height = max(height, len(split[i]))
	}
	for line := range height {
		row := make([]string, len(cells))
		for i := range cells {
			if line < len(split[i]) {
				row[i] = split[i][line]
			}
		}
		t.rows = append(t.rows, row)
	}
}

// mark gives a cell of the last row a tone.
func (t *table) mark(heading string, as tone) {
	if t.marks == nil {
		t.marks = make(map[place]tone)
	}
	t.marks[place{len(t.rows) - 1, slices.Index(t.heading, heading)}] = as
}

// gap is between columns.
const gap = "  "

// write writes the table; one without rows says so in words.
func (t *table) write(w io.Writer, empty string) error {
	if len(t.rows) == 0 {
		_, err := fmt.Fprintln(w, empty)
		return err
	}
	style := styleOf(w)
	widths := make([]int, len(t.heading))
	for _, row := range append([][]string{t.heading}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for n, row := range append([][]string{t.heading}, t.rows...) {
		last := len(row) - 1 // no blanks at the end
		for last >= 0 && strings.TrimSpace(row[last]) == "" {
			last--
		}
		for i, cell := range row[:last+1] {
			b.WriteString(style.paint(t.tone(n-1, i), cell))
			if i < last {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + gap)
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// tone is that of a cell; row -1 is the heading.
func (t *table) tone(row, column int) tone {
	if row < 0 {
		return toneStrong
	}
	if as, marked := t.marks[place{row, column}]; marked {
		return as
	}
	return toneOf(t.heading[column], t.rows[row][column])
}

// writeTables writes the tables that have rows, with a blank line between; when
// none has, it says so in words.
func writeTables(w io.Writer, empty string, tables ...*table) error {
	written := false
	for _, t := range tables {
		if len(t.rows) == 0 {
			continue
		}
		if written {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := t.write(w, empty); err != nil {
			return err
		}
		written = true
	}
	if written {
		return nil
	}
	_, err := fmt.Fprintln(w, empty)
	return err
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// lines puts each element of a list on a line of its own.
func lines[T fmt.Stringer](list []T) string {
	s := make([]string, len(list))
	for i, v := range list {
		s[i] = v.String()
	}
	return strings.Join(s, "\n")
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// span is a duration as people read it: with two units at most.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	two := func(big int64, bigUnit string, small int64, smallUnit string) string {
		s := strconv.FormatInt(big, 10) + bigUnit
		if small != 0 {
			s += strconv.FormatInt(small, 10) + smallUnit
		}
		return s
	}
	switch {
	case d == 0:
		return "0s"
	case d < 0:
		return "-" + span(-d)
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Truncate(100*time.Millisecond).Seconds(), 'f', -1, 64) + "s"
	case d < time.Minute:
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	case d < time.Hour:
		return two(int64(d/time.Minute), "m", int64(d%time.Minute/time.Second), "s")
	case d < day:
		return two(int64(d/time.Hour), "h", int64(d%time.Hour/time.Minute), "m")
	default:
		return two(int64(d/day), "d", int64(d%day/time.Hour), "h")
	}
}

// occurred returns the names with a count above zero, in order.
func occurred(counts map[string]uint64) []string {
	var names []string
	for name, n := range counts {
		if n != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
