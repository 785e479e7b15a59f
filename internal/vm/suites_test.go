package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What runs inside fails where a suite fails, where a test skips, and where none ran.
func TestInside(t *testing.T) {
	script, err := os.ReadFile("inside.sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		test, roam6 string // what these print
		fails       int    // their exit code
		suites      string
		status      int
		lines       []string
	}{
		"good":    {test: "--- PASS: A", suites: "gotest x -test.run A\nroam6 lab run ride", lines: []string{"x                        passed", "1 passed, 0 skipped, 0 failed", "roam6-ride               passed"}},
		"skipped": {test: "--- PASS: A\n    --- SKIP: A/b", suites: "gotest x", status: 1, lines: []string{"x                        FAILED", "1 skipped", "--- SKIP: A/b"}},
		"nothing": {test: "no tests to run", suites: "gotest x", status: 1, lines: []string{"FAILED", "0 passed"}},
		"failed":  {test: "--- PASS: A\n--- FAIL: B", fails: 1, suites: "gotest x", status: 1, lines: []string{"FAILED", "1 failed", "--- FAIL: B"}},
		"bench":   {test: "BenchmarkX/y-2 \t 3\t 0.97 up-ratio\t  12 p/s\nPASS", suites: "gobench x . 3x", lines: []string{"BenchmarkX/y-2\n", " 0.97  up-ratio\n", " 12  p/s\n", "x                        passed"}},
		"no one":  {test: "PASS", suites: "gobench x . 3x", status: 1, lines: []string{"FAILED"}},
		"crashed": {test: "--- PASS: A\npanic: x", fails: 2, suites: "gotest x\nroam6 lab run ride", status: 1, lines: []string{"panic: x", "roam6-ride               FAILED"}},
	} {
		dir := t.TempDir()
		exit := "\nexit " + string(rune('0'+test.fails)) + "\n"
		place(t, dir, map[string]string{
			"inside.sh": strings.ReplaceAll(string(script), "/tmp/", dir+"/"),
			"list.sh":   test.suites + "\n",
			"x/test":    "#!/bin/sh\ncat <<'E'\n" + test.test + "\nE" + exit,
			"roam6":     "#!/bin/sh\n" + exit,
		})
		cmd := exec.Command("sh", filepath.Join(dir, "inside.sh"))
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != test.status {
			t.Errorf("%s: exit code %d, want %d", name, got, test.status)
		}
		for _, line := range test.lines {
			if !strings.Contains(string(out), line) {
				t.Errorf("%s: no %q in\n%s", name, line, out)
			}
		}
	}
}
