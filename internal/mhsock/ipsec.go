package mhsock

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"

	"roam6/internal/esp"
	"roam6/internal/role"
	"roam6/internal/sock"
	"roam6/mip6"
	"roam6/overlay"
)

// IPsec is what a Conn needs to protect signalling by ESP. The callbacks are called
// like Options.Deliver; all but ICMP and Local are required, and ICMP where Options
// has one.
type IPsec struct {
	// Policies are changed through SetPolicies only.
	Policies *esp.Policies
	// Deliver and ICMP take what those of Options would take, of messages that came
	// in ESP by an association of the packet's home address. The packet is as it was
	// before its sender protected it.
	Deliver func(packet []byte, link int)
	ICMP    func(packet []byte, link int)
	// Local, when not nil, takes what Options.Deliver would take, of local binding
	// updates and acknowledgements of mobility anchor points that came in ESP by an
	// association of an esp.AnchorPolicy, with its SPI.
	Local func(packet []byte, link int, spi uint32)
	// Tunnelled takes a home test init or home test message that came in tunnel
	// mode, and the tunnel. Whether the outer addresses are the tunnel's present
	// ones has not been looked at: that is for the data plane.
	Tunnelled func(packet []byte, end esp.TunnelEnd)
	// Relayed takes a DHCPv6 message between a home address and its agent, of a mobile
	// that is away. Whether the care-of address is the present one has not been looked
	// at, either.
	Relayed func(esp.Datagram)
	// Dropped learns of packets that IPsec drops, from their outer source: among
	// them signalling that must be protected and is not.
	Dropped func(reason role.DropReason, from netip.Addr)
}

// complete reports whether nothing is missing. nil is complete.
func (o *IPsec) complete() bool {
	return o == nil || o.Policies != nil && o.Deliver != nil && o.Tunnelled != nil && o.Relayed != nil && o.Dropped != nil
}

// ipsec is a Conn's part of it.
type ipsec struct {
	*IPsec // nil: none

	mu      sync.Mutex // held by one who changes the policies
	closed  bool
	unheard *os.File // raw protocol 50, hears nothing: see silence.go
}

// errNoIPsec is a Conn without Options.IPsec.
var errNoIPsec = errors.New("the signalling socket was opened without IPsec")

// SetPolicies replaces the policies, and captures ESP with the SPIs of theirs from
// now on, and that with others which has a header of Mobile IPv6. On an error the policies are as before; it wraps esp.ErrInvalid where the
// policies are the reason.
func (c *Conn) SetPolicies(policies []esp.Policy, anchors ...esp.AnchorPolicy) error {
	s := &c.ipsec
	if s.IPsec == nil {
		return errNoIPsec
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	if err := s.Policies.Replace(policies, anchors...); err != nil {
		return err
	}
	program := append(hostPacketsOnly(), signallingOnly(c.icmp != nil || c.onRefused != nil, !s.Policies.Empty(), s.Policies.SPIs())...)
	var attachErr error
	if err := c.packetRaw.Control(func(fd uintptr) { attachErr = sock.AttachFilter(int(fd), program) }); err != nil {
		return err
	}
	return os.NewSyscallError("SO_ATTACH_FILTER", attachErr)
}

func (s *ipsec) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.unheard == nil {
		return nil
	}
	return s.unheard.Close()
}

// protect returns what is to be sent for a packet; spi is as for SendBy, or zero.
func (s *ipsec) protect(packet []byte, spi uint32) ([]byte, error) {
	switch {
	case s.IPsec == nil && spi != 0:
		return nil, errNoIPsec
	case s.IPsec == nil:
		return packet, nil
	case spi != 0:
		return s.Policies.ProtectBy(nil, packet, spi)
	}
	packet, _, err := s.Policies.Protect(nil, packet)
	return packet, err
}

// SendTunnelled sends a home test init or home test message through the tunnel of
// a home address in ESP, between the addresses of the tunnel's path and on its
// link; otherwise it is as Send. It fails with SendProhibited where there is no
// policy for it.
func (c *Conn) SendTunnelled(home overlay.Key, path overlay.Path, inner []byte) error {
	return c.sendSealed(path, func(p *esp.Policies) ([]byte, error) {
		return p.Encapsulate(nil, time.Now(), home, path.Local, path.Remote, inner)
	})
}

// SendRelayed sends a UDP datagram with a DHCPv6 message between a home address and its
// agent in ESP, between the addresses of the tunnel's path and on its link; otherwise it
// is as SendTunnelled. One that the link does not take in one piece is not sent
// (SendTooBig): protected signalling has no fragments.
func (c *Conn) SendRelayed(home overlay.Key, path overlay.Path, datagram []byte) error {
	return c.sendSealed(path, func(p *esp.Policies) ([]byte, error) {
		return p.Enclose(nil, home, path.Local, path.Remote, datagram)
	})
}

// sendSealed sends what seal makes.
func (c *Conn) sendSealed(path overlay.Path, seal func(*esp.Policies) ([]byte, error)) error {
	err := errNoIPsec
	var packet []byte
	if s := &c.ipsec; s.IPsec != nil {
		packet, err = seal(s.Policies)
	}
	if err != nil {
		c.counters.sendErrors[SendProhibited].Add(1)
		return &SendError{Reason: SendProhibited, Source: path.Local, Destination: path.Remote, Link: path.Link, Err: err}
	}
	return c.Send(packet, path.Link, path.Local)
}

// unprotect returns what is to be dispatched of a packet that was received: itself,
// unless IPsec has something to do with it. It belongs to the buffer.
func (c *Conn) unprotect(packet []byte, link int) []byte {
	s := &c.ipsec
	if s.IPsec == nil {
		return packet
	}
	r, err := s.Policies.Unprotect(packet)
	switch {
	case err != nil:
		if reason := esp.DropReason(err); reason != 0 {
			c.counters.denied.Add(1)
			s.Dropped(reason, netip.AddrFrom16([16]byte(packet[offsetSource:offsetDestination])))
		}
		return nil
	case !r.Protected && !r.Regional:
		return packet
	}
	deliver := s.Deliver
	switch protocol, _ := payloadOf(r.Packet); {
	case r.Regional:
		if deliver = nil; s.Local != nil {
			deliver = func(packet []byte, link int) { s.Local(packet, link, r.SPI) }
		}
	case r.Datagram != nil:
		deliver = func([]byte, int) { s.Relayed(*r.Datagram) }
	case r.Tunnel != nil:
		deliver = func(packet []byte, _ int) { s.Tunnelled(packet, *r.Tunnel) }
	case protocol == mip6.ProtocolICMPv6:
		deliver = s.ICMP
	}
	if deliver != nil {
		c.counters.protected.Add(1)
		c.counters.delivered.Add(1)
		deliver(r.Packet, link)
	}
	return nil
}
