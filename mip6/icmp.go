package mip6

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// ICMPType is the type of an ICMPv6 message of Mobile IPv6.
type ICMPType uint8

// ICMPv6 types of RFC 6275 §6.5–§6.8.
const (
	ICMPHomeAgentRequest    ICMPType = 144
	ICMPHomeAgentReply      ICMPType = 145
	ICMPPrefixSolicitation  ICMPType = 146
	ICMPPrefixAdvertisement ICMPType = 147
)

func (t ICMPType) String() string {
	switch t {
	case ICMPHomeAgentRequest:
		return "home agent address discovery request"
	case ICMPHomeAgentReply:
		return "home agent address discovery reply"
	case ICMPPrefixSolicitation:
		return "mobile prefix solicitation"
	case ICMPPrefixAdvertisement:
		return "mobile prefix advertisement"
	default:
		return fmt.Sprintf("ICMPv6 type %d", uint8(t))
	}
}

// ICMPMessage is one ICMPv6 message of Mobile IPv6. The set is closed.
type ICMPMessage interface {
	ICMPType() ICMPType
	isICMP()
}

// HomeAgentRequest is the Home Agent Address Discovery Request (RFC 6275
// §6.5). MobileRouter asks for home agents that serve mobile routers
// (RFC 3963 §7.1).
type HomeAgentRequest struct {
	Identifier   uint16
	MobileRouter bool
}

// HomeAgentReply is the Home Agent Address Discovery Reply (RFC 6275 §6.6);
// the addresses are in the order of preference. MobileRouter says that these
// home agents serve mobile routers (RFC 3963 §7.2).
type HomeAgentReply struct {
	Identifier   uint16
	MobileRouter bool
	HomeAgents   []netip.Addr
}

// PrefixSolicitation is the Mobile Prefix Solicitation (RFC 6275 §6.7).
type PrefixSolicitation struct{ Identifier uint16 }

// PrefixAdvertisement is the Mobile Prefix Advertisement (RFC 6275 §6.8).
type PrefixAdvertisement struct {
	Identifier  uint16
	Managed     bool // M: addresses by DHCPv6
	OtherConfig bool // O: other configuration by DHCPv6
	Prefixes    []PrefixInformation
}

// ICMPType implements ICMPMessage.
func (HomeAgentRequest) ICMPType() ICMPType    { return ICMPHomeAgentRequest }
func (HomeAgentReply) ICMPType() ICMPType      { return ICMPHomeAgentReply }
func (PrefixSolicitation) ICMPType() ICMPType  { return ICMPPrefixSolicitation }
func (PrefixAdvertisement) ICMPType() ICMPType { return ICMPPrefixAdvertisement }

func (HomeAgentRequest) isICMP()    {}
func (HomeAgentReply) isICMP()      {}
func (PrefixSolicitation) isICMP()  {}
func (PrefixAdvertisement) isICMP() {}

// homeAgentsAnycastID is the anycast identifier of the home agents (RFC 2526 §4).
const homeAgentsAnycastID = 126

// HomeAgentsAnycast is the Mobile IPv6 Home-Agents anycast address of a home
// prefix, to which discovery requests go (RFC 6275 §6.5). Its interface identifier
// ends in the anycast identifier below bits that are all one; in one of 64 bits
// the universal/local bit is clear (RFC 2526 §2). Not for prefixes beyond 121 bits,
// in which there is no room for it: the result is invalid.
func HomeAgentsAnycast(prefix netip.Prefix) netip.Addr {
	if !prefix.IsValid() || !prefix.Addr().Is6() || prefix.Bits() > 121 {
		return netip.Addr{}
	}
	a := prefix.Masked().Addr().As16()
	for i := range a {
		a[i] |= byte(0xff >> min(max(prefix.Bits()-8*i, 0), 8))
	}
	if prefix.Bits() == 64 {
		a[8] &^= 0x02
	}
	a[15] = a[15]&0x80 | homeAgentsAnycastID
	return netip.AddrFrom16(a)
}

const (
	icmpHeaderLen      = 8 // with identifier and flags
	icmpChecksumOffset = 2

	icmpMobileRouter = 1 << 15 // R of discovery request and reply
	icmpManaged      = 1 << 15 // M of the prefix advertisement
	icmpOtherConfig  = 1 << 14 // O of the prefix advertisement
)

// ParseICMP decodes an ICMPv6 message of Mobile IPv6. src and dst are the
// logical addresses that the checksum covers, as for ParseMessage. Another
// ICMPv6 type gives ErrNotMobility; every other error is a *ParseError.
// Neighbour discovery options other than Prefix Information are skipped.
func ParseICMP(src, dst netip.Addr, b []byte) (ICMPMessage, error) {
	if len(b) < 1 {
		return nil, truncated(0, "ICMPv6 message", 0, icmpHeaderLen)
	}
	kind := ICMPType(b[0])
	switch kind {
	case ICMPHomeAgentRequest, ICMPHomeAgentReply, ICMPPrefixSolicitation, ICMPPrefixAdvertisement:
	default:
		return nil, ErrNotMobility
	}
	if len(b) < icmpHeaderLen {
		return nil, truncated(0, kind.String(), len(b), icmpHeaderLen)
	}
	if !src.Is6() {
		return nil, &ParseError{Reason: ReasonAddress, what: "source"}
	}
	if !dst.Is6() {
		return nil, &ParseError{Reason: ReasonAddress, what: "destination"}
	}
	have := binary.BigEndian.Uint16(b[icmpChecksumOffset:])
	if want := checksum(src, dst, ProtocolICMPv6, b, icmpChecksumOffset); !sameChecksum(have, want) {
		return nil, &ParseError{Offset: icmpChecksumOffset, Reason: ReasonChecksum, what: "checksum", have: int(have), want: int(want)}
	}
	if b[1] != 0 {
		return nil, &ParseError{Offset: 1, Reason: ReasonCode, what: kind.String(), have: int(b[1])}
	}
	identifier, flags := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	switch kind {
	case ICMPHomeAgentRequest:
		return HomeAgentRequest{Identifier: identifier, MobileRouter: flags&icmpMobileRouter != 0}, nil
	case ICMPHomeAgentReply:
		agents, err := parseHomeAgents(b)
		if err != nil {
			return nil, err
		}
		return HomeAgentReply{Identifier: identifier, MobileRouter: flags&icmpMobileRouter != 0, HomeAgents: agents}, nil
	case ICMPPrefixSolicitation:
		if _, err := parsePrefixes(b); err != nil {
			return nil, err
		}
		return PrefixSolicitation{Identifier: identifier}, nil
	default: // ICMPPrefixAdvertisement
		prefixes, err := parsePrefixes(b)
		if err != nil {
			return nil, err
		}
		return PrefixAdvertisement{
			Identifier:  identifier,
			Managed:     flags&icmpManaged != 0,
			OtherConfig: flags&icmpOtherConfig != 0,
			Prefixes:    prefixes,
		}, nil
	}
}

// ICMPChecksumOK reports whether an ICMPv6 message of any type has the right
// checksum for the logical addresses src and dst (RFC 4443 §2.3).
func ICMPChecksumOK(src, dst netip.Addr, b []byte) bool {
	if len(b) < icmpChecksumOffset+2 || !src.Is6() || !dst.Is6() {
		return false
	}
	return sameChecksum(binary.BigEndian.Uint16(b[icmpChecksumOffset:]), checksum(src, dst, ProtocolICMPv6, b, icmpChecksumOffset))
}

func parseHomeAgents(b []byte) ([]netip.Addr, *ParseError) {
	left := len(b) - icmpHeaderLen
	if left%16 != 0 {
		return nil, truncated(len(b)-left%16, "home agent address", left%16, 16)
	}
	if left == 0 {
		return nil, nil
	}
	agents := make([]netip.Addr, 0, left/16)
	for at := icmpHeaderLen; at < len(b); at += 16 {
		agents = append(agents, netip.AddrFrom16([16]byte(b[at:])))
	}
	return agents, nil
}

// parsePrefixes returns the Prefix Information options of a message. An option
// without length or beyond the end spoils it all (RFC 4861 §6.1.2).
func parsePrefixes(b []byte) ([]PrefixInformation, error) {
	var prefixes []PrefixInformation
	for at := icmpHeaderLen; at < len(b); {
		left := len(b) - at
		if left < 8 {
			return nil, truncated(at, "neighbour discovery option", left, 8)
		}
		n := int(b[at+1]) * 8
		if n == 0 {
			return nil, &ParseError{Offset: at + 1, Reason: ReasonOptionLength, what: "neighbour discovery option", have: 0, want: 1}
		}
		if n > left {
			return nil, truncated(at, "neighbour discovery option", left, n)
		}
		if b[at] == NDOptionPrefixInformation {
			p, err := ParsePrefixInformation(b[at+2 : at+n])
			if err != nil {
				var perr *ParseError
				if errors.As(err, &perr) {
					perr.shift(at + 2)
				}
				return nil, err
			}
			prefixes = append(prefixes, p)
		}
		at += n
	}
	return prefixes, nil
}

// AppendICMP appends m with its checksum for the logical addresses src and
// dst. On error b is returned as it was.
func AppendICMP(b []byte, src, dst netip.Addr, m ICMPMessage) ([]byte, error) {
	if !src.Is6() {
		return b, fmt.Errorf("source: %w: %v", ErrNotIPv6, src)
	}
	if !dst.Is6() {
		return b, fmt.Errorf("destination: %w: %v", ErrNotIPv6, dst)
	}
	if m == nil {
		return b, errors.New("no message")
	}
	out := append(b, byte(m.ICMPType()), 0, 0, 0)
	switch m := m.(type) {
	case HomeAgentRequest:
		out = appendIdentifier(out, m.Identifier, flag(m.MobileRouter, icmpMobileRouter))
	case HomeAgentReply:
		out = appendIdentifier(out, m.Identifier, flag(m.MobileRouter, icmpMobileRouter))
		for _, a := range m.HomeAgents {
			var err error
			if out, err = appendAddr(out, a); err != nil {
				return b, fmt.Errorf("%v: %w", m.ICMPType(), err)
			}
		}
	case PrefixSolicitation:
		out = appendIdentifier(out, m.Identifier, 0)
	case PrefixAdvertisement:
		out = appendIdentifier(out, m.Identifier, flag(m.Managed, icmpManaged)|flag(m.OtherConfig, icmpOtherConfig))
		for _, p := range m.Prefixes {
			if !p.Prefix.Addr().Is6() {
				return b, fmt.Errorf("%v: %w: %v", m.ICMPType(), ErrNotIPv6, p.Prefix)
			}
			out = p.Append(out)
		}
	}
	message := out[len(b):]
	binary.BigEndian.PutUint16(message[icmpChecksumOffset:], checksum(src, dst, ProtocolICMPv6, message, icmpChecksumOffset))
	return out, nil
}

// appendIdentifier appends the identifier and the 16 bits of flags.
func appendIdentifier(b []byte, identifier, flags uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, identifier), flags)
}

// flag returns bit if on.
func flag(on bool, bit uint16) uint16 {
	if on {
		return bit
	}
	return 0
}

// ICMPPacket is an IPv6 packet with an ICMPv6 message of Mobile IPv6: a mobile
// prefix solicitation has a Home Address option, its answer a type 2 routing
// header. The fields are those of Packet.
type ICMPPacket struct {
	Source, Destination    netip.Addr
	HomeAddress, RouteHome netip.Addr // invalid where there is none
	HopLimit               uint8      // when sending, zero means the default of 64
	Message                ICMPMessage
}

// From is the logical sender, as Packet.From.
func (p ICMPPacket) From() netip.Addr {
	return Packet{Source: p.Source, HomeAddress: p.HomeAddress}.From()
}

// To is the logical receiver, as Packet.To.
func (p ICMPPacket) To() netip.Addr {
	return Packet{Destination: p.Destination, RouteHome: p.RouteHome}.To()
}

// ParseICMPPacket decodes an IPv6 packet, as ParsePacket does.
func ParseICMPPacket(b []byte) (ICMPPacket, error) {
	c, err := parseChain(b, ProtocolICMPv6)
	if err != nil {
		return ICMPPacket{}, err
	}
	p := ICMPPacket{
		Source:      c.source,
		Destination: c.destination,
		HomeAddress: c.home,
		RouteHome:   c.route,
		HopLimit:    c.hopLimit,
	}
	if p.Message, err = ParseICMP(p.From(), p.To(), c.payload); err != nil {
		var perr *ParseError
		if errors.As(err, &perr) {
			perr.shift(c.offset)
		}
		return ICMPPacket{}, err
	}
	return p, nil
}

// Append appends the whole IPv6 packet, as Packet.Append does.
func (p ICMPPacket) Append(b []byte) ([]byte, error) {
	headers := chain{source: p.Source, destination: p.Destination, home: p.HomeAddress, route: p.RouteHome, hopLimit: p.HopLimit}
	return headers.appendPacket(b, ProtocolICMPv6, func(b []byte) ([]byte, error) { return AppendICMP(b, p.From(), p.To(), p.Message) })
}
