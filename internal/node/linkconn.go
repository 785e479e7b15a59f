package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"roam6/internal/role"
	"roam6/nd"
	"roam6/nd/ndconn"
)

// linkConn is neighbour discovery on a link that a role or an advertiser uses.
type linkConn struct {
	*ndconn.Conn
	link       role.Link
	advertiser *advertiser // nil unless the link is advertised on
}

func (c *linkConn) solicit() error                      { return c.SendRS() }
func (c *linkConn) probeAddress(a netip.Addr) error     { return c.SendDAD(a) }
func (c *linkConn) probeNeighbor(s, t netip.Addr) error { return c.SendNS(s, t) }

func (c *linkConn) announce(a netip.Addr, router bool) error { return c.Announce(a, router) }

func (c *linkConn) defend(a netip.Addr, router bool) error {
	c.Defend(a, router)
	return nil
}

func (c *linkConn) undefend(a netip.Addr) error {
	c.Undefend(a)
	return nil
}

// onLink does something with neighbour discovery on a link.
func (s *Shell) onLink(index int, do func(*linkConn) error) error {
	c := s.conns[index]
	if c == nil {
		return fmt.Errorf("neighbour discovery on interface %d: it is not there", index)
	}
	return do(c)
}

// linkChanged opens neighbour discovery on a link that is needed, closes it on
// one that is not any more (it was renamed), and starts its advertiser.
func (s *Shell) linkChanged(l role.Link) {
	before, known := s.links[l.Index]
	s.links[l.Index] = l
	if !s.needed(l.Name) {
		s.closeLink(l.Index)
		return
	}
	if known && before.Name != l.Name {
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
func (s *Shell) linkGone(index int) {
	delete(s.links, index)
	s.holders.linkGone(index)
	s.closeLink(index)
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
		c.advertiser = nil
	}
	if err := c.Close(); err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelDebug, "closing neighbour discovery",
			slog.String("link", c.link.Name), slog.String("reason", err.Error()))
	}
}

// needed reports whether some role or advertiser uses a link of this name.
func (s *Shell) needed(name string) bool {
	for _, h := range s.mobiles {
		for _, u := range h.config.Uplinks {
			if u == name {
				return true
			}
		}
	}
	for _, h := range s.agents {
		if h.config.Interface == name {
			return true
		}
	}
	_, ok := s.advertised[name]
	return ok
}

// isUplink reports whether a mobile attaches by a link of this name.
func (s *Shell) isUplink(name string) bool {
	for _, h := range s.mobiles {
		for _, u := range h.config.Uplinks {
			if u == name {
				return true
			}
		}
	}
	return false
}

// prepareLink keeps the kernel from configuring an uplink by itself: addresses
// and routes there are ours.
func (s *Shell) prepareLink(l role.Link) {
	if !s.isUplink(l.Name) {
		return
	}
	for _, setting := range []string{"accept_ra", "autoconf"} {
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
