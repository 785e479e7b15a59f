package binding

import (
	"testing"
	"time"

	"roam6/mip6"
)

// RFC 6275 §10.3.1: no more than requested, than the prefix's valid lifetime,
// than local policy; §6.1.7: units of four seconds.
func TestGrant(t *testing.T) {
	for _, tt := range []struct {
		name      string
		requested mip6.Lifetime
		limits    []time.Duration
		want      time.Duration
	}{
		{"as requested", 15, []time.Duration{Unlimited, time.Hour}, time.Minute},
		{"policy", 900, []time.Duration{Unlimited, time.Hour / 2}, time.Hour / 2},
		{"prefix", 900, []time.Duration{10 * time.Minute, time.Hour}, 10 * time.Minute},
		{"rounded down", 900, []time.Duration{11*time.Second + 999*time.Millisecond}, 8 * time.Second},
		{"less than a unit", 900, []time.Duration{3 * time.Second}, 0},
		{"prefix invalid", 900, []time.Duration{-time.Second}, 0},
		{"largest", mip6.MaxLifetime, []time.Duration{Unlimited}, 262140 * time.Second},
		{"none", 7, nil, 28 * time.Second},
	} {
		if got := Grant(tt.requested, tt.limits...).Duration(); got != tt.want {
			t.Errorf("%s: granted %v, want %v", tt.name, got, tt.want)
		}
	}
}

// RFC 6275 §10.3.1: status 1 when the prefix is deprecated, becomes so during
// the binding, or becomes invalid at its end.
func TestAcceptedStatus(t *testing.T) {
	const granted = 15 // 60 s
	for _, tt := range []struct {
		name             string
		preferred, valid time.Duration
		want             mip6.Status
	}{
		{"infinite", Unlimited, Unlimited, 0},
		{"outlives", time.Hour, 2 * time.Hour, 0},
		{"deprecated", 0, time.Hour, 1},
		{"becomes deprecated", 59 * time.Second, time.Hour, 1},
		{"deprecated at the end", 60 * time.Second, time.Hour, 0},
		{"invalid at the end", 60 * time.Second, 60 * time.Second, 1},
		{"two least significant bits ignored", 63 * time.Second, 63 * time.Second, 1},
		{"invalid later", time.Hour, 64 * time.Second, 0},
	} {
		if got := AcceptedStatus(granted, tt.preferred, tt.valid); got != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := AcceptedStatus(mip6.MaxLifetime, Unlimited, Unlimited); got != 0 {
		t.Errorf("longest lifetime under an infinite prefix: status %d, want 0", got)
	}
}

// RFC 6275 §10.3.1: the refresh interval is less than the lifetime.
func TestRefreshInterval(t *testing.T) {
	for l := mip6.Lifetime(1); l != 0; l++ {
		if got := RefreshInterval(l); got >= l || l >= 2 && got == 0 {
			t.Fatalf("lifetime %d units: refresh after %d", l, got)
		}
	}
	if got := RefreshInterval(15); got != 12 {
		t.Errorf("lifetime 60 s: refresh after %v, want 48 s", got)
	}
}

func TestRemaining(t *testing.T) {
	if got := Remaining(start, time.Time{}); got != Unlimited {
		t.Errorf("no end: %v", got)
	}
	if got := Remaining(start, start.Add(time.Minute)); got != time.Minute {
		t.Errorf("a minute: %v", got)
	}
	if got := Remaining(start, start.Add(-time.Minute)); got != 0 {
		t.Errorf("past: %v", got)
	}
}
