package main

import (
	"context"

	"roam6/internal/control"
	worlds "roam6/internal/lab"
	"roam6/internal/role"
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
