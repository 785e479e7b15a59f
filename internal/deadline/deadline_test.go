package deadline

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"roam6/mip6"
)

var (
	never time.Time
	now   = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	soon  = now.Add(time.Second)
)

func TestEarlier(t *testing.T) {
	for _, c := range []struct{ a, b, want time.Time }{
		{never, never, never}, {never, soon, soon}, {soon, never, soon}, {now, soon, now}, {soon, now, now},
	} {
		if got := Earlier(c.a, c.b); !got.Equal(c.want) {
			t.Errorf("Earlier(%v, %v) = %v", c.a, c.b, got)
		}
	}
}

func TestDue(t *testing.T) {
	if Due(now, never) || Due(now, soon) || !Due(now, now) || !Due(soon, now) {
		t.Error("due when it is not, or not when it is")
	}
}

// It has passed also where the clock of a machine of 32 bits has gone round, and closes a
// socket there.
func TestPassed(t *testing.T) {
	for _, year := range []int{1885, 1901, 1970, 2026, 2157} {
		now := time.Date(year, 1, 2, 0, 0, 0, 0, time.UTC)
		if !Due(now, Passed()) || Remaining(now, Passed()) != 0 || Passed().Sub(now) >= 0 {
			t.Errorf("in %d %v is left", year, Remaining(now, Passed()))
		}
	}
	near, far := net.Pipe()
	defer far.Close()
	defer near.Close()
	if err := near.SetDeadline(Passed()); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
}

// RFC 4861 §4.6.2: all ones are for ever.
func TestLifetimes(t *testing.T) {
	for lifetime, end := range map[time.Duration]time.Time{
		0: now, time.Second: soon, mip6.InfiniteLifetime: never,
	} {
		if got := Of(now, lifetime); !got.Equal(end) {
			t.Errorf("Of(%v) = %v", lifetime, got)
		}
		if got := Remaining(now, end); got != lifetime {
			t.Errorf("Remaining(%v) = %v", end, got)
		}
	}
	if got := Remaining(soon, now); got != 0 {
		t.Errorf("%v remain of what has ended", got)
	}
}
