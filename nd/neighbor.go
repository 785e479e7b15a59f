package nd

import "net/netip"

// Flags of a neighbour advertisement (RFC 4861 §4.4).
const (
	flagRouter    = 0x80
	flagSolicited = 0x40
	flagOverride  = 0x20
)

const (
	lenRouterSolicitation = 8
	lenNeighborMessage    = 24 // solicitation and advertisement
)

// ParseRouterSolicitation decodes the ICMPv6 message b. The error is a
// *ParseError. The result does not alias b.
func ParseRouterSolicitation(b []byte) (RouterSolicitation, error) {
	if err := checkMessage(b, TypeRouterSolicitation, lenRouterSolicitation); err != nil {
		return RouterSolicitation{}, err
	}
	return RouterSolicitation{SourceLinkAddr: findOption(b[lenRouterSolicitation:], optionSourceLinkAddr)}, nil
}

// Append implements Message.
func (m RouterSolicitation) Append(b []byte) []byte {
	b = append(b, TypeRouterSolicitation, 0, 0, 0, 0, 0, 0, 0)
	return appendOption(b, optionSourceLinkAddr, m.SourceLinkAddr)
}

// ParseNeighborSolicitation decodes the ICMPv6 message b. The error is a
// *ParseError. The result does not alias b.
func ParseNeighborSolicitation(b []byte) (NeighborSolicitation, error) {
	target, err := checkNeighborMessage(b, TypeNeighborSolicitation)
	if err != nil {
		return NeighborSolicitation{}, err
	}
	return NeighborSolicitation{
		Target:         target,
		SourceLinkAddr: findOption(b[lenNeighborMessage:], optionSourceLinkAddr),
		Nonce:          findOption(b[lenNeighborMessage:], optionNonce),
	}, nil
}

// Append implements Message. A nonce shorter than 6 octets is padded.
func (m NeighborSolicitation) Append(b []byte) []byte {
	b = appendAddr(append(b, TypeNeighborSolicitation, 0, 0, 0, 0, 0, 0, 0), m.Target)
	b = appendOption(b, optionSourceLinkAddr, m.SourceLinkAddr)
	return appendOption(b, optionNonce, m.Nonce)
}

// ParseNeighborAdvertisement decodes the ICMPv6 message b. The error is a
// *ParseError. The result does not alias b.
func ParseNeighborAdvertisement(b []byte) (NeighborAdvertisement, error) {
	target, err := checkNeighborMessage(b, TypeNeighborAdvertisement)
	if err != nil {
		return NeighborAdvertisement{}, err
	}
	return NeighborAdvertisement{
		Router:         b[4]&flagRouter != 0,
		Solicited:      b[4]&flagSolicited != 0,
		Override:       b[4]&flagOverride != 0,
		Target:         target,
		TargetLinkAddr: findOption(b[lenNeighborMessage:], optionTargetLinkAddr),
	}, nil
}

// Append implements Message.
func (m NeighborAdvertisement) Append(b []byte) []byte {
	var flags byte
	if m.Router {
		flags |= flagRouter
	}
	if m.Solicited {
		flags |= flagSolicited
	}
	if m.Override {
		flags |= flagOverride
	}
	b = appendAddr(append(b, TypeNeighborAdvertisement, 0, 0, 0, flags, 0, 0, 0), m.Target)
	return appendOption(b, optionTargetLinkAddr, m.TargetLinkAddr)
}

// checkNeighborMessage checks what both neighbour messages have in common and
// returns the target.
func checkNeighborMessage(b []byte, kind uint8) (netip.Addr, error) {
	if err := checkMessage(b, kind, lenNeighborMessage); err != nil {
		return netip.Addr{}, err
	}
	target := netip.AddrFrom16([16]byte(b[8:]))
	if target.IsMulticast() {
		return netip.Addr{}, &ParseError{Type: kind, Reason: ReasonTarget}
	}
	return target, nil
}

// appendAddr appends an address; one that is invalid or not IPv6 is sent as
// the unspecified address.
func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.Is6() {
		a = netip.IPv6Unspecified()
	}
	x := a.As16()
	return append(b, x[:]...)
}
