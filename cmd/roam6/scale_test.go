package main

import (
	"testing"
)

// Two thousand mobile routers register with a home agent, move, are served while its
// configuration is reloaded, and are there after it was killed; or lab exits with 1.
func TestScale(t *testing.T) {
	needWorlds(t)
	var r struct {
		Figures []struct {
			Name  string   `json:"name"`
			Value *float64 `json:"value"`
		} `json:"figures"`
	}
	// The race detector has its own idea of memory.
	playLab(t, withoutCgo(t), &r, "scale", "--mobiles", "2000", "--dir", t.TempDir())
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
