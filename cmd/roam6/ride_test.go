package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	worlds "roam6/internal/lab"
)

// asRoam6 makes the test binary be roam6: the lab starts its daemons by running
// the program that it is part of.
const asRoam6 = "ROAM6_TEST_AS_ROAM6"

func TestMain(m *testing.M) {
	if os.Getenv(asRoam6) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// rideJSON is what issue trackers and scripts read of a ride.
type rideJSON struct {
	Handovers []struct {
		From        string              `json:"from"`
		To          string              `json:"to"`
		LimitDownMS *float64            `json:"limit_down_ms"`
		DownMS      *float64            `json:"down_ms"`
		LimitUpMS   *float64            `json:"limit_up_ms"`
		UpMS        *float64            `json:"up_ms"`
		LostDown    *int                `json:"lost_down"`
		LostUp      *int                `json:"lost_up"`
		PhasesMS    map[string]*float64 `json:"phases_ms"`
	} `json:"handovers"`
	TCP struct {
		Bytes  int64 `json:"bytes"`
		Intact bool  `json:"intact"`
	} `json:"tcp"`
	Summary struct {
		MedianRatioDown *float64 `json:"median_ratio_down"`
	} `json:"summary"`
	Failures []string `json:"failures"`
}

// The whole of it on real packets: the train rides, with link events and
// without, with losses, and with the processes of the router and of the home
// agent killed on the way. Each ride completes every handover, delivers TCP
// intact and leaves nothing in any namespace, or lab exits with 1. How long it
// took is measured by `make demo`, not asserted here.
func TestRide(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	if !worlds.Privileged() {
		t.Skip("needs root, or `unshare -Urn`: network namespaces")
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		t.Skipf("needs a TUN device: %v", err)
	} else {
		f.Close()
	}
	t.Setenv(asRoam6, "1")
	for _, args := range []string{
		"--handovers 8",
		"--handovers 4 --no-link-events",
		"--handovers 4 --loss 5",
		"--handovers 4 --ha-dad --dwell 3s",
		"--handovers 4 --kill mr",
		"--handovers 4 --kill ha",
	} {
		t.Run(args, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ride.json")
			code, out, errs := runLab(append([]string{"run", "ride", "--json", file, "--dir", t.TempDir()}, strings.Fields(args)...)...)
			t.Log(out)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, errs)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r rideJSON
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			if len(r.Handovers) < 4 || r.TCP.Bytes == 0 || !r.TCP.Intact || r.Summary.MedianRatioDown == nil || len(r.Failures) != 0 {
				t.Errorf("report: %s", b)
			}
			for i, h := range r.Handovers {
				if h.From == "" || h.To == "" || h.LimitDownMS == nil || h.DownMS == nil || h.LimitUpMS == nil || h.UpMS == nil ||
					h.LostDown == nil || h.LostUp == nil || len(h.PhasesMS) == 0 {
					t.Errorf("handover %d: %+v", i+1, h)
				}
			}
		})
	}
}
