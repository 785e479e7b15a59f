//go:build !nometrics

package metrics

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"roam6/internal/role"
	"roam6/mip6"
)

// eventCollector gives the events to the registry.
type eventCollector struct {
	events *events

	dropped, exchanged, acks, handovers, advertised, reloads *prometheus.Desc
	reloaded                                                 *prometheus.Desc
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
		reloaded:     desc("roam6_last_reload_successful", "1 unless the last attempt to reload the configuration failed; 1 before the first one."),
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
	for _, d := range [...]*prometheus.Desc{c.dropped, c.exchanged, c.acks, c.handovers, c.advertised, c.reloads, c.reloaded, c.dhcpMessages, c.dhcpDropped} {
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
	successful := 1.0
	if e.reloadFailed.Load() {
		successful = 0
	}
	to <- prometheus.MustNewConstMetric(c.reloaded, prometheus.GaugeValue, successful)
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

// usual reports whether a role exchanges a kind of message by its nature. Those
// counters are there from the start; the others appear when they occur.
func usual(r Role, k kind, sent bool) bool {
	mobile := func(k kind) bool { // what a mobile sends, and its partners receive
		switch k {
		case kind(mip6.TypeHomeTestInit), kind(mip6.TypeCareOfTestInit), kind(mip6.TypeBindingUpdate):
			return true
		}
		return k == mobilityKinds || k == mobilityKinds+kind(mip6.ICMPPrefixSolicitation-mip6.ICMPHomeAgentRequest)
	}
	tests := func(k kind) bool { // the return routability procedure
		return k >= kind(mip6.TypeHomeTestInit) && k <= kind(mip6.TypeCareOfTest)
	}
	switch r {
	case RoleNode:
		return sent && k == kind(mip6.TypeBindingError)
	case RoleMobile:
		return mobile(k) == sent
	case RoleAgent:
		return mobile(k) != sent && !tests(k) && k != kind(mip6.TypeBindingError)
	case RoleAnchor:
		return mobile(k) != sent && k < mobilityKinds && !tests(k) && k != kind(mip6.TypeBindingError)
	case RoleCorrespondent:
		return mobile(k) != sent && k < mobilityKinds
	default:
		return false
	}
}

// usualStatus reports whether a role sends or receives acknowledgements by its nature,
// with every status of the RFCs. The others' appear when they occur.
func usualStatus(r Role, sent bool) bool {
	switch r {
	case RoleMobile:
		return !sent
	case RoleAgent, RoleAnchor, RoleCorrespondent:
		return sent
	default:
		return false
	}
}

func (c *eventCollector) acknowledgements(to chan<- prometheus.Metric) {
	for r := range roles {
		for _, d := range [...]struct {
			name     string
			sent     bool
			counters *[256]atomic.Uint64
		}{{"sent", true, &c.events.ackSent[r]}, {"received", false, &c.events.ackReceived[r]}} {
			var always []mip6.Status
			if usualStatus(r, d.sent) {
				always = c.statuses
			}
			each(d.counters, always, func(s mip6.Status, n uint64) {
				to <- prometheus.MustNewConstMetric(c.acks, prometheus.CounterValue, float64(n), r.String(), d.name, strconv.Itoa(int(s)))
			})
		}
	}
}

func (c *eventCollector) messages(to chan<- prometheus.Metric) {
	for r := range roles {
		for k := range kinds {
			for _, d := range [...]struct {
				name     string
				sent     bool
				counters *exchanged
			}{{"sent", true, &c.events.sent}, {"received", false, &c.events.received}} {
				if n := d.counters[r][k].Load(); n != 0 || usual(r, k, d.sent) {
					to <- prometheus.MustNewConstMetric(c.exchanged, prometheus.CounterValue, float64(n), r.String(), d.name, k.String())
				}
			}
		}
	}
}

func (c *eventCollector) dhcp(to chan<- prometheus.Metric) {
	e := &c.events.dhcp
	for t := range uint8(dhcpKinds) {
		name := dhcpName(t)
		if name == "" {
			continue
		}
		to <- prometheus.MustNewConstMetric(c.dhcpMessages, prometheus.CounterValue, float64(e.sent[t].Load()), "sent", name)
		to <- prometheus.MustNewConstMetric(c.dhcpMessages, prometheus.CounterValue, float64(e.received[t].Load()), "received", name)
	}
	each(&e.dropped, c.reasons, func(r role.DropReason, n uint64) {
		to <- prometheus.MustNewConstMetric(c.dhcpDropped, prometheus.CounterValue, float64(n), r.String())
	})
}
