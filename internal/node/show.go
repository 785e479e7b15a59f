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
		d.Correspondent = &control.CorrespondentStats{Enabled: s.config.Correspondent.Enabled, Bindings: s.correspondent.Stats().Bindings}
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
	for _, h := range s.agents {
		if d.Agent == nil {
			d.Agent = new(control.AgentStats)
		}
		x := h.machine.Stats()
		d.Agent.Mobiles += x.Mobiles
		d.Agent.Bindings += x.Bindings
		d.Agent.Probing += x.Probing
		d.Agent.Deleted += x.Deleted
		d.Agent.Registrations += x.Registrations
		d.Agent.Refreshes += x.Refreshes
		d.Agent.Moves += x.Moves
		d.Agent.Deregistrations += x.Deregistrations
		d.Agent.Expirations += x.Expirations
		d.Agent.Restored += x.Restored
		d.Agent.Duplicates += x.Duplicates
		d.Agent.Conflicts += x.Conflicts
	}
	d.Anchor = s.anchorStats()
	return d
}

// metricsSource asks the loop for what a scrape shows.
type metricsSource struct{ s *Shell }

// State implements metrics.Source.
func (m metricsSource) State(ctx context.Context) (metrics.State, error) {
	var state metrics.State
	err := m.s.ask(ctx, func(now time.Time) {
		state.NetlinkOverruns = m.s.watcher.Counters().Resubscribed
		state.Mobiles = []mn.Snapshot{}
		for _, h := range m.s.mobiles {
			state.Mobiles = append(state.Mobiles, h.machine.Snapshot(now))
		}
		for _, h := range m.s.agents {
			x := h.machine.Stats()
			state.Agents = append(state.Agents, metrics.Agent{Name: h.config.Name, Bindings: x.Bindings, Duplicates: x.Duplicates})
		}
		state.Anchors = m.s.anchorState()
		if m.s.correspondent != nil {
			state.CorrespondentBindings = m.s.correspondent.Stats().Bindings
		}
		m.s.dhcpState(now, &state)
		if m.s.plane != nil {
			state.Plane = m.s.plane.Name()
			state.Tunnels, state.Routes, state.Drops = m.s.plane.Tunnels(), m.s.plane.Routes(), m.s.plane.Drops()
		}
	})
	return state, err
}
