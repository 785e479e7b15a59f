package dhcpv6

import (
	"encoding/binary"
	"net/netip"
)

// subnetBits is the length of the prefixes that links get (RFC 4291 §2.5.4).
const subnetBits = 64

// Subnets are the first n subnets of 64 bits of a delegated prefix, or as many as
// there are, in the order of their numbers: the same prefix gives the same ones.
// A prefix that is longer than 64 bits has none.
func Subnets(prefix netip.Prefix, n int) []netip.Prefix {
	if !prefix.IsValid() || !prefix.Addr().Is6() || prefix.Addr().Is4In6() || prefix.Bits() > subnetBits || n <= 0 {
		return nil
	}
	if free := subnetBits - prefix.Bits(); free < 31 {
		n = min(n, 1<<free)
	}
	octets := prefix.Masked().Addr().As16()
	first := binary.BigEndian.Uint64(octets[:8])
	list := make([]netip.Prefix, 0, n)
	for i := range uint64(n) {
		binary.BigEndian.PutUint64(octets[:8], first+i)
		list = append(list, netip.PrefixFrom(netip.AddrFrom16(octets), subnetBits))
	}
	return list
}
