// Package overlay is the data plane: what turns bindings into forwarded
// packets. Here are its values and the one interface of its engines; the
// engines are in the packages below. Values only: roles build them and the
// shell hands them to the engine.
package overlay

import (
	"net/netip"
	"time"
)

// Side says at which end of a tunnel this node is, and with it which inner
// address decides: the mobile side encapsulates by inner source, the agent
// side by inner destination.
type Side uint8

// The two ends of a tunnel.
const (
	// MobileSide is a mobile node or router: packets from an inner address go
	// to the agent, and only the agent's packets are accepted.
	MobileSide Side = iota + 1
	// AgentSide is a home agent or mobility anchor point: packets to an inner
	// address go to the mobile, and packets from a care-of address are accepted
	// only with an inner source of that mobile's (RFC 6275 §10.4.5, RFC 3963 §9).
	AgentSide
	// CorrespondentSide is a correspondent node: packets to a home address go to
	// the care-of address with a type 2 routing header (RFC 6275 §9.3.2). Of
	// routes, not of tunnels.
	CorrespondentSide
)

// Intervals of what an engine reports. TrafficInterval is the least time between
// two reports of traffic between the same addresses; SilenceInterval is how long
// a tunnel may bring nothing back before that is reported.
const (
	TrafficInterval = 10 * time.Second
	SilenceInterval = 3 * time.Second
)

// Path is one way to the other end: outer addresses and, on a mobile with
// several uplinks, the link.
//
// A path of a MobileSide tunnel whose Local is the Home of another MobileSide tunnel
// of the same plane is stacked on that, and so is a MobileSide route with such a
// CareOf; its Link is 0. So a mobile in the domain of an anchor has the anchor's
// tunnel (Home: the regional care-of address, Local: the on-link one) and on it the
// home agent's (Local: the regional one), RFC 5380 §6.1. For an engine this means:
//
//   - Packets leave in both tunnels, [LCoA → anchor][RCoA → agent][inner], and come in
//     both; each level checks the outer source and counts what is in it. A packet to
//     the Home of a tunnel that is not from that tunnel is no packet of what is
//     stacked on it.
//   - The lower tunnel is like a link to the upper one: it takes 40 octets more of
//     the path MTU (§11), and Status.MTU, Packet Too Big and all other ICMPv6 errors
//     are right at both levels. What is learned about the way behind the anchor is
//     learned for the upper path, and what about the way to it for the lower one.
//   - Order is free: the lower tunnel may be set after the upper one. A swap of its
//     paths takes effect for what is stacked on it at once, without a Set there. When
//     it is removed, packets of the upper one are dropped as DropUnreachable until
//     the lower one is set again or the upper one's path changes: they never leave
//     from the regional address by an uplink. (What is set on a tunnel that never was
//     is not known to be stacked: set the lower one first, or in the same Apply.)
//   - What is addressed to the Home of the lower tunnel and is not for the upper one,
//     signalling above all, comes out of the device as of any tunnel.
//   - A tunnel on itself, in a circle, or a third on two is refused by Apply.
type Path struct {
	// BID is the binding identifier (RFC 5648), zero where none is used.
	BID uint16
	// Local and Remote are the outer addresses: on the mobile side the care-of
	// and the agent's address, on the agent side the other way round.
	Local, Remote netip.Addr
	// Link is the interface index that Local is used on; 0 leaves it to the
	// routing table.
	Link int
	// RemotePort, when not zero, is the UDP port of a path through a NAT
	// (RFC 5555); Remote is then an IPv4-mapped address.
	RemotePort uint16
}

// Key names a tunnel: a node has at most one for a home address on each side.
type Key struct {
	Home netip.Addr
	Side Side
}

// Tunnel is what the data plane knows of one binding.
type Tunnel struct {
	Key
	// Inner are the addresses on the mobile's side: its home address as a /128
	// and its mobile network prefixes.
	Inner []netip.Prefix
	// Paths are the ways to the other end, the preferred one first. Never empty.
	Paths []Path
	// Watch, on the mobile side, asks for reports of the peers whose packets use
	// the tunnel from and to the home address itself: candidates for route
	// optimisation.
	Watch bool
	// Protected says that home test init messages from the home address and home
	// test messages to it go through the tunnel in IPsec ESP only (RFC 6275 §10.4.6).
	// They are not encapsulated, but handed over to whoever does that, and dropped
	// when they come out of the tunnel without it.
	Protected bool
	// Seal says that all packets of the tunnel are in IPsec ESP, and what that adds to
	// them; the zero value is that they are not.
	Seal Seal
}

// Pair names an optimised route: a home address and the node it talks to. Side
// is MobileSide where the home address is ours, CorrespondentSide where the peer
// is. A node that is mobile and correspondent at once may have both between the
// same two nodes; its packets then carry both headers.
type Pair struct {
	Home, Peer netip.Addr
	Side       Side
}

// Ends are the address of a route that is this node's, and the other one.
func (p Pair) Ends() (local, remote netip.Addr) {
	if p.Side == MobileSide {
		return p.Home, p.Peer
	}
	return p.Peer, p.Home
}

// Route is an optimised route (RFC 6275 §9.3, §11.3): packets between home
// address and peer carry a Home Address option or a type 2 routing header in
// place of a tunnel header. Mobility Header messages never use it (§6.1).
type Route struct {
	Pair
	CareOf netip.Addr // of the mobile
	Link   int        // on the mobile side, the interface of CareOf; 0: by routing
}

// Change is one step of a batch: a tunnel or a route to install, or to swap in
// place of the one with the same key, or a key or pair to remove. Of the four
// exactly one is used.
type Change struct {
	Set        *Tunnel
	Remove     Key // used when the others are nil
	Optimise   *Route
	Deoptimise *Pair
}

// Counters are the packets and octets of one tunnel, inner packets counted.
type Counters struct {
	EncapPackets, EncapBytes uint64
	DecapPackets, DecapBytes uint64
}

// Plus returns the sum of two.
func (c Counters) Plus(d Counters) Counters {
	return Counters{
		EncapPackets: c.EncapPackets + d.EncapPackets, EncapBytes: c.EncapBytes + d.EncapBytes,
		DecapPackets: c.DecapPackets + d.DecapPackets, DecapBytes: c.DecapBytes + d.DecapBytes,
	}
}

// Minus returns what has come since an earlier count.
func (c Counters) Minus(earlier Counters) Counters {
	return Counters{
		EncapPackets: c.EncapPackets - earlier.EncapPackets, EncapBytes: c.EncapBytes - earlier.EncapBytes,
		DecapPackets: c.DecapPackets - earlier.DecapPackets, DecapBytes: c.DecapBytes - earlier.DecapBytes,
	}
}

// Status is a tunnel as the engine carries it out.
type Status struct {
	Tunnel
	MTU      int       // largest inner packet that the preferred path takes whole
	Since    time.Time // when the tunnel was installed; a swap of paths keeps it
	Counters Counters
}

// RouteStatus is an optimised route as the engine carries it out. Encapsulated
// are packets sent with the headers, decapsulated those received with them.
type RouteStatus struct {
	Route
	Since time.Time
	Counters
}

// Plane is a data plane engine. It is safe for use by several goroutines.
type Plane interface {
	// Name is the engine's name as in the configuration: "tun", "kernel", "tcx".
	Name() string
	// Apply carries out the changes in order. A swap of paths loses no packet
	// that either path would deliver. Where some changes fail the others still
	// hold, and the error joins one per failure. To remove what is not there is
	// no failure.
	Apply([]Change) error
	// Tunnels returns a snapshot.
	Tunnels() []Status
	// Routes returns a snapshot of the optimised routes.
	Routes() []RouteStatus
	// Drops returns the packets dropped so far, by reason.
	Drops() map[DropReason]uint64
	// Close removes everything the engine put in the kernel.
	Close() error
}
