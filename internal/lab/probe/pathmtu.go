package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/lab/netns"
)

// Discovery is how an application's host found the path MTU (RFC 8201).
type Discovery struct {
	// MTU is the size of the largest packet that arrived, in octets, as the host
	// knows it: what its kernel allows now.
	MTU int
	// First is the size of the first packet that was sent, Lost how many were not
	// heard of again: each Packet Too Big costs the packet that it is about.
	First, Lost int
}

const (
	// headers are those of IPv6 and UDP.
	headers = 40 + 8
	// discoverPause is how long a packet and the message that it is too big may
	// take.
	discoverPause = 250 * time.Millisecond
	longest       = 65535
)

// DiscoverPathMTU sends datagrams of the largest size that the sender's kernel
// takes for the path until one arrives. It learns only from ICMPv6, as any
// application does that does not fragment. The error is that of ctx when none
// arrives.
func DiscoverPathMTU(ctx context.Context, from, to *netns.Space, destination netip.AddrPort) (d Discovery, err error) {
	receiver, err := datagramSocket(to)
	if err != nil {
		return d, err
	}
	defer func() { _ = unix.Close(receiver) }()
	address := &unix.SockaddrInet6{Addr: destination.Addr().As16(), Port: int(destination.Port())}
	timeout := unix.NsecToTimeval(int64(discoverPause))
	err = errors.Join(
		unix.SetsockoptTimeval(receiver, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.Bind(receiver, address))
	if err != nil {
		return d, fmt.Errorf("path MTU: receive at %v in %s: %w", destination, to.Name(), err)
	}
	sender, err := datagramSocket(from)
	if err != nil {
		return d, err
	}
	defer func() { _ = unix.Close(sender) }()
	err = errors.Join(
		unix.SetsockoptInt(sender, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO),
		unix.Connect(sender, address))
	if err != nil {
		return d, fmt.Errorf("path MTU: send to %v from %s: %w", destination, from.Name(), err)
	}
	b, got := make([]byte, longest), make([]byte, longest)
	for number := uint64(1); ctx.Err() == nil; number++ {
		mtu, err := unix.GetsockoptInt(sender, unix.IPPROTO_IPV6, unix.IPV6_MTU)
		if err != nil {
			return d, fmt.Errorf("path MTU: %w", err)
		}
		if mtu < headers+16 || mtu > longest {
			return d, fmt.Errorf("path MTU: the kernel of %s takes %d octets", from.Name(), mtu)
		}
		if d.First == 0 {
			d.First = mtu
		}
		binary.BigEndian.PutUint64(b, magic)
		binary.BigEndian.PutUint64(b[8:], number)
		// The error may be one that came in about the packet before.
		if _, err := unix.Write(sender, b[:mtu-headers]); err != nil {
			continue
		}
		for {
			n, err := unix.Read(receiver, got)
			if err != nil || n < 16 {
				d.Lost++
				break
			}
			if n == mtu-headers && binary.BigEndian.Uint64(got[8:]) == number {
				d.MTU = mtu
				return d, nil
			}
		}
	}
	return d, ctx.Err()
}

func datagramSocket(in *netns.Space) (fd int, err error) {
	err = in.Do(func() error {
		if fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return fmt.Errorf("path MTU: socket in %s: %w", in.Name(), err)
		}
		return nil
	})
	return fd, err
}
