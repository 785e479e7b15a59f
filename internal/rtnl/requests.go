package rtnl

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
	"roam6/internal/role"
)

// requests carries out requests to the kernel over its sockets. It may be used
// by several goroutines.
type requests struct {
	socket  *nl.NetlinkSocket
	sockets map[int]*nl.SocketHandle
	port    uint32
	groups  *os.File // socket for memberships
}

// openRequests opens the sockets in the calling thread's namespace.
func openRequests() (*requests, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink socket: %w", err)
	}
	timeout := unix.Timeval{Sec: 5}
	_ = s.SetReceiveTimeout(&timeout)
	_ = s.SetSendTimeout(&timeout)
	// The kernel's own words in its errors (4.12), and filtered dumps (4.20).
	_ = s.SetExtAck(true)
	_ = unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	port, err := s.GetPid()
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("rtnetlink socket: %w", err)
	}
	groups, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("socket for multicast groups: %w", err)
	}
	return &requests{s, map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}, port, os.NewFile(uintptr(groups), "groups")}, nil
}

func (q *requests) close() {
	q.socket.Close()
	q.groups.Close()
}

func (q *requests) do(kind, flags int, body []byte, answer uint16, f func([]byte)) error {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = q.sockets
	req.AddRawData(body)
	return req.ExecuteIter(unix.NETLINK_ROUTE, answer, func(m []byte) bool {
		if f != nil {
			f(m)
		}
		return true
	})
}

func (q *requests) command(kind, flags int, body []byte) error {
	return q.do(kind, flags|unix.NLM_F_ACK, body, 0, nil)
}

// dump repeats a dump that changes interrupted; after some attempts an
// inconsistent one must do, which the notifications behind it mend.
func (q *requests) dump(kind int, body []byte, answer uint16, reset func(), f func([]byte)) error {
	const attempts = 5
	var err error
	for range attempts {
		reset()
		if err = q.do(kind, unix.NLM_F_DUMP, body, answer, f); !errors.Is(err, nl.ErrDumpInterrupted) {
			return err
		}
	}
	return nil
}

func (q *requests) links() (all []linkAttributes, err error) {
	const skipStatistics = 1 << 3 // RTEXT_FILTER_SKIP_STATS: they are most of a message
	body := nlsock.AppendUint32(make([]byte, unix.SizeofIfInfomsg), unix.IFLA_EXT_MASK, skipStatistics)
	err = q.dump(unix.RTM_GETLINK, body, unix.RTM_NEWLINK, func() { all = nil }, func(m []byte) {
		if l, ok := parseLink(m); ok {
			all = append(all, l)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	return all, nil
}

func (q *requests) addresses() (all []kernelAddress, err error) {
	body := make([]byte, unix.SizeofIfAddrmsg)
	body[0] = unix.AF_INET6
	err = q.dump(unix.RTM_GETADDR, body, unix.RTM_NEWADDR, func() { all = nil }, func(m []byte) {
		if a, ok := parseAddress(m); ok {
			all = append(all, a)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	return all, nil
}

// routes returns those of the main table that carry our tag.
func (q *requests) routes() (all []role.Route, err error) {
	body := make([]byte, unix.SizeofRtMsg)
	body[0], body[4], body[5] = unix.AF_INET6, unix.RT_TABLE_MAIN, Protocol
	err = q.dump(unix.RTM_GETROUTE, body, unix.RTM_NEWROUTE, func() { all = nil }, func(m []byte) {
		all = append(all, parseRoutes(m)...)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return all, nil
}

// address returns one address of a link.
func (q *requests) address(a Address) (k kernelAddress, err error) {
	found := false
	body := addressKeyBody(a)
	body[1], body[3] = 0, 0 // strict checking wants nothing but the key
	err = q.do(unix.RTM_GETADDR, 0, body, unix.RTM_NEWADDR, func(m []byte) {
		if p, ok := parseAddress(m); ok {
			k, found = p, true
		}
	})
	if err == nil && !found {
		err = unix.EADDRNOTAVAIL
	}
	return k, err
}

func (q *requests) newAddress(a Address, flags int) error {
	return q.command(unix.RTM_NEWADDR, unix.NLM_F_CREATE|flags, addressBody(a))
}

func (q *requests) deleteAddress(a Address) error {
	return q.command(unix.RTM_DELADDR, 0, addressKeyBody(a))
}

func (q *requests) newRoute(r role.Route) error {
	return q.command(unix.RTM_NEWROUTE, unix.NLM_F_CREATE, routeBody(r))
}

func (q *requests) deleteRoute(r role.Route) error {
	r.Source = netip.Addr{} // not part of what the kernel compares
	return q.command(unix.RTM_DELROUTE, 0, routeBody(r))
}

// learn makes a neighbour known. An entry with this link-layer address keeps
// its state, another one becomes stale: used at once, verified by neighbour
// unreachability detection soon after (RFC 4861 §6.3.4, §7.3.3).
func (q *requests) learn(n role.LearnNeighbor) error {
	body := neighborBody(n.Link, n.Addr, &n.Ethernet, unix.NUD_STALE)
	err := q.command(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	var same bool
	err = q.do(unix.RTM_GETNEIGH, 0, neighborBody(n.Link, n.Addr, nil, 0), unix.RTM_NEWNEIGH, func(m []byte) {
		ethernet, usable := parseNeighbor(m)
		same = usable && ethernet == n.Ethernet
	})
	if err == nil && same {
		return nil
	}
	return q.command(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, body)
}

func (q *requests) forget(link int, addr netip.Addr) error {
	return q.command(unix.RTM_DELNEIGH, 0, neighborBody(link, addr, nil, 0))
}

// errorIs reports whether err is one of some error numbers.
func errorIs(err error, numbers ...syscall.Errno) bool {
	for _, n := range numbers {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}
