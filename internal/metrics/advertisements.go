package metrics

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roam6/nd"
)

// Advertising counts the router advertisements of one interface. Interfaces have
// their own numbers: those that serve mobiles advertise a thousand times as often as
// others. Their names are those of the configuration.
type Advertising struct {
	gap                           prometheus.Observer
	multicast, unicast, missed    atomic.Uint64
	solicitations                 atomic.Uint64
	refused, source, link, memory atomic.Uint64
	queue                         atomic.Uint64

	mu     sync.Mutex
	errors map[string]uint64
}

// Gap observes the time between two advertisements to all nodes, as they were sent.
func (a *Advertising) Gap(d time.Duration) { a.gap.Observe(d.Seconds()) }

// Sent counts a packet that was sent to all nodes or to one.
func (a *Advertising) Sent(multicast bool) {
	if multicast {
		a.multicast.Add(1)
	} else {
		a.unicast.Add(1)
	}
}

// Failed counts a packet that could not be sent, by a short name of the reason.
func (a *Advertising) Failed(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.errors == nil {
		a.errors = make(map[string]uint64)
	}
	a.errors[reason]++
}

// SolicitationLost counts a solicitation that had no room among those that wait for
// the advertiser.
func (a *Advertising) SolicitationLost() {
	a.solicitations.Add(1)
	a.queue.Add(1)
}

// Count adds what an advertiser's statistics are more than they were before.
func (a *Advertising) Count(before, now nd.AdvertiserStatistics) {
	for _, x := range [...]struct {
		counter     *atomic.Uint64
		before, now uint64
	}{
		{&a.missed, before.Missed, now.Missed},
		{&a.solicitations, before.Solicitations, now.Solicitations},
		{&a.refused, before.Refused, now.Refused},
		{&a.source, before.LimitedBySource, now.LimitedBySource},
		{&a.link, before.LimitedByLink, now.LimitedByLink},
		{&a.memory, before.Overflowed, now.Overflowed},
	} {
		if x.now > x.before {
			x.counter.Add(x.now - x.before)
		}
	}
}

// advertisements are the router advertisements of all interfaces, and what other
// routers' contradict.
type advertisements struct {
	gaps         *prometheus.HistogramVec
	inconsistent [nd.NumInconsistentFields]atomic.Uint64

	mu    sync.Mutex
	links map[string]*Advertising

	sent, missed, solicitations, unanswered, failed, contradicted *prometheus.Desc
}

func newAdvertisements() *advertisements {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &advertisements{
		gaps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "roam6_ra_gap_seconds",
			Help: "Time between two router advertisements to all nodes of an interface, as they were sent.",
			// RFC 6275 §7.5 allows 30 to 70 ms; RFC 4861 §6.2.1 has 200 to 600 s by default.
			Buckets: []float64{.029, .03, .04, .05, .06, .07, .071, .075, .09, .15, .5, 1, 3, 4, 10, 16, 30, 60, 200, 300, 400, 500, 600, 605, 1800},
		}, []string{"interface"}),
		links:         make(map[string]*Advertising),
		sent:          desc("roam6_ra_sent_total", "Packets with router advertisements that were sent to all nodes, or to one.", "interface", "destination"),
		missed:        desc("roam6_ra_missed_total", "Router advertisements that came too late for the interval that mobiles rely on.", "interface"),
		solicitations: desc("roam6_ra_solicitations_total", "Router solicitations received.", "interface"),
		unanswered:    desc("roam6_ra_solicitations_unanswered_total", "Router solicitations that got no answer of their own: of somebody who is no client, or too many.", "interface", "reason"),
		failed:        desc("roam6_ra_send_errors_total", "Packets with router advertisements that could not be sent.", "interface", "reason"),
		contradicted:  desc("roam6_ra_inconsistent_total", "Advertisements of other routers that contradict ours (RFC 4861 section 6.2.7), by what they contradict.", "field"),
	}
}

// Advertising returns the counters of an interface.
func (m *Metrics) Advertising(name string) *Advertising {
	a := m.advertisements
	a.mu.Lock()
	defer a.mu.Unlock()
	x := a.links[name]
	if x == nil {
		x = &Advertising{gap: a.gaps.WithLabelValues(name)}
		a.links[name] = x
	}
	return x
}

// Inconsistent counts a field in which an advertisement of another router contradicts
// ours.
func (m *Metrics) Inconsistent(f nd.InconsistentField) {
	if f < nd.NumInconsistentFields {
		m.advertisements.inconsistent[f].Add(1)
	}
}

// Describe implements prometheus.Collector.
func (a *advertisements) Describe(to chan<- *prometheus.Desc) {
	a.gaps.Describe(to)
	for _, d := range [...]*prometheus.Desc{a.sent, a.missed, a.solicitations, a.unanswered, a.failed, a.contradicted} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (a *advertisements) Collect(to chan<- prometheus.Metric) {
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
