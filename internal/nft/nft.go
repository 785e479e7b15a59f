// Package nft builds the few nftables messages that this module needs, of the IPv6
// family, and talks to the kernel with them. They are written by hand: the general
// library adds 459 KB to a MIPS binary (90 KB compressed), which is more than the
// packages that use this one and netlink together.
package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
)

// Attributes is a sequence of netlink attributes under construction.
type Attributes []byte

// Bytes appends an attribute.
func (a Attributes) Bytes(kind uint16, value []byte) Attributes {
	return nlsock.AppendAttribute(a, kind, value)
}

// Text appends a string with its final zero.
func (a Attributes) Text(kind uint16, s string) Attributes {
	return a.Bytes(kind, append([]byte(s), 0))
}

// Uint32 appends a number in network order, as nftables has them.
func (a Attributes) Uint32(kind uint16, v uint32) Attributes {
	return a.Bytes(kind, binary.BigEndian.AppendUint32(nil, v))
}

// Uint64 appends a number in network order.
func (a Attributes) Uint64(kind uint16, v uint64) Attributes {
	return a.Bytes(kind, binary.BigEndian.AppendUint64(nil, v))
}

// Nested appends an attribute of attributes.
func (a Attributes) Nested(kind uint16, inner Attributes) Attributes {
	return a.Bytes(kind|unix.NLA_F_NESTED, inner)
}

// Attribute finds an attribute, nil if there is none.
func Attribute(b []byte, kind uint16) (value []byte) { return nlsock.Attribute(b, kind) }

// StringAttribute finds a zero-terminated string among attributes.
func StringAttribute(b []byte, kind uint16) string {
	return unix.ByteSliceToString(Attribute(b, kind))
}
