package tun

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// A home agent that has no tunnel for a packet's inner source tells the sender,
// which is a mobile whose binding is gone: after a restart of the agent, say.
// The mobile registers again then (Config.Refused). The error is the one of RFC
// 4443 §3.1 for a source that fails the policy, which is what RFC 6275 §10.4.5
// makes of such a packet.
const icmpCodePolicy = 5

// refuser builds those errors, not too many. Of one goroutine.
type refuser struct {
	limit  *bucket
	buffer [minimumMTU - headerLength]byte
}

// message returns the ICMPv6 message about a tunnel packet that arrived without
// its header, with a checksum of zero; nil where none may be sent or the limit
// is reached.
func (r *refuser) message(packet []byte, o outer, now time.Duration) []byte {
	if o.source.unspecified() || o.source.linkScope() || o.source.multicast() || o.destination.multicast() || !r.limit.take(now) {
		return nil
	}
	b := r.buffer[:]
	clear(b[:icmpHeaderLength+headerLength])
	b[0], b[1] = icmpUnreachable, icmpCodePolicy
	quoted := b[icmpHeaderLength:]
	binary.BigEndian.PutUint32(quoted, 6<<28|uint32(o.class)<<20)
	binary.BigEndian.PutUint16(quoted[offsetPayloadLength:], uint16(len(packet)))
	quoted[offsetNextHeader], quoted[7] = protocolIPv6, outerHopLimit
	if o.sealed {
		// Nothing of what was in ESP; the mobile knows its tunnel by the outer addresses.
		quoted[offsetNextHeader], packet = protocolESP, make([]byte, sealedQuoted)
		binary.BigEndian.PutUint16(quoted[offsetPayloadLength:], sealedQuoted)
	}
	o.source.put(quoted[offsetSource:])
	o.destination.put(quoted[offsetDestination:])
	n := copy(quoted[headerLength:], packet)
	return b[:icmpHeaderLength+headerLength+n]
}

// refuse sends such an error. Like every error it may be lost.
func (e *Engine) refuse(r *refuser, packet []byte, o outer, now time.Duration) {
	b := r.message(packet, o, now)
	if b == nil {
		return
	}
	from := unix.PktInfo6(&unix.Inet6Pktinfo{Addr: o.destination.netip().As16()})
	_, _ = unix.SendmsgN(e.icmp, b, from, &unix.SockaddrInet6{Addr: o.source.netip().As16()}, unix.MSG_DONTWAIT)
}

// refused reports whether an error is one of those.
func (e tunnelError) refused() bool { return e.kind == icmpUnreachable && e.code == icmpCodePolicy }

// absent reports whether an error is what a kernel without tunnels says of a packet that
// nobody took (RFC 4443 §3.4): the process at the other end is gone, and its host is not.
// Port Unreachable would not tell; see received.
func (e tunnelError) absent() bool {
	return e.kind == icmpParameterProblem && e.code == icmpCodeNextHeader && int64(e.parameter) < int64(e.headers)
}

const (
	// absentFor is how long the other end of a tunnel has to be gone before that is a
	// refusal. One that restarts is back by then, and refuses by itself what it has
	// forgotten; it could not have answered before.
	absentFor = 500 * time.Millisecond
	// absentGap is the longest time between two errors about one absence: hosts may
	// send one a second and no more.
	absentGap = 2 * time.Second
)

// absence is the time in which a kernel answered for the other end of a tunnel.
type absence struct{ from, last time.Duration }

// absences are those of mobiles' tunnels, by home address. Of one goroutine.
type absences map[netip.Addr]absence

// lasts takes in an error about a tunnel of the table, and reports whether it is time to
// believe it.
func (a absences) lasts(home netip.Addr, now time.Duration) bool {
	maps.DeleteFunc(a, func(_ netip.Addr, s absence) bool { return now-s.last > absentGap })
	s, known := a[home]
	if !known {
		s.from = now
	}
	s.last = now
	a[home] = s
	return now-s.from >= absentFor
}
