package sim

import (
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/overlay"
)

// The data plane: what becomes of application packets, by the rules of the tun
// engine. Its tunnels and optimised routes are in the kernel.

// plane is what a data plane remembers to make its reports.
type plane struct {
	reported map[sighting]time.Time
	silences map[netip.Addr]*silence // of tunnels of the mobile side, by home address
}

// sighting is what is reported once an interval: of an optimised route, or of a
// pair in the tunnel.
type sighting struct {
	overlay.Pair
	optimised bool
}

// silence is since when a tunnel brings nothing back; zero: it does.
type silence struct{ since, last time.Time }

func newPlane() plane {
	return plane{reported: make(map[sighting]time.Time), silences: make(map[netip.Addr]*silence)}
}

// hostPlane is a host's data plane at work.
type hostPlane struct {
	w *World
	h *host
}

func (w *World) plane(h *host) hostPlane { return hostPlane{w, h} }

// post delivers an event a moment later, from another goroutine as it were.
func (x hostPlane) post(e role.Event) {
	x.w.after(0, func() { x.w.dispatch(x.h, e) })
}

// seen reports traffic of a pair, at most every overlay.TrafficInterval.
func (x hostPlane) seen(p overlay.Pair, optimised bool) {
	s := sighting{p, optimised}
	if last, ok := x.h.plane.reported[s]; ok && x.w.now.Sub(last) < overlay.TrafficInterval {
		return
	}
	x.h.plane.reported[s] = x.w.now
	x.post(role.TrafficSeen{Home: p.Home, Peer: p.Peer, Side: p.Side})
}

// watched reports the peer of a packet from or to the home address in a tunnel.
func (x hostPlane) watched(t overlay.Tunnel, home, peer netip.Addr) {
	if t.Watch && home == t.Home {
		x.seen(overlay.Pair{Home: home, Peer: peer, Side: overlay.MobileSide}, false)
	}
}

// received notes that a mobile's tunnel brought a packet to an inner address. The peer is
// who a Home Address option names, if there is a binding for it.
func (x hostPlane) received(t overlay.Tunnel, inner netip.Addr, p *packet) {
	x.silence(t.Home).since = time.Time{}
	peer := p.source
	if p.home.IsValid() {
		r := x.h.kernel.optimised[overlay.Pair{Home: p.home, Peer: inner, Side: overlay.CorrespondentSide}]
		if r.CareOf != p.source {
			return
		}
		peer = p.home
	}
	if p.datum != nil && len(p.outer) == 0 {
		x.watched(t, inner, peer)
	}
}

func (x hostPlane) silence(home netip.Addr) *silence {
	s := x.h.plane.silences[home]
	if s == nil {
		s = &silence{}
		x.h.plane.silences[home] = s
	}
	return s
}

// sending notes a packet that enters a mobile's tunnel.
func (x hostPlane) sending(t overlay.Tunnel, source, destination netip.Addr) {
	s, now := x.silence(t.Home), x.w.now
	pause := now.Sub(s.last)
	s.last = now
	switch {
	case s.since.IsZero() || pause > overlay.SilenceInterval:
		s.since = now
	case now.Sub(s.since) >= overlay.SilenceInterval:
		s.since = now
		x.post(role.TunnelSilent{Home: t.Home})
	}
	x.watched(t, source, destination)
}

// send sends a packet of an application: along optimised routes where there are
// any, through the tunnel, or plainly.
func (x hostPlane) send(d *datum) {
	x.route(packet{source: d.source, destination: d.destination, datum: d})
}

// route is send for any packet that is not signalling.
func (x hostPlane) route(d packet) {
	w, h, k := x.w, x.h, &x.h.kernel
	p := d
	mine, away := k.optimised[overlay.Pair{Home: d.source, Peer: d.destination, Side: overlay.MobileSide}]
	theirs, bound := k.optimised[overlay.Pair{Home: d.destination, Peer: d.source, Side: overlay.CorrespondentSide}]
	if bound {
		p.destination, p.routeHome = theirs.CareOf, theirs.Home
		x.seen(theirs.Pair, true)
	}
	tunnel, inside := k.inner(overlay.MobileSide, d.source)
	switch {
	case away:
		p.source, p.home = mine.CareOf, mine.Home
		x.seen(mine.Pair, true)
		if lower, ok := k.tunnels[mobileKey(mine.CareOf)]; ok {
			x.into(lower, d.source, d.destination, p)
			return
		}
		w.output(h, mine.Link, p)
	case inside:
		x.into(tunnel, d.source, d.destination, p)
	case h.hasInner(d.source): // at home, or nowhere
		if out := h.on(w.cells[0]); out != nil && out.home() {
			w.carry(out.at, p)
		}
	default:
		w.output(h, 0, p)
	}
}

// into sends a packet between two addresses, with whatever headers it has by now, into a
// mobile's tunnel, and the one that it is stacked on.
func (x hostPlane) into(t overlay.Tunnel, source, destination netip.Addr, p packet) {
	x.sending(t, source, destination)
	if lower, ok := x.h.kernel.beneath(t); ok {
		x.sending(lower, source, destination)
	}
	x.w.encapsulate(x.h, t, p)
}

// arrived judges a packet that is not signalling and has come to a host, and
// delivers it.
func (x hostPlane) arrived(link int, p packet) {
	w, h, k := x.w, x.h, &x.h.kernel
	d := p.datum
	source, destination := p.source, p.destination
	if p.routeHome.IsValid() {
		t, ok := k.tunnels[overlay.Key{Home: p.routeHome, Side: overlay.MobileSide}]
		told := k.optimised[overlay.Pair{Home: p.routeHome, Peer: p.peer(), Side: overlay.MobileSide}]
		lower, stacked := k.beneath(t)
		if !ok || t.Paths[0].Local != destination && told.CareOf != destination && !(stacked && lower.Paths[0].Local == destination) {
			return // RFC 6275 §6.4: to a home address of this node that is away
		}
		destination = p.routeHome
	}
	if p.home.IsValid() {
		r, ok := k.optimised[overlay.Pair{Home: p.home, Peer: destination, Side: overlay.CorrespondentSide}]
		if !ok || r.CareOf != source {
			x.post(role.UnknownHomeAddress{Source: source, Destination: destination, Home: p.home})
			return // RFC 6275 §9.3.1
		}
		source = p.home
		x.seen(r.Pair, true)
	}
	if p.routeHome.IsValid() {
		pair := overlay.Pair{Home: p.routeHome, Peer: source, Side: overlay.MobileSide}
		if _, ok := k.optimised[pair]; ok {
			x.seen(pair, true)
		} else { // the answer to what went through the tunnel
			x.silence(p.routeHome).since = time.Time{}
			x.watched(k.tunnels[mobileKey(p.routeHome)], p.routeHome, source)
		}
	}
	if p.datagram != nil {
		if p.home.IsValid() || p.routeHome.IsValid() {
			link = deviceLink
		}
		w.datagramArrived(h, link, source, destination, p.datagram)
		return
	}
	if d.forged {
		w.fail("%s takes a forged packet from %v as one of %v", h.name, p.source, source)
		return
	}
	if source != d.source || destination != d.destination {
		w.fail("%s gets a packet %v -> %v as %v -> %v", h.name, d.source, d.destination, source, destination)
		return
	}
	w.delivered(h, d, !p.tunnelled)
}
