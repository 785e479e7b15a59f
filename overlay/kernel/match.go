package kernel

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
)

// next passes packets with a next header in the IPv6 header at an offset.
func next(base nft.Base, at uint32, protocol byte) nft.Rule {
	return nft.Rule(nil).LoadInto(0, base, at+offsetNextHeader, 1).Equal(protocol)
}

func notNext(base nft.Base, protocol byte) nft.Rule {
	return nft.Rule(nil).LoadInto(0, base, offsetNextHeader, 1).NotEqual(protocol)
}

// dhcp passes UDP datagrams from or to the port of DHCPv6 relays and servers.
func dhcp(base nft.Base) []nft.Rule {
	port := func(offset uint32) nft.Rule {
		return next(base, 0, unix.IPPROTO_UDP).LoadInto(0, base, headerLength+offset, 2).Equal(portDHCP>>8, portDHCP&255)
	}
	return []nft.Rule{port(0), port(2)}
}

// masked loads the prefix that an address is in.
func masked(r nft.Rule, to nft.Register, base nft.Base, offset uint32, bits int) nft.Rule {
	r = r.LoadInto(to, base, offset, address)
	if bits == 8*address {
		return r
	}
	all := [address]byte{}
	for i := range all {
		all[i] = 0xff
	}
	mask := netip.PrefixFrom(netip.AddrFrom16(all), bits).Masked().Addr().As16()
	return r.Bitwise(to, mask[:], zero(address))
}

func zeroTerminated(s string) []byte { return append([]byte(s), 0) }

func setMark(r nft.Rule, bit uint32) nft.Rule {
	return r.LoadMeta(nft.Mark).Bitwise(0, nft.MarkBits(^bit), nft.MarkBits(bit)).StoreMeta(nft.Mark)
}

func clearMark(r nft.Rule, bit uint32) nft.Rule {
	return r.LoadMeta(nft.Mark).Bitwise(0, nft.MarkBits(^bit), zero(4)).StoreMeta(nft.Mark)
}

func zero(n int) []byte { return make([]byte, n) }
