package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
	"roam6/internal/rtnl/rtbatch"
)

// What a predecessor that was killed left in the kernel goes on forwarding: its routes,
// rules and device stay. What is wanted again is taken over as it is, so that a crash
// and a restart interrupt nothing, and what is not wanted within Config.Adopt goes.

// installed is a route or a rule of ours, as far as there can be one only.
type installed struct {
	rule        bool
	priority    uint32 // of a rule; of a route the metric
	table       int
	from, to    netip.Prefix
	unreachable bool
	link        int
	source      netip.Addr
	mtu         uint32
	iif         string
	mark, mask  uint32
}

// leftovers are items of a predecessor, with the requests that remove them.
type leftovers struct {
	items map[installed]rtbatch.Request
	timer *time.Timer
}

func (l *leftovers) stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
}

// adopt takes over those of the requests that would add what is there already, and
// returns the others.
func (l *leftovers) adopt(requests []rtbatch.Request) []rtbatch.Request {
	if len(l.items) == 0 {
		return requests
	}
	var rest []rtbatch.Request
	for _, r := range requests {
		if !l.claim(r) {
			rest = append(rest, r)
		}
	}
	return rest
}

// claim notes that something of a predecessor is wanted, or will be removed by its owner,
// and reports whether a request to add it is needless.
func (l *leftovers) claim(r rtbatch.Request) bool {
	if len(l.items) == 0 {
		return false
	}
	i, ok := installedOf(r.Kind, r.Body)
	if !ok {
		return false
	}
	if _, there := l.items[i]; !there {
		return false
	}
	delete(l.items, i)
	return r.Kind == unix.RTM_NEWROUTE || r.Kind == unix.RTM_NEWRULE
}

// reconcile finds what a predecessor left.
func (e *Engine) reconcile() error {
	items, err := e.kernel.ours(e.netlink, e.fast.path != nil)
	if err != nil {
		return fmt.Errorf("tun data plane: reconcile: %w", err)
	}
	e.left.items = items
	if len(items) > 0 {
		e.config.Log.Info("kernel state of a predecessor goes on", "engine", e.Name(), "items", len(items), "for", e.config.Adopt)
	}
	return nil
}

// sweepLater removes what is not wanted again in time. A node that has not told yet what
// it has restored has more: with very many bindings its start is long.
func (e *Engine) sweepLater() {
	if len(e.left.items) == 0 && e.fast.path == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left.timer = time.AfterFunc(e.config.Adopt, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.closed {
			return
		}
		if e.config.Ready != nil && !e.config.Ready() {
			e.left.timer.Reset(e.config.Adopt)
			return
		}
		if err := e.sweep(); err != nil {
			e.config.Log.Warn("kernel state of a predecessor not removed", "engine", e.Name(), "reason", err)
		}
	})
}

// sweep removes what nobody wanted. Under the engine's lock.
func (e *Engine) sweep() error {
	var failures []error
	var stale []rtbatch.Request
	for _, r := range e.left.items {
		stale = append(stale, r)
	}
	e.left.items = nil
	e.netlink.Commit(stale, func(_ int, err error) {
		if !nlsock.Gone(err) {
			failures = append(failures, err)
		}
	})
	if len(stale) > 0 {
		e.config.Log.Info("stale kernel state of a predecessor removed", "engine", e.Name(), "items", len(stale))
	}
	if e.fast.path != nil && !e.closed {
		failures = append(failures, e.fast.path.Sweep())
	}
	return errors.Join(failures...)
}

// ours lists what carries our tag, with the requests that remove it; shared leaves out
// what a fast path has put there.
func (k *kernel) ours(n *rtbatch.Conn, shared bool) (map[installed]rtbatch.Request, error) {
	all := make(map[installed]rtbatch.Request)
	add := func(kind uint16, m []byte) {
		if i, ok := installedOf(kind, m); ok && (!shared || k.owns(i)) {
			remove := uint16(unix.RTM_DELROUTE)
			if i.rule {
				remove = unix.RTM_DELRULE
			}
			all[i] = rtbatch.Request{Kind: remove, Body: append([]byte(nil), m...)}
		}
	}
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = unix.AF_INET6
	err := n.Dump(unix.RTM_GETRULE, header, func(m []byte) {
		if len(m) >= unix.SizeofRtMsg && m[0] == unix.AF_INET6 {
			if p := rtbatch.Attribute(m[unix.SizeofRtMsg:], unix.FRA_PROTOCOL); len(p) == 1 && int(p[0]) == k.config.RouteProtocol {
				add(unix.RTM_NEWRULE, m)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list policy rules: %w", err)
	}
	header[5] = byte(k.config.RouteProtocol)
	err = n.Dump(unix.RTM_GETROUTE, header, func(m []byte) {
		if len(m) >= unix.SizeofRtMsg && m[0] == unix.AF_INET6 && int(m[5]) == k.config.RouteProtocol {
			add(unix.RTM_NEWROUTE, m)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return all, nil
}

// owns reports whether something of ours is the engine's and not its fast path's.
func (k *kernel) owns(i installed) bool {
	if i.rule {
		first := uint32(k.config.RulePriority)
		return i.priority >= first && i.priority <= first+2
	}
	switch i.table { // a fast path may route to the device in a table of its own
	case unix.RT_TABLE_MAIN, k.config.Table, k.config.Table + 1:
		return i.unreachable || i.link == k.index
	default:
		return false
	}
}

// installedOf reads a request to add a route or a rule, or what the kernel lists. ok is
// false if it is none.
func installedOf(kind uint16, m []byte) (i installed, ok bool) {
	if len(m) < unix.SizeofRtMsg || m[1] > 128 || m[2] > 128 {
		return i, false
	}
	a := m[unix.SizeofRtMsg:]
	number := func(kind uint16) uint32 {
		v, _ := rtbatch.Uint32Attribute(a, kind)
		return v
	}
	prefix := func(kind uint16, bits byte) netip.Prefix {
		v := rtbatch.Attribute(a, kind)
		if len(v) != 16 {
			return netip.Prefix{}
		}
		return netip.PrefixFrom(netip.AddrFrom16([16]byte(v)), int(bits))
	}
	switch kind {
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		i = installed{
			rule: true, priority: number(unix.FRA_PRIORITY), table: int(number(unix.FRA_TABLE)),
			from: prefix(unix.FRA_SRC, m[2]), to: prefix(unix.FRA_DST, m[1]), mark: number(unix.FRA_FWMARK), mask: number(unix.FRA_FWMASK),
		}
		if name := rtbatch.Attribute(a, unix.FRA_IIFNAME); len(name) > 0 {
			i.iif = unix.ByteSliceToString(name)
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		i = installed{
			priority: number(unix.RTA_PRIORITY), table: int(number(unix.RTA_TABLE)),
			from: prefix(unix.RTA_SRC, m[2]), to: prefix(unix.RTA_DST, m[1]), unreachable: m[7] == unix.RTN_UNREACHABLE,
		}
		if !i.unreachable {
			i.link = int(number(unix.RTA_OIF))
		}
		if v := rtbatch.Attribute(a, unix.RTA_PREFSRC); len(v) == 16 {
			i.source = netip.AddrFrom16([16]byte(v))
		}
		i.mtu, _ = rtbatch.Uint32Attribute(rtbatch.Attribute(a, unix.RTA_METRICS), unix.RTAX_MTU)
	default:
		return i, false
	}
	return i, true
}
