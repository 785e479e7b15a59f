//go:build !nometrics

package metrics

import "github.com/prometheus/client_golang/prometheus"

// emitter makes metrics of values.
type emitter struct{ to chan<- prometheus.Metric }

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (e emitter) counter(d *prometheus.Desc, v uint64, labels ...string) {
	e.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// sum is the total of counters of parts that come and go. A counter must never
// fall, or the monitoring system takes it for a restart and adds the whole
// total again; so what a part has counted stays when the part goes.
type sum[K comparable] struct {
	total      uint64
	last, next map[K]uint64
}

// add notes a part's counter. One that is lower than the last time is that of
// a new part with the same key.
func (s *sum[K]) add(key K, n uint64) {
	if s.next == nil {
		s.next = make(map[K]uint64, len(s.last))
	}
	s.next[key] = n
	if last := s.last[key]; n >= last {
		s.total += n - last
	} else {
		s.total += n
	}
}

// take returns the total after each part there is has been added.
func (s *sum[K]) take() uint64 {
	s.last, s.next = s.next, s.last
	clear(s.next)
	return s.total
}

// changes tells what became of the bindings of a role.
func (e emitter) changes(d *prometheus.Desc, c BindingChanges, r Role) {
	for _, x := range [...]struct {
		name string
		n    uint64
	}{
		{"registration", c.Registrations}, {"refresh", c.Refreshes}, {"move", c.Moves},
		{"deregistration", c.Deregistrations}, {"expiration", c.Expirations},
	} {
		e.counter(d, x.n, r.String(), x.name)
	}
}

// changeSums are the sums of BindingChanges over home agents or anchors, by the name of
// the section.
type changeSums struct {
	registrations, refreshes, moves, deregistrations, expirations sum[string]
}

func (s *changeSums) add(name string, c BindingChanges) {
	s.registrations.add(name, c.Registrations)
	s.refreshes.add(name, c.Refreshes)
	s.moves.add(name, c.Moves)
	s.deregistrations.add(name, c.Deregistrations)
	s.expirations.add(name, c.Expirations)
}

func (s *changeSums) take() BindingChanges {
	return BindingChanges{
		Registrations: s.registrations.take(), Refreshes: s.refreshes.take(), Moves: s.moves.take(),
		Deregistrations: s.deregistrations.take(), Expirations: s.expirations.take(),
	}
}
