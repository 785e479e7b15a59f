package node

import (
	"maps"
	"net/netip"
	"slices"

	"roam6/overlay"
)

// innerShares lets several home addresses of one mobile router have the same
// mobile network, as while its home link is renumbered: the data plane holds a
// prefix for one tunnel only. It is given all tunnels of the mobile side as they
// are wanted, and passes them on with the prefixes that each may have. It is pure;
// the zero value is ready.
type innerShares struct {
	wanted map[netip.Addr]overlay.Tunnel // by home address
	given  map[netip.Addr][]netip.Prefix
	ranks  map[netip.Addr]int // the highest has a prefix; absent: 0
}

// change translates changes for the data plane.
func (x *innerShares) change(changes []overlay.Change) []overlay.Change {
	var out []overlay.Change
	for _, c := range changes {
		switch {
		case c.Set != nil && c.Set.Side == overlay.MobileSide:
			if x.wanted == nil {
				x.wanted = make(map[netip.Addr]overlay.Tunnel)
			}
			x.wanted[c.Set.Home] = *c.Set
			delete(x.given, c.Set.Home) // to be set anew in any case
			out = append(out, x.share()...)
		case c.Set == nil && c.Optimise == nil && c.Deoptimise == nil && c.Remove.Side == overlay.MobileSide:
			delete(x.wanted, c.Remove.Home)
			delete(x.given, c.Remove.Home)
			out = append(append(out, c), x.share()...)
		default:
			out = append(out, c)
		}
	}
	return out
}

// rank changes the ranks, and returns what follows for the data plane.
func (x *innerShares) rank(ranks map[netip.Addr]int) []overlay.Change {
	x.ranks = ranks
	return x.share()
}

// share gives each prefix to one tunnel and returns the tunnels that change:
// those first that lose a prefix.
func (x *innerShares) share() []overlay.Change {
	homes := slices.SortedFunc(maps.Keys(x.wanted), netip.Addr.Compare)
	owner := make(map[netip.Prefix]netip.Addr)
	for _, home := range homes {
		for _, p := range x.wanted[home].Inner {
			if other, taken := owner[p]; !taken || x.ranks[home] > x.ranks[other] {
				owner[p] = home
			}
		}
	}
	var losers, others []overlay.Change
	for _, home := range homes {
		t := x.wanted[home]
		t.Inner = slices.DeleteFunc(slices.Clone(t.Inner), func(p netip.Prefix) bool { return owner[p] != home })
		before, known := x.given[home]
		if known && slices.Equal(before, t.Inner) {
			continue
		}
		if x.given == nil {
			x.given = make(map[netip.Addr][]netip.Prefix)
		}
		x.given[home] = t.Inner
		if change := (overlay.Change{Set: &t}); len(t.Inner) < len(before) {
			losers = append(losers, change)
		} else {
			others = append(others, change)
		}
	}
	return append(losers, others...)
}
