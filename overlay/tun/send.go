package tun

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"roam6/overlay"
)

// message is struct mmsghdr of the kernel.
type message struct {
	header unix.Msghdr
	length uint32
}

// sender sends batches of outer packets through a raw socket that takes whole
// packets. An outer packet must leave with the care-of address as its source by
// the link of that address: the source is given to the route look-up by
// IPV6_PKTINFO, and the link by binding the socket, since the interface in
// IPV6_PKTINFO is only a wish (a more specific route over another one wins).
// Of one goroutine.
type sender struct {
	fd   int
	link int // bound to; 0: none

	messages []message
	vectors  [][2]unix.Iovec
	names    []unix.RawSockaddrInet6
	controls [][]byte
	drops    *dropCounters
	sealed   atomic.Pointer[sealedSender] // nil: not open
	tooBig   func(*path)                  // the first link does not take what the path MTU allows
}

func openSender(size, buffer int, drops *dropCounters, tooBig func(*path)) (*sender, error) {
	// IPPROTO_RAW takes whole packets (IPV6_HDRINCL) and receives nothing.
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return nil, openError("raw socket", err)
	}
	setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, buffer)
	s := &sender{
		fd: fd, drops: drops, tooBig: tooBig,
		messages: make([]message, size), vectors: make([][2]unix.Iovec, size),
		names: make([]unix.RawSockaddrInet6, size), controls: make([][]byte, size),
	}
	for i := range size {
		s.controls[i] = make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo))
		c := (*unix.Cmsghdr)(unsafe.Pointer(&s.controls[i][0]))
		c.Level, c.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		c.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		s.names[i].Family = unix.AF_INET6
		h := &s.messages[i].header
		h.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		h.Namelen = unix.SizeofSockaddrInet6
		h.Iov = &s.vectors[i][0]
		h.Control = &s.controls[i][0]
		h.SetControllen(len(s.controls[i]))
	}
	return s, nil
}

// setBuffer sets the size of a socket buffer, beyond the system's limit where
// the privilege allows. A smaller one works too.
func setBuffer(fd, forced, option, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, forced, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, size)
	}
}

// send sends all packets, in order. What cannot be sent is counted.
func (s *sender) send(all []datagram) {
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].path.Link == all[0].path.Link && all[n].path.seal.On() == all[0].path.seal.On() {
			n++
		}
		if all[0].path.seal.On() {
			s.sendSealed(all[:n])
		} else {
			s.sendRun(all[:n])
		}
		all = all[n:]
	}
}

// sendSealed sends packets of sealed tunnels that leave by the same link.
func (s *sender) sendSealed(run []datagram) {
	q := s.sealed.Load()
	if q == nil {
		s.drops[overlay.DropUnprotected].Add(uint64(len(run)))
		return
	}
	for i := range run {
		q.fill(i, &run[i])
	}
	s.sendAll(run, q.fd, &q.link, q.messages, sealedDropReason)
}

// sendRun sends packets that leave by the same link.
func (s *sender) sendRun(run []datagram) {
	for i := range run {
		d := &run[i]
		v := &s.vectors[i]
		v[0].Base = &d.headers[0]
		v[0].SetLen(d.length)
		pieces := 1
		if len(d.payload) > 0 {
			v[1].Base = &d.payload[0]
			v[1].SetLen(len(d.payload))
			pieces = 2
		}
		s.messages[i].header.SetIovlen(pieces)
		d.path.remote.put(s.names[i].Addr[:])
		d.path.local.put(s.controls[i][unix.CmsgLen(0):])
	}
	s.sendAll(run, s.fd, &s.link, s.messages, dropReason)
}

// sendAll sends the messages of a run by a socket that is bound to a link.
func (s *sender) sendAll(run []datagram, fd int, bound *int, messages []message, reasonOf func(error) overlay.DropReason) {
	if link := run[0].path.Link; link != *bound {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, link); err != nil {
			s.drops[dropReason(err)].Add(uint64(len(run)))
			return
		}
		*bound = link
	}
	for at := 0; at < len(run); {
		n, err := sendmmsg(fd, messages[at:len(run)])
		at += n
		if err != nil {
			// It is the first one of the rest that failed.
			reason := reasonOf(err)
			s.drops.count(reason)
			if reason == overlay.DropTooBig {
				s.tooBig(run[at].path)
			}
			at++
		}
	}
}

// sendmmsg does not wait: a full queue is a dropped packet, as in any router,
// and does not hold up what goes another way. After an error n is 0.
func sendmmsg(fd int, messages []message) (n int, err error) {
	for {
		n, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages[0])), uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}

// dropReason says what an error of the kernel means for a packet.
func dropReason(err error) overlay.DropReason {
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETDOWN),
		errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return overlay.DropUnreachable
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EINVAL):
		// EINVAL is what the kernel says to a source in IPV6_PKTINFO that is not
		// assigned, or still tentative.
		return overlay.DropNoSource
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM):
		return overlay.DropQueueFull
	case errors.Is(err, unix.EMSGSIZE):
		return overlay.DropTooBig
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return overlay.DropProhibited
	default:
		return overlay.DropFailed
	}
}
