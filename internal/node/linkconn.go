package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"roam6/internal/role"
	"roam6/nd"
	"roam6/nd/ndconn"
)

// linkConn is neighbour discovery on a link that a role or an advertiser uses.
type linkConn struct {
	*ndconn.Conn
	link       role.Link
	advertiser *advertiser // nil unless the link is advertised on
	refusal    string      // why what is to be advertised cannot be; empty: it can
}

// onLink does something with neighbour discovery on a link.
func (s *Shell) onLink(index int, do func(*ndconn.Conn) error) error {
	c := s.conns[index]
	if c == nil {
		return fmt.Errorf("neighbour discovery on interface %d: it is not there", index)
	}
	return do(c.Conn)
}

// linkChanged opens neighbour discovery on a link that is needed, closes it on
// one that is not any more (it was renamed), and starts its advertiser.
func (s *Shell) linkChanged(l role.Link) {
	before, known := s.links[l.Index]
	s.links[l.Index] = l
	if !known || before.Name != l.Name {
		s.settleLink(l)
		s.assignNumbered()
	}
	s.serveLink(before, l)
	s.followLink(before, l)
}

// serveLink opens, refreshes or closes neighbour discovery on a link that was as
// before, and starts or changes its advertiser.
func (s *Shell) serveLink(before, l role.Link) {
	if !s.needed(l.Name) {
		s.retireLink(l.Index)
		return
	}
	if before.Index != 0 && before.Name != l.Name {
		s.closeLink(l.Index)
	}
	c := s.conns[l.Index]
	if c != nil && c.Err() != nil {
		s.closeLink(l.Index)
		c = nil
	}
	if c == nil {
		conn, err := ndconn.Open(ndconn.LinkRef{Index: l.Index, Name: l.Name, MTU: l.MTU}, s.neighborDiscovery)
		if err != nil {
			s.log.LogAttrs(context.Background(), slog.LevelError, "neighbour discovery not started",
				slog.String("link", l.Name), slog.String("reason", err.Error()))
			return
		}
		c = &linkConn{Conn: conn}
		s.conns[l.Index] = c
		s.prepareLink(l)
	} else if before != l {
		if err := c.Refresh(); err != nil {
			s.log.LogAttrs(context.Background(), slog.LevelWarn, "neighbour discovery",
				slog.String("link", l.Name), slog.String("reason", err.Error()))
		}
	}
	c.link = l
	s.startAdvertiser(c)
}

// linkGone forgets a link that was removed.
func (s *Shell) linkGone(now time.Time, index int) {
	s.clientLinkGone(now, index)
	s.closeSocketsOf(index)
	before := s.links[index]
	before.Index = index
	delete(s.links, index)
	delete(s.foreigns, index)
	s.forgetNumbered(index)
	s.holders.linkGone(index)
	for _, h := range s.mobiles {
		h.homeLinks = slices.DeleteFunc(h.homeLinks, func(l int) bool { return l == index })
	}
	s.steerDue, s.takenDue = true, true
	s.closeLink(index)
	s.followLink(before, role.Link{})
}

// finalTimeLive bounds the final advertisements on a link while the daemon goes on.
const finalTimeLive = 10 * time.Second

// retireLink ends neighbour discovery on a link that is not needed any more, behind
// the final advertisements there.
func (s *Shell) retireLink(index int) {
	c := s.conns[index]
	if c == nil {
		return
	}
	if c.advertiser != nil {
		s.retireAdvertiser(c)
	}
	i := slices.IndexFunc(s.leaving, func(a *advertiser) bool { return a.conn == c.Conn && !a.ended() })
	if i < 0 {
		s.closeLink(index)
		return
	}
	delete(s.conns, index)
	go func(a *advertiser) {
		select {
		case <-a.done:
		case <-time.After(finalTimeLive):
			a.abandon()
		}
		_ = c.Close() // it was of use until here
	}(s.leaving[i])
}

// closeLink ends neighbour discovery on a link.
func (s *Shell) closeLink(index int) {
	c := s.conns[index]
	if c == nil {
		return
	}
	delete(s.conns, index)
	if c.advertiser != nil {
		c.advertiser.abandon()
		s.setAdvertiser(c, nil)
	}
	if err := c.Close(); err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelDebug, "closing neighbour discovery",
			slog.String("link", c.link.Name), slog.String("reason", err.Error()))
	}
}

// needed reports whether some role or advertiser uses a link of this name.
func (s *Shell) needed(name string) bool {
	_, advertised := s.advertisementOn(name)
	return advertised || s.isUplink(name) || s.isAnchorUpstream(name) ||
		slices.ContainsFunc(s.agents, func(h *agentHost) bool { return h.config.Interface == name }) ||
		slices.ContainsFunc(s.anchors, func(h *anchorHost) bool { return h.config.Interface == name && name != "" })
}

// isUplink reports whether a mobile attaches by a link of this name.
func (s *Shell) isUplink(name string) bool {
	return slices.ContainsFunc(s.mobiles, func(h *mobileHost) bool { return h.attaches(name) })
}

// prepareLink keeps the kernel from configuring an uplink by itself: addresses
// and routes there are ours, unless it is left to somebody else. Nor is the kernel a
// router there, with the all-routers groups and the R flag in its advertisements: a
// mobile router on a foreign link is none (RFC 3963 §5.6, §5.7). Packets are
// forwarded all the same, as the setting of the whole node alone decides that. What
// hosts believe and routers do not, redirects, is switched off.
func (s *Shell) prepareLink(l role.Link) {
	if !s.isUplink(l.Name) || s.isForeign(l.Name) {
		return
	}
	// Duplicate address detection of the link-local address would cost a second or
	// two whenever the link comes up; where the uplink was one at the start, the
	// watcher has switched it off before the first time.
	for _, setting := range []string{"accept_ra", "autoconf", "accept_dad", "accept_redirects", "forwarding"} {
		if err := s.sysctls.SetLink(l.Index, setting, "0"); err != nil {
			s.log.LogAttrs(context.Background(), slog.LevelWarn, "the kernel may configure an uplink beside us",
				slog.String("link", l.Name), slog.String("setting", setting), slog.String("reason", err.Error()))
		}
	}
}

// neighborDiscovery takes what was heard on a link to the loop, or straight to
// the link's advertiser. It runs in the connection's own goroutine.
func (s *Shell) neighborDiscovery(r ndconn.Received) {
	switch m := r.Message.(type) {
	case nd.RouterAdvertisement:
		s.post(role.RouterHeard{Link: r.Link, Router: r.Header.Source.WithZone(""), RA: m})
	case nd.NeighborAdvertisement:
		s.post(role.NeighborHeard{Link: r.Link, From: r.Header.Source.WithZone(""), Target: m.Target, Solicited: m.Solicited})
	case nd.NeighborSolicitation:
		if r.Header.Source.IsUnspecified() {
			s.post(role.NeighborHeard{Link: r.Link, From: r.Header.Source, Target: m.Target, Solicitation: true})
		}
	case nd.RouterSolicitation:
		if a := s.advertiserOf(r.Link); a != nil {
			a.solicited(r.Header.Source.WithZone(""))
		}
	}
}
