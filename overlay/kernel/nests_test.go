package kernel

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"roam6/overlay"
)

// Whatever comes and goes in whatever order, what is known is what one finds by comparing
// all with all, and in the end nothing is.
func TestNests(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 275))
	n := newNests()
	var all []owned
	change := func(i int) {
		n.remove(all[i].side, all[i].prefix)
		all = append(all[:i], all[i+1:]...)
	}
	var nested, apart int
	for range 5000 {
		if len(all) > 0 && r.IntN(8) < 4 {
			change(r.IntN(len(all)))
		} else {
			a := netip.AddrFrom16([16]byte{0x20, 1, byte(r.IntN(2)), byte(r.IntN(3) << 6), 0, byte(r.IntN(2)), 15: byte(r.IntN(2))})
			k := owned{[]overlay.Side{overlay.AgentSide, overlay.MobileSide}[r.IntN(2)], netip.PrefixFrom(a, []int{24, 26, 48, 128}[r.IntN(4)]).Masked()}
			n.add(k.side, k.prefix)
			all = append(all, k)
		}
		want := false
		for _, a := range all {
			for _, b := range all {
				want = want || a.side == b.side && a.prefix.Bits() < b.prefix.Bits() && a.prefix.Overlaps(b.prefix)
			}
		}
		if n.any() != want {
			t.Fatalf("nested %v, want %v, of %v", n.any(), want, all)
		}
		if want {
			nested++
		} else {
			apart++
		}
	}
	if nested < 100 || apart < 100 {
		t.Errorf("nested %d times, %d times not: that tries little", nested, apart)
	}
	for len(all) > 0 {
		change(0)
	}
	if len(n.uses)+len(n.lengths)+len(n.below)+n.pairs != 0 {
		t.Errorf("something is left: %+v", n)
	}
}
