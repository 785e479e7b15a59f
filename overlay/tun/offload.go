package tun

import "encoding/binary"

// virtioHeader is what stands before each packet that is read from or written
// to the device (struct virtio_net_hdr of the kernel): the work on the packet
// that is left to do. The zero value is none.
type virtioHeader struct {
	flags, gso uint8
	// headerLength is the length of all headers before the payload; a hint only.
	headerLength uint16
	// segment is the payload of each packet that the aggregate stands for.
	segment uint16
	// start is where the checksum begins to cover, offset where it is stored from
	// there.
	start, offset uint16
}

const (
	virtioLength = 10

	virtioNeedsChecksum = 1 // the field holds the sum of the pseudo-header
	virtioDataValid     = 2

	gsoNone = 0
	gsoTCP6 = 4
	gsoUDP  = 5
	gsoECN  = 0x80 // with gsoTCP6: the first packet carries CWR

	offsetTCPChecksum = 16
	offsetUDPChecksum = 6
)

// parse reads the header; b has virtioLength octets. Their order is the
// machine's.
func (h *virtioHeader) parse(b []byte) {
	_ = b[virtioLength-1]
	h.flags, h.gso = b[0], b[1]
	h.headerLength = binary.NativeEndian.Uint16(b[2:])
	h.segment = binary.NativeEndian.Uint16(b[4:])
	h.start = binary.NativeEndian.Uint16(b[6:])
	h.offset = binary.NativeEndian.Uint16(b[8:])
}

func (h virtioHeader) put(b []byte) {
	_ = b[virtioLength-1]
	b[0], b[1] = h.flags, h.gso
	binary.NativeEndian.PutUint16(b[2:], h.headerLength)
	binary.NativeEndian.PutUint16(b[4:], h.segment)
	binary.NativeEndian.PutUint16(b[6:], h.start)
	binary.NativeEndian.PutUint16(b[8:], h.offset)
}

// completeChecksum does the work of virtioNeedsChecksum.
func (h virtioHeader) completeChecksum(packet []byte) bool {
	start := int(h.start)
	field := start + int(h.offset)
	if start < headerLength || field+2 > len(packet) {
		return false
	}
	protocol := uint8(protocolTCP)
	if h.offset == offsetUDPChecksum { // whatever headers are before it
		protocol = protocolUDP
	}
	putChecksum(packet[field:], sum(packet[start:], 0), protocol)
	return true
}

// aggregate is a packet that stands for several with the same headers.
type aggregate struct {
	transport int // where the transport header begins
	payload   int // where its payload begins
	segment   int // payload of each packet but the last
	protocol  uint8
}

// aggregateOf checks an aggregate that was read from the device.
func aggregateOf(packet []byte, h virtioHeader) (a aggregate, ok bool) {
	a.transport, a.segment = int(h.start), int(h.segment)
	if h.flags&virtioNeedsChecksum == 0 || a.segment == 0 || a.transport < headerLength {
		return a, false
	}
	switch h.gso &^ gsoECN {
	case gsoTCP6:
		a.protocol = protocolTCP
		if h.offset != offsetTCPChecksum || a.transport+20 > len(packet) {
			return a, false
		}
		length := int(packet[a.transport+12]>>4) * 4
		if length < 20 {
			return a, false
		}
		a.payload = a.transport + length
	case gsoUDP:
		a.protocol = protocolUDP
		if h.offset != offsetUDPChecksum {
			return a, false
		}
		a.payload = a.transport + 8
	default:
		return a, false
	}
	// The headers are copied into each packet: they must fit there.
	return a, a.payload < len(packet) && a.payload <= maximumInnerHeaders
}

// segments is how many packets the aggregate stands for.
func (a aggregate) segments(packet []byte) int {
	return (len(packet) - a.payload + a.segment - 1) / a.segment
}

// cut writes the headers of packet i to headers, which has room for a.payload
// octets, and returns the payload that follows them.
func (a aggregate) cut(packet []byte, i int, headers []byte) (payload []byte) {
	from := a.payload + i*a.segment
	to := min(from+a.segment, len(packet))
	payload = packet[from:to]
	copy(headers, packet[:a.payload])
	binary.BigEndian.PutUint16(headers[offsetPayloadLength:], uint16(a.payload-headerLength+len(payload)))
	t := headers[a.transport:a.payload]
	length := len(t) + len(payload)
	var field []byte
	switch a.protocol {
	case protocolTCP:
		const fin, psh, cwr = 0x01, 0x08, 0x80
		binary.BigEndian.PutUint32(t[4:], binary.BigEndian.Uint32(t[4:])+uint32(i*a.segment))
		if to < len(packet) {
			t[13] &^= fin | psh
		}
		if i > 0 {
			t[13] &^= cwr // RFC 3168 §6.1.2: on the first only
		}
		field = t[offsetTCPChecksum:]
	default:
		binary.BigEndian.PutUint16(t[4:], uint16(length))
		field = t[offsetUDPChecksum:]
	}
	// The field holds the sum of the pseudo-header of the whole aggregate, whose
	// destination may be in a routing header: only the length is put right.
	s := uint64(networkOrder(uint16(length))) + uint64(^networkOrder(uint16(len(packet)-a.transport)))
	putChecksum(field, sum(payload, sum(t, s)), a.protocol)
	return payload
}

// networkOrder is what the machine reads where v stands in network order.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
