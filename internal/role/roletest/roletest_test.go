package roletest

import (
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
)

// failing is a test that notes that it has failed.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper()               {}
func (f *failing) Fatalf(string, ...any) { f.failed = true; panic(f) }

func TestPass(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := start
	deadlines := []time.Time{start.Add(-time.Second), start.Add(time.Second), start.Add(3 * time.Second)}
	next := func() time.Time {
		if len(deadlines) == 0 {
			return time.Time{}
		}
		return deadlines[0]
	}
	var delivered []time.Duration
	timeout := func() []role.Action {
		delivered = append(delivered, now.Sub(start))
		deadlines = deadlines[1:]
		return []role.Action{role.Log{Message: now.Sub(start).String()}}
	}
	did := Pass(t, &now, 2*time.Second, next, timeout)
	if want := []time.Duration{0, time.Second}; !slices.Equal(delivered, want) || len(did) != 2 || now != start.Add(2*time.Second) {
		t.Errorf("delivered after %v, want %v; now %v, did %v", delivered, want, now.Sub(start), did)
	}
	if did := Pass(t, &now, time.Hour, next, timeout); len(did) != 1 || delivered[2] != 3*time.Second || now != start.Add(time.Hour+2*time.Second) {
		t.Errorf("delivered after %v; now %v", delivered, now.Sub(start))
	}
	if did := Pass(t, &now, time.Hour, next, timeout); did != nil {
		t.Errorf("nothing is due: %v", did)
	}
	busy := &failing{TB: t}
	func() {
		defer func() {
			if recover() != busy {
				t.Error("did not end the test")
			}
		}()
		Pass(busy, &now, time.Hour, func() time.Time { return start }, func() []role.Action { return nil })
	}()
	if !busy.failed {
		t.Error("a deadline that does not go has not failed the test")
	}
}
