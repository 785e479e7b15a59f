package region

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// Regional is the prefix of the regional care-of addresses at an anchor (RFC 5380 §6).
func Regional(anchor netip.Addr) netip.Prefix { return netip.PrefixFrom(anchor, 64).Masked() }

// Address is a regional care-of address: the first 64 bits of the anchor's address and
// an interface identifier (RFC 5380 §6) that is always the same for a home address at
// an anchor, and for nobody else (RFC 7217 §5). attempt counts those that were found
// taken. It is never an on-link care-of address of the node: those have other
// identifiers on the same prefix.
func Address(anchor, home netip.Addr, seed uint64, attempt int) netip.Addr {
	a, h := anchor.As16(), home.As16()
	var b [16]byte
	copy(b[:8], a[:8])
	for again := byte(0); ; again++ {
		s := sha256.New()
		s.Write([]byte("regional care-of address"))
		s.Write(a[:8])
		s.Write(h[:])
		s.Write(binary.BigEndian.AppendUint64(nil, seed))
		s.Write([]byte{byte(attempt), again})
		copy(b[8:], s.Sum(nil))
		b[8] &^= 2 // not globally unique; clear of the reserved identifiers
		if x := netip.AddrFrom16(b); x != anchor && binary.BigEndian.Uint64(b[8:]) != 0 {
			return x
		}
	}
}
