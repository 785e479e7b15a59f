package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// How long an agent was gone is known within one life of the host only.
func TestGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alive")
	if _, ok := absence(path, "a", time.Hour); ok {
		t.Error("known without a file")
	}
	if err := beat(path, "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		boot string
		now  time.Duration
		gone time.Duration
		ok   bool
	}{
		{"a", time.Hour + 3*time.Second, 3 * time.Second, true},
		{"a", time.Hour, 0, true},
		{"b", time.Hour + time.Second, 0, false},
		{"", time.Hour + time.Second, 0, false},
		{"a", time.Minute, 0, false},
	} {
		if got, ok := absence(path, test.boot, test.now); got != test.gone || ok != test.ok {
			t.Errorf("%+v: %v, %v", test, got, ok)
		}
	}
	if err := os.WriteFile(path, []byte("36"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := absence(path, "a", time.Hour); ok {
		t.Error("a torn file is believed")
	}
}

// What the start of a process takes does not count for how long none was there.
func TestSuccession(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alive")
	if succeeds(path, "a", time.Hour, time.Minute) {
		t.Error("nobody has lived before")
	}
	if err := beat(path, "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		boot      string
		gone, ago time.Duration // since the last sign of life, and since this process began
		want      bool
	}{
		{"a", restoreWithin, 0, true},
		{"a", restoreWithin + time.Millisecond, 0, false},
		{"a", restoreWithin + 10*time.Second, 10 * time.Second, true},
		{"a", restoreWithin + 10*time.Second, 10*time.Second - time.Millisecond, false},
		{"a", time.Second, 2 * time.Second, true}, // the other one was ending
		{"b", time.Second, 0, false},
	} {
		if got := succeeds(path, test.boot, time.Hour+test.gone, test.ago); got != test.want {
			t.Errorf("%+v: %t", test, got)
		}
	}
}
