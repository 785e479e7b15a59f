package tun

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiver reads tunnel packets from a raw socket of protocol 41, many at a
// time. The kernel has taken off the tunnel header and its extension headers,
// put fragments together, and perhaps made one packet of several of a TCP flow
// (GRO). Of one goroutine.
type receiver struct {
	file *os.File
	raw  syscall.RawConn

	messages []message
	vectors  []unix.Iovec
	names    []unix.RawSockaddrInet6
	controls [][]byte
	buffers  [][]byte
	received int
	err      error
	call     func(fd uintptr) bool
}

// receiveHeadroom is before each received packet, for its virtio header.
const receiveHeadroom = 16

// controlLength is what the ancillary data take: destination and traffic class.
var controlLength = unix.CmsgSpace(unix.SizeofInet6Pktinfo) + unix.CmsgSpace(4)

func openReceiver(size, buffer int) (*receiver, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_IPV6)
	if err != nil {
		return nil, openError("raw socket of protocol 41", err)
	}
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, buffer)
	for _, option := range []int{unix.IPV6_RECVPKTINFO, unix.IPV6_RECVTCLASS} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, option, 1); err != nil {
			unix.Close(fd)
			return nil, openError("raw socket of protocol 41", err)
		}
	}
	r := &receiver{
		file:     os.NewFile(uintptr(fd), "tunnel receiver"),
		messages: make([]message, size), vectors: make([]unix.Iovec, size),
		names: make([]unix.RawSockaddrInet6, size), controls: make([][]byte, size), buffers: make([][]byte, size),
	}
	if r.raw, err = r.file.SyscallConn(); err != nil {
		r.file.Close()
		return nil, err
	}
	r.call = r.recvmmsg
	for i := range size {
		r.controls[i] = make([]byte, controlLength)
		// Not touched, and so not in memory, until a packet needs it.
		r.buffers[i] = make([]byte, receiveHeadroom+maximumPacket)
		r.vectors[i].Base = &r.buffers[i][receiveHeadroom]
		r.vectors[i].SetLen(maximumPacket)
		h := &r.messages[i].header
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
		h.Control = &r.controls[i][0]
	}
	return r, nil
}

// receive waits for packets and returns how many there are. An error other than
// os.ErrClosed is about what has passed; the next call may succeed.
func (r *receiver) receive() (int, error) {
	if err := r.raw.Read(r.call); err != nil {
		return 0, os.ErrClosed
	}
	return r.received, r.err
}

func (r *receiver) recvmmsg(fd uintptr) (done bool) {
	r.received, r.err = 0, nil
	for i := range r.messages {
		h := &r.messages[i].header
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlLength)
	}
	for {
		n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.messages[0])), uintptr(len(r.messages)), unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			r.received = int(n)
			return true
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		default:
			r.err = e
			return true
		}
	}
}

// packet returns a received packet, with receiveHeadroom octets in front that
// are free, and what its tunnel header said. whole is false if it was too large.
func (r *receiver) packet(i int) (buffer []byte, o outer, whole bool) {
	m := &r.messages[i]
	o.source = addressAt(r.names[i].Addr[:])
	control := r.controls[i][:m.header.Controllen]
	head := unix.CmsgLen(0)
	for len(control) >= head {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		n := int(c.Len)
		if n < head || n > len(control) {
			break
		}
		data := control[head:n]
		if c.Level == unix.IPPROTO_IPV6 {
			switch {
			case c.Type == unix.IPV6_PKTINFO && len(data) >= 16:
				o.destination = addressAt(data)
			case c.Type == unix.IPV6_TCLASS && len(data) >= 4:
				o.class = uint8(*(*int32)(unsafe.Pointer(&data[0])))
			}
		}
		control = control[min(unix.CmsgSpace(n-head), len(control)):]
	}
	return r.buffers[i][:receiveHeadroom+int(m.length)], o, m.header.Flags&unix.MSG_TRUNC == 0
}
