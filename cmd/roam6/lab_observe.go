//go:build !nolab

package main

import (
	"context"
	"time"

	"roam6/internal/control"
	worlds "roam6/internal/lab"
	"roam6/internal/metrics"
	"roam6/internal/role"
	"roam6/mip6"
)

// labObserver asks a daemon of the lab through its control socket.
func labObserver(socket string) worlds.Observer { return observer{control.NewClient(socket)} }

type observer struct{ client *control.Client }

// Registrations are those that home agents have acknowledged.
func (o observer) Registrations(ctx context.Context) ([]worlds.Registration, error) {
	d, err := o.client.Updates(ctx)
	if err != nil {
		return nil, err
	}
	var all []worlds.Registration
	for _, u := range d.Updates {
		if u.Registered {
			all = append(all, worlds.Registration{Home: u.HomeAddress, HomeAgent: u.HomeAgent, CareOf: u.CareOf})
		}
	}
	return all, nil
}

// Handovers are the last moves, the oldest first.
func (o observer) Handovers(ctx context.Context) ([]role.Handover, error) {
	d, err := o.client.Handovers(ctx)
	if err != nil {
		return nil, err
	}
	var all []role.Handover
	for _, h := range d.Handovers {
		all = append(all, h.Role())
	}
	return all, nil
}

// Delegated are what the daemon's mobile routers have from their home agents.
func (o observer) Delegated(ctx context.Context) ([]worlds.Delegated, error) {
	raw, err := o.client.Show(ctx, control.TopicLeases)
	if err != nil {
		return nil, err
	}
	d, err := control.Decode(control.TopicLeases, raw)
	if err != nil {
		return nil, err
	}
	leases, _ := d.(control.Leases) // that is what Decode returns
	var all []worlds.Delegated
	for _, c := range leases.Clients {
		if c.For != control.ForMobileRouter {
			continue
		}
		for _, p := range c.Prefixes {
			all = append(all, worlds.Delegated{Prefix: p.Prefix, Preferred: remains(p.Preferred), Valid: remains(p.Valid)})
		}
	}
	return all, nil
}

// remains is a lifetime; what is for ever has the longest.
func remains(s *control.Seconds) time.Duration {
	if s == nil {
		return mip6.InfiniteLifetime
	}
	return time.Duration(*s)
}

// Messages are how many messages the daemon's roles have sent and been given.
func (o observer) Messages(ctx context.Context) (n uint64, err error) {
	d, err := o.client.Stats(ctx)
	if err != nil {
		return 0, err
	}
	for _, m := range d.Messages {
		n += m.Sent + m.Received
	}
	return n, nil
}

// Updates are how many binding updates home agents and the correspondent have been
// given.
func (o observer) Updates(ctx context.Context) (n uint64, err error) {
	d, err := o.client.Stats(ctx)
	if err != nil {
		return 0, err
	}
	for _, m := range d.Messages {
		if m.Type == "binding_update" && (m.Role == metrics.RoleAgent.String() || m.Role == metrics.RoleCorrespondent.String()) {
			n += m.Received
		}
	}
	return n, nil
}

// Bindings are how many mobiles are registered with the daemon's home agents.
func (o observer) Bindings(ctx context.Context) (int, error) {
	d, err := o.client.Stats(ctx)
	if err != nil || d.Agent == nil {
		return 0, err
	}
	return d.Agent.Bindings, nil
}
