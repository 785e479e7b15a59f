package tun

import (
	"log/slog"
	"net/netip"
	"slices"

	"roam6/overlay"
)

// FastPath carries packets of tunnels past user space. The engine stays as it is, with
// its device, table and routes, and carries what a fast path leaves to it, so that a
// fast path may leave any packet and does the common ones only. Everything that it
// lets pass must be what the engine would have let pass.
//
// Packets that it must leave to the engine:
//
//   - inner packets with a hop-by-hop, routing, fragment or destination options header or
//     a Mobility Header first; with IPv6 first, where they are those of a mobile's tunnel
//     (RFC 2473 §4.1.1: the encapsulation limit); UDP from or to port 547 (RFC 6276 §4);
//   - inner packets from or to an address of link scope, and from a multicast one;
//   - those of a pair that is Yielded, which optimised routes take;
//   - of a tunnel with Watch, the first packet each way between the home address and a peer
//     in overlay.TrafficInterval, which is to be reported;
//   - what is too big for the path, unless it answers with a right Packet Too Big itself;
//   - received tunnel packets that are not from an End of a tunnel that the inner address
//     belongs to, in fragments, or with a congestion mark (RFC 6040 §4.2).
//
// Apply, Counters and Drops are called under a lock and must not call the engine.
type FastPath interface {
	// Name is the engine's name as in the configuration: "kernel", "tcx".
	Name() string
	// Traits are what not all have. They are asked for once, before Start.
	Traits() Traits
	// Start is called once, when the device is up. What a predecessor that crashed left
	// goes on as it is: what is Set again is adopted, the rest ends with Sweep.
	Start(Underlay) error
	// Apply carries out the changes in order, and calls failed for each that cannot be:
	// the engine carries that tunnel then. One that was carried before has its Counters
	// until it is removed, which follows. A swap of paths loses no packet that either
	// path would deliver. To remove what is not there is no failure.
	Apply(changes []FastChange, failed func(i int, err error))
	// Sweep removes what a predecessor left and nobody has Set since.
	Sweep() error
	// Received tells that the engine had to take a packet of a tunnel that is carried
	// here, which came in by an interface. Its goroutines call it.
	Received(link int)
	// Counters returns what was carried of each tunnel since it was first Set.
	Counters() map[overlay.Key]overlay.Counters
	// Drops returns packets dropped on the fast path, by reason; nil: none.
	Drops() map[overlay.DropReason]uint64
	// Close removes everything that the fast path put in the kernel.
	Close() error
}

// Traits are what fast paths differ in.
type Traits struct {
	// NextHeader, where it is not 0: the fast path sorts the tunnel packets to this node
	// before the kernel delivers them. Those for the engine get this next header in place of
	// 41 and the mark Underlay.Sorted, so that the kernel's own tunnels do not take them apart
	// as well.
	NextHeader int
	// Nests: on an agent's side tunnel packets are carried in tunnels, and those that have no
	// encapsulation limit get none (RFC 2473 §4.1.1: a tunnel may be configured to). The
	// engine adds none then either: the path MTU is one for all.
	Nests bool
	// Seals: tunnels that are sealed are carried, too. The kernel puts what it sends in ESP,
	// and takes of such a tunnel what was in ESP only. Without this the engine carries them.
	Seals bool
}

// Underlay is what a fast path has to know of the engine that it is part of.
type Underlay struct {
	Device        string // name of the TUN device
	Index         int    // its interface index
	RouteProtocol int    // tag of routes and rules
	RulePriority  int    // first of three in a row that the engine uses
	Table         int    // of a mobile's tunnels: its default route is the device
	RouteMetric   int    // of the engine's routes to inner prefixes on the agent's side
	// Mark and MarkMask are on the engine's own packets.
	Mark, MarkMask uint32
	// Sorted is a bit of MarkMask that is not in Mark, 0 if there is none, for one that sorts.
	Sorted uint32
	Log    *slog.Logger
}

// FastTunnel is a tunnel for a fast path to carry. It is on no other one, and no other
// one is on it.
type FastTunnel struct {
	overlay.Key
	Inner []netip.Prefix
	Path  overlay.Path // the preferred one: packets leave by it
	// Ends are whom packets may come from. On the mobile's side only From counts.
	Ends  []End
	MTU   int  // largest outer packet that the path takes, in octets, without ESP
	Watch bool // peers of the home address are to be reported
}

// End is where packets of a tunnel come from, and the address of ours that they go to.
type End struct{ From, To netip.Addr }

// FastChange is one step: a tunnel to Set, or in place of the one with the same key; a
// pair to Yield to optimised routes, or no longer; or a tunnel to Remove. Of the four
// exactly one is used.
type FastChange struct {
	Set            *FastTunnel
	Yield, Reclaim *overlay.Pair
	Remove         overlay.Key // used when the others are nil
}

func (f *FastTunnel) equal(g *FastTunnel) bool {
	return f.Key == g.Key && slices.Equal(f.Inner, g.Inner) && f.Path == g.Path && slices.Equal(f.Ends, g.Ends) && f.MTU == g.MTU && f.Watch == g.Watch
}
