package planetest

import (
	"slices"
	"testing"
)

// rates are what passed in a second, down and up, in each round of a benchmark.
type rates struct{ down, up []float64 }

func (r *rates) add(down, up float64) { r.down, r.up = append(r.down, down), append(r.up, up) }

// unit is one that rates are shown in.
type unit struct {
	name   string
	factor float64 // from octets or packets
}

var (
	gigabits = unit{"Gbit/s", 8e-9}
	packets  = unit{"packets/s", 1}
)

// report reports the medians of rates.
func (r *rates) report(b *testing.B, name string, u unit) {
	for direction, all := range map[string][]float64{"down": r.down, "up": r.up} {
		b.ReportMetric(median(all)*u.factor, name+"-"+direction+"-"+u.name)
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}

// ratio reports rates as ratios to others of the same rounds: the median, which hardly
// depends on what else the machine did.
func (r *rates) ratio(b *testing.B, name string, to *rates) {
	each := func(a, b []float64) (all []float64) {
		for i := range a {
			all = append(all, a[i]/b[i])
		}
		return all
	}
	b.ReportMetric(median(each(r.down, to.down)), name+"-down-ratio")
	b.ReportMetric(median(each(r.up, to.up)), name+"-up-ratio")
}

// median is the mean of the middle two of an even number of values; there is one at least.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
