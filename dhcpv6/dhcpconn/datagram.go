package dhcpconn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"

	"roam6/internal/role"
)

// Messages that go in IPsec ESP pass no socket: the datagrams are made and read here
// (RFC 768, RFC 8200 §8.1).

const (
	udpHeaderLen   = 8
	offsetLength   = 4
	offsetChecksum = 6
	protocolUDP    = 17
)

// Errors of datagrams.
var (
	ErrChecksum = errors.New("checksum of the UDP datagram is wrong")
	ErrLength   = errors.New("length of the UDP datagram is wrong")
	ErrAddress  = errors.New("not a pair of IPv6 addresses and ports")
)

// AppendDatagram appends a message as a UDP datagram between two addresses, which are
// home addresses where the packet has those in other headers. On an error, which wraps
// ErrAddress or ErrLength, b is returned as it was.
func AppendDatagram(b []byte, from, to netip.AddrPort, message []byte) ([]byte, error) {
	n := udpHeaderLen + len(message)
	switch {
	case !proper(from) || !proper(to):
		return b, fmt.Errorf("datagram from %v to %v: %w", from, to, ErrAddress)
	case n > math.MaxUint16 || len(message) < leastMessage:
		return b, fmt.Errorf("message of %d octets: %w", len(message), ErrLength)
	}
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(append(b, 0, 0), message...)
	sum := ^sumOf(b[start:], from.Addr(), to.Addr())
	if sum == 0 {
		sum = math.MaxUint16 // zero is none, which IPv6 does not have
	}
	binary.BigEndian.PutUint16(b[start+offsetChecksum:], sum)
	return b, nil
}

// ParseDatagram reads a UDP datagram between two addresses as what has come to a
// socket. The message aliases b. The errors are ErrLength, ErrChecksum and ErrAddress,
// for an address that no message comes from.
func ParseDatagram(b []byte, from, to netip.Addr) (role.DHCPReceived, error) {
	switch {
	case len(b) < udpHeaderLen+leastMessage || len(b) > udpHeaderLen+maxMessage || int(binary.BigEndian.Uint16(b[offsetLength:])) != len(b):
		return role.DHCPReceived{}, ErrLength
	case !from.Is6() || !to.Is6() || !sender(from) || binary.BigEndian.Uint16(b) == 0:
		return role.DHCPReceived{}, ErrAddress
	case binary.BigEndian.Uint16(b[offsetChecksum:]) == 0 || sumOf(b, from, to) != math.MaxUint16:
		return role.DHCPReceived{}, ErrChecksum
	}
	return role.DHCPReceived{
		From:    netip.AddrPortFrom(from, binary.BigEndian.Uint16(b)),
		To:      netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2:])),
		Message: b[udpHeaderLen:],
	}, nil
}

func proper(a netip.AddrPort) bool { return a.Addr().Is6() && !a.Addr().Is4In6() && a.Port() != 0 }

// sumOf is the one's complement sum of a datagram and its pseudo-header (RFC 8200
// §8.1), the checksum field included.
func sumOf(b []byte, from, to netip.Addr) uint16 {
	sum := uint64(len(b)) + protocolUDP
	f, t := from.As16(), to.As16()
	for _, part := range [][]byte{f[:], t[:], b} {
		for ; len(part) > 1; part = part[2:] {
			sum += uint64(binary.BigEndian.Uint16(part))
		}
		if len(part) == 1 {
			sum += uint64(part[0]) << 8
		}
	}
	for sum > math.MaxUint16 {
		sum = sum>>16 + sum&math.MaxUint16
	}
	return uint16(sum)
}
