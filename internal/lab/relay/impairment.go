// Package relay carries Ethernet frames between interfaces as links of the
// field would: with delay, loss, duplication, reordering and partition, all
// random choices from a seed. It stands in for the kernel's netem, which many
// kernels lack, and for what netem cannot do: an air interface whose station
// moves from router to router.
package relay

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Impairment is what a link does to the frames of one direction. The zero
// value passes all at once.
type Impairment struct {
	// Delay is the time from one end to the other.
	Delay time.Duration
	// Loss, Duplicate and Reorder are probabilities from 0 to 1 for each frame.
	Loss, Duplicate, Reorder float64
	// ReorderBy is how much longer a reordered frame takes.
	ReorderBy time.Duration
}

// Zero reports whether the link does nothing to frames.
func (i Impairment) Zero() bool { return i == Impairment{} }

// Validate reports a value out of its range.
func (i Impairment) Validate() error {
	if i.Delay < 0 || i.ReorderBy < 0 {
		return fmt.Errorf("a link cannot have a negative delay (%v, reordering by %v)", i.Delay, i.ReorderBy)
	}
	for _, p := range []struct {
		name  string
		value float64
	}{{"loss", i.Loss}, {"duplication", i.Duplicate}, {"reordering", i.Reorder}} {
		if !(p.value >= 0 && p.value <= 1) {
			return fmt.Errorf("%s of %v is not a probability between 0 and 1", p.name, p.value)
		}
	}
	return nil
}

// direction is one direction of a link.
type direction struct {
	Impairment
	random *rand.Rand
	// cut: a partition; nothing passes.
	cut bool
}

func newDirection(i Impairment, seed, number uint64) *direction {
	return &direction{Impairment: i, random: rand.New(rand.NewPCG(seed, number))}
}

// fate decides about a frame: how many copies arrive, and how long after its
// entry each of them. Every frame takes the same number of random values, so
// that one setting does not change the choices of another.
func (d *direction) fate() (delays [2]time.Duration, copies int) {
	lost, doubled, reordered := d.random.Float64() < d.Loss, d.random.Float64() < d.Duplicate, d.random.Float64() < d.Reorder
	if d.cut || lost {
		return delays, 0
	}
	delays = [2]time.Duration{d.Delay, d.Delay}
	if reordered {
		delays[0] += d.ReorderBy
	}
	if doubled {
		return delays, 2
	}
	return delays, 1
}
