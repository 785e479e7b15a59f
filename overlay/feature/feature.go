// Package feature is what a machine offers, and what to do where it does not.
package feature

// Feature is something that a kernel, or the privileges of a process, offer or not.
type Feature struct {
	Name    string // what it is: "ip6tnl devices"
	Missing string // why it is not there; empty: it is
	// Optional: whoever asks can do without, by Instead.
	Optional bool
	Instead  string // what is used in its place
	// OpenWrt and Debian say what brings it: a package, a module to load.
	OpenWrt, Debian string
}

// Suffices reports whether nothing is missing but what is optional.
func Suffices(all []Feature) bool {
	for _, f := range all {
		if f.Missing != "" && !f.Optional {
			return false
		}
	}
	return true
}
