package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
)

// Rows that are no module of others.
const (
	standard = "Go's runtime and standard library"
	tables   = "tables of all: lines, types, strings"
)

// shares are the octets of each module in a binary.
type shares struct {
	modules []string // paths, the longest first
	own     string   // path of the main module
	octets  map[string]uint64
	total   uint64 // of what is loaded, with the tables
}

func newShares(info *debug.BuildInfo) shares {
	s := shares{own: info.Main.Path, octets: make(map[string]uint64)}
	for _, d := range info.Deps {
		s.modules = append(s.modules, d.Path)
	}
	s.modules = append(s.modules, s.own)
	slices.SortFunc(s.modules, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return s
}

// add counts a symbol. What the linker has made for all of them belongs to nobody.
func (s shares) add(symbol string, size uint64) {
	if p := packageOf(symbol); p != "" {
		s.octets[s.moduleOf(p)] += size
	}
}

func (s shares) moduleOf(path string) string {
	if path == "main" {
		return s.own
	}
	for _, m := range s.modules {
		if path == m || strings.HasPrefix(path, m+"/") {
			return m
		}
	}
	return standard
}

// packageOf is the path of the package that a symbol is of, or "" for those of the linker
// (go:func.*, type:*, runtime.pclntab and the like). An instance of a generic function is
// of the package that has the function.
func packageOf(symbol string) string {
	for _, prefix := range [...]string{"type:.eq.", "type:.hash.", "go:itab."} { // made for a package's types
		if rest, ok := strings.CutPrefix(symbol, prefix); ok {
			symbol = strings.TrimLeft(rest, "*[]0123456789")
			break
		}
	}
	if strings.HasPrefix(symbol, "go:") || strings.HasPrefix(symbol, "type:") || symbol == "runtime.pclntab" {
		return ""
	}
	name, _, _ := strings.Cut(symbol, "[") // type arguments have paths of their own
	slash := strings.LastIndexByte(name, '/') + 1
	dot := strings.IndexByte(name[slash:], '.')
	if dot < 0 {
		return ""
	}
	// In a symbol, a dot in the last element of a path is %2e.
	return strings.ReplaceAll(name[:slash+dot], "%2e", ".")
}

// print writes the shares, the largest first.
func (s shares) print(out io.Writer) {
	rest := s.total
	for _, n := range s.octets {
		rest -= min(n, rest)
	}
	all := maps.Clone(s.octets)
	all[tables] = rest
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(all[b], all[a]), cmp.Compare(a, b))
	})
	for _, name := range names {
		fmt.Fprintf(out, "%10d %5.1f %%  %s\n", all[name], 100*float64(all[name])/float64(max(s.total, 1)), name)
	}
}
