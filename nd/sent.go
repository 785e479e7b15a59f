package nd

import "time"

// Sent says when an unsolicited or multicast advertisement has left, all its packets.
// The least time to the next one counts from then (RFC 4861 §6.2.6), since the caller
// may be kept from sending for a while after it was made.
func (a *Advertiser) Sent(at time.Time) {
	if a.last.IsZero() || !at.After(a.last) {
		return
	}
	a.last = at
	least := a.config.MinDelay
	if !a.stopped && a.initial == 0 {
		least = max(least, a.config.MinInterval)
	}
	if !a.next.IsZero() && a.next.Before(at.Add(least)) {
		a.next = at.Add(least)
	}
}
