package report

import (
	"math"
	"strings"
	"testing"
)

// TestGaps: gaps are judged by the interval that was configured.
func TestGaps(t *testing.T) {
	even := make([]Milliseconds, 0, 401)
	for i := range 401 {
		even = append(even, 30+Milliseconds(i)/10)
	}
	g := NewGaps(even, 30, 70)
	if g.Count != 401 || g.Min != 30 || g.Max != 70 || g.Median != 50 || g.P1 != 30.4 || g.P99 != 69.6 || g.Inside != 1 || g.Missed != 0 || g.Excess != 0 {
		t.Errorf("%+v", g)
	}
	if g.Distance > .01 || float64(g.Distance) > g.chance() {
		t.Errorf("evenly spread: distance %v", g.Distance)
	}
	g = NewGaps([]Milliseconds{20, 30, 70, 71, 77, 78, 100, 50}, 30, 70)
	if g.Inside != 3./8 || g.Missed != 2 || g.Excess != 8+5+6+28 || g.Min != 20 || g.Max != 100 {
		t.Errorf("%+v", g)
	}
	for name, c := range map[string]struct {
		gaps []Milliseconds
		want float64
	}{
		"always the same":        {[]Milliseconds{50, 50, 50, 50}, .5},
		"only the shortest":      {[]Milliseconds{30, 30}, 1},
		"always too late":        {[]Milliseconds{90, 95}, 1},
		"a half, spread in two":  {[]Milliseconds{40, 60}, .25},
		"one in the first tenth": {[]Milliseconds{34}, .9},
	} {
		if got := NewGaps(c.gaps, 30, 70).Distance; math.Abs(float64(got)-c.want) > 1e-9 {
			t.Errorf("%s: distance %v, want %v", name, got, c.want)
		}
	}
	if none := NewGaps(nil, 30, 70); none.Count != 0 || none.Median.Known() || none.Distance.Known() || none.Inside != 0 {
		t.Errorf("without any: %+v", none)
	}
}

func TestAdvertisingTable(t *testing.T) {
	gaps := NewGaps([]Milliseconds{40, 50, 60}, 30, 70)
	ours := Advertising{Program: "roam6", Quiet: gaps, Asked: NewGaps(nil, 30, 70), Links: []Gaps{gaps}, PerSecond: 20, Solicitations: 4, Unicast: 3,
		MedianUnicast: .25, P99Unicast: 1, MedianAny: .25, P99Any: 1, Farewells: 3, Processor: .02, Sending: .1, Resident: 18_000, Proportional: 13_000, Anonymous: 6_000}
	theirs := ours
	theirs.Program, theirs.Version, theirs.MedianUnicast, theirs.Farewells, theirs.Processor, theirs.Resident = "radvd", "2.19", .5, 1, .04, 3_000
	text := func(all ...Advertising) string {
		var b strings.Builder
		if err := (&Report{Advertising: all}).WriteTable(&b); err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(b.String()), " ")
	}
	both := text(ours, theirs)
	for _, want := range []string{
		"roam6 radvd 2.19 ratio gaps 3 3 least, ms 40.00 40.00 1.000",
		"most – – inside of the interval, % 0.00 0.00 beyond", // nothing was heard while hosts solicited
		"answered by unicast, % 75.0 75.0 1.000 after, ms: median 0.250 0.500 0.500",
		"of the end (lifetime 0) on each link 3 1 processor, % of one 2.000 4.000 0.500",
		"resident (RSS) 18.00 3.00 6.000",
		"link gaps least 1 % p50 99 % most inside dist. gaps",
		"1 3 40.0 40.0 50.0 60.0 60.0 100.0 % 0.25 3 40.0",
	} {
		if !strings.Contains(both, want) {
			t.Errorf("the table lacks %q:\n%s", want, both)
		}
	}
	for _, absent := range []string{"handovers", "TCP", "uplink"} {
		if strings.Contains(both, absent) {
			t.Errorf("the table has %q, of which nothing is known", absent)
		}
	}
	if alone := text(ours); strings.Contains(alone, "ratio") || !strings.Contains(alone, "after, ms: median 0.250 99 % 1.000") {
		t.Errorf("alone:\n%s", alone)
	}
}
