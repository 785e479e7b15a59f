package kernel

import (
	"net/netip"

	"roam6/overlay"
)

// nests know whether an inner prefix is within another one of the same side. Where none is
// a packet is of one prefix at most, and which length is looked up first does not matter.
// A change takes time by the number of lengths in use, and the first and the last of a
// length by the number of prefixes.
type nests struct {
	uses    map[owned]int // of each prefix
	lengths map[length]int
	below   map[owned]int // prefixes within one of a shorter length in use, be that there or not
	pairs   int
}

func newNests() nests {
	return nests{uses: make(map[owned]int), lengths: make(map[length]int), below: make(map[owned]int)}
}

func (n *nests) any() bool { return n.pairs > 0 }

func (n *nests) add(side overlay.Side, q netip.Prefix) {
	k := owned{side, q.Masked()}
	n.uses[k]++
	if n.uses[k] > 1 {
		return
	}
	l := length{side, q.Bits()}
	if n.lengths[l]++; n.lengths[l] == 1 {
		for o := range n.uses {
			if o.side == side && o.prefix.Bits() > l.bits {
				n.below[around(o, l.bits)]++
			}
		}
	}
	n.pairs += n.below[k]
	n.within(k, 1)
}

func (n *nests) remove(side overlay.Side, q netip.Prefix) {
	k := owned{side, q.Masked()}
	n.uses[k]--
	if n.uses[k] > 0 {
		return
	}
	delete(n.uses, k)
	n.within(k, -1)
	n.pairs -= n.below[k]
	l := length{side, q.Bits()}
	if n.lengths[l]--; n.lengths[l] == 0 {
		delete(n.lengths, l)
		for o := range n.below {
			if o.side == side && o.prefix.Bits() == l.bits {
				delete(n.below, o)
			}
		}
	}
}

// within counts a prefix, or with change −1 no longer, at those around it.
func (n *nests) within(k owned, change int) {
	for l := range n.lengths {
		if l.side != k.side || l.bits >= k.prefix.Bits() {
			continue
		}
		o := around(k, l.bits)
		if n.below[o] += change; n.below[o] == 0 {
			delete(n.below, o)
		}
		if n.uses[o] > 0 {
			n.pairs += change
		}
	}
}

// around is the prefix of a shorter length that one is in.
func around(k owned, bits int) owned {
	return owned{k.side, netip.PrefixFrom(k.prefix.Addr(), bits).Masked()}
}
