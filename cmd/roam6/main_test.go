package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// What is mistyped is answered by what was meant, with an exit code that scripts can tell.
func TestMistyped(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		args string
		code int
		out  string // contained in standard output
		errs string // contained in standard error
	}{
		{"", 2, "", "usage: roam6"},
		{"help", 0, "usage: roam6 COMMAND", ""},
		{"help show", 0, "usage: roam6 show", ""},
		{"help chek", 2, "", `did you mean "check"?`},
		{"shw updates", 2, "", `unknown command "shw"; did you mean "show"?`},
		{"fly", 2, "", "unknown command \"fly\"; `roam6 help` lists them"},
		{"decode " + nowhere, 1, "", "no such file"},
		{"decode capture.pcap", 1, "", "no such file"},
		{"run --config " + nowhere, 1, "", "roam6 run: there is no configuration"},
	} {
		var out, errs bytes.Buffer
		code := dispatch(strings.Fields(c.args), stdio{strings.NewReader(""), &out, &errs})
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.errs) {
			t.Errorf("roam6 %s: exit code %d, output %q, errors %q", c.args, code, out.String(), errs.String())
		}
	}
}
