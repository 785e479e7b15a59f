// Package doctor finds out what a machine offers to roam6: what is there, what is used
// in place of what is not, and what to install to do better.
package doctor

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"roam6/overlay/engines"
	"roam6/overlay/feature"
)

// Report is a diagnosis.
type Report struct {
	Kernel       string // release
	Architecture string
	// Basis are what roam6 needs on every machine, and what it can use.
	Basis []feature.Feature
	// Planes are the data planes, the best first.
	Planes []Plane
	// Chosen is the data plane that `option plane 'auto'` takes; empty: none.
	Chosen string
	// Private: the machine was examined in a network namespace of its own. Otherwise
	// nothing was changed to try it, and some of it is not known.
	Private bool
}

// Plane is a data plane.
type Plane struct {
	Name     string
	Usable   bool
	Features []feature.Feature
}

// Healthy reports whether roam6 can run here.
func (r *Report) Healthy() bool { return feature.Suffices(r.Basis) && r.Chosen != "" }

// Examine examines the machine.
func Examine() (*Report, error) {
	r := &Report{Architecture: runtime.GOARCH}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, fmt.Errorf("kernel release: %w", err)
	}
	r.Kernel = unix.ByteSliceToString(name.Release[:])
	err := feature.TryPrivately(func() { r.Private = true; r.examine() })
	if errors.Is(err, unix.EPERM) {
		r.examine()
		err = nil
	}
	return r, err
}

func (r *Report) examine() {
	r.Basis = basis(r.Private)
	for _, e := range engines.All() {
		p := Plane{Name: e.Name, Features: e.Probe()}
		p.Usable = feature.Suffices(p.Features)
		if p.Usable && r.Chosen == "" {
			r.Chosen = p.Name
		}
		r.Planes = append(r.Planes, p)
	}
}
