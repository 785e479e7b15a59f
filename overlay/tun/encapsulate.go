package tun

import (
	"encoding/binary"
	"time"

	"roam6/overlay"
)

// encapsulator turns packets read from the device into outer packets: in a
// tunnel (RFC 2473 §3.1), in two (stack.go), or along an optimised route (RFC 6275 §9.3.2,
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
	stacked  [maximumHeaders]byte // of a packet for the tunnel below
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
	if reason == 0 {
		reason = c.descend()
	}
	if reason != 0 {
		e.drops.count(reason)
		return nil
	}
	if c.tunnel != nil && c.tunnel.guards(packet, outbound) {
		e.handOver(&c, packet)
		return nil
	}
	o := outgoing{course: c, word: firstWord(packet), overhead: c.inserted()}
	if o.tunnel != nil && source(packet) == o.path.local && destination(packet) == o.path.remote {
		e.drops.count(overlay.DropLoop)
		return nil
	}
	if r, reason := o.enter(packet); reason != 0 {
		e.drops.count(reason)
		return e.errors.reply(packet, o.errorSource(packet), r.kind, r.code, r.parameter, now)
	}
	size := len(packet)
	var a aggregate
	if h.gso != gsoNone {
		if a, ok = aggregateOf(packet, h); !ok || a.transport < o.at {
			e.drops.count(overlay.DropOffload)
			return nil
		}
		size = min(size, a.payload+a.segment)
	}
	o.fit(size, now)
	if size+o.overhead > o.upper.mtu && size > minimumMTU { // RFC 2473 §7.1 (a)
		e.drops.count(overlay.DropTooBig)
		return e.errors.reply(packet, o.errorSource(packet), icmpPacketTooBig, 0, uint32(max(o.upper.mtu-o.overhead, minimumMTU)), now)
	}

	if h.gso == gsoNone {
		if h.flags&virtioNeedsChecksum != 0 && !h.completeChecksum(packet) {
			e.drops.count(overlay.DropOffload)
			return nil
		}
		n := o.split()
		e.emit(&o, packet[:n], packet[n:])
		o.count(1, len(packet))
	} else {
		n := a.segments(packet)
		for i := range n {
			payload := a.cut(packet, i, e.inner[:a.payload])
			e.emit(&o, e.inner[:a.payload], payload)
		}
		o.count(n, len(packet)+(n-1)*a.payload)
	}
	if o.below != nil {
		o.below.encapsulated.add(o.carried, o.carriedBytes)
	}
	e.watch.sent(&o.course, packet, now)
	return nil
}

// outgoing is what the outer packets of one packet have in common.
type outgoing struct {
	course
	word     uint32 // of tunnel headers
	overhead int    // what is added to the packet, but for the tunnel below
	upper    layer  // by the path of the course, in its tunnel or without one
	lower    layer  // of the tunnel below
	// carried are the packets that have entered the tunnel below, and their octets.
	carried, carriedBytes int
}

// layer is a packet on its way by one path.
type layer struct {
	path   *path
	nested bool // with an encapsulation limit
	limit  uint8
	mtu    int
}

// overhead is how many octets the tunnel header takes.
func (l *layer) overhead() int {
	if l.nested {
		return headerLength + limitLength
	}
	return headerLength
}

// defaultNesting is the recommended tunnel encapsulation limit (RFC 2473 §6.6).
const defaultNesting = 4

// enter prepares the tunnel headers. reason is not 0 for a packet that must not enter
// another tunnel, and kind, code and parameter are what its source is told.
func (o *outgoing) enter(packet []byte) (r relay, reason overlay.DropReason) {
	o.upper.path, o.lower.path = o.path, o.under
	first := &o.upper
	switch {
	case o.tunnel != nil:
	case o.below != nil:
		first = &o.lower
	default:
		return r, 0
	}
	if at, ok := first.enter(packet, o.tunnel != nil && o.tunnel.withoutLimit()); !ok {
		return relay{icmpParameterProblem, 0, uint32(at)}, overlay.DropNesting
	}
	if o.tunnel == nil {
		return r, 0
	}
	o.overhead += o.upper.overhead()
	if o.below != nil && o.upper.nested {
		// As any tunnel on the way does with the limit that it finds. A packet without one
		// gets none here either: it cannot have gone round.
		if o.upper.limit == 0 {
			return relay{icmpUnreachable, icmpCodeAddressUnreachable, 0}, overlay.DropNesting // §8.2
		}
		o.lower.nested, o.lower.limit = true, o.upper.limit-1
	}
	return r, 0
}

// enter finds out about the encapsulation limit. ok is false for a packet that must
// not enter another tunnel; then at is where it says so. plain: a packet without a limit
// gets none.
func (l *layer) enter(packet []byte, plain bool) (at int, ok bool) {
	switch packet[offsetNextHeader] {
	case protocolTCP, protocolUDP, protocolICMPv6:
		return 0, true
	}
	n := nestingOf(packet)
	if !n.tunnelled || plain && n.limit == 0 {
		return 0, true
	}
	// RFC 2473 §4.1.1 (b), (c); a tunnel packet without a limit gets one, so that
	// a routing loop through several tunnels ends (d, §6.6).
	l.nested, l.limit = true, defaultNesting
	if n.limit != 0 {
		if packet[n.limit] == 0 {
			return n.limit, false
		}
		l.limit = packet[n.limit] - 1
	}
	return 0, true
}

// fit finds out what the course takes of a packet so large. What does not fit must
// go in fragments.
func (o *outgoing) fit(size int, now time.Duration) {
	if o.below != nil {
		o.lower.mtu = o.under.beyond(now)
		o.upper.mtu = min(o.path.beyond(now), passed(o.under, o.lower.overhead(), now))
	} else {
		o.upper.mtu = o.path.mtu(now)
	}
	if o.tunnel != nil && o.correspondent != nil {
		// Behind the tunnel comes the path to the care-of address. A packet of the
		// minimum MTU that it does not take goes to the home address.
		if behind := o.behind.mtu(now); size+o.inserted() > behind {
			if size > minimumMTU {
				o.upper.mtu = min(o.upper.mtu, behind-o.inserted()+o.overhead)
			} else {
				o.correspondent = nil
				o.overhead -= routeHeaderLength
			}
		}
	}
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
		e.emitTunnelled(o, &o.upper, e.inserted[:n], payload)
	default:
		e.emitTunnelled(o, &o.upper, headers, payload)
	}
}

// begin returns room for the headers of a packet of a layer: of the next one to be
// sent, or where it enters the tunnel below.
func (e *encapsulator) begin(o *outgoing, l *layer) []byte {
	if l == &o.upper && o.below != nil {
		return e.stacked[:]
	}
	return e.out.next().headers[:]
}

// end sends a packet on whose headers, of so many octets, are where begin said.
func (e *encapsulator) end(o *outgoing, l *layer, headers int, payload []byte) {
	if l == &o.upper && o.below != nil {
		o.carried++
		o.carriedBytes += headers + len(payload)
		e.emitTunnelled(o, &o.lower, e.stacked[:headers], payload)
		return
	}
	d := e.out.last()
	d.path, d.length, d.payload = l.path, headers, payload
}

// emitTunnelled adds the tunnel header of a layer.
func (e *encapsulator) emitTunnelled(o *outgoing, l *layer, headers, payload []byte) {
	next := uint8(protocolIPv6)
	length := len(headers) + len(payload)
	if l.nested {
		next = protocolDestinationOptions
		length += limitLength
	}
	if headerLength+length > l.mtu && !l.path.seal.On() { // ESP comes before fragments: the kernel's
		e.emitFragments(o, l, next, headers, payload)
		return
	}
	b := e.begin(o, l)
	l.path.putHeader(b, o.word, length, next)
	n := headerLength
	if l.nested {
		n += putLimit(b[n:], l.limit)
	}
	n += copy(b[n:], headers)
	e.end(o, l, n, payload)
}

// emitFragments is emitTunnelled in two fragments (RFC 2473 §7.1 (b),
// RFC 8200 §4.5). Two are enough: but for a routing header the inner packet is
// no larger than the minimum MTU, and the path MTU no smaller.
func (e *encapsulator) emitFragments(o *outgoing, l *layer, next uint8, headers, payload []byte) {
	room := (l.mtu - headerLength - fragmentLength) &^ 7
	e.identification++
	identification := e.identification // each may be taken apart again
	const more = 1

	b := e.begin(o, l)
	n := headerLength + putFragment(b[headerLength:], next, more, identification)
	if l.nested {
		n += putLimit(b[n:], l.limit)
	}
	n += copy(b[n:], headers)
	first := headerLength + fragmentLength + room - n
	l.path.putHeader(b, o.word, fragmentLength+room, protocolFragment)
	e.end(o, l, n, payload[:first])

	rest := payload[first:]
	b = e.begin(o, l)
	l.path.putHeader(b, o.word, fragmentLength+len(rest), protocolFragment)
	n = headerLength + putFragment(b[headerLength:], next, uint16(room), identification)
	e.end(o, l, n, rest)
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
