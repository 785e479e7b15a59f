// Package feature is how the data plane engines say what they need of the kernel.
package feature

// Feature is one thing that an engine needs.
type Feature struct {
	Name    string // what it is
	Missing string // why it cannot be used here; empty: it can
	Instead string // what is done without it; empty: the engine cannot do without
	// OpenWrt and Debian are the packages or kernel options that bring it.
	OpenWrt, Debian string
}
