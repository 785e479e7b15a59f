package tun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"roam6/overlay"
)

// Tunnels that are sealed (overlay.Seal): the kernel puts their packets in ESP and takes
// them out. Its policies see the protocol of a socket's packets, and that of one that
// takes whole packets is none; so these leave by a raw socket that says protocol 41, and
// tunnel header and fragments are the kernel's. That socket has a policy of its own, ESP or
// nothing, so that nothing leaves in clear whatever becomes of the system's policies.
// Received packets have a mark, which the inbound associations put on what was in ESP.

// ErrSeal: tunnels cannot be sealed here.
var ErrSeal = errors.New("the kernel does not put tunnels in ESP for this engine")

// ErrSealed: a tunnel that is sealed is in a stack.
var ErrSealed = errors.New("a tunnel in ESP cannot be on another one, nor have another one on it")

// markOf is a firewall mark and its bits.
type markOf struct{ mark, mask uint32 }

func (m markOf) on(mark uint32) bool { return mark&m.mask == m.mark }

// CanSeal reports why tunnels cannot be sealed; the error wraps ErrSeal. nil: they can.
func (e *Engine) CanSeal() error {
	if _, err := unix.GetsockoptInt(e.receive.fd, unix.SOL_SOCKET, unix.SO_RCVMARK); err != nil {
		return fmt.Errorf("%w: it does not tell the mark of received packets (Linux 5.19 does): %w", ErrSeal, err)
	}
	if !e.marks {
		return fmt.Errorf("%w: packets cannot be marked", ErrSeal)
	}
	e.sealing.Lock()
	defer e.sealing.Unlock()
	if e.sender.sealed.Load() != nil {
		return nil
	}
	if err := e.sealer.ready(len(e.sender.messages)); err != nil {
		return fmt.Errorf("%w: %w", ErrSeal, err)
	}
	e.sender.sealed.Store(e.sealer)
	return nil
}

// checkSealed tells what is wrong with a sealed tunnel's place.
func (e *Engine) checkSealed(s *overlay.Tunnel) error {
	if s.Side != overlay.MobileSide {
		return nil
	}
	for _, p := range s.Paths {
		if below := e.mobiles[p.Local]; below != nil && (s.Seal.On() || below.sealed.Load()) {
			return fmt.Errorf("%w: on the tunnel of %v", ErrSealed, p.Local)
		}
	}
	for _, u := range e.on(addressOf(s.Home)) {
		if s.Seal.On() || u.sealed.Load() {
			return fmt.Errorf("%w: the tunnel of %v is on this one", ErrSealed, u.key.Home)
		}
	}
	return nil
}

// sealedControl is the ancillary data of a packet: source and nothing about the link,
// traffic class, and for an encapsulation limit destination options.
const sealedControl = 128

// sealedSender is sender for tunnels that are sealed. Of one goroutine, when it is ready.
type sealedSender struct {
	fd       int
	link     int // bound to; 0: none
	messages []message
	vectors  [][2]unix.Iovec
	names    []unix.RawSockaddrInet6
	controls [][sealedControl]byte
}

func openSealedSender(c Config) (_ *sealedSender, err error) {
	s := &sealedSender{}
	// This protocol receives nothing, and sends any: the one in the place of a port.
	if s.fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW); err != nil {
		return nil, openError("raw socket", err)
	}
	setBuffer(s.fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, c.SocketBuffer)
	for _, o := range []struct{ level, option, value int }{
		{unix.IPPROTO_IPV6, unix.IPV6_HDRINCL, 0},
		{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, outerHopLimit},
	} {
		if err := unix.SetsockoptInt(s.fd, o.level, o.option, o.value); err != nil {
			unix.Close(s.fd)
			return nil, openError("raw socket", err)
		}
	}
	return s, nil
}

// ready has the kernel send in ESP only, and makes room for messages.
func (s *sealedSender) ready(size int) error {
	if err := unix.SetsockoptString(s.fd, unix.IPPROTO_IPV6, unix.IPV6_XFRM_POLICY, string(espOnly())); err != nil {
		return openError("IPsec policy of a socket (on OpenWrt: install kmod-ipsec6; elsewhere: modprobe xfrm_user esp6)", err)
	}
	s.messages, s.vectors = make([]message, size), make([][2]unix.Iovec, size)
	s.names, s.controls = make([]unix.RawSockaddrInet6, size), make([][sealedControl]byte, size)
	for i := range size {
		s.names[i].Family = unix.AF_INET6
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&s.names[i].Port))[:], protocolIPv6)
		h := &s.messages[i].header
		h.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		h.Namelen = unix.SizeofSockaddrInet6
		h.Iov = &s.vectors[i][0]
		h.Control = &s.controls[i][0]
	}
	return nil
}

// espOnly is a policy that sends all packets of a socket in ESP: struct
// xfrm_userpolicy_info and one struct xfrm_user_tmpl.
func espOnly() []byte {
	const (
		policyLength, templateLength          = 168, 64
		offsetSelectorFamily                  = 40
		offsetLimits, limits                  = 56, 4 // of octets and packets, 8 octets each
		offsetDirection, directionOut         = 160, 1
		offsetProtocol, offsetFamily          = 20, 24
		offsetRequest, offsetMode             = 44, 48
		offsetAlgorithms, algorithms, allowed = 52, 3, ^uint32(0)
	)
	b := make([]byte, policyLength+templateLength)
	binary.NativeEndian.PutUint16(b[offsetSelectorFamily:], unix.AF_INET6)
	for i := range limits {
		binary.NativeEndian.PutUint64(b[offsetLimits+8*i:], ^uint64(0))
	}
	b[offsetDirection] = directionOut
	template := b[policyLength:] // transport mode is 0
	template[offsetProtocol] = protocolESP
	binary.NativeEndian.PutUint16(template[offsetFamily:], unix.AF_INET6)
	binary.NativeEndian.PutUint32(template[offsetRequest:], overlay.SealRequest)
	for i := range algorithms {
		binary.NativeEndian.PutUint32(template[offsetAlgorithms+4*i:], allowed)
	}
	return b
}

// fill makes a message of an outer packet, whose header becomes ancillary data.
func (s *sealedSender) fill(i int, d *datagram) {
	control := s.controls[i][:]
	n := 0
	put := func(kind int32, length int) []byte {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&control[n]))
		c.Level, c.Type = unix.IPPROTO_IPV6, kind
		c.SetLen(unix.CmsgLen(length))
		data := control[n+unix.CmsgLen(0):][:length]
		n += unix.CmsgSpace(length)
		return data
	}
	info := put(unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
	clear(info)
	d.path.local.put(info)
	binary.NativeEndian.PutUint32(put(unix.IPV6_TCLASS, 4), uint32(trafficClass(d.headers[:])))
	at := headerLength
	if d.headers[offsetNextHeader] == protocolDestinationOptions {
		copy(put(unix.IPV6_DSTOPTS, limitLength), d.headers[at:])
		at += limitLength
	}
	h := &s.messages[i].header
	h.SetControllen(n)
	pieces := 0
	for _, piece := range [][]byte{d.headers[at:d.length], d.payload} {
		if len(piece) > 0 {
			s.vectors[i][pieces].Base = &piece[0]
			s.vectors[i][pieces].SetLen(len(piece))
			pieces++
		}
	}
	h.SetIovlen(pieces)
	d.path.remote.put(s.names[i].Addr[:])
}

// sealedEnds are the outer addresses of a sealed tunnel's path.
type sealedEnds struct{ local, remote address }

// noteSealed has errors about a tunnel in ESP find it by its outer addresses, which is
// all that they show.
func (e *Engine) noteSealed(t *tunnel) {
	if !t.sealed.Load() {
		return
	}
	for _, p := range t.paths.Load().paths {
		e.sealed[sealedEnds{p.local, p.remote}] = t
	}
}

func (e *Engine) unnoteSealed(t *tunnel) {
	s := t.paths.Load()
	if s == nil {
		return
	}
	for _, p := range s.paths {
		if ends := (sealedEnds{p.local, p.remote}); e.sealed[ends] == t {
			delete(e.sealed, ends)
		}
	}
}

// sealedQuoted is how much of the packet behind the IPv6 header an error about ESP has
// at least: SPI and sequence number.
const sealedQuoted = 8

// sealedError is an ICMPv6 error about a packet in ESP. What was in it cannot be told.
type sealedError struct {
	tunnelError // without inner
}

// parseSealedError reads an ICMPv6 message. ok is false if it is not an error about a
// packet in ESP.
func parseSealedError(b []byte) (e sealedError, ok bool) {
	if len(b) < icmpHeaderLength+headerLength+sealedQuoted || b[0] >= icmpFirstInfo {
		return e, false
	}
	quoted := b[icmpHeaderLength:]
	e.kind, e.code, e.parameter = b[0], b[1], binary.BigEndian.Uint32(b[4:])
	next := quoted[offsetNextHeader]
	if next == protocolDestinationOptions && quoted[headerLength+1] == 0 { // an encapsulation limit
		next = quoted[headerLength]
	}
	e.local, e.remote = source(quoted), destination(quoted)
	return e, quoted[0]>>4 == 6 && next == protocolESP
}

// sealedFailed acts on an error about a packet in ESP: it lowers the path MTU, which the
// source of the next packet that is too big is told (RFC 4301 §8.2.2), or has the mobile
// ask whether its binding is gone. Anybody can forge either, as without ESP.
func (e *Engine) sealedFailed(r *sealedError) {
	e.mu.Lock()
	t := e.sealed[sealedEnds{r.local, r.remote}]
	e.mu.Unlock()
	if t == nil {
		return
	}
	p := t.paths.Load().between(r.local, r.remote)
	switch {
	case p == nil:
	case r.kind == icmpPacketTooBig:
		if p.tooBig(int(min(r.parameter, 1<<16)), e.now()) {
			e.mtuLearned(t)
		}
	case r.refused() && t.key.Side == overlay.MobileSide && e.config.Refused != nil:
		e.config.Refused(t.key.Home)
	}
}

// sealedDropReason is dropReason where ESRCH means that there is no association.
func sealedDropReason(err error) overlay.DropReason {
	if errors.Is(err, unix.ESRCH) {
		return overlay.DropUnprotected
	}
	return dropReason(err)
}
