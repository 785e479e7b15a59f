package overlay

// Seal is what IPsec ESP in transport mode (RFC 4303 §3.1.1) adds to the packets of a
// tunnel, which makes of them what tunnel mode would. The associations are in the
// kernel, put there before the tunnel is set; an engine has to see to it that the
// kernel applies them, or the packet is dropped, that it takes no packet of the tunnel
// without, and that the MTU is right. A path of such a tunnel is not stacked.
type Seal struct {
	Header int // octets before the payload: SPI, sequence number, initialization vector
	Block  int // octets that the length of the payload with its trailer is a multiple of
	ICV    int // octets of the integrity check value
}

// SealRequest is the request identifier (reqid) of the outbound associations of all
// sealed tunnels, by which an engine may ask the kernel for one.
const SealRequest = 0x62750000

// On reports whether there is ESP.
func (s Seal) On() bool { return s.Block != 0 }

// Room returns the largest tunnel packet, outer IPv6 header included and ESP not, that
// is no larger than so many octets when it is in ESP, if it has no extension header.
func (s Seal) Room(octets int) int {
	const outer, trailer = 40, 2 // trailer: pad length, next header
	return outer + (octets-outer-s.Header-s.ICV)/s.Block*s.Block - trailer
}
