package mip6

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Errors of encoding.
var (
	ErrNotIPv6     = errors.New("address is not IPv6")
	ErrTooLong     = errors.New("does not fit")
	ErrOptionOrder = errors.New("option is out of order")
	ErrDuplicate   = errors.New("option may appear only once")
	ErrReserved    = errors.New("unknown value with a type that is known")
)

// Content lengths of the options of fixed length.
const (
	lenRefreshAdvice       = 2
	lenAlternateCareOf     = 16
	lenNonceIndices        = 4
	lenAuthorizationData   = 12
	lenMobileNetworkPrefix = 18
	lenReplayProtection    = 8
	minMobileNodeID        = 1 // subtype
	minAuthentication      = 5 // subtype and SPI
)

// rawOption is one option in the octets of a Mobility Header.
type rawOption struct {
	kind   OptionType
	offset int // of the type octet
	data   []byte
}

// nextOption returns the option at offset in mh, padding included, and the
// offset of what follows it. It must not be called at the end of mh.
func nextOption(mh []byte, offset int) (rawOption, int, *ParseError) {
	kind := OptionType(mh[offset])
	if kind == OptionPad1 {
		return rawOption{kind: kind, offset: offset}, offset + 1, nil
	}
	if len(mh)-offset < 2 {
		return rawOption{}, 0, &ParseError{Offset: offset, Reason: ReasonTruncated, option: kind, have: 1, want: 2}
	}
	end := offset + 2 + int(mh[offset+1])
	if end > len(mh) {
		return rawOption{}, 0, &ParseError{Offset: offset, Reason: ReasonTruncated, option: kind, have: len(mh) - offset, want: end - offset}
	}
	return rawOption{kind: kind, offset: offset, data: mh[offset+2 : end : end]}, end, nil
}

// parseOptions decodes the options of mh from offset on. Options of variable
// length alias mh.
func parseOptions(mh []byte, offset int) ([]Option, *ParseError) {
	count := 0
	for at := offset; at < len(mh); {
		o, next, err := nextOption(mh, at)
		if err != nil {
			return nil, err
		}
		if o.kind > OptionPadN {
			count++
		}
		at = next
	}
	if count == 0 {
		return nil, nil
	}
	var rules optionRules
	options := make([]Option, 0, count)
	for at := offset; at < len(mh); {
		raw, next, err := nextOption(mh, at)
		if err != nil {
			return nil, err
		}
		at = next
		if rules.authorized {
			// RFC 6275 §6.2: the last option, without trailing padding.
			return nil, &ParseError{Offset: raw.offset, Reason: ReasonOptionOrder, option: OptionAuthorizationData}
		}
		if raw.kind <= OptionPadN {
			continue
		}
		o, err := raw.decode()
		if err != nil {
			return nil, err
		}
		if reason := rules.admit(o); reason != 0 {
			return nil, &ParseError{Offset: raw.offset, Reason: reason, option: raw.kind}
		}
		options = append(options, o)
	}
	return options, nil
}

// decode returns the value of an option that is not padding. A known type with
// a length that it cannot have makes the message undecodable: skipping the
// option would act on less than the sender asked for.
func (r rawOption) decode() (Option, *ParseError) {
	d := r.data
	switch r.kind {
	case OptionRefreshAdvice:
		if len(d) != lenRefreshAdvice {
			return nil, r.badLength(lenRefreshAdvice)
		}
		return RefreshAdvice{Interval: Lifetime(binary.BigEndian.Uint16(d))}, nil
	case OptionAlternateCareOf:
		if len(d) != lenAlternateCareOf {
			return nil, r.badLength(lenAlternateCareOf)
		}
		return AlternateCareOf{Addr: netip.AddrFrom16([16]byte(d))}, nil
	case OptionNonceIndices:
		if len(d) != lenNonceIndices {
			return nil, r.badLength(lenNonceIndices)
		}
		return NonceIndices{Home: binary.BigEndian.Uint16(d), CareOf: binary.BigEndian.Uint16(d[2:])}, nil
	case OptionAuthorizationData:
		if len(d) != lenAuthorizationData {
			return nil, r.badLength(lenAuthorizationData)
		}
		return AuthorizationData{Authenticator: [12]byte(d)}, nil
	case OptionMobileNetworkPrefix:
		if len(d) != lenMobileNetworkPrefix {
			return nil, r.badLength(lenMobileNetworkPrefix)
		}
		if d[1] > 128 {
			return nil, &ParseError{Offset: r.offset + 3, Reason: ReasonOptionValue, what: "prefix length", have: int(d[1]), want: 128}
		}
		return MobileNetworkPrefix{Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte(d[2:])), int(d[1])).Masked()}, nil
	case OptionMobileNodeID:
		if len(d) < minMobileNodeID {
			return nil, r.badLength(minMobileNodeID)
		}
		return MobileNodeID{Subtype: d[0], Identifier: d[1:]}, nil
	case OptionAuthentication:
		if len(d) < minAuthentication {
			return nil, r.badLength(minAuthentication)
		}
		return Authentication{Subtype: d[0], SPI: binary.BigEndian.Uint32(d[1:]), Data: d[minAuthentication:]}, nil
	case OptionReplayProtection:
		if len(d) != lenReplayProtection {
			return nil, r.badLength(lenReplayProtection)
		}
		return ReplayProtection{Timestamp: Timestamp(binary.BigEndian.Uint64(d))}, nil
	default:
		return UnknownOption{Type: r.kind, Data: d}, nil
	}
}

func (r rawOption) badLength(want int) *ParseError {
	return &ParseError{Offset: r.offset + 1, Reason: ReasonOptionLength, option: r.kind, have: len(r.data), want: want}
}

// optionRules are the rules on which options may stand together, the same for
// both directions.
type optionRules struct {
	seen           [4]uint64 // option types, of those that may appear once
	authentication [4]uint64 // subtypes of the Authentication option
	authorized     bool      // Binding Authorization Data was there
}

// admit returns the reason why o may not follow what came before, or 0.
//
// RFC 6275 gives no meaning to two care-of addresses, two sets of nonces and
// the like in one message; taking either would be a guess that the sender may
// not share. RFC 4285 §5: one Authentication option per subtype, MN-HA before
// MN-AAA.
func (r *optionRules) admit(o Option) ParseReason {
	switch o := o.(type) {
	case RefreshAdvice, AlternateCareOf, NonceIndices, ReplayProtection:
		if testAndSet(&r.seen, uint8(o.OptionType())) {
			return ReasonDuplicateOption
		}
	case AuthorizationData:
		r.authorized = true
	case Authentication:
		if o.Subtype == AuthenticationMNHA && r.authentication[0]&(1<<AuthenticationMNAAA) != 0 {
			return ReasonOptionOrder
		}
		if testAndSet(&r.authentication, o.Subtype) {
			return ReasonDuplicateOption
		}
	case MobileNetworkPrefix, MobileNodeID, UnknownOption:
	}
	return 0
}

func testAndSet(set *[4]uint64, bit uint8) bool {
	word, mask := bit>>6, uint64(1)<<(bit&63)
	was := set[word]&mask != 0
	set[word] |= mask
	return was
}

// alignment returns the x and y of the option's alignment requirement xn + y.
// Options that are not known have none that could be known.
func alignment(o Option) (x, y int) {
	switch o.(type) {
	case RefreshAdvice, NonceIndices:
		return 2, 0
	case AlternateCareOf:
		return 8, 6
	case AuthorizationData, ReplayProtection:
		return 8, 2
	case MobileNetworkPrefix:
		return 8, 4
	case Authentication:
		return 4, 1
	case MobileNodeID, UnknownOption:
		return 1, 0
	}
	return 1, 0
}

// appendOptions appends options, each at its alignment counted from base, and
// the padding that makes the whole a multiple of 8 octets.
func appendOptions(b []byte, base int, options []Option) ([]byte, error) {
	var rules optionRules
	for _, o := range options {
		if o == nil {
			return nil, errors.New("nil option")
		}
		if rules.authorized {
			return nil, fmt.Errorf("%v option: %w: it must be the last", OptionAuthorizationData, ErrOptionOrder)
		}
		switch rules.admit(o) {
		case 0:
		case ReasonOptionOrder:
			return nil, fmt.Errorf("%v option: %w", o.OptionType(), ErrOptionOrder)
		default:
			return nil, fmt.Errorf("%v option: %w", o.OptionType(), ErrDuplicate)
		}
		x, y := alignment(o)
		b = appendPadding(b, (x+y-(len(b)-base)%x)%x)
		var err error
		if b, err = appendOption(b, o); err != nil {
			return nil, fmt.Errorf("%v option: %w", o.OptionType(), err)
		}
	}
	return appendPadding(b, -(len(b)-base)&7), nil
}

// appendPadding appends n octets of padding (RFC 6275 §6.2.2, §6.2.3).
func appendPadding(b []byte, n int) []byte {
	switch n {
	case 0:
		return b
	case 1:
		return append(b, byte(OptionPad1))
	default:
		b = append(b, byte(OptionPadN), byte(n-2))
		for range n - 2 {
			b = append(b, 0)
		}
		return b
	}
}

func appendOption(b []byte, o Option) ([]byte, error) {
	switch o := o.(type) {
	case RefreshAdvice:
		b = append(b, byte(OptionRefreshAdvice), lenRefreshAdvice)
		return binary.BigEndian.AppendUint16(b, uint16(o.Interval)), nil
	case AlternateCareOf:
		b = append(b, byte(OptionAlternateCareOf), lenAlternateCareOf)
		return appendAddr(b, o.Addr)
	case NonceIndices:
		b = append(b, byte(OptionNonceIndices), lenNonceIndices)
		b = binary.BigEndian.AppendUint16(b, o.Home)
		return binary.BigEndian.AppendUint16(b, o.CareOf), nil
	case AuthorizationData:
		b = append(b, byte(OptionAuthorizationData), lenAuthorizationData)
		return append(b, o.Authenticator[:]...), nil
	case MobileNetworkPrefix:
		if !o.Prefix.IsValid() {
			return nil, ErrNotIPv6
		}
		b = append(b, byte(OptionMobileNetworkPrefix), lenMobileNetworkPrefix, 0, byte(o.Prefix.Bits()))
		return appendAddr(b, o.Prefix.Masked().Addr())
	case MobileNodeID:
		n := minMobileNodeID + len(o.Identifier)
		if n > 255 {
			return nil, ErrTooLong
		}
		b = append(b, byte(OptionMobileNodeID), byte(n), o.Subtype)
		return append(b, o.Identifier...), nil
	case Authentication:
		n := minAuthentication + len(o.Data)
		if n > 255 {
			return nil, ErrTooLong
		}
		b = append(b, byte(OptionAuthentication), byte(n), o.Subtype)
		b = binary.BigEndian.AppendUint32(b, o.SPI)
		return append(b, o.Data...), nil
	case ReplayProtection:
		b = append(b, byte(OptionReplayProtection), lenReplayProtection)
		return binary.BigEndian.AppendUint64(b, uint64(o.Timestamp)), nil
	case UnknownOption:
		if o.Type.known() {
			return nil, ErrReserved
		}
		if len(o.Data) > 255 {
			return nil, ErrTooLong
		}
		b = append(b, byte(o.Type), byte(len(o.Data)))
		return append(b, o.Data...), nil
	}
	return nil, errors.New("no such option") // the set is closed
}

func appendAddr(b []byte, a netip.Addr) ([]byte, error) {
	if !a.Is6() {
		return nil, fmt.Errorf("%w: %v", ErrNotIPv6, a)
	}
	a16 := a.As16()
	return append(b, a16[:]...), nil
}
