package ndconn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/sock"
	"roam6/nd"
)

// SendReason says why a message could not be sent; its String is a metric label.
type SendReason uint8

// Reasons for a failed send.
const (
	SendFailed    SendReason = iota // anything else
	SendDown                        // the interface is down
	SendGone                        // the interface does not exist any more
	SendNoSource                    // it has no link-local address that may be used
	SendCongested                   // no buffer: the queue is full
	SendTooBig                      // longer than the MTU
	SendUnreachable
	numSendReasons
)

func (r SendReason) String() string {
	switch r {
	case SendDown:
		return "down"
	case SendGone:
		return "gone"
	case SendNoSource:
		return "no_source"
	case SendCongested:
		return "congested"
	case SendTooBig:
		return "too_big"
	case SendUnreachable:
		return "unreachable"
	default:
		return "failed"
	}
}

// SendError is a message that was not sent. The Conn stays usable, unless the
// reason is SendGone.
type SendError struct {
	Link        LinkRef
	Destination netip.Addr
	Reason      SendReason
	Err         error // nil where the reason says it all
}

func (e *SendError) Error() string {
	s := fmt.Sprintf("neighbour discovery message to %v on %v: %v", e.Destination, e.Link, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *SendError) Unwrap() error { return e.Err }

// Is makes SendGone an ErrLinkGone.
func (e *SendError) Is(target error) bool { return target == ErrLinkGone && e.Reason == SendGone }

// SendRS multicasts a router solicitation (RFC 4861 §6.3.7), from the
// link-local address and with the link-layer address, or without either while
// there is none: then the answer is a multicast one.
func (c *Conn) SendRS() error {
	source, linkAddr := c.source()
	if !source.IsValid() {
		return c.send(netip.IPv6Unspecified(), nd.AllRouters(), nd.RouterSolicitation{})
	}
	return c.send(source, nd.AllRouters(), nd.RouterSolicitation{SourceLinkAddr: linkAddr})
}

// SendRA sends a router advertisement to all nodes or to one, from the
// link-local address, or the one of SetSources; without one it fails with SendNoSource
// (RFC 4861 §4.2). It does not wait for anything: of a node that was not heard lately
// the kernel's resolution finds out where it is.
func (c *Conn) SendRA(destination netip.Addr, ra nd.RouterAdvertisement) error {
	source := c.AdvertisingSource()
	if !source.IsValid() {
		c.counters.sendErrors[SendNoSource].Add(1)
		return &SendError{Link: c.link, Destination: destination, Reason: SendNoSource}
	}
	return c.transmit(source, destination, ra, false)
}

// SendDAD multicasts one solicitation for duplicate address detection (RFC 4862
// §5.4.2), with a nonce so that it is known when the link gives it back
// (RFC 7527).
func (c *Conn) SendDAD(target netip.Addr) error {
	c.mu.Lock()
	m := nd.NeighborSolicitation{Target: target, Nonce: c.nonces.fresh(target)}
	c.mu.Unlock()
	return c.send(netip.IPv6Unspecified(), nd.SolicitedNode(target), m)
}

// SendNS asks a neighbour by unicast whether it is there (RFC 4861 §7.3). It
// does not tell the link-layer address, so that source may be an optimistic
// address (RFC 4429 §3.2), and need not be assigned to the interface yet. A
// target whose link-layer address was recorded in the kernel needs no route and
// no address resolution: a router that was there before can be asked as soon as
// the link is up (RFC 6059 §5.5.2).
func (c *Conn) SendNS(source, target netip.Addr) error {
	return c.send(source, target, nd.NeighborSolicitation{Target: target})
}

// SendMulticastNS is SendNS to the solicited-node group of target, for which no
// link-layer address needs to be known.
func (c *Conn) SendMulticastNS(source, target netip.Addr) error {
	return c.send(source, nd.SolicitedNode(target), nd.NeighborSolicitation{Target: target})
}

// SendNA sends a neighbour advertisement. An invalid source stands for the
// link-local address.
func (c *Conn) SendNA(source, destination netip.Addr, m nd.NeighborAdvertisement) error {
	if !source.IsValid() {
		if source, _ = c.source(); !source.IsValid() {
			return c.failed(destination, SendNoSource, nil)
		}
	}
	return c.send(source, destination, m)
}

// send sends m: to a group, or to a neighbour that was heard lately or that the
// kernel knows, straight away; to others by the kernel's address resolution, for
// which it needs a route.
func (c *Conn) send(source, destination netip.Addr, m nd.Message) error {
	return c.transmit(source, destination, m, true)
}

// transmit is send; where ask is not set the kernel is not asked for what it knows of a
// neighbour, which takes the longer the more neighbours it has.
func (c *Conn) transmit(source, destination netip.Addr, m nd.Message, ask bool) error {
	destination = destination.WithZone("")
	packet := build(source, destination, m)
	c.mu.Lock()
	linkAddr := c.neighbors.find(time.Now(), destination)
	pointToPoint := len(c.self.linkAddr) == 0
	c.mu.Unlock()
	switch {
	case destination.IsMulticast():
		linkAddr = multicastLinkAddr(destination)
	case linkAddr == nil && !pointToPoint && ask:
		linkAddr = c.kernelNeighbor(destination)
	}
	var sendErr error
	write := func(to unix.Sockaddr) func(fd uintptr) {
		return func(fd uintptr) {
			for {
				if sendErr = unix.Sendto(int(fd), packet, 0, to); sendErr != unix.EINTR {
					return
				}
			}
		}
	}
	var err error
	switch {
	case pointToPoint || linkAddr != nil:
		to := &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder16(unix.ETH_P_IPV6), Ifindex: c.link.Index}
		if !pointToPoint {
			to.Halen = uint8(copy(to.Addr[:], linkAddr))
		}
		err = c.packetRaw.Control(write(to))
	default:
		err = c.rawConn.Control(write(&unix.SockaddrInet6{ZoneId: uint32(c.link.Index), Addr: destination.As16()}))
	}
	if err == nil {
		err = sendErr
	}
	if err != nil {
		return c.failed(destination, reasonOf(err), err)
	}
	c.counters.sent.count(m)
	return nil
}

func (c *Conn) failed(destination netip.Addr, r SendReason, err error) error {
	if r == SendDown || r == SendNoSource {
		c.forgetSelf()
	}
	c.counters.sendErrors[r].Add(1)
	return &SendError{Link: c.link, Destination: destination, Reason: r, Err: err}
}

func reasonOf(err error) SendReason {
	switch {
	case errors.Is(err, unix.ENETDOWN):
		return SendDown
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return SendGone
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM):
		return SendCongested
	case errors.Is(err, unix.EMSGSIZE):
		return SendTooBig
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return SendUnreachable
	default:
		return SendFailed
	}
}

// build makes the whole IPv6 packet of a message.
func build(source, destination netip.Addr, m nd.Message) []byte {
	b := make([]byte, ipv6HeaderLen, 256)
	b = m.Append(b)
	nd.Seal(source, destination, b[ipv6HeaderLen:])
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6HeaderLen))
	b[offsetNextHeader], b[offsetHopLimit] = protocolICMPv6, nd.HopLimit
	s, d := source.As16(), destination.As16()
	copy(b[offsetSource:], s[:])
	copy(b[offsetDestination:], d[:])
	return b
}

// multicastLinkAddr is the Ethernet address of a group (RFC 2464 §7).
func multicastLinkAddr(group netip.Addr) net.HardwareAddr {
	b := group.As16()
	return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}
