package sim

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/role"
)

// Rides through access networks whose addresses are managed, in part or all, with
// servers that lose messages, are silent, forget, and lease what somebody has; and
// with uplinks that somebody else manages (RFC 8415, RFC 4861 §4.2).
//
// Covers: M8, B2.
func TestManaged(t *testing.T) {
	t.Parallel()
	sum := rides(t, 40, func(r *rand.Rand) (Plan, Ride) {
		return Plan{
			Cells: 3, Agents: 1 + r.IntN(2), Routers: r.IntN(3), Hosts: 1 + r.IntN(2), Correspondents: 1,
			Discover: r.IntN(3) == 0, Attacker: r.IntN(4) == 0, Managed: true, Foreign: r.IntN(2) == 0,
		}, Ride{Steps: 30}
	})
	if sum.Leases == 0 || sum.Declines == 0 {
		t.Errorf("nothing was leased, or nothing declined: %+v", sum)
	}
}

// Rides of mobile routers whose networks one or two home agents delegate, each from a
// pool of its own, which crash and remember; the routers, too, or they forget
// (RFC 6276).
//
// Covers: D1, D2, D3.
func TestDelegation(t *testing.T) {
	t.Parallel()
	sum := rides(t, 40, func(r *rand.Rand) (Plan, Ride) {
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
//
// Covers: N4.
func TestNested(t *testing.T) {
	t.Parallel()
	sum := rides(t, 25, func(r *rand.Rand) (Plan, Ride) {
		return Plan{
			Cells: 2, Agents: 1 + r.IntN(2), Routers: 2 + r.IntN(3), Hosts: r.IntN(2), Correspondents: r.IntN(2),
			Delegation: r.IntN(2) == 0, Managed: r.IntN(4) == 0, Foreign: r.IntN(4) == 0, Nested: true,
		}, Ride{Steps: 30}
	})
	if sum.Nested == 0 {
		t.Errorf("nobody was in a mobile network: %+v", sum)
	}
}

// Rides with everything at once that goes together.
func TestEverything(t *testing.T) {
	t.Parallel()
	rides(t, 30, func(r *rand.Rand) (Plan, Ride) {
		p := Plan{
			Cells: 2 + r.IntN(3), Agents: 1 + r.IntN(3), Routers: 1 + r.IntN(3), Hosts: r.IntN(3), Reserved: r.IntN(2),
			Correspondents: r.IntN(2), Unwilling: r.IntN(2), Ignorant: r.IntN(2),
			Discover: r.IntN(2) == 0, Attacker: r.IntN(3) == 0,
			Managed: r.IntN(2) == 0, Foreign: r.IntN(2) == 0, Delegation: r.IntN(2) == 0, Nested: r.IntN(2) == 0,
		}
		return p, Ride{Steps: 20 + r.IntN(20), Renumber: !p.Delegation && r.IntN(3) == 0}
	})
}

// delegatedWorld is one in which all is well: two mobile routers with delegated
// prefixes, of which the first is in a managed network and the other in its network.
func delegatedWorld(t *testing.T) *World {
	t.Helper()
	w := NewWorld(7, Plan{Cells: 2, Agents: 2, Routers: 2, Managed: true, Delegation: true, Nested: true}, Faults{Delay: 10 * time.Millisecond}, nil)
	for _, c := range w.cells[1:3] {
		c.managed, c.stateless, c.taken = true, false, netip.Addr{}
	}
	m := w.mobiles()
	w.Move(m[0].ports[0], w.cells[1], 0, true)
	w.Settle(30*time.Second, w.undelegated)
	w.Move(m[1].ports[0], m[0].lan, 0, true)
	for _, wrong := range []func() []string{w.unregistered, w.undelegated, w.silentPairs} {
		w.Settle(30*time.Second, wrong)
	}
	if f := w.Failures(); len(f) > 0 || !m[1].nested() || len(m[0].given()) != len(downstreams) {
		t.Fatal(f, m[0].numbers)
	}
	return w
}

// The invariants of leases and delegations notice when they are broken.
func TestLeaseInvariantsNotice(t *testing.T) {
	for name, test := range map[string]struct {
		tamper func(*World, *host)
		notice string
	}{
		"a lease that has ended": {func(w *World, m *host) { clear(m.clients[1].ends) }, "its lease has ended"},
		"a leased address of another link": {func(w *World, m *host) {
			u := m.clients[1]
			u.lease = role.Lease{}
			u.unnamed, m.ports[0].answered, m.ports[0].at = w.now.Add(-time.Minute), w.now, w.cells[2]
		}, "which is of another link"},
		"a number too old": {func(w *World, m *host) { m.numbers[0].end = w.now.Add(-time.Second) }, "its lease has ended"},
		"a number of nobody": {func(w *World, m *host) {
			m.numbers[0].prefix = netip.MustParsePrefix("2001:db8:1ff::/64")
		}, "which nobody has delegated"},
		"a number twice": {func(w *World, m *host) {
			other := w.mobiles()[1]
			other.numbers = append(other.numbers, m.numbers[0])
		}, "both have"},
		"a tunnel for what is not delegated": {func(w *World, m *host) {
			for _, a := range w.agentsOf(m.mobiles[0].home) {
				clear(w.witness.given)
				w.checkHost(a)
			}
		}, "to which it is not delegated"},
		"a network by two ways": {func(w *World, m *host) {
			a := w.agentsOf(m.mobiles[0].home)[0]
			for _, n := range m.given() {
				hold(a.kernel.routes, route{destination: n.prefix, link: 1, via: m.mobiles[0].home}, &a.agent.runner)
			}
		}, "and on the home link"},
		"a client without rest": {func(w *World, m *host) { m.datagrams += 1000 }, "DHCPv6 messages, more than"},
		"a prefix that leads nowhere": {func(w *World, m *host) {
			clear(w.agentsOf(m.mobiles[0].home)[0].kernel.tunnels)
			for _, s := range w.undelegated() {
				w.fail("%s", s)
			}
		}, "no home agent forwards"},
		"a router without a prefix": {func(w *World, m *host) {
			m.numbers = nil
			for _, s := range w.undelegated() {
				w.fail("%s", s)
			}
		}, "has no prefix by delegation"},
		"a packet in a circle": {func(w *World, m *host) {
			// One home agent believes the router at home, another one serves it.
			home := m.mobiles[0].home
			i := slices.IndexFunc(w.hosts, func(h *host) bool { return h.isAgent && h != w.agentsOf(home)[0] })
			other := w.hosts[i]
			hold(other.kernel.routes, route{destination: other.pool, link: 1, via: home}, &other.agent.runner)
			w.carry(w.cells[0], packet{source: home, destination: other.pool.Addr().Next()})
			for w.step(w.now.Add(2*time.Second)) && len(w.failures) == 0 {
			}
		}, "goes in circles"},
	} {
		t.Run(name, func(t *testing.T) {
			w := delegatedWorld(t)
			test.tamper(w, w.mobiles()[0])
			for _, h := range w.hosts {
				w.checkHost(h)
			}
			if f := w.Failures(); !slices.ContainsFunc(f, func(s string) bool { return strings.Contains(s, test.notice) }) {
				t.Errorf("not noticed: %v", f)
			}
		})
	}
}
