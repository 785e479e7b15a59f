package overlay

import (
	"regexp"
	"testing"
)

// Each reason has a metric label of its own.
func TestDropReasons(t *testing.T) {
	label := regexp.MustCompile(`^[a-z][a-z_]*$`)
	seen := map[string]bool{}
	for _, r := range DropReasons() {
		s := r.String()
		if s == "unknown" || !label.MatchString(s) || seen[s] {
			t.Errorf("reason %d: %q", r, s)
		}
		seen[s] = true
	}
	if n := len(seen); n != int(DropFailed) {
		t.Errorf("%d labels for %d reasons", n, DropFailed)
	}
	for _, r := range []DropReason{0, DropFailed + 1} {
		if s := r.String(); s != "unknown" {
			t.Errorf("reason %d: %q", r, s)
		}
	}
}
