package kernel

import (
	"net/netip"
	"slices"
)

// remotes finds agents' tunnels by where they lead to. Most of it is in order; what has
// come since is not yet, and what has gone is still there, until there is much of either.
type remotes struct {
	sorted, recent []*tunnel
	gone           int
}

// fewTunnels are not worth to be put in order.
const fewTunnels = 64

func (r *remotes) add(t *tunnel) {
	t.leads = true
	r.recent = append(r.recent, t)
	if len(r.recent) > fewTunnels+len(r.sorted)/64 {
		r.order()
	}
}

func (r *remotes) remove(t *tunnel) {
	t.leads = false
	if r.gone++; r.gone > fewTunnels+len(r.sorted)/2 {
		r.order()
	}
}

func (r *remotes) order() {
	all := slices.DeleteFunc(slices.Concat(r.sorted, r.recent), func(t *tunnel) bool { return !t.leads })
	slices.SortFunc(all, func(t, u *tunnel) int { return t.Path.Remote.Compare(u.Path.Remote) })
	*r = remotes{sorted: slices.Clip(all)}
}

// within calls f for those that lead into a prefix.
func (r *remotes) within(q netip.Prefix, f func(*tunnel)) {
	visit := func(t *tunnel) {
		if t.leads && q.Contains(t.Path.Remote) {
			f(t)
		}
	}
	first, _ := slices.BinarySearchFunc(r.sorted, q.Masked().Addr(), func(t *tunnel, a netip.Addr) int { return t.Path.Remote.Compare(a) })
	for _, t := range r.sorted[first:] {
		if !q.Contains(t.Path.Remote) {
			break
		}
		visit(t)
	}
	for _, t := range r.recent {
		visit(t)
	}
}
