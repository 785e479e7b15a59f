package mhsock

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/sock"
	"roam6/mip6"
)

// maxPacket is larger than any packet that holds a Mobility Header (2,048
// octets at most, RFC 6275 §6.1.1) behind the headers the filter lets pass, or
// an ICMPv6 message as the RFCs allow it (1,280 octets).
const maxPacket = 40 + 2048 + 2048 + 2048

// errorPause keeps a broken socket from spinning.
const errorPause = 10 * time.Millisecond

func openPacket(buffer int, icmp bool) (_ *os.File, err error) {
	// Protocol 0 receives nothing: no packet gets in before the filter is on.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := sock.AttachFilter(fd, append(hostPacketsOnly(), signallingOnly(icmp, false, nil)...)); err != nil {
		return nil, os.NewSyscallError("SO_ATTACH_FILTER", err)
	}
	// Saves the kernel the filter run for what we send; older kernels (< 4.20)
	// lack it and the filter does it alone.
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder16(unix.ETH_P_IPV6)}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	return newFile(fd, "mhsock packet"), nil
}

// receiveRunLoop reads until Close. No error of the socket ends it: an
// interface that goes down or memory pressure passes.
func (c *Conn) receiveRunLoop() {
	defer c.running.Done()
	buffer := make([]byte, maxPacket)
	var (
		n       int
		from    unix.Sockaddr
		readErr error
		lastErr error
	)
	read := func(fd uintptr) bool {
		// MSG_TRUNC makes n the packet's true length.
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
		case err != nil:
			c.counters.receiveErrors.Add(1)
			if lastErr == nil || err.Error() != lastErr.Error() {
				c.log.LogAttrs(context.Background(), slog.LevelWarn, "receiving signalling failed; continuing",
					slog.Any("error", err))
			}
			lastErr = err
			select {
			case <-c.done:
				return
			case <-time.After(errorPause):
			}
			continue
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok {
			continue
		}
		c.counters.received.Add(1)
		if n > len(buffer) {
			c.counters.malformed.Add(1)
			continue
		}
		packet, verdict := check(buffer[:n], c.local, c.anycasts.contains)
		switch verdict {
		case deliverable:
			if packet = c.unprotect(packet, link.Ifindex); packet != nil {
				c.dispatch(packet, link.Ifindex)
			}
		case malformed:
			c.counters.malformed.Add(1)
		case martian:
			c.counters.martian.Add(1)
		case notLocal:
			c.counters.notLocal.Add(1)
		}
	}
}

// dispatch hands a packet to whom it concerns. It belongs to the buffer.
func (c *Conn) dispatch(packet []byte, link int) {
	protocol, at := payloadOf(packet)
	deliver := c.deliver
	switch {
	case protocol != mip6.ProtocolICMPv6:
	case len(packet) > at && packet[at] == icmpParameterProblem:
		if c.onRefused != nil {
			c.refused(packet, at)
		}
		return
	default:
		deliver = c.icmp
	}
	if deliver != nil {
		c.counters.delivered.Add(1)
		deliver(append([]byte(nil), packet...), link)
	}
}

// verdict is what check found.
type verdict uint8

const (
	deliverable verdict = iota
	malformed           // no IPv6 packet, or shorter than it says
	martian             // an address that no packet may have on a wire
	notLocal            // addressed to another node: we only forward it
)

// check repeats those checks of the kernel's ip6_rcv that a packet socket is
// ahead of, and returns the packet without the padding of short frames. An
// anycast address receives ICMPv6 only: no node registers with one.
func check(b []byte, local, anycast func(netip.Addr) bool) ([]byte, verdict) {
	if len(b) < ipv6HeaderLen || b[0]>>4 != 6 {
		return nil, malformed
	}
	end := ipv6HeaderLen + int(binary.BigEndian.Uint16(b[4:6]))
	if len(b) < end {
		return nil, malformed
	}
	source := netip.AddrFrom16([16]byte(b[offsetSource:offsetDestination]))
	destination := netip.AddrFrom16([16]byte(b[offsetDestination:ipv6HeaderLen]))
	// RFC 4291 §2.5.2, §2.5.3, §2.7. A node's packets to itself travel over the
	// loopback interface with its own addresses, never with ::1.
	if source.IsMulticast() || source.IsUnspecified() || source.IsLoopback() || source.Is4In6() ||
		destination.IsMulticast() || destination.IsUnspecified() || destination.IsLoopback() {
		return nil, martian
	}
	if !local(destination) && !(b[offsetNextHeader] == mip6.ProtocolICMPv6 && anycast(destination)) {
		return nil, notLocal
	}
	return b[:end], deliverable
}
