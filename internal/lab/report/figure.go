package report

import "fmt"

// Figure is a single measurement, beside what physics leaves and beside what
// is still taken for good.
type Figure struct {
	Name string `json:"name"` // for programs
	Text string `json:"text"` // for people
	Unit string `json:"unit"` // "ms", "packets" or what else is counted
	// Value is null when it could not be measured.
	Value Milliseconds `json:"value"`
	// Limit is the least that is possible; null where there is no such thing.
	Limit Milliseconds `json:"limit"`
	// Bound is the most that is good; null: anything is.
	Bound Milliseconds `json:"bound"`
}

// Time is a figure in milliseconds, with what physics leaves for it.
func Time(name, text string, value, limit Milliseconds) Figure {
	return Figure{Name: name, Text: text, Unit: "ms", Value: value, Limit: limit, Bound: None()}
}

// Packets is a figure that counts packets.
func Packets(name, text string, n int) Figure { return Number(name, text, "packets", n) }

// Number is a figure that counts something.
func Number(name, text, unit string, n int) Figure {
	return Figure{Name: name, Text: text, Unit: unit, Value: Milliseconds(n), Limit: None(), Bound: None()}
}

// AtMost sets the bound.
func (f Figure) AtMost(bound Milliseconds) Figure { f.Bound = bound; return f }

// Within sets the bound by the limit: a ratio to it and something on top.
func (f Figure) Within(ratio float64, more Milliseconds) Figure {
	f.Bound = Milliseconds(ratio)*f.Limit + more
	return f
}

// Add takes in a figure. One that is not within its bound is a failure; where figures of
// time are not judged they have none.
func (r *Report) Add(f Figure) {
	if r.Untimed && f.Unit == "ms" {
		f.Bound = None()
	}
	r.Figures = append(r.Figures, f)
	switch {
	case !f.Bound.Known():
	case !f.Value.Known():
		r.Fail("%s was not measured: it did not happen", f.Text)
	case f.Value > f.Bound:
		r.Fail("%s: %s, more than %s", f.Text, f.quantity(f.Value), f.quantity(f.Bound))
	}
}

// quantity is a value with its unit.
func (f Figure) quantity(m Milliseconds) string {
	if f.Unit == "ms" || !m.Known() {
		return millis(m) + " " + f.Unit
	}
	return fmt.Sprintf("%.0f %s", float64(m), f.Unit)
}
