// Package engines knows the data planes there are, and which is the best here.
package engines

import (
	"errors"
	"fmt"
	"log/slog"

	"roam6/overlay/feature"
	"roam6/overlay/kernel"
	"roam6/overlay/tun"
)

// Engine is a data plane that can be opened.
type Engine struct {
	Name string
	// Probe tells what it needs and what of that is there. It may make and remove
	// devices in the network namespace of the calling thread.
	Probe func() []feature.Feature
	// Open opens it; see tun.Open.
	Open func(tun.Config) (*tun.Engine, error)
	// Clean removes what a predecessor that crashed may have left, and that another
	// engine would not; nil: there is no such thing.
	Clean func(*slog.Logger) error
}

// All are the data planes of this binary, the best first. The last one is the one that works on any
// kernel that roam6 runs on.
func All() []Engine {
	all := []Engine{{Name: kernel.Name, Probe: kernel.Probe, Open: kernel.Open, Clean: kernel.Clean}}
	all = append(all, ebpf()...)
	return append(all, Engine{Name: "tun", Probe: tun.Probe, Open: tun.Open})
}

// Auto is the name that stands for the best data plane of a machine.
const Auto = "auto"

// Open opens the data plane of a name, or with Auto the first of All that opens. What
// the others may have left is removed.
func Open(name string, c tun.Config) (*tun.Engine, error) { return open(All(), name, c) }

func open(all []Engine, name string, c tun.Config) (*tun.Engine, error) {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var failures []error
	for _, e := range all {
		if name != Auto && name != e.Name {
			continue
		}
		plane, err := e.Open(c)
		if err != nil {
			if name != Auto {
				return nil, fmt.Errorf("data plane %q, which the configuration asks for: %w (`roam6 doctor` tells more)", name, err)
			}
			log.Debug("data plane is not used", "engine", e.Name, "reason", err)
			failures = append(failures, fmt.Errorf("%s: %w", e.Name, err))
			continue
		}
		for _, other := range all {
			if other.Name == e.Name || other.Clean == nil {
				continue
			}
			if err := other.Clean(log); err != nil {
				log.Warn("kernel state of another data plane could not be removed", "engine", other.Name, "reason", err)
			}
		}
		return plane, nil
	}
	if len(failures) == 0 {
		return nil, fmt.Errorf("there is no data plane %q", name)
	}
	return nil, fmt.Errorf("no data plane works here: %w", errors.Join(failures...))
}
