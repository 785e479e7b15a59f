package tun

import (
	"time"

	"roam6/overlay"
)

// decapsulator turns received tunnel packets into packets for the device
// (RFC 2473 §3.3). Of one goroutine.
type decapsulator struct {
	arrivals
	joined *coalescer
	fast   FastPath // nil: none
}

// packet handles one tunnel packet without its tunnel header, behind
// receiveHeadroom free octets; it is in joined afterwards, or dropped for the
// reason returned.
func (d *decapsulator) packet(buffer []byte, o outer, now time.Duration) overlay.DropReason {
	reason, ours := d.level(buffer, o, 1, now)
	if !ours {
		d.drops.count(reason)
	}
	return reason
}

// level is packet at a level of a stack, the lowest being 1. ours is false for what is
// of no tunnel; that is not counted yet.
func (d *decapsulator) level(buffer []byte, o outer, level int, now time.Duration) (reason overlay.DropReason, ours bool) {
	packet, ok := trim(buffer[receiveHeadroom:])
	if !ok {
		return overlay.DropMalformed, false
	}
	t, reason := d.inbound(packet, o, now)
	switch {
	case t == nil && reason == overlay.DropNoTunnel:
		return reason, false
	case t == nil:
	case t.sealed.Load() && !o.sealed, t.guards(packet, inbound), d.bare(packet, destination(packet), source(packet)):
		reason = overlay.DropUnprotected
	case !decapsulateECN(packet, o.class):
		reason = overlay.DropCongestion
	}
	if reason != 0 {
		d.drops.count(reason)
		return reason, true
	}
	t.decapsulated.add(1, len(packet))
	if d.fast != nil && !o.tunnelled && t.fast.Load() {
		d.fast.Received(o.link)
	}
	if t.key.Side == overlay.MobileSide {
		t.silence.heard()
	}
	buffer = buffer[:receiveHeadroom+len(packet)]
	if t.key.Side == overlay.MobileSide && level < mostStacked && destination(packet) == t.home {
		if at, ok := plainTunnel(packet); ok {
			above := outer{source: source(packet), destination: destination(packet), class: trafficClass(packet), tunnelled: true}
			if reason, ours = d.level(buffer[at:], above, level+1, now); ours {
				return reason, true
			} // otherwise for whoever else has a tunnel here
		}
	}
	switch packet[offsetNextHeader] {
	case protocolDestinationOptions, protocolRouting, protocolHopByHop:
		// From a mobile that has bound itself to a home address which the tunnel is of.
		removed, _, reason := d.take(packet, now)
		if reason != 0 {
			return reason, true
		}
		buffer = buffer[removed:]
	}
	if t.key.Side == overlay.MobileSide {
		// The peer is who a Home Address option names, not its care-of address.
		d.watch.received(t, buffer[receiveHeadroom:], now)
	}
	d.joined.add(buffer)
	return 0, true
}
