package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"roam6/internal/control"
)

const routerTrace = "../../internal/trace/testdata/router.trace"

// tracingShowDaemon gives a trace out that was recorded before.
type tracingShowDaemon struct {
	showDaemon
	asked control.TraceRequest
}

func (d *tracingShowDaemon) Trace(_ context.Context, q control.TraceRequest, w io.Writer) error {
	if d.asked = q; q.Role == "nobody" {
		return errors.New("there is nobody")
	}
	b, err := os.ReadFile(routerTrace)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(b) {
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

func startTracingDaemon(t *testing.T) (d *tracingShowDaemon, path string) {
	t.Helper()
	d = new(tracingShowDaemon)
	return d, serveControl(t, d)
}

func TestTrace(t *testing.T) {
	d, path := startTracingDaemon(t)
	want, err := os.ReadFile(routerTrace)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.trace")
	var out, told bytes.Buffer
	if code := recordTrace([]string{"--role", "train", "--anew", "--for", "1h", "--control", path, "-o", file}, stdio{out: &out, err: &told}); code != 0 || out.Len() > 0 {
		t.Fatalf("exit %d: %s%s", code, out.String(), told.String())
	}
	got, err := os.ReadFile(file)
	info, statErr := os.Stat(file)
	if err := errors.Join(err, statErr); err != nil || !bytes.Equal(got, want) || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %d octets of %d, mode %v", err, len(got), len(want), info.Mode())
	}
	if d.asked != (control.TraceRequest{Role: "train", Anew: true}) || !strings.Contains(told.String(), "205 entries, ") {
		t.Errorf("asked %+v, told %s", d.asked, told.String())
	}

	out.Reset()
	told.Reset()
	if code := recordTrace([]string{"--max-size", "4K", "--control", path}, stdio{out: &out, err: &told}); code != 0 || out.Len() > 4096 || !bytes.HasPrefix(want, out.Bytes()) ||
		!bytes.HasSuffix(out.Bytes(), []byte("\n")) || !strings.Contains(told.String(), "4096 octets are reached") {
		t.Errorf("exit %d, %d octets, told %s", code, out.Len(), told.String())
	}

	none := filepath.Join(t.TempDir(), "none")
	if code := recordTrace([]string{"--role", "nobody", "--control", path, "-o", none}, stdio{out: &out, err: &told}); code != 1 || !strings.Contains(told.String(), "the daemon says: there is nobody") {
		t.Errorf("exit %d, told %s", code, told.String())
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a file of nothing")
	}
	for _, args := range [][]string{{"--max-size", "0"}, {"--max-size", "9223372036854775807K"}, {"--for", "-1s"}, {"surplus"}} {
		if code := recordTrace(args, stdio{out: &out, err: &told}); code != 2 {
			t.Errorf("%v: exit %d", args, code)
		}
	}
}

func TestReplay(t *testing.T) {
	var out, told bytes.Buffer
	if code := replay([]string{routerTrace}, stdio{out: &out, err: &told}); code != 0 || told.Len() > 0 {
		t.Fatalf("exit %d: %s", code, told.String())
	}
	for _, want := range []string{"mobile_router begins, new", "router advertisement from fe80::", "send binding update 2001:db8:a1:", "handover complete: to ", "train: same decisions (204 events, "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in what is printed", want)
		}
	}

	out.Reset()
	if code := replay([]string{"--json", routerTrace}, stdio{out: &out, err: &told}); code != 0 {
		t.Fatalf("exit %d: %s", code, told.String())
	}
	lines := 0
	for line := range bytes.Lines(out.Bytes()) {
		lines++
		if !json.Valid(line) {
			t.Fatalf("not JSON: %s", line)
		}
	}
	if lines != 206 || !strings.HasSuffix(out.String(), "\"same\":true}\n") {
		t.Errorf("%d lines", lines)
	}

	// A version that decides otherwise.
	b, err := os.ReadFile(routerTrace)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Replace(b, []byte(`{"Message"`), []byte(`{"message"`), 1)
	other = bytes.Replace(other, []byte(`"Updates":1`), []byte(`"Updates":7`), 2)
	for _, all := range []bool{false, true} {
		out.Reset()
		args := []string{"--quiet", "-"}
		differences := 1
		if all {
			args, differences = append(args, "--all"), 2
		}
		if code := replay(args, stdio{in: bytes.NewReader(other), out: &out, err: &told}); code != 1 || strings.Count(out.String(), "DIFFERENT: action ") != differences || !strings.Contains(out.String(), "train: other decisions") {
			t.Errorf("exit %d, all %t: %s", code, all, out.String())
		}
	}

	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{filepath.Join(t.TempDir(), "none")}, 1, "no such file"}, {nil, 2, "usage: roam6 replay"}, {[]string{"a", "b"}, 2, "usage: roam6 replay"}, {[]string{"replay_test.go"}, 1, "no such file"},
		{[]string{"main.go"}, 1, "not a trace that this version of roam6 reads"},
	} {
		told.Reset()
		if code := replay(tt.args, stdio{out: &out, err: &told}); code != tt.code || !strings.Contains(told.String(), tt.want) {
			t.Errorf("%v: exit %d, %s", tt.args, code, told.String())
		}
	}
}
