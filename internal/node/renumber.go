package node

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/mip6"
)

// formed is a home address that a mobile has formed itself, under a prefix that
// its home link got while it was away (RFC 6275 §11.4.1). A mobile node of its own
// runs for it beside that of the configured home address, as long as the section
// is there: over reloads too, but not over a restart.
type formed struct {
	section string // of the mobile node
	home    netip.Prefix
	// settled: the home agent has acknowledged it. From then on it has what only
	// one of a section's home addresses can have: the default source, the
	// policies, the mobile network.
	settled bool
}

// maxFormed bounds the home addresses that a section forms: what makes it form
// one comes from the network.
const maxFormed = 4

// homeAddressFormed makes a mobile node begin for another home address of a
// section (see reap), and tells the operator, whose file does not know of it.
func (s *Shell) homeAddressFormed(a role.HomeAddressFormed) {
	parent := s.mobileAt(a.From)
	if parent == nil || parent.ending || s.hosts(a.To.Addr()) ||
		slices.ContainsFunc(s.successors, func(c config.MobileNode) bool { return homeOf(c) == a.To.Addr() }) {
		return
	}
	section := parent.config.Name
	if s.tellWithoutKeys(parent.config, a.To) {
		return
	}
	siblings := 0
	for _, f := range s.formed {
		if f.section == section {
			siblings++
		}
	}
	attrs := []slog.Attr{
		slog.String("section", section), slog.String("home", a.From.String()), slog.String("new_home", a.To.String()),
	}
	if siblings >= maxFormed {
		s.log.LogAttrs(context.Background(), slog.LevelError, "the home link was renumbered once more, and no further home address is formed: change the configuration",
			attrs...)
		return
	}
	f := formed{section: section, home: a.To}
	s.formed = append(s.formed, f)
	s.successors = append(s.successors, f.configure(parent.config))
	attrs = append(attrs, slog.Duration("valid", a.Valid), slog.String("change", "option home_address '"+a.To.String()+"' in section '"+section+"'"))
	s.log.LogAttrs(context.Background(), slog.LevelWarn, "the home link was renumbered: a new home address is used beside the old one; change the configuration before roam6 is restarted",
		attrs...)
}

// configure is the configuration of the mobile node for a formed home address,
// made of that of its section. The home agents may have new addresses too, so
// they may be looked for.
func (f formed) configure(c config.MobileNode) config.MobileNode {
	c.HomeAddress = f.home
	c.DefaultSource, c.Delegation = false, false
	c.Discover = c.Discover || mip6.HomeAgentsAnycast(f.home.Masked()).IsValid()
	return c
}

// settled notes that a home address works, and hands over to it what only one of
// its section's can have. The home agent, too, gives the mobile network to the
// newest registration.
func (s *Shell) settled(home netip.Addr) {
	i := slices.IndexFunc(s.formed, func(f formed) bool { return f.home.Addr() == home && !f.settled })
	if i >= 0 {
		s.formed[i].settled = true
		s.handOver = true
	}
}

// handOverHomes carries out what settled has noted.
func (s *Shell) handOverHomes(now time.Time) {
	if !s.handOver {
		return
	}
	s.handOver = false
	for _, c := range s.wantedMobiles(s.config) {
		h := s.mobileAt(homeOf(c))
		if h == nil || h.ending || h.config.DefaultSource == c.DefaultSource && h.config.Delegation == c.Delegation {
			continue
		}
		if actions, ok := s.reconfigureMobile(now, h, c); ok {
			s.carryOut(h.machine, actions)
		}
	}
	s.tell(s.applyTunnels(s.inner.rank(s.ranks())))
	s.steerDue = true
}

// wantedMobiles are the mobile nodes that are to run: the configured ones, and
// those of formed home addresses, whose sections the configuration still has,
// without IPsec (see tellWithoutKeys), and which it does not itself know by now.
func (s *Shell) wantedMobiles(c *config.Config) []config.MobileNode {
	list := slices.Clone(c.MobileNodes)
	s.formed = slices.DeleteFunc(s.formed, func(f formed) bool {
		return !slices.ContainsFunc(c.MobileNodes, func(m config.MobileNode) bool { return m.Name == f.section && len(m.ESP) == 0 }) ||
			slices.ContainsFunc(c.MobileNodes, func(m config.MobileNode) bool { return homeOf(m) == f.home.Addr() })
	})
	for i, m := range c.MobileNodes {
		source := i
		for _, f := range s.formed {
			if f.section != m.Name {
				continue
			}
			list = append(list, f.configure(m))
			if f.settled {
				list[source].DefaultSource, list[source].Delegation = false, false
				source = len(list) - 1
				list[source].DefaultSource, list[source].Delegation = m.DefaultSource, m.Delegation
			}
		}
	}
	return list
}

// homeInUse is the home address that stands for a section: the formed one that
// settled last, otherwise the configured one.
func (s *Shell) homeInUse(m config.MobileNode) netip.Addr {
	home := homeOf(m)
	for _, f := range s.formed {
		if f.section == m.Name && f.settled {
			home = f.home.Addr()
		}
	}
	return home
}

// ranks tells which of several home addresses of a section may have a mobile
// network prefix: the highest.
func (s *Shell) ranks() map[netip.Addr]int {
	ranks := make(map[netip.Addr]int, len(s.formed))
	for i, f := range s.formed {
		ranks[f.home.Addr()] = -1
		if f.settled {
			ranks[f.home.Addr()] = i + 1
		}
	}
	return ranks
}
