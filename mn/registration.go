package mn

import (
	"net/netip"
	"time"

	"roam6/mip6"
)

// maxOutstanding bounds the updates that may be acknowledged out of order. A
// node must not have 128 or more in flight, lest the sequence number window
// wraps (requirement M4); eight are more than MaxUpdateRate allows in the time
// of any useful round trip.
const maxOutstanding = 8

// sent is a binding update for which an acknowledgement may come.
type sent struct {
	sequence  mip6.Sequence
	lifetime  mip6.Lifetime
	careOf    netip.Addr
	at        time.Time
	timestamp mip6.Timestamp // zero without replay protection
}

// registration is the entry of the binding update list for the home agent
// (RFC 6275 §11.1): what was sent, what was acknowledged, when to send again.
type registration struct {
	agent       netip.Addr    // invalid while none is known
	sequence    mip6.Sequence // of the last update sent
	outstanding []sent        // oldest first

	// registered: an acknowledgement was accepted and its lifetime runs.
	registered bool
	careOf     netip.Addr // registered care-of address
	granted    time.Duration
	expires    time.Time
	refresh    time.Time // when to renew; zero when nothing is registered
	// held is until when the home agent may have a binding, acknowledged or not.
	held time.Time

	retransmit time.Time     // when to send again; zero when not waiting
	withheld   bool          // the last update waits for keys, and was not sent
	timeout    time.Duration // the time-out that runs until retransmit
	recent     []time.Time   // times of the last MaxUpdateRate updates

	unanswered int // updates of the present delivery without an answer
	silent     int // updates since the home agent answered last

	// refusal and silence bound how often the home agent is asked because it
	// seems to have forgotten us, or to be gone.
	refusal, silence patience

	refusedUntil time.Time // it refused: not to be asked before
	rejected     bool      // it refused for good: not to be asked until reconfigured
	farewell     bool      // it is not the home agent any more, and is told so

	// clock is when the first timestamp was made. Those that follow are as much later
	// by the monotonic clock: a time of day that is set, as by NTP after each start of a
	// router, would make the next update one of the wrong time, and cost a hand-over
	// another round trip to the home agent.
	clock time.Time
	// clockOffset is added to the local time of day in timestamps: routers
	// have no clock that survives a power cut (RFC 4285 §6).
	clockOffset   time.Duration
	lastTimestamp mip6.Timestamp
	// taken is the newest timestamp that was answered as valid; zero: none. above: the
	// last refusal was answered with one above it.
	taken mip6.Timestamp
	above bool
}

// record notes an update that is being sent.
func (r *registration) record(s sent) {
	r.withheld = false
	if len(r.outstanding) == maxOutstanding {
		copy(r.outstanding, r.outstanding[1:])
		r.outstanding = r.outstanding[:maxOutstanding-1]
	}
	r.outstanding = append(r.outstanding, s)
	if len(r.recent) == MaxUpdateRate {
		copy(r.recent, r.recent[1:])
		r.recent = r.recent[:MaxUpdateRate-1]
	}
	r.recent = append(r.recent, s.at)
	if until := s.ends(); s.lifetime > 0 && until.After(r.held) {
		r.held = until
	}
}

// bindingDelay is how much later than an update was sent its binding may begin: it
// was on the way, and the home agent probed the home address before.
const bindingDelay = 10 * time.Second

// ends is when a binding that the update has made ends at the latest.
func (s sent) ends() time.Time { return s.at.Add(s.lifetime.Duration() + bindingDelay) }

// mayHold reports whether the home agent may have a binding.
func (r *registration) mayHold(now time.Time) bool { return now.Before(r.held) }

// declined notes that the update s was refused: it has made no binding. Others may
// have, whose answers were lost.
func (r *registration) declined(s sent) {
	r.held = time.Time{}
	if !r.expires.IsZero() {
		r.held = r.expires.Add(bindingDelay)
	}
	for _, o := range r.outstanding {
		if until := o.ends(); o != s && o.lifetime > 0 && until.After(r.held) {
			r.held = until
		}
	}
}

// released notes that an update which ended the binding was acknowledged.
func (r *registration) released(s sent) {
	if r.newest(s) {
		r.held = time.Time{}
	}
}

// earliest is the first moment at or after now at which the rate limit allows
// another update (RFC 6275 §11.8).
func (r *registration) earliest(now time.Time) time.Time {
	if len(r.recent) < MaxUpdateRate {
		return now
	}
	if t := r.recent[0].Add(time.Second); t.After(now) {
		return t
	}
	return now
}

// find returns the outstanding update with a sequence number.
func (r *registration) find(s mip6.Sequence) (sent, bool) {
	for i := len(r.outstanding) - 1; i >= 0; i-- {
		if r.outstanding[i].sequence == s {
			return r.outstanding[i], true
		}
	}
	return sent{}, false
}

// newest reports whether s is the last update sent: only its acknowledgement
// ends the retransmission, since a later update replaced the earlier ones.
func (r *registration) newest(s sent) bool { return s.sequence == r.sequence }

// sentAt reports whether the last update was sent at this moment.
func (r *registration) sentAt(now time.Time) bool {
	i := len(r.outstanding)
	return i > 0 && r.outstanding[i-1].at.Equal(now)
}

// backOff doubles the time-out up to MaxBindAckTimeout (RFC 6275 §11.8).
func (r *registration) backOff() {
	if r.timeout *= 2; r.timeout > MaxBindAckTimeout {
		r.timeout = MaxBindAckTimeout
	}
}

// accept applies an accepting acknowledgement of s: the lifetime counts from
// the sending of the update, less what the home agent cut off (RFC 6275
// §11.7.3). advice is the Binding Refresh Advice, zero for none.
func (r *registration) accept(s sent, granted mip6.Lifetime, advice time.Duration) {
	if granted > s.lifetime { // a home agent may not grant more than was asked
		granted = s.lifetime
	}
	r.granted = granted.Duration()
	r.registered = granted > 0
	r.careOf = s.careOf
	r.expires = s.at.Add(r.granted)
	after := r.granted * 3 / 4
	if advice > 0 && advice < after {
		after = advice
	}
	r.refresh = s.at.Add(after)
	if !r.registered {
		r.unbind()
	}
	r.outstanding = r.outstanding[:0]
	r.retransmit = time.Time{}
}

// overtaken notes an accepting acknowledgement of s, whose care-of address is
// not the one to register any more: the binding exists, and is no end of what is
// under way.
func (r *registration) overtaken(s sent, granted mip6.Lifetime) {
	r.granted = min(granted, s.lifetime).Duration()
	r.registered = granted > 0
	r.careOf = s.careOf
	r.expires = s.at.Add(r.granted)
	r.refresh = time.Time{}
	if !r.registered {
		r.unbind()
	}
}

// unbind notes that there is no binding any more. Answers may still come.
func (r *registration) unbind() {
	r.registered, r.careOf, r.granted = false, netip.Addr{}, 0
	r.expires, r.refresh = time.Time{}, time.Time{}
}

// heard notes that the home agent is alive.
func (r *registration) heard() { r.unanswered, r.silent = 0, 0 }

// pardon forgets that the home agent refused.
func (r *registration) pardon() { r.rejected, r.refusedUntil = false, time.Time{} }

// forget drops everything but the sequence number, the clock, and what is known
// of the home agent.
func (r *registration) forget() {
	r.unbind()
	r.retransmit, r.withheld = time.Time{}, false
	r.outstanding = r.outstanding[:0]
}

// Bounds of the time between two registrations that are made only because the
// home agent seems to have forgotten this node.
const (
	leastPatience = time.Second
	mostPatience  = 5 * time.Minute
)

// patience is when the home agent was last asked because of a hint of one kind,
// and the time before it is asked again.
type patience struct {
	asked time.Time
	pause time.Duration
}

// mayAsk reports whether the home agent may be asked now because of a hint that
// anybody could have given. Each time doubles the pause; a quiet time as long as
// the longest one forgives.
func (p *patience) mayAsk(now time.Time) bool {
	if !p.asked.IsZero() && now.Before(p.asked.Add(p.pause)) {
		return false
	}
	if p.asked.IsZero() || now.Sub(p.asked) > mostPatience {
		p.pause = leastPatience / 2
	}
	p.pause = min(2*p.pause, mostPatience)
	p.asked = now
	return true
}

// ends is when the pause is over.
func (p *patience) ends() time.Time { return p.asked.Add(p.pause) }

// stamp returns the timestamp for an update sent now: later than any before
// (RFC 4285 §6).
func (r *registration) stamp(now time.Time) mip6.Timestamp {
	t := mip6.TimestampFrom(r.timeOfDay(now).Add(r.clockOffset))
	if r.lastTimestamp != 0 && !t.After(r.lastTimestamp) {
		t = r.lastTimestamp + 1
	}
	r.lastTimestamp = t
	return t
}

// timeOfDay is the time of day as it was at first, and has gone on since.
func (r *registration) timeOfDay(now time.Time) time.Time {
	if r.clock.IsZero() {
		r.clock = now
	}
	return r.clock.Add(now.Sub(r.clock))
}

// adjustClock adopts the home agent's time of day from the upper half of the
// timestamp in a BA with status 144 (RFC 4285 §6).
func (r *registration) adjustClock(now time.Time, theirs mip6.Timestamp) {
	ours := mip6.TimestampFrom(r.timeOfDay(now))
	theirs &^= 0xffffffff
	r.clockOffset = theirs.Sub(ours &^ 0xffffffff)
	r.lastTimestamp = 0
	// Where the clock of the home agent was set back a little it refuses its own time,
	// which is before what it has taken, until that has passed. Above that, and within its
	// window, which nobody but itself knows, it takes one at once: every second attempt.
	ahead := r.taken.Sub(theirs)
	if r.above = r.taken != 0 && ahead > 0 && ahead <= mostWindow && !r.above; r.above {
		r.lastTimestamp = r.taken
	}
}

// mostWindow is how far a home agent may let timestamps be from its clock; more than a
// minute would make them useless.
const mostWindow = time.Minute

// timestampTaken notes that an update was answered whose timestamp was valid.
func (r *registration) timestampTaken(s sent) {
	if s.timestamp != 0 {
		r.taken, r.above = s.timestamp, false
	}
}
