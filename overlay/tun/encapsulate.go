package tun

import (
	"encoding/binary"
	"time"

	"roam6/overlay"
)

// encapsulator turns packets read from the device into outer packets: in a
// tunnel (RFC 2473 §3.1), or along an optimised route (RFC 6275 §9.3.2,
// §11.3.1). Where the hop limit of a packet is to be decremented, the kernel did
// it when it forwarded the packet into the device. Of one goroutine.
type encapsulator struct {
	*table
	out            *batch
	errors         *errorSender
	watch          *watcher
	identification uint32 // of fragments
	pathMTU        int
	// wayOut is the interface that packets leave by which the device is to let
	// pass; ok is false if there is none but the device.
	wayOut func(from, to address) (link int, ok bool)
	// homeTest is Config.HomeTest.
	homeTest func(home overlay.Key, path overlay.Path, packet []byte)

	inner    [maximumInnerHeaders]byte // of one packet of an aggregate
	inserted [maximumInnerHeaders + routeHeaderLength + homeHeaderLength]byte
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
	if e.bare(packet, source(packet), destination(packet)) {
		e.drops.count(overlay.DropUnprotected)
		return nil
	}
	c, reason := e.choose(packet, now)
	if reason != 0 {
		e.drops.count(reason)
		return nil
	}
	if c.tunnel != nil && c.tunnel.guards(packet, outbound) {
		e.handOver(&c, packet)
		return nil
	}
	o := outgoing{course: &c, word: firstWord(packet), overhead: c.inserted()}
	if c.tunnel != nil {
		if source(packet) == c.path.local && destination(packet) == c.path.remote {
			e.drops.count(overlay.DropLoop)
			return nil
		}
		if at, ok := o.enter(packet); !ok {
			e.drops.count(overlay.DropNesting)
			return e.errors.reply(packet, c.errorSource(packet), icmpParameterProblem, 0, uint32(at), now)
		}
	}
	size := len(packet)
	var a aggregate
	if h.gso != gsoNone {
		if a, ok = aggregateOf(packet, h); !ok || a.transport < c.at {
			e.drops.count(overlay.DropOffload)
			return nil
		}
		size = min(size, a.payload+a.segment)
	}
	o.fit(size, now)
	if o.fragment && size > minimumMTU { // RFC 2473 §7.1 (a)
		e.drops.count(overlay.DropTooBig)
		return e.errors.reply(packet, c.errorSource(packet), icmpPacketTooBig, 0, uint32(max(o.mtu-o.overhead, minimumMTU)), now)
	}

	if h.gso == gsoNone {
		if h.flags&virtioNeedsChecksum != 0 && !h.completeChecksum(packet) {
			e.drops.count(overlay.DropOffload)
			return nil
		}
		n := c.split()
		e.emit(&o, packet[:n], packet[n:])
		c.count(1, len(packet))
	} else {
		n := a.segments(packet)
		for i := range n {
			payload := a.cut(packet, i, e.inner[:a.payload])
			e.emit(&o, e.inner[:a.payload], payload)
		}
		c.count(n, len(packet)+(n-1)*a.payload)
	}
	e.watch.sent(&c, packet, now)
	return nil
}

// outgoing is what the outer packets of one packet have in common.
type outgoing struct {
	*course
	word     uint32 // of the tunnel header
	nested   bool
	limit    uint8
	overhead int // what is added to the packet
	fragment bool
	mtu      int
}

// defaultNesting is the recommended tunnel encapsulation limit (RFC 2473 §6.6).
const defaultNesting = 4

// enter prepares the tunnel header. ok is false for a packet that must not enter
// another tunnel; then at is where it says so.
func (o *outgoing) enter(packet []byte) (at int, ok bool) {
	o.overhead += headerLength
	switch packet[offsetNextHeader] {
	case protocolTCP, protocolUDP, protocolICMPv6:
		return 0, true
	}
	n := nestingOf(packet)
	if !n.tunnelled {
		return 0, true
	}
	// RFC 2473 §4.1.1 (b), (c); a tunnel packet without a limit gets one, so that
	// a routing loop through several tunnels ends (d, §6.6).
	o.nested, o.limit = true, defaultNesting
	if n.limit != 0 {
		if packet[n.limit] == 0 {
			return n.limit, false
		}
		o.limit = packet[n.limit] - 1
	}
	o.overhead += limitLength
	return 0, true
}

// fit finds out what the course takes, and whether the outer packet of one so
// large must go in fragments.
func (o *outgoing) fit(size int, now time.Duration) {
	o.mtu = o.path.mtu(now)
	if o.tunnel != nil && o.correspondent != nil {
		// Behind the tunnel comes the path to the care-of address. A packet of the
		// minimum MTU that it does not take goes to the home address.
		if behind := o.behind.mtu(now); size+o.inserted() > behind {
			if size > minimumMTU {
				o.mtu = min(o.mtu, behind-o.inserted()+o.overhead)
			} else {
				o.correspondent = nil
				o.overhead -= routeHeaderLength
			}
		}
	}
	o.fragment = size+o.overhead > o.mtu
}

// split is how many octets of a packet must be rewritten.
func (c *course) split() int {
	switch {
	case c.mobile == nil && c.correspondent == nil:
		return 0
	case c.fragment != 0:
		return max(c.at, c.fragment+fragmentLength)
	default:
		return c.at
	}
}

// emit adds what leaves for a packet, given in two parts, to the batch. Only the
// payload must stay where it is until the batch is sent.
func (e *encapsulator) emit(o *outgoing, headers, payload []byte) {
	switch {
	case o.tunnel == nil:
		e.emitDirect(o, headers, payload)
	case o.correspondent != nil:
		n := o.insert(e.inserted[:], headers, len(payload))
		e.emitTunnelled(o, e.inserted[:n], payload)
	default:
		e.emitTunnelled(o, headers, payload)
	}
}

// emitTunnelled adds the outer packet of an inner packet to the batch.
func (e *encapsulator) emitTunnelled(o *outgoing, headers, payload []byte) {
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
// RFC 8200 §4.5). Two are enough: but for a routing header the inner packet is
// no larger than the minimum MTU, and the path MTU no smaller.
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
