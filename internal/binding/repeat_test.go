package binding

import (
	"testing"
	"time"

	"roam6/mip6"
)

// RFC 4861 §10, RFC 6275 §10.4.1: three advertisements, a second apart; one more when
// the link comes back.
func TestAnnouncements(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var a Announcements
	if a.Take(now) || !a.Next().IsZero() {
		t.Errorf("announced without a beginning")
	}
	a.Begin(now)
	for i := range 3 {
		at := now.Add(time.Duration(i) * time.Second)
		if !a.Next().Equal(at) || a.Take(at.Add(-1)) || !a.Take(at) {
			t.Errorf("advertisement %d is due at %v", i, a.Next())
		}
	}
	if a.Take(now.Add(time.Hour)) || !a.Next().IsZero() {
		t.Errorf("a fourth one is due at %v", a.Next())
	}
	a.Again(now)
	if !a.Take(now) || a.Take(now.Add(time.Hour)) {
		t.Errorf("not one for the link")
	}
	a.Begin(now)
	a.Again(now.Add(time.Millisecond))
	if a.Take(now) || !a.Take(now.Add(time.Millisecond)) || a.Next().IsZero() {
		t.Errorf("those that were left do not follow")
	}
}

// RFC 6275 §9.5.5: at most three requests in the last tenth of the lifetime, none at
// or behind its end.
func TestRefreshRequestTimes(t *testing.T) {
	end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		lifetime time.Duration
		want     []time.Duration // before the end
	}{
		{4 * time.Second, []time.Duration{400 * time.Millisecond}},
		{time.Minute, []time.Duration{6 * time.Second, 4 * time.Second, 2 * time.Second}},
	} {
		e := &Entry{Lifetime: mip6.LifetimeFrom(tt.lifetime), Expires: end}
		var r RefreshRequests
		for _, before := range tt.want {
			at := end.Add(-before)
			if !r.Next(e).Equal(at) || r.Take(e, at.Add(-1)) || !r.Take(e, at) {
				t.Errorf("lifetime %v: due at %v, want %v before the end", tt.lifetime, r.Next(e), before)
			}
		}
		if !r.Next(e).IsZero() || r.Take(e, end) {
			t.Errorf("lifetime %v: another one is due at %v", tt.lifetime, r.Next(e))
		}
	}
}
