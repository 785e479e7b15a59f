package tun

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// address is an IPv6 address as two numbers: what a packet's 16 octets become
// at no cost, and what the trie compares.
type address struct{ hi, lo uint64 }

func addressAt(b []byte) address {
	_ = b[15]
	return address{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func addressOf(a netip.Addr) address {
	b := a.As16()
	return addressAt(b[:])
}

func (a address) put(b []byte) {
	_ = b[15]
	binary.BigEndian.PutUint64(b, a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
}

func (a address) netip() netip.Addr {
	var b [16]byte
	a.put(b[:])
	return netip.AddrFrom16(b)
}

// bit returns bit i, counted from the most significant one.
func (a address) bit(i uint8) uint64 {
	if i < 64 {
		return a.hi >> (63 - i) & 1
	}
	return a.lo >> (127 - i) & 1
}

// common returns how many leading bits a and b share.
func (a address) common(b address) uint8 {
	if x := a.hi ^ b.hi; x != 0 {
		return uint8(bits.LeadingZeros64(x))
	}
	return uint8(64 + bits.LeadingZeros64(a.lo^b.lo))
}

// masked clears all but the first n bits.
func (a address) masked(n uint8) address {
	switch {
	case n >= 128:
		return a
	case n >= 64:
		return address{a.hi, a.lo &^ (1<<(128-n) - 1)}
	default:
		return address{a.hi &^ (1<<(64-n) - 1), 0}
	}
}

// linkScope reports whether the address must not enter or leave a tunnel:
// unspecified, loopback, link-local, or multicast of link scope or less
// (RFC 6275 §10.4.2, RFC 4291 §2.7).
func (a address) linkScope() bool {
	switch a.hi >> 56 {
	case 0x00:
		return a.hi == 0 && a.lo <= 1
	case 0xfe:
		return a.hi>>54 == 0xfe80>>6
	case 0xff:
		return a.hi>>48&0xf <= 2
	default:
		return false
	}
}

func (a address) multicast() bool { return a.hi>>56 == 0xff }

func (a address) unspecified() bool { return a == address{} }
