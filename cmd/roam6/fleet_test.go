package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestFleet: mobile routers of one home agent ride at random, get lost and return.
// All are reachable at the end, and registered where they are, or lab exits with 1.
func TestFleet(t *testing.T) {
	needWorlds(t)
	const routers = 12
	var r worldJSON
	// The race detector has its own idea of memory.
	playLab(t, withoutCgo(t), &r, "fleet", "--routers", "12", "--access-routers", "3", "--duration", "10s", "--dwell", "2s",
		"--probe-interval", "50ms", "--dir", t.TempDir())
	if len(r.Failures) != 0 || !r.TCP.Intact || r.Scenario != "fleet" {
		t.Errorf("failures %q, TCP %+v", r.Failures, r.TCP)
	}
	// Each stops for at most three seconds.
	if len(r.Handovers) < 2*routers {
		t.Errorf("%d handovers", len(r.Handovers))
	}
	for i, h := range r.Handovers {
		if h.From == "" || h.To == "" || h.From == h.To || h.LimitDownMS == nil || *h.LimitDownMS <= 0 {
			t.Errorf("handover %d: %+v", i+1, h)
		}
	}
	if err := expected(len(r.Handovers), "unreachable", "reachable_after_ms", "handovers", "excess_median_ms", "excess_p99_ms", "update_median_ms", "update_p99_ms",
		"messages_per_second", "processor_ms_per_second", "memory_kb", "router_memory_kb", "foreign_addresses")(r); err != nil {
		t.Error(err)
	}
}

// playLab plays a scenario of a lab that was built, which has to succeed, and reads its
// report.
func playLab(t *testing.T, binary string, report any, args ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	out, err := exec.Command(binary, append([]string{"lab", "run"}, append(args, "--json", file)...)...).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, report); err != nil {
		t.Fatal(err)
	}
}
