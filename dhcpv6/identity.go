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

// duidUUID is the type of a DUID made of a UUID (RFC 8415 §11.5).
const duidUUID = 4

// IAIDOf is the identifier of the associations of an interface or a mobile
// (RFC 8415 §12): made of the name, so that it is the same after a restart.
func IAIDOf(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name)) // never fails
	return h.Sum32()
}
