package kernel

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"roam6/overlay"
	"roam6/overlay/tun"
)

// remotes finds what a look at each tunnel finds, and keeps no more than half of it that
// is gone.
func TestRemotes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	address := func() netip.Addr {
		return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 7: byte(random.IntN(8)), 14: byte(random.IntN(4)), 15: byte(random.IntN(8))})
	}
	var r remotes
	all := map[*tunnel]bool{}
	for range 20_000 {
		if random.IntN(5) > 1 || len(all) == 0 {
			u := &tunnel{FastTunnel: &tun.FastTunnel{Path: overlay.Path{Remote: address()}}}
			all[u] = true
			r.add(u)
		} else {
			for u := range all {
				delete(all, u)
				r.remove(u)
				break
			}
		}
		if random.IntN(20) > 0 {
			continue
		}
		q := netip.PrefixFrom(address(), []int{0, 16, 61, 64, 120, 126, 128}[random.IntN(7)]).Masked()
		want := 0
		for u := range all {
			if q.Contains(u.Path.Remote) {
				want++
			}
		}
		found := map[*tunnel]bool{}
		r.within(q, func(u *tunnel) {
			if !all[u] || found[u] || !q.Contains(u.Path.Remote) {
				t.Fatalf("%v: %v is not there, or was found twice", q, u.Path.Remote)
			}
			found[u] = true
		})
		if len(found) != want {
			t.Fatalf("%v: %d found of %d", q, len(found), want)
		}
		if kept := len(r.sorted) + len(r.recent); kept > 2*len(all)+4*fewTunnels {
			t.Fatalf("%d kept of %d", kept, len(all))
		}
	}
}

// BenchmarkVisitors looks for what leads into each of 100,000 new networks.
func BenchmarkVisitors(b *testing.B) {
	var p path
	var steps []step
	for i := range 100_000 {
		home := netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 5: byte(i >> 16), 6: byte(i >> 8), 7: byte(i), 15: 1})
		t := &tunnel{FastTunnel: &tun.FastTunnel{
			Key: overlay.Key{Home: home, Side: overlay.AgentSide}, Inner: []netip.Prefix{netip.PrefixFrom(home, 64).Masked()},
			Path: overlay.Path{Remote: netip.AddrFrom16([16]byte{0: 0x20, 1: 0x02, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})},
		}}
		p.remotes.add(t)
		steps = append(steps, step{key: t.Key, new: t})
	}
	for b.Loop() {
		if n := len(p.visitors(steps)); n != 0 {
			b.Fatalf("%d visitors", n)
		}
	}
}
