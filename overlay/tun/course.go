package tun

import (
	"time"

	"roam6/overlay"
)

// course is the way that a packet from the device takes.
type course struct {
	path          *path
	below         *tunnel    // that the path is stacked on; nil: none
	under         *path      // of that tunnel
	tunnel        *tunnel    // that it enters; nil: none
	mobile        *optimised // whose Home Address option it gets; nil: none
	correspondent *optimised // whose type 2 routing header it gets; nil: none
	behind        *path      // of the correspondent's route, to the care-of address
	place                    // of those headers
}

// choose finds the course of a packet, or the reason to drop it. Optimised routes
// come first (RFC 6275 §9.3.2, §11.3.1), then tunnels.
func (e *encapsulator) choose(packet []byte, now time.Duration) (c course, reason overlay.DropReason) {
	s, d := source(packet), destination(packet)
	if s.linkScope() || d.linkScope() || s.multicast() {
		return c, overlay.DropLinkScope
	}
	var bound *homeRoutes
	if !e.mobileRoutes.empty() {
		c.mobile = e.mobileRoutes.get(s, d)
	}
	if !e.correspondentRoutes.empty() {
		if bound = e.correspondentRoutes.homes.lookup(d); bound != nil {
			c.correspondent = bound.peers.lookup(s)
		}
	}
	if c.mobile != nil || c.correspondent != nil {
		var ok bool
		if c.place, ok = placeOf(packet); !ok {
			c.mobile, c.correspondent = nil, nil
		}
	}
	if c.correspondent != nil {
		c.behind = c.correspondent.path() // once: it may be swapped
	}
	switch {
	case c.mobile != nil && c.correspondent != nil:
		c.path = c.correspondent.jointPath(c.mobile.path(), c.behind)
		return c, 0
	case c.mobile != nil:
		c.path = c.mobile.path()
		return c, 0
	case c.correspondent != nil:
		// From a home address of ours that is away, or a mobile network: by our own
		// home agent, since no router here takes that source.
		if c.tunnel = e.mobile.lookup(s); c.tunnel != nil {
			c.path = c.tunnel.paths.Load().preferred()
		} else {
			c.path = c.behind
		}
		return c, 0
	}
	if c.tunnel, reason = e.outbound(s, d); c.tunnel != nil {
		c.path = c.tunnel.paths.Load().preferred()
		return c, 0
	}
	if bound != nil && bound.led(now) {
		if c.path = e.past(&bound.bypass, s, d, now); c.path != nil {
			return c, 0
		}
		reason = overlay.DropUnreachable
	}
	return c, reason
}

// past returns the path of packets that leave as they came: by the interface
// that the kernel would have chosen without us, so that nothing leads them back
// here. It is nil if there is none.
func (e *encapsulator) past(b *bypass, from, to address, now time.Duration) *path {
	if b.source == from && b.checked != 0 && now-b.checked < bypassLifetime {
		return b.path
	}
	link, ok := e.wayOut(from, to)
	p := newPath(overlay.Path{Local: from.netip(), Remote: to.netip(), Link: link}, e.pathMTU)
	if old := b.path; old != nil && old.local == from && old.Link == link {
		p = old // and what was learned about it
	}
	b.path, b.source, b.checked = p, from, max(now, 1)
	if !ok {
		b.path = nil
	}
	return b.path
}

// errorSource is the source of ICMPv6 errors about the packet: an address of
// this node or its mobile.
func (c *course) errorSource(packet []byte) address {
	if c.tunnel != nil {
		return c.tunnel.errorSource(c.path)
	}
	return source(packet)
}

// descend finds the tunnel that the path is stacked on, and its present path.
func (c *course) descend() overlay.DropReason {
	c.below = c.path.below.Load()
	if c.below == nil {
		return 0
	}
	c.under = c.below.paths.Load().preferred() // once: it may be swapped
	if c.below.gone.Load() {
		return overlay.DropUnreachable
	}
	return 0
}

// count counts packets that have taken the course, but for the tunnel below.
func (c *course) count(packets, bytes int) {
	if c.tunnel != nil {
		c.tunnel.encapsulated.add(packets, bytes)
	}
	if c.mobile != nil {
		c.mobile.encapsulated.add(packets, bytes)
	}
	if c.correspondent != nil {
		c.correspondent.encapsulated.add(packets, bytes)
	}
}
