package cn

import (
	"encoding/binary"
	"time"

	"roam6/internal/limit"
	"roam6/mip6"
)

// nonceInterval is how long a nonce is handed out. A token is then good for
// maxTokenLifetime at least, however late in that time it was made (RFC 6275
// §5.2.7).
const nonceInterval = maxNonceLifetime - maxTokenLifetime

// replacements limits how often a nonce is replaced before its interval is over.
var replacements = limit.Rate{Every: 8 * time.Second, Burst: 16}

// nonceSlots is more than the number of nonces that can be valid at the same
// time, so that none is overwritten while it is: 8 by interval, and 16 + 30
// replacements in maxNonceLifetime. The index of a nonce tells its slot.
const nonceSlots = 64

// secret is a nonce with the node key that belongs to it: both are renewed
// together, so that an index names both (RFC 6275 §5.2.7).
type secret struct {
	index uint16
	key   mip6.NodeKey
	nonce mip6.Nonce
	since time.Time // first use; zero for a slot that was never used
}

// expires is when the nonce must not be accepted any more (RFC 6275 §5.2.7).
func (s *secret) expires() time.Time { return s.since.Add(maxNonceLifetime) }

// nonces are the secrets from which keygen tokens are made: all the state of the
// return routability procedure, the same for all mobiles. A nonce is made when
// somebody asks for a token and the last one is too old; nothing happens while
// nobody asks.
type nonces struct {
	slots   [nonceSlots]secret
	newest  uint16
	spent   bool // the newest must not be handed out any more
	replace limit.Limiter
}

// current is the nonce to make a token with: a new one has its first index of random, and
// its secrets of unknown.
func (n *nonces) current(now time.Time, random, unknown func([]byte)) *secret {
	s := &n.slots[n.newest%nonceSlots]
	switch {
	case s.since.IsZero():
		// Indices begin anywhere, so that one of an earlier life is not taken for
		// one of this, but answered with a status (RFC 6275 §5.2.7).
		var first [2]byte
		random(first[:])
		n.newest = binary.BigEndian.Uint16(first[:])
	case now.Sub(s.since) >= nonceInterval, n.spent && n.replace.Allow(now, replacements):
		n.newest++
	default:
		return s
	}
	n.spent = false
	s = &n.slots[n.newest%nonceSlots]
	*s = secret{index: n.newest, since: now}
	unknown(s.key[:])
	unknown(s.nonce[:])
	return s
}

// find returns the nonce with an index, or nil if it is too old or never was.
func (n *nonces) find(now time.Time, index uint16) *secret {
	s := &n.slots[index%nonceSlots]
	if s.index != index || s.since.IsZero() || !now.Before(s.expires()) {
		return nil
	}
	return s
}

// spend takes care that the nonce is not handed out again if it is the newest:
// some mobile must not use it any more, and should get another one when it asks.
func (n *nonces) spend(index uint16) {
	if index == n.newest {
		n.spent = true
	}
}
