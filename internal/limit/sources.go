package limit

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"time"
)

// Seed is what an outsider must not know of a Sources, or they could choose
// sources that use up the tokens of somebody else's.
type Seed [16]byte

// Sources limits what each sender can cause, in memory of a fixed size: prefixes
// of 64 bits, which is what one link has to choose its addresses from, share a
// number of buckets by a hash. Who forges sources at random shares everybody's
// buckets; a limit over all of them has to come on top.
type Sources struct {
	rate    Rate
	key     [2]uint64
	buckets [256]Limiter
}

// NewSources returns a limit of the given rate for each sender.
func NewSources(rate Rate, seed Seed) *Sources {
	be := binary.BigEndian
	return &Sources{rate: rate, key: [2]uint64{be.Uint64(seed[:8]), be.Uint64(seed[8:])}}
}

// Allow takes a token of a sender's bucket if there is one.
func (s *Sources) Allow(now time.Time, source netip.Addr) bool {
	a := source.As16()
	h := mix(mix(binary.BigEndian.Uint64(a[:8])^s.key[0]) ^ s.key[1])
	return s.buckets[h%uint64(len(s.buckets))].Allow(now, s.rate)
}

// mix spreads every bit of x over the result: the two halves of its product with
// the golden ratio, folded.
func mix(x uint64) uint64 {
	hi, lo := bits.Mul64(x, 0x9e3779b97f4a7c15)
	return hi ^ lo
}
