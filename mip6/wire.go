package mip6

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

const (
	// maxMHLen is the length of a Mobility Header with the greatest Header Len.
	maxMHLen = 8 + 255*8
	// checksumOffset is where the checksum is in a Mobility Header.
	checksumOffset = 4
	// bindingOptionsOffset is where the options of a binding update and of a
	// binding acknowledgement begin.
	bindingOptionsOffset = 12
)

// ParseMessage decodes a Mobility Header with the checks of RFC 6275 §9.2.
// src and dst are the logical addresses that the checksum covers: the home
// address where there is a Home Address option or a type 2 routing header
// (see Packet.From and Packet.To). Octets after the end of the header are
// ignored. A message of an unknown type is an UnknownMessage, not an error.
// The error is a *ParseError. The message does not alias mh.
func ParseMessage(src, dst netip.Addr, mh []byte) (Message, error) {
	n, err := headerLength(mh)
	if err != nil {
		return nil, err
	}
	if err := checkMessage(src, dst, mh[:n]); err != nil {
		return nil, err
	}
	m, err := decodeMessage(slices.Clone(mh[:n]))
	if err != nil {
		return nil, err
	}
	return m, nil
}

// headerLength returns the length in octets of the Mobility Header that mh
// begins with.
func headerLength(mh []byte) (int, *ParseError) {
	if len(mh) < 8 {
		return 0, truncated(0, "Mobility Header", len(mh), 8)
	}
	n := 8 + int(mh[1])*8
	if n > len(mh) {
		return 0, truncated(1, "Mobility Header", len(mh), n)
	}
	return n, nil
}

// checkMessage does the checks of RFC 6275 §9.2, in their order, on a Mobility
// Header whose length is the one it tells. A flood of garbage ends here, before
// anything is copied.
func checkMessage(src, dst netip.Addr, mh []byte) *ParseError {
	if !src.Is6() {
		return &ParseError{Reason: ReasonAddress, what: "source"}
	}
	if !dst.Is6() {
		return &ParseError{Reason: ReasonAddress, what: "destination"}
	}
	have := binary.BigEndian.Uint16(mh[checksumOffset:])
	if want := checksum(src, dst, ProtocolMobility, mh, checksumOffset); !sameChecksum(have, want) {
		return &ParseError{Offset: checksumOffset, Reason: ReasonChecksum, what: "checksum", have: int(have), want: int(want)}
	}
	kind := MessageType(mh[2])
	fixed := fixedLength(kind)
	if fixed == 0 {
		return nil // unknown: its payload proto and length are not ours to judge
	}
	if mh[0] != ProtocolNone {
		return &ParseError{Offset: 0, Reason: ReasonPayloadProto, have: int(mh[0]), icmpCode: 1}
	}
	if least := (fixed+7)/8 - 1; int(mh[1]) < least {
		return &ParseError{Offset: 1, Reason: ReasonHeaderLength, what: kind.String(), have: int(mh[1]), want: least, icmpCode: 1}
	}
	return nil
}

// decodeMessage decodes a Mobility Header that passed checkMessage. The
// message aliases mh.
func decodeMessage(mh []byte) (Message, *ParseError) {
	kind := MessageType(mh[2])
	fixed := fixedLength(kind)
	if fixed == 0 {
		return UnknownMessage{MessageType: kind, Body: mh[6:len(mh):len(mh)]}, nil
	}
	options, err := parseOptions(mh, fixed)
	if err != nil {
		return nil, err
	}
	be := binary.BigEndian
	switch kind {
	case TypeBindingRefreshRequest:
		return BindingRefreshRequest{Options: options}, nil
	case TypeHomeTestInit:
		return HomeTestInit{Cookie: Cookie(mh[8:]), Options: options}, nil
	case TypeCareOfTestInit:
		return CareOfTestInit{Cookie: Cookie(mh[8:]), Options: options}, nil
	case TypeHomeTest:
		return HomeTest{NonceIndex: be.Uint16(mh[6:]), Cookie: Cookie(mh[8:]), Token: KeygenToken(mh[16:]), Options: options}, nil
	case TypeCareOfTest:
		return CareOfTest{NonceIndex: be.Uint16(mh[6:]), Cookie: Cookie(mh[8:]), Token: KeygenToken(mh[16:]), Options: options}, nil
	case TypeBindingUpdate:
		return BindingUpdate{
			Sequence: Sequence(be.Uint16(mh[6:])),
			Flags:    UpdateFlags(be.Uint16(mh[8:])) & knownUpdateFlags,
			Lifetime: Lifetime(be.Uint16(mh[10:])),
			Options:  options,
		}, nil
	case TypeBindingAcknowledgement:
		return BindingAcknowledgement{
			Status:   Status(mh[6]),
			Flags:    AckFlags(mh[7]) & knownAckFlags,
			Sequence: Sequence(be.Uint16(mh[8:])),
			Lifetime: Lifetime(be.Uint16(mh[10:])),
			Options:  options,
		}, nil
	default: // TypeBindingError, the last type that has a fixedLength
		return BindingError{Status: BindingErrorStatus(mh[6]), Home: netip.AddrFrom16([16]byte(mh[8:])), Options: options}, nil
	}
}

// fixedLength is the length in octets of what precedes the mobility options in
// a message of the given type (RFC 6275 §6.1.2–§6.1.9); 0 if it is unknown.
func fixedLength(t MessageType) int {
	switch t {
	case TypeBindingRefreshRequest:
		return 8
	case TypeHomeTestInit, TypeCareOfTestInit:
		return 16
	case TypeHomeTest, TypeCareOfTest, TypeBindingError:
		return 24
	case TypeBindingUpdate, TypeBindingAcknowledgement:
		return bindingOptionsOffset
	default:
		return 0
	}
}

// AppendMessage appends m as a Mobility Header: options at their alignment,
// padding, length, and the checksum for the logical addresses src and dst. On
// error b is returned as it was.
func AppendMessage(b []byte, src, dst netip.Addr, m Message) ([]byte, error) {
	if !src.Is6() {
		return b, fmt.Errorf("source: %w: %v", ErrNotIPv6, src)
	}
	if !dst.Is6() {
		return b, fmt.Errorf("destination: %w: %v", ErrNotIPv6, dst)
	}
	out, err := appendUnsummed(b, m)
	if err != nil {
		return b, err
	}
	mh := out[len(b):]
	binary.BigEndian.PutUint16(mh[checksumOffset:], checksum(src, dst, ProtocolMobility, mh, checksumOffset))
	return out, nil
}

// appendUnsummed appends m as a Mobility Header with a checksum of zero.
func appendUnsummed(b []byte, m Message) ([]byte, error) {
	if m == nil {
		return nil, errors.New("no message")
	}
	base := len(b)
	be := binary.BigEndian
	b = append(b, ProtocolNone, 0, byte(m.Type()), 0, 0, 0)
	var err error
	switch m := m.(type) {
	case BindingRefreshRequest:
		b = append(b, 0, 0)
	case HomeTestInit:
		b = append(append(b, 0, 0), m.Cookie[:]...)
	case CareOfTestInit:
		b = append(append(b, 0, 0), m.Cookie[:]...)
	case HomeTest:
		b = append(append(be.AppendUint16(b, m.NonceIndex), m.Cookie[:]...), m.Token[:]...)
	case CareOfTest:
		b = append(append(be.AppendUint16(b, m.NonceIndex), m.Cookie[:]...), m.Token[:]...)
	case BindingUpdate:
		b = be.AppendUint16(b, uint16(m.Sequence))
		b = be.AppendUint16(b, uint16(m.Flags&knownUpdateFlags))
		b = be.AppendUint16(b, uint16(m.Lifetime))
	case BindingAcknowledgement:
		b = append(b, byte(m.Status), byte(m.Flags&knownAckFlags))
		b = be.AppendUint16(b, uint16(m.Sequence))
		b = be.AppendUint16(b, uint16(m.Lifetime))
	case BindingError:
		home := m.Home
		if !home.IsValid() {
			home = netip.IPv6Unspecified()
		}
		if b, err = appendAddr(append(b, byte(m.Status), 0), home); err != nil {
			return nil, fmt.Errorf("%v: %w", m.Type(), err)
		}
	case UnknownMessage:
		if fixedLength(m.MessageType) != 0 {
			return nil, fmt.Errorf("%v: %w", m.MessageType, ErrReserved)
		}
		b = append(b, m.Body...)
		if n := len(b) - base; n%8 != 0 {
			return nil, fmt.Errorf("%v of %d octets is not a multiple of 8", m.MessageType, n)
		}
	}
	if b, err = appendOptions(b, base, m.MobilityOptions()); err != nil {
		return nil, fmt.Errorf("%v: %w", m.Type(), err)
	}
	n := len(b) - base
	if n > maxMHLen {
		return nil, fmt.Errorf("%v of %d octets: %w in %d", m.Type(), n, ErrTooLong, maxMHLen)
	}
	b[base+1] = byte(n/8 - 1)
	return b, nil
}

// checksum is the Internet checksum of an upper-layer packet with its
// pseudo-header (RFC 8200 §8.1), the two octets at skip counted as zero.
func checksum(src, dst netip.Addr, protocol uint8, b []byte, skip int) uint16 {
	s, d := src.As16(), dst.As16()
	sum := uint64(len(b)) + uint64(protocol)
	sum = sumOctets(sum, s[:])
	sum = sumOctets(sum, d[:])
	sum = sumOctets(sum, b[:skip])
	sum = sumOctets(sum, b[skip+2:])
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// sameChecksum compares two checksums; 0 and 0xffff are the same number in
// one's complement.
func sameChecksum(a, b uint16) bool { return a%0xffff == b%0xffff }

// sumOctets adds b in 16-bit words of network order to sum; it must begin at
// an even offset of the whole.
func sumOctets(sum uint64, b []byte) uint64 {
	for len(b) >= 4 {
		sum += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}
