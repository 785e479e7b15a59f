package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Two thousand mobile routers register with a home agent, move, are served while its
// configuration is reloaded, and are there after it was killed; or lab exits with 1.
func TestScale(t *testing.T) {
	needWorlds(t)
	file := filepath.Join(t.TempDir(), "scale.json")
	// The race detector has its own idea of memory.
	out, err := exec.Command(withoutCgo(t), "lab", "run", "scale", "--mobiles", "2000", "--json", file, "--dir", t.TempDir()).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Figures []struct {
			Name  string   `json:"name"`
			Value *float64 `json:"value"`
		} `json:"figures"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range r.Figures {
		if f.Value == nil {
			t.Errorf("%s was not measured", f.Name)
			continue
		}
		values[f.Name] = *f.Value
	}
	for _, name := range []string{"registered_per_second", "moved_per_second", "steady_p50_ms", "reload_ms", "restart_ms"} {
		if values[name] <= 0 {
			t.Errorf("%s: %v", name, values[name])
		}
	}
	if n := values["steady_unanswered"]; n != 0 {
		t.Errorf("%v of the updates at a rate that is easy were not answered", n)
	}
}
