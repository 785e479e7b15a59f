package tun

import (
	"encoding/binary"
	"time"
)

// routeError is an ICMPv6 error about a packet of an optimised route.
type routeError struct {
	kind, code uint8
	parameter  uint32
	packet     []byte  // as much of it as was quoted
	ends               // of it
	careOf     address // of the mobile, where there is a routing header
	below      bool    // it is what an error about the tunnel below means for the route

	correspondent *optimised // the present route of that; nil: none
}

// parseRouteError reads an ICMPv6 message. ok is false if it is not an error
// about a packet with headers such as we insert.
func parseRouteError(b []byte) (e routeError, ok bool) {
	if len(b) < icmpHeaderLength+headerLength || b[0] >= icmpFirstInfo || b[icmpHeaderLength]>>4 != 6 {
		return e, false
	}
	return routeErrorOf(b[0], b[1], binary.BigEndian.Uint32(b[4:]), b[icmpHeaderLength:])
}

// routeErrorOf is parseRouteError for the packet that is quoted, which has an IPv6
// header.
func routeErrorOf(kind, code uint8, parameter uint32, packet []byte) (e routeError, ok bool) {
	e.kind, e.code, e.parameter, e.packet = kind, code, parameter, packet
	x, reason := endsOf(e.packet)
	switch {
	case reason != 0 || !x.any():
		return e, false
	case x.hasHome && (!x.alone || x.options.length != homeHeaderLength):
		return e, false
	case x.hasRoute && (x.routing.length != routeHeaderLength || x.segments > 1):
		return e, false
	case x.hasHome && x.hasRoute && x.options.at != x.routing.at+x.routing.length:
		return e, false
	}
	if x.hasRoute {
		e.careOf = destination(e.packet)
		if x.segments == 0 { // from the mobile itself, which has swapped the two
			e.careOf, x.route = x.route, e.careOf
		}
	}
	e.ends = x
	return e, true
}

// inserted is where our headers are in the packet, and how long.
func (e *routeError) inserted() (h header) {
	if e.hasRoute {
		h = e.routing
	} else {
		h = e.options
		h.length = 0
	}
	if e.hasHome {
		h.length += homeHeaderLength
	}
	return h
}

// pathOf returns the path that the packet took, or nil if that is of no present
// route: then the error is not believed. e.correspondent is the route afterwards
// that its routing header is of.
func (t *table) pathOf(e *routeError) (p *path) {
	from, to := source(e.packet), destination(e.packet)
	home, peer := from, to // of the packet as it was
	if e.hasHome {
		home = e.home
	}
	if e.hasRoute {
		to, peer = e.careOf, e.route
	}
	var mobile, correspondent *optimised
	if e.hasHome {
		if mobile = t.mobileRoutes.get(home, peer); mobile == nil {
			return nil
		}
		p = mobile.path()
	}
	if e.hasRoute {
		if correspondent = t.correspondentRoutes.get(peer, home); correspondent == nil {
			return nil
		}
		p = correspondent.path()
	}
	if mobile != nil && correspondent != nil {
		if p = correspondent.joint.Load(); p == nil && correspondent.delegated.Load() {
			p = correspondent.jointPath(mobile.path(), correspondent.path()) // nobody here has sent by it
		}
	}
	if p == nil || p.local != from || p.remote != to {
		return nil
	}
	e.correspondent = correspondent
	return p
}

// peer is the other end of a mobile's route, as the packet was.
func (e *routeError) peer() address {
	if e.hasRoute {
		return e.route
	}
	return destination(e.packet)
}

// unreachable reports whether the error says that the packet did not get to the
// care-of address that its routing header is for. A port is unreachable only for
// who is there, and only there the packet is past its routing header.
func (e *routeError) unreachable() bool {
	return !e.below && e.correspondent != nil && e.kind == icmpUnreachable && e.code != icmpCodePortUnreachable && e.segments != 0
}

// about acts on an error: it lowers the path MTU, and returns what the source of
// the packet is to be told about the packet as it was, if anything. RFC 6275
// §9.3.4: the errors mean to it what they say; but sizes and offsets are without
// our headers, and of these it knows nothing (§11.3.5).
func (t *table) about(e *routeError, now time.Duration) (p *path, r relay, ok bool) {
	if p = t.pathOf(e); p == nil {
		return nil, r, false
	}
	ours := e.inserted()
	switch e.kind {
	case icmpPacketTooBig:
		if e.parameter < minimumMTU {
			return nil, r, false // forged: no link may say so (RFC 8201 §4)
		}
		if !e.below { // which knows it
			p.tooBig(int(min(e.parameter, 1<<16)), now)
		}
		overhead := headerLength // of a tunnel below
		if nestingOf(e.packet).tunnelled {
			overhead += limitLength
		}
		mtu := max(p.mtuOver(overhead, now)-ours.length, minimumMTU)
		size := headerLength + int(binary.BigEndian.Uint16(e.packet[offsetPayloadLength:])) - ours.length
		return p, relay{icmpPacketTooBig, 0, uint32(mtu)}, size > minimumMTU && size > mtu
	case icmpParameterProblem:
		pointer, ok := e.pointer(ours)
		return p, relay{e.kind, e.code, pointer}, ok
	case icmpUnreachable, icmpTimeExceeded:
		return p, relay{e.kind, e.code, e.parameter}, true
	default:
		return p, r, false
	}
}

// pointer is where a Parameter Problem points in the packet as it was. ok is false
// if the problem is with our headers.
func (e *routeError) pointer(ours header) (_ uint32, ok bool) {
	at, end := uint32(ours.at), uint32(ours.at+ours.length)
	last := end - homeHeaderLength // both are of the same length
	switch {
	case e.parameter >= end:
		return e.parameter - uint32(ours.length), true
	case e.parameter == last && e.code == icmpCodeNextHeader:
		return uint32(ours.link), true // names what is behind
	case e.parameter >= at, e.parameter == uint32(ours.link) && e.code == icmpCodeNextHeader:
		return 0, false
	default:
		return e.parameter, true
	}
}

// original takes our headers off the quoted packet.
func (e *routeError) original() []byte { return e.packet[e.strip(e.packet):] }

// withoutRoute takes the routing header off the quoted inner packet of a tunnel,
// where we put one before the packet entered it. It returns how long that was.
func (t *table) withoutRoute(inner []byte) (rest []byte, removed int) {
	x, reason := endsOf(inner)
	if reason != 0 || !x.hasRoute || x.hasHome || !x.proper() {
		return inner, 0
	}
	c := t.correspondentRoutes.get(x.route, source(inner))
	if c == nil || c.path().remote != destination(inner) {
		return inner, 0
	}
	removed = x.strip(inner)
	return inner[removed:], removed
}
