package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// TestLimits spells out the reasoning for A = 2 ms, H = 10 ms, L2 = 10 ms.
func TestLimits(t *testing.T) {
	home, away := Place{2 * ms, 2 * ms}, Place{2 * ms, 10 * ms}
	for _, c := range []struct {
		name     string
		from, to Place
		down, up time.Duration
	}{
		{"between access routers", away, away, 22 * ms, 12 * ms},
		// The first packets of the new way fly 5 ms, the last of the old one 1 ms.
		{"leaving home", home, away, 22 * ms, 16 * ms},
		{"returning home", away, home, 14 * ms, 8 * ms},
	} {
		if down, up := Limits(10*ms, c.from, c.to); down != c.down || up != c.up {
			t.Errorf("%s: %v down, %v up; want %v and %v", c.name, down, up, c.down, c.up)
		}
	}
	// Far away to home: the new way may even overtake the old one.
	if _, up := Limits(0, Place{2 * ms, 100 * ms}, home); up != 0 {
		t.Errorf("an uplink limit of %v", up)
	}
}

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{[]float64{3, 1, 2}, .5, 2},
		{[]float64{4, 1, 2, 3}, .5, 2.5},
		{[]float64{5, 1, 2, 3, 4}, .99, 5},
		{[]float64{7}, .99, 7},
	} {
		if got := quantile(c.values, c.q); got != c.want {
			t.Errorf("quantile %v of %v: %v, want %v", c.q, c.values, got, c.want)
		}
	}
	if Milliseconds(quantile(nil, .5)).Known() {
		t.Error("no values have a median")
	}
}

func sample() *Report {
	good := Handover{From: "ar1", To: "ar2", Completed: true, Switching: 10.05, LimitDown: 22, Down: 24.2, LimitUp: 12, Up: 13.1,
		LostDown: 24, LostUp: 13, Phases: Phases{0.2, 0.3, 2.6, 2.7, 2.8, 13.1}, Trigger: "link", Updates: 1}
	bad := Handover{From: "ar3", To: "home", Switching: 10, LimitDown: 14, Down: None(), LimitUp: 8, Up: None(), LostDown: 700, LostUp: 700, Phases: NoPhases()}
	r := &Report{
		Scenario:   "ride",
		Conditions: Conditions{Switching: 10, Access: 2, HomeAgent: 10, Interval: 1, LinkEvents: true, Seed: 1},
		Handovers:  []Handover{good, bad},
		Kills:      []Kill{{Role: "mr", RecoveredDown: 120, RecoveredUp: 110.5, LostDown: 120, LostUp: 110}},
		TCP:        TCP{Bytes: 2_000_000, BytesDown: 1_500_000, BytesUp: 500_000, Intact: true},
		Summary:    Summary{SentDown: 1000, SentUp: 1000, LostDown: 724, LostUp: 713},
		Relay:      Relay{Frames: 12345, MedianLate: .03, P99Late: .12, MaxLate: 1.5, RealTime: true},
		Failures:   []string{"handover 2, ar3 → home, did not complete"},
	}
	r.Summarise()
	return r
}

// TestJSON checks the names that others read.
func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Handovers []map[string]any
		TCP       map[string]any
		Summary   map[string]any
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	first, second := got.Handovers[0], got.Handovers[1]
	for name, want := range map[string]any{
		"from": "ar1", "to": "ar2", "limit_down_ms": 22.0, "down_ms": 24.2, "limit_up_ms": 12.0, "up_ms": 13.1,
		"lost_down": 24.0, "lost_up": 13.0,
	} {
		if first[name] != want {
			t.Errorf("handovers[0].%s is %v, want %v", name, first[name], want)
		}
	}
	if phases, ok := first["phases_ms"].(map[string]any); !ok || phases["ba"] != 13.1 || phases["link_up"] != 0.2 {
		t.Errorf("phases_ms is %v", first["phases_ms"])
	}
	if v, ok := second["down_ms"]; !ok || v != nil {
		t.Errorf("what was not measured is %v, want null", v)
	}
	if got.TCP["bytes"] != 2e6 || got.TCP["intact"] != true {
		t.Errorf("tcp is %v", got.TCP)
	}
	if got.Summary["median_ratio_down"] != 1.1 || got.Summary["completed"] != 1.0 {
		t.Errorf("summary is %v", got.Summary)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	t.Log("\n" + got)
	for _, want := range []string{
		"1 ar1  ar2    10.1    0.2 2.6 2.7 2.8 13.1   24.2  22.0  1.10   24   13.1  12.0  1.09   13\n",
		"2 ar3  home   10.0      –   –   –   –    –      –  14.0     –  700      –   8.0     –  700 not completed\n",
		"MR killed and restarted: downlink back after 120.0 ms (120 lost)",
		"TCP       intact: 1.5 MB down, 500.0 kB up",
		"downlink  median 24.2 ms = 1.10 × limit (limit + 2.2 ms)",
		"handovers 1 of 2 completed",
		"FAILED    handover 2",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q", want)
		}
	}
}
