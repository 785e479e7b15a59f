// Package tracetest makes a trace from the field a test.
package tracetest

import (
	"io"
	"os"
	"testing"

	"roam6/internal/trace"
)

// Same plays the trace in a file, and fails the test where a role decides otherwise than
// was recorded, or where nothing of it can be played. It returns the steps, for what else
// is to be seen in them.
func Same(t testing.TB, path string) []trace.Step {
	t.Helper()
	steps := Play(t, path)
	played := 0
	for _, s := range steps {
		if s.Difference != nil {
			t.Fatalf("%s: at %d ns, %s: %v", path, s.Entry.At, s.Entry.Role, s.Difference)
		}
		if s.Played {
			played++
		}
	}
	if played == 0 {
		t.Fatalf("%s: nothing of it can be played", path)
	}
	return steps
}

// Play plays the trace in a file: for a trace of something that was wrong, and is to be
// otherwise.
func Play(t testing.TB, path string) []trace.Step {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := trace.NewPlayer(f)
	if err != nil {
		t.Fatal(err)
	}
	var steps []trace.Step
	for {
		s, err := p.Next()
		if err == io.EOF {
			return steps
		}
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s)
	}
}
