package dhcpconn

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/role"
)

const (
	// maxMessage is the longest message that is taken: more than any MTU of an
	// Ethernet without jumbo frames, since long ones come in fragments.
	maxMessage = 4096
	// leastMessage is a type and a transaction identifier (RFC 8415 §8).
	leastMessage = 4
	// errorPause keeps a broken socket from spinning.
	errorPause = 10 * time.Millisecond
)

// receiveRunLoop reads until Close. Nothing else ends it: an interface that is
// down comes up again, memory pressure passes.
func (c *Conn) receiveRunLoop() {
	defer close(c.done)
	buffer := make([]byte, maxMessage)
	control := make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo)*2)
	var (
		n, controlLen, flags int
		from                 unix.Sockaddr
		readErr              error
	)
	read := func(fd uintptr) bool {
		n, controlLen, flags, from, readErr = unix.Recvmsg(int(fd), buffer, control, 0)
		return readErr != unix.EAGAIN
	}
	for {
		err := c.raw.Read(read)
		if err == nil {
			err = readErr
		}
		switch {
		case c.closed.Load():
			return
		case errors.Is(err, unix.EINTR):
		case err != nil:
			c.counters.receiveErrors.Add(1)
			time.Sleep(errorPause)
		case flags&unix.MSG_TRUNC != 0:
			c.counters.long.Add(1)
		default:
			c.take(buffer[:n], control[:controlLen], from)
		}
	}
}

// take delivers one message.
func (c *Conn) take(message, control []byte, from unix.Sockaddr) {
	if len(message) < leastMessage {
		c.counters.short.Add(1)
		return
	}
	source, ok := from.(*unix.SockaddrInet6)
	to, link, told := packetInfo(control)
	if !ok || !told || !c.takes(to, link) || !sender(netip.AddrFrom16(source.Addr)) {
		c.counters.misdirected.Add(1)
		return
	}
	_, port := c.port()
	c.counters.delivered.Add(1)
	c.handler(role.DHCPReceived{
		Link:    link,
		From:    netip.AddrPortFrom(netip.AddrFrom16(source.Addr), uint16(source.Port)),
		To:      netip.AddrPortFrom(to, port),
		Message: append([]byte(nil), message...),
	})
}

// takes reports whether a message to an address on an interface is meant for the
// socket. A client sends from its link-local address and is answered there: from
// beyond the link nobody reaches it.
func (c *Conn) takes(to netip.Addr, link int) bool {
	switch c.kind {
	case client:
		return link == c.link && to.IsLinkLocalUnicast()
	case server:
		return to == c.address
	case group:
		return link == c.link && to.IsLinkLocalMulticast()
	default:
		return false
	}
}

// sender reports whether a message may come from an address.
func sender(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && !a.Is4In6()
}

// packetInfo reads where a message was sent to and on which interface it came
// (RFC 3542 §6.2).
func packetInfo(control []byte) (to netip.Addr, link int, ok bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return to, 0, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo {
			return netip.AddrFrom16([16]byte(m.Data)), int(binary.NativeEndian.Uint32(m.Data[16:])), true
		}
	}
	return to, 0, false
}
