// Package rtbatch talks rtnetlink many requests at a time, as the data plane engines
// need it for their routes, rules and devices.
package rtbatch

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
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
	mu      sync.Mutex
	netlink *nlsock.Socket
	seq     uint32
	out     []byte
}

const (
	// netlinkRun is how many requests go in one system call: all their errors
	// must fit into the socket's buffer.
	netlinkRun = 100
	// netlinkTimeout bounds the wait for an answer.
	netlinkTimeout = 10 * time.Second
)

// Open opens a connection in the network namespace of the calling thread.
func Open() (*Conn, error) { return open("rtnetlink", unix.NETLINK_ROUTE) }

// OpenXFRM is Open for the kernel's IPsec, which takes requests (XFRM_MSG_…) in the same
// way.
func OpenXFRM() (*Conn, error) { return open("xfrm netlink", unix.NETLINK_XFRM) }

func open(name string, protocol int) (*Conn, error) {
	s, err := nlsock.Open(protocol, netlinkTimeout)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	// An error need not repeat the request (4.3); dumps are filtered (4.20).
	s.SetOption(unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	s.SetOption(unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return &Conn{netlink: s}, nil
}

// Port is the connection's netlink port, which notifications of what it has done have.
func (n *Conn) Port() uint32 { return n.netlink.Port() }

// Close closes the connection. It may be called again.
func (n *Conn) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.netlink.Close()
}

func (n *Conn) append(r Request, flags uint16) {
	n.seq++
	n.out = nlsock.AppendHeader(n.out, unix.NlMsghdr{
		Type: r.Kind, Flags: unix.NLM_F_REQUEST | r.Flags | flags, Seq: n.seq, Pid: n.Port(),
	}, len(r.Body))
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
	if err := n.netlink.Send(n.out); err != nil {
		return err
	}
	return n.netlink.Receive(first, last, func(m syscall.NetlinkMessage) (bool, error) {
		ended, err := nlsock.Outcome(m)
		if err != nil {
			failed(int(m.Header.Seq-first), err)
		}
		return ended && m.Header.Seq == last, nil
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
	return n.netlink.List(func() (uint32, error) {
		n.out = n.out[:0]
		n.append(Request{Kind: kind, Body: body}, flags)
		return n.seq, n.netlink.Send(n.out)
	}, f)
}

// Attributes is a sequence of netlink attributes under construction.
type Attributes []byte

// Bytes appends an attribute.
func (a Attributes) Bytes(kind uint16, v []byte) Attributes {
	return nlsock.AppendAttribute(a, kind, v)
}

// Uint32 appends an attribute with a number.
func (a Attributes) Uint32(kind uint16, v uint32) Attributes {
	return nlsock.AppendUint32(a, kind, v)
}

// Attribute finds an attribute, nil if there is none.
func Attribute(b []byte, kind uint16) []byte { return nlsock.Attribute(b, kind) }

// Uint32Attribute finds an attribute with a number.
func Uint32Attribute(b []byte, kind uint16) (uint32, bool) {
	return nlsock.Uint32(nlsock.Attribute(b, kind))
}
