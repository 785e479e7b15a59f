package binding

import (
	"errors"
	"time"

	"roam6/mip6"
)

// Why a binding update is not fresh.
var (
	// ErrSequence: the sequence number is not greater than the last accepted
	// (RFC 6275 §9.5.1).
	ErrSequence = errors.New("sequence number out of window")
	// ErrTimestamp: the timestamp is too far from the time of day, or not greater
	// than the last accepted (RFC 4285 §6).
	ErrTimestamp = errors.New("timestamp mismatch")
)

// Freshness is what a receiver remembers of one mobile node to tell a fresh
// binding update from a repeated or reordered one. It is small so that it can
// outlive the binding: RFC 6275 §9.5.1 lets a node without a cache entry accept
// any sequence number, which would let an update recorded from an earlier
// registration bring that registration back.
type Freshness struct {
	sequence  mip6.Sequence
	known     bool           // sequence is one
	timestamp mip6.Timestamp // greatest accepted; zero: none yet
	// ahead is the greatest that is known to exist and is not to be believed when its
	// time comes: that of an update that was refused since it was of the future, or
	// accepted before the time of day was set back. Zero: none.
	ahead mip6.Timestamp
}

// Sequence is the newest accepted sequence number, which a status 135 carries;
// zero before the first.
func (f *Freshness) Sequence() mip6.Sequence { return f.sequence }

// Timestamp is the one that was accepted last; zero: none yet.
func (f *Freshness) Timestamp() mip6.Timestamp { return f.timestamp }

// CheckSequence fails with ErrSequence unless s is newer than the newest
// accepted. The first one is always accepted.
func (f *Freshness) CheckSequence(s mip6.Sequence) error {
	if f.known && !s.After(f.sequence) {
		return ErrSequence
	}
	return nil
}

// CheckTimestamp fails with ErrTimestamp unless t is within window of the time
// of day, wall, and greater than all that were accepted. It replaces
// CheckSequence for a mobile node that sends timestamps (RFC 4285 §7).
//
// A remembered timestamp that lies beyond the window in the future was accepted
// before the time of day was set back. Insisting on it would lock the mobile
// node out until that time comes again, so the sequence number decides instead:
// ErrSequence, of which the answer tells a node that has begun anew the number.
// It decides, too, as long as t is not greater than one that was of the future
// when it was heard: else that update, recorded and sent again when its time has
// come, would be fresh, and draw the mobile node's traffic to where it was then.
func (f *Freshness) CheckTimestamp(t mip6.Timestamp, s mip6.Sequence, wall time.Time, window time.Duration) error {
	here := mip6.TimestampFrom(wall)
	if off := t.Sub(here); off > window || off < -window {
		return ErrTimestamp
	}
	switch {
	case f.timestamp != 0 && !t.After(f.timestamp) && f.timestamp.Sub(here) <= window:
		return ErrTimestamp
	case f.timestamp != 0 && !t.After(f.timestamp), f.ahead != 0 && !t.After(f.ahead):
		return f.CheckSequence(s)
	default:
		return nil
	}
}

// refuse remembers an authentic update that did not pass CheckTimestamp, if its time
// is still to come.
func (f *Freshness) refuse(t mip6.Timestamp, s mip6.Sequence, wall time.Time, window time.Duration) {
	if t.Sub(mip6.TimestampFrom(wall)) <= window {
		return
	}
	if f.ahead == 0 || t.After(f.ahead) {
		f.ahead = t
	}
	if f.CheckSequence(s) == nil {
		f.AcceptSequence(s)
	}
}

// AcceptSequence remembers the sequence number of an update that passed
// CheckSequence.
func (f *Freshness) AcceptSequence(s mip6.Sequence) { f.sequence, f.known = s, true }

// AcceptTimestamp remembers an update that passed CheckTimestamp. Its sequence
// number was not checked and counts only when it is the newer one, so that
// updates without timestamps do not become fresh again.
func (f *Freshness) AcceptTimestamp(t mip6.Timestamp, s mip6.Sequence) {
	if f.timestamp != 0 && f.timestamp.After(t) && (f.ahead == 0 || f.timestamp.After(f.ahead)) {
		f.ahead = f.timestamp // the time of day was set back
	}
	if f.ahead != 0 && t.After(f.ahead) {
		f.ahead = 0
	}
	f.timestamp = t
	if f.CheckSequence(s) == nil {
		f.AcceptSequence(s)
	}
}

// MismatchTimestamp is the timestamp that answers one that was not valid: the
// upper half of the receiver's time of day, the lower half as received
// (RFC 4285 §6).
func MismatchTimestamp(received mip6.Timestamp, wall time.Time) mip6.Timestamp {
	return mip6.TimestampFrom(wall)&^0xffffffff | received&0xffffffff
}
