package tun

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"roam6/internal/sock"
)

// receiver reads packets from a socket, many at a time. Of one goroutine.
type receiver struct {
	fd       int
	messages []message
	vectors  []unix.Iovec
	names    []unix.RawSockaddrInet6
	controls [][]byte
	buffers  [][]byte
	memory   []byte // of the buffers, mapped
}

const (
	// receiveHeadroom is before each received packet, for its virtio header.
	receiveHeadroom = 16
	// receiveControl is room for the ancillary data of one message.
	receiveControl = 128
)

// newReceiver takes over the socket, but for an error. length is that of the longest
// message. The buffers are megabytes of which packets mostly touch a few pages. In Go's heap
// they would count as in use all the same, and let as much garbage be there beside them.
func newReceiver(fd, size, length int) (*receiver, error) {
	stride := receiveHeadroom + length
	memory, err := unix.Mmap(-1, 0, size*stride, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, openError(fmt.Sprintf("%d octets for received packets", size*stride), err)
	}
	_ = unix.Madvise(memory, unix.MADV_NOHUGEPAGE) // of a kernel that has those
	r := &receiver{
		fd: fd, messages: make([]message, size), vectors: make([]unix.Iovec, size),
		names: make([]unix.RawSockaddrInet6, size), controls: make([][]byte, size), buffers: make([][]byte, size), memory: memory,
	}
	for i := range size {
		r.controls[i] = make([]byte, receiveControl)
		// Not touched, and so not in memory, until a packet needs it.
		r.buffers[i] = memory[i*stride : (i+1)*stride : (i+1)*stride]
		r.vectors[i].Base = &r.buffers[i][receiveHeadroom]
		r.vectors[i].SetLen(length)
		h := &r.messages[i].header
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
		h.Control = &r.controls[i][0]
	}
	return r, nil
}

// close gives back the socket and the buffers, which nothing may use any more.
func (r *receiver) close() {
	unix.Close(r.fd)
	_ = unix.Munmap(r.memory)
	r.buffers = nil
}

// openTunnelReceiver opens a raw socket of protocol 41. The kernel takes off the
// tunnel header and its extension headers, puts fragments together, and perhaps
// makes one packet of several of a TCP flow (GRO). nextHeader is that of tunnel packets,
// which is another one where a fast path has sorted them.
func openTunnelReceiver(size, buffer, nextHeader int) (*receiver, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, nextHeader)
	if err != nil {
		return nil, openError("raw socket of protocol 41", err)
	}
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, buffer)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVMARK, 1) // Linux 5.19; see CanSeal
	for _, option := range []int{unix.IPV6_RECVPKTINFO, unix.IPV6_RECVTCLASS} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, option, 1); err != nil {
			unix.Close(fd)
			return nil, openError("raw socket of protocol 41", err)
		}
	}
	r, err := newReceiver(fd, size, maximumPacket)
	if err != nil {
		unix.Close(fd)
	}
	return r, err
}

// only keeps packets without a bit of the mark from the socket.
func (r *receiver) only(bit uint32) error {
	err := sock.AttachFilter(r.fd, []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtMark},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: bit, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: math.MaxUint32},
	})
	if err != nil {
		return openError("raw socket of tunnel packets: filter", err)
	}
	return nil
}

// receive returns how many packets there are, 0 if none. An error is about what
// has passed; the next call may succeed.
func (r *receiver) receive() (int, error) {
	for i := range r.messages {
		h := &r.messages[i].header
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(receiveControl)
	}
	for {
		n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.messages[0])), uintptr(len(r.messages)), unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, e
		}
	}
}

// tunnelPacket returns a received tunnel packet, with receiveHeadroom octets in
// front that are free, and what its tunnel header said. device is the interface of
// what came out of a tunnel, and seal is on what was in ESP. whole is false if it was
// too large.
func (r *receiver) tunnelPacket(i, device int, seal markOf) (buffer []byte, o outer, whole bool) {
	m := &r.messages[i]
	o.source = addressAt(r.names[i].Addr[:])
	r.ancillary(i, func(level, kind int32, data []byte) {
		switch {
		case level == unix.SOL_SOCKET && kind == unix.SO_MARK && len(data) >= 4:
			o.sealed = seal.on(binary.NativeEndian.Uint32(data))
		case level != unix.IPPROTO_IPV6:
		case kind == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			o.destination = addressAt(data)
			o.link = int(binary.NativeEndian.Uint32(data[16:]))
			o.tunnelled = o.link == device
		case kind == unix.IPV6_TCLASS && len(data) >= 4:
			o.class = uint8(*(*int32)(unsafe.Pointer(&data[0])))
		}
	})
	return r.buffers[i][:receiveHeadroom+int(m.length)], o, m.header.Flags&unix.MSG_TRUNC == 0
}

// ancillary calls f for each item of a message's ancillary data.
func (r *receiver) ancillary(i int, f func(level, kind int32, data []byte)) {
	control := r.controls[i][:r.messages[i].header.Controllen]
	head := unix.CmsgLen(0)
	for len(control) >= head {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		n := int(c.Len)
		if n < head || n > len(control) {
			break
		}
		f(c.Level, c.Type, control[head:n])
		control = control[min(unix.CmsgSpace(n-head), len(control)):]
	}
}
