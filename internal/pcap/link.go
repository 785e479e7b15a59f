package pcap

import "encoding/binary"

// linkType is a link-layer header type
// (https://www.tcpdump.org/linktypes.html).
type linkType uint16

const (
	linkNull     linkType = 0   // BSD loopback: address family in the host's byte order
	linkEthernet linkType = 1   // IEEE 802.3
	linkRaw      linkType = 101 // IPv4 or IPv6
	linkLoop     linkType = 108 // OpenBSD loopback: address family in network order
	linkSLL      linkType = 113 // Linux "cooked"
	linkIPv4     linkType = 228
	linkIPv6     linkType = 229
	linkSLL2     linkType = 276 // Linux "cooked", version 2
)

func (l linkType) supported() bool {
	switch l {
	case linkNull, linkEthernet, linkRaw, linkLoop, linkSLL, linkIPv4, linkIPv6, linkSLL2:
		return true
	default:
		return false
	}
}

// ipv6 returns the IPv6 packet in a frame, nil if it carries none.
func (l linkType) ipv6(b []byte) []byte {
	switch l {
	case linkEthernet:
		return afterEtherType(b, 12, 14)
	case linkSLL:
		return afterEtherType(b, 14, 16)
	case linkSLL2:
		return afterEtherType(b, 0, 20)
	case linkNull, linkLoop:
		if len(b) <= 4 {
			return nil
		}
		// AF_INET6 is 10 on Linux, 24, 28 and 30 on the BSDs; which byte order
		// wrote it is not known.
		switch min(binary.LittleEndian.Uint32(b), binary.BigEndian.Uint32(b)) {
		case 10, 24, 28, 30:
			return b[4:]
		}
		return nil
	case linkRaw, linkIPv6:
		if len(b) > 0 && b[0]>>4 == 6 {
			return b
		}
		return nil
	default:
		return nil
	}
}

// EtherTypes.
const (
	etherTypeIPv6     = 0x86dd
	etherTypeVLAN     = 0x8100 // IEEE 802.1Q
	etherTypeProvider = 0x88a8 // IEEE 802.1ad
	etherTypeQinQ     = 0x9100 // its forerunner
)

// afterEtherType returns what follows the EtherType at offset at, whose payload
// begins at payload, if it is IPv6, behind any VLAN tags.
func afterEtherType(b []byte, at, payload int) []byte {
	if len(b) <= payload {
		return nil
	}
	kind := binary.BigEndian.Uint16(b[at:])
	b = b[payload:]
	for {
		switch kind {
		case etherTypeIPv6:
			return b
		case etherTypeVLAN, etherTypeProvider, etherTypeQinQ:
			if len(b) <= 4 {
				return nil
			}
			kind = binary.BigEndian.Uint16(b[2:])
			b = b[4:]
		default:
			return nil
		}
	}
}
