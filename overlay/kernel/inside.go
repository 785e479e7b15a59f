package kernel

import (
	"net/netip"

	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// A mobile may visit the network of another one whose agent is the same node. Tunnel
// packets to it go in the other one's tunnel, too, and the device in external mode would
// have to take its own packets: the kernel takes that for a loop, and drops them. So the
// engine sends what goes into the tunnel of the visitor, and the device carries that. On
// the way back the kernel takes both tunnels off.

// inside reports whether an agent's tunnel leads into the network of another one.
func (p *path) inside(t *tunnel) bool {
	for l, n := range p.lengths {
		if n == 0 || l.side != overlay.AgentSide {
			continue
		}
		if q, err := t.Path.Remote.Prefix(l.bits); err == nil && p.owners[owned{l.side, q}] != nil {
			return true
		}
	}
	return false
}

// visitors are the agents' tunnels, but those of the steps, that lead into what the steps
// have changed the owner of.
func (p *path) visitors(steps []step) map[*tunnel]bool {
	if len(steps) > fewTunnels {
		p.remotes.order()
	}
	all := make(map[*tunnel]bool)
	own := make(map[*tunnel]bool, len(steps))
	look := func(t, other *tunnel) {
		if t == nil || t.Side != overlay.AgentSide {
			return
		}
		for _, q := range t.Inner {
			if other == nil || !hasPrefix(other, q) {
				p.remotes.within(q, func(v *tunnel) { all[v] = true })
			}
		}
	}
	for _, s := range steps {
		own[s.new] = true
		look(s.old, s.new)
		look(s.new, s.old)
	}
	for t := range own {
		delete(all, t)
	}
	return all
}

func hasPrefix(t *tunnel, q netip.Prefix) bool {
	for _, r := range t.Inner {
		if r.Masked() == q.Masked() {
			return true
		}
	}
	return false
}

// divert has the engine send what goes into tunnels that lead into others now, or with
// yes false takes back what does not any more.
func (p *path) divert(visitors map[*tunnel]bool, yes bool) {
	var requests []rtbatch.Request
	for t := range visitors {
		if t.lost || t.astray == yes || p.inside(t) != yes {
			continue
		}
		requests = p.stray(requests, t, yes)
	}
	p.commitStray(requests, "routes of a tunnel to within another one's network are not changed")
}
