package pcap

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"time"
)

// Block types of pcapng (draft-ietf-opsawg-pcapng §4).
const (
	blockSectionHeader  = 0x0a0d0d0a // the same in both byte orders
	blockInterface      = 1
	blockSimplePacket   = 3
	blockEnhancedPacket = 6
)

const byteOrderMagic = 0x1a2b3c4d

// Options of an interface description block.
const (
	optionEnd        = 0
	optionTimeUnit   = 9
	optionTimeOffset = 14
)

// ngInterface is an interface of a pcapng section.
type ngInterface struct {
	link   linkType
	snap   uint32 // 0: unlimited
	units  uint64 // of a time stamp, per second
	offset int64  // seconds to add to time stamps
}

// nextBlock reads blocks of a pcapng file up to the next packet.
func (r *Reader) nextBlock() (frame, error) {
	for {
		start := r.offset
		head, err := r.takeOrEnd(8)
		if err != nil {
			return frame{}, err
		}
		kind, length := r.order.Uint32(head), r.order.Uint32(head[4:])
		if kind == blockSectionHeader {
			if err := r.section(binary.LittleEndian.Uint32(head[4:])); err != nil {
				return frame{}, fmt.Errorf("section header block at octet %d: %w", start, err)
			}
			continue
		}
		if length < 12 || length%4 != 0 {
			return frame{}, fmt.Errorf("block at octet %d: length %d is not possible", start, length)
		}
		switch kind {
		case blockInterface, blockSimplePacket, blockEnhancedPacket:
		default:
			n, err := io.CopyN(io.Discard, r.in, int64(length-8))
			r.offset += n
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return frame{}, fmt.Errorf("block at octet %d: %w", start, err)
			}
			continue
		}
		body, err := r.body(length)
		if err != nil {
			return frame{}, fmt.Errorf("block at octet %d: %w", start, err)
		}
		if kind == blockInterface {
			if err := r.addInterface(body); err != nil {
				return frame{}, fmt.Errorf("interface description block at octet %d: %w", start, err)
			}
			continue
		}
		f, err := r.packet(kind, body)
		if err != nil {
			return frame{}, fmt.Errorf("packet block at octet %d: %w", start, err)
		}
		return f, nil
	}
}

// body reads what follows the head of a block of the given total length, and
// compares that with the length at the end.
func (r *Reader) body(length uint32) ([]byte, error) {
	b, err := r.take(length - 8)
	if err != nil {
		return nil, err
	}
	n := len(b) - 4
	if again := r.order.Uint32(b[n:]); again != length {
		return nil, fmt.Errorf("begins with length %d and ends with %d", length, again)
	}
	return b[:n], nil
}

// section begins a section, whose byte order is its own. The length read in
// little-endian order is handed over, since it comes before the order is known.
func (r *Reader) section(length uint32) error {
	magic, err := r.take(4)
	if err != nil {
		return err
	}
	switch binary.LittleEndian.Uint32(magic) {
	case byteOrderMagic:
		r.order = binary.LittleEndian
	case bits.ReverseBytes32(byteOrderMagic):
		r.order = binary.BigEndian
		length = bits.ReverseBytes32(length)
	default:
		return fmt.Errorf("byte order magic %#x is unknown", binary.LittleEndian.Uint32(magic))
	}
	if length < 28 || length%4 != 0 {
		return fmt.Errorf("length %d is not possible", length)
	}
	rest, err := r.take(length - 12)
	if err != nil {
		return err
	}
	if again := r.order.Uint32(rest[len(rest)-4:]); again != length {
		return fmt.Errorf("begins with length %d and ends with %d", length, again)
	}
	if major := r.order.Uint16(rest); major != 1 {
		return fmt.Errorf("version %d is not supported", major)
	}
	r.interfaces = r.interfaces[:0]
	return nil
}

func (r *Reader) addInterface(b []byte) error {
	if len(b) < 8 {
		return fmt.Errorf("%d octets are too short", len(b))
	}
	if len(r.interfaces) == maxInterfaces {
		return fmt.Errorf("more than %d interfaces", maxInterfaces)
	}
	i := ngInterface{
		link:  linkType(r.order.Uint16(b)),
		snap:  r.order.Uint32(b[4:]),
		units: 1e6,
	}
	for b = b[8:]; len(b) >= 4; {
		code, n := r.order.Uint16(b), int(r.order.Uint16(b[2:]))
		padded := 4 + (n+3)&^3
		if code == optionEnd {
			break
		}
		if padded > len(b) {
			return fmt.Errorf("option %d of %d octets does not fit", code, n)
		}
		switch value := b[4 : 4+n]; {
		case code == optionTimeUnit && n == 1:
			units, ok := unitsPerSecond(value[0])
			if !ok {
				return fmt.Errorf("time resolution %#x is not supported", value[0])
			}
			i.units = units
		case code == optionTimeOffset && n == 8:
			i.offset = int64(r.order.Uint64(value))
		}
		b = b[padded:]
	}
	r.interfaces = append(r.interfaces, i)
	return nil
}

// unitsPerSecond decodes the if_tsresol option: a negative power of two where
// the highest bit is set, of ten otherwise.
func unitsPerSecond(resolution byte) (uint64, bool) {
	exponent := resolution & 0x7f
	if resolution&0x80 != 0 {
		return 1 << exponent, exponent < 64
	}
	if exponent > 19 { // 10^19 is the greatest power of ten of 64 bits
		return 0, false
	}
	units := uint64(1)
	for range exponent {
		units *= 10
	}
	return units, true
}

// packet decodes the body of an enhanced or simple packet block.
func (r *Reader) packet(kind uint32, b []byte) (frame, error) {
	var index, length uint32
	var stamp uint64
	simple := kind == blockSimplePacket
	switch {
	case simple && len(b) >= 4:
		length = min(r.order.Uint32(b), uint32(len(b)-4))
		b = b[4:]
	case !simple && len(b) >= 20:
		index = r.order.Uint32(b)
		stamp = uint64(r.order.Uint32(b[4:]))<<32 | uint64(r.order.Uint32(b[8:]))
		length = r.order.Uint32(b[12:])
		b = b[20:]
	default:
		return frame{}, fmt.Errorf("%d octets are too short", len(b))
	}
	if uint64(index) >= uint64(len(r.interfaces)) {
		return frame{}, fmt.Errorf("interface %d was not described", index)
	}
	i := r.interfaces[index]
	if simple && i.snap != 0 {
		length = min(length, i.snap)
	}
	if uint64(length) > uint64(len(b)) {
		return frame{}, fmt.Errorf("packet of %d octets in a block with room for %d", length, len(b))
	}
	f := frame{link: i.link, data: b[:length]}
	if !simple {
		f.time = i.time(stamp)
	}
	return f, nil
}

// time converts a time stamp.
func (i ngInterface) time(stamp uint64) time.Time {
	seconds, rest := stamp/i.units, stamp%i.units
	high, low := bits.Mul64(rest, 1e9)
	nanoseconds, _ := bits.Div64(high, low, i.units)
	const most = math.MaxInt64 / 4 // beyond which time.Time overflows
	if seconds > most || i.offset > most || i.offset < -most {
		return time.Time{}
	}
	return time.Unix(int64(seconds)+i.offset, int64(nanoseconds)).UTC()
}
