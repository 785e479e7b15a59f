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
	exhaustions                                sum[string]
	agentChanges, anchorChanges                changeSums
	agentDuplicates, anchorDuplicates          sum[string]
	encapPackets, encapBytes                   sum[overlay.Key]
	decapPackets, decapBytes                   sum[overlay.Key]
	routedOut, routedOutBytes                  sum[overlay.Pair]
	routedIn, routedInBytes                    sum[overlay.Pair]

	desc stateDescriptions
}

type stateDescriptions struct {
	mobiles, atHome, registered, remaining, uplinksUp   *prometheus.Desc
	connected, outages, remainingRatio                  *prometheus.Desc
	updates, retransmissions                            *prometheus.Desc
	anchored, localUpdates, localRetransmissions        *prometheus.Desc
	anchorFailures, anchorBindings, anchorBindingsLimit *prometheus.Desc
	bindings, bindingsLimit, changes                    *prometheus.Desc
	correspondent, correspondentLimit                   *prometheus.Desc
	duplicates, overruns, eventsLost                    *prometheus.Desc
	tunnels, tunnelPackets, tunnelBytes, packetsDropped *prometheus.Desc
	routes, routePackets, routeBytes                    *prometheus.Desc
	leases, delegated, exhausted                        *prometheus.Desc
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
		remainingRatio:  desc("roam6_registration_remaining_ratio", "The least share that is left of the lifetime that a registration was granted; absent without one. One that is renewed in time stays above a half."),
		connected:       desc("roam6_connected", "Mobile nodes and routers of this daemon to whose home address packets arrive, as far as it can know: away, what the home agent has acknowledged leads to where it is, by an anchor that has acknowledged it too where there is one between; at home, the return is complete. What is broken beyond the access router shows when an update or the tunnel goes unanswered."),
		outages:         desc("roam6_outage_seconds_total", "Time in which mobiles of this daemon were not connected (roam6_connected), all together, up to the scrape. It begins with the event that told of it, or with the daemon, and ends with the acknowledgement. What passed before the daemon noticed is not in it, and packets may arrive earlier: after a restart, or where the home agent has an update whose acknowledgement is still on its way."),
		uplinksUp:       desc("roam6_uplinks_up", "Uplinks of mobile nodes and routers that have a carrier."),
		updates:         desc("roam6_binding_updates_sent_total", "Binding updates sent, retransmissions included."),
		retransmissions: desc("roam6_binding_update_retransmissions_total", "Binding updates sent again for want of an acknowledgement."),
		anchored:        desc("roam6_anchored", "Mobile nodes and routers of this daemon whose registration with their home agent goes by a mobility anchor point."),

		localUpdates:         desc("roam6_local_binding_updates_sent_total", "Binding updates sent to mobility anchor points, retransmissions included; roam6_binding_updates_sent_total counts those to home agents."),
		localRetransmissions: desc("roam6_local_binding_update_retransmissions_total", "Binding updates sent again to mobility anchor points for want of an acknowledgement."),
		anchorFailures:       desc("roam6_anchor_failures_total", "Times that a mobility anchor point refused, did not answer in time, or was said to have failed."),
		anchorBindings:       desc("roam6_anchor_bindings", "Bindings of visitors that are registered with this daemon's mobility anchor points."),
		anchorBindingsLimit:  desc("roam6_anchor_bindings_limit", "Most bindings that this daemon's mobility anchor points accept; absent without an anchor."),

		bindings:      desc("roam6_bindings", "Bindings of mobiles that are registered with this daemon's home agents."),
		bindingsLimit: desc("roam6_bindings_limit", "Home addresses of the mobiles that may register with this daemon's home agents, and so the most bindings there can be; absent without a home agent."),
		changes:       desc("roam6_binding_changes_total", "What became of bindings with this daemon, by the role that has them: a move is another care-of address, an expiration an end without a de-registration.", "role", "change"),
		correspondent: desc("roam6_correspondent_bindings", "Bindings of mobile nodes that optimised their routes to this node."),

		correspondentLimit: desc("roam6_correspondent_bindings_limit", "Most such bindings that this node accepts; absent where it makes none."),

		duplicates:     desc("roam6_duplicate_addresses_total", "Addresses that duplicate address detection found taken.", "address"),
		overruns:       desc("roam6_netlink_overruns_total", "Times that notifications of the kernel were lost and its state was read anew."),
		eventsLost:     desc("roam6_events_lost_total", "What happened (a message, a change of a link) and was lost because the daemon had too much to do."),
		tunnels:        desc("roam6_tunnels", "Tunnels that the data plane carries out.", "plane"),
		tunnelPackets:  desc("roam6_tunnel_packets_total", "Inner packets of all tunnels; out is encapsulated, in is decapsulated.", "direction"),
		tunnelBytes:    desc("roam6_tunnel_bytes_total", "Octets of the inner packets of all tunnels.", "direction"),
		routes:         desc("roam6_optimised_routes", "Optimised routes that the data plane carries out; side is what this node is.", "side"),
		routePackets:   desc("roam6_optimised_packets_total", "Packets that took an optimised route, not the home agent.", "direction"),
		routeBytes:     desc("roam6_optimised_bytes_total", "Octets of the packets that took an optimised route, without its headers.", "direction"),
		packetsDropped: desc("roam6_packets_dropped_total", "Packets that the data plane dropped.", "plane", "reason"),
		leases:         desc("roam6_dhcp_leases", "Addresses and prefixes that this node has from DHCPv6 servers.", "kind"),
		delegated:      desc("roam6_delegated_prefixes", "Prefixes that mobile routers have by delegation of this daemon's home agents."),
		exhausted:      desc("roam6_delegation_exhaustions_total", "Requests of mobile routers for a prefix when no pool of their home agent had one left."),
		resident:       desc("process_resident_memory_bytes", "Resident memory of the daemon."),
	}}
}

func (c *stateCollector) Describe(to chan<- *prometheus.Desc) {
	d := c.desc
	for _, d := range [...]*prometheus.Desc{
		d.mobiles, d.atHome, d.registered, d.remaining, d.remainingRatio, d.connected, d.outages, d.uplinksUp, d.updates, d.retransmissions, d.bindings, d.bindingsLimit,
		d.anchored, d.localUpdates, d.localRetransmissions, d.anchorFailures, d.anchorBindings, d.anchorBindingsLimit,
		d.changes, d.leases, d.delegated, d.exhausted, d.correspondent, d.correspondentLimit, d.eventsLost, d.routes, d.routePackets, d.routeBytes,
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
	out.gauge(c.desc.connected, float64(s.Connected))
	to <- prometheus.MustNewConstMetric(c.desc.outages, prometheus.CounterValue, s.Outages.Seconds())
	c.agents(out, s.Agents)
	c.anchors(out, s.Anchors)
	c.correspondents(out, s)
	out.gauge(c.desc.leases, float64(s.LeasedAddresses), "address")
	out.gauge(c.desc.leases, float64(s.LeasedPrefixes), "prefix")
	c.delegators(out, s.Delegators)
	out.counter(c.desc.overruns, s.NetlinkOverruns)
	out.counter(c.desc.eventsLost, s.EventsLost)
	if s.Plane != "" {
		c.plane(out, s)
	}
}

func (c *stateCollector) mobiles(out emitter, mobiles []mn.Snapshot) {
	var atHome, registered, anchored, up int
	var remaining time.Duration
	ratio := 1.0
	for _, s := range mobiles {
		if s.Attachment.AtHome {
			atHome++
		}
		if s.Update.Registered {
			if registered == 0 || s.Update.Remaining < remaining {
				remaining = s.Update.Remaining
			}
			registered++
			if s.Update.Granted > 0 {
				ratio = min(ratio, max(s.Update.Remaining.Seconds(), 0)/s.Update.Granted.Seconds())
			}
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
		out.gauge(c.desc.remainingRatio, ratio)
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
	bindings, limit := 0, 0
	for _, a := range agents {
		bindings += a.Bindings
		limit += a.Limit
		c.agentChanges.add(a.Name, a.Changes)
		c.agentDuplicates.add(a.Name, a.Duplicates)
	}
	out.gauge(c.desc.bindings, float64(bindings))
	if len(agents) > 0 {
		out.gauge(c.desc.bindingsLimit, float64(limit))
	}
	out.counter(c.desc.duplicates, c.agentDuplicates.take(), "home")
	out.changes(c.desc.changes, c.agentChanges.take(), RoleAgent)
}

func (c *stateCollector) anchors(out emitter, anchors []Anchor) {
	bindings, limit := 0, 0
	for _, a := range anchors {
		bindings += a.Bindings
		limit += a.Limit
		c.anchorChanges.add(a.Name, a.Changes)
		c.anchorDuplicates.add(a.Name, a.Duplicates)
	}
	out.gauge(c.desc.anchorBindings, float64(bindings))
	if len(anchors) > 0 {
		out.gauge(c.desc.anchorBindingsLimit, float64(limit))
	}
	out.counter(c.desc.duplicates, c.anchorDuplicates.take(), "regional")
	out.changes(c.desc.changes, c.anchorChanges.take(), RoleAnchor)
}

func (c *stateCollector) correspondents(out emitter, s State) {
	out.gauge(c.desc.correspondent, float64(s.CorrespondentBindings))
	if s.CorrespondentLimit > 0 {
		out.gauge(c.desc.correspondentLimit, float64(s.CorrespondentLimit))
	}
	out.changes(c.desc.changes, s.CorrespondentChanges, RoleCorrespondent)
}

func (c *stateCollector) delegators(out emitter, delegators []Delegator) {
	prefixes := 0
	for _, d := range delegators {
		prefixes += d.Prefixes
		c.exhaustions.add(d.Name, d.Exhaustions)
	}
	out.gauge(c.desc.delegated, float64(prefixes))
	out.counter(c.desc.exhausted, c.exhaustions.take())
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
