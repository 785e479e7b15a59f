package rtnl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
	"roam6/nd"
)

// The kernel takes packets for a new address only when a work queue of its own has
// put the local route of the address into the table and joined its solicited-node
// group: mostly at once, but after seconds where other processes keep the
// processors busy. Until then a mobile would have announced a care-of address that
// hears nothing, and a home agent could not resolve the home address of one that
// has just come home. So each of our addresses gets a local route of ours with it,
// less preferred than the kernel's, and a membership, both of which go with it.

// receptionMetric is the metric of our local routes; the kernel's own have 0.
const receptionMetric = 1024

// receptionBody is the body of a message about the local route of an address.
func receptionBody(k linkAddress) []byte {
	b := []byte{unix.AF_INET6, 128, 0, 0, unix.RT_TABLE_LOCAL, Protocol, unix.RT_SCOPE_UNIVERSE, unix.RTN_LOCAL, 0, 0, 0, 0}
	v := k.addr.As16()
	b = nlsock.AppendAttribute(b, unix.RTA_DST, v[:])
	b = nlsock.AppendUint32(b, unix.RTA_OIF, uint32(k.link))
	return nlsock.AppendUint32(b, unix.RTA_PRIORITY, receptionMetric)
}

// parseReception reads a local route of ours.
func parseReception(data []byte) (k linkAddress, ok bool) {
	if len(data) < unix.SizeofRtMsg || data[0] != unix.AF_INET6 || data[1] != 128 ||
		data[4] != unix.RT_TABLE_LOCAL || data[5] != Protocol || data[7] != unix.RTN_LOCAL {
		return k, false
	}
	for kind, v := range nlsock.Attributes(data[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			k.addr, _ = addrOf(v)
		case unix.RTA_OIF:
			if i, ok := nlsock.Uint32(v); ok {
				k.link = int(i)
			}
		}
	}
	return k, k.addr.IsValid() && k.link != 0
}

// receptions are the addresses that have a local route of ours.
func (q *requests) receptions() (all []linkAddress, err error) {
	body := make([]byte, unix.SizeofRtMsg)
	body[0], body[4], body[5], body[7] = unix.AF_INET6, unix.RT_TABLE_LOCAL, Protocol, unix.RTN_LOCAL
	err = q.dump(unix.RTM_GETROUTE, body, unix.RTM_NEWROUTE, func() { all = nil }, func(m []byte) {
		if k, ok := parseReception(m); ok {
			all = append(all, k)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list local routes: %w", err)
	}
	return all, nil
}

// receive makes the kernel take packets for an address of ours at once, and
// solicitations for it. It does so by itself before long: a failure is not the
// caller's.
func (s *State) receive(k linkAddress) {
	err := s.requests.command(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, receptionBody(k))
	if errors.Is(err, unix.EEXIST) {
		err = nil
	}
	if err = errors.Join(err, s.requests.membership(unix.IPV6_JOIN_GROUP, k)); err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelDebug, "address may hear nothing for a moment",
			slog.String("address", k.addr.String()), slog.Any("error", err))
	}
}

// membership joins or leaves the solicited-node group of an address. What two
// addresses of a link share is left with the first of them; the kernel's own
// membership stays.
func (q *requests) membership(option int, k linkAddress) error {
	group := unix.IPv6Mreq{Multiaddr: nd.SolicitedNode(k.addr).As16(), Interface: uint32(k.link)}
	err := unix.SetsockoptIPv6Mreq(int(q.groups.Fd()), unix.IPPROTO_IPV6, option, &group)
	if errorIs(err, unix.EADDRINUSE, unix.EADDRNOTAVAIL, unix.ENODEV) { // is a member; is none; of an interface that is gone
		return nil
	}
	return err
}

// ignore ends receive.
func (s *State) ignore(k linkAddress) error {
	_ = s.requests.membership(unix.IPV6_LEAVE_GROUP, k) // it ends with the socket at last
	err := s.requests.command(unix.RTM_DELROUTE, 0, receptionBody(k))
	if err != nil && !nlsock.Gone(err) {
		return fmt.Errorf("local route of %v: %w", k.addr, err)
	}
	return nil
}

// forgetReceptions removes the local routes of addresses that are not there (any
// more): of a predecessor, or taken away by somebody else.
func (s *State) forgetReceptions() error {
	all, err := s.requests.receptions()
	failures := []error{err}
	for _, k := range all {
		if _, there := s.addresses[k]; !there {
			failures = append(failures, s.ignore(k))
		}
	}
	return errors.Join(failures...)
}
