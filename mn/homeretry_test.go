package mn

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// The home address is defended by another home agent of the link, of which the node
// knows nothing, or probed by it: the return home is tried again until that has ended.
// Whoever else has it keeps it (RFC 6275 §11.5.5).
//
// Covers: B3, M9.
func TestHomeAddressDefendedByAnotherAgent(t *testing.T) {
	another := cell{router: netip.MustParseAddr("fe80::77"), prefix: homePrefix}
	heard := func(b *bench) {
		b.handle(advertisement(1, atHome, nil))
		b.handle(advertisement(1, another, func(ra *nd.RouterAdvertisement) { ra.HomeAgent = true }))
	}
	for name, c := range map[string]struct {
		conflict role.NeighborHeard
		again    bool
	}{
		"home agent":    {role.NeighborHeard{Link: 1, From: another.router, Target: homeAddress}, true},
		"probe":         {role.NeighborHeard{Link: 1, From: netip.IPv6Unspecified(), Target: homeAddress, Solicitation: true}, true},
		"somebody else": {role.NeighborHeard{Link: 1, From: netip.MustParseAddr("fe80::99"), Target: homeAddress}, false},
	} {
		b := newBench(t, nil)
		b.carrier(true)
		heard(b)
		for range 3 {
			b.answered(mip6.StatusNotHomeAgent) // it had no binding
			b.handle(c.conflict)
			if b.kernel.has(1, homeAddress) {
				t.Fatalf("%s: the home address stays", name)
			}
			before := len(updates(b.all))
			for range 12 {
				b.pass(time.Second)
				heard(b)
			}
			if n := len(updates(b.all)) - before; (n > 0) != c.again || b.kernel.has(1, homeAddress) != c.again {
				t.Fatalf("%s: %d updates", name, n)
			}
			if !c.again {
				break
			}
		}
		if !c.again {
			continue
		}
		b.answered(mip6.StatusNotHomeAgent)
		b.pass(2 * time.Second)
		if a := b.node.current; a.homeState != homeSettled || !b.kernel.has(1, homeAddress) {
			t.Errorf("%s: state %d", name, a.homeState)
		}
		b.handle(role.Stop{})
		b.pass(3 * time.Second)
		b.empty()
	}
}
