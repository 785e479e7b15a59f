package node

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/config"
	"roam6/internal/role"
	anchor "roam6/map"
)

// anchorHost is a mobility anchor point that the shell hosts.
type anchorHost struct {
	machine *anchor.Anchor
	config  config.Anchor
	random  *tap
	// taken are the addresses of this node that it was told of; see settleTaken.
	taken []netip.Addr
}

// newAnchorHost makes an anchor of the running configuration.
func (s *Shell) newAnchorHost(c config.Anchor) *anchorHost {
	h := &anchorHost{config: c, random: &tap{keep: true}, taken: s.takenIn(c)} // as for a mobile
	h.machine = anchor.New(s.anchorConfig(h))
	return h
}

// anchorConfig is what an anchor is to do now.
func (s *Shell) anchorConfig(h *anchorHost) anchor.Config {
	c := anchorConfig(h.config, s.config.Visitors, h.taken, h.random.answers(s.barred))
	c.Random = h.random.octets
	return c
}

// barred reports whether an address is no on-link care-of address for an anchor:
// this node's own, a home address of its home agents, or a regional care-of address
// of its anchors (RFC 5380 §6.1). Addresses in mobile networks may be: a mobile that
// rides in a mobile router is bound by one. Who makes a circle of those gets as many
// headers as the tunnel encapsulation limit allows (RFC 2473 §4.1.1), and no more.
func (s *Shell) barred(careOf netip.Addr) bool {
	return s.local.Contains(careOf) ||
		slices.ContainsFunc(s.agents, func(h *agentHost) bool { return h.machine.HasHome(careOf) }) ||
		slices.ContainsFunc(s.anchors, func(h *anchorHost) bool { return h.machine.Regional(careOf) })
}

// applyAnchors ends the anchors that are gone, changes those that stay, and begins
// those that are new. Their section's name tells which is which; where the address,
// the prefix or the link is another the anchor begins anew.
func (s *Shell) applyAnchors(now time.Time, c *config.Config) {
	s.discardsDue = true
	kept := s.anchors[:0]
	for _, h := range s.anchors {
		i := slices.IndexFunc(c.Anchors, func(a config.Anchor) bool { return a.Name == h.config.Name })
		if i < 0 || !samePlace(h.config, c.Anchors[i]) {
			s.carryOut(h.machine, s.handle(now, h.machine, role.Stop{}))
			s.forgetBindings(h.machine)
			s.traceEnd(now, h.machine)
			continue
		}
		was := h.config
		h.config = c.Anchors[i]
		s.carryOut(h.machine, s.reconfigureAnchor(now, h))
		if was.Insecure && h.config.Insecure { // it says so itself when that is new
			s.log.Warn("mobility anchor point still serves whoever asks, without authentication", "section", h.config.Name)
		}
		kept = append(kept, h)
	}
	clear(s.anchors[len(kept):])
	s.anchors = kept
	if s.plane == nil {
		return
	}
	for _, a := range c.Anchors {
		if slices.ContainsFunc(s.anchors, func(h *anchorHost) bool { return h.config.Name == a.Name }) {
			continue
		}
		h := s.newAnchorHost(a)
		s.anchors = append(s.anchors, h)
		s.traceAnchor(now, h, true, slices.Values(s.restore(now, h.machine, a.Name)))
		s.introduce(now, h.machine)
	}
}

// samePlace reports whether two configurations of an anchor have its bindings in the
// same place.
func samePlace(a, b config.Anchor) bool {
	return a.Address == b.Address && a.Prefix == b.Prefix && a.Interface == b.Interface
}

// toAnchors is toMobiles for mobility anchor points.
func (s *Shell) toAnchors(now time.Time, e role.Event, concerns func(*anchorHost) bool) (taken bool) {
	for _, h := range s.anchors {
		if concerns(h) {
			taken = true
			s.carryOut(h.machine, s.handle(now, h.machine, e))
		}
	}
	return taken
}

// settleTaken tells the anchors which addresses this node has among the regional
// care-of addresses, if that may have changed: no visitor can bind those.
func (s *Shell) settleTaken(now time.Time) {
	if !s.takenDue {
		return
	}
	s.takenDue = false
	for _, h := range s.anchors {
		if taken := s.takenIn(h.config); !slices.Equal(taken, h.taken) {
			h.taken = taken
			s.carryOut(h.machine, s.reconfigureAnchor(now, h))
		}
	}
}

// takenIn are the addresses of this node in the prefix of an anchor beside its own:
// those that others have assigned, the roles, and the shell itself.
func (s *Shell) takenIn(c config.Anchor) []netip.Addr {
	var list []netip.Addr
	add := func(a netip.Addr) {
		if c.Prefix.Contains(a) && a != c.Address {
			list = append(list, a)
		}
	}
	for _, l := range s.foreigns {
		for _, a := range l.addresses {
			add(a.Prefix.Addr())
		}
	}
	for h := range s.holders.of {
		if !h.route {
			add(h.prefix.Addr())
		}
	}
	for k := range s.assigned {
		add(firstAddress(k.prefix).Addr())
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}

// warnInsecure warns of mobiles that trust anchors without a key. Anchors without
// authentication warn of themselves.
func (s *Shell) warnInsecure() {
	for _, m := range s.config.MobileNodes {
		if m.InsecureAnchors {
			s.log.Warn("mobility anchor points are used without authentication: whoever can send router advertisements gets this mobile's traffic",
				"section", m.Name, "change", "option insecure_anchors '0', and an anchor_key section")
		}
	}
}
