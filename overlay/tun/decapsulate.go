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
}

// packet handles one tunnel packet without its tunnel header, behind
// receiveHeadroom free octets; it is in joined afterwards, or dropped for the
// reason returned.
func (d *decapsulator) packet(buffer []byte, o outer, now time.Duration) overlay.DropReason {
	packet, ok := trim(buffer[receiveHeadroom:])
	if !ok {
		d.drops.count(overlay.DropMalformed)
		return overlay.DropMalformed
	}
	t, reason := d.inbound(packet, o, now)
	if t == nil {
		d.drops.count(reason)
		return reason
	}
	if t.guards(packet, inbound) || d.bare(packet, destination(packet), source(packet)) {
		d.drops.count(overlay.DropUnprotected)
		return overlay.DropUnprotected
	}
	if !decapsulateECN(packet, o.class) {
		d.drops.count(overlay.DropCongestion)
		return overlay.DropCongestion
	}
	t.decapsulated.add(1, len(packet))
	if t.key.Side == overlay.MobileSide {
		t.silence.heard()
	}
	buffer = buffer[:receiveHeadroom+len(packet)]
	switch packet[offsetNextHeader] {
	case protocolDestinationOptions, protocolRouting, protocolHopByHop:
		// From a mobile that has bound itself to a home address which the tunnel is of.
		removed, _, reason := d.take(packet, now)
		if reason != 0 {
			return reason
		}
		buffer = buffer[removed:]
	}
	if t.key.Side == overlay.MobileSide {
		// The peer is who a Home Address option names, not its care-of address.
		d.watch.received(t, buffer[receiveHeadroom:], now)
	}
	d.joined.add(buffer)
	return 0
}
