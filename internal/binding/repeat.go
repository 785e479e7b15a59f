package binding

import "time"

// Protocol constants of unsolicited advertisements (RFC 4861 §10).
const (
	maxNeighborAdvertisements = 3
	announcementInterval      = time.Second // RETRANS_TIMER
)

// Announcements are the unsolicited neighbour advertisements for the address of a
// mobile that is away: several in all, because multicast may be lost (RFC 6275
// §10.4.1). The zero value is none.
type Announcements struct {
	left int
	at   time.Time
}

// Begin schedules all of them, the first one now.
func (a *Announcements) Begin(now time.Time) { *a = Announcements{maxNeighborAdvertisements, now} }

// Again schedules one for the given time, for a link that has come back. Those that
// were left follow.
func (a *Announcements) Again(at time.Time) { *a = Announcements{max(a.left, 1), at} }

// Take reports whether one is due, and takes it off.
func (a *Announcements) Take(now time.Time) bool {
	if a.left == 0 || a.at.After(now) {
		return false
	}
	*a = Announcements{a.left - 1, now.Add(announcementInterval)}
	return true
}

// Next is when one is due; the zero time: none is left.
func (a *Announcements) Next() time.Time {
	if a.left == 0 {
		return time.Time{}
	}
	return a.at
}

// Requests to refresh a binding: so many, in the last part of its lifetime.
const (
	maxRefreshRequests      = 3
	refreshRequestsPart     = 10
	minRefreshRequestsApart = time.Second
)

// RefreshRequests are the binding refresh requests (RFC 6275 §9.5.5) since the last
// update of a binding. The zero value is none sent yet.
type RefreshRequests struct{ sent int }

// Next is when the mobile of an active entry is to be asked to refresh its binding,
// unless it has done so by then; the zero time: not again.
func (r *RefreshRequests) Next(e *Entry) time.Time {
	if r.sent == maxRefreshRequests {
		return time.Time{}
	}
	part := e.Lifetime.Duration() / refreshRequestsPart
	apart := max(minRefreshRequestsApart, part/maxRefreshRequests)
	at := e.Expires.Add(time.Duration(r.sent)*apart - part)
	if !at.Before(e.Expires) {
		return time.Time{}
	}
	return at
}

// Take reports whether one is due, and counts it as sent.
func (r *RefreshRequests) Take(e *Entry, now time.Time) bool {
	if at := r.Next(e); at.IsZero() || at.After(now) {
		return false
	}
	r.sent++
	return true
}

// Resume begins them for a binding that was restored: those that were due before now
// have been sent, or nobody was there to send them.
func (r *RefreshRequests) Resume(e *Entry, now time.Time) {
	*r = RefreshRequests{}
	for at := r.Next(e); !at.IsZero() && !at.After(now); at = r.Next(e) {
		r.sent++
	}
}
