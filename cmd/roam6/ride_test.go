package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
	Completed   bool                `json:"completed"`
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
// probes, or its daemons. A world that fails, or does not meet a condition, after the lab
// itself was late by so many milliseconds, or a process had no processor for so many in
// half a second, is played again, so many times in all.
const (
	stoodStill = 200
	hadToWait  = 200
	attempts   = 3
)

// condition says what is wrong with a run that succeeded: nil, nothing.
type condition func(worldJSON) error

// world runs a scenario, which must succeed and meet the conditions, and returns its report
// and the name of its capture file.
func world(t *testing.T, args string, conditions ...condition) (r worldJSON, capture string) {
	t.Helper()
	return worldIn(t, t.TempDir(), args, conditions...)
}

// worldIn keeps the files of the daemons in a directory.
func worldIn(t *testing.T, files, args string, conditions ...condition) (r worldJSON, capture string) {
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
		if err != nil {
			t.Fatalf("exit code %d: %s (report: %v)", code, errs, err)
		}
		var wrong error
		if code != 0 {
			wrong = fmt.Errorf("exit code %d: %s", code, errs)
		} else {
			for _, c := range append([]condition{played(strings.Fields(args)[0])}, conditions...) {
				wrong = errors.Join(wrong, c(r))
			}
		}
		if wrong == nil {
			return r, capture
		}
		wrong = fmt.Errorf("%w\nthe lab itself held a frame back for %.0f ms, and a process waited for a processor for %.0f of 500", wrong, r.Relay.MaxLateMS, r.Relay.MaxWaitMS)
		if attempt == attempts || r.Relay.MaxLateMS < stoodStill && r.Relay.MaxWaitMS < hadToWait {
			t.Fatal(wrong)
		}
		t.Logf("%v, so this run says nothing about roam6: another one", wrong)
		if err := os.RemoveAll(files); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(files, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// played is what each run of a scenario is to have done. An interruption that is hidden
// behind a silence from before it has no length, though the handover is complete: there may
// be some of those, where a busy machine held back the probes, but not many.
func played(scenario string) condition {
	return func(r worldJSON) error {
		var wrong []error
		fail := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
		if r.TCP.Bytes == 0 || !r.TCP.Intact || len(r.Failures) != 0 || r.Scenario != scenario {
			fail("scenario %q, TCP %+v, failures %q", r.Scenario, r.TCP, r.Failures)
		}
		hidden := 0
		for i, h := range r.Handovers {
			if h.From == "" || h.To == "" || !h.Completed || h.LimitDownMS == nil || h.LimitUpMS == nil || h.LostDown == nil || h.LostUp == nil || len(h.PhasesMS) == 0 {
				b, err := json.Marshal(h)
				fail("handover %d: %s (%v)", i+1, b, err)
			}
			if h.DownMS == nil || h.UpMS == nil {
				hidden++
			}
		}
		if hidden > max(1, len(r.Handovers)/4) {
			fail("%d of %d handovers have no length", hidden, len(r.Handovers))
		}
		return errors.Join(wrong...)
	}
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

// A handover that an earlier silence hides is complete and has no length (a run on a busy
// machine had one); one that is not complete, or many without a length, are a failure.
func TestPlayed(t *testing.T) {
	known, none := new(float64), (*float64)(nil)
	move := func(completed bool, up *float64) handoverJSON {
		return handoverJSON{From: "a", To: "b", Completed: completed, LimitDownMS: known, DownMS: known, LimitUpMS: known, UpMS: up,
			LostDown: new(int), LostUp: new(int), PhasesMS: map[string]*float64{"bu": known}}
	}
	plain, hidden := move(true, known), move(true, none)
	for name, c := range map[string]struct {
		moves []handoverJSON
		good  bool
	}{
		"all measured": {[]handoverJSON{plain, plain}, true},
		"one hidden":   {[]handoverJSON{plain, hidden, plain, plain}, true},
		"two hidden":   {[]handoverJSON{plain, hidden, plain, hidden}, false},
		"incomplete":   {[]handoverJSON{plain, move(false, none), plain, plain}, false},
		"no phases":    {[]handoverJSON{plain, func() handoverJSON { h := plain; h.PhasesMS = nil; return h }()}, false},
	} {
		r := worldJSON{Scenario: "ride", Handovers: c.moves}
		r.TCP.Bytes, r.TCP.Intact = 1, true
		if err := played("ride")(r); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
