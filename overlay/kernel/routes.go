package kernel

import (
	"slices"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// routesOf are the routes of a tunnel.
func (p *path) routesOf(t *tunnel) (all []route) {
	if t.astray {
		return nil
	}
	for _, q := range t.Inner {
		r := route{to: q.Masked(), table: unix.RT_TABLE_MAIN, metric: p.under.RouteMetric - 1, device: p.external.index, path: t.Path}
		if t.Side == overlay.MobileSide {
			r = route{from: q.Masked(), table: p.under.Table, metric: routeMetric, device: t.device.index}
		} else if mtu := t.MTU - headerLength; mtu != p.mtu {
			r.mtu = mtu
		}
		all = append(all, r)
	}
	return all
}

// routes removes the routes that no tunnel has any more, and then adds and replaces
// those of the steps. In between the engine's own routes take the packets.
func (p *path) routes(steps []step, moved map[owned]*tunnel, fail func(int, error)) {
	var requests []rtbatch.Request
	var of []int
	for _, s := range steps {
		if s.old == nil || s.old.device.index == 0 && s.key.Side == overlay.MobileSide {
			continue
		}
		var now []route
		if s.new != nil && s.err == nil {
			now = p.routesOf(s.new)
		}
		for _, r := range p.routesOf(s.old) {
			same := func(q route) bool { return q.key() == r.key() }
			if heir := moved[owned{s.key.Side, r.to}]; !slices.ContainsFunc(now, same) && (s.key.Side == overlay.MobileSide || heir == nil || heir.astray) {
				requests, of = append(requests, r.remove(p.under.RouteProtocol)), append(of, -1)
			}
		}
	}
	for i, s := range steps {
		if s.new == nil || s.err != nil {
			continue
		}
		var before []route
		if s.old != nil {
			before = p.routesOf(s.old)
		}
		for _, r := range p.routesOf(s.new) {
			delete(p.inherited.routes, r.key())
			if !slices.Contains(before, r) {
				requests, of = append(requests, r.add(p.under.RouteProtocol)), append(of, i)
			}
		}
	}
	p.route.Commit(requests, func(i int, err error) {
		if of[i] < 0 && nlsock.Gone(err) {
			return
		}
		if of[i] < 0 {
			p.log().Warn("a route of a tunnel that is gone remains", "engine", Name, "reason", err)
			return
		}
		fail(of[i], explain("route", err, ErrNoEncapsulation))
	})
}

// remindSockets installs the routes of mobiles' tunnels again: that makes sockets look
// again that have found one of them. A better one to a destination alone does not do
// that, since ours are in a part of the kernel's table that is by source.
func (p *path) remindSockets() {
	var requests []rtbatch.Request
	for _, t := range p.mobiles {
		for _, r := range p.routesOf(t) {
			requests = append(requests, r.add(p.under.RouteProtocol))
		}
	}
	p.route.Commit(requests, func(_ int, err error) {
		p.log().Warn("sockets do not learn of an optimised route at once", "engine", Name, "reason", err)
	})
}
