package node

import (
	"context"
	"log/slog"
	"time"

	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/mip6"
)

// foreignLink is what others have assigned to an interface.
type foreignLink struct {
	addresses []role.LeasedPrefix
	at        time.Time // when that was told
}

// foreignAddresses remembers what others have assigned to an interface, and tells
// the mobiles for which it is a foreign uplink.
func (s *Shell) foreignAddresses(now time.Time, e role.ForeignAddresses) {
	s.foreigns[e.Link] = foreignLink{e.Addresses, now}
	s.takenDue = true
	if s.isForeign(s.links[e.Link].Name) {
		s.toMobiles(now, e, func(*mobileHost) bool { return true })
	}
}

// foreignAt is what is remembered of a foreign uplink, as of now.
func (s *Shell) foreignAt(now time.Time, link int) (e role.ForeignAddresses, ok bool) {
	l, known := s.links[link]
	if !known || !s.isForeign(l.Name) {
		return e, false
	}
	f := s.foreigns[link]
	return role.ForeignAddresses{Link: link, Addresses: remaining(f.addresses, now.Sub(f.at))}, true
}

// isForeign reports whether an interface is left to somebody else.
func (s *Shell) isForeign(name string) bool {
	return s.addressing(name) == config.AddressingForeign && s.isUplink(name)
}

// remaining are leased addresses some time later.
func remaining(list []role.LeasedPrefix, age time.Duration) []role.LeasedPrefix {
	var out []role.LeasedPrefix
	for _, p := range list {
		if p.Valid < mip6.InfiniteLifetime {
			p.Valid -= age
		}
		if p.Preferred < mip6.InfiniteLifetime {
			p.Preferred = max(p.Preferred-age, 0)
		}
		if p.Valid > 0 {
			out = append(out, p)
		}
	}
	return out
}

// applyUplinks follows a change of the configuration: of which interfaces are
// uplinks, and of who looks after them. The mobiles learn of the addresses there
// are on those that are new to them.
func (s *Shell) applyUplinks(now time.Time) {
	s.noteManaged()
	s.settleLinks()
	for _, h := range s.mobiles {
		s.introduceLeases(now, h)
	}
}

// settleLinks keeps the kernel from configuring our uplinks, and puts back what was
// set on interfaces that are not ours any more.
func (s *Shell) settleLinks() {
	for _, l := range s.links {
		s.settleLink(l)
	}
}

// settleLink is settleLinks for one. The watcher may have set something on a new
// interface by what was configured a moment ago.
func (s *Shell) settleLink(l role.Link) {
	if s.isUplink(l.Name) && !s.isForeign(l.Name) {
		s.prepareLink(l)
		return
	}
	if err := s.sysctls.RestoreLink(l.Index); err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "settings of an uplink that is left to others could not be put back",
			slog.String("link", l.Name), slog.String("reason", err.Error()))
	}
	s.spareForeign(l)
}
