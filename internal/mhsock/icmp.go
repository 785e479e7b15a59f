package mhsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/limit"
	"roam6/mip6"
)

// refusalRate limits the reports of refusals, which anybody can forge.
var refusalRate = limit.Rate{Every: 100 * time.Millisecond, Burst: 20}

// payloadOf returns the protocol and the offset of what stands behind the
// extension headers that the filter passes over; protocol 59 if the packet ends
// before.
func payloadOf(packet []byte) (protocol byte, at int) {
	protocol, at = packet[offsetNextHeader], ipv6HeaderLen
	for protocol == mip6.ProtocolDestination || protocol == mip6.ProtocolRouting {
		if len(packet) < at+2 {
			return mip6.ProtocolNone, len(packet)
		}
		protocol, at = packet[at], at+(int(packet[at+1])+1)*8
	}
	if at > len(packet) {
		return mip6.ProtocolNone, len(packet)
	}
	return protocol, at
}

// refusal reads a Parameter Problem that refuses a Mobility Header message of
// this node (RFC 6275 §11.3.5): it comes from where that message went, to where
// it came from. The message may have had a Home Address option.
func refusal(packet []byte, at int) (local, peer netip.Addr, ok bool) {
	message := packet[at:]
	if len(message) < icmpHeaderLen+ipv6HeaderLen || message[0] != icmpParameterProblem || message[1] != icmpUnknownHeader {
		return local, peer, false
	}
	source := netip.AddrFrom16([16]byte(packet[offsetSource:offsetDestination]))
	destination := netip.AddrFrom16([16]byte(packet[offsetDestination:ipv6HeaderLen]))
	quoted := message[icmpHeaderLen:]
	local = netip.AddrFrom16([16]byte(quoted[offsetSource:offsetDestination]))
	peer = netip.AddrFrom16([16]byte(quoted[offsetDestination:ipv6HeaderLen]))
	kind := quoted[offsetNextHeader]
	if kind == mip6.ProtocolDestination && len(quoted) > ipv6HeaderLen {
		kind = quoted[ipv6HeaderLen]
	}
	ok = quoted[0]>>4 == 6 && kind == mip6.ProtocolMobility && local == destination && peer == source &&
		mip6.ICMPChecksumOK(source, destination, message)
	return local, peer, ok
}

// refused reports a refusal, not more often than is of use.
func (c *Conn) refused(packet []byte, at int) {
	local, peer, ok := refusal(packet, at)
	switch {
	case !ok:
		c.counters.malformed.Add(1)
	case !c.refusals.Allow(time.Now(), refusalRate):
		c.counters.limited.Add(1)
	default:
		c.counters.delivered.Add(1)
		c.onRefused(local, peer)
	}
}

// anycasts are the anycast addresses that were joined.
type anycasts struct {
	mu     sync.RWMutex
	joined map[linkAddress]struct{}
	count  map[netip.Addr]int
}

type linkAddress struct {
	link int
	addr netip.Addr
}

func (a *anycasts) contains(addr netip.Addr) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.count[addr] > 0
}

// JoinAnycast makes this node receive ICMPv6 messages of Mobile IPv6 to an
// anycast address of a link's prefix (RFC 6275 §10.5). The kernel answers
// neighbour solicitations for it as RFC 4861 §7.2.7 wants: without the Override
// flag, after a random delay. On a host the prefix must be on-link there; a
// router may join any. To join again is no error, and puts back what the kernel
// forgets of an anycast address when the link goes down. It needs CAP_NET_ADMIN.
func (c *Conn) JoinAnycast(link int, addr netip.Addr) error {
	if !addr.Is6() || addr.Is4In6() || addr.IsMulticast() || addr.IsUnspecified() || link <= 0 {
		return fmt.Errorf("join anycast address %v on interface %d: not an IPv6 unicast address on a link", addr, link)
	}
	k := linkAddress{link, addr.WithZone("")}
	a := &c.anycasts
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.joined[k]; ok {
		// Fails where the interface has gone and come back: then there is nothing
		// to leave.
		_ = c.anycastOption(unix.IPV6_LEAVE_ANYCAST, k)
		a.forget(k)
	}
	if err := c.anycastOption(unix.IPV6_JOIN_ANYCAST, k); err != nil {
		return fmt.Errorf("join anycast address %v on interface %d: %w", addr, link, err)
	}
	if a.joined == nil {
		a.joined, a.count = make(map[linkAddress]struct{}), make(map[netip.Addr]int)
	}
	a.joined[k] = struct{}{}
	a.count[k.addr]++
	return nil
}

// LeaveAnycast ends a JoinAnycast. To leave what was not joined, or an interface
// that is gone, is no error.
func (c *Conn) LeaveAnycast(link int, addr netip.Addr) error {
	k := linkAddress{link, addr.WithZone("")}
	a := &c.anycasts
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.joined[k]; !ok {
		return nil
	}
	a.forget(k)
	err := c.anycastOption(unix.IPV6_LEAVE_ANYCAST, k)
	if err == nil || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("leave anycast address %v on interface %d: %w", addr, link, err)
}

func (a *anycasts) forget(k linkAddress) {
	delete(a.joined, k)
	if a.count[k.addr]--; a.count[k.addr] == 0 {
		delete(a.count, k.addr)
	}
}

// anycastOption joins or leaves on the socket that delivers nothing; the kernel
// leaves by itself when that is closed.
func (c *Conn) anycastOption(option int, k linkAddress) error {
	rc, err := c.unheard.SyscallConn()
	if err != nil {
		return err
	}
	// struct ipv6_mreq: address and interface.
	request := k.addr.As16()
	b := binary.NativeEndian.AppendUint32(request[:], uint32(k.link))
	var setErr error
	if err := rc.Control(func(fd uintptr) {
		setErr = os.NewSyscallError("setsockopt", unix.SetsockoptString(int(fd), unix.IPPROTO_IPV6, option, string(b)))
	}); err != nil {
		return err
	}
	return setErr
}
