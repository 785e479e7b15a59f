package tun

import (
	"net/netip"
	"sync/atomic"
	"time"

	"roam6/overlay"
)

// tunnel is a binding in the data plane. Its prefixes are in the table's tries.
type tunnel struct {
	key   overlay.Key
	home  address
	since time.Time
	paths atomic.Pointer[pathSet]

	encapsulated, decapsulated counter

	fast      atomic.Bool // the fast path carries it
	unlimited atomic.Bool // packets in packets get no encapsulation limit, as on a fast path that nests
	watch     atomic.Bool // peers are to be reported
	protected atomic.Bool // overlay.Tunnel.Protected
	sealed    atomic.Bool // overlay.Tunnel.Seal is on
	silence   silence

	// Of the control side alone, under the engine's lock.
	inner     []netip.Prefix
	installed []netip.Prefix // those of inner that the kernel routes to us

	gone atomic.Bool // removed: what is stacked on it leads nowhere
}

// counter counts inner packets and their octets.
type counter struct{ packets, bytes atomic.Uint64 }

func (c *counter) add(packets, bytes int) {
	c.packets.Add(uint64(packets))
	c.bytes.Add(uint64(bytes))
}

// errorSource is an address of this node or its mobile to send errors from.
func (t *tunnel) errorSource(p *path) address {
	if t.key.Side == overlay.MobileSide {
		return addressOf(t.key.Home)
	}
	return p.local
}

// dropCounters count dropped packets by reason.
type dropCounters [overlay.DropFailed + 1]atomic.Uint64

func (d *dropCounters) count(r overlay.DropReason) { d[r].Add(1) }

func (d *dropCounters) snapshot() map[overlay.DropReason]uint64 {
	m := make(map[overlay.DropReason]uint64, len(d))
	for _, r := range overlay.DropReasons() {
		if n := d[r].Load(); n != 0 {
			m[r] = n
		}
	}
	return m
}

// table finds the tunnel or the optimised route of a packet. Any number of goroutines may look things
// up while one changes it.
type table struct {
	mobile trie[tunnel] // tunnels of the mobile side, by inner prefix
	agent  trie[tunnel] // tunnels of the agent side, by inner prefix

	returned returnedTunnels // of the mobile side

	mobileRoutes, correspondentRoutes pairs // optimised routes of each side

	local   func(netip.Addr) bool               // nil: nothing is known
	espOurs func(spi uint32) bool               // Config.Signalling
	relayed func(local, remote netip.Addr) bool // Config.Relayed
	drops   dropCounters
}

// isLocal reports whether an address is this node's.
func (t *table) isLocal(a address) bool { return t.local != nil && t.local(a.netip()) }

// away returns the tunnel of a home address of this node that is away from home,
// or was a moment ago.
func (t *table) away(home address, now time.Duration) *tunnel {
	if u := t.mobile.lookup(home); u != nil && u.home == home {
		return u
	}
	if u := t.returned.get(home, now); u != nil && t.isLocal(home) {
		return u
	}
	return nil
}

func (t *table) routes(s overlay.Side) *pairs {
	if s == overlay.MobileSide {
		return &t.mobileRoutes
	}
	return &t.correspondentRoutes
}

func (t *table) side(s overlay.Side) *trie[tunnel] {
	if s == overlay.MobileSide {
		return &t.mobile
	}
	return &t.agent
}

// outbound finds the tunnel that a packet must enter: an agent's by the inner
// destination, a mobile's by the inner source (RFC 3963 §6: only sources from
// the mobile network).
func (t *table) outbound(s, d address) (*tunnel, overlay.DropReason) {
	if u := t.agent.lookup(d); u != nil {
		return u, 0
	}
	if u := t.mobile.lookup(s); u != nil {
		return u, 0
	}
	if !t.mobile.empty() {
		return nil, overlay.DropInnerSource
	}
	return nil, overlay.DropNoTunnel
}

// outer is what the tunnel header of a received packet said.
type outer struct {
	source, destination address
	class               uint8
	tunnelled           bool // the packet came out of another tunnel of this node
	sealed              bool // it was in ESP by one of our associations
	link                int  // the interface that it came in by
}

// inbound finds the tunnel that a packet came out of, and checks that it may
// come from there. A mobile takes packets to its inner addresses from its agent
// (RFC 6275 §11.3); an agent takes packets from an inner address if the outer
// source is the care-of address of its owner (RFC 6275 §10.4.5, RFC 3963 §9).
func (t *table) inbound(packet []byte, o outer, now time.Duration) (*tunnel, overlay.DropReason) {
	s, d := source(packet), destination(packet)
	if s.linkScope() || d.linkScope() || s.multicast() {
		return nil, overlay.DropLinkScope
	}
	reason := overlay.DropNoTunnel
	u := t.mobile.lookup(d)
	if u == nil {
		u = t.away(d, now)
	}
	if u != nil {
		if u.paths.Load().accepts(overlay.MobileSide, o.source, o.destination, now) && (o.tunnelled || !t.stacks(o.destination)) {
			return u, 0
		}
		reason = overlay.DropOuterSource
	}
	if u := t.agent.lookup(s); u != nil {
		if u.paths.Load().accepts(overlay.AgentSide, o.source, o.destination, now) {
			return u, 0
		}
		reason = overlay.DropOuterSource
	}
	return nil, reason
}
