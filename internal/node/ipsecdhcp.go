package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"roam6/dhcpv6/dhcpconn"
	"roam6/internal/esp"
	"roam6/internal/mhsock"
	"roam6/internal/role"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// DHCPv6 messages between the relay of a mobile router that is away and its home agent
// go in ESP where there is a policy for the two (RFC 6276 §4). They are made here and
// sent with the other signalling, not by a UDP socket whose packets the data plane would
// find among those that it forwards: what is forwarded may have the router's home address
// from somebody in its network. And what the UDP sockets hear between such two, whichever
// way it came, was not in ESP. At home none of these messages is between global addresses.

// between finds the policy for DHCPv6 messages that this node sends from local to
// remote, or gets the other way. Several goroutines may call it.
func (p *protection) between(local, remote netip.Addr) (home overlay.Key, ok bool) {
	if p.policies == nil {
		return overlay.Key{}, false
	}
	return p.policies.Between(local, remote)
}

// relays reports whether there is such a policy: what the data plane asks.
func (p *protection) relays(local, remote netip.Addr) bool {
	_, ok := p.between(local, remote)
	return ok
}

// errNotAway is a message that only a mobile that is away is sent, or sends.
var errNotAway = errors.New("it may leave in ESP only, and there is no binding that says to where")

// sendRelayed sends a message that has to be in ESP to, or from, where the mobile is now.
func (s *Shell) sendRelayed(home overlay.Key, m role.SendDHCP) error {
	path, ok := s.ipsec.engine.Path(home)
	here, there := path.Remote, m.To.Addr() // of the home agent: as bound, and as meant
	if home.Side == overlay.AgentSide {
		here, there = path.Local, m.From.Addr()
	}
	if !ok || here != there {
		return errNotAway
	}
	datagram, err := dhcpconn.AppendDatagram(nil, m.From, m.To, m.Message)
	if err != nil {
		return err
	}
	var failed *mhsock.SendError
	if err := s.ipsec.conn.SendRelayed(home, path, datagram); errors.As(err, &failed) && failed.Reason == mhsock.SendTooBig {
		return fmt.Errorf("a message of %d octets is too long for the link in ESP, where it cannot go in fragments: %w", len(m.Message), err)
	} else if err != nil {
		return err
	}
	s.metrics.DHCPSent(m.Message)
	return nil
}

// relayedReceived takes a message that came in ESP. It runs in the signalling socket's
// goroutine. The link is that of the data plane, as of all that was checked against the
// binding.
func (s *Shell) relayedReceived(d esp.Datagram) {
	if !s.listed.Load() {
		return
	}
	if err := s.ipsec.engine.Accept(d.Key, d.Source, d.Destination); err != nil { // counted there
		if !errors.Is(err, tun.ErrClosed) {
			s.log.LogAttrs(context.Background(), slog.LevelDebug, "message dropped", slog.Any("reason", err))
		}
		return
	}
	m, err := dhcpconn.ParseDatagram(d.UDP, d.From(), d.To())
	if err != nil {
		reason := role.DropMalformed
		if errors.Is(err, dhcpconn.ErrChecksum) {
			reason = role.DropChecksum
		}
		s.metrics.DHCPDropped(reason)
		return
	}
	m.Link = s.tunnel
	s.post(m)
}
