// Package feature is what a machine offers, and what to do where it does not.
package feature

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Feature is something that a kernel, or the privileges of a process, offer or not.
type Feature struct {
	Name    string // what it is: "ip6tnl devices"
	Missing string // why it is not there; empty: it is
	Instead string // what is used in its place; empty: whoever asks cannot do without
	// OpenWrt and Debian say what brings it: a package, a module to load.
	OpenWrt, Debian string
}

// Tried is a feature that a trial found, or not: err says why.
func Tried(name string, err error, f Feature) Feature {
	f.Name = name
	if err != nil {
		f.Missing = err.Error()
	}
	return f
}

// TryPrivately calls f on a thread in a network namespace of its own, which goes with it:
// nothing that f tries changes the caller's. That takes CAP_SYS_ADMIN; where it cannot be
// done f is not called.
func TryPrivately(f func()) error {
	outcome := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNET))
		if err == nil {
			f()
		}
		outcome <- err
	}()
	return <-outcome
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
