// Package nlsock is what all netlink of this module has in common: sockets that ask and
// hear the kernel alone, and attributes.
package nlsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// receiveRoom is for one datagram: the kernel fills none of a list with more.
const receiveRoom = 1 << 16

// Socket sends messages to the kernel and receives what it answers. One goroutine at a
// time may use it.
type Socket struct {
	fd   int // -1 when closed
	port uint32
	in   []byte
}

// Open opens a socket of a protocol (NETLINK_…) in the network namespace of the calling
// thread. timeout bounds the wait for each datagram of an answer.
func Open(protocol int, timeout time.Duration) (*Socket, error) {
	fd, err := open(protocol, 0, 0)
	if err != nil {
		return nil, err
	}
	s := &Socket{fd: fd, in: make([]byte, receiveRoom)}
	name, err := unix.Getsockname(fd)
	if err != nil {
		s.Close()
		return nil, os.NewSyscallError("getsockname", err)
	}
	if a, ok := name.(*unix.SockaddrNetlink); ok {
		s.port = a.Pid
	}
	wait := unix.NsecToTimeval(timeout.Nanoseconds())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
	return s, nil
}

// Subscribe opens a socket in the network namespace of the calling thread that hears what
// is told to groups, a bit for each. It never blocks, and is the caller's to close.
func Subscribe(protocol int, groups uint32) (fd int, err error) {
	return open(protocol, unix.SOCK_NONBLOCK, groups)
}

func open(protocol, flags int, groups uint32) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, protocol)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}

// SetOption sets an option that the socket is the better for, and works without.
func (s *Socket) SetOption(level, option, value int) {
	_ = unix.SetsockoptInt(s.fd, level, option, value)
}

// Port is the netlink address of the socket, which notifications have of what it has
// caused.
func (s *Socket) Port() uint32 { return s.port }

// Closed reports whether Close was called.
func (s *Socket) Closed() bool { return s.fd < 0 }

// Close closes the socket. It may be called again.
func (s *Socket) Close() {
	if !s.Closed() {
		unix.Close(s.fd)
		s.fd = -1
	}
}

// AppendHeader appends the header of a message with a body of some octets, which has to
// follow.
func AppendHeader(b []byte, h unix.NlMsghdr, body int) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+body))
	b = binary.NativeEndian.AppendUint16(b, h.Type)
	b = binary.NativeEndian.AppendUint16(b, h.Flags)
	b = binary.NativeEndian.AppendUint32(b, h.Seq)
	return binary.NativeEndian.AppendUint32(b, h.Pid)
}

// Send sends messages to the kernel; os.ErrClosed when the socket is closed.
func (s *Socket) Send(messages []byte) error {
	if s.Closed() {
		return os.ErrClosed
	}
	return os.NewSyscallError("sendto", unix.Sendto(s.fd, messages, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

// Receive calls f for each message from the kernel to the requests with the sequence
// numbers first to last, until f says that it was the last or fails. Others are answers
// that came too late, or not from the kernel: they are passed over. A message is f's
// until it returns.
func (s *Socket) Receive(first, last uint32, f func(syscall.NetlinkMessage) (done bool, err error)) error {
	if s.Closed() {
		return os.ErrClosed
	}
	for {
		n, from, err := unix.Recvfrom(s.fd, s.in, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		messages, err := FromKernel(s.in[:n], from)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Seq-first > last-first {
				continue
			}
			if done, err := f(m); done || err != nil {
				return err
			}
		}
	}
}

// listAttempts is how often a list is asked for that changes interrupt.
const listAttempts = 5

// List calls f for the body of each item that the kernel answers a question with. ask
// sends the question and tells its sequence number. It is asked again when the list has
// changed meanwhile, so that an item may be missing or come twice (NLM_F_DUMP_INTR); after
// some attempts such a list must do.
func (s *Socket) List(ask func() (seq uint32, err error), f func(body []byte)) error {
	var l list
	for range listAttempts {
		seq, err := ask()
		if err != nil {
			return err
		}
		l = list{}
		if err := s.Receive(seq, seq, l.take); err != nil {
			return err
		}
		if !l.interrupted {
			break
		}
	}
	for _, body := range l.bodies {
		f(body)
	}
	return nil
}

// list is what the kernel has answered so far.
type list struct {
	bodies      [][]byte
	interrupted bool
}

// take takes one message, and reports whether it is the last one.
func (l *list) take(m syscall.NetlinkMessage) (done bool, err error) {
	l.interrupted = l.interrupted || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
	if ended, err := Outcome(m); ended {
		return true, err
	}
	if m.Header.Type == unix.NLMSG_DONE {
		return true, nil
	}
	l.bodies = append(l.bodies, slices.Clone(m.Data))
	return false, nil
}

// FromKernel are the messages of a datagram; none if another than the kernel has sent it,
// as anybody with CAP_NET_ADMIN can.
func FromKernel(datagram []byte, from unix.Sockaddr) ([]syscall.NetlinkMessage, error) {
	if k, ok := from.(*unix.SockaddrNetlink); !ok || k.Pid != 0 {
		return nil, nil
	}
	messages, err := syscall.ParseNetlinkMessage(datagram)
	if err != nil {
		return nil, fmt.Errorf("netlink message: %w", err)
	}
	return messages, nil
}

// Outcome reports whether a message (NLMSG_ERROR) says that its request has ended, and
// how: err is nil when it succeeded.
func Outcome(m syscall.NetlinkMessage) (ended bool, err error) {
	if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
		return false, nil
	}
	if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
		return true, syscall.Errno(-code)
	}
	return true, nil
}

// Gone reports whether a removal failed because there is nothing to remove.
func Gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}
