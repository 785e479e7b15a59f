package main

import (
	"context"
	"net/netip"

	"roam6/internal/control"
	worlds "roam6/internal/lab"
	"roam6/internal/role"
)

// labObserver asks a daemon of the lab through its control socket.
func labObserver(socket string) worlds.Observer { return observer{control.NewClient(socket)} }

type observer struct{ client *control.Client }

// Registered is the care-of address of the first mobile that its home agent
// has acknowledged.
func (o observer) Registered(ctx context.Context) (netip.Addr, bool, error) {
	d, err := o.client.Updates(ctx)
	if err != nil {
		return netip.Addr{}, false, err
	}
	for _, u := range d.Updates {
		if u.Registered {
			return u.CareOf, true, nil
		}
	}
	return netip.Addr{}, false, nil
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
