package tun

import (
	"encoding/binary"
	"time"

	"roam6/overlay"
)

// encapsulator turns packets read from the device into outer packets (RFC 2473
// §3.1). The hop limit of the inner packet was decremented by the kernel when
// it forwarded the packet into the device. Of one goroutine.
type encapsulator struct {
	*table
	out            *batch
	errors         *errorSender
	identification uint32 // of fragments
	inner          [maximumInnerHeaders]byte
}

// packet handles one packet read from the device; its outer packets are in the
// batch afterwards. It returns an ICMPv6 error to write back to the device, or
// nil; that is valid until the next call.
func (e *encapsulator) packet(b []byte, h virtioHeader, now time.Duration) (reply []byte) {
	packet, ok := trim(b)
	if !ok {
		e.drops.count(overlay.DropMalformed)
		return nil
	}
	t, reason := e.outbound(packet)
	if t == nil {
		e.drops.count(reason)
		return nil
	}
	p := t.paths.Load().preferred()
	if source(packet) == p.local && destination(packet) == p.remote {
		e.drops.count(overlay.DropLoop)
		return nil
	}

	overhead, limit, nested := headerLength, uint8(0), false
	switch packet[offsetNextHeader] {
	case protocolTCP, protocolUDP, protocolICMPv6:
	default:
		if n := nestingOf(packet); n.tunnelled {
			// RFC 2473 §4.1.1 (b), (c); a tunnel packet without a limit gets one, so that
			// a routing loop through several tunnels ends (d, §6.6).
			nested, limit = true, defaultNesting
			if n.limit != 0 {
				if packet[n.limit] == 0 {
					e.drops.count(overlay.DropNesting)
					return e.errors.reply(packet, t.errorSource(p), icmpParameterProblem, 0, uint32(n.limit), now)
				}
				limit = packet[n.limit] - 1
			}
			overhead += limitLength
		}
	}

	size := len(packet)
	var a aggregate
	if h.gso != gsoNone {
		if a, ok = aggregateOf(packet, h); !ok {
			e.drops.count(overlay.DropOffload)
			return nil
		}
		size = min(size, a.payload+a.segment)
	}
	mtu := p.mtu(now)
	fragment := size+overhead > mtu
	if fragment && size > minimumMTU { // RFC 2473 §7.1 (a)
		e.drops.count(overlay.DropTooBig)
		return e.errors.reply(packet, t.errorSource(p), icmpPacketTooBig, 0, uint32(max(mtu-overhead, minimumMTU)), now)
	}

	o := outgoing{path: p, word: firstWord(packet), limit: limit, nested: nested, mtu: mtu, fragment: fragment}
	if h.gso == gsoNone {
		if h.flags&virtioNeedsChecksum != 0 && !h.completeChecksum(packet) {
			e.drops.count(overlay.DropOffload)
			return nil
		}
		e.emit(&o, nil, packet)
		t.encapsulated.add(1, len(packet))
		return nil
	}
	n := a.segments(packet)
	for i := range n {
		payload := a.cut(packet, i, e.inner[:a.payload])
		e.emit(&o, e.inner[:a.payload], payload)
	}
	t.encapsulated.add(n, len(packet)+(n-1)*a.payload)
	return nil
}

// outgoing is what the outer packets of one packet have in common.
type outgoing struct {
	path     *path
	word     uint32
	nested   bool
	limit    uint8
	fragment bool
	mtu      int
}

// defaultNesting is the recommended tunnel encapsulation limit (RFC 2473 §6.6).
const defaultNesting = 4

// emit adds the outer packet of an inner packet, given in two parts, to the
// batch. Only the payload must stay where it is until the batch is sent.
func (e *encapsulator) emit(o *outgoing, headers, payload []byte) {
	next := uint8(protocolIPv6)
	length := len(headers) + len(payload)
	if o.nested {
		next = protocolDestinationOptions
		length += limitLength
	}
	if o.fragment && headerLength+length > o.mtu {
		e.emitFragments(o, next, headers, payload)
		return
	}
	d := e.out.next()
	o.path.putHeader(d.headers[:], o.word, length, next)
	n := headerLength
	if o.nested {
		n += putLimit(d.headers[n:], o.limit)
	}
	n += copy(d.headers[n:], headers)
	d.path, d.length, d.payload = o.path, n, payload
}

// emitFragments adds an outer packet in two fragments (RFC 2473 §7.1 (b),
// RFC 8200 §4.5). Two are enough: the inner packet is no larger than the
// minimum MTU, and the path MTU no smaller.
func (e *encapsulator) emitFragments(o *outgoing, next uint8, headers, payload []byte) {
	room := (o.mtu - headerLength - fragmentLength) &^ 7
	e.identification++
	const more = 1

	d := e.out.next()
	n := headerLength + putFragment(d.headers[headerLength:], next, more, e.identification)
	if o.nested {
		n += putLimit(d.headers[n:], o.limit)
	}
	n += copy(d.headers[n:], headers)
	first := headerLength + fragmentLength + room - n
	o.path.putHeader(d.headers[:], o.word, fragmentLength+room, protocolFragment)
	d.path, d.length, d.payload = o.path, n, payload[:first]

	d = e.out.next()
	rest := payload[first:]
	o.path.putHeader(d.headers[:], o.word, fragmentLength+len(rest), protocolFragment)
	n = headerLength + putFragment(d.headers[headerLength:], next, uint16(room), e.identification)
	d.path, d.length, d.payload = o.path, n, rest
}

func putFragment(b []byte, next uint8, offsetAndMore uint16, identification uint32) int {
	b[0], b[1] = next, 0
	binary.BigEndian.PutUint16(b[2:], offsetAndMore)
	binary.BigEndian.PutUint32(b[4:], identification)
	return fragmentLength
}

// putLimit writes the destination options header of RFC 2473 §5.1.
func putLimit(b []byte, limit uint8) int {
	return copy(b, []byte{protocolIPv6, 0, 4, 1, limit, 1, 1, 0})
}
