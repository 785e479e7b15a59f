package tun

import (
	"encoding/binary"
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
