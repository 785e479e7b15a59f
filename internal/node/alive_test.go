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
