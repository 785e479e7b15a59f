package homelink

import (
	"encoding/binary"
	"time"
)

// exchange is a request that is repeated until its answer comes: discovery and
// prefix solicitation have it in common.
type exchange struct {
	wanted bool
	// at is when to send; while nothing is wanted, the earliest time at which
	// it may be sent again. Zero: at once.
	at time.Time

	outstanding bool
	identifier  uint16
	sends       int           // of this row
	timeout     time.Duration // after the next send; zero: the first
	pause       time.Duration // after a row without an answer; zero: the least
	guesses     int           // wrong identifiers that came while outstanding
}

// reset forgets everything, what is wanted too.
func (x *exchange) reset() { *x = exchange{} }

// want asks for an exchange, unless one is under way.
func (x *exchange) want(now time.Time) {
	if x.wanted {
		return
	}
	x.wanted = true
	if x.at.Before(now) {
		x.at = now
	}
}

// moved begins the row anew from another place, at once.
func (x *exchange) moved(now time.Time) {
	wanted := x.wanted
	x.reset()
	if wanted {
		x.want(now)
	}
}

// relocated repeats at once what is outstanding, under another identifier, and
// leaves the row and its pause as they are: a mobile that moves all the time
// does not ask more often than one that rests.
func (x *exchange) relocated(now time.Time) {
	if x.outstanding {
		x.outstanding, x.at = false, now
	}
}

// next is when there is something to do; zero: never.
func (x *exchange) next() time.Time {
	if !x.wanted {
		return time.Time{}
	}
	return x.at
}

// sent notes a message that is being sent and draws its identifier: a
// retransmission has the same one (RFC 6275 §11.4.1), so that a late answer
// counts.
func (x *exchange) sent(now time.Time, first, most time.Duration, random func([]byte)) {
	if !x.outstanding {
		var b [2]byte
		random(b[:])
		x.outstanding, x.identifier, x.guesses = true, binary.BigEndian.Uint16(b[:]), 0
	}
	if x.timeout == 0 {
		x.timeout = first
	}
	x.sends++
	x.at = now.Add(x.timeout)
	x.timeout = min(2*x.timeout, most)
}

// rest ends a row that nobody answered, and begins another one after a pause
// that doubles each time.
func (x *exchange) rest(now time.Time, least, most time.Duration) {
	pause := max(x.pause, least)
	*x = exchange{wanted: true, at: now.Add(pause), pause: min(2*pause, most)}
}

// answered ends an exchange; the next one is not made before the pause is over.
func (x *exchange) answered(now time.Time, pause time.Duration) {
	*x = exchange{at: now.Add(pause)}
}

// matches reports whether an identifier answers what is outstanding. Too many
// wrong ones end it: the next message, at its time, has another identifier.
func (x *exchange) matches(identifier uint16) bool {
	if !x.outstanding {
		return false
	}
	if x.identifier == identifier {
		return true
	}
	if x.guesses++; x.guesses == maxGuesses {
		x.outstanding = false
	}
	return false
}
