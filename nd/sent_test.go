package nd

import (
	"testing"
	"time"
)

// TestSent: MinDelayBetweenRAs (RFC 4861 §6.2.6) and the least interval count from
// when the last advertisement left, not from when it was made: a caller that is kept
// from sending does not send the next one at its heels.
func TestSent(t *testing.T) {
	const slow, late = 40 * time.Millisecond, 300 * time.Microsecond
	a := newAdvertiser(t, mobileConfig())
	for i := range 200 {
		a.one(a.wake(), AllNodes())
		left := a.now.Add(late)
		if i%10 == 0 {
			left = a.now.Add(slow)
		}
		a.Sent(left)
		if gap := a.Next().Sub(left); gap < a.config.MinDelay || a.Next().Sub(a.now) > a.config.MaxInterval+slow {
			t.Fatalf("advertisement %d: the next one %v after it has left", i, gap)
		}
	}
	// What left at once changes nothing, nor does an older time.
	a.one(a.wake(), AllNodes())
	next := a.Next()
	a.Sent(a.now)
	a.Sent(a.now.Add(-time.Second))
	if !a.Next().Equal(next) {
		t.Errorf("due at %v, want %v", a.Next(), next)
	}
	// Nor is a solicitation answered to all within that time.
	c := mobileConfig()
	c.SolicitedUnicast = false
	a = newAdvertiser(t, c)
	a.wake()
	a.Sent(a.now.Add(slow))
	if out := a.Solicited(a.now.Add(slow+time.Millisecond), c.Advertisement.Prefixes[0].Prefix.Addr()); out != nil {
		t.Errorf("answered: %v", out)
	}
	if d := a.Next().Sub(a.now); d != slow+c.MinDelay {
		t.Errorf("answered after %v", d)
	}
	// The final ones, too, and then there is nothing more to shift.
	a = newAdvertiser(t, mobileConfig())
	a.wake()
	a.now = a.now.Add(time.Second)
	out := a.Stop(a.now)
	for n := 1; ; n++ {
		a.one(out, AllNodes())
		a.Sent(a.now.Add(slow))
		if a.Next().IsZero() {
			if n != finalRAs {
				t.Errorf("%d final advertisements", n)
			}
			break
		}
		if d := a.Next().Sub(a.now); d != slow+a.config.MinDelay {
			t.Errorf("the next final one after %v", d)
		}
		out = a.wake()
	}
}
