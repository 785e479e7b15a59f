package ndconn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"roam6/nd"
)

const (
	leastBuffer = 2048
	mostBuffer  = 65535
	// downPoll is how often a Conn looks whether an interface that went down
	// is gone.
	downPoll = 250 * time.Millisecond
	// errorPause keeps a broken socket from spinning.
	errorPause = 10 * time.Millisecond
)

// receiveRunLoop reads until Close or until the interface is gone. Nothing else
// ends it: an interface that is down comes up again, memory pressure passes.
func (c *Conn) receiveRunLoop() {
	defer close(c.done)
	buffer := make([]byte, min(max(c.link.MTU, leastBuffer), mostBuffer))
	var (
		n       int
		from    unix.Sockaddr
		readErr error
		down    bool
	)
	read := func(fd uintptr) bool {
		n, from, readErr = unix.Recvfrom(int(fd), buffer, unix.MSG_TRUNC)
		return readErr != unix.EAGAIN
	}
	for {
		err := c.packetRaw.Read(read)
		if err == nil {
			err = readErr
		}
		switch {
		case c.closed.Load():
			return
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil:
			if down {
				down = false
				_ = c.packet.SetReadDeadline(time.Time{})
			}
			c.take(buffer, n, from)
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, unix.ENETDOWN):
			down = true
			c.counters.receiveErrors.Add(1)
			c.forgetSelf()
		default:
			c.counters.receiveErrors.Add(1)
			time.Sleep(errorPause)
		}
		if !c.linkExists() {
			c.err = ErrLinkGone
			return
		}
		if down {
			// The kernel says once that the interface is down, and nothing when
			// it goes for good.
			_ = c.packet.SetReadDeadline(time.Now().Add(downPoll))
		}
	}
}

// linkExists reports whether the packet socket is still bound to an interface:
// the kernel sets its index to -1 when the interface is removed.
func (c *Conn) linkExists() bool {
	exists := true
	_ = c.packetRaw.Control(func(fd uintptr) {
		a, err := unix.Getsockname(int(fd))
		if l, ok := a.(*unix.SockaddrLinklayer); err == nil && ok {
			exists = l.Ifindex == c.link.Index
		}
	})
	return exists
}

// take takes in one packet of n octets.
func (c *Conn) take(buffer []byte, n int, from unix.Sockaddr) {
	c.counters.received.Add(1)
	if n > len(buffer) {
		c.counters.invalid[nd.ReasonTruncated].Add(1)
		return
	}
	b := buffer[:n]
	if len(b) < ipv6HeaderLen {
		c.counters.invalid[nd.ReasonTruncated].Add(1)
		return
	}
	end := ipv6HeaderLen + int(binary.BigEndian.Uint16(b[4:]))
	if len(b) < end || b[0]>>4 != 6 || b[offsetNextHeader] != protocolICMPv6 {
		c.counters.invalid[nd.ReasonTruncated].Add(1)
		return
	}
	r := Received{
		Link: c.link.Index,
		Header: nd.Header{
			Source:      netip.AddrFrom16([16]byte(b[offsetSource:offsetDestination])),
			Destination: netip.AddrFrom16([16]byte(b[offsetDestination:ipv6HeaderLen])),
			HopLimit:    b[offsetHopLimit],
		},
		Body: bytes.Clone(b[ipv6HeaderLen:end]),
	}
	if l, ok := from.(*unix.SockaddrLinklayer); ok && int(l.Halen) <= len(l.Addr) {
		r.LinkAddr = net.HardwareAddr(bytes.Clone(l.Addr[:l.Halen]))
	}
	var err error
	if r.Message, err = nd.Parse(r.Header, r.Body); err != nil {
		var invalid *nd.ParseError
		if errors.As(err, &invalid) {
			c.counters.invalid[invalid.Reason].Add(1)
		}
		return
	}
	if !c.note(r) {
		c.counters.looped.Add(1)
		return
	}
	if m, ok := r.Message.(nd.NeighborSolicitation); ok {
		c.answer(r, m)
	}
	c.counters.delivered.count(r.Message)
	c.handler(r)
}

// note remembers where the message came from, and reports whether it is of
// another node. Our own come back from links that loop (RFC 7527 §1). A
// solicitation for duplicate address detection is ours only if its nonce is:
// that its link-layer address is ours may be the very fault to be detected.
func (c *Conn) note(r Received) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	mine := len(r.LinkAddr) > 0 && bytes.Equal(r.LinkAddr, c.self.linkAddr)
	linkAddr := r.LinkAddr
	switch m := r.Message.(type) {
	case nd.NeighborSolicitation:
		if r.Header.Source.IsUnspecified() {
			return !c.nonces.ours(m)
		}
		linkAddr = c.preferred(m.SourceLinkAddr, linkAddr)
	case nd.RouterSolicitation:
		linkAddr = c.preferred(m.SourceLinkAddr, linkAddr)
	case nd.RouterAdvertisement:
		linkAddr = c.preferred(m.SourceLinkAddr, linkAddr)
	case nd.NeighborAdvertisement:
	}
	if mine {
		return false
	}
	if len(linkAddr) > 0 && len(linkAddr) == len(c.self.linkAddr) && !r.Header.Source.IsUnspecified() {
		c.neighbors.learn(time.Now(), r.Header.Source, linkAddr)
	}
	return true
}

// preferred returns the link-layer address that an option told, if it is one
// of this link's kind.
func (c *Conn) preferred(told, frame net.HardwareAddr) net.HardwareAddr {
	if len(told) == len(c.self.linkAddr) {
		return told
	}
	return frame
}
