package tun

import (
	"slices"
	"sync/atomic"
	"time"
)

// returned is a mobile's tunnel that was removed a moment ago: packets to its
// care-of address are on their way, and that address may be this node's as long
// as it likes (RFC 6275 §11.5.5).
type returned struct {
	tunnel *tunnel
	until  time.Duration
}

// returnedTunnels are the last few of those. One puts them there, any number of
// goroutines look.
type returnedTunnels struct {
	list atomic.Pointer[[]returned]
}

// mostReturned is how many are remembered: more mobiles do not return at a time.
const mostReturned = 8

func (r *returnedTunnels) add(t *tunnel, now, grace time.Duration) {
	next := []returned{{t, now + grace}}
	if old := r.list.Load(); old != nil {
		for _, o := range *old {
			if now < o.until && len(next) < mostReturned {
				next = append(next, o)
			}
		}
	}
	r.list.Store(&next)
}

// get returns the tunnel that a home address had, nil if that is too long ago.
func (r *returnedTunnels) get(home address, now time.Duration) *tunnel {
	list := r.list.Load()
	if list == nil {
		return nil
	}
	i := slices.IndexFunc(*list, func(o returned) bool { return o.tunnel.home == home && now < o.until })
	if i < 0 {
		return nil
	}
	return (*list)[i].tunnel
}
