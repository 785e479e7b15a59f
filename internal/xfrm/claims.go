package xfrm

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"roam6/internal/order"
	"roam6/overlay"
)

// ends are the outer addresses of a path.
type ends struct{ local, remote netip.Addr }

// claim is a path that has associations, until a time if it is a former one.
type claim struct {
	items []item
	until time.Time // zero: in use
}

// Set makes associations for the paths of a tunnel, to be called before the tunnel is
// set. Those of its former paths go after Linger. Where it fails, packets of the
// path do not get through.
func (m *Manager) Set(k overlay.Key, paths []overlay.Path) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return os.ErrClosed
	}
	now := time.Now()
	present := make(map[ends]bool, len(paths))
	var failures []error
	for _, p := range paths {
		x := ends{p.Local, p.Remote}
		agent := p.Remote
		if k.Side == overlay.AgentSide {
			agent = p.Local
		}
		e := m.entries[between{k.Home, agent, k.Side}]
		if e == nil {
			failures = append(failures, fmt.Errorf("payload of %v with %v: %w", k.Home, agent, ErrNoPolicy))
			continue
		}
		present[x] = true
		failures = append(failures, m.hold(e, x)...)
	}
	m.leave(k, func(x ends) bool { return !present[x] }, now)
	return errors.Join(failures...)
}

// hold gives a policy's path its associations.
func (m *Manager) hold(e *entry, x ends) []error {
	if c := e.ends[x]; c != nil {
		c.until = time.Time{}
		return m.install(c.items) // what failed before
	}
	if other := m.holders[x]; other != nil {
		if other.ends[x].until.IsZero() {
			return []error{fmt.Errorf("payload of %v between %v and %v: %w: that of %v", e.Home, x.local, x.remote, ErrTaken, other.Home)}
		}
		m.release(other, x)
	}
	c := &claim{items: m.dynamic(e, x)}
	e.ends[x], m.holders[x] = c, e
	return m.install(c.items)
}

// leave makes paths of a tunnel former ones.
func (m *Manager) leave(k overlay.Key, which func(ends) bool, now time.Time) {
	for _, e := range m.entries {
		if e.Home != k.Home || e.Side != k.Side {
			continue
		}
		var former []ends
		for x, c := range e.ends {
			if c.until.IsZero() && which(x) {
				c.until = now.Add(Linger)
			}
			if !c.until.IsZero() {
				former = append(former, x)
			}
		}
		order.Sort(former, func(x, y ends) int { return e.ends[x].until.Compare(e.ends[y].until) })
		for _, x := range former[:max(len(former)-mostFormer, 0)] {
			m.release(e, x)
		}
	}
	m.watch.wake()
}

// release removes the associations of a path.
func (m *Manager) release(e *entry, x ends) {
	m.remove(e.ends[x].items)
	delete(e.ends, x)
	delete(m.holders, x)
}

// Remove has the associations of a tunnel's paths go after Linger, to be called when the
// tunnel is removed.
func (m *Manager) Remove(k overlay.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.leave(k, func(ends) bool { return true }, time.Now())
	}
}
