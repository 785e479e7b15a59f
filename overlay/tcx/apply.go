package tcx

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"

	"roam6/overlay"
	"roam6/overlay/tun"
)

// tunnel is one in the maps.
type tunnel struct {
	number, path uint32
	value        pathValue
	inner        []netip.Prefix // in the trie
	wanted       bool           // Set by us, not only by a predecessor
	before       overlay.Counters
}

// pair is one that is left to optimised routes.
type pair struct {
	users  int  // one for each side
	wanted bool // yielded by us, not only by a predecessor
}

// numbers are those given last.
type numbers struct{ tunnel, path uint32 }

// retired is what no program finds any more, though one may still be reading it: a path,
// and the counters of a tunnel that was removed.
type retired struct {
	since  time.Duration
	path   uint32
	tunnel uint32 // 0: it goes on with another path
}

// retirement is far longer than a program runs.
const retirement = time.Second

// Apply carries out the changes in order. Programs come to the interfaces of new paths a
// moment later; until then the engine takes what comes in by them.
func (f *fastPath) Apply(changes []tun.FastChange, failed func(i int, err error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reap()
	asked, missing := make(map[netip.Addr]bool), make(map[netip.Addr]bool)
	for i, c := range changes {
		var err error
		switch {
		case c.Set != nil:
			p := c.Set.Path
			f.knowLocal(p.Local, missing)
			err = f.set(c.Set)
			if p.Link == 0 && !asked[p.Local] {
				// Most likely by the one that the way to the other end begins with; others
				// show when something comes in by them. One look for many tunnels is enough.
				asked[p.Local] = true
				p.Link = f.world.way(p.Local, p.Remote)
			}
			f.Received(p.Link)
		case c.Yield != nil:
			err = f.yield(directionOf(c.Yield))
		case c.Reclaim != nil:
			err = f.reclaim(directionOf(c.Reclaim))
		default:
			err = f.remove(c.Remove)
		}
		if err != nil {
			failed(i, err)
		}
	}
}

// set installs a tunnel or changes it. The path comes before the number that leads to it,
// and that before the prefixes.
func (f *fastPath) set(s *tun.FastTunnel) (err error) {
	if len(s.Ends) == 0 || s.MTU < 0 || s.Path.Link < 0 {
		return errors.New("tunnel without an end")
	}
	t := f.tunnels[s.Key]
	if t == nil {
		if len(f.tunnels) >= int(f.capacity) {
			return fmt.Errorf("%d tunnels, for which there is memory here, are installed", f.capacity)
		}
		// Without a path no program follows it. (No path has the number 0.)
		number, err := fresh(&f.last.tunnel, f.loaded.maps[mapTunnels], uint32(0))
		if err != nil {
			return err
		}
		t = &tunnel{number: number}
		f.tunnels[s.Key] = t
	}
	t.wanted = true
	defer func() {
		if err != nil {
			err = errors.Join(err, f.remove(s.Key))
		}
	}()
	value := newPathValue(t.number, s)
	if t.path == 0 || value != t.value {
		if err := f.swap(t, value); err != nil {
			return err
		}
	}
	return f.cover(s.Key, t, s.Inner)
}

// swap puts a path in place of the one that a tunnel has, in one step.
func (f *fastPath) swap(t *tunnel, value pathValue) error {
	old := t.path
	number, err := fresh(&f.last.path, f.loaded.maps[mapPaths], value)
	if err != nil {
		return err
	}
	if err := f.put(mapTunnels, t.number, number); err != nil {
		return errors.Join(err, f.delete(mapPaths, number))
	}
	t.path, t.value = number, value
	if old != 0 {
		f.retired = append(f.retired, retired{since: f.now(), path: old})
	}
	return nil
}

// cover makes the inner prefixes of a tunnel those given.
func (f *fastPath) cover(k overlay.Key, t *tunnel, inner []netip.Prefix) error {
	trie, owners := trieOf(k.Side), f.owners[k.Side]
	wanted := make(map[netip.Prefix]bool, len(inner))
	for _, p := range inner {
		wanted[p] = true
		if owners[p] == t.number {
			continue
		}
		if err := f.put(trie, prefixKeyOf(p), t.number); err != nil {
			return fmt.Errorf("inner prefix %v: %w", p, err)
		}
		owners[p] = t.number
		t.inner = append(t.inner, p)
	}
	kept := t.inner[:0]
	var failures []error
	for _, p := range t.inner {
		if wanted[p] && owners[p] == t.number {
			kept = append(kept, p)
			continue
		}
		failures = append(failures, f.uncover(k.Side, t, p))
	}
	t.inner = kept
	return errors.Join(failures...)
}

// uncover takes a prefix from a tunnel, unless another one has got it meanwhile.
func (f *fastPath) uncover(side overlay.Side, t *tunnel, p netip.Prefix) error {
	if f.owners[side][p] != t.number {
		return nil
	}
	delete(f.owners[side], p)
	return f.delete(trieOf(side), prefixKeyOf(p))
}

func trieOf(side overlay.Side) string {
	if side == overlay.MobileSide {
		return mapMobile
	}
	return mapAgent
}

// remove takes a tunnel away; none is none.
func (f *fastPath) remove(k overlay.Key) error {
	t := f.tunnels[k]
	if t == nil {
		return nil
	}
	delete(f.tunnels, k)
	var failures []error
	for _, p := range t.inner {
		failures = append(failures, f.uncover(k.Side, t, p))
	}
	failures = append(failures, f.delete(mapTunnels, t.number))
	f.retired = append(f.retired, retired{since: f.now(), path: t.path, tunnel: t.number})
	return errors.Join(failures...)
}

// yield leaves packets of a pair to the engine.
func (f *fastPath) yield(k pairKey) error {
	p := f.pairs[k]
	if p == nil {
		if err := f.put(mapPairs, k, uint32(1)); err != nil {
			return err
		}
		p = new(pair)
		f.pairs[k] = p
		if err := f.switchPairs(); err != nil {
			return err
		}
	}
	if !p.wanted {
		p.users, p.wanted = 0, true
	}
	p.users++
	return nil
}

// reclaim undoes yield.
func (f *fastPath) reclaim(k pairKey) error {
	p := f.pairs[k]
	if p == nil || !p.wanted {
		return nil
	}
	if p.users--; p.users > 0 {
		return nil
	}
	return f.removePair(k)
}

// removePair takes a pair away.
func (f *fastPath) removePair(k pairKey) error {
	delete(f.pairs, k)
	return errors.Join(f.switchPairs(), f.delete(mapPairs, k))
}

// switchPairs has the programs look for pairs only where there are any.
func (f *fastPath) switchPairs() error {
	value := uint32(0)
	if len(f.pairs) > 0 {
		value = 1
	}
	return f.put(mapSwitches, uint32(switchPairs), value)
}

// directionOf is how packets of ours along an optimised route look.
func directionOf(p *overlay.Pair) pairKey {
	if p.Side == overlay.CorrespondentSide {
		return pairKey{Source: p.Peer.As16(), Destination: p.Home.As16()}
	}
	return pairKey{Source: p.Home.As16(), Destination: p.Peer.As16()}
}

// Sweep removes what a predecessor left and nobody has set since.
func (f *fastPath) Sweep() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var failures []error
	for k, t := range f.tunnels {
		if !t.wanted {
			failures = append(failures, f.remove(k))
		}
	}
	for k, p := range f.pairs {
		if !p.wanted {
			failures = append(failures, f.removePair(k))
		}
	}
	return errors.Join(failures...)
}

// fresh adds a value to a map under a number that it does not have and had a long time
// ago, if ever. No number is 0.
func fresh(last *uint32, m *ebpf.Map, value any) (uint32, error) {
	for {
		*last = max(*last+1, 1)
		err := m.Update(*last, value, ebpf.UpdateNoExist)
		if err == nil {
			return *last, nil
		}
		if !errors.Is(err, ebpf.ErrKeyExist) {
			return 0, fmt.Errorf("map %v: %w", m, err)
		}
	}
}
