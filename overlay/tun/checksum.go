package tun

import (
	"encoding/binary"
	"math/bits"
)

// The Internet checksum (RFC 1071), summed eight octets at a time in the byte
// order of the machine: a one's complement sum is the same in either order, so
// that only what is stored in the end must be stored in that order too
// (RFC 1071 §2(B)).

// sum adds b to a running sum. Only the last piece of what is summed may have
// an odd length.
func sum(b []byte, s uint64) uint64 {
	var carry uint64
	for len(b) >= 32 {
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b), 0)
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b[8:]), carry)
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b[16:]), carry)
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b[24:]), carry)
		s = add(s, carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		s = add(s, binary.NativeEndian.Uint64(b))
		b = b[8:]
	}
	if len(b) > 0 {
		var tail [8]byte
		copy(tail[:], b)
		s = add(s, binary.NativeEndian.Uint64(tail[:]))
	}
	return s
}

func add(a, b uint64) uint64 {
	s, carry := bits.Add64(a, b, 0)
	return s + carry
}

// fold reduces a sum to the sixteen bits that are stored, not complemented.
func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s)
}

// pseudoSum is the sum of the pseudo-header (RFC 8200 §8.1). addresses are the
// two of the IPv6 header, one after the other.
func pseudoSum(addresses []byte, length int, protocol uint8) uint64 {
	var rest [8]byte
	binary.BigEndian.PutUint32(rest[:], uint32(length))
	rest[7] = protocol
	return add(sum(addresses[:32], 0), binary.NativeEndian.Uint64(rest[:]))
}

// putChecksum stores the checksum that belongs to a sum. Zero is stored as all
// ones for UDP, whose zero means none (RFC 8200 §8.1); for the others both are
// the same number.
func putChecksum(b []byte, s uint64, protocol uint8) {
	c := ^fold(s)
	if c == 0 && protocol == protocolUDP {
		c = 0xffff
	}
	binary.NativeEndian.PutUint16(b, c)
}
