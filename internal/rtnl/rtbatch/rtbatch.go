// Package rtbatch talks rtnetlink many requests at a time, as the data plane engines
// need it for their routes, rules and devices.
package rtbatch

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Request is one message to the kernel's routing: its type (RTM_…), its flags beyond
// NLM_F_REQUEST, and what follows the header.
type Request struct {
	Kind, Flags uint16
	Body        []byte
}

// Conn sends requests to the kernel many at a time: a hundred thousand
// routes take that many messages, but a thousandth of the system calls. Any number
// of goroutines may use it.
type Conn struct {
	mu   sync.Mutex
	fd   int // -1 when closed
	port uint32
	seq  uint32
	out  []byte
	in   []byte
}

const (
	// netlinkRun is how many requests go in one system call: all their errors
	// must fit into the socket's buffer.
	netlinkRun = 100
	// netlinkTimeout bounds the wait for an answer.
	netlinkTimeout = 10 // seconds
)

// Open opens a connection in the network namespace of the calling thread.
func Open() (*Conn, error) { return open("rtnetlink", unix.NETLINK_ROUTE) }

// OpenXFRM is Open for the kernel's IPsec, which takes requests (XFRM_MSG_…) in the same
// way.
func OpenXFRM() (*Conn, error) { return open("xfrm netlink", unix.NETLINK_XFRM) }

func open(name string, protocol int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("%s socket: %w", name, err)
	}
	n := &Conn{fd: fd, in: make([]byte, 1<<16)}
	fail := func(err error) (*Conn, error) {
		unix.Close(fd)
		return nil, fmt.Errorf("%s socket: %w", name, err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fail(os.NewSyscallError("bind", err))
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		return fail(os.NewSyscallError("getsockname", err))
	}
	if a, ok := own.(*unix.SockaddrNetlink); ok {
		n.port = a.Pid
	}
	timeout := unix.Timeval{Sec: netlinkTimeout}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	// An error need not repeat the request (4.3); dumps are filtered (4.20).
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return n, nil
}

// Port is the connection's netlink port, which notifications of what it has done have.
func (n *Conn) Port() uint32 { return n.port }

// Close closes the connection. It may be called again.
func (n *Conn) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd >= 0 {
		unix.Close(n.fd)
		n.fd = -1
	}
}

func (n *Conn) append(r Request, flags uint16) {
	n.seq++
	length := unix.SizeofNlMsghdr + len(r.Body)
	n.out = binary.NativeEndian.AppendUint32(n.out, uint32(length))
	n.out = binary.NativeEndian.AppendUint16(n.out, r.Kind)
	n.out = binary.NativeEndian.AppendUint16(n.out, unix.NLM_F_REQUEST|r.Flags|flags)
	n.out = binary.NativeEndian.AppendUint32(n.out, n.seq)
	n.out = binary.NativeEndian.AppendUint32(n.out, n.port)
	n.out = append(n.out, r.Body...)
	for len(n.out)%4 != 0 {
		n.out = append(n.out, 0)
	}
}

// Commit carries out requests in order, also behind one that fails. It calls
// failed for each that does.
func (n *Conn) Commit(requests []Request, failed func(i int, err error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := 0
	for run := range slices.Chunk(requests, netlinkRun) {
		err := n.run(run, func(i int, err error) { failed(at+i, err) })
		if err != nil { // of all that have had no answer: nobody knows
			for i := range run {
				failed(at+i, err)
			}
		}
		at += len(run)
	}
}

func (n *Conn) run(run []Request, failed func(int, error)) error {
	if n.fd < 0 {
		return os.ErrClosed
	}
	n.out = n.out[:0]
	first := n.seq + 1
	for i, r := range run {
		flags := uint16(0)
		if i == len(run)-1 {
			flags = unix.NLM_F_ACK // behind the errors of all others
		}
		n.append(r, flags)
	}
	last := n.seq
	if err := unix.Sendto(n.fd, n.out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	return n.receive(first, last, func(m syscall.NetlinkMessage) bool {
		if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
			return false
		}
		if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
			failed(int(m.Header.Seq-first), syscall.Errno(-code))
		}
		return m.Header.Seq == last
	})
}

// Dump asks for a list and calls f for the body of each item.
func (n *Conn) Dump(kind uint16, body []byte, f func([]byte)) error {
	return n.query(kind, unix.NLM_F_DUMP, body, f)
}

// Get asks for one item and calls f for its body.
func (n *Conn) Get(kind uint16, body []byte, f func([]byte)) error {
	return n.query(kind, unix.NLM_F_ACK, body, f)
}

func (n *Conn) query(kind, flags uint16, body []byte, f func([]byte)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd < 0 {
		return os.ErrClosed
	}
	n.out = n.out[:0]
	n.append(Request{Kind: kind, Body: body}, flags)
	if err := unix.Sendto(n.fd, n.out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	var failure error
	err := n.receive(n.seq, n.seq, func(m syscall.NetlinkMessage) bool {
		switch m.Header.Type {
		case unix.NLMSG_DONE:
			return true
		case unix.NLMSG_ERROR:
			if len(m.Data) >= 4 {
				if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
					failure = syscall.Errno(-code)
				}
			}
			return true
		default:
			f(m.Data)
			return false
		}
	})
	if err == nil {
		err = failure
	}
	return err
}

// receive reads messages from the kernel until f says that it was the last.
func (n *Conn) receive(first, last uint32, f func(syscall.NetlinkMessage) (done bool)) error {
	for {
		length, from, err := unix.Recvfrom(n.fd, n.in, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if k, ok := from.(*unix.SockaddrNetlink); !ok || k.Pid != 0 {
			continue // not from the kernel
		}
		messages, err := syscall.ParseNetlinkMessage(n.in[:length])
		if err != nil {
			return fmt.Errorf("rtnetlink: %w", err)
		}
		for _, m := range messages {
			if m.Header.Seq-first > last-first {
				continue // an answer that came too late
			}
			if f(m) {
				return nil
			}
		}
	}
}

// Attributes is a sequence of netlink attributes under construction.
type Attributes []byte

// Bytes appends an attribute.
func (a Attributes) Bytes(kind uint16, v []byte) Attributes {
	a = binary.NativeEndian.AppendUint16(a, uint16(unix.SizeofRtAttr+len(v)))
	a = binary.NativeEndian.AppendUint16(a, kind)
	a = append(a, v...)
	for len(a)%4 != 0 {
		a = append(a, 0)
	}
	return a
}

// Uint32 appends an attribute with a number.
func (a Attributes) Uint32(kind uint16, v uint32) Attributes {
	return a.Bytes(kind, binary.NativeEndian.AppendUint32(nil, v))
}

// Attribute finds an attribute, nil if there is none.
func Attribute(b []byte, kind uint16) []byte {
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == kind {
			return b[unix.SizeofRtAttr:n]
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

// Uint32Attribute finds an attribute with a number.
func Uint32Attribute(b []byte, kind uint16) (uint32, bool) {
	v := Attribute(b, kind)
	if len(v) != 4 {
		return 0, false
	}
	return binary.NativeEndian.Uint32(v), true
}
