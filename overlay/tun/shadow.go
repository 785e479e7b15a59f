package tun

import (
	"net/netip"
	"slices"

	"roam6/overlay"
)

// A fast path does not know the tunnels that it does not carry. If the prefix of one of
// those is within a prefix of a tunnel that it carries, it would take their packets for
// that one's. So a tunnel is carried only if all within it are.

// leftBehind are the tunnels that the fast path does not carry. The zero value is of none.
type leftBehind struct {
	mobile, agent trie[overlay.Key]
	inner         map[overlay.Key][]netip.Prefix
	before        map[overlay.Key][]netip.Prefix // of those that are looked at
}

func (l *leftBehind) side(s overlay.Side) *trie[overlay.Key] {
	if s == overlay.MobileSide {
		return &l.mobile
	}
	return &l.agent
}

// own takes a tunnel that is looked at out of those that are left behind: it does not
// overshadow itself.
func (a *acceleration) own(k overlay.Key) {
	l := &a.left
	was := l.inner[k]
	if was == nil {
		return
	}
	if l.before == nil {
		l.before = make(map[overlay.Key][]netip.Prefix)
	}
	l.before[k] = was
	delete(l.inner, k)
	for _, p := range was {
		l.side(k.Side).remove(p)
	}
}

// overshadows reports whether one that is left behind is within the tunnel.
func (a *acceleration) overshadows(t *tunnel) bool {
	return slices.ContainsFunc(t.inner, a.left.side(t.key.Side).within)
}

// settle notes whether a tunnel that was looked at is left behind, and has those looked
// at again that it is within where they are not as that asks for.
func (e *Engine) settle(k overlay.Key) {
	l := &e.fast.left
	prefixes := l.before[k]
	delete(l.before, k)
	t := e.tunnels[k]
	behind := t != nil && e.fast.carried[k] == nil
	if behind {
		if l.inner == nil {
			l.inner = make(map[overlay.Key][]netip.Prefix)
		}
		prefixes = t.inner
		l.inner[k] = prefixes
		for _, p := range prefixes {
			l.side(k.Side).insert(p, &k)
		}
	}
	for _, p := range prefixes {
		for _, u := range e.table.side(k.Side).containing(p) {
			if u.key != k && behind == (e.fast.carried[u.key] != nil) {
				e.fast.changed[u.key] = true
			}
		}
	}
}
