// Package metrics is what a monitoring system sees of a daemon: Prometheus
// metrics, and a small HTTP endpoint for them.
//
// Two kinds of values. What happens is counted here, by the methods of Metrics,
// which are cheap and safe for use by several goroutines. What is (bindings,
// registrations, tunnels) is asked for at each scrape through a Source. No
// metric has a label for a mobile, a home address or a care-of address: their
// number is the network's business, not the monitoring system's.
//
// The registry is Prometheus's own; the endpoint and the text format are ours,
// since its HTTP handler would be a quarter of the router's binary.
package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roam6/internal/role"
	"roam6/mip6"
)

// Metrics are the metrics of one daemon.
type Metrics struct {
	registry       *prometheus.Registry
	events         events
	phases         *prometheus.HistogramVec
	exchanges      *exchanges
	advertisements *advertisements
	state          *stateCollector
}

// events are the counters of what happens. They are fields and arrays indexed
// by the label's value rather than labelled counters of the library: counting is
// one atomic addition, every value is there from the first scrape, and show can
// read them.
type events struct {
	dropped       [256]atomic.Uint64 // by role.DropReason
	ackSent       acknowledged
	ackReceived   acknowledged
	handovers     [256]atomic.Uint64 // by role.Trigger
	sent          exchanged
	received      exchanged
	advertised    atomic.Uint64
	reloads       atomic.Uint64
	reloadsFailed atomic.Uint64
	dhcp          dhcpEvents
}

// acknowledged counts binding acknowledgements by role and mip6.Status.
type acknowledged [roles][256]atomic.Uint64

// New returns the metrics of a daemon of that version, all zero.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "roam6_handover_phase_seconds",
			Help:    "Time that each phase of a completed handover took; total is from its first event to the binding acknowledgement.",
			Buckets: []float64{.001, .002, .005, .01, .02, .03, .05, .075, .1, .15, .2, .3, .5, 1, 2, 5, 10},
		}, []string{"phase"}),
		exchanges:      newExchanges(),
		advertisements: newAdvertisements(),
		state:          newStateCollector(),
	}
	for _, p := range phaseNames() {
		m.phases.WithLabelValues(p)
	}
	m.registry.MustRegister(
		constant("roam6_build_info", "Always 1; the version is the label.", 1, "version", version),
		constant("process_start_time_seconds", "Start of the daemon, in seconds since 1970 by the clock at that time.",
			float64(time.Now().UnixMilli())/1000),
		newEventCollector(&m.events),
		m.phases,
		m.exchanges.took,
		m.advertisements,
		m.state,
	)
	return m
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

// Dropped counts a signalling message that was not accepted.
func (m *Metrics) Dropped(r role.DropReason) { m.events.dropped[r].Add(1) }

// Acknowledged counts a binding acknowledgement that a role sent or accepted.
func (m *Metrics) Acknowledged(r Role, a role.Acknowledged) {
	if a.Sent {
		m.events.ackSent[r][a.Status].Add(1)
	} else {
		m.events.ackReceived[r][a.Status].Add(1)
	}
}

// Handover counts a completed handover and the time of its phases.
func (m *Metrics) Handover(h role.Handover) {
	m.events.handovers[h.Trigger].Add(1)
	phases := durations(h)
	for name, d := range phases {
		m.phases.WithLabelValues(name).Observe(d.Seconds())
	}
}

// AdvertisementSent counts a router advertisement.
func (m *Metrics) AdvertisementSent() { m.events.advertised.Add(1) }

// Reloaded counts an attempt to reload the configuration, by its outcome.
func (m *Metrics) Reloaded(err error) {
	if err != nil {
		m.events.reloadsFailed.Add(1)
	} else {
		m.events.reloads.Add(1)
	}
}

// MessagesDropped returns the counts of Dropped that are not zero.
func (m *Metrics) MessagesDropped() map[role.DropReason]uint64 {
	return counted[role.DropReason](&m.events.dropped)
}

// Acknowledgements returns the counts of Acknowledged that are not zero, of all roles
// together.
func (m *Metrics) Acknowledgements() (sent, received map[mip6.Status]uint64) {
	return m.events.ackSent.total(), m.events.ackReceived.total()
}

func (a *acknowledged) total() map[mip6.Status]uint64 {
	counts := make(map[mip6.Status]uint64)
	for r := range a {
		for s, n := range counted[mip6.Status](&a[r]) {
			counts[s] += n
		}
	}
	return counts
}

// Advertisements returns the count of AdvertisementSent.
func (m *Metrics) Advertisements() uint64 { return m.events.advertised.Load() }

// Reloads returns the counts of Reloaded.
func (m *Metrics) Reloads() (succeeded, failed uint64) {
	return m.events.reloads.Load(), m.events.reloadsFailed.Load()
}

func counted[K ~uint8](counters *[256]atomic.Uint64) map[K]uint64 {
	counts := make(map[K]uint64)
	for i := range counters {
		if n := counters[i].Load(); n != 0 {
			counts[K(i)] = n
		}
	}
	return counts
}

// eventCollector gives the events to the registry.
type eventCollector struct {
	events *events

	dropped, exchanged, acks, handovers, advertised, reloads *prometheus.Desc
	dhcpMessages, dhcpDropped                                *prometheus.Desc
	// Label values that are there from the start.
	reasons  []role.DropReason
	statuses []mip6.Status
	triggers []role.Trigger
}

func newEventCollector(e *events) *eventCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &eventCollector{
		events:       e,
		dropped:      desc("roam6_messages_dropped_total", "Signalling messages that were not accepted.", "reason"),
		exchanged:    desc("roam6_messages_total", "Mobile IPv6 messages that a role sent, and those that it was given, accepted or not.", "role", "direction", "type"),
		acks:         desc("roam6_binding_acknowledgements_total", "Binding acknowledgements that a role sent or accepted; a status of 128 or more is a refusal.", "role", "direction", "status"),
		handovers:    desc("roam6_handovers_total", "Completed handovers, by what made the mobile move.", "trigger"),
		advertised:   desc("roam6_router_advertisements_sent_total", "Router advertisements sent."),
		reloads:      desc("roam6_reloads_total", "Reloads of the configuration; a failed one leaves the running configuration in force.", "result"),
		dhcpMessages: desc("roam6_dhcp_messages_total", "DHCPv6 messages sent, and those that a client, a server or a relay of this node was given, accepted or not.", "direction", "type"),
		dhcpDropped:  desc("roam6_dhcp_messages_dropped_total", "DHCPv6 messages that were not accepted.", "reason"),
		reasons:      named(role.DropMalformed),
		statuses:     statuses(),
		triggers:     named(role.TriggerStart),
	}
}

// named lists the values of an enumeration from the first on, which ends where
// the names do.
func named[E interface {
	~uint8
	String() string
}](first E) []E {
	var list []E
	for e := first; e.String() != E(0).String(); e++ {
		list = append(list, e)
	}
	return list
}

// statuses are the ones of the RFCs that a home agent sends: the others appear
// when they occur.
func statuses() []mip6.Status {
	list := []mip6.Status{mip6.StatusAccepted, mip6.StatusPrefixDiscoveryNecessary}
	for s := mip6.StatusReasonUnspecified; s <= mip6.StatusAuthenticationFailed; s++ {
		list = append(list, s)
	}
	return append(list, mip6.StatusInvalidCareOfAddress)
}

func (c *eventCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range [...]*prometheus.Desc{c.dropped, c.exchanged, c.acks, c.handovers, c.advertised, c.reloads, c.dhcpMessages, c.dhcpDropped} {
		to <- d
	}
}

func (c *eventCollector) Collect(to chan<- prometheus.Metric) {
	e := c.events
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	each(&e.dropped, c.reasons, func(r role.DropReason, n uint64) { count(c.dropped, n, r.String()) })
	c.messages(to)
	c.acknowledgements(to)
	each(&e.handovers, c.triggers, func(t role.Trigger, n uint64) { count(c.handovers, n, t.String()) })
	count(c.advertised, e.advertised.Load())
	count(c.reloads, e.reloads.Load(), "success")
	count(c.reloads, e.reloadsFailed.Load(), "failure")
	c.dhcp(to)
}

// each calls do for the values that are always told, and for the others that
// occurred.
func each[K ~uint8](counters *[256]atomic.Uint64, always []K, do func(K, uint64)) {
	var done [256]bool
	for _, k := range always {
		done[k] = true
		do(k, counters[k].Load())
	}
	for i := range counters {
		if n := counters[i].Load(); n != 0 && !done[i] {
			do(K(i), n)
		}
	}
}
