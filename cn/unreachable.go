package cn

import (
	"time"

	"roam6/internal/role"
)

// Errors about the packets to a care-of address are persistent (RFC 6275 §9.3.4)
// when there are persistentErrors of them over persistentTime, no further apart
// than errorPause, and the mobile has sent nothing along its route meanwhile: no
// packet, and no binding update. That is longer than a handover takes that goes
// well, and the errors that a TCP connection causes by its retransmissions are
// enough.
//
// Anybody can forge them. A mobile that sends now and then keeps its binding all
// the same. One that only listens loses its shortest path: its packets go by its
// home agent again, and it hears of it by a Binding Error when it sends one. The
// price is that a way which is broken in one direction alone is noticed only when
// the binding ends, after MAX_RR_BINDING_LIFETIME at most.
const (
	persistentErrors = 3
	persistentTime   = 5 * time.Second
	errorPause       = 30 * time.Second
)

// trouble is the errors about packets of a binding since the mobile was last heard.
type trouble struct {
	errors      int
	first, last time.Time
	received    uint64 // packets along the route before the first
}

// routeUnreachable notes that a packet did not reach a care-of address, and
// deletes the binding when that is persistent. It stays remembered like one that
// has expired, so that a recorded update does not bring it back.
func (c *Correspondent) routeUnreachable(u role.RouteUnreachable) {
	e := c.bindings.active(pair{home: u.Home, peer: u.Peer})
	if e == nil || e.careOf != u.CareOf {
		return // about what is over
	}
	t := &e.trouble
	if t.errors == 0 || t.received != u.Received || c.now.Sub(t.last) > errorPause {
		*t = trouble{first: c.now, received: u.Received}
	}
	t.errors++
	t.last = c.now
	if t.errors < persistentErrors || c.now.Sub(t.first) < persistentTime {
		return
	}
	c.counts.Unreachable++
	c.logBinding("binding deleted: its care-of address is not reached", e)
	c.retire(e)
}
