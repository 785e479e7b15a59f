package lab

import (
	"testing"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/world"
)

// TestHiddenInterruption: a silence from before the move that is longer than the move's own
// and ends before there is a link is no measure of the move: it is not shown as a shorter
// interruption than the time without a link.
func TestHiddenInterruption(t *testing.T) {
	const link = 300 * time.Millisecond
	left := time.Unix(1000, 0)
	// arrivals are milliseconds from the loss of the link on.
	record := func(arrivals ...int) (r probe.Record) {
		r.Interval = 20 * time.Millisecond
		for i, a := range arrivals {
			r.Arrivals = append(r.Arrivals, probe.Arrival{At: left.Add(time.Duration(a) * time.Millisecond).UnixNano(), Number: uint32(i)})
		}
		return r
	}
	c := course{
		moves: []move{{from: nodeHomeAgent, to: accessRouterName(1), Switch: world.Switch{Left: left, Attached: left.Add(link)}}},
		end:   func(int) time.Time { return left.Add(3 * time.Second) }, settling: 265 * time.Millisecond,
		flight: func(string) time.Duration { return 0 },
		limits: func(move) (time.Duration, time.Duration) { return link, link },
	}
	// What is on its way from the place before arrives until there is a link, and later.
	under := course{
		moves: c.moves, end: c.end, settling: c.settling, flight: c.flight,
		limits: func(move) (time.Duration, time.Duration) { return 0, 0 },
	}
	if h := under.handover(0, record(0, 100, 200, 299, 310), record(0, 100, 200, 299, 310)); !h.Up.Known() || h.Up > 100 {
		t.Errorf("nothing is lost, and the interruption is %v", h.Up)
	}
	for name, test := range map[string]struct {
		record probe.Record
		known  bool
		gap    float64
	}{
		"the move's":          {record(-40, -20, 0, 400, 420), true, 380},
		"stalled until after": {record(-320, -300, 625, 645), true, 625},
		"hidden":              {record(-520, -500, 103, 123, 560, 580), false, 0},
	} {
		h := c.handover(0, test.record, test.record)
		if !h.Completed || h.Up.Known() != test.known || h.Down.Known() != test.known {
			t.Errorf("%s: completed %t, downlink %v, uplink %v", name, h.Completed, h.Down, h.Up)
		} else if test.known && float64(h.Up) != test.gap {
			t.Errorf("%s: uplink %v, want %v", name, h.Up, test.gap)
		}
	}
}
