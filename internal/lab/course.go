package lab

import (
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
	"roam6/internal/role"
)

// closeTo is within what two clocks of one machine and an event's way to a
// daemon may differ.
const closeTo = 5 * time.Millisecond

// move is what is known of one handover while it happens.
type move struct {
	from, to string
	world.Switch
	// peer is where the correspondent was, if it moves too.
	peer string
}

// course is a row of moves of one mobile, and how they are measured in the two
// streams to and from it.
type course struct {
	moves []move
	told  []role.Handover
	// end is when the measuring of a move ends.
	end func(i int) time.Time
	// settling is the time after a break within which its silence begins at the
	// receivers: what was under way arrives until then.
	settling time.Duration
	// flight is how long a datagram towards a mobile at a stop takes at most.
	flight func(stop string) time.Duration
	// limits are the shortest interruptions that are possible.
	limits func(m move) (down, up time.Duration)
}

// next is when the move after i began, or else the end of all.
func next(moves []move, i int, ended time.Time) time.Time {
	if i+1 < len(moves) {
		return moves[i+1].Left
	}
	return ended
}

// handover measures a move.
func (c course) handover(i int, down, up probe.Record) report.Handover {
	m, end := c.moves[i], c.end(i)
	h := report.Handover{
		From: placeName(m.from), To: placeName(m.to), Switching: report.Millis(m.Attached.Sub(m.Left)),
		Down: report.None(), Up: report.None(), Phases: report.NoPhases(),
	}
	h.Trace = &report.Trace{Down: down, Up: up, Left: m.Left, Attached: m.Attached, End: end}
	limitDown, limitUp := c.limits(m)
	h.LimitDown, h.LimitUp = report.Millis(limitDown), report.Millis(limitUp)
	silentDown, okDown := down.Silence(m.Left, m.Left.Add(c.settling), end)
	silentUp, okUp := up.Silence(m.Left, m.Left.Add(c.settling), end)
	if okDown {
		h.Down = c.measured(silentDown, m, limitDown)
	}
	if okUp {
		h.Up = c.measured(silentUp, m, limitUp)
	}
	h.Completed = okDown && okUp
	// What the break loses was sent up to the flight time before it; the same
	// before the next one is that one's.
	early, late := c.flight(m.from)+closeTo, c.flight(m.to)+closeTo
	h.LostDown = down.Count(m.Left.Add(-early), end.Add(-late)).Lost
	h.LostUp = up.Count(m.Left.Add(-closeTo), end.Add(-closeTo)).Lost
	c.phases(&h, m, end)
	return h
}

// measured is the interruption by a silence, which is none of this move if it is shorter
// than the limit and ended before there was a link: what arrived then was under way, and the
// silence is one from before, longer than that of the move, which it hides. Where what is
// under way covers the whole move, as at home, the limit is nothing.
func (c course) measured(s probe.Silence, m move, limit time.Duration) report.Milliseconds {
	gap := c.interruption(s, m)
	if gap < limit && s.First.Before(m.Attached) {
		return report.None()
	}
	return report.Millis(gap)
}

// phases takes in what the daemon told about a move.
func (c course) phases(h *report.Handover, m move, end time.Time) {
	for _, told := range c.told {
		at := told.Start
		if at.Before(m.Left.Add(-closeTo)) || !at.Before(end.Add(-closeTo)) {
			continue
		}
		if told.Acknowledged.IsZero() && h.Phases.Acknowledged.Known() {
			continue
		}
		since := func(t time.Time) report.Milliseconds {
			if t.IsZero() {
				return report.None()
			}
			return report.Millis(t.Sub(m.Attached))
		}
		h.Phases = report.Phases{
			LinkUp: since(told.LinkUp), Solicited: since(told.Solicited), Advertised: since(told.Advertised),
			CareOf: since(told.CareOf), Updated: since(told.Updated), Acknowledged: since(told.Acknowledged),
		}
		h.Trigger, h.Updates = told.Trigger.String(), told.Updates
	}
}

// interruption is the part of a silence that a move is to blame for. One that
// began long before the move counts from the move on.
func (c course) interruption(s probe.Silence, m move) time.Duration {
	if s.Last.Before(m.Left.Add(-c.settling)) {
		return s.First.Sub(m.Left)
	}
	return s.Length
}
