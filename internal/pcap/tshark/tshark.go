// Package tshark has somebody else read what tests have captured.
package tshark

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roam6/internal/pcap"
)

// Need skips a test where there is no tshark.
func Need(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("NOT TESTED: there is no tshark (apt-get install tshark), which is to look at what roam6 sends")
	}
}

// Capture writes Ethernet frames to a file.
func Capture(t testing.TB, frames [][]byte) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "frames.pcap")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := pcap.NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, frame := range frames {
		if err := w.Write(time.Unix(1_700_000_000, 0), frame); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// Read returns the fields of each frame of a file, all occurrences of a field with commas
// between them. options are arguments of tshark: a filter behind "-Y", say. A frame that
// has none of the only field asked for is left out.
func Read(t testing.TB, file string, options []string, fields ...string) (rows [][]string) {
	t.Helper()
	args := []string{"-n", "-r", file, "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"}
	for _, name := range fields {
		args = append(args, "-e", name)
	}
	args = append(args, options...)
	var out, errs bytes.Buffer
	cmd := exec.Command("tshark", args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir()) // nobody's own preferences
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("tshark: %v: %s", err, errs.String())
	}
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			rows = append(rows, strings.Split(line, "|"))
		}
	}
	return rows
}
