package node

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/internal/control"
	"roam6/internal/metrics"
	"roam6/overlay"
)

// anchorBindings are the binding caches of the mobility anchor points.
func (s *Shell) anchorBindings(now time.Time) []control.AnchorBinding {
	list := []control.AnchorBinding{}
	for _, h := range s.anchors {
		for _, b := range h.machine.Snapshot(now).Bindings {
			x := control.AnchorBinding{
				Anchor: h.config.Name, Visitor: b.Visitor, Regional: b.Home, State: b.State.String(), Sequence: uint16(b.Sequence),
				Created: control.Time{Time: b.Created}, Age: age(now, b.Created),
				Updated: control.Time{Time: b.Updated}, UpdateAge: age(now, b.Updated),
			}
			if b.State == binding.Active {
				x.OnLink, x.Granted, x.Remaining = b.CareOf(), control.Seconds(b.Lifetime.Duration()), control.Seconds(b.Remaining)
			}
			list = append(list, x)
		}
	}
	return list
}

// anchorDocument tells of the anchors of this node, and of those that mobiles hear of.
func (s *Shell) anchorDocument(now time.Time) control.Anchors {
	d := control.Anchors{Anchors: []control.Anchor{}, Mobiles: []control.KnownAnchors{}}
	for _, h := range s.anchors {
		c, x := h.config, h.machine.Stats()
		d.Anchors = append(d.Anchors, control.Anchor{
			Name: c.Name, Address: c.Address, Prefix: c.Prefix, Link: c.Interface,
			Ready:  c.Interface == "" || s.hasLink(c.Interface),
			Served: append([]netip.Prefix{}, c.Served...), MaxLifetime: control.Seconds(c.MaxLifetime), DAD: c.DAD, Insecure: c.Insecure,
			Visitors: x.Visitors, Bindings: x.Bindings, Probing: x.Probing, Limit: x.Limit,
		})
	}
	for _, h := range s.mobiles {
		d.Mobiles = append(d.Mobiles, control.KnownAnchorsOf(h.config.Hierarchy, h.machine.Snapshot(now)))
	}
	return d
}

// hasLink reports whether there is an interface of this name.
func (s *Shell) hasLink(name string) bool {
	for _, l := range s.links {
		if l.Name == name {
			return true
		}
	}
	return false
}

// tunnels is what the data plane carries out.
func (s *Shell) tunnels(now time.Time) control.Tunnels {
	if s.plane == nil {
		return control.TunnelsOf("", nil, nil, nil, nil, now)
	}
	return control.TunnelsOf(s.plane.Name(), s.plane.Tunnels(), s.plane.Routes(), s.plane.Drops(), s.regional, now)
}

// regional reports whether a tunnel is that of a regional care-of address.
func (s *Shell) regional(k overlay.Key) bool {
	if k.Side == overlay.MobileSide {
		return !s.hosts(k.Home) // of one of its mobiles, and no home address
	}
	return slices.ContainsFunc(s.anchors, func(h *anchorHost) bool { return h.config.Prefix.Contains(k.Home) })
}

// anchorStats are the counters of all anchors; nil: there are none.
func (s *Shell) anchorStats() *control.AnchorStats {
	var d *control.AnchorStats
	for _, h := range s.anchors {
		if d == nil {
			d = new(control.AnchorStats)
		}
		x := h.machine.Stats()
		d.Visitors += x.Visitors
		d.Bindings += x.Bindings
		d.Probing += x.Probing
		d.Limit += x.Limit
		d.Registrations += x.Registrations
		d.Refreshes += x.Refreshes
		d.Moves += x.Moves
		d.Deregistrations += x.Deregistrations
		d.Expirations += x.Expirations
		d.Restored += x.Restored
		d.Duplicates += x.Duplicates
		d.Conflicts += x.Conflicts
		d.RefreshRequests += x.RefreshRequests
	}
	return d
}

// anchorState is the anchors' part of what a scrape shows.
func (s *Shell) anchorState() (list []metrics.Anchor) {
	for _, h := range s.anchors {
		x := h.machine.Stats()
		list = append(list, metrics.Anchor{
			Name: h.config.Name, Bindings: x.Bindings, Limit: x.Limit, Duplicates: x.Duplicates,
			Changes: metrics.BindingChanges{Registrations: x.Registrations, Refreshes: x.Refreshes, Moves: x.Moves, Deregistrations: x.Deregistrations, Expirations: x.Expirations},
		})
	}
	return list
}
