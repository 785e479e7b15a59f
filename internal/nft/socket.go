package nft

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
)

const (
	replyTimeout = 5 * time.Second
	// socketBuffer holds the largest transaction: that is one message to the socket.
	socketBuffer = 1 << 20
	// answers is how many questions go in one system call: all their answers, a message
	// each, must fit into the socket's buffer.
	answers = 64
)

// Socket sends transactions and questions. Any number of goroutines may use it.
type Socket struct {
	mu      sync.Mutex
	netlink *nlsock.Socket
	seq     uint32
}

// Open opens a socket in the network namespace of the calling thread.
func Open() (*Socket, error) {
	n, err := nlsock.Open(unix.NETLINK_NETFILTER, replyTimeout)
	if err != nil {
		return nil, err
	}
	for _, option := range []int{unix.SO_SNDBUFFORCE, unix.SO_RCVBUFFORCE} {
		n.SetOption(unix.SOL_SOCKET, option, socketBuffer)
	}
	return &Socket{netlink: n}, nil
}

// Port is the netlink address of the socket: of whom events are that it has caused.
func (s *Socket) Port() uint32 { return s.netlink.Port() }

// Commit sends one transaction and waits for its outcome.
func (s *Socket) Commit(build func(*Batch)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.netlink.Closed() {
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
	if err := s.netlink.Send(t.b); err != nil {
		return err
	}
	// Answers come until the last command is acknowledged or one fails: a failure
	// undoes the whole transaction. Others are to an earlier one that failed.
	return s.netlink.Receive(first, last, func(m syscall.NetlinkMessage) (bool, error) {
		ended, err := nlsock.Outcome(m)
		return ended && m.Header.Seq == last, err
	})
}

// query asks a question and calls f for the attributes of each answer.
func (s *Socket) query(kind, flags uint16, a Attributes, f func([]byte)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.netlink.List(func() (uint32, error) {
		t := &Batch{seq: s.seq}
		t.message(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags, unix.NFPROTO_IPV6, 0, a)
		s.seq = t.seq
		return t.seq, s.netlink.Send(t.b)
	}, func(b []byte) {
		if len(b) >= sizeofNfgenmsg {
			f(b[sizeofNfgenmsg:])
		}
	})
}

// RemoveTable removes a table of the family IPv6 with everything in it. One that is not
// there, be it that the kernel has no nftables, is no failure.
func (s *Socket) RemoveTable(name string) error { return s.RemoveTableOf(IPv6, name) }

// RemoveTableOf does so with one of any family.
func (s *Socket) RemoveTableOf(f Family, name string) error {
	err := s.Commit(func(b *Batch) {
		b.Use(f)
		b.DeleteTable(name)
	})
	for _, absent := range []error{unix.ENOENT, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.EINVAL} {
		if errors.Is(err, absent) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("remove nftables table %s: %w", name, err)
	}
	return nil
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
		for kind, v := range nlsock.Attributes(Attribute(b, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			if kind == unix.NFTA_LIST_ELEM {
				f(element(v))
			}
		}
	})
}

// Close closes the socket. It may be called again.
func (s *Socket) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.netlink.Close()
}
