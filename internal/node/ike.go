package node

import (
	"context"
	"slices"
	"time"

	"roam6/internal/config"
	"roam6/internal/esp"
	"roam6/internal/ike"
	"roam6/internal/role"
)

// exchanges are the key exchanges of a node. The loop owns it.
type exchanges struct {
	begin      func(socket string) *ike.Keeper // nil: the node does not run yet
	keepers    map[string]*ike.Keeper          // by charon's vici socket
	negotiated map[ike.Ends]esp.Negotiated
}

// peers are those with whom a configuration wants keys, by charon's vici socket.
func peers(c *config.Config) map[string][]ike.Peer {
	all := make(map[string][]ike.Peer)
	for _, m := range c.MobileNodes {
		for _, p := range m.IKE {
			all[p.Socket] = append(all[p.Socket], p)
		}
	}
	for _, m := range c.Mobiles {
		if m.IKE != nil {
			all[m.IKE.Socket] = append(all[m.IKE.Socket], *m.IKE)
		}
	}
	return all
}

// beginExchanges lets key exchanges begin; run runs a keeper beside the loop.
func (s *Shell) beginExchanges(ctx context.Context, run func(func())) {
	s.exchanges.begin = func(socket string) *ike.Keeper {
		k := ike.NewKeeper(ike.Options{
			Log: s.log.With("vici", socket), Kernel: ike.XFRM{},
			Dial: func() (ike.Session, error) { return ike.Dial(socket) },
			Told: func(e ike.Ends, n esp.Negotiated) {
				_ = s.ask(ctx, func(now time.Time) { s.keysChanged(now, e, n) }) // fails at the end only
			},
		})
		run(func() { k.RunLoop(ctx) })
		return k
	}
	s.applyExchanges(s.config)
}

// applyExchanges has keys exchanged with those of the configuration.
func (s *Shell) applyExchanges(c *config.Config) {
	x := &s.exchanges
	if x.begin == nil || s.ipsec.conn == nil {
		return
	}
	wanted := peers(c)
	for socket := range wanted {
		if x.keepers[socket] == nil {
			x.keepers[socket] = x.begin(socket)
		}
	}
	for socket, k := range x.keepers {
		k.SetPeers(wanted[socket])
	}
}

// keysChanged puts what a key exchange has made in force, and tells the mobile that may
// wait for it.
func (s *Shell) keysChanged(now time.Time, e ike.Ends, n esp.Negotiated) {
	before, payloadBefore := present(s.exchanges.negotiated[e]), s.exchanges.negotiated[e].PayloadComplete()
	s.exchanges.negotiated[e] = n
	if n.Empty() {
		delete(s.exchanges.negotiated, e)
	}
	s.applyPolicies(s.config)
	switch payload := n.PayloadComplete(); {
	case payload && !payloadBefore:
		s.log.Info("keys for payload negotiated", "home", e.Home, "home_agent", e.Agent, "algorithm", n.PayloadOut.Algorithm)
	case payloadBefore && !payload:
		s.log.Warn("no keys for payload any more: nothing passes the tunnel", "home", e.Home, "home_agent", e.Agent)
	}
	if before == present(n) {
		return
	}
	if before {
		s.log.Warn("no keys for signalling any more", "home", e.Home, "home_agent", e.Agent)
	} else {
		s.log.Info("keys for signalling negotiated", "home", e.Home, "home_agent", e.Agent, "algorithm", n.Out.Algorithm)
	}
	s.toMobiles(now, role.KeysChanged{Home: e.Home, Agent: e.Agent, Present: present(n)}, func(h *mobileHost) bool { return homeOf(h.config) == e.Home })
}

// present reports whether binding updates and acknowledgements have keys.
func present(n esp.Negotiated) bool { return n.Out != nil && len(n.In) > 0 }

// introduceKeys tells a new mobile of the keys there are.
func (s *Shell) introduceKeys(now time.Time, h *mobileHost) {
	for _, p := range h.config.IKE {
		if present(s.exchanges.negotiated[p.Ends]) {
			s.carryOut(h.machine, s.handle(now, h.machine, role.KeysChanged{Home: p.Home, Agent: p.Agent, Present: true}))
		}
	}
}

// exchange finds who exchanges the keys of a mobile of this node with a home agent; nil:
// nobody.
func (s *Shell) exchange(e ike.Ends) *ike.Keeper {
	for _, m := range s.config.MobileNodes {
		if i := slices.IndexFunc(m.IKE, func(p ike.Peer) bool { return p.Ends == e }); i >= 0 {
			return s.exchanges.keepers[m.IKE[i].Socket]
		}
	}
	return nil
}

// withKeys puts the keys there are into policies whose keys are negotiated.
func (s *Shell) withKeys(policies []esp.Policy) []esp.Policy {
	for i, p := range policies {
		if p.Negotiated != nil {
			n := s.exchanges.negotiated[ike.Ends{Home: p.Home, Agent: p.Agent, Side: p.Side}]
			policies[i].Negotiated = &n
		}
	}
	return policies
}
