//go:build !nometrics

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// exposition is what a monitoring system is given: Prometheus's registry, the
// histograms in it, and what asks for the state.
type exposition struct {
	registry       *prometheus.Registry
	phases         *prometheus.HistogramVec
	took, outages  prometheus.Histogram
	advertisements *advertisementCollector
	state          *stateCollector
	pages          Pages // beside the metrics; nil: none
}

func newExposition(version string, m *Metrics) *exposition {
	x := &exposition{
		registry: prometheus.NewRegistry(),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "roam6_handover_phase_seconds",
			Help:    "Time that each phase of a completed handover took; total is from its first event to the binding acknowledgement.",
			Buckets: []float64{.001, .002, .005, .01, .02, .03, .05, .075, .1, .15, .2, .3, .5, 1, 2, 5, 10},
		}, []string{"phase"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "roam6_dhcp_exchange_seconds",
			Help:    "Time from a message of this node as a DHCPv6 client, its first copy, to the answer: Advertise or Reply.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30},
		}),
		outages: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "roam6_outage_duration_seconds",
			Help:    "How long each outage of a mobile of this daemon lasted that has ended; roam6_outage_seconds_total says from when to when an outage is.",
			Buckets: []float64{.01, .02, .05, .1, .2, .3, .5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200},
		}),
		advertisements: newAdvertisementCollector(&m.advertisements),
		state:          newStateCollector(),
	}
	x.registry.MustRegister(
		constant("roam6_build_info", "Always 1; the version is the label.", 1, "version", version),
		constant("process_start_time_seconds", "Start of the daemon, in seconds since 1970 by the clock at that time.",
			float64(time.Now().UnixMilli())/1000),
		newEventCollector(&m.events),
		x.phases,
		x.took,
		x.outages,
		x.advertisements,
		x.state,
	)
	return x
}

func constant(name, help string, value float64, labels ...string) prometheus.Collector {
	o := prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{}}
	for i := 0; i+1 < len(labels); i += 2 {
		o.ConstLabels[labels[i]] = labels[i+1]
	}
	g := prometheus.NewGauge(o)
	g.Set(value)
	return g
}

func (x *exposition) phase(name string) observer { return x.phases.WithLabelValues(name) }
func (x *exposition) gap(link string) observer   { return x.advertisements.gaps.WithLabelValues(link) }
func (x *exposition) exchange() observer         { return x.took }
func (x *exposition) outage() observer           { return x.outages }

// Observe sets the source of what is asked for at each scrape. Without one
// those metrics are absent.
func (m *Metrics) Observe(s Source) {
	x := m.exposition.state
	x.mu.Lock()
	defer x.mu.Unlock()
	x.source = s
}
