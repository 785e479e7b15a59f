package nlsock

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

const (
	attributeHeader = unix.SizeofRtAttr
	attributeKind   = ^uint16(unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
)

// AppendAttribute appends an attribute and fills it up to a multiple of four octets; b
// has such a length. A value has at most 65,531 octets.
func AppendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(attributeHeader+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// AppendUint32 appends an attribute with a number in the machine's order.
func AppendUint32(b []byte, kind uint16, v uint32) []byte {
	return AppendAttribute(b, kind, binary.NativeEndian.AppendUint32(nil, v))
}

// Attributes are those of a message in order, without the flags of their kinds; they end
// at one that does not fit.
func Attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= attributeHeader {
			n := int(binary.NativeEndian.Uint16(b))
			if n < attributeHeader || n > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&attributeKind, b[attributeHeader:n:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// Attribute finds the first attribute of a kind, nil if there is none.
func Attribute(b []byte, kind uint16) []byte {
	for k, v := range Attributes(b) {
		if k == kind {
			return v
		}
	}
	return nil
}

// Uint32 is a value that is a number in the machine's order.
func Uint32(value []byte) (v uint32, ok bool) {
	if len(value) != 4 {
		return 0, false
	}
	return binary.NativeEndian.Uint32(value), true
}
