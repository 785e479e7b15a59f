package dhcpv6

import "hash/fnv"

// NewDUID makes a DHCP unique identifier of a random UUID (RFC 8415 §11.5,
// RFC 6355, RFC 4122 §4.4). It is to be made once for a node, and kept.
func NewDUID(random func([]byte)) []byte {
	duid := make([]byte, 18)
	duid[1] = duidUUID
	uuid := duid[2:]
	random(uuid)
	uuid[6] = uuid[6]&0x0f | 0x40 // version 4: random
	uuid[8] = uuid[8]&0x3f | 0x80 // the variant of RFC 4122
	return duid
}

// LinkLayerDUID makes a DHCP unique identifier of the Ethernet address of one of the
// node's interfaces (RFC 8415 §11.4). It is the same as long as that interface is there.
func LinkLayerDUID(ethernet [6]byte) []byte {
	return append([]byte{0, duidLinkLayer, 0, hardwareEthernet}, ethernet[:]...)
}

// Types of DUIDs (RFC 8415 §11.1), and of hardware (RFC 826).
const (
	duidLinkLayer    = 3
	duidUUID         = 4
	hardwareEthernet = 1
)

// IAIDOf is the identifier of the associations of an interface or a mobile
// (RFC 8415 §12): made of the name, so that it is the same after a restart.
func IAIDOf(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name)) // never fails
	return h.Sum32()
}
