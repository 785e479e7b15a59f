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
// since its HTTP handler would be a quarter of the router's binary. Files that need
// the registry are not in a binary that is built with the tag nometrics: there is no
// endpoint then (none.go), and what is counted is shown by roam6 show alone.
package metrics

import (
	"sync/atomic"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// Metrics are the metrics of one daemon.
type Metrics struct {
	events         events
	phases         map[string]observer // by name; not changed
	exchanges      exchanges
	advertisements advertisements
	outage         observer
	exposition     *exposition
}

// observer is a histogram.
type observer interface{ Observe(seconds float64) }

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
	reloadFailed  atomic.Bool // the last one
	dhcp          dhcpEvents
}

// acknowledged counts binding acknowledgements by role and mip6.Status.
type acknowledged [roles][256]atomic.Uint64

// New returns the metrics of a daemon of that version, all zero.
func New(version string) *Metrics {
	m := &Metrics{phases: make(map[string]observer)}
	m.exposition = newExposition(version, m)
	for _, p := range phaseNames() {
		m.phases[p] = m.exposition.phase(p)
	}
	m.exchanges.took = m.exposition.exchange()
	m.outage = m.exposition.outage()
	return m
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
		m.phases[name].Observe(d.Seconds())
	}
}

// OutageEnded observes how long a mobile was not connected that is now.
func (m *Metrics) OutageEnded(d time.Duration) { m.outage.Observe(d.Seconds()) }

// AdvertisementSent counts a router advertisement.
func (m *Metrics) AdvertisementSent() { m.events.advertised.Add(1) }

// Reloaded counts an attempt to reload the configuration, by its outcome.
func (m *Metrics) Reloaded(err error) {
	m.events.reloadFailed.Store(err != nil)
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
