package tun

import (
	"encoding/binary"

	"roam6/overlay"
)

// emitDirect adds the packet of a course without a tunnel to the batch: with the
// headers of an optimised route, or as it is.
func (e *encapsulator) emitDirect(o *outgoing, headers, payload []byte) {
	if o.mobile == nil && o.correspondent == nil {
		if len(headers) == 0 {
			headers, payload = payload[:headerLength], payload[headerLength:]
		}
		e.end(o, &o.upper, copy(e.begin(o, &o.upper), headers), payload)
		return
	}
	if len(headers)+len(payload)+o.inserted() > o.upper.mtu {
		e.emitDirectFragments(o, headers, payload)
		return
	}
	e.end(o, &o.upper, o.insert(e.begin(o, &o.upper), headers, len(payload)), payload)
}

// emitDirectFragments adds a packet that is no larger than the minimum MTU in
// fragments (RFC 8200 §4.5), as tunnels do with theirs. The inserted headers are
// before the fragment header (RFC 6275 §6.3), in each fragment. A packet that is
// a fragment itself is divided into smaller ones of the same whole.
func (e *encapsulator) emitDirectFragments(o *outgoing, headers, payload []byte) {
	c := o.course
	const more = 1
	var (
		next           = c.next
		identification uint32
		offset, last   int // of the packet in the whole; more flag of its last fragment
		repeated, rest []byte
	)
	if c.fragment != 0 {
		own := headers[c.fragment : c.fragment+fragmentLength]
		next = own[0]
		field := int(binary.BigEndian.Uint16(own[2:]))
		offset, last = field&^7, field&more
		identification = binary.BigEndian.Uint32(own[4:])
		repeated, rest = headers[:c.fragment], headers[c.fragment+fragmentLength:]
	} else {
		e.identification++
		identification = e.identification
		c.next = protocolFragment
		repeated, rest = headers[:c.at], headers[c.at:]
	}
	fixed := len(repeated) + c.inserted() + fragmentLength
	room := (o.upper.mtu - fixed) &^ 7
	total := len(rest) + len(payload)
	if room < len(rest) || room < 8 || offset+total > 0xffff {
		e.drops.count(overlay.DropTooBig)
		return
	}
	for at := 0; at < total; {
		size, flag := min(room, total-at), more
		if at+size == total {
			flag = last
		}
		b := e.begin(o, &o.upper)
		n := c.insert(b, repeated, fragmentLength+size)
		n += putFragment(b[n:], next, uint16(offset+at|flag), identification)
		if at == 0 {
			n += copy(b[n:], rest)
			size -= len(rest)
			at += len(rest)
		}
		e.end(o, &o.upper, n, payload[:size])
		payload = payload[size:]
		at += size
	}
}
