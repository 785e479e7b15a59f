package node

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"roam6/internal/config"
	"roam6/internal/esp"
	"roam6/internal/xfrm"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// associations are what the kernel needs for payload in IPsec; see xfrm.Manager.
type associations interface {
	SetPolicies([]xfrm.Policy) error
	Seal(home, agent netip.Addr, side overlay.Side) (overlay.Seal, bool)
	Set(overlay.Key, []overlay.Path) error
	Remove(overlay.Key)
	Close() error
}

// hasPayload reports whether a policy is for what the tunnel carries, too.
func hasPayload(p esp.Policy) bool { return p.PayloadOut != nil || p.Payload }

// payloadPolicies are those that a configuration asks for, with the keys there are.
func (s *Shell) payloadPolicies(c *config.Config) []xfrm.Policy {
	var all []xfrm.Policy
	for _, p := range s.withKeys(policies(c)) {
		x := xfrm.Policy{Home: p.Home, Agent: p.Agent, Side: p.Side}
		switch {
		case !hasPayload(p):
			continue
		case p.Payload:
			x.Negotiated, x.Out, x.In = true, p.Negotiated.PayloadOut, p.Negotiated.PayloadIn
		default:
			x.Out, x.In = p.PayloadOut, []esp.Association{*p.PayloadIn}
		}
		all = append(all, x)
	}
	return all
}

// openPayload makes sure that the kernel can protect the payload that a configuration
// wants protected. There is no way without: what cannot be in ESP is not to be in clear.
func (s *Shell) openPayload(c *config.Config) error {
	i := slices.IndexFunc(policies(c), hasPayload)
	if i < 0 || s.payload != nil || s.plane == nil {
		return nil
	}
	fail := func(err error) error {
		return fmt.Errorf("option payload of the ipsec section for %v: %w", policies(c)[i].Home, err)
	}
	m, err := xfrm.Open(xfrm.Options{Log: s.log, Mark: tun.DefaultMark, Mask: tun.DefaultMarkMask, Adopt: tun.DefaultAdopt + xfrm.Linger})
	if err != nil {
		return fail(err)
	}
	if err := s.ipsec.engine.CanSeal(); err != nil {
		return fail(errors.Join(err, m.Close()))
	}
	s.payload = m
	return nil
}

// applyTunnels gives changes of tunnels to the data plane, and their associations to the
// kernel before. Those of tunnels that are removed stay for what is on its way.
func (s *Shell) applyTunnels(changes []overlay.Change) error {
	changes = s.seal(s.ipsec.mark(changes))
	var failures []error
	if s.payload != nil {
		for _, c := range changes {
			switch {
			case c.Set != nil && c.Set.Seal.On():
				// Where it fails the tunnel is set all the same: sealed, it carries nothing,
				// and would otherwise go on as it was.
				failures = append(failures, s.payload.Set(c.Set.Key, c.Set.Paths))
			case c.Set != nil:
				s.payload.Remove(c.Set.Key)
			case c.Optimise == nil && c.Deoptimise == nil:
				s.payload.Remove(c.Remove)
			}
		}
	}
	return errors.Join(append(failures, s.plane.Apply(changes))...)
}

// seal says of the tunnels among changes what they are to be sealed with. The roles do
// not know.
func (s *Shell) seal(changes []overlay.Change) []overlay.Change {
	if s.payload == nil {
		return changes
	}
	changes = slices.Clone(changes)
	for i, c := range changes {
		if c.Set != nil {
			t := *c.Set
			t.Seal, _ = s.payload.Seal(t.Home, agentOf(&t), t.Side)
			changes[i].Set = &t
		}
	}
	return changes
}

// agentOf is the home agent of a tunnel.
func agentOf(t *overlay.Tunnel) netip.Addr {
	if t.Side == overlay.AgentSide {
		return t.Paths[0].Local
	}
	return t.Paths[0].Remote
}
