package node

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"roam6/ha"
	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/internal/trace"
)

// Reload reads the configuration again and applies the difference. A file with
// errors changes nothing: the running configuration stays, and every error is
// logged with its place. Nor does one that is the same as before, which is not even
// parsed: on OpenWrt a commit is noticed twice, here and by procd. One reload waits for
// the other, so that the second one finds that.
func (s *Shell) Reload(ctx context.Context) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	source, err := config.Read(s.path)
	if err != nil {
		return s.unreadable(err)
	}
	same := false
	if err := s.ask(ctx, func(time.Time) { same = s.isRunning(source) }); err != nil { // the node ends
		s.noteReload(err)
		return err
	}
	var c *config.Config
	var served map[string][]ha.Mobile
	if !same {
		if c, err = source.Parse(); err != nil {
			return s.unreadable(err)
		}
		served = mobilesByAgent(c)
	}
	others, unread := readOtherAdvertisers(s.others)
	if unread != nil {
		s.log.Error("interfaces are advertised on as before", "reason", unread)
	}
	var refused error
	err = s.ask(ctx, func(now time.Time) {
		moved := unread == nil && s.setOtherAdvertisers(others)
		if !same {
			if refused = s.openPayload(c); refused == nil {
				s.apply(now, c, served)
			}
			s.unusable.Store(refused != nil)
		}
		if moved {
			s.followAdvertisements()
		}
	})
	switch {
	case err != nil: // the node ends
		s.noteReload(err)
		return err
	case refused != nil:
		s.noteReload(refused)
		s.log.Error("the configuration was not reloaded, the running one stays", "file", s.path, "reason", refused)
		return refused
	case same:
		s.log.Debug("the configuration is the same as before", "file", s.path)
	default:
		s.noteReload(nil)
	}
	return nil
}

// unreadable tells that a configuration cannot be used, and returns why.
func (s *Shell) unreadable(err error) error {
	s.unusable.Store(true)
	s.noteReload(err)
	logErrors(s.log, err)
	s.log.Error("the configuration was not reloaded, the running one stays", "file", s.path)
	return err
}

// isRunning reports whether a configuration is that of the file that was read last, and
// in force. It runs in the loop.
func (s *Shell) isRunning(c *config.Source) bool {
	return c.Digest == s.config.Digest && !s.unusable.Load()
}

// logErrors writes each error of a configuration on its own line.
func logErrors(log *slog.Logger, err error) {
	var all config.Errors
	if !errors.As(err, &all) {
		log.Error("configuration", "reason", err)
		return
	}
	for _, e := range all {
		log.Error("configuration", "reason", e.Error())
	}
}

// apply makes c the running configuration; served are its mobilesByAgent. It runs in the
// loop.
func (s *Shell) apply(now time.Time, c *config.Config, served map[string][]ha.Mobile) {
	if s.ended.Load() {
		s.log.Warn("the configuration is not reloaded: roam6 stops")
		return
	}
	old := s.config
	s.config = c
	s.level.Set(c.Globals.LogLevel)
	applyBudget(old.Globals.Runtime, c.Globals.Runtime, s.log)
	s.tellRestarts(old, c)
	s.applyPolicies(c)
	s.applyExchanges(c)
	s.applyMobiles(now, c)
	s.applyAgents(now, c, served)
	s.applyDelegators(now)
	s.applyAnchors(now, c)
	s.warnInsecure()
	if s.correspondent != nil {
		s.carryOut(s.correspondent.machine, s.reconfigureCorrespondent(now, c.Correspondent))
	}
	s.steerDue = true
	s.applyAdvertisements(c)
	s.forwarding()
	s.applyUplinks(now)
	s.applyRequests(now)
	s.syncSockets()
	s.noteAbsent(c)
	s.log.Info("configuration reloaded", "mobiles", len(s.mobiles), "home_agents", len(s.agents), "anchors", len(s.anchors), "advertised", len(s.advertised))
}

// tellRestarts warns of what cannot be changed in a running daemon.
func (s *Shell) tellRestarts(old, c *config.Config) {
	a, b := old.Globals, c.Globals
	a.LogLevel, b.LogLevel = 0, 0
	a.Runtime, b.Runtime = config.Runtime{}, config.Runtime{}
	for _, change := range []struct {
		what  string
		needs bool
	}{
		{"section globals", a != b},
		{"section metrics", old.Metrics != c.Metrics},
		{"the first mobile node, mobile router, home agent or mobility anchor point", mobility(c) && s.plane == nil},
		{"the refusal of packets whose binding is lost, with the first home agent or mobility anchor point", s.plane != nil && refusesTunnels(c) && !s.refuses},
		{"the first section that needs DHCPv6", needsPort(c) && s.portless},
	} {
		if change.needs {
			s.log.Warn("a change of the configuration takes effect when roam6 is restarted", "change", change.what)
		}
	}
}

// applyMobiles ends the mobile nodes that are gone, changes those that stay,
// and begins those that are new. Their home address tells which is which.
func (s *Shell) applyMobiles(now time.Time, c *config.Config) {
	mobiles := s.wantedMobiles(c)
	for _, h := range s.mobiles {
		i := slices.IndexFunc(mobiles, func(m config.MobileNode) bool { return homeOf(m) == homeOf(h.config) })
		if i >= 0 {
			if actions, ok := s.reconfigureMobile(now, h, mobiles[i]); ok {
				s.openLinks() // it may have uplinks that were none
				s.carryOut(h.machine, actions)
				continue
			}
		}
		if !h.ending {
			h.ending = true
			s.carryOut(h.machine, s.handle(now, h.machine, role.Stop{}))
		}
	}
	s.successors = nil
	if s.plane == nil {
		return
	}
	for _, m := range mobiles {
		if !s.lives(homeOf(m)) {
			s.successors = append(s.successors, m) // begins when its predecessor has ended, or now
		}
	}
	s.reap(now)
}

// begin begins a mobile node.
func (s *Shell) begin(now time.Time, c config.MobileNode) {
	h := newMobileHost(c, s.surroundings(c), rand.Uint64())
	s.mobiles = append(s.mobiles, h)
	s.traceMobile(now, h, true)
	s.introduce(now, h.machine)
	s.introduceLeases(now, h)
	s.introduceKeys(now, h)
	s.settleLinks() // its uplinks may have been none before
}

// applyAgents does the same for home agents, which their section's name tells
// apart; their bindings survive.
func (s *Shell) applyAgents(now time.Time, c *config.Config, served map[string][]ha.Mobile) {
	s.forgetDeprecated(c)
	kept := s.agents[:0]
	for _, h := range s.agents {
		i := slices.IndexFunc(c.HomeAgents, func(a config.HomeAgent) bool { return a.Name == h.config.Name })
		if i < 0 {
			empty := agentConfig(h.config, nil, s.deprecatedSince(now, h.config.Name))
			s.carryOut(h.machine, s.reconfigureAgent(now, h, empty)) // ends every binding
			s.forgetBindings(h.machine)
			s.traceEnd(now, h.machine)
			continue
		}
		h.config = c.HomeAgents[i]
		s.carryOut(h.machine, s.reconfigureAgent(now, h, agentServing(h.config, served[h.config.Name], s.deprecatedSince(now, h.config.Name))))
		kept = append(kept, h)
	}
	clear(s.agents[len(kept):])
	s.agents = kept
	if s.plane == nil {
		return
	}
	for _, a := range c.HomeAgents {
		if slices.ContainsFunc(s.agents, func(h *agentHost) bool { return h.config.Name == a.Name }) {
			continue
		}
		h := s.newAgentHost(now, a, c.Mobiles)
		s.agents = append(s.agents, h)
		s.traceAgent(now, h, true, trace.Known{Memories: slices.Values(s.restore(now, h.machine, a.Name))})
		s.introduce(now, h.machine)
	}
}

// applyAdvertisements changes what is advertised, and opens or closes
// neighbour discovery on links that have become needed or useless.
func (s *Shell) applyAdvertisements(c *config.Config) {
	s.advertised = advertisements(c)
	maps.DeleteFunc(s.refused, func(p netip.Prefix, _ bool) bool {
		return !slices.ContainsFunc(c.MobileNodes, func(m config.MobileNode) bool { return slices.Contains(m.Prefixes, p) })
	})
	s.advertisementsReloaded()
	s.followAdvertisements()
	for _, l := range s.links {
		s.linkChanged(l)
	}
}

// openLinks opens neighbour discovery on links that have become needed.
func (s *Shell) openLinks() {
	for _, l := range s.links {
		if s.conns[l.Index] == nil && s.needed(l.Name) {
			s.serveLink(l, l)
		}
	}
}

// introduce tells a new role of the links there are.
func (s *Shell) introduce(now time.Time, m role.Machine) {
	s.openLinks()
	for _, l := range s.links {
		s.carryOut(m, s.handle(now, m, role.LinkChanged{Link: l}))
	}
}
