//go:build !nometrics

package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"roam6/nd"
)

// advertisementCollector gives the router advertisements to the registry.
type advertisementCollector struct {
	*advertisements
	gaps                                                          *prometheus.HistogramVec
	sent, missed, solicitations, unanswered, failed, contradicted *prometheus.Desc
}

func newAdvertisementCollector(a *advertisements) *advertisementCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &advertisementCollector{
		advertisements: a,
		gaps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "roam6_ra_gap_seconds",
			Help: "Time between two router advertisements to all nodes of an interface, as they were sent.",
			// RFC 6275 §7.5 allows 30 to 70 ms; RFC 4861 §6.2.1 has 200 to 600 s by default.
			Buckets: []float64{.029, .03, .04, .05, .06, .07, .071, .075, .09, .15, .5, 1, 3, 4, 10, 16, 30, 60, 200, 300, 400, 500, 600, 605, 1800},
		}, []string{"interface"}),
		sent:          desc("roam6_ra_sent_total", "Packets with router advertisements that were sent to all nodes, or to one.", "interface", "destination"),
		missed:        desc("roam6_ra_missed_total", "Router advertisements that came too late for the interval that mobiles rely on.", "interface"),
		solicitations: desc("roam6_ra_solicitations_total", "Router solicitations received.", "interface"),
		unanswered:    desc("roam6_ra_solicitations_unanswered_total", "Router solicitations that got no answer of their own: of somebody who is no client, or too many.", "interface", "reason"),
		failed:        desc("roam6_ra_send_errors_total", "Packets with router advertisements that could not be sent.", "interface", "reason"),
		contradicted:  desc("roam6_ra_inconsistent_total", "Advertisements of other routers that contradict ours (RFC 4861 section 6.2.7), by what they contradict.", "field"),
	}
}

// Describe implements prometheus.Collector.
func (a *advertisementCollector) Describe(to chan<- *prometheus.Desc) {
	a.gaps.Describe(to)
	for _, d := range [...]*prometheus.Desc{a.sent, a.missed, a.solicitations, a.unanswered, a.failed, a.contradicted} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (a *advertisementCollector) Collect(to chan<- prometheus.Metric) {
	a.gaps.Collect(to)
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for f := range nd.NumInconsistentFields {
		count(a.contradicted, a.inconsistent[f].Load(), f.String())
	}
	a.mu.Lock()
	names := make([]string, 0, len(a.links))
	for name := range a.links {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	links := make([]*Advertising, len(names))
	for i, name := range names {
		links[i] = a.links[name]
	}
	a.mu.Unlock()
	for i, x := range links {
		name := names[i]
		count(a.sent, x.multicast.Load(), name, "multicast")
		count(a.sent, x.unicast.Load(), name, "unicast")
		count(a.missed, x.missed.Load(), name)
		count(a.solicitations, x.solicitations.Load(), name)
		count(a.unanswered, x.refused.Load(), name, "refused")
		count(a.unanswered, x.source.Load(), name, "source_limit")
		count(a.unanswered, x.link.Load(), name, "link_limit")
		count(a.unanswered, x.memory.Load(), name, "memory")
		count(a.unanswered, x.queue.Load(), name, "queue")
		x.mu.Lock()
		failures := make(map[string]uint64, len(x.errors))
		for reason, n := range x.errors {
			failures[reason] = n
		}
		x.mu.Unlock()
		for reason, n := range failures {
			count(a.failed, n, name, reason)
		}
	}
}
