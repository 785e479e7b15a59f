package tun

import (
	"bytes"
	"encoding/binary"
)

// coalescer joins received packets of a TCP flow that follow each other into
// aggregates for the device, as the receive offload of the kernel does (GRO):
// one system call and one trip through the kernel's forwarding instead of
// dozens. Only packets whose checksum is right are joined, and only what the
// kernel would take apart into the same packets again.
type coalescer struct {
	items []item
	n     int
	// largest is the MTU of the device.
	largest int
}

// item is a packet for the device, or an aggregate.
type item struct {
	head   []byte   // receiveHeadroom free octets, then the first packet
	more   [][]byte // payloads of the packets joined to it
	flow   bool     // may be joined
	closed bool     // nothing more may be joined
	given  bool     // virtio is what is left to do for the packet
	virtio virtioHeader
	// of a flow:
	payload int // where the payload begins in the packet
	segment int // payload of the first packet
	total   int // length of the aggregate
	next    uint32
}

func newCoalescer(size, largest int) *coalescer {
	c := &coalescer{items: make([]item, size), largest: largest}
	for i := range c.items {
		c.items[i].more = make([][]byte, 0, size)
	}
	return c
}

func (c *coalescer) reset() {
	for i := range c.items[:c.n] {
		it := &c.items[i]
		clear(it.more)
		it.head, it.more = nil, it.more[:0]
	}
	c.n = 0
}

const (
	tcpFlags = 13 // offsets in the TCP header
	tcpAck   = 0x10
	tcpPush  = 0x08
)

// add takes a packet, behind receiveHeadroom free octets. It must stay where it
// is until reset. There is room for as many as the coalescer was made for.
func (c *coalescer) add(buffer []byte) { c.addItem(buffer, virtioHeader{}, false) }

// addGiven is add for a packet that came with a virtio header.
func (c *coalescer) addGiven(buffer []byte, h virtioHeader) { c.addItem(buffer, h, true) }

func (c *coalescer) addItem(buffer []byte, h virtioHeader, given bool) {
	packet := buffer[receiveHeadroom:]
	ok, payload := h.gso == gsoNone && h.flags&virtioNeedsChecksum == 0, 0
	if ok {
		payload, ok = flowPacket(packet)
	}
	if ok && c.join(packet, payload) {
		return
	}
	if !ok {
		c.close(packet)
	}
	it := &c.items[c.n]
	c.n++
	it.head, it.flow, it.closed, it.given, it.virtio = buffer, ok, false, given, h
	if ok {
		it.payload, it.segment, it.total = payload, len(packet)-payload, len(packet)
		it.next = sequence(packet) + uint32(it.segment)
		it.closed = packet[headerLength+tcpFlags]&tcpPush != 0
	}
}

// flowPacket reports whether a packet may be part of an aggregate: TCP right
// behind the IPv6 header, with data, no flag but ACK and PSH, and a correct
// checksum. payload is where its data begin.
func flowPacket(packet []byte) (payload int, ok bool) {
	if packet[offsetNextHeader] != protocolTCP || len(packet) < headerLength+20 {
		return 0, false
	}
	t := packet[headerLength:]
	length := int(t[12]>>4) * 4
	if length < 20 || length >= len(t) || t[12]&0xf != 0 || t[tcpFlags]&^tcpPush != tcpAck {
		return 0, false
	}
	if fold(sum(t, pseudoSum(packet[offsetSource:], len(t), protocolTCP))) != 0xffff {
		return 0, false
	}
	return headerLength + length, true
}

func sequence(packet []byte) uint32 { return binary.BigEndian.Uint32(packet[headerLength+4:]) }

// join adds a packet to the latest aggregate of its flow, if it continues that.
func (c *coalescer) join(packet []byte, payload int) bool {
	for i := c.n - 1; i >= 0; i-- {
		it := &c.items[i]
		if !it.flow {
			continue
		}
		first := it.head[receiveHeadroom:]
		if !sameFlow(first, packet) {
			continue
		}
		data := packet[payload:]
		if it.closed || it.next != sequence(packet) || it.payload != payload || len(data) > it.segment ||
			it.total+len(data) > headerLength+0xffff || !sameHeaders(first[:payload], packet[:payload]) {
			return false // later packets of the flow must not overtake
		}
		it.more = append(it.more, data)
		it.total += len(data)
		it.next += uint32(len(data))
		push := packet[headerLength+tcpFlags] & tcpPush
		first[headerLength+tcpFlags] |= push
		it.closed = push != 0 || len(data) < it.segment
		return true
	}
	return false
}

// close ends the aggregate of the flow of a packet that cannot be joined to it,
// so that no later packet gets in front of this one.
func (c *coalescer) close(packet []byte) {
	if packet[offsetNextHeader] != protocolTCP || len(packet) < headerLength+20 {
		return
	}
	for i := c.n - 1; i >= 0; i-- {
		if it := &c.items[i]; it.flow && sameFlow(it.head[receiveHeadroom:], packet) {
			it.closed = true
			return
		}
	}
}

// sameFlow compares addresses and ports.
func sameFlow(a, b []byte) bool {
	return bytes.Equal(a[offsetSource:headerLength+4], b[offsetSource:headerLength+4])
}

// sameHeaders compares everything else but lengths, sequence number, PSH and
// checksum: traffic class, flow label, hop limit, acknowledgement, flags,
// window, urgent pointer, options.
func sameHeaders(a, b []byte) bool {
	s, t := a[headerLength:], b[headerLength:]
	return bytes.Equal(a[:offsetPayloadLength], b[:offsetPayloadLength]) && a[7] == b[7] &&
		bytes.Equal(s[8:13], t[8:13]) && s[tcpFlags]&^tcpPush == t[tcpFlags]&^tcpPush &&
		bytes.Equal(s[14:16], t[14:16]) && bytes.Equal(s[18:], t[18:])
}

// finish completes an item: afterwards its head is the virtio header and the
// first packet, ready for the device together with more. ok is false if it
// cannot be handed on.
func (c *coalescer) finish(it *item) (head []byte, ok bool) {
	packet := it.head[receiveHeadroom:]
	var h virtioHeader
	if len(it.more) > 0 {
		h = aggregateHeader(it.payload, it.segment)
		binary.BigEndian.PutUint16(packet[offsetPayloadLength:], uint16(it.total-headerLength))
		binary.NativeEndian.PutUint16(packet[headerLength+offsetTCPChecksum:],
			fold(pseudoSum(packet[offsetSource:], it.total-headerLength, protocolTCP)))
	} else if it.given {
		h = it.virtio
	} else if !it.flow {
		if h, ok = c.received(packet); !ok {
			return nil, false
		}
	}
	head = it.head[receiveHeadroom-virtioLength:]
	h.put(head)
	return head, true
}

func aggregateHeader(payload, segment int) virtioHeader {
	return virtioHeader{
		flags: virtioNeedsChecksum, gso: gsoTCP6, headerLength: uint16(payload), segment: uint16(segment),
		start: headerLength, offset: offsetTCPChecksum,
	}
}

// received tells what is left to do for a packet as it came from the socket.
// The kernel hands over aggregates of several packets as one, and over virtual
// links packets whose checksum was left to hardware that is not there. Of both
// the checksum field holds the sum of the pseudo-header, and nothing else tells.
// (A packet whose correct checksum is the same number gets that number again.)
func (c *coalescer) received(packet []byte) (h virtioHeader, ok bool) {
	protocol := packet[offsetNextHeader]
	t := packet[headerLength:]
	var field int
	switch {
	case protocol == protocolTCP && len(t) >= 20:
		field = offsetTCPChecksum
	case protocol == protocolUDP && len(t) >= 8:
		field = offsetUDPChecksum
	default:
		return h, true
	}
	if binary.NativeEndian.Uint16(t[field:]) != fold(pseudoSum(packet[offsetSource:], len(t), protocol)) {
		return h, true
	}
	switch {
	case protocol == protocolUDP && len(packet) > c.largest:
		return h, false // where the datagrams in it end, nobody can tell
	case protocol == protocolTCP && len(packet) > minimumMTU && t[12]>>4 >= 5:
		// How long the packets were is not known; so short that none will be too big
		// anywhere.
		length := headerLength + int(t[12]>>4)*4
		return aggregateHeader(length, minimumMTU-length), true
	}
	return virtioHeader{flags: virtioNeedsChecksum, start: headerLength, offset: uint16(field)}, true
}
