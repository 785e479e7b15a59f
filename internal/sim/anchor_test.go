package sim

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
	"roam6/overlay"
)

// anchorLimit is within what time after the last fault a mobile uses the anchor that it
// should: one that has failed before is left alone for five minutes at most (package
// region), and addresses at it that were given up meanwhile may have to run out.
const anchorLimit = 12 * time.Minute

// renewalLimit is when a mobile whose packets take optimised routes alone has noticed, as
// it renews, that its home agent has forgotten it, and correspondents have tried again
// that could not test its home address meanwhile.
const renewalLimit = 4 * time.Minute

// playAnchors is play for worlds with anchors.
func playAnchors(seed uint64, plan Plan, ride Ride, trace func(string, ...any)) (*World, time.Duration) {
	p := begin(seed, plan, ride, trace)
	took := p.Settle(anchorLimit, func() []string { return append(p.unanchored(), p.unregistered()...) })
	p.Settle(p.optimised, p.indirectPairs)
	// Behind one another mobile routers find another home agent one by one, each ever more
	// slowly, which is not the anchors' affair.
	switch {
	case len(p.failures) > 0, plan.Nested && seed%8 == 3:
	case seed%8 == 7: // as aftermath, but bindings at correspondents are as short as the anchors'
		p.Restart(func(h *host) bool { return h.isAgent })
		p.Settle(restartLimit*maxDepth, p.silentPairs)
		p.Settle(renewalLimit, p.indirectPairs)
	default:
		aftermath(p.World, seed)
	}
	if len(p.failures) == 0 && seed%4 == 2 && !plan.Nested { // who is behind somebody falls silent
		p.counts.Inside += p.wander(p.random)
	}
	p.end()
	return p.World, took
}

// wander takes mobiles that use an anchor from one access network of its domain to
// another, without faults: nobody beyond the anchor hears of it (RFC 5380 §4, §6), and
// once the anchor has, packets come and go. It returns how many such moves there were.
func (w *World) wander(random *rand.Rand) (moves int) {
	for range 4 {
		for _, h := range w.mobiles() {
			c := w.within(h, random)
			if c == nil || len(w.failures) > 0 {
				continue
			}
			m := h.mobiles[0]
			before, up := w.witness.homeUpdates(m.home), h.kernel.tunnels[mobileKey(m.home)]
			w.Move(h.ports[0], c, 10*time.Millisecond, true)
			w.Run(time.Second)
			moves++
			silent := w.silentPairs()
			now := h.kernel.tunnels[mobileKey(m.home)]
			lower, stacked := h.kernel.beneath(now)
			if n := w.witness.homeUpdates(m.home) - before; n > 0 {
				w.fail("%s tells home agents %d times of a move inside a domain", h, n)
			}
			if !stacked || now.Paths[0] != up.Paths[0] || !c.contains(lower.Paths[0].Local) {
				w.fail("%s in %s: the tunnel %v, on %v, was %v", h, c.name, now.Paths, lower.Paths, up.Paths)
			}
			for _, text := range append(silent, w.unregistered()...) {
				w.fail("after a move inside a domain: %s", text)
			}
		}
		w.Run(5 * time.Second)
	}
	return moves
}

// within is another access network to which a mobile can move without another anchor,
// and without being due to renew its home registration; or nil.
func (w *World) within(h *host, random *rand.Rand) *cell {
	p := h.best()
	if len(h.ports) > 1 || len(h.mobiles) != 1 || p == nil || h.addressing[p.name] != mn.AddressingAuto {
		return nil
	}
	m := h.mobiles[0]
	up, away := h.kernel.tunnels[mobileKey(m.home)]
	lower, stacked := h.kernel.beneath(up)
	s := m.role.Snapshot(w.now)
	if !away || !stacked || s.Update.Pending || s.Update.Remaining < s.Update.Granted/2+2*time.Second {
		return nil
	}
	var list []*cell
	for _, c := range w.accessCells() {
		onLink := withPrefix(c.prefixes[0], lower.Paths[0].Local)
		offers := slices.DeleteFunc(slices.Clone(c.offers), func(o *offer) bool { return !h.usable(o, onLink) })
		slices.SortFunc(offers, h.before)
		for _, o := range offers {
			if o.host.fixed[0] == lower.Paths[0].Remote && o.preference >= offers[0].preference && c != p.at && !c.managed {
				if was := p.at.offer(o.domain); was != nil && o.lifetime >= was.lifetime { // or the home agent has to know
					list = append(list, c)
				}
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[random.IntN(len(list))]
}

// anchorRides is rides for worlds with anchors. ROAM6_SEED=n plays that seed alone.
func anchorRides(t *testing.T, seeds uint64, plan func(*rand.Rand) (Plan, Ride)) (sum Counts) {
	t.Helper()
	first, alone := uint64(0), false
	if testing.Short() {
		seeds /= 3
	}
	if times, err := strconv.ParseUint(os.Getenv("ROAM6_RIDES"), 10, 64); err == nil {
		seeds *= times
	}
	if only, err := strconv.ParseUint(os.Getenv("ROAM6_SEED"), 10, 64); err == nil {
		first, seeds, alone = only, only+1, true
	}
	var worst time.Duration
	for seed := first; seed < seeds; seed++ {
		p, ride := plan(rand.New(rand.NewPCG(seed, 1)))
		w, took := playAnchors(seed, p, ride, nil)
		if f := w.Failures(); len(f) > 0 {
			playAnchors(seed, p, ride, t.Logf)
			t.Fatalf("seed %d, %+v: %d failures, first: %s", seed, p, len(f), f[0])
		}
		sum.Add(w.counts)
		worst = max(worst, took)
	}
	t.Logf("%d rides: %+v; the right anchors at most %v after the rest", seeds-first, sum, worst)
	if alone {
		t.SkipNow() // one ride need not have everything
	}
	return sum
}

// Rides through the domains of mobility anchor points, which overlap, are of several
// preferences and distances, serve their own networks or others, too, come and go, are
// cut off, and forget; by mobile hosts and routers of which some use them (RFC 5380).
// The invariants are in anchorinvariant.go.
//
// Covers: P1, P2, P3, P4, P5, P6, P8.
func TestAnchors(t *testing.T) {
	sum := anchorRides(t, 120, func(r *rand.Rand) (Plan, Ride) {
		return Plan{
			Cells: 4, Agents: 1 + r.IntN(2), Routers: r.IntN(3), Hosts: 1 + r.IntN(2), Reserved: r.IntN(2),
			Correspondents: 1, Discover: r.IntN(3) == 0, Anchors: 1 + r.IntN(3),
		}, Ride{Steps: 30}
	})
	if sum.Local == 0 || sum.Stacked == 0 || sum.Regional == 0 || sum.Direct == 0 {
		t.Errorf("nobody used an anchor: %+v", sum)
	}
}

// The same with somebody who forges local updates, the anchors' answers and refusals and
// what comes out of their tunnels, and sends recorded packets again.
//
// Covers: P9, Attack: replay, Attack: BU spoofing.
func TestAnchorsAttacked(t *testing.T) {
	sum := anchorRides(t, 60, func(r *rand.Rand) (Plan, Ride) {
		return Plan{
			Cells: 3, Agents: 1 + r.IntN(2), Routers: r.IntN(2), Hosts: 1 + r.IntN(2), Reserved: r.IntN(2),
			Correspondents: 1, Anchors: 1 + r.IntN(3), Attacker: true,
		}, Ride{Steps: 30}
	})
	if sum.Local == 0 || sum.Strikes == 0 || sum.Regional == 0 {
		t.Errorf("nobody was attacked: %+v", sum)
	}
}

// The same with all else that there is: addresses that are leased, or managed by somebody
// else, mobile networks in mobile networks, and a home link that is renumbered.
//
// Covers: P1, P3, P5, P6.
func TestAnchorsBesides(t *testing.T) {
	sum := anchorRides(t, 60, func(r *rand.Rand) (Plan, Ride) {
		p := Plan{
			Cells: 3, Agents: 1 + r.IntN(2), Routers: r.IntN(3), Hosts: 1 + r.IntN(2), Correspondents: r.IntN(2), Discover: r.IntN(4) == 0,
			Anchors: 1 + r.IntN(3), Managed: r.IntN(3) == 0, Foreign: r.IntN(3) == 0,
		}
		if r.IntN(3) == 0 {
			p.Cells, p.Nested, p.Delegation, p.Routers = 2, true, r.IntN(2) == 0, 2+r.IntN(2)
		}
		return p, Ride{Steps: 30, Renumber: !p.Nested && r.IntN(3) == 0}
	})
	if sum.Local == 0 || !testing.Short() && (sum.Leases == 0 || sum.Nested == 0 || sum.Formed == 0) {
		t.Errorf("nothing else happened: %+v", sum)
	}
}

// plainDomains makes anchors of a world that nothing is wrong with, and gives each access
// network one of them, or none, and the mobiles keys for all.
func (w *World) plainDomains(of ...*domain) {
	for i, d := range of {
		c := w.cells[1+i]
		if c.offers = nil; d != nil {
			c.offers = []*offer{{domain: d, distance: 2, preference: 8, lifetime: 10 * time.Minute}}
		}
	}
	for _, d := range w.domains {
		d.served, d.virtual, d.strict, d.most, d.cell.taken = d.cells(w), false, false, 300*time.Second, netip.Addr{}
		clear(d.mistaken)
		w.boot(d.host)
	}
	for _, h := range w.mobiles() {
		sa := h.anchorAssociation()
		h.hierarchy = mn.Hierarchy{Enabled: true, Keys: []mn.AnchorKey{{Anchors: anchorPrefixes, SA: &sa}}}
		w.reconfigureMobiles(h)
	}
}

// anchoredWorld is one in which all is well: two access networks in the domain of one
// anchor, one in that of another, one outside, and mobile hosts m0 with one uplink and m1
// with two, which are in the first network, with optimised routes.
func anchoredWorld(t *testing.T) *World {
	t.Helper()
	w := NewWorld(7, Plan{Cells: 4, Agents: 1, Hosts: 2, Correspondents: 1, Anchors: 2}, Faults{Delay: 10 * time.Millisecond}, nil)
	first, second := w.domains[0], w.domains[1]
	w.plainDomains(first, first, second, nil)
	for i, h := range w.mobiles() {
		w.Move(h.ports[i], w.cells[1], 0, true)
	}
	for _, wrong := range []func() []string{w.unregistered, w.unanchored, w.silentPairs, w.indirectPairs} {
		w.Settle(30*time.Second, wrong)
	}
	if f := w.Failures(); len(f) > 0 {
		t.Fatal(f)
	}
	return w
}

// lost is how many of some questions of a mobile to the correspondent, one each tenth of a
// second, have no answer.
func (w *World) lost(h *host, questions int) (n int) {
	cn := w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h.name == "cn0" })]
	c := conversation{h.mobiles[0].home, cn.fixed[0]}
	for range questions {
		begin := w.now
		w.ask(h, cn, c)
		w.Run(100 * time.Millisecond)
		if w.talks.trip(c).at.Before(begin) {
			n++
		}
	}
	return n
}

// beyond is how many updates a mobile has sent, but to anchors.
func (w *World) beyond(h *host) (n int) {
	for key, list := range w.witness.updates {
		if key.home == h.mobiles[0].home {
			n += len(list)
		}
	}
	return n
}

// A move inside a domain is a matter of the anchor: neither the home agent nor a
// correspondent is told, and what is lost is lost before the anchor has the update. A
// move to a better link before the other one is left loses nothing, inside the domain and
// to another one; only the latter is told to others (RFC 5380 §4, §6.1, §8).
//
// Covers: P3, P5, P6.
func TestMovesAmongDomains(t *testing.T) {
	w := anchoredWorld(t)
	m := w.mobiles()
	before := w.beyond(m[0])
	for i := range 10 {
		w.Move(m[0].ports[0], w.cells[1+(i+1)%2], 10*time.Millisecond, true)
		if n := w.lost(m[0], 12); n > 1 {
			t.Errorf("move %d: %d packets lost", i, n)
		}
	}
	if n := w.beyond(m[0]) - before; n != 0 {
		t.Errorf("%d updates beyond the anchor", n)
	}
	before = w.beyond(m[1])
	w.Move(m[1].ports[0], w.cells[2], 0, true)
	if n := w.lost(m[1], 60); n != 0 {
		t.Errorf("%d packets lost on the way to a better link", n)
	}
	if n := w.beyond(m[1]) - before; n != 0 {
		t.Errorf("%d updates beyond the anchor for a better link", n)
	}
	w.Move(m[1].ports[0], w.cells[3], 0, true)
	w.lost(m[1], 60)
	w.Move(m[1].ports[1], w.cells[2], 0, true)
	w.lost(m[1], 60)
	if text := append(w.unanchored(), w.unregistered()...); len(text) > 0 {
		t.Error(text)
	}
	if n := w.beyond(m[1]) - before; n == 0 {
		t.Error("nobody is told of another domain")
	}
	if f := w.Failures(); len(f) > 0 {
		t.Error(f)
	}
}

// A mobile meets more anchors than it remembers, and comes back to those that it has
// forgotten: they still know its sequence numbers (RFC 6275 §11.7.3), or its timestamps.
//
// Covers: P2, P3.
func TestMoreAnchorsThanRemembered(t *testing.T) {
	w := NewWorld(7, Plan{Cells: 12, Agents: 1, Hosts: 2, Correspondents: 1, Anchors: 12}, Faults{Delay: 10 * time.Millisecond}, nil)
	w.plainDomains(w.domains...)
	for i := range 30 {
		for j, h := range w.mobiles() {
			w.Move(h.ports[0], w.cells[1+(i+j*5)%12], 50*time.Millisecond, true)
		}
		w.Settle(40*time.Second, func() []string { return append(w.unanchored(), w.unregistered()...) })
		w.Settle(10*time.Second, w.silentPairs)
		if f := w.Failures(); len(f) > 0 {
			t.Fatalf("move %d: %v", i, f)
		}
	}
	w.Stop()
	if f := w.Failures(); len(f) > 0 {
		t.Error(f)
	}
}

// forge shows the witness an update that a mobile has never sent.
func (w *World) forge(m *host, p mip6.Packet) {
	w.witness.sent(m, &m.mobiles[0].runner, role.Send{Packet: p})
}

// The invariants of anchors notice when they are broken.
func TestAnchorInvariantsNotice(t *testing.T) {
	for name, test := range map[string]struct {
		tamper func(w *World, m *host, rcoa netip.Addr)
		notice string
	}{
		"traffic to a wrong care-of address": {func(w *World, m *host, rcoa netip.Addr) {
			w.domains[0].host.kernel.tunnels[overlay.Key{Home: rcoa, Side: overlay.AgentSide}].Paths[0].Remote = w.enemy.addr
		}, "newest registered care-of address"},
		"a circle": {func(w *World, m *host, rcoa netip.Addr) {
			w.domains[0].host.kernel.tunnels[overlay.Key{Home: rcoa, Side: overlay.AgentSide}].Paths[0].Remote = rcoa
		}, "to the regional care-of address"},
		"a network that is not served":            {func(w *World, m *host, rcoa netip.Addr) { w.domains[0].served = w.cells[3:4] }, "does not serve"},
		"a regional address not defended":         {func(w *World, m *host, rcoa netip.Addr) { delete(w.domains[0].host.kernel.defended, rcoa) }, "defends it: false"},
		"a regional address defended for nothing": {func(w *World, m *host, rcoa netip.Addr) { w.domains[1].host.kernel.defended[rcoa] = true }, "without forwarding"},
		"a binding too old":                       {func(w *World, m *host, rcoa netip.Addr) { w.now = w.now.Add(time.Hour) }, "outlives its lifetime"},
		"no tunnel below":                         {func(w *World, m *host, rcoa netip.Addr) { delete(m.kernel.tunnels, mobileKey(rcoa)) }, "and no tunnel for it"},
		"no address below":                        {func(w *World, m *host, rcoa netip.Addr) { clear(m.kernel.addresses) }, "and the address: false"},
		"a regional address as the on-link one": {func(w *World, m *host, rcoa netip.Addr) {
			w.forge(m, mip6.Packet{Source: rcoa, Destination: w.domains[1].host.fixed[0], HomeAddress: w.domains[1].cell.prefixes[0].Addr(), Message: mip6.BindingUpdate{Sequence: 1, Flags: mip6.UpdateAcknowledge | mip6.UpdateMAP}})
		}, "sends an anchor the regional care-of address"},
		"a local update as a home registration": {func(w *World, m *host, rcoa netip.Addr) {
			w.forge(m, mip6.Packet{Source: w.cells[1].prefixes[0].Addr(), Destination: w.domains[1].host.fixed[0], HomeAddress: rcoa, Message: mip6.BindingUpdate{Sequence: 1, Flags: mip6.UpdateAcknowledge | mip6.UpdateMAP | mip6.UpdateHome}})
		}, "malformed local update"},
		"longer than the anchor": {func(w *World, m *host, rcoa netip.Addr) {
			w.forge(m, mip6.Packet{Source: rcoa, Destination: homeAddr(0, 9), HomeAddress: m.mobiles[0].home, Message: mip6.BindingUpdate{Sequence: 1, Flags: mip6.UpdateAcknowledge | mip6.UpdateHome, Lifetime: mip6.LifetimeFrom(time.Hour)}})
		}, "the anchor has granted"},
		"an anchor that is less preferred": {func(w *World, m *host, rcoa netip.Addr) {
			w.cells[1].offers = append(w.cells[1].offers, &offer{domain: w.domains[1], distance: 1, preference: 9, lifetime: time.Minute})
			w.domains[1].served = nil
		}, "and could use map1"},
		"an anchor that has failed": {func(w *World, m *host, rcoa netip.Addr) { w.cells[1].offers[0].state = failed }, "which it cannot"},
		"no anchor although one serves": {func(w *World, m *host, rcoa netip.Addr) {
			m.kernel.tunnels[mobileKey(m.mobiles[0].home)].Paths[0].Local = m.kernel.tunnels[mobileKey(rcoa)].Paths[0].Local
		}, "uses no anchor"},
		"the other end of a tunnel": {func(w *World, m *host, rcoa netip.Addr) { clear(w.domains[0].host.kernel.tunnels) }, "has the tunnel []"},
	} {
		t.Run(name, func(t *testing.T) {
			w := anchoredWorld(t)
			m := w.mobiles()[0]
			test.tamper(w, m, m.regionals()[0])
			for _, h := range w.hosts {
				w.checkHost(h)
			}
			for _, text := range append(w.unanchored(), w.unregistered()...) {
				w.fail("%s", text)
			}
			if f := w.Failures(); !slices.ContainsFunc(f, func(s string) bool { return strings.Contains(s, test.notice) }) {
				t.Errorf("not noticed: %v", f)
			}
		})
	}
}

// The same seed gives the same run with anchors, too.
func TestAnchorsDeterministic(t *testing.T) {
	sameTwice(t, Plan{Cells: 3, Agents: 2, Routers: 1, Hosts: 2, Correspondents: 1, Managed: true, Attacker: true, Anchors: 3}, Ride{Steps: 30})
}
