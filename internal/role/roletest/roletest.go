// Package roletest drives roles in tests, under a clock of the test's.
package roletest

import (
	"testing"
	"time"

	"roam6/internal/role"
)

// Pass lets time pass: now goes from one deadline of a machine to the next, which timeout
// delivers, until it is later by d. It returns what the machine did in order. A machine
// whose deadline is still there when it was delivered would keep a node busy, and fails
// the test.
func Pass(t testing.TB, now *time.Time, d time.Duration, next func() time.Time, timeout func() []role.Action) (did []role.Action) {
	t.Helper()
	for end := now.Add(d); ; {
		due := next()
		if due.IsZero() || due.After(end) {
			*now = end
			return did
		}
		if due.After(*now) {
			*now = due
		}
		did = append(did, timeout()...)
		if again := next(); !again.IsZero() && !again.After(due) {
			t.Fatalf("the deadline %v was delivered and is still there: %v", due, again)
		}
	}
}
