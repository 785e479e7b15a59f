package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// step is what becomes of one tunnel in an Apply: the last of its changes counts.
type step struct {
	change   int // its place
	key      overlay.Key
	old, new *tunnel // nil: none; old was carried
	err      error
}

// Apply carries out the changes.
func (p *path) Apply(changes []tun.FastChange, failed func(int, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		for i := range changes {
			failed(i, tun.ErrClosed)
		}
		return
	}
	steps, remove, add := p.steps(changes)
	p.ends(steps)
	for i := range steps {
		p.own(&steps[i])
	}
	for _, s := range steps {
		if s.new != nil && s.key.Side == overlay.AgentSide {
			s.new.astray = p.inside(s.new)
		}
	}
	visitors := p.visitors(steps)
	moved := p.claimed(steps)
	for i := range steps {
		s := &steps[i]
		r, a := p.difference(s, i, moved)
		remove, add = append(remove, r...), append(add, a...)
	}
	fail := func(i int, err error) {
		if i >= 0 && steps[i].err == nil {
			steps[i].err = err
		}
	}
	p.keepCounts(remove, steps)
	wanted := p.wantedShape()
	if err := p.lead(wanted); err != nil {
		for i := range steps {
			fail(i, err)
		}
	}
	err := p.reshape(wanted.and(p.shape))
	if err != nil {
		for i := range steps {
			fail(i, fmt.Errorf("nftables table %s: %w", tableName, err))
		}
	}
	p.change(remove, add, func(e element, err error) {
		if e.of < 0 {
			p.log().Warn("packets of an optimised route are not kept from the tunnel", "engine", Name, "reason", err)
		}
		fail(e.of, fmt.Errorf("nftables set %s: %w", e.set, err))
	})
	p.divert(visitors, true)
	p.routes(steps, moved, fail)
	for _, s := range steps {
		if s.err != nil && s.new != nil {
			p.undo(s)
			failed(s.change, s.err)
		}
	}
	p.divert(visitors, false)
	p.dropDevices(steps)
	if err := p.reshape(p.wantedShape()); err != nil {
		p.log().Warn("nftables rules for tunnels that are gone remain", "engine", Name, "reason", err)
	}
	p.unlead(p.shape)
}

// steps finds what becomes of each tunnel and pair.
func (p *path) steps(changes []tun.FastChange) (steps []step, remove, add []element) {
	last := make(map[overlay.Key]int, len(changes))
	pairs := make(map[overlay.Pair]bool)
	for i, c := range changes {
		switch {
		case c.Set != nil:
			last[c.Set.Key] = i
		case c.Yield != nil:
			pairs[*c.Yield] = true
		case c.Reclaim != nil:
			pairs[*c.Reclaim] = false
		default:
			last[c.Remove] = i
		}
	}
	for i, c := range changes {
		k := c.Remove
		if c.Set != nil {
			k = c.Set.Key
		}
		if c.Yield != nil || c.Reclaim != nil || last[k] != i {
			continue
		}
		s := step{change: i, key: k, old: p.tunnels[k]}
		if c.Set != nil {
			s.new = &tunnel{FastTunnel: c.Set}
			if s.old != nil {
				s.new.base = s.old.base
			}
		}
		if s.old != nil && s.old.lost {
			delete(p.tunnels, k)
			s.old = nil
		}
		if s.old != nil || s.new != nil {
			steps = append(steps, s)
		}
	}
	for pair, yes := range pairs {
		if yes == p.pairs[pair] {
			continue
		}
		other := pair // the same packets
		other.Home, other.Peer = pair.Peer, pair.Home
		other.Side = overlay.MobileSide + overlay.CorrespondentSide - pair.Side
		if !p.pairs[other] {
			for _, key := range yielded(pair) {
				e := element{set: setYielded, key: key, of: -1}
				if yes {
					add = append(add, e)
				} else {
					remove = append(remove, e)
				}
				delete(p.inherited.elements, [2]string{e.set, e.key})
			}
		}
		if yes {
			p.pairs[pair] = true
		} else {
			delete(p.pairs, pair)
		}
	}
	if len(pairs) > 0 {
		p.remindSockets()
	}
	return steps, remove, add
}

// own notes whose the inner prefixes are.
func (p *path) own(s *step) {
	if s.new != nil && s.err == nil {
		for _, q := range s.new.Inner { // before the old ones: those that stay cost nothing
			p.nests.add(s.key.Side, q)
		}
	}
	if s.old != nil {
		p.disown(s.old)
		delete(p.tunnels, s.key)
	}
	switch {
	case s.new == nil:
	case s.err != nil:
		if s.old != nil {
			p.lose(s.old)
		}
	default:
		p.tunnels[s.key] = s.new
		for _, q := range s.new.Inner {
			p.owners[owned{s.key.Side, q.Masked()}] = s.new
			p.lengths[length{s.key.Side, q.Bits()}]++
		}
		if watches(s.new.FastTunnel) {
			p.watched++
		}
		if s.key.Side == overlay.MobileSide {
			p.mobiles[s.key] = s.new
		} else {
			p.remotes.add(s.new)
		}
	}
}

func (p *path) disown(t *tunnel) {
	delete(p.mobiles, t.Key)
	if t.leads {
		p.remotes.remove(t)
	}
	for _, q := range t.Inner {
		k := owned{t.Side, q.Masked()}
		if p.owners[k] == t {
			delete(p.owners, k)
		}
		p.lengths[length{t.Side, q.Bits()}]--
		p.nests.remove(t.Side, q)
	}
	if watches(t.FastTunnel) {
		p.watched--
	}
}

// lose keeps the counters of a tunnel that was carried, until it is removed.
func (p *path) lose(t *tunnel) {
	t.lost = true
	p.tunnels[t.Key] = t
}

// claimed are the inner prefixes of the steps, by whom they are now.
func (p *path) claimed(steps []step) map[owned]*tunnel {
	all := make(map[owned]*tunnel, len(steps))
	for _, s := range steps {
		if s.new == nil || s.err != nil {
			continue
		}
		for _, q := range s.new.Inner {
			all[owned{s.key.Side, q.Masked()}] = s.new
		}
	}
	return all
}

// difference is what a step changes in the sets. What another tunnel has now is not
// removed.
func (p *path) difference(s *step, of int, moved map[owned]*tunnel) (remove, add []element) {
	collect := func(t *tunnel) map[[2]string]bool {
		all := make(map[[2]string]bool)
		if t != nil {
			each(t.FastTunnel, func(set, key string) { all[[2]string{set, key}] = true })
		}
		return all
	}
	before, after := collect(s.old), map[[2]string]bool(nil)
	if s.err == nil {
		after = collect(s.new)
	}
	for e := range before {
		if !after[e] && !p.sharedElement(e, s, moved) {
			remove = append(remove, element{set: e[0], key: e[1], of: of})
		}
	}
	for e := range after {
		if !before[e] && !p.inherited.elements[e] {
			add = append(add, element{set: e[0], key: e[1], of: of})
		}
		delete(p.inherited.elements, e)
	}
	return remove, add
}

// sharedElement reports whether an element that a tunnel no longer needs is another's in
// the same Apply.
func (p *path) sharedElement(e [2]string, s *step, moved map[owned]*tunnel) (shared bool) {
	for _, q := range s.old.Inner {
		t := moved[owned{s.key.Side, q.Masked()}]
		if t == nil || t == s.new {
			continue
		}
		each(t.FastTunnel, func(set, key string) { shared = shared || set == e[0] && key == e[1] })
	}
	return shared
}

// undo removes what is there of a tunnel that cannot be carried.
func (p *path) undo(s step) {
	if p.tunnels[s.key] != s.new {
		return // it never was
	}
	p.disown(s.new)
	p.lose(s.new)
	var stale []element
	each(s.new.FastTunnel, func(set, key string) { stale = append(stale, element{set: set, key: key}) })
	p.keepCounts(stale, []step{{old: s.new, new: s.new}})
	p.change(stale, nil, func(e element, err error) {
		p.log().Warn("an element of a tunnel that is not carried remains", "engine", Name, "set", e.set, "reason", err)
	})
	var requests []rtbatch.Request
	for _, r := range p.routesOf(s.new) {
		requests = append(requests, r.remove(p.under.RouteProtocol))
	}
	p.route.Commit(requests, func(int, error) {})
}

// keepCounts adds what elements that are about to go have counted to those tunnels that
// stay.
func (p *path) keepCounts(remove []element, steps []step) {
	bySet := make(map[string][][]byte)
	by := make(map[[2]string]*tunnel)
	for _, e := range remove {
		if e.of < 0 || steps[e.of].new == nil || steps[e.of].old == nil || !counted(e.set) {
			continue
		}
		bySet[e.set] = append(bySet[e.set], []byte(e.key))
		by[[2]string{e.set, e.key}] = steps[e.of].new
		if steps[e.of].err != nil {
			by[[2]string{e.set, e.key}] = steps[e.of].old
		}
	}
	for set, keys := range bySet {
		err := p.nft.Get(tableName, set, keys, func(e nft.Element) {
			if t := by[[2]string{set, string(e.Key)}]; t != nil {
				addElement(&t.base, set, e)
			}
		})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			p.log().Warn("counters of a tunnel are not kept", "engine", Name, "set", set, "reason", err)
		}
	}
}

func addrOf(key []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(key[max(len(key)-address, 0):])
	return a
}
