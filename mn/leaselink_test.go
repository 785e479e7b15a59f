package mn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// Back on a link, the leased address of before serves at once: by the router's
// advertisement, or by its answer to the question of Simple DNA, and is probed behind
// that (RFC 6059 §5.8, RFC 8415 §18.2.12).
//
// Covers: M8.
func TestLeasedOnReturn(t *testing.T) {
	for _, c := range []struct {
		name       string
		client     role.LeaseChanged // what the client says on the other link
		addressing Addressing
		back       func(b *bench) []role.Action
	}{
		{"by advertisement", lease(1), AddressingAuto, func(b *bench) []role.Action { return b.handle(advertisement(1, eui, managed)) }},
		{"by DNA", lease(1), AddressingAuto, func(b *bench) []role.Action {
			return b.handle(role.NeighborHeard{Link: 1, From: eui.router, Target: eui.router, Solicited: true})
		}},
		{"client with a lease of the other link", lease(1, leased2), AddressingAuto, func(b *bench) []role.Action { return b.handle(advertisement(1, eui, managed)) }},
		{"client that knows no links", lease(1, leased2), AddressingDHCP, func(b *bench) []role.Action {
			b.handle(lease(1)) // it asks, and says nothing before it is answered
			return b.handle(advertisement(1, eui, managed))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(x *Config) { x.Addressing = map[string]Addressing{"up0": c.addressing} })
			here := netip.MustParseAddr("2001:db8:a5::77")
			b.carrier(true)
			b.handle(advertisement(1, eui, managed))
			b.handle(lease(1, here))
			b.pass(retransTimer)
			b.acknowledge()
			// Another link, by the same interface.
			b.carrier(false)
			b.carrier(true)
			b.handle(advertisement(1, ar2, func(ra *nd.RouterAdvertisement) {
				managed(ra)
				ra.Prefixes[0].Autonomous = c.addressing == AddressingAuto
			}))
			b.handle(c.client)
			b.acknowledge()
			if !ar2.prefix.Contains(b.node.reg.careOf) {
				t.Fatalf("registered %v", b.node.reg.careOf)
			}
			b.pass(time.Minute)
			if b.kernel.has(1, here) {
				t.Fatal("the address of the link before is still there")
			}
			b.carrier(false)
			b.pass(2 * time.Second)
			b.carrier(true)
			did := c.back(b)
			b.source(here)
			if n := len(only[role.ProbeAddress](did)); len(updates(did)) != 1 || n != 1 {
				t.Errorf("%d probes, %d updates", n, len(updates(did)))
			}
			b.acknowledge()
			// The client confirms it, or finds it lost.
			if did := b.handle(lease(1, here)); len(updates(did)) != 0 {
				t.Errorf("confirmed: %v", did)
			}
			b.handle(lease(1))
			if b.node.current.works() || b.kernel.has(1, here) {
				t.Error("used although it was lost")
			}
		})
	}
}

// An address of the link before is not used on another one, whatever the routers'
// addresses are, until the client has said so or has had the time to say otherwise
// (RFC 8415 §18.2.3).
//
// Covers: M8.
func TestLeaseOfTheLinkBefore(t *testing.T) {
	sameName := cell{ar1.router, ar2.prefix}
	for name, heard := range map[string]role.RouterHeard{
		"other router":                   advertisement(1, ar2, managed),
		"router of the same name":        advertisement(1, sameName, managed),
		"router of the same name, bare":  advertisement(1, ar1, bare),
		"other router, without prefixes": advertisement(1, ar2, bare),
		"other router, its prefix behind another": advertisement(1, ar2, func(ra *nd.RouterAdvertisement) {
			managed(ra)
			ra.Prefixes = append(ra.Prefixes, mip6.PrefixInformation{Prefix: ar1.prefix, ValidLifetime: time.Hour, PreferredLifetime: time.Hour})
		}),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.byLease()
			b.carrier(false)
			b.carrier(true)
			if b.handle(heard); b.node.current.works() {
				if contains(b.node.routers.On(1)[0], leased1) {
					return // its prefix is here
				}
				t.Fatal("used at once")
			}
			if b.pass(leasePatience - time.Millisecond); b.node.current.works() {
				t.Fatal("used before the client had the time to take it back")
			}
			if b.pass(time.Millisecond); !b.node.current.works() {
				t.Error("nobody has taken it back, and it is not used")
			}
		})
		t.Run(name+", which has none", func(t *testing.T) {
			b := newBench(t, nil)
			b.byLease()
			b.carrier(false)
			b.carrier(true)
			b.handle(heard)
			b.handle(lease(1))
			if b.pass(time.Minute); b.node.current.works() {
				t.Error("used although the client has none here")
			}
			e := heard
			e.RA.Prefixes = append(slices.Clone(e.RA.Prefixes), mip6.PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8:a1::/63"),
				ValidLifetime: time.Hour, PreferredLifetime: time.Hour})
			if b.handle(e); b.node.current.works() {
				t.Error("used for a prefix that contains it, although the client has none here")
			}
		})
		t.Run(name+", confirmed", func(t *testing.T) {
			b := newBench(t, nil)
			b.byLease()
			b.carrier(false)
			b.carrier(true)
			b.handle(heard)
			if b.handle(lease(1, leased1)); !b.node.current.works() || b.node.current.careOf != leased1 {
				t.Errorf("confirmed and not used: %+v", b.node.current)
			}
		})
	}
}

// The same without a carrier event: the router in use is gone, and another one is
// here, which tells nothing of its link.
//
// Covers: B1, M8.
func TestLeaseAfterSilentMove(t *testing.T) {
	b := newBench(t, nil)
	b.carrier(true)
	b.handle(advertisement(1, ar1, bare))
	b.handle(lease(1, leasedX))
	b.acknowledge()
	b.pass(time.Second)
	b.handle(advertisement(1, ar2, bare))
	if b.pass(time.Second); b.node.current.works() {
		t.Errorf("by %v", b.node.current.router)
	}
	b.handle(lease(1, leased2))
	b.source(leased2)
}
