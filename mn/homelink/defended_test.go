package homelink

import (
	"testing"
	"time"
)

// A home agent that found the home address defended by another one is tried again
// soon, however often that happens: it is neither dead nor unwilling.
//
// Covers: M10.
func TestDefendedIsNoStrike(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Agents = c.Agents[:1] })
	b.attach(careOf1)
	for range 5 {
		b.failed(Defended)
		if got := b.link.Snapshot(b.now).Agents[0]; got.RetryAfter != unansweredPause || got.State != DidNotAccept {
			t.Fatalf("%+v", got)
		}
		b.pass(unansweredPause)
	}
}

// When an agent answers after all have been out of reach, the others are not left
// alone for as long as their many failures would have it: the next one may be
// needed soon. One that refused is.
//
// Covers: M10.
func TestOthersForgiven(t *testing.T) {
	for failure, forgiven := range map[Failure]bool{Unanswered: true, Refused: false} {
		t.Run(failure.String(), func(t *testing.T) {
			b := newBench(t, nil)
			b.attach(careOf1)
			for range 6 {
				b.pass(mostAgentPause)
				b.failed(failure) // the present one
				b.failed(failure) // the other one
			}
			current := b.link.Agent()
			b.registered(time.Hour)
			for _, a := range b.link.Snapshot(b.now).Agents {
				if a.Addr != current && a.RetryAfter <= unansweredPause != forgiven {
					t.Errorf("%v is left alone for %v", a.Addr, a.RetryAfter)
				}
			}
		})
	}
}
