package tun

import (
	"time"

	"roam6/overlay"
)

// arrivals judges received packets that carry home addresses in their extension
// headers and makes of them what the other end meant (RFC 6275 §9.3.1, §11.3.3).
// Of one goroutine.
type arrivals struct {
	*table
	watch *watcher
}

// take handles one packet. ours is false for one that is not about home
// addresses of this node or its correspondents: it stays as it is. Otherwise the
// packet begins removed octets later, or is to be dropped for the reason
// returned, which is counted.
func (a *arrivals) take(packet []byte, now time.Duration) (removed int, ours bool, reason overlay.DropReason) {
	x, malformed := endsOf(packet)
	if malformed == 0 && (!x.any() || x.signalling(packet) || a.protectedSignalling(packet, &x)) {
		return 0, false, 0
	}
	j := a.judge(packet, &x, malformed, now)
	if !j.ours {
		return 0, false, 0
	}
	if j.reason != 0 {
		a.drops.count(j.reason)
		if j.unknown {
			a.watch.unknownHome(source(packet), j.destination, x.home, now)
		}
		return 0, true, j.reason
	}
	removed = x.strip(packet)
	packet = packet[removed:]
	if a.bare(packet, destination(packet), source(packet)) {
		a.drops.count(overlay.DropUnprotected)
		return 0, true, overlay.DropUnprotected
	}
	a.note(packet, &x, j, now)
	return removed, true, 0
}

// judgement is what becomes of a packet.
type judgement struct {
	ours        bool
	reason      overlay.DropReason // not 0: dropped
	unknown     bool               // no binding for its home address: tell
	destination address            // at last
	tunnel      *tunnel            // of the home address in the routing header
	binding     *optimised         // that permits the Home Address option
}

// judge decides. Who is not addressed keeps out of it: a router sees all that it
// forwards.
func (t *table) judge(packet []byte, x *ends, malformed overlay.DropReason, now time.Duration) (j judgement) {
	s, d := source(packet), destination(packet)
	j.destination = d
	refuse := func(r overlay.DropReason) judgement {
		j.ours, j.reason = j.ours || t.isLocal(d), r
		return j
	}
	switch {
	case d.multicast():
		return j // RFC 6275 §9.3.3: nothing is ever answered to that
	case malformed != 0:
		return refuse(malformed)
	case s.linkScope() || s.multicast() || d.linkScope():
		return refuse(overlay.DropLinkScope)
	}
	if x.hasRoute {
		// RFC 6275 §6.4, §11.3.3. It leads to a home address of this node that is away,
		// by way of its care-of address, or the one that the peer was told, and nowhere
		// else.
		if x.proper() {
			j.tunnel = t.away(x.route, now)
		}
		if j.tunnel == nil || !j.tunnel.paths.Load().begins(d, now) && !t.told(x, s, d, now) {
			return refuse(overlay.DropRoutingHeader)
		}
		j.ours, j.destination = true, x.route
	}
	if !x.hasHome {
		return j
	}
	if x.home.linkScope() || x.home.multicast() {
		return refuse(overlay.DropHomeAddress)
	}
	if next := packet[x.options.at]; next == protocolESP || next == protocolAH {
		j.ours = j.ours || t.isLocal(d)
		return j // protected itself, needs no binding
	}
	o := t.correspondentRoutes.get(x.home, j.destination)
	if o == nil || !o.accepts(s, now) {
		j.unknown = true
		if o != nil {
			j.ours = true
		}
		return refuse(overlay.DropHomeAddress)
	}
	j.ours, j.binding = true, o
	return j
}

// told reports whether whom a packet with a routing header is from was told that the home
// address in it is reached by an address: one may know the regional care-of address before
// the home agent does (RFC 5380 §6.1).
func (t *table) told(x *ends, from, careOf address, now time.Duration) bool {
	if x.hasHome {
		from = x.home
	}
	o := t.mobileRoutes.get(x.route, from)
	return o != nil && o.paths.Load().begins(careOf, now)
}

// note counts and reports a packet that is accepted; it has its home addresses
// now.
func (a *arrivals) note(packet []byte, x *ends, j judgement, now time.Duration) {
	if o := j.binding; o != nil {
		o.decapsulated.add(1, len(packet))
		a.watch.route(o, now)
	}
	if j.tunnel == nil {
		return
	}
	if o := a.mobileRoutes.get(x.route, source(packet)); o != nil {
		// Says nothing about the tunnel: the home agent may be dead.
		o.decapsulated.add(1, len(packet))
		a.watch.route(o, now)
		return
	}
	a.watch.received(j.tunnel, packet, now)
}

// receive handles one captured packet, behind at least receiveHeadroom free
// octets; if it is for the device, it is in joined afterwards.
func (a *arrivals) receive(buffer []byte, h virtioHeader, joined *coalescer, now time.Duration) {
	packet, ok := trim(buffer[receiveHeadroom:])
	if !ok {
		return // and the kernel's own copy is no better
	}
	removed, ours, reason := a.take(packet, now)
	if !ours || reason != 0 {
		return
	}
	if h.flags&virtioNeedsChecksum != 0 {
		if int(h.start) < headerLength+removed || int(h.start)+int(h.offset)+2 > len(packet) {
			a.drops.count(overlay.DropOffload)
			return
		}
		h.start -= uint16(removed)
	}
	if h.gso != gsoNone {
		h.headerLength -= uint16(removed) // a hint
	}
	joined.addGiven(buffer[removed:receiveHeadroom+len(packet)], h)
}
