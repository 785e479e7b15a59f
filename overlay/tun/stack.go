package tun

import (
	"fmt"
	"time"

	"roam6/overlay"
)

// A path of a mobile's tunnel or optimised route whose local address is the home
// address of another mobile's tunnel of this node is stacked on that: the regional
// care-of address of an anchor's domain (RFC 5380 §6.1). Its packets leave in both
// tunnels at once, and what comes out of the lower one for the upper one enters
// that at once. All is as if the lower tunnel were a link: each level has its own
// path MTU, limit, fragments, marks and counters.
//
// A path points to the tunnel below, not to that one's path, so that a swap there
// takes effect with the next packet. It keeps pointing there when that tunnel is
// removed: its packets must not leave by an uplink, whose address their source is
// not.

// mostStacked is how many tunnels a packet may be in.
const mostStacked = 2

// passed is the largest packet that a tunnel with such a path and such headers
// takes: smaller ones than the minimum MTU go in fragments (RFC 2473 §7.1).
func passed(p *path, overhead int, now time.Duration) int {
	return max(p.beyond(now)-overhead, minimumMTU)
}

// stacks reports whether the address is one that paths can be stacked on: what is
// sent to it has to come out of the tunnel of that.
func (t *table) stacks(a address) bool {
	u := t.mobile.lookup(a)
	return u != nil && u.home == a
}

// above reports whether a packet that entered the tunnel is itself a packet of a
// tunnel that is stacked on that, and where what is in it begins. It may be cut off.
func (t *table) above(below *tunnel, packet []byte) (at int, ok bool) {
	if source(packet) != below.home {
		return 0, false
	}
	if at, ok = tunnelledIn(packet); !ok {
		return 0, false
	}
	u := t.mobile.lookup(source(packet[at:]))
	if u == nil {
		return 0, false
	}
	p := u.paths.Load().between(source(packet), destination(packet))
	return at, p != nil && p.below.Load() == below
}

// tunnelAbove is what an error about a packet of a tunnel means for the tunnel that
// is stacked on it; ok is false if the packet is not from there.
func (t *table) tunnelAbove(below *tunnel, e *tunnelError, r relay) (upper tunnelError, ok bool) {
	if e.below || below.key.Side != overlay.MobileSide {
		return upper, false // no higher than that
	}
	at, ok := t.above(below, e.inner)
	if !ok {
		return upper, false
	}
	return tunnelError{
		kind: r.kind, code: r.code, parameter: r.parameter, local: source(e.inner), remote: destination(e.inner),
		inner: e.inner[at:], headers: at, below: true,
	}, true
}

// routeAbove is tunnelAbove for an optimised route.
func (t *table) routeAbove(below *tunnel, e *tunnelError, r relay) (upper routeError, ok bool) {
	if e.below || below.key.Side != overlay.MobileSide || source(e.inner) != below.home {
		return upper, false
	}
	upper, ok = routeErrorOf(r.kind, r.code, r.parameter, e.inner)
	upper.below = true
	return upper, ok && t.pathOf(&upper) != nil
}

// plainTunnel finds what is in a received tunnel packet to this node whose tunnel
// header is followed by nothing, or by an encapsulation limit. ok is false for all
// else, fragments above all: that is the kernel's to take apart.
func plainTunnel(packet []byte) (at int, ok bool) {
	switch packet[offsetNextHeader] {
	case protocolIPv6:
		return headerLength, true
	case protocolDestinationOptions:
		at = headerLength + limitLength
		return at, len(packet) >= at && packet[headerLength] == protocolIPv6 && packet[headerLength+1] == 0 &&
			encapsulationLimit(packet[headerLength:at]) == limitOffset
	default:
		return 0, false
	}
}

// link has the paths find what they are stacked on.
func (e *Engine) link(paths []*path) {
	for _, p := range paths {
		if t := e.tunnels[overlay.Key{Home: p.Local, Side: overlay.MobileSide}]; t != nil {
			p.below.Store(t)
		}
	}
}

// carry has the paths that are stacked on a new tunnel find it.
func (e *Engine) carry(t *tunnel) {
	found := func(s *pathSet) {
		for _, p := range s.paths {
			if p.local == t.home {
				p.below.Store(t)
			}
		}
	}
	for _, u := range e.mobiles {
		found(u.paths.Load())
	}
	for pair, o := range e.routes {
		if pair.Side == overlay.MobileSide {
			found(o.paths.Load())
		}
	}
}

// resize puts the MTU right of the kernel's routes for optimised routes that are
// stacked on a tunnel whose path has changed.
func (e *Engine) resize(t *tunnel, plan *plan) {
	for to, l := range e.leads {
		if to.side == overlay.MobileSide && l.users[0].path().below.Load() == t {
			e.update(l, plan)
		}
	}
}

// first is the MTU of the link that the path begins with, less what the tunnel below
// adds.
func (p *path) first() int {
	if b := p.below.Load(); b != nil {
		return min(p.firstHop, max(b.paths.Load().preferred().firstHop-headerLength, minimumMTU))
	}
	return p.firstHop
}

// checkStack tells what is wrong with where a mobile's tunnel is to be: on itself, in
// a circle, or in a stack of more than two.
func (e *Engine) checkStack(s *overlay.Tunnel) error {
	if s.Side != overlay.MobileSide {
		return nil
	}
	stacked := false
	for _, p := range s.Paths {
		if p.Local == s.Home {
			return fmt.Errorf("%w: its path begins at its own home address", ErrLoop)
		}
		below := e.mobiles[p.Local]
		if below == nil {
			continue
		}
		stacked = true
		for _, q := range below.paths.Load().paths {
			switch {
			case q.Local == s.Home:
				return fmt.Errorf("%w: it is stacked on the tunnel of %v, and that on this one", ErrLoop, p.Local)
			case e.mobiles[q.Local] != nil:
				return fmt.Errorf("%w: on the tunnel of %v, which is on that of %v", ErrStack, p.Local, q.Local)
			}
		}
	}
	for pair, o := range e.routes {
		if stacked && pair.Side == overlay.MobileSide && o.path().Local == s.Home {
			return fmt.Errorf("%w: the optimised route between %v and %v is on this one", ErrStack, pair.Home, pair.Peer)
		}
	}
	for _, u := range e.on(addressOf(s.Home)) {
		if stacked {
			return fmt.Errorf("%w: the tunnel of %v is on this one", ErrStack, u.key.Home)
		}
		for _, v := range e.on(u.home) {
			return fmt.Errorf("%w: the tunnel of %v is on this one, and that of %v on it", ErrStack, u.key.Home, v.key.Home)
		}
	}
	return nil
}

// checkStackedRoute is checkStack for an optimised route.
func (e *Engine) checkStackedRoute(r *overlay.Route) error {
	below := e.mobiles[r.CareOf]
	if r.Side != overlay.MobileSide || below == nil {
		return nil
	}
	for _, q := range below.paths.Load().paths {
		if e.mobiles[q.Local] != nil {
			return fmt.Errorf("%w: on the tunnel of %v, which is on that of %v", ErrStack, r.CareOf, q.Local)
		}
	}
	return nil
}

// on returns the tunnels that are stacked on that of a home address, or will be when
// there is one.
func (e *Engine) on(home address) (all []*tunnel) {
	for _, u := range e.mobiles {
		for _, p := range u.paths.Load().paths {
			if p.local == home {
				all = append(all, u)
				break
			}
		}
	}
	return all
}
