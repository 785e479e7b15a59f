//go:build noreplay

package main

import "fmt"

// replay is left out of this binary.
func replay(_ []string, std stdio) int {
	fmt.Fprintln(std.err, "roam6 replay: this binary does without it; the one that `make build` makes plays a trace, on any machine")
	return 2
}
