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
	// A process with the race detector sleeps for a second when it ends, and each
	// world has a dozen of them. A race is its exit code all the same.
	if err := os.Setenv("GORACE", strings.TrimSpace("atexit_sleep_ms=10 "+os.Getenv("GORACE"))); err != nil {
		panic(err)
	}
	var err error
	if filesOfAll, err = os.MkdirTemp("", "roam6-test-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(filesOfAll)
	os.Exit(code)
}

// filesOfAll is a directory for what all tests share.
var filesOfAll string

// worldJSON is what issue trackers and scripts read of a run of the lab.
type worldJSON struct {
	Scenario  string         `json:"scenario"`
	Handovers []handoverJSON `json:"handovers"`
	Figures   []struct {
		Name  string   `json:"name"`
		Unit  string   `json:"unit"`
		Value *float64 `json:"value"`
	} `json:"figures"`
	TCP struct {
		Bytes  int64 `json:"bytes"`
		Intact bool  `json:"intact"`
	} `json:"tcp"`
	Summary struct {
		MedianRatioDown *float64 `json:"median_ratio_down"`
	} `json:"summary"`
	Relay struct {
		MaxLateMS float64 `json:"max_late_ms"`
		MaxWaitMS float64 `json:"max_wait_ms"`
	} `json:"relay"`
	Failures []string `json:"failures"`
}

// handoverJSON is one move.
type handoverJSON struct {
	From        string              `json:"from"`
	To          string              `json:"to"`
	LimitDownMS *float64            `json:"limit_down_ms"`
	DownMS      *float64            `json:"down_ms"`
	LimitUpMS   *float64            `json:"limit_up_ms"`
	UpMS        *float64            `json:"up_ms"`
	LostDown    *int                `json:"lost_down"`
	LostUp      *int                `json:"lost_up"`
	DirectMS    *float64            `json:"direct_ms"`
	PhasesMS    map[string]*float64 `json:"phases_ms"`
	Kind        string              `json:"kind"`
	Lease       *struct {
		Message    string   `json:"message"`
		AnsweredMS *float64 `json:"answered_ms"`
		ServerMS   *float64 `json:"server_ms"`
	} `json:"lease"`
}

// needWorlds skips a test where worlds cannot be made. A test whose world measures
// something that has a bound (a round trip, a silence, nothing lost) must have the
// machine to itself. Where only facts count a test is parallel, and worlds stand side
// by side: they mostly wait.
func needWorlds(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes minutes")
	}
	if !worlds.Privileged() {
		t.Skip("needs root, or `unshare -Urn`: network namespaces")
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		t.Skipf("needs a TUN device: %v", err)
	} else {
		f.Close()
	}
	// For all processes to come: worlds that run at the same time share it.
	if err := os.Setenv(asRoam6, "1"); err != nil {
		t.Fatal(err)
	}
}

// A machine that does something else for a while also stops the lab's links and its
// probes, or its daemons. A world that fails after the lab itself was late by so many
// milliseconds, or a process had no processor for so many in half a second, is played
// again, so many times in all.
const (
	stoodStill = 200
	hadToWait  = 200
	attempts   = 3
)

// world runs a scenario, which must succeed, and returns its report and the
// name of its capture file.
func world(t *testing.T, args string) (r worldJSON, capture string) {
	t.Helper()
	return worldIn(t, t.TempDir(), args)
}

// worldIn keeps the files of the daemons in a directory.
func worldIn(t *testing.T, files, args string) (r worldJSON, capture string) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		directory := t.TempDir()
		file := filepath.Join(directory, "report.json")
		capture = filepath.Join(directory, "world.pcap")
		code, out, errs := runLab(append(append([]string{"run"}, strings.Fields(args)...), "--json", file, "--capture", capture, "--dir", files)...)
		t.Log(out)
		b, err := os.ReadFile(file)
		if err == nil {
			r = worldJSON{}
			err = json.Unmarshal(b, &r)
		}
		if code == 0 && err == nil {
			break
		}
		if err != nil || attempt == attempts || r.Relay.MaxLateMS < stoodStill && r.Relay.MaxWaitMS < hadToWait {
			t.Fatalf("exit code %d: %s (report: %v)", code, errs, err)
		}
		t.Logf("the lab itself held a frame back for %.0f ms, and a process waited for a processor for %.0f of 500, so this run says nothing about roam6: another one",
			r.Relay.MaxLateMS, r.Relay.MaxWaitMS)
		if err := os.RemoveAll(files); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(files, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if r.TCP.Bytes == 0 || !r.TCP.Intact || len(r.Failures) != 0 || r.Scenario != strings.Fields(args)[0] {
		t.Errorf("report: %+v", r)
	}
	for i, h := range r.Handovers {
		if h.From == "" || h.To == "" || h.LimitDownMS == nil || h.DownMS == nil || h.LimitUpMS == nil || h.UpMS == nil ||
			h.LostDown == nil || h.LostUp == nil || len(h.PhasesMS) == 0 {
			t.Errorf("handover %d: %+v", i+1, h)
		}
	}
	return r, capture
}

// The whole of it on real packets: the train rides, with link events and
// without, with losses, and with the processes of the router and of the home
// agent killed on the way. Each ride completes every handover, delivers TCP
// intact and leaves nothing in any namespace, or lab exits with 1. How long it
// took is measured by `make demo`, not asserted here. tshark finds nothing wrong
// with what was sent.
func TestRide(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	for _, args := range []string{
		"--handovers 8",
		"--handovers 4 --probe-interval 4ms --no-link-events",
		"--handovers 4 --probe-interval 4ms --loss 3 --tcp-rate 200000",
		"--handovers 4 --probe-interval 4ms --ha-dad --dwell 3s",
		"--handovers 4 --probe-interval 4ms --kill mr",
		"--handovers 4 --probe-interval 4ms --kill ha",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			r, capture := world(t, "ride "+args)
			if len(r.Handovers) < 4 || r.Summary.MedianRatioDown == nil {
				t.Errorf("report: %+v", r)
			}
			t.Run("tshark", func(t *testing.T) { dissect(t, capture) })
		})
	}
}
