// Package order sorts structs, where it is done seldom. slices.SortFunc and
// slices.SortStableFunc are compiled anew for each of them, which is 10 to 40 KB of a
// router's binary each time; those of package sort are there once.
//
// Pointers are all one to the compiler, and addresses, prefixes, strings and integers are
// sorted in many places: those are left to slices.
package order

import "sort"

// Sort sorts as slices.SortFunc does: elements that compare as equal are in any order.
func Sort[E any](list []E, compare func(a, b E) int) {
	sort.Slice(list, func(i, j int) bool { return compare(list[i], list[j]) < 0 })
}

// SortStable sorts as slices.SortStableFunc does: elements that compare as equal stay in
// their order.
func SortStable[E any](list []E, compare func(a, b E) int) {
	sort.SliceStable(list, func(i, j int) bool { return compare(list[i], list[j]) < 0 })
}
