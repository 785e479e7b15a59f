// Package ndconn moves neighbour discovery between a link and the node. It
// hears what the kernel would not tell (router advertisements where accept_ra
// is 0, solicitations for addresses that are not assigned here) and sends what
// the kernel would not send (duplicate address detection of our own,
// advertisements for the address of somebody who is away).
//
// There is one path for all of it, on every kernel and in every state of the
// link: a packet socket bound to the interface, with a filter in the kernel
// that passes nothing but the four messages with hop limit 255. It hears all
// multicast groups of the link (allmulti), so that a home agent need not have
// 100,000 memberships to answer for as many mobiles. It sends whole IPv6
// packets to the link-layer address that a group maps to, or that a neighbour
// was heard from a moment ago. Only a unicast to a neighbour that was not heard
// goes through the kernel's address resolution, by a raw socket.
package ndconn

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/nd"
)

// ErrLinkGone is what Err returns after the interface was removed, or moved to
// another network namespace. A new Conn is needed when it comes back, since its
// index will be another.
var ErrLinkGone = errors.New("the interface is gone")

// LinkRef names an interface. Only the index tells which it is; the name is for
// messages.
type LinkRef struct {
	Index int
	Name  string
	MTU   int
}

// Received is a valid message that was heard on a link.
type Received struct {
	Link   int // interface index
	Header nd.Header
	// LinkAddr is the link-layer address the frame came from, empty on links
	// that have none.
	LinkAddr net.HardwareAddr
	Message  nd.Message
	Body     []byte // the ICMPv6 message
}

// Conn is neighbour discovery on one interface. Its methods may be called by
// several goroutines.
type Conn struct {
	link    LinkRef
	handler func(Received)

	packet    *os.File // AF_PACKET: receives, and sends where the next hop is known
	packetRaw syscall.RawConn
	raw       *os.File // IPPROTO_RAW: sends by the kernel's address resolution
	rawConn   syscall.RawConn
	group     *os.File // holds the group memberships of defended addresses
	groupConn syscall.RawConn
	netlink   *netlink.Handle

	refreshing sync.Mutex // guards netlink

	mu        sync.Mutex
	self      self
	sources   []netip.Addr // of advertisements; see SetSources
	neighbors neighbors
	nonces    nonces

	defense  defense
	counters counters

	closed atomic.Bool
	done   chan struct{}
	err    error // valid when done is closed
}

// Open opens the sockets of a link in the calling thread's network namespace
// and begins to receive. The interface need not be up, nor have an address.
// handler is called from one goroutine for each valid message of another node;
// while it blocks, packets queue in the socket's buffer and, when that is full,
// are dropped and counted. It owns what it is given, and must not call Close.
//
// It needs CAP_NET_RAW.
func Open(link LinkRef, handler func(Received)) (_ *Conn, err error) {
	c := &Conn{link: link, handler: handler, done: make(chan struct{})}
	defer func() {
		if err != nil {
			c.closeSockets()
			err = fmt.Errorf("neighbour discovery on %v: %w", link, explain(err))
		}
	}()
	if c.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	if c.raw, c.rawConn, err = openRaw(link.Index); err != nil {
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	if c.group, c.groupConn, err = openGroup(); err != nil {
		return nil, fmt.Errorf("socket for groups: %w", err)
	}
	if c.packet, c.packetRaw, err = openPacket(link.Index); err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	if err = c.Refresh(); err != nil {
		return nil, err
	}
	go c.receiveRunLoop()
	return c, nil
}

// Link returns what Open was given.
func (c *Conn) Link() LinkRef { return c.link }

func (l LinkRef) String() string {
	if l.Name == "" {
		return fmt.Sprintf("interface %d", l.Index)
	}
	return l.Name
}

// Done is closed when the Conn does not receive any more: it was closed, or the
// interface is gone.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err tells why Done is closed: nil after Close, ErrLinkGone or another error
// otherwise. It is nil while Done is open.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Close closes the sockets, and with them leaves all groups. After it returns
// handler is not called any more.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	err := c.closeSockets()
	<-c.done
	return err
}

func (c *Conn) closeSockets() error {
	var err error
	for _, f := range []*os.File{c.packet, c.raw, c.group} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	if c.netlink != nil {
		c.netlink.Close()
	}
	return err
}

// explain tells the operator what to do about an error of Open.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: run as root or with CAP_NET_RAW and CAP_NET_ADMIN", err)
	case isGone(err):
		return fmt.Errorf("%w: %w", ErrLinkGone, err)
	default:
		return err
	}
}

// isGone reports whether an error says that there is no such interface.
func isGone(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) || errors.As(err, &notFound)
}

// source returns the address that solicitations come from, and advertisements where
// nothing else was said: the link-local one. It looks again where it found none before.
func (c *Conn) source() (netip.Addr, net.HardwareAddr) {
	c.mu.Lock()
	s := c.self
	c.mu.Unlock()
	if !s.linkLocal.IsValid() && c.Refresh() == nil {
		c.mu.Lock()
		s = c.self
		c.mu.Unlock()
	}
	return s.linkLocal, s.linkAddr
}
