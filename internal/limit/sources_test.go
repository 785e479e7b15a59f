package limit

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func source(prefix, host uint64) netip.Addr {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], prefix)
	binary.BigEndian.PutUint64(a[8:], host)
	return netip.AddrFrom16(a)
}

// All addresses of a link have one bucket, most other links another one, and
// which of them share one depends on the seed.
func TestSources(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rate := Rate{Every: time.Second, Burst: 5}
	const flooder = 0x20010db800010000
	sharing := func(seed Seed) (others [1000]bool) {
		s := NewSources(rate, seed)
		allowed := 0
		for host := range uint64(1000) {
			if s.Allow(now, source(flooder, host)) {
				allowed++
			}
		}
		if allowed != rate.Burst {
			t.Errorf("%d of one prefix, want %d", allowed, rate.Burst)
		}
		for i := range others {
			others[i] = !s.Allow(now, source(flooder+1+uint64(i)<<16, 1))
		}
		return others
	}
	count := func(list [1000]bool) (n int) {
		for _, b := range list {
			if b {
				n++
			}
		}
		return n
	}
	first, second := sharing(Seed{1, 8: 2}), sharing(Seed{0xa5, 0x17, 8: 0x33, 9: 0x91})
	// 1000 prefixes in 256 buckets: about four each, of which five may pass.
	for i, list := range [][1000]bool{first, second} {
		if n := count(list); n > 250 {
			t.Errorf("seed %d: %d of 1000 other prefixes have to wait", i, n)
		}
	}
	if first == second {
		t.Error("the seed changes nothing")
	}
}
