package node

import (
	"context"
	"time"

	"roam6/internal/control"
	"roam6/internal/metrics"
	"roam6/mn"
)

// Show implements control.Handler: it asks the loop for a document.
func (s *Shell) Show(ctx context.Context, t control.Topic) (control.Document, error) {
	var d control.Document
	err := s.ask(ctx, func(now time.Time) { d = s.document(now, t) })
	return d, err
}

// document makes the answer to a topic. It runs in the loop.
func (s *Shell) document(now time.Time, t control.Topic) control.Document {
	switch t {
	case control.TopicBindings:
		return s.bindings(now)
	case control.TopicUpdates:
		d := control.Updates{Updates: []control.Update{}}
		for _, h := range s.mobiles {
			d.Updates = append(d.Updates, control.UpdateOf(h.machine.Snapshot(now)))
		}
		return d
	case control.TopicHomeAgents:
		return s.homeAgents(now)
	case control.TopicPrefixes:
		return s.prefixes(now)
	case control.TopicUplinks:
		d := control.Uplinks{Uplinks: []control.MobileUplink{}}
		for _, h := range s.mobiles {
			d.Uplinks = append(d.Uplinks, control.UplinksOf(h.machine.Snapshot(now))...)
		}
		return d
	case control.TopicTunnels:
		return s.tunnels(now)
	case control.TopicHandovers:
		d := control.Handovers{Handovers: []control.Handover{}}
		for _, h := range s.handovers.last {
			d.Handovers = append(d.Handovers, control.HandoverOf(h, now))
		}
		return d
	case control.TopicStats:
		return s.stats(now)
	case control.TopicStatus:
		return s.status(now)
	case control.TopicAdvertisements:
		return s.showAdvertisements(now)
	case control.TopicLeases:
		return s.leases(now)
	case control.TopicDelegations:
		return s.delegations(now)
	case control.TopicAnchors:
		return s.anchorDocument(now)
	}
	return nil
}

func (s *Shell) stats(now time.Time) control.Stats {
	sent, received := s.metrics.Acknowledgements()
	d := control.Stats{
		Version: s.version, Uptime: control.Seconds(now.Sub(s.started)),
		MessagesDropped:  control.MessagesDroppedOf(s.metrics.MessagesDropped()),
		PacketsDropped:   map[string]uint64{},
		Acknowledgements: control.AcknowledgementsOf(sent, received),
		Messages:         []control.Messages{},
		DHCP:             []control.DHCPMessages{},
		DHCPDropped:      control.MessagesDroppedOf(s.metrics.DHCPMessagesDropped()),
		Daemon: control.DaemonStats{
			RouterAdvertisementsSent: s.metrics.Advertisements(),
			NetlinkOverruns:          s.watcher.Counters().Resubscribed,
			EventsLost:               s.lostEvents.Load(),
			Budget:                   budget(),
		},
	}
	d.Daemon.Reloads, d.Daemon.ReloadsFailed = s.metrics.Reloads()
	if s.plane != nil {
		for r, n := range s.plane.Drops() {
			d.PacketsDropped[r.String()] = n
		}
	}
	for _, m := range s.metrics.Messages() {
		d.Messages = append(d.Messages, control.Messages{Role: m.Role.String(), Type: m.Type, Sent: m.Sent, Received: m.Received})
	}
	for _, m := range s.metrics.DHCPMessages() {
		d.DHCP = append(d.DHCP, control.DHCPMessages{Type: m.Type, Sent: m.Sent, Received: m.Received})
	}
	if s.correspondent != nil {
		d.Correspondent = &control.CorrespondentStats{Enabled: s.config.Correspondent.Enabled, Bindings: s.correspondent.machine.Stats().Bindings}
	}
	for _, h := range s.mobiles {
		if d.Mobile == nil {
			d.Mobile = new(control.MobileStats)
		}
		x := h.machine.Snapshot(now).Stats
		d.Mobile.UpdatesSent += x.UpdatesSent
		d.Mobile.Retransmissions += x.Retransmissions
		d.Mobile.LateAcknowledgements += x.LateAcknowledgements
		d.Mobile.Handovers += x.Handovers
		d.Mobile.Duplicates += x.Duplicates
		d.Mobile.LocalUpdatesSent += x.LocalUpdates
		d.Mobile.LocalRetransmissions += x.LocalRetransmissions
		d.Mobile.AnchorFailures += x.AnchorFailures
	}
	d.Agent = s.agentStats()
	d.Anchor = s.anchorStats()
	return d
}

// agentStats are the counters of all home agents; nil where there is none.
func (s *Shell) agentStats() (sum *control.AgentStats) {
	for _, h := range s.agents {
		if sum == nil {
			sum = new(control.AgentStats)
		}
		x := h.machine.Stats()
		sum.Mobiles += x.Mobiles
		sum.Bindings += x.Bindings
		sum.Probing += x.Probing
		sum.Deleted += x.Deleted
		sum.Registrations += x.Registrations
		sum.Refreshes += x.Refreshes
		sum.Moves += x.Moves
		sum.Deregistrations += x.Deregistrations
		sum.Expirations += x.Expirations
		sum.Restored += x.Restored
		sum.Duplicates += x.Duplicates
		sum.Conflicts += x.Conflicts
	}
	return sum
}

// metricsSource asks the loop for what a scrape shows.
type metricsSource struct{ s *Shell }

// State implements metrics.Source.
func (m metricsSource) State(ctx context.Context) (metrics.State, error) {
	var state metrics.State
	err := m.s.ask(ctx, func(now time.Time) {
		state.NetlinkOverruns, state.EventsLost = m.s.watcher.Counters().Resubscribed, m.s.lostEvents.Load()
		state.Connected, state.Outages = m.s.connections(now)
		state.Mobiles = []mn.Snapshot{}
		for _, h := range m.s.mobiles {
			state.Mobiles = append(state.Mobiles, h.machine.Snapshot(now))
		}
		for _, h := range m.s.agents {
			x := h.machine.Stats()
			state.Agents = append(state.Agents, metrics.Agent{
				Name: h.config.Name, Bindings: x.Bindings, Limit: x.Homes, Duplicates: x.Duplicates,
				Changes: metrics.BindingChanges{Registrations: x.Registrations, Refreshes: x.Refreshes, Moves: x.Moves, Deregistrations: x.Deregistrations, Expirations: x.Expirations},
			})
		}
		state.Anchors = m.s.anchorState()
		if m.s.correspondent != nil {
			x := m.s.correspondent.machine.Stats()
			state.CorrespondentBindings = x.Bindings
			if c := m.s.config.Correspondent; c.Enabled {
				state.CorrespondentLimit = c.MaxBindings
			}
			state.CorrespondentChanges = metrics.BindingChanges{Registrations: x.Registrations, Refreshes: x.Refreshes, Moves: x.Moves, Deregistrations: x.Deregistrations, Expirations: x.Expirations}
		}
		m.s.dhcpState(now, &state)
		if m.s.plane != nil {
			state.Plane = m.s.plane.Name()
			state.Tunnels, state.Routes, state.Drops = m.s.plane.Tunnels(), m.s.plane.Routes(), m.s.plane.Drops()
		}
	})
	return state, err
}
