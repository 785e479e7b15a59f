package order

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

type element struct{ key, place int }

func compare(a, b element) int { return cmp.Compare(a.key, b.key) }

// TestAsSlices compares with the functions of package slices, lengths for which it has
// different algorithms, and with many elements that compare as equal.
func TestAsSlices(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, length := range []int{0, 1, 2, 11, 12, 13, 50, 51, 1000} {
		list := make([]element, length)
		for i := range list {
			list[i] = element{random.IntN(length/2 + 1), i}
		}
		sorted, stable, want := slices.Clone(list), slices.Clone(list), slices.Clone(list)
		Sort(sorted, compare)
		SortStable(stable, compare)
		slices.SortStableFunc(want, compare)
		if !slices.Equal(stable, want) {
			t.Errorf("SortStable of %d elements: %v, want %v", length, stable, want)
		}
		if !slices.EqualFunc(sorted, want, func(a, b element) bool { return a.key == b.key }) {
			t.Errorf("Sort of %d elements: keys of %v, want those of %v", length, sorted, want)
		}
		byPlace := func(a, b element) int { return cmp.Compare(a.place, b.place) }
		if slices.SortFunc(sorted, byPlace); !slices.Equal(sorted, list) {
			t.Errorf("Sort of %d elements lost some: %v", length, sorted)
		}
	}
}
