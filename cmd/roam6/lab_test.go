package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	worlds "roam6/internal/lab"
	"roam6/internal/lab/report"
)

func runLab(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = lab(args, stdio{strings.NewReader(""), &o, &e})
	return code, o.String(), e.String()
}

func TestLabUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		out  string // contained in standard output
		errs string // contained in standard error
	}{
		{"", 2, "", "usage"},
		{"help", 0, "usage", ""},
		{"list", 0, "ride ", ""},
		{"list", 0, "host ", ""},
		{"list", 0, "renumber ", ""},
		{"list", 0, "nested ", ""},
		{"list", 0, "hierarchy ", ""},
		{"run hierarchy -h", 0, "-delay-map", ""},
		{"run hierarchy --kill anchor", 2, "", "--kill anchor"},
		{"list", 0, "fleet ", ""},
		{"list", 0, "delegation ", ""},
		{"run delegation -h", 0, "-server", ""},
		{"run delegation --server isc", 2, "", "--server isc"},
		{"run delegation --valid 8500ms", 2, "", "--valid 8.5s"},
		{"run fleet -h", 0, "-routers", ""},
		{"run uplinks -h", 0, "-hysteresis", ""},
		{"run managed -h", 0, "-servers", ""},
		{"run managed --servers isc", 2, "", "--servers isc"},
		{"run host -h", 0, "-capture", ""},
		{"fly", 2, "", `unknown command "fly"`},
		{"run", 2, "", "usage"},
		{"run --json x", 2, "", "usage"},
		{"run fleat", 2, "", `did you mean "fleet"?`},
		{"run flight", 2, "", `"flight": there is no such scenario`},
		{"run ride -h", 0, "-delay-ha", ""},
		{"run ride --loss x", 2, "", "percentage"},
		{"run ride now", 2, "", `"now"`},
	} {
		code, out, errs := runLab(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) {
			t.Errorf("lab %s: exit code %d, output %q, errors %q", c.args, code, out, errs)
		}
	}
}

// TestLabReport runs scenarios that only pretend.
func TestLabReport(t *testing.T) {
	good := &report.Report{Scenario: "test"}
	bad := &report.Report{Scenario: "test", Failures: []string{"it rained"}}
	for name, c := range map[string]struct {
		report *report.Report
		err    error
		code   int
		out    string
		errs   string
		kept   bool
	}{
		"good":         {good, nil, 0, "handovers 0 of 0 completed", "", false},
		"failed":       {bad, nil, 1, "FAILED    it rained", "", true},
		"broken":       {nil, errors.New("no world today"), 1, "", "no world today", true},
		"wrong option": {nil, worlds.ErrOption, 2, "", "wrong option", false},
	} {
		t.Setenv("TMPDIR", t.TempDir())
		directory := ""
		run := func(_ context.Context, e worlds.Environment) (*report.Report, error) {
			directory = e.Directory
			if err := os.WriteFile(filepath.Join(e.Directory, "mr.log"), nil, 0o600); err != nil {
				t.Error(err)
			}
			return c.report, c.err
		}
		var out, errs bytes.Buffer
		code := labReport(t.Context(), run, labOptions{}, stdio{nil, &out, &errs})
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.errs) {
			t.Errorf("%s: exit code %d, output %q, errors %q", name, code, out.String(), errs.String())
		}
		if _, err := os.Stat(directory); (err == nil) != c.kept {
			t.Errorf("%s: the directory remains: %t", name, err == nil)
		}
	}
}

func TestLabWritesJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	run := func(_ context.Context, e worlds.Environment) (*report.Report, error) {
		_, err := e.Progress.Write([]byte("riding\n"))
		return &report.Report{Scenario: "test"}, err
	}
	var out, errs bytes.Buffer
	if code := labReport(t.Context(), run, labOptions{json: file}, stdio{nil, &out, &errs}); code != 0 {
		t.Fatalf("exit code %d, errors %q", code, errs.String())
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if code := labReport(t.Context(), run, labOptions{json: "-"}, stdio{nil, &out, &errs}); code != 0 {
		t.Fatalf("exit code %d, errors %q", code, errs.String())
	}
	for name, text := range map[string][]byte{"file": written, "standard output": out.Bytes()} {
		var r report.Report
		if err := json.Unmarshal(text, &r); err != nil || r.Scenario != "test" {
			t.Errorf("%s: %v in %s", name, err, text)
		}
	}
	if !strings.Contains(errs.String(), "riding") {
		t.Error("with JSON on standard output, the progress is not on standard error")
	}
}
