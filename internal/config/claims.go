package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// claim is a prefix that an option of a section claims for itself alone.
type claim struct {
	section section
	option  string
	item    int
	prefix  netip.Prefix
}

// disjoint reports claims that overlap, at the later one in the file. Sorted
// by address, shorter ones first, a prefix that overlaps any earlier one lies
// inside the last one that does not itself.
func disjoint(claims []claim) {
	order := make([]int, len(claims))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		p, q := claims[a].prefix, claims[b].prefix
		return cmp.Or(p.Addr().Compare(q.Addr()), cmp.Compare(p.Bits(), q.Bits()), cmp.Compare(a, b))
	})
	outer := -1
	for _, i := range order {
		if outer < 0 || !claims[outer].prefix.Overlaps(claims[i].prefix) {
			outer = i
			continue
		}
		first, later := claims[min(outer, i)], claims[max(outer, i)]
		where := quoted(first.section)
		if first.section.Section == later.section.Section {
			where = "the same section"
		}
		later.section.wrong(later.option, later.item,
			fmt.Sprintf("a prefix that does not overlap %v of %s", first.prefix, where))
	}
}

// without reports claims that have a home address: its packets would go the way of
// the claim. A part of the home prefix that has none is possible (RFC 4887 §6).
func without(claims []claim, homes map[netip.Addr]section) {
	sorted := slices.SortedFunc(maps.Keys(homes), netip.Addr.Compare)
	for _, c := range claims {
		i, _ := slices.BinarySearchFunc(sorted, c.prefix.Masked().Addr(), netip.Addr.Compare)
		if i == len(sorted) || !c.prefix.Contains(sorted[i]) {
			continue
		}
		what := fmt.Sprintf("a prefix without the home address %v, which belongs to the home link", sorted[i])
		if other := homes[sorted[i]]; other.Section != c.section.Section {
			what = fmt.Sprintf("a prefix without the home address %v of %s", sorted[i], quoted(other))
		}
		c.section.wrong(c.option, c.item, what)
	}
}

// distinct reports values that an earlier section has too. what names the
// value; a key that is not valid yet is skipped by the caller.
func distinct[K comparable](seen map[K]section, key K, s section, option string, item int, what string) {
	if other, ok := seen[key]; ok {
		s.wrong(option, item, what+" that "+quoted(other)+" does not have")
		return
	}
	seen[key] = s
}

// twice reports items that a list has already. what names one.
func twice[T comparable](s section, option string, items []T, what string) {
	for i, item := range items {
		if slices.Contains(items[:i], item) {
			s.wrong(option, i, "every "+what+" once")
		}
	}
}
