package sim

import "fmt"

// recorder keeps a trace.
type recorder struct{ lines []string }

func (r *recorder) trace(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}
