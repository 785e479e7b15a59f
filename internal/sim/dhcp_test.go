package sim

import (
	"math/rand/v2"
	"testing"
)

// Rides through access networks whose addresses are managed, in part or all, with
// servers that lose messages, are silent, or forget; and with uplinks that somebody
// else manages (RFC 8415, RFC 4861 §4.2).
func TestManaged(t *testing.T) {
	sum := rides(t, 200, func(r *rand.Rand) (Plan, Ride) {
		return Plan{
			Cells: 3, Agents: 1 + r.IntN(2), Routers: r.IntN(3), Hosts: 1 + r.IntN(2), Correspondents: 1,
			Discover: r.IntN(3) == 0, Managed: true, Foreign: r.IntN(2) == 0,
		}, Ride{Steps: 30}
	})
	if sum.Leases == 0 || sum.Declines == 0 {
		t.Errorf("nothing was leased, or nothing declined: %+v", sum)
	}
}

// Rides of mobile routers whose networks are delegated by one of two home agents,
// each with a pool of its own, that crash and remember (RFC 6276).
//
// Covers: D1, D2, D3.
func TestDelegation(t *testing.T) {
	sum := rides(t, 200, func(r *rand.Rand) (Plan, Ride) {
		return Plan{
			Cells: 3, Agents: 1 + r.IntN(2), Routers: 1 + r.IntN(4), Discover: r.IntN(4) == 0,
			Managed: r.IntN(4) == 0, Delegation: true,
		}, Ride{Steps: 30}
	})
	if sum.Delegations == 0 || sum.Numbered == 0 {
		t.Errorf("nothing was delegated: %+v", sum)
	}
}

// Rides of mobiles in the networks of mobile routers, up to three one behind the
// other (RFC 4888, RFC 3963 §9).
func TestNested(t *testing.T) {
	sum := rides(t, 200, func(r *rand.Rand) (Plan, Ride) {
		return Plan{
			Cells: 2, Agents: 1 + r.IntN(2), Routers: 2 + r.IntN(3), Hosts: r.IntN(2), Correspondents: r.IntN(2),
			Delegation: r.IntN(2) == 0, Managed: r.IntN(4) == 0, Nested: true,
		}, Ride{Steps: 30}
	})
	if sum.Nested == 0 {
		t.Errorf("nobody was in a mobile network: %+v", sum)
	}
}
