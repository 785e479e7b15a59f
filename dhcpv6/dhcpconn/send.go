package dhcpconn

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"roam6/dhcpv6"
	"roam6/internal/role"
)

// port returns the socket's own port, and whether it is bound to an interface.
func (c *Conn) port() (onLink bool, port uint16) {
	if c.kind == client {
		return true, dhcpv6.ClientPort
	}
	return c.kind == group, dhcpv6.ServerPort
}

// Send sends a message from the socket's own port. The address of m.From, where
// there is one, has to be this node's; without one the kernel chooses. Messages
// to groups do not leave the link (RFC 8415 §7.1).
func (c *Conn) Send(m role.SendDHCP) error {
	link := m.Link
	if onLink, _ := c.port(); onLink {
		link = c.link
	}
	to := unix.SockaddrInet6{Port: int(m.To.Port()), Addr: m.To.Addr().As16()}
	if a := m.To.Addr(); a.IsLinkLocalUnicast() || a.IsMulticast() {
		to.ZoneId = uint32(link)
	}
	info := unix.Inet6Pktinfo{Ifindex: uint32(link)}
	if from := m.From.Addr(); from.IsValid() {
		info.Addr = from.As16()
	}
	control := unix.PktInfo6(&info)
	var err error
	if e := c.raw.Write(func(fd uintptr) bool {
		_, err = unix.SendmsgN(int(fd), m.Message, control, &to, 0)
		return true // a full queue is as a lost packet: nobody waits for it
	}); e != nil {
		err = e
	}
	if err != nil {
		c.counters.sendErrors.Add(1)
		return fmt.Errorf("%v: to %v: %w", c, netip.AddrPortFrom(m.To.Addr(), m.To.Port()), os.NewSyscallError("sendmsg", err))
	}
	c.counters.sent.Add(1)
	return nil
}
