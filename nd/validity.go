package nd

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Reason says why a message was not accepted. Its String is a metric label.
type Reason uint8

// Reasons for discarding a message (RFC 4861 §6.1, §7.1).
const (
	ReasonType           Reason = iota // not the type asked for, or not one of neighbour discovery
	ReasonTruncated                    // shorter than its fixed part
	ReasonCode                         // ICMPv6 code is not 0
	ReasonOptionLength                 // an option of length zero, or one that does not end in the message
	ReasonTarget                       // the target address is multicast
	ReasonHopLimit                     // not 255: it may come from beyond a router
	ReasonChecksum                     //
	ReasonSource                       // not an address such a message may come from
	ReasonDestination                  // not an address such a message may go to
	ReasonSourceLinkAddr               // a link-layer address of an unspecified source
	ReasonSolicited                    // an advertisement to many that claims to answer one
	NumReasons
)

func (r Reason) String() string {
	switch r {
	case ReasonType:
		return "type"
	case ReasonTruncated:
		return "truncated"
	case ReasonCode:
		return "code"
	case ReasonOptionLength:
		return "option_length"
	case ReasonTarget:
		return "target"
	case ReasonHopLimit:
		return "hop_limit"
	case ReasonChecksum:
		return "checksum"
	case ReasonSource:
		return "source"
	case ReasonDestination:
		return "destination"
	case ReasonSourceLinkAddr:
		return "source_link_address"
	case ReasonSolicited:
		return "solicited_flag"
	default:
		return "unknown"
	}
}

// ParseError says why a message is not valid.
type ParseError struct {
	Type   uint8 // ICMPv6 type, of the message or expected
	Reason Reason
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("neighbour discovery message of type %d: invalid %v", e.Type, e.Reason)
}

// Header is what the IPv6 header of a message tells.
type Header struct {
	Source, Destination netip.Addr // without zones
	HopLimit            uint8
}

// Parse decodes the ICMPv6 message b of a packet with header h and makes all
// the validity checks of RFC 4861 §6.1 and §7.1, the checksum among them. The
// error is a *ParseError. The result does not alias b.
func Parse(h Header, b []byte) (Message, error) {
	if len(b) < 4 {
		return nil, &ParseError{Reason: ReasonTruncated}
	}
	kind := b[0]
	switch {
	case h.HopLimit != HopLimit:
		return nil, &ParseError{Type: kind, Reason: ReasonHopLimit}
	case !h.Source.Is6() || h.Source.Is4In6() || h.Source.IsMulticast() || h.Source.IsLoopback():
		return nil, &ParseError{Type: kind, Reason: ReasonSource}
	case !h.Destination.Is6() || h.Destination.IsUnspecified():
		return nil, &ParseError{Type: kind, Reason: ReasonDestination}
	case Checksum(h.Source, h.Destination, b) != 0:
		return nil, &ParseError{Type: kind, Reason: ReasonChecksum}
	}
	var m Message
	var err error
	switch kind {
	case TypeRouterSolicitation:
		m, err = h.routerSolicitation(b)
	case TypeRouterAdvertisement:
		m, err = h.routerAdvertisement(b)
	case TypeNeighborSolicitation:
		m, err = h.neighborSolicitation(b)
	case TypeNeighborAdvertisement:
		m, err = h.neighborAdvertisement(b)
	default:
		err = &ParseError{Type: kind, Reason: ReasonType}
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// routerSolicitation is RFC 4861 §6.1.1.
func (h Header) routerSolicitation(b []byte) (RouterSolicitation, error) {
	m, err := ParseRouterSolicitation(b)
	if err == nil && h.Source.IsUnspecified() && m.SourceLinkAddr != nil {
		err = &ParseError{Type: b[0], Reason: ReasonSourceLinkAddr}
	}
	return m, err
}

// routerAdvertisement is RFC 4861 §6.1.2.
func (h Header) routerAdvertisement(b []byte) (RouterAdvertisement, error) {
	if !h.Source.IsLinkLocalUnicast() {
		return RouterAdvertisement{}, &ParseError{Type: b[0], Reason: ReasonSource}
	}
	return ParseRouterAdvertisement(b)
}

// neighborSolicitation is RFC 4861 §7.1.1.
func (h Header) neighborSolicitation(b []byte) (NeighborSolicitation, error) {
	m, err := ParseNeighborSolicitation(b)
	if err != nil || !h.Source.IsUnspecified() {
		return m, err
	}
	switch {
	case !isSolicitedNode(h.Destination):
		err = &ParseError{Type: b[0], Reason: ReasonDestination}
	case m.SourceLinkAddr != nil:
		err = &ParseError{Type: b[0], Reason: ReasonSourceLinkAddr}
	}
	return m, err
}

// neighborAdvertisement is RFC 4861 §7.1.2; that its source is not the
// unspecified address is §4.4.
func (h Header) neighborAdvertisement(b []byte) (NeighborAdvertisement, error) {
	m, err := ParseNeighborAdvertisement(b)
	switch {
	case err != nil:
	case h.Source.IsUnspecified():
		err = &ParseError{Type: b[0], Reason: ReasonSource}
	case h.Destination.IsMulticast() && m.Solicited:
		err = &ParseError{Type: b[0], Reason: ReasonSolicited}
	}
	return m, err
}

func isSolicitedNode(a netip.Addr) bool {
	b := a.As16()
	return [13]byte(b[:13]) == [13]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff}
}

// checkMessage makes the checks that need nothing but the message: type, code,
// length and the lengths of the options.
func checkMessage(b []byte, kind uint8, least int) error {
	reason := NumReasons
	switch {
	case len(b) < 1:
		reason = ReasonTruncated
	case b[0] != kind:
		reason = ReasonType
	case len(b) < least:
		reason = ReasonTruncated
	case b[1] != 0:
		reason = ReasonCode
	case !checkOptions(b[least:]):
		reason = ReasonOptionLength
	default:
		return nil
	}
	return &ParseError{Type: kind, Reason: reason}
}

// Checksum is the Internet checksum of the ICMPv6 message b and its
// pseudo-header (RFC 8200 §8.1). Of a message whose checksum field is zero it
// is the value for that field; of one that has it, zero says that it is right.
func Checksum(source, destination netip.Addr, b []byte) uint16 {
	const protocolICMPv6 = 58
	s, d := source.As16(), destination.As16()
	sum := uint64(len(b)) + protocolICMPv6
	for _, part := range [...][]byte{s[:], d[:], b} {
		for len(part) >= 2 {
			sum += uint64(binary.BigEndian.Uint16(part))
			part = part[2:]
		}
		if len(part) == 1 {
			sum += uint64(part[0]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// Seal puts the checksum into the ICMPv6 message b.
func Seal(source, destination netip.Addr, b []byte) {
	b[2], b[3] = 0, 0
	binary.BigEndian.PutUint16(b[2:], Checksum(source, destination, b))
}
