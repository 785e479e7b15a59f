package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"roam6/internal/uci"
)

// disjoint sees an overlap exactly where comparing all pairs does.
func TestDisjoint(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		var p problems
		var claims []claim
		overlaps := false
		for i := range 1 + rng.IntN(8) {
			bits := 1 + rng.IntN(6)
			address := netip.AddrFrom16([16]byte{byte(rng.IntN(256))})
			prefix := netip.PrefixFrom(address, bits).Masked()
			for _, c := range claims {
				overlaps = overlaps || c.prefix.Overlaps(prefix)
			}
			src := &uci.Section{Type: "mobile", Name: fmt.Sprint("m", i), Options: []uci.Option{{Name: "prefix", Values: values(prefix.String())}}}
			claims = append(claims, claim{section{src, &p}, "prefix", 0, prefix})
		}
		disjoint(claims)
		if overlaps != (len(p.list) > 0) {
			t.Fatalf("overlaps: %v, reported: %v", overlaps, p.list)
		}
	}
}

// A home agent's file with thousands of mobiles is read in a moment.
func BenchmarkParse(b *testing.B) {
	src := []byte(agent)
	for i := range 4000 {
		src = fmt.Appendf(src, "config mobile 'm%d'\n option home_address '2001:db8:1::%x'\n option spi '1000'\n option key '3b1f0c5a9d2e4f687a8b9cadbecfd0e1'\n list prefix '2001:db9:%x::/48'\n", i, i+2, i)
	}
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if _, err := Parse("roam6", src); err != nil {
			b.Fatal(err)
		}
	}
}
