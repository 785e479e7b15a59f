package report

import (
	"fmt"
	"slices"
	"strings"
)

// Flood is what packets of one kind do to a daemon while they pour in, and to
// those whom it serves.
type Flood struct {
	Kind    string `json:"kind"`
	Sources string `json:"sources"` // "one" or "many"
	Sent    int    `json:"sent"`
	// PerSecond is how fast they were sent, Answers how many packets came back.
	PerSecond int `json:"per_second"`
	Answers   int `json:"answers"`
	// Before, Peak and After are the daemon's resident memory in kilobytes.
	Before int `json:"memory_before_kb"`
	Peak   int `json:"memory_peak_kb"`
	After  int `json:"memory_after_kb"`
	// Processor is how much of one processor the daemon took.
	Processor float64   `json:"processor"`
	Services  []Service `json:"services"`
	// DataSent and DataLost are of a steady stream through a tunnel.
	DataSent int `json:"data_sent"`
	DataLost int `json:"data_lost"`
	// Recovered is the time from the end of the flood until every service had
	// answered a request that was made after it.
	Recovered Milliseconds `json:"recovered_ms"`
}

// Service is what somebody honest saw of a service during a flood. Nothing was
// asked twice.
type Service struct {
	Name     string       `json:"name"`
	Asked    int          `json:"asked"`
	Answered int          `json:"answered"`
	Median   Milliseconds `json:"median_ms"`
	P99      Milliseconds `json:"p99_ms"`
}

// NewService computes the figures of a service from the times of its answers.
func NewService(name string, asked int, answers []Milliseconds) Service {
	var times []float64
	for _, a := range answers {
		times = append(times, float64(a))
	}
	return Service{Name: name, Asked: asked, Answered: len(answers),
		Median: Milliseconds(quantile(times, .5)), P99: Milliseconds(quantile(times, .99))}
}

// Share is the part of the requests that were answered, 1 when there were none.
func (s Service) Share() float64 {
	if s.Asked == 0 {
		return 1
	}
	return float64(s.Answered) / float64(s.Asked)
}

// writeFloods writes a line for each flood.
func (r *Report) writeFloods(b *strings.Builder) {
	if len(r.Floods) == 0 {
		return
	}
	columns := []column{{words: true}, {words: true}, {group: " "}, {}, {group: "memory, MB"}, {}, {}, {group: " "}}
	header := []string{"flood", "sources", "sent/s", "back", "before", "peak", "after", "CPU"}
	for _, s := range r.Floods[0].Services {
		columns = append(columns, column{group: s.Name}, column{}, column{})
		header = append(header, "answered", "p50", "p99")
	}
	columns = append(columns, column{group: "tunnel"}, column{group: " "})
	header = append(header, "lost", "recovered")
	rows := [][]string{header}
	for _, f := range r.Floods {
		row := []string{f.Kind, f.Sources, fmt.Sprint(f.PerSecond), fmt.Sprint(f.Answers),
			megabytes(f.Before), megabytes(f.Peak), megabytes(f.After), fmt.Sprintf("%.0f %%", 100*f.Processor)}
		for _, s := range f.Services {
			row = append(row, fmt.Sprintf("%.1f %%", 100*s.Share()), millis(s.Median), millis(s.P99))
		}
		rows = append(rows, slices.Concat(row, []string{fmt.Sprintf("%d of %d", f.DataLost, f.DataSent), millis(f.Recovered)}))
	}
	align(b, columns, rows)
	b.WriteByte('\n')
}

func megabytes(kilobytes int) string { return fmt.Sprintf("%.1f", float64(kilobytes)/1000) }
