package logging

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A log that nobody reads holds nobody up: what there is no room for is lost, and counted.
func TestNobodyReads(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	log := slog.New(slog.NewTextHandler(&impatient{file: w}, nil)) // without limits of rates
	const lines = 5000
	for i := range lines {
		log.Info(fmt.Sprint("line ", i), "filling", strings.Repeat("x", 100)) // more than a pipe holds
	}
	// Whoever reads again reads what there was room for, and then how much there was not.
	// Making room is the other end's business; here, by reading what is there.
	buffered := make([]byte, 1<<20)
	n, err := r.Read(buffered)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("the end")
	w.Close()
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	text := string(append(buffered[:n], rest...))
	kept := strings.Count(text, "msg=\"line ")
	if kept == 0 || kept == lines {
		t.Errorf("%d of %d lines were written", kept, lines)
	}
	if want := fmt.Sprintf("msg=\"nobody read the log: some lines are lost\" lost=%d\n", lines-kept); !strings.Contains(text, want) {
		t.Errorf("%d lines kept, and not told: %s", kept, want)
	}
	if !strings.HasSuffix(text, "msg=\"the end\"\n") || strings.Contains(text, "xtime=") {
		t.Errorf("the end: %q", text[max(0, len(text)-200):])
	}
}

// A line that is longer than what a pipe takes at once is cut, and ends as a line.
func TestLongLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	log := New(Options{Writer: f})
	log.Info("long", "text", strings.Repeat("x", 3*longestLine))
	log.Info("short")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := bytes.Cut(b, []byte("\n"))
	if len(first) != longestLine-1 || !bytes.HasSuffix(rest, []byte("msg=short\n")) || bytes.Count(rest, []byte("\n")) != 1 {
		t.Errorf("a first line of %d octets, then %q", len(first), rest)
	}
}
