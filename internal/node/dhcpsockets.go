package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"roam6/dhcpv6"
	"roam6/dhcpv6/dhcpconn"
	"roam6/internal/config"
	"roam6/internal/role"
)

// dhcpSockets are the DHCPv6 sockets of a node. Each is opened when it is needed
// and closed when it is not; what cannot be opened is tried again whenever a link
// or the configuration changes, and said once.
type dhcpSockets struct {
	clients map[int]*dhcpconn.Conn        // by interface
	groups  map[int]*dhcpconn.Conn        // by interface
	servers map[netip.Addr]*dhcpconn.Conn // by own address
	failed  map[string]bool               // what was said, until it is over
}

func newDHCPSockets() dhcpSockets {
	return dhcpSockets{
		clients: make(map[int]*dhcpconn.Conn), groups: make(map[int]*dhcpconn.Conn),
		servers: make(map[netip.Addr]*dhcpconn.Conn), failed: make(map[string]bool),
	}
}

// syncSockets opens what is needed now and closes what is not. Clients' sockets are
// opened with their first message.
func (s *Shell) syncSockets() {
	x := &s.sockets
	for index, c := range x.clients {
		if s.clients[index] == nil && !slices.ContainsFunc(s.mobiles, func(h *mobileHost) bool { return h.config.Delegation }) {
			closeSocket(s, x.clients, index, c)
		}
	}
	for a, c := range x.servers {
		if !s.servesAt(a) {
			closeSocket(s, x.servers, a, c)
		}
	}
	for index, c := range x.groups {
		if !s.delegatesOn(s.links[index].Name) {
			closeSocket(s, x.groups, index, c)
		}
	}
	for _, h := range s.delegators {
		s.serverSocket(h.config.Address)
	}
	for _, h := range s.mobiles {
		if h.config.Delegation {
			s.serverSocket(homeOf(h.config))
		}
	}
	for _, l := range s.links {
		if s.delegatesOn(l.Name) {
			s.groupSocket(l.Index)
		}
	}
}

// servesAt reports whether an address is that of a delegating home agent, or of a
// mobile router with its relay.
func (s *Shell) servesAt(a netip.Addr) bool {
	return slices.ContainsFunc(s.delegators, func(h *delegatorHost) bool { return h.config.Address == a }) ||
		slices.ContainsFunc(s.mobiles, func(h *mobileHost) bool { return h.config.Delegation && homeOf(h.config) == a })
}

// delegatesOn reports whether an interface is the home link of a delegating home
// agent.
func (s *Shell) delegatesOn(name string) bool {
	return slices.ContainsFunc(s.delegators, func(h *delegatorHost) bool { return h.config.Interface == name })
}

// Names of sockets for sayOnce.
func clientName(link int) string { return fmt.Sprintf("client %d", link) }
func groupName(link int) string  { return fmt.Sprintf("group %d", link) }

func (s *Shell) clientSocket(link int) *dhcpconn.Conn {
	return openSocket(s, s.sockets.clients, link, clientName(link), dhcpconn.OpenClient)
}

func (s *Shell) groupSocket(link int) *dhcpconn.Conn {
	return openSocket(s, s.sockets.groups, link, groupName(link), dhcpconn.OpenGroup)
}

func (s *Shell) serverSocket(a netip.Addr) *dhcpconn.Conn {
	return openSocket(s, s.sockets.servers, a, a.String(), dhcpconn.OpenServer)
}

// openSocket finds a socket or opens it; nil, and said, when it cannot be.
func openSocket[K comparable](s *Shell, place map[K]*dhcpconn.Conn, key K, what string, open func(K, func(role.DHCPReceived)) (*dhcpconn.Conn, error)) *dhcpconn.Conn {
	if c := place[key]; c != nil {
		return c
	}
	c, err := open(key, s.deliverDHCP)
	if s.sayOnce(what, "a DHCPv6 socket cannot be opened", err); err != nil {
		return nil
	}
	place[key] = c
	return c
}

// sayOnce tells the operator of trouble with a socket, once until it is over. What
// strangers send must not fill the log.
func (s *Shell) sayOnce(what, text string, err error) {
	if err == nil {
		delete(s.sockets.failed, what)
		return
	}
	if !s.sockets.failed[what] {
		s.sockets.failed[what] = true
		s.log.LogAttrs(context.Background(), slog.LevelWarn, text, slog.String("reason", err.Error()))
	}
}

func closeSocket[K comparable](s *Shell, place map[K]*dhcpconn.Conn, key K, c *dhcpconn.Conn) {
	delete(place, key)
	if err := c.Close(); err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelDebug, "closing a DHCPv6 socket", slog.String("reason", err.Error()))
	}
}

// closeSocketsOf closes the sockets of an interface that is gone: another one will
// not have its index.
func (s *Shell) closeSocketsOf(link int) {
	delete(s.sockets.failed, clientName(link))
	delete(s.sockets.failed, groupName(link))
	if c := s.sockets.clients[link]; c != nil {
		closeSocket(s, s.sockets.clients, link, c)
	}
	if c := s.sockets.groups[link]; c != nil {
		closeSocket(s, s.sockets.groups, link, c)
	}
}

// closeSockets closes all.
func (s *Shell) closeSockets() {
	for index, c := range s.sockets.clients {
		closeSocket(s, s.sockets.clients, index, c)
	}
	for index, c := range s.sockets.groups {
		closeSocket(s, s.sockets.groups, index, c)
	}
	for a, c := range s.sockets.servers {
		closeSocket(s, s.sockets.servers, a, c)
	}
}

// deliverDHCP posts a message that is not in ESP, unless it would have to be. It runs
// in a socket's goroutine.
func (s *Shell) deliverDHCP(m role.DHCPReceived) {
	switch {
	case !s.listed.Load():
	case s.ipsec.relays(m.To.Addr(), m.From.Addr()):
		s.metrics.DHCPDropped(role.DropUnauthenticated)
	default:
		s.post(m)
	}
}

// sendDHCP sends a message by the socket that it belongs to.
func (s *Shell) sendDHCP(m role.SendDHCP) error {
	from := m.From.Addr()
	var c *dhcpconn.Conn
	switch {
	case m.From.Port() == dhcpv6.ClientPort:
		c = s.clientSocket(m.Link)
	case from.IsValid() && !from.IsLinkLocalUnicast():
		if home, ok := s.ipsec.between(from, m.To.Addr()); ok {
			err := s.sendRelayed(home, m)
			s.sayOnce("in ESP from "+from.String()+" to "+m.To.Addr().String(), "a DHCPv6 message is not sent", err)
			return nil
		}
		var err error
		if !s.local.Contains(from) { // a mobile router's home address may be nowhere for a moment
			err = fmt.Errorf("the address %v is not assigned", from)
		}
		if s.sayOnce("from "+from.String(), "DHCPv6 messages are not sent", err); err != nil {
			return nil
		}
		c = s.serverSocket(from)
	default:
		c = s.groupSocket(m.Link)
	}
	if c == nil {
		return nil // said already
	}
	if !from.IsValid() {
		m.From = netip.AddrPortFrom(s.links[m.Link].LinkLocal, m.From.Port())
	}
	s.metrics.DHCPSent(m.Message)
	return c.Send(m)
}

// needsPort reports whether a configuration may ever need a DHCPv6 socket: every
// mobile does where a router says that addresses are managed.
func needsPort(c *config.Config) bool {
	return len(c.MobileNodes)+len(c.PrefixRequests) > 0 ||
		slices.ContainsFunc(c.HomeAgents, func(h config.HomeAgent) bool { return h.Delegation != nil })
}
