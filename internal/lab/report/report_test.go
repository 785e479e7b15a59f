package report

import (
	"bytes"
	"encoding/json"
	"slices"
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

// TestOptimised spells out the reasoning for A = 2 ms, H = 50 ms, C = 10 ms,
// T = 106 ms, L2 = 10 ms.
func TestOptimised(t *testing.T) {
	home := Ways{Access: 2 * ms, HomeAgent: 2 * ms, Direct: 58 * ms, Tunnel: 58 * ms, Test: 58 * ms, Signal: 58 * ms, Home: true}
	away := Ways{Access: 2 * ms, HomeAgent: 50 * ms, Direct: 10 * ms, Tunnel: 106 * ms, Test: 106 * ms, Signal: 10 * ms}
	// The home agent is nearer than the correspondent.
	near := Ways{Access: 2 * ms, HomeAgent: 4 * ms, Direct: 30 * ms, Tunnel: 100 * ms, Test: 100 * ms, Signal: 30 * ms}
	for _, c := range []struct {
		name     string
		from, to Ways
		bound    bool
		want     Expected
	}{
		// Up: 12 until the care-of address is there, 53 through the tunnel, and it
		// took 29 before. Direct: HoTI takes 106.
		{"leaving home", home, away, false, Expected{Down: 62 * ms, Up: 36 * ms, Direct: 108 * ms}},
		// Down: 12, CoT 10, the update 5, the packet 5. Up right behind the update:
		// 12, 10, and the packet takes as long as before.
		{"between access routers", away, away, true, Expected{Down: 32 * ms, Up: 22 * ms, Direct: 12 * ms}},
		// Up the direct way: 12, CoT 30, and the packet takes as long as before.
		{"a home agent nearby", near, near, true, Expected{Down: 72 * ms, Up: 42 * ms, Direct: 32 * ms}},
		// The home agent answers after 14; the correspondent hears 29 later, and
		// its packet takes 29. Up: 14 + 29, less 5.
		{"returning home", away, home, true, Expected{Down: 72 * ms, Up: 38 * ms, Direct: 4 * ms}},
		{"through the tunnel", away, away, false, Expected{Down: 62 * ms, Up: 12 * ms, Direct: 108 * ms}},
		// The first packets from home overtake the last through the tunnel.
		{"home through the tunnel", away, home, false, Expected{Down: 14 * ms, Up: 0, Direct: 4 * ms}},
	} {
		if got := Optimised(10*ms, c.from, c.to, c.bound); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	if d := FirstPacket(away); d != 106*ms {
		t.Errorf("the first packet's way is the direct one after %v", d)
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

// TestFigures: what is beyond its bound, or was not measured, fails the run.
func TestFigures(t *testing.T) {
	var r Report
	r.Add(Time("rtt_ms", "round trip", 12, 10).Within(1.1, 2))
	r.Add(Time("free_ms", "something without a bound", None(), None()))
	if len(r.Failures) != 0 {
		t.Fatalf("failures: %q", r.Failures)
	}
	r.Add(Time("slow_ms", "slow", 14, 10).Within(1.1, 2))
	r.Add(Packets("lost", "lost at the hand-off", 3).AtMost(0))
	r.Add(Time("never_ms", "recovery", None(), None()).AtMost(100))
	want := []string{"slow: 14.0 ms, more than 13.0 ms", "lost at the hand-off: 3 packets, more than 0 packets", "recovery was not measured: it did not happen"}
	if !slices.Equal(r.Failures, want) {
		t.Errorf("failures: %q", r.Failures)
	}
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + b.String())
	for _, want := range []string{
		"round trip                  12.0 ms 10.0 ms  1.20   13.0 ms\n",
		"something without a bound      – ms\n",
		"lost at the hand-off      3 packets               0 packets\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("missing %q", want)
		}
	}
}

// TestColumns: a table has only the columns that have something in them.
func TestColumns(t *testing.T) {
	direct := Milliseconds(33.3)
	limit := Milliseconds(22)
	r := Report{Handovers: []Handover{
		{Mobile: "mn1", From: "ar1", To: "ar2", Kind: "break first", Completed: true, Switching: 10, LimitDown: 22, Down: 24, LimitUp: 0, Up: 0, Phases: NoPhases(), Direct: &direct, LimitDirect: &limit},
		{Mobile: "mn2", From: "ar2", To: "ar1", Completed: true, Phases: NoPhases()},
	}}
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  who from to  how             L2    gap limit ratio lost   gap limit ratio lost   after limit\n",
		"1 mn1 ar1  ar2 break first   10.0   24.0  22.0  1.09    0   0.0   0.0     –    0    33.3  22.0\n",
		"                                    downlink                uplink                 direct\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("missing %q in\n%s", want, b.String())
		}
	}
	for _, absent := range []string{"phases", "plain", "home agent"} {
		if strings.Contains(b.String(), absent) {
			t.Errorf("there is %q, of which nothing is known", absent)
		}
	}
	// With mobility anchor points.
	plain, updates := Milliseconds(112), 0
	r.Handovers[0].LimitPlain, r.Handovers[0].HomeUpdates = &plain, &updates
	b.Reset()
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"   gap limit ratio plain lost   gap limit ratio lost   after limit   BUs\n",
		"  24.0  22.0  1.09 112.0    0   0.0   0.0     –    0    33.3  22.0     0\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("missing %q in\n%s", want, b.String())
		}
	}
}
