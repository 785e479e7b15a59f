package tun

import (
	"net/netip"
	"sync/atomic"
)

// trie finds the value, a tunnel say, of the longest prefix that contains an
// address. It is a path-compressed binary trie whose nodes never change: an update copies the
// nodes on its way down, some twenty for a hundred thousand prefixes, and swaps
// the root. So readers need no lock and see either all of an update or nothing.
// Updates must not run at the same time as each other.
type trie[V any] struct {
	root atomic.Pointer[node[V]]
}

// node is a prefix. Its value is nil where two longer prefixes branch off one
// that nobody has; such a node has two children.
type node[V any] struct {
	prefix address // masked
	child  [2]*node[V]
	value  *V
	bits   uint8
}

func (t *trie[V]) lookup(a address) *V {
	var found *V
	for n := t.root.Load(); n != nil; {
		// Equal to prefix.common(a) < bits, which is what makes the look-up slow.
		if a.masked(n.bits) != n.prefix {
			break
		}
		if n.value != nil {
			found = n.value
		}
		if n.bits == 128 {
			break
		}
		n = n.child[a.bit(n.bits)]
	}
	return found
}

// get returns the value of exactly this prefix.
func (t *trie[V]) get(p netip.Prefix) *V {
	a, bits := addressOf(p.Addr()), uint8(p.Bits())
	n := t.root.Load()
	for n != nil && n.bits < bits && a.masked(n.bits) == n.prefix {
		n = n.child[a.bit(n.bits)]
	}
	if n == nil || n.bits != bits || n.prefix != a {
		return nil
	}
	return n.value
}

// containing returns the values of shorter prefixes that contain this one.
func (t *trie[V]) containing(p netip.Prefix) (all []*V) {
	a, bits := addressOf(p.Addr()), uint8(p.Bits())
	for n := t.root.Load(); n != nil && n.bits < bits && a.masked(n.bits) == n.prefix; n = n.child[a.bit(n.bits)] {
		if n.value != nil {
			all = append(all, n.value)
		}
	}
	return all
}

// within reports whether there is a longer prefix in this one.
func (t *trie[V]) within(p netip.Prefix) bool {
	a, bits := addressOf(p.Addr()), uint8(p.Bits())
	n := t.root.Load()
	for n != nil && n.bits < bits && a.masked(n.bits) == n.prefix {
		n = n.child[a.bit(n.bits)]
	}
	if n == nil || n.prefix.masked(bits) != a {
		return false
	}
	return n.bits > bits || n.bits == bits && (n.child[0] != nil || n.child[1] != nil)
}

func (t *trie[V]) empty() bool { return t.root.Load() == nil }

// insert gives a masked prefix a value, whoever had it before.
func (t *trie[V]) insert(p netip.Prefix, v *V) {
	t.root.Store(t.root.Load().insert(addressOf(p.Addr()), uint8(p.Bits()), v))
}

// remove takes a masked prefix out; one that is not there may be removed.
func (t *trie[V]) remove(p netip.Prefix) {
	t.root.Store(t.root.Load().remove(addressOf(p.Addr()), uint8(p.Bits())))
}

func (n *node[V]) insert(a address, bits uint8, v *V) *node[V] {
	leaf := &node[V]{prefix: a, bits: bits, value: v}
	if n == nil {
		return leaf
	}
	shared := min(n.prefix.common(a), n.bits, bits)
	if shared < n.bits && shared < bits {
		fork := &node[V]{prefix: a.masked(shared), bits: shared}
		fork.child[a.bit(shared)] = leaf
		fork.child[n.prefix.bit(shared)] = n
		return fork
	}
	if bits < n.bits { // the new one contains this one
		leaf.child[n.prefix.bit(bits)] = n
		return leaf
	}
	c := *n
	if bits == n.bits {
		c.value = v
	} else {
		i := a.bit(n.bits)
		c.child[i] = n.child[i].insert(a, bits, v)
	}
	return &c
}

func (n *node[V]) remove(a address, bits uint8) *node[V] {
	if n == nil || n.bits > bits || a.masked(n.bits) != n.prefix {
		return n
	}
	c := *n
	if n.bits == bits {
		c.value = nil
	} else {
		i := a.bit(n.bits)
		c.child[i] = n.child[i].remove(a, bits)
		if c.child[i] == n.child[i] {
			return n
		}
	}
	if c.value == nil {
		switch {
		case c.child[0] == nil:
			return c.child[1]
		case c.child[1] == nil:
			return c.child[0]
		}
	}
	return &c
}
