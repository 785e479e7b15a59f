package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	replyTimeout = 5 // seconds
	// socketBuffer holds the largest transaction: that is one message to the socket.
	socketBuffer = 1 << 20
	// answers is how many questions go in one system call: all their answers, a message
	// each, must fit into the socket's buffer.
	answers = 64
	// receiveRoom is for one datagram of a list.
	receiveRoom = 1 << 16
)

// Socket sends transactions and questions. Any number of goroutines may use it.
type Socket struct {
	mu   sync.Mutex
	fd   int // -1 when closed
	port uint32
	seq  uint32
	in   []byte
}

// Open opens a socket in the network namespace of the calling thread.
func Open() (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	s := &Socket{fd: fd, in: make([]byte, receiveRoom)}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		s.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		s.Close()
		return nil, os.NewSyscallError("getsockname", err)
	}
	if n, ok := name.(*unix.SockaddrNetlink); ok {
		s.port = n.Pid
	}
	timeout := unix.Timeval{Sec: replyTimeout}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	for _, option := range []int{unix.SO_SNDBUFFORCE, unix.SO_RCVBUFFORCE} {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, socketBuffer)
	}
	return s, nil
}

// Port is the netlink address of the socket: of whom events are that it has caused.
func (s *Socket) Port() uint32 { return s.port }

// Commit sends one transaction and waits for its outcome.
func (s *Socket) Commit(build func(*Batch)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return os.ErrClosed
	}
	t := &Batch{seq: s.seq}
	t.message(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	first := t.seq
	build(t)
	last := t.seq
	if last == first {
		return nil
	}
	t.message(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	s.seq = t.seq
	if err := unix.Sendto(s.fd, t.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	// Answers come until the last command is acknowledged or one fails: a failure
	// undoes the whole transaction. Others are to an earlier one that failed.
	return s.receive(first, last, func(m syscall.NetlinkMessage) (bool, error) {
		if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
			return false, nil
		}
		if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
			return true, syscall.Errno(-code)
		}
		return m.Header.Seq == last, nil
	})
}

// receive reads messages from the kernel to a range of requests until f says that it
// was the last.
func (s *Socket) receive(first, last uint32, f func(syscall.NetlinkMessage) (done bool, err error)) error {
	for {
		n, from, err := unix.Recvfrom(s.fd, s.in, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if k, ok := from.(*unix.SockaddrNetlink); !ok || k.Pid != 0 {
			continue // not from the kernel
		}
		messages, err := syscall.ParseNetlinkMessage(s.in[:n])
		if err != nil {
			return fmt.Errorf("netfilter netlink: %w", err)
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

// query asks a question and calls f for the attributes of each answer.
func (s *Socket) query(kind, flags uint16, a Attributes, f func([]byte)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return os.ErrClosed
	}
	t := &Batch{seq: s.seq}
	t.message(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags, unix.NFPROTO_IPV6, 0, a)
	s.seq = t.seq
	if err := unix.Sendto(s.fd, t.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	return s.receive(t.seq, t.seq, func(m syscall.NetlinkMessage) (bool, error) {
		switch {
		case m.Header.Type == unix.NLMSG_DONE:
			return true, nil
		case m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4:
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
				return true, syscall.Errno(-code)
			}
			return true, nil
		case len(m.Data) >= sizeofNfgenmsg:
			f(m.Data[sizeofNfgenmsg:])
		}
		return false, nil
	})
}

// Sets returns the names of a table's sets; none if there is no such table.
func (s *Socket) Sets(table string) (names []string, err error) {
	err = s.query(unix.NFT_MSG_GETSET, unix.NLM_F_DUMP, Attributes(nil).Text(unix.NFTA_SET_TABLE, table), func(b []byte) {
		// The kernel may list those of all tables.
		if StringAttribute(b, unix.NFTA_SET_TABLE) == table {
			names = append(names, StringAttribute(b, unix.NFTA_SET_NAME))
		}
	})
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return names, err
}

// Elements calls f for all elements of a set, whose key is f's until it returns.
func (s *Socket) Elements(table, set string, f func(Element)) error {
	return s.listElements(unix.NLM_F_DUMP, Attributes(nil).
		Text(unix.NFTA_SET_ELEM_LIST_TABLE, table).Text(unix.NFTA_SET_ELEM_LIST_SET, set), f)
}

// Get calls f for those elements of a set that have the keys, which must be there.
func (s *Socket) Get(table, set string, keys [][]byte, f func(Element)) error {
	for some := range slices.Chunk(keys, answers) {
		if err := s.listElements(unix.NLM_F_ACK, elements(table, set, some), f); err != nil {
			return err
		}
	}
	return nil
}

func (s *Socket) listElements(flags uint16, a Attributes, f func(Element)) error {
	return s.query(unix.NFT_MSG_GETSETELEM, flags, a, func(b []byte) {
		each(Attribute(b, unix.NFTA_SET_ELEM_LIST_ELEMENTS), func(kind uint16, v []byte) bool {
			if kind == unix.NFTA_LIST_ELEM {
				f(element(v))
			}
			return true
		})
	})
}

// Close closes the socket. It may be called again.
func (s *Socket) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}
