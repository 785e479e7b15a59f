//go:build nometrics

package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net"
)

// exposition is nothing: there is no endpoint in this binary.
type exposition struct{}

// unobserved is a histogram that nobody looks at.
type unobserved struct{}

func (unobserved) Observe(float64) {}

func newExposition(string, *Metrics) *exposition { return nil }
func (*exposition) phase(string) observer        { return unobserved{} }
func (*exposition) gap(string) observer          { return unobserved{} }
func (*exposition) exchange() observer           { return unobserved{} }
func (*exposition) outage() observer             { return unobserved{} }

// Observe has no use for the source.
func (*Metrics) Observe(Source) {}

// ServePages has no use for pages.
func (*Metrics) ServePages(Pages) {}

// ErrNotBuilt is that of Serve.
var ErrNotBuilt = errors.New("this roam6 was built without metrics (tag nometrics): the section `metrics` has no effect; `roam6 show stats` has the counters")

// Serve closes l and returns ErrNotBuilt.
func (*Metrics) Serve(_ context.Context, l net.Listener, _ *slog.Logger) error {
	return errors.Join(ErrNotBuilt, l.Close())
}
