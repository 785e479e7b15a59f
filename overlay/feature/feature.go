// Package feature is what a machine offers, and what to do where it does not.
package feature

// Feature is something that a kernel, or the privileges of a process, offer or not.
type Feature struct {
	Name    string // what it is: "ip6tnl devices"
	Missing string // why it is not there; empty: it is
	Instead string // what is used in its place; empty: whoever asks cannot do without
	// OpenWrt and Debian say what brings it: a package, a module to load.
	OpenWrt, Debian string
}

// Suffices reports whether nothing is missing that cannot be done without.
func Suffices(all []Feature) bool {
	for _, f := range all {
		if f.Missing != "" && f.Instead == "" {
			return false
		}
	}
	return true
}
