// Package dhcpconn moves DHCPv6 messages between UDP sockets and the node
// (RFC 8415 §7.2). There are three kinds of sockets:
//
//	client  port 546 of one interface; what comes to its link-local address
//	server  port 547 of one address, for relays and servers; the address may come
//	        and go, as the home address of a mobile router does
//	group   port 547 and the group of all relays and servers on one interface
//
// They stand other DHCPv6 programs on the machine: each is bound to an interface
// or an address, and what is sent elsewhere is not taken from anybody. No state
// of the interface and no message ends a socket; only Close does.
//
// Interfaces are numbers here and in every zone: a name would be looked up in a
// cache that does not notice when an interface is made anew.
package dhcpconn

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"roam6/dhcpv6"
	"roam6/internal/role"
)

// kind tells the sockets apart.
type kind uint8

const (
	client kind = iota
	server
	group
)

// Conn is a socket. Its methods may be called by several goroutines.
type Conn struct {
	kind    kind
	link    int        // of client and group
	address netip.Addr // of server
	handler func(role.DHCPReceived)

	file *os.File
	raw  syscall.RawConn

	counters counters
	closed   atomic.Bool
	done     chan struct{} // closed when nothing is received any more
}

// OpenClient opens the client's socket of an interface, in the calling thread's
// network namespace, and begins to receive. The interface need not be up, nor
// have an address. It needs CAP_NET_BIND_SERVICE, as every Open here.
//
// handler is called from one goroutine for each message; while it blocks, messages
// queue in the socket's buffer and, when that is full, are lost. It owns what it
// is given, and must not call Close.
func OpenClient(link int, handler func(role.DHCPReceived)) (*Conn, error) {
	return open(&Conn{kind: client, link: link, handler: handler})
}

// OpenServer opens the socket of a relay's or server's own address. The address
// need not be assigned yet.
func OpenServer(address netip.Addr, handler func(role.DHCPReceived)) (*Conn, error) {
	return open(&Conn{kind: server, address: address, handler: handler})
}

// OpenGroup opens the socket that hears clients on an interface which know no
// server's address.
func OpenGroup(link int, handler func(role.DHCPReceived)) (*Conn, error) {
	return open(&Conn{kind: group, link: link, handler: handler})
}

func open(c *Conn) (*Conn, error) {
	if c.handler == nil {
		return nil, fmt.Errorf("%v: no handler", c)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", c, os.NewSyscallError("socket", err))
	}
	if err := c.prepare(fd); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%v: %w", c, explain(err))
	}
	c.file = os.NewFile(uintptr(fd), "dhcpv6")
	if c.raw, err = c.file.SyscallConn(); err != nil {
		c.file.Close()
		return nil, fmt.Errorf("%v: %w", c, err)
	}
	c.done = make(chan struct{})
	go c.receiveRunLoop()
	return c, nil
}

// prepare sets the options of a socket and binds it.
func (c *Conn) prepare(fd int) error {
	set := func(name string, level, option, value int) error {
		return os.NewSyscallError(name, unix.SetsockoptInt(fd, level, option, value))
	}
	err := errors.Join(
		set("IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1),
		set("SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		set("IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
		// Our own solicitations are nothing to our own server.
		set("IPV6_MULTICAST_LOOP", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0),
	)
	// What other sockets of the machine have joined is theirs (kernel 4.20; before,
	// the roles have to tell by the destination).
	_ = set("IPV6_MULTICAST_ALL", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)
	if err != nil {
		return err
	}
	local := unix.SockaddrInet6{}
	switch c.kind {
	case client:
		local.Port = int(dhcpv6.ClientPort)
		err = set("SO_BINDTOIFINDEX", unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, c.link)
	case server:
		local.Port, local.Addr = int(dhcpv6.ServerPort), c.address.As16()
		err = set("IPV6_FREEBIND", unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
	case group:
		// Bound to the group, it takes nothing that is meant for an address.
		local.Port, local.Addr, local.ZoneId = int(dhcpv6.ServerPort), dhcpv6.AllRelayAgentsAndServers().As16(), uint32(c.link)
		err = errors.Join(
			set("SO_BINDTOIFINDEX", unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, c.link),
			os.NewSyscallError("IPV6_JOIN_GROUP", unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP,
				&unix.IPv6Mreq{Multiaddr: local.Addr, Interface: uint32(c.link)})),
		)
	}
	if err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(fd, &local))
}

// explain tells the operator what to do about an error of an Open.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: run as root or with CAP_NET_BIND_SERVICE", err)
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w: another DHCPv6 program has the port", err)
	default:
		return err
	}
}

// String names the socket in messages.
func (c *Conn) String() string {
	switch c.kind {
	case client:
		return fmt.Sprintf("DHCPv6 client socket on interface %d", c.link)
	case server:
		return fmt.Sprintf("DHCPv6 socket of %v", c.address)
	case group:
		return fmt.Sprintf("DHCPv6 server socket on interface %d", c.link)
	default:
		return "DHCPv6 socket"
	}
}

// Close closes the socket. After it returns handler is not called any more.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	err := c.file.Close()
	<-c.done
	return err
}
