package ro

import (
	"net/netip"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/limit"
	"roam6/mip6"
	"roam6/overlay"
)

// phase is what is under way with a correspondent.
type phase uint8

const (
	resting     phase = iota // nothing
	proving                  // tokens are asked for, or the home registration is waited for
	registering              // a binding update waits for its acknowledgement
)

// entry is the binding update list's entry for a correspondent (RFC 6275
// §11.1). It outlives the binding as a memory: of the sequence number, which the
// correspondent may remember too, and of failures.
type entry struct {
	peer netip.Addr
	used time.Time // when traffic was seen last

	phase    phase
	deleting bool      // what is under way ends the binding at the correspondent
	began    time.Time // when the run, tests and updates together, began
	// notBefore spreads what is sent to many correspondents at once.
	notBefore time.Time

	home, careOf test
	left         proof // the care-of token of the care-of address before

	sequence    mip6.Sequence // of the last update sent
	outstanding []sent        // oldest first
	updates     pace
	tries       int       // updates sent in this run
	retransmit  time.Time // when to send the next; zero: not waiting
	nonceErrors int       // statuses 136–138 in this run

	// held is until when the correspondent may have a binding, acknowledged or
	// not, for whatever care-of address.
	held time.Time
	// endAt is when to try again to end the binding, after runs in vain; zero: not.
	endAt  time.Time
	inVain int

	route   *overlay.Route // in the data plane; nil: the tunnel is used
	expires time.Time      // of the acknowledged binding behind route
	refresh time.Time      // when to renew it; zero with a route: overdue, for want of traffic
	keep    time.Time      // when to renew the home keygen token, so that a move finds it fresh

	// proven: it once answered a cookie of ours, so it knows Mobile IPv6. capable:
	// and it has not failed too often since.
	proven, capable bool
	// doubted: somebody says that it does not. Believed if no answer comes.
	doubted    bool
	refused    bool // it said so, or refused for a reason that will not go away
	failures   int  // in a row
	retryAfter time.Time
	hints      limit.Limiter // of what anybody can forge and we act upon
}

// sent is a binding update for which an acknowledgement may come.
type sent struct {
	sequence mip6.Sequence
	lifetime mip6.Lifetime
	source   netip.Addr // of the packet
	careOf   netip.Addr // under the authenticator
	at       time.Time
	key      mip6.BindingKey
}

// record notes an update that is being sent. A run sends at most twice
// MaxFailures of them, far below the 128 at which sequence numbers wrap
// (requirement M4).
func (e *entry) record(s sent) {
	e.outstanding = append(e.outstanding, s)
	if until := s.at.Add(s.lifetime.Duration()); until.After(e.held) {
		e.held = until
	}
}

// find returns the outstanding update with a sequence number.
func (e *entry) find(n mip6.Sequence) (sent, bool) {
	for _, s := range e.outstanding {
		if s.sequence == n {
			return s, true
		}
	}
	return sent{}, false
}

func (e *entry) idle(now time.Time) bool { return now.Sub(e.used) >= IdleAfter }

// rest ends what is under way and leaves route, tokens and memory alone.
func (e *entry) rest() {
	e.phase, e.deleting, e.doubted = resting, false, false
	e.home.stop()
	e.careOf.stop()
	e.outstanding = e.outstanding[:0]
	e.tries, e.retransmit, e.nonceErrors = 0, time.Time{}, 0
	e.notBefore, e.endAt = time.Time{}, time.Time{}
}

// awaits reports whether an answer of the correspondent is outstanding.
func (e *entry) awaits() bool {
	return e.home.asking() || e.careOf.asking() || e.phase == registering && e.tries > 0
}

// quiet reports whether nothing was sent within the last second, so that the rate
// limit (RFC 6275 §11.8) may be forgotten with the entry.
func (e *entry) quiet(now time.Time) bool {
	for _, p := range []*pace{&e.home.inits, &e.careOf.inits, &e.updates} {
		if now.Sub(p.last()) < time.Second {
			return false
		}
	}
	return true
}

// forgettable reports whether nothing is left that is worth remembering.
func (e *entry) forgettable(now time.Time) bool {
	return e.phase == resting && e.route == nil && !now.Before(e.held) && !now.Before(e.retryAfter) &&
		now.Sub(e.used) >= longestBackOff
}

// next is the earliest time at which the entry has something to do.
func (e *entry) next() time.Time {
	next := deadline.Earlier(e.home.retransmit, e.careOf.retransmit)
	next = deadline.Earlier(next, e.retransmit)
	next = deadline.Earlier(next, e.endAt)
	if e.route != nil {
		next = deadline.Earlier(next, e.expires)
		next = deadline.Earlier(next, e.refresh)
		next = deadline.Earlier(next, e.keep)
	}
	return next
}

// pace remembers when the last MaxUpdateRate messages of a type were sent.
type pace struct {
	at   [MaxUpdateRate]time.Time
	next int
}

// earliest is the first moment at or after now at which another message may be
// sent (RFC 6275 §11.8).
func (p *pace) earliest(now time.Time) time.Time {
	if t := p.at[p.next]; !t.IsZero() && t.Add(time.Second).After(now) {
		return t.Add(time.Second)
	}
	return now
}

// last is when the last message was sent; zero if none was.
func (p *pace) last() time.Time { return p.at[(p.next+len(p.at)-1)%len(p.at)] }

func (p *pace) record(now time.Time) {
	p.at[p.next] = now
	p.next = (p.next + 1) % len(p.at)
}
