package relay

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxFrame is room for an Ethernet frame of 1500 octets of payload, a VLAN
	// tag, and then some.
	maxFrame = 2048
	// batch is how many frames one system call moves.
	batch = 32
	// receiveBuffer is asked for each port, so that a busy moment loses nothing.
	receiveBuffer = 8 << 20
)

// Port is an interface whose frames the relay carries: the inner end of a veth
// pair.
type Port struct {
	name string
	fd   int
	hops []hop
	// ethernet is the address of the node at the outer end.
	ethernet [6]byte
	// A station is at one router at a time: it hears and is heard there only.
	station bool
	tuned   *Port
	// joined is when the port became part of a link: frames from before it
	// count as arriving then.
	joined int64
	// admitted are the sources that the network behind the port takes; nil: all.
	admitted []netip.Prefix
}

// Admit makes the network behind the port refuse IPv6 packets from any other
// source, as access networks do (BCP 38). What a router would not forward is
// always admitted: link-local and unspecified sources, and packets for a group
// of the link or a link-local address, such as the kernel's solicitations for a
// router that was left. It is for a port that is not connected yet.
func (p *Port) Admit(sources ...netip.Prefix) { p.admitted = sources }

// Where things are in a frame with an IPv6 packet.
const (
	ethernet    = 14
	source      = ethernet + 8
	destination = ethernet + 24
)

// sourceOf is the source of the IPv6 packet in a frame that holds one.
func sourceOf(f *frame) netip.Addr {
	return netip.AddrFrom16([16]byte(f.data[source : source+16]))
}

// admits looks at the source of an IPv6 packet in a frame.
func (p *Port) admits(f *frame) bool {
	if p.admitted == nil || f.n < destination+16 || f.data[ethernet-2] != 0x86 || f.data[ethernet-1] != 0xdd {
		return true
	}
	a := sourceOf(f)
	if a.IsUnspecified() || a.IsLinkLocalUnicast() {
		return true
	}
	if d := netip.AddrFrom16([16]byte(f.data[destination : destination+16])); d.IsLinkLocalMulticast() || d.IsLinkLocalUnicast() {
		return true
	}
	for _, prefix := range p.admitted {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// hop is a way from a port to another.
type hop struct {
	to *Port
	*direction
}

// OpenPort opens the interface with that index. It must be called from a
// thread inside the interface's namespace. ethernet is the address of the node
// at the other end of the pair.
func OpenPort(name string, ifindex int, ethernet [6]byte) (*Port, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket for %s: %w", name, err)
	}
	set := func(level, option, value int) {
		if err == nil {
			err = unix.SetsockoptInt(fd, level, option, value)
		}
	}
	set(unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	// The time of arrival is the kernel's: the relay's own wake-up is then no
	// part of a frame's delay.
	set(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	if err == nil && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		// Only the initial user namespace may force it.
		set(unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: ifindex})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("packet socket for %s: %w", name, err)
	}
	return &Port{name: name, fd: fd, ethernet: ethernet}, nil
}

// Close closes the port's socket. A relay closes the ports that it was given.
func (p *Port) Close() { _ = unix.Close(p.fd) }

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
}

// batcher holds the headers of a batch, so that sending and receiving allocate
// nothing.
type batcher struct {
	messages [batch]message
	vectors  [batch]unix.Iovec
	control  [batch][64]byte
}

// receive fills the frames and returns how many it filled: 0 when none wait.
// arrivals are in nanoseconds of the real-time clock, 0 where the kernel told
// none. A frame that was too long has n = -1.
func (b *batcher) receive(fd int, frames []*frame, arrivals []int64) (int, error) {
	for i, f := range frames {
		b.vectors[i] = unix.Iovec{Base: &f.data[0]}
		b.vectors[i].SetLen(len(f.data))
		h := &b.messages[i].header
		*h = unix.Msghdr{Iov: &b.vectors[i], Control: &b.control[i][0]}
		h.SetIovlen(1)
		h.SetControllen(len(b.control[i]))
	}
	n, err := mmsg(unix.SYS_RECVMMSG, fd, b.messages[:len(frames)])
	for i := range n {
		m := &b.messages[i]
		frames[i].n = int(m.length)
		if m.header.Flags&unix.MSG_TRUNC != 0 {
			frames[i].n = -1
		}
		arrivals[i] = timestamp(b.control[i][:m.header.Controllen])
	}
	return n, err
}

// send returns how many frames were sent; what follows them was not.
func (b *batcher) send(fd int, passages []passage) (int, error) {
	for i, p := range passages {
		b.vectors[i] = unix.Iovec{Base: &p.frame.data[0]}
		b.vectors[i].SetLen(p.frame.n)
		h := &b.messages[i].header
		*h = unix.Msghdr{Iov: &b.vectors[i]}
		h.SetIovlen(1)
	}
	return mmsg(unix.SYS_SENDMMSG, fd, b.messages[:len(passages)])
}

func mmsg(call uintptr, fd int, messages []message) (int, error) {
	if len(messages) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := unix.Syscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&messages[0])), uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0:
			return int(n), nil
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return 0, nil
		default:
			return 0, errno
		}
	}
}

// timestamp finds the time of arrival in ancillary data.
func timestamp(control []byte) int64 {
	if len(control) < unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))) {
		return 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	if h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_TIMESTAMPNS {
		return 0
	}
	ts := (*unix.Timespec)(unsafe.Pointer(&control[unix.CmsgLen(0)]))
	return ts.Nano()
}

// gone reports whether an error of a port means only that one of its ends is
// down: a station without a router.
func gone(err error) bool {
	return errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENXIO)
}

func networkOrder(v uint16) uint16 {
	b := [2]byte{byte(v >> 8), byte(v)}
	return *(*uint16)(unsafe.Pointer(&b))
}
