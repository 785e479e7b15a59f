package tun

import (
	"log/slog"
	"math/bits"

	"roam6/overlay"
)

// RoutePath carries packets of optimised routes past user space, as FastPath does those
// of tunnels. The engine stays as it is: it leads, judges, counts and reports what the path
// leaves to it, and hears ICMPv6 errors about the rest.
//
// The path sends what this node itself sends between the addresses of a route, but for
// Mobility Headers (RFC 6275 §6.1), with the headers of all routes between these
// addresses: a Home Address option, a type 2 routing header, or both. It takes received
// packets to which all of this applies, and that have the mark of RouteMark, which the
// signalling's nftables rules give data with the headers in the usual places; the engine
// does not see them then:
//
//   - the headers are those that it would send back with the parts exchanged, in the usual
//     places: the routing header first, an option of 16 octets behind four of padding;
//   - neither ESP, AH nor a Mobility Header follows;
//   - the care-of addresses are those of the routes, and the home address in a routing
//     header is assigned.
//
// Apply, Counters and the functions given to them are called under a lock and must not call
// the engine. Counters are told as what came to them since they were last told.
type RoutePath interface {
	// Start is called once, and removes what a predecessor that crashed left. The error
	// wraps errors.ErrUnsupported where the kernel cannot do it: then the engine does
	// without.
	// What has bits of own is sent by engine or signalling and none of the path's, and
	// what it may receive has those of received.
	Start(log *slog.Logger, own, received uint32) error
	// Apply carries out the changes in order, and calls failed for each pair that it does
	// not carry, or not any more: the engine does then. A pair may fail for the sake of
	// another one between the same addresses. To remove what is not there is no failure.
	// Of routes that change or go it tells what they have carried.
	Apply(changes []RouteChange, carried func(overlay.Pair, overlay.Counters), failed func(overlay.Pair, error))
	// Counters tells what was carried of each route, where that is anything, and puts back
	// what somebody else has removed from the kernel; failed is as for Apply.
	Counters(carried func(overlay.Pair, overlay.Counters), failed func(overlay.Pair, error)) error
	// Close removes everything that the path put in the kernel.
	Close() error
}

// RouteMark is the bit of the mask of marks that is on received packets that a RoutePath may
// take, of a node whose own packets have mark; 0: there is none.
func RouteMark(mark, mask uint32) uint32 {
	free := mask &^ mark
	if free == 0 {
		return 0
	}
	return 1 << (bits.Len32(free) - 1)
}

// RouteChange is one step: a route to Set, or in place of the one of the same pair, or a
// pair to Remove. Of the two exactly one is used.
type RouteChange struct {
	Set    *overlay.Route
	Remove overlay.Pair // used when Set is nil
}
