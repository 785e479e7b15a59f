package control

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// table collects rows of cells and aligns them. A dash stands for nothing.
type table struct {
	heading []string
	rows    [][]string
}

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

// write writes the table; one without rows says so in words.
func (t *table) write(w io.Writer, empty string) error {
	if len(t.rows) == 0 {
		_, err := fmt.Fprintln(w, empty)
		return err
	}
	var b strings.Builder
	a := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.heading}, t.rows...) {
		fmt.Fprintln(a, strings.Join(row, "\t"))
	}
	if err := a.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) { // no blanks at the end
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
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
