//go:build !nometrics

package metrics

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roam6/mn"
	"roam6/overlay"
)

// stateTime bounds the wait for a source: a scrape must get the other metrics
// even where the roles are stuck.
const stateTime = 2 * time.Second

// stateCollector gives a source's state to the registry.
type stateCollector struct {
	mu     sync.Mutex
	source Source

	// Sums over parts that come and go, each of which counts for itself.
	updates, retransmissions, mobileDuplicates sum[netip.Addr]
	localUpdates, localRetransmissions         sum[netip.Addr]
	anchorFailures                             sum[netip.Addr]
	agentDuplicates, anchorDuplicates          sum[string]
	encapPackets, encapBytes                   sum[overlay.Key]
	decapPackets, decapBytes                   sum[overlay.Key]
	routedOut, routedOutBytes                  sum[overlay.Pair]
	routedIn, routedInBytes                    sum[overlay.Pair]

	desc stateDescriptions
}

type stateDescriptions struct {
	mobiles, atHome, registered, remaining, uplinksUp   *prometheus.Desc
	updates, retransmissions                            *prometheus.Desc
	anchored, localUpdates, localRetransmissions        *prometheus.Desc
	anchorFailures, anchorBindings, anchorBindingsLimit *prometheus.Desc
	bindings, bindingsLimit, correspondent              *prometheus.Desc
	duplicates, overruns                                *prometheus.Desc
	tunnels, tunnelPackets, tunnelBytes, packetsDropped *prometheus.Desc
	routes, routePackets, routeBytes                    *prometheus.Desc
	leases, delegated                                   *prometheus.Desc
	resident                                            *prometheus.Desc
}

func newStateCollector() *stateCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &stateCollector{desc: stateDescriptions{
		mobiles:         desc("roam6_mobiles", "Mobile nodes and routers that this daemon is."),
		atHome:          desc("roam6_at_home", "Mobile nodes and routers of this daemon that are attached to their home link."),
		registered:      desc("roam6_registered", "Mobile nodes and routers of this daemon with a registration that their home agent has acknowledged."),
		remaining:       desc("roam6_registration_remaining_seconds", "Time left until the first of the registrations expires; absent without one."),
		uplinksUp:       desc("roam6_uplinks_up", "Uplinks of mobile nodes and routers that have a carrier."),
		updates:         desc("roam6_binding_updates_sent_total", "Binding updates sent, retransmissions included."),
		retransmissions: desc("roam6_binding_update_retransmissions_total", "Binding updates sent again for want of an acknowledgement."),
		anchored:        desc("roam6_anchored", "Mobile nodes and routers of this daemon whose registration with their home agent goes by a mobility anchor point."),

		localUpdates:         desc("roam6_local_binding_updates_sent_total", "Binding updates sent to mobility anchor points, retransmissions included; roam6_binding_updates_sent_total counts those to home agents."),
		localRetransmissions: desc("roam6_local_binding_update_retransmissions_total", "Binding updates sent again to mobility anchor points for want of an acknowledgement."),
		anchorFailures:       desc("roam6_anchor_failures_total", "Times that a mobility anchor point refused, did not answer in time, or was said to have failed."),
		anchorBindings:       desc("roam6_anchor_bindings", "Bindings of visitors that are registered with this daemon's mobility anchor points."),
		anchorBindingsLimit:  desc("roam6_anchor_bindings_limit", "Most bindings that this daemon's mobility anchor points accept; absent without an anchor."),

		bindings:       desc("roam6_bindings", "Bindings of mobiles that are registered with this daemon's home agents."),
		bindingsLimit:  desc("roam6_bindings_limit", "Most bindings that this daemon's home agents accept; absent without a limit."),
		correspondent:  desc("roam6_correspondent_bindings", "Bindings of mobile nodes that optimised their routes to this node."),
		duplicates:     desc("roam6_duplicate_addresses_total", "Addresses that duplicate address detection found taken.", "address"),
		overruns:       desc("roam6_netlink_overruns_total", "Times that notifications of the kernel were lost and its state was read anew."),
		tunnels:        desc("roam6_tunnels", "Tunnels that the data plane carries out.", "plane"),
		tunnelPackets:  desc("roam6_tunnel_packets_total", "Inner packets of all tunnels; out is encapsulated, in is decapsulated.", "direction"),
		tunnelBytes:    desc("roam6_tunnel_bytes_total", "Octets of the inner packets of all tunnels.", "direction"),
		routes:         desc("roam6_optimised_routes", "Optimised routes that the data plane carries out; side is what this node is.", "side"),
		routePackets:   desc("roam6_optimised_packets_total", "Packets that took an optimised route, not the home agent.", "direction"),
		routeBytes:     desc("roam6_optimised_bytes_total", "Octets of the packets that took an optimised route, without its headers.", "direction"),
		packetsDropped: desc("roam6_packets_dropped_total", "Packets that the data plane dropped.", "plane", "reason"),
		leases:         desc("roam6_dhcp_leases", "Addresses and prefixes that this node has from DHCPv6 servers.", "kind"),
		delegated:      desc("roam6_delegated_prefixes", "Prefixes that mobile routers have by delegation of this daemon's home agents."),
		resident:       desc("process_resident_memory_bytes", "Resident memory of the daemon."),
	}}
}

func (c *stateCollector) Describe(to chan<- *prometheus.Desc) {
	d := c.desc
	for _, d := range [...]*prometheus.Desc{
		d.mobiles, d.atHome, d.registered, d.remaining, d.uplinksUp, d.updates, d.retransmissions, d.bindings, d.bindingsLimit,
		d.anchored, d.localUpdates, d.localRetransmissions, d.anchorFailures, d.anchorBindings, d.anchorBindingsLimit,
		d.leases, d.delegated, d.correspondent, d.routes, d.routePackets, d.routeBytes,
		d.duplicates, d.overruns, d.tunnels, d.tunnelPackets, d.tunnelBytes, d.packetsDropped, d.resident,
	} {
		to <- d
	}
}

func (c *stateCollector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock() // held throughout: the sums are of one state after the other
	defer c.mu.Unlock()
	if pages, ok := residentPages(); ok {
		to <- prometheus.MustNewConstMetric(c.desc.resident, prometheus.GaugeValue, float64(pages)*float64(os.Getpagesize()))
	}
	if c.source == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stateTime)
	defer cancel()
	s, err := c.source.State(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(c.desc.mobiles, fmt.Errorf("asking the roles: %w", err))
		return
	}
	out := emitter{to}
	c.mobiles(out, s.Mobiles)
	c.agents(out, s.Agents)
	c.anchors(out, s.Anchors)
	out.gauge(c.desc.correspondent, float64(s.CorrespondentBindings))
	out.gauge(c.desc.leases, float64(s.LeasedAddresses), "address")
	out.gauge(c.desc.leases, float64(s.LeasedPrefixes), "prefix")
	out.gauge(c.desc.delegated, float64(s.DelegatedPrefixes))
	out.counter(c.desc.overruns, s.NetlinkOverruns)
	if s.Plane != "" {
		c.plane(out, s)
	}
}

func (c *stateCollector) mobiles(out emitter, mobiles []mn.Snapshot) {
	var atHome, registered, anchored, up int
	var remaining time.Duration
	for _, s := range mobiles {
		if s.Attachment.AtHome {
			atHome++
		}
		if s.Update.Registered {
			if registered == 0 || s.Update.Remaining < remaining {
				remaining = s.Update.Remaining
			}
			registered++
			if slices.ContainsFunc(s.Regional, func(r mn.Regional) bool { return r.CareOf == s.Update.CareOf }) {
				anchored++
			}
		}
		for _, u := range s.Uplinks {
			if u.Up {
				up++
			}
		}
		c.updates.add(s.HomeAddress, s.Stats.UpdatesSent)
		c.retransmissions.add(s.HomeAddress, s.Stats.Retransmissions)
		c.mobileDuplicates.add(s.HomeAddress, s.Stats.Duplicates)
		c.localUpdates.add(s.HomeAddress, s.Stats.LocalUpdates)
		c.localRetransmissions.add(s.HomeAddress, s.Stats.LocalRetransmissions)
		c.anchorFailures.add(s.HomeAddress, s.Stats.AnchorFailures)
	}
	out.gauge(c.desc.mobiles, float64(len(mobiles)))
	out.gauge(c.desc.atHome, float64(atHome))
	out.gauge(c.desc.registered, float64(registered))
	if registered > 0 {
		out.gauge(c.desc.remaining, max(remaining, 0).Seconds())
	}
	out.gauge(c.desc.anchored, float64(anchored))
	out.gauge(c.desc.uplinksUp, float64(up))
	out.counter(c.desc.localUpdates, c.localUpdates.take())
	out.counter(c.desc.localRetransmissions, c.localRetransmissions.take())
	out.counter(c.desc.anchorFailures, c.anchorFailures.take())
	out.counter(c.desc.updates, c.updates.take())
	out.counter(c.desc.retransmissions, c.retransmissions.take())
	out.counter(c.desc.duplicates, c.mobileDuplicates.take(), "care_of")
}

func (c *stateCollector) agents(out emitter, agents []Agent) {
	bindings, limit, limited := 0, 0, len(agents) > 0
	for _, a := range agents {
		bindings += a.Bindings
		limit += a.Limit
		limited = limited && a.Limit > 0
		c.agentDuplicates.add(a.Name, a.Duplicates)
	}
	out.gauge(c.desc.bindings, float64(bindings))
	if limited {
		out.gauge(c.desc.bindingsLimit, float64(limit))
	}
	out.counter(c.desc.duplicates, c.agentDuplicates.take(), "home")
}

func (c *stateCollector) anchors(out emitter, anchors []Anchor) {
	bindings, limit := 0, 0
	for _, a := range anchors {
		bindings += a.Bindings
		limit += a.Limit
		c.anchorDuplicates.add(a.Name, a.Duplicates)
	}
	out.gauge(c.desc.anchorBindings, float64(bindings))
	if len(anchors) > 0 {
		out.gauge(c.desc.anchorBindingsLimit, float64(limit))
	}
	out.counter(c.desc.duplicates, c.anchorDuplicates.take(), "regional")
}

func (c *stateCollector) plane(out emitter, s State) {
	for _, t := range s.Tunnels {
		n := t.Counters
		c.encapPackets.add(t.Key, n.EncapPackets)
		c.encapBytes.add(t.Key, n.EncapBytes)
		c.decapPackets.add(t.Key, n.DecapPackets)
		c.decapBytes.add(t.Key, n.DecapBytes)
	}
	out.gauge(c.desc.tunnels, float64(len(s.Tunnels)), s.Plane)
	out.counter(c.desc.tunnelPackets, c.encapPackets.take(), "out")
	out.counter(c.desc.tunnelPackets, c.decapPackets.take(), "in")
	out.counter(c.desc.tunnelBytes, c.encapBytes.take(), "out")
	out.counter(c.desc.tunnelBytes, c.decapBytes.take(), "in")
	c.routes(out, s.Routes)
	for reason, n := range s.Drops {
		out.counter(c.desc.packetsDropped, n, s.Plane, reason.String())
	}
}

func (c *stateCollector) routes(out emitter, routes []overlay.RouteStatus) {
	var mobile, correspondent int
	for _, r := range routes {
		if r.Side == overlay.MobileSide {
			mobile++
		} else {
			correspondent++
		}
		c.routedOut.add(r.Pair, r.EncapPackets)
		c.routedOutBytes.add(r.Pair, r.EncapBytes)
		c.routedIn.add(r.Pair, r.DecapPackets)
		c.routedInBytes.add(r.Pair, r.DecapBytes)
	}
	out.gauge(c.desc.routes, float64(mobile), RoleMobile.String())
	out.gauge(c.desc.routes, float64(correspondent), RoleCorrespondent.String())
	out.counter(c.desc.routePackets, c.routedOut.take(), "out")
	out.counter(c.desc.routePackets, c.routedIn.take(), "in")
	out.counter(c.desc.routeBytes, c.routedOutBytes.take(), "out")
	out.counter(c.desc.routeBytes, c.routedInBytes.take(), "in")
}

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

// residentPages reads the resident memory from the kernel: the second number of
// proc(5) statm.
func residentPages() (uint64, bool) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(fields[1]), 10, 64)
	return n, err == nil
}
