package node

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"

	"roam6/internal/config"
	"roam6/internal/esp"
	"roam6/internal/mhsock"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// protection is IPsec for the signalling of mobiles, home agents and anchors. It joins the
// socket of signalling, which knows the security associations, with the data plane,
// which knows the care-of address of the moment. The zero value protects nothing.
type protection struct {
	policies *esp.Policies // nil: none
	conn     *mhsock.Conn
	engine   *tun.Engine
}

// protect gives the socket what it needs for IPsec. Home tests that came in ESP go
// on as if they had come out of the tunnel.
func (s *Shell) protect() *mhsock.IPsec {
	return &mhsock.IPsec{
		Policies: s.ipsec.policies,
		Deliver:  s.deliverProtected, ICMP: s.deliverProtectedICMP, Local: s.deliverLocal,
		Tunnelled: func(packet []byte, end esp.TunnelEnd) {
			if err := s.ipsec.engine.HomeTestReceived(end.Key, end.Source, end.Destination, packet); err != nil && !errors.Is(err, tun.ErrClosed) {
				s.log.LogAttrs(context.Background(), slog.LevelDebug, "message dropped", slog.Any("reason", err))
			}
		},
		Relayed: s.relayedReceived,
		Dropped: func(reason role.DropReason, from netip.Addr) {
			s.dropped(role.Dropped{Reason: reason, From: from})
		},
	}
}

// homeTest sends what a tunnel must not carry without ESP.
func (s *Shell) homeTest(home overlay.Key, path overlay.Path, packet []byte) {
	if err := s.ipsec.conn.SendTunnelled(home, path, packet); err != nil { // counted there
		s.log.LogAttrs(context.Background(), slog.LevelDebug, "home test message not sent", slog.Any("reason", err))
	}
}

// deliverProtected is deliver for messages that came in ESP. A damaged one gets no
// answer, which would show what was in it.
func (s *Shell) deliverProtected(packet []byte, link int) {
	s.deliverSealed(packet, role.MessageReceived{Link: link, Protected: true})
}

// deliverLocal is deliverProtected for what mobility anchor points and their visitors
// say to each other.
func (s *Shell) deliverLocal(packet []byte, link int, spi uint32) {
	s.deliverSealed(packet, role.MessageReceived{Link: link, SPI: spi})
}

// deliverSealed posts an event with the message that a packet has.
func (s *Shell) deliverSealed(packet []byte, e role.MessageReceived) {
	if !s.listed.Load() {
		return
	}
	var err error
	if e.Packet, err = mip6.ParsePacket(packet); err != nil {
		s.damaged(err)
		return
	}
	s.post(e)
}

// deliverProtectedICMP is deliverICMP for messages that came in ESP.
func (s *Shell) deliverProtectedICMP(packet []byte, link int) {
	if !s.listed.Load() {
		return
	}
	p, err := mip6.ParseICMPPacket(packet)
	if err != nil {
		s.damaged(err)
		return
	}
	s.post(role.ICMPReceived{Link: link, Packet: p, Protected: true})
}

// policies are those that a configuration asks for.
func policies(c *config.Config) []esp.Policy {
	var all []esp.Policy
	for _, m := range c.MobileNodes {
		all = append(all, m.ESP...)
	}
	for _, m := range c.Mobiles {
		if m.ESP != nil {
			all = append(all, *m.ESP)
		}
	}
	return all
}

// anchorPolicies are those for mobility anchor points and their visitors.
func anchorPolicies(c *config.Config) []esp.AnchorPolicy {
	var all []esp.AnchorPolicy
	for _, v := range c.Visitors {
		if v.ESP != nil {
			all = append(all, *v.ESP)
		}
	}
	for _, k := range c.AnchorKeys {
		if k.ESP != nil {
			all = append(all, *k.ESP)
		}
	}
	return all
}

// applyPolicies puts the policies of the configuration in force, also on the tunnels
// there are. What they do not cover while they fail is not taken without ESP, either:
// the roles see to that.
func (s *Shell) applyPolicies(c *config.Config) {
	if s.ipsec.conn == nil {
		return
	}
	wanted, local := s.withKeys(policies(c)), anchorPolicies(c)
	if len(wanted)+len(local) == 0 && s.ipsec.policies.Empty() {
		return
	}
	s.warnReadable(c)
	if err := s.ipsec.conn.SetPolicies(wanted, local...); err != nil {
		s.log.Error("signalling cannot be protected", "reason", err)
		return
	}
	sealed := false
	if s.payload != nil {
		s.tell(s.payload.SetPolicies(s.payloadPolicies(c)))
	}
	var changes []overlay.Change
	for _, t := range s.plane.Tunnels() {
		if s.payload != nil {
			_, sealed = s.payload.Seal(t.Home, agentOf(&t.Tunnel), t.Side)
		}
		if s.ipsec.protects(&t.Tunnel) != t.Protected || sealed != t.Seal.On() {
			changes = append(changes, overlay.Change{Set: &t.Tunnel})
		}
	}
	if len(changes) > 0 {
		s.tell(s.applyTunnels(changes))
	}
}

// warnReadable warns of what the administrator should protect, too.
func (s *Shell) warnReadable(c *config.Config) {
	for _, m := range c.MobileNodes {
		if m.HomeTestsReadable() {
			s.log.Warn("route optimisation without IPsec for home tests: who reads them on the mobile's link can redirect its traffic",
				"section", m.Name, "change", "spi_tunnel_to_agent and the three options like it in the ipsec section")
		}
	}
}

// tellWithoutKeys reports whether the signalling of a section is protected, so that
// it can have no home address that it forms itself: no home agent would take a
// message about it, since the keys are the configured one's (RFC 3776 §4.2). The
// administrator is told what to do.
func (s *Shell) tellWithoutKeys(c config.MobileNode, formed netip.Prefix) bool {
	if len(c.ESP) == 0 {
		return false
	}
	s.log.LogAttrs(context.Background(), slog.LevelError, "the home link was renumbered, and IPsec has no keys for a new home address: the old one is used as long as it lasts; change the configuration here and at the home agent",
		slog.String("section", c.Name), slog.String("home", homeOf(c).String()), slog.String("new_home", formed.String()),
		slog.String("change", "option home_address in section '"+c.Name+"' and in its ipsec section"))
	return true
}

// mark says of the tunnels among changes whether home tests need ESP in them. The
// roles do not know.
func (p *protection) mark(changes []overlay.Change) []overlay.Change {
	if p.policies == nil || p.policies.Empty() {
		return changes
	}
	changes = slices.Clone(changes)
	for i, c := range changes {
		if c.Set != nil {
			t := *c.Set
			t.Protected = p.protects(&t)
			changes[i].Set = &t
		}
	}
	return changes
}

// protects reports whether there is a policy for home tests in a tunnel.
func (p *protection) protects(t *overlay.Tunnel) bool {
	return p.policies.Tunnelled(t.Home, agentOf(t), t.Side)
}
