package mip6

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// RFC 6275 §9.2: what does not decode, and where.
//
// Covers: A3, Attack: malformed options.
func TestParseMessageRejects(t *testing.T) {
	const rest = "0001 c000 000a " // sequence, flags, lifetime
	for _, c := range []struct {
		name   string
		mh     string
		offset int
		reason ParseReason
		code   int // of the Parameter Problem wanted; -1: none
		text   string
	}{
		{"empty", "", 0, ReasonTruncated, -1, "Mobility Header needs 8 octets, 0 are there"},
		{"shorter than a header", "3b0000 00 0000 00", 0, ReasonTruncated, -1, "7 are there"},
		{"shorter than Header Len", "3b020500 0000 " + rest + "01020000", 1, ReasonTruncated, -1, "needs 24 octets, 16 are there"},
		{"RFC 6275 §9.2 payload proto", "11010500 0000 " + rest + "01020000", 0, ReasonPayloadProto, 0, "payload proto 17, want 59"},
		{"RFC 6275 §9.2 header length of a BU", "3b000500 0000 0001", 1, ReasonHeaderLength, 0, "binding update has header length 0, want at least 1"},
		{"RFC 6275 §9.2 header length of a BA", "3b000600 0000 0000", 1, ReasonHeaderLength, 0, "want at least 1"},
		{"RFC 6275 §9.2 header length of a HoTI", "3b000100 0000 0000", 1, ReasonHeaderLength, 0, "want at least 1"},
		{"RFC 6275 §9.2 header length of a CoTI", "3b000200 0000 0000", 1, ReasonHeaderLength, 0, "want at least 1"},
		{"RFC 6275 §9.2 header length of a HoT", "3b010300 0000 0000 0000000000000000", 1, ReasonHeaderLength, 0, "want at least 2"},
		{"RFC 6275 §9.2 header length of a CoT", "3b010400 0000 0000 0000000000000000", 1, ReasonHeaderLength, 0, "want at least 2"},
		{"RFC 6275 §9.2 header length of a BE", "3b010700 0000 0100 0000000000000000", 1, ReasonHeaderLength, 0, "want at least 2"},
		{"option without length octet", "3b010500 0000 " + rest + "000000 08", 15, ReasonTruncated, -1, "mobile node identifier option needs 2 octets, 1 are there"},
		{"option beyond the end", "3b010500 0000 " + rest + "c803 0000", 12, ReasonTruncated, -1, "mobility option 200 needs 5 octets"},
		{"padding beyond the end", "3b010500 0000 " + rest + "0103 0000", 12, ReasonTruncated, -1, "PadN"},
		{"refresh advice of length 4", "3b020500 0000 " + rest + "0204 00000000 01 04 00000000", 13, ReasonOptionLength, -1, "binding refresh advice option has length 4, want 2"},
		{"alternate care-of of length 4", "3b020500 0000 " + rest + "0100 0304 20010db8 01020000", 15, ReasonOptionLength, -1, "has length 4, want 16"},
		{"nonce indices of length 2", "3b010500 0000 " + rest + "0402 0003", 13, ReasonOptionLength, -1, "has length 2, want 4"},
		{"authorization data of length 2", "3b010500 0000 " + rest + "0502 0003", 13, ReasonOptionLength, -1, "has length 2, want 12"},
		{"network prefix of length 2", "3b010500 0000 " + rest + "0602 0040", 13, ReasonOptionLength, -1, "has length 2, want 18"},
		{"network prefix longer than 128", "3b030500 0000 " + rest + "0612 0081 20010db8aaaabbbb0000000000000000", 15, ReasonOptionValue, -1, "prefix length has value 129, at most 128"},
		{"identifier without subtype", "3b010500 0000 " + rest + "0800 0000", 13, ReasonOptionLength, -1, "has length 0, want 1"},
		{"authentication without SPI", "3b010500 0000 " + rest + "0902 0100", 13, ReasonOptionLength, -1, "has length 2, want 5"},
		{"replay protection of length 2", "3b010500 0000 " + rest + "0a02 0100", 13, ReasonOptionLength, -1, "has length 2, want 8"},
		{"two refresh advices", "3b020500 0000 " + rest + "0202 0001 0202 0001 01020000", 16, ReasonDuplicateOption, -1, "second binding refresh advice option"},
		{"RFC 4285 §5 two of one subtype", "3b040500 0000 " + rest + "00 0907 01 00000400 0000 0907 01 00000400 0000 0107 00000000000000", 22, ReasonDuplicateOption, -1, "second mobility message authentication"},
		{"RFC 4285 §5 MN-AAA before MN-HA", "3b040500 0000 " + rest + "00 0907 02 00000003 0000 0907 01 00000400 0000 0107 00000000000000", 22, ReasonOptionOrder, -1, "is not where it must be"},
		{"RFC 6275 §6.2 padding after authorization data", "3b040500 0000 " + rest + "0100 050c 000102030405060708090a0b 010a 00000000000000000000", 28, ReasonOptionOrder, -1, "binding authorization data option is not where it must be"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mh := octets(t, c.mh)
			if len(mh) >= 8 {
				summed(mh, mobile, homeAgent)
			}
			m, err := ParseMessage(mobile, homeAgent, mh)
			wantParseError(t, m, err, c.offset, c.reason, c.code, c.text)
		})
	}
}

func wantParseError(t *testing.T, value any, err error, offset int, reason ParseReason, code int, text string) {
	t.Helper()
	var perr *ParseError
	if !errors.As(err, &perr) {
		t.Fatalf("decoded %#v with error %v, want a ParseError", value, err)
	}
	if perr.Offset != offset || perr.Reason != reason {
		t.Errorf("octet %d, %v; want octet %d, %v (%v)", perr.Offset, perr.Reason, offset, reason, err)
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("error %q does not say %q", err, text)
	}
	got := -1
	if c, pointer, ok := perr.ParameterProblem(); ok {
		got = int(c)
		if pointer != uint32(offset) {
			t.Errorf("pointer %d, want %d", pointer, offset)
		}
	}
	if got != code {
		t.Errorf("parameter problem code %d, want %d", got, code)
	}
}

// RFC 6275 §9.2: a bad checksum is silent, and is noticed before anything else.
//
// Covers: A3.
func TestChecksumFirst(t *testing.T) {
	for _, v := range messageVectors {
		wire := octets(t, v.wire)
		for bit := range len(wire) * 8 {
			if bit/8 == 1 { // Header Len decides what the checksum covers
				continue
			}
			bad := append([]byte(nil), wire...)
			bad[bit/8] ^= 1 << (bit % 8)
			m, err := ParseMessage(v.src, v.dst, bad)
			wantParseError(t, m, err, 4, ReasonChecksum, -1, "checksum")
			if t.Failed() {
				t.Fatalf("%s with bit %d wrong", v.name, bit)
			}
		}
	}
}

// The checksum covers the addresses (RFC 6275 §6.1.1).
func TestChecksumCoversAddresses(t *testing.T) {
	v := messageVectors[0]
	for _, pair := range [][2]netip.Addr{{careOf, v.dst}, {v.src, careOf}} {
		m, err := ParseMessage(pair[0], pair[1], octets(t, v.wire))
		wantParseError(t, m, err, 4, ReasonChecksum, -1, "checksum 0x68eb")
	}
	four := netip.MustParseAddr("192.0.2.1")
	m, err := ParseMessage(four, v.dst, octets(t, v.wire))
	wantParseError(t, m, err, 0, ReasonAddress, -1, "source is not an IPv6 address")
	m, err = ParseMessage(v.src, netip.Addr{}, octets(t, v.wire))
	wantParseError(t, m, err, 0, ReasonAddress, -1, "destination is not an IPv6 address")
}

// In one's complement 0 and 0xffff are the same number.
func TestChecksumZero(t *testing.T) {
	mh := octets(t, "3b000000 0000 0000")
	sum := checksum(homeAgent, mobile, ProtocolMobility, mh, checksumOffset)
	mh[6], mh[7] = byte(sum>>8), byte(sum) // the reserved field takes up the difference
	for _, sum := range []byte{0x00, 0xff} {
		mh[4], mh[5] = sum, sum
		if _, err := ParseMessage(homeAgent, mobile, mh); err != nil {
			t.Errorf("checksum %#x: %v", sum, err)
		}
	}
}

// Octets behind the Mobility Header are no part of it: payload proto 59 means
// that nothing follows (RFC 8200 §4.7).
func TestTrailingOctetsIgnored(t *testing.T) {
	for _, v := range messageVectors {
		if _, err := ParseMessage(v.src, v.dst, append(octets(t, v.wire), 1, 2, 3)); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}

func TestAppendMessageRejects(t *testing.T) {
	four := netip.MustParseAddr("192.0.2.1")
	long := make([]byte, 300)
	for _, c := range []struct {
		name     string
		src, dst netip.Addr
		message  Message
		want     error // nil: any
	}{
		{"IPv4 source", four, homeAgent, BindingRefreshRequest{}, ErrNotIPv6},
		{"no destination", mobile, netip.Addr{}, BindingRefreshRequest{}, ErrNotIPv6},
		{"no message", mobile, homeAgent, nil, nil},
		{"nil option", mobile, homeAgent, vectorUpdate(nil), nil},
		{"IPv4 care-of address", mobile, homeAgent, vectorUpdate(AlternateCareOf{Addr: four}), ErrNotIPv6},
		{"no network prefix", mobile, homeAgent, vectorUpdate(MobileNetworkPrefix{}), ErrNotIPv6},
		{"IPv4 network prefix", mobile, homeAgent, vectorUpdate(MobileNetworkPrefix{Prefix: netip.PrefixFrom(four, 24)}), ErrNotIPv6},
		{"IPv4 home address", mobile, homeAgent, BindingError{Home: four}, ErrNotIPv6},
		{"long identifier", mobile, homeAgent, vectorUpdate(MobileNodeID{Identifier: long[:255]}), ErrTooLong},
		{"long authenticator", mobile, homeAgent, vectorUpdate(Authentication{Data: long[:251]}), ErrTooLong},
		{"long unknown option", mobile, homeAgent, vectorUpdate(UnknownOption{Type: 200, Data: long[:256]}), ErrTooLong},
		{"unknown option of a known type", mobile, homeAgent, vectorUpdate(UnknownOption{Type: OptionPad1}), ErrReserved},
		{"unknown message of a known type", mobile, homeAgent, UnknownMessage{MessageType: TypeBindingUpdate, Body: long[:10]}, ErrReserved},
		{"unknown message of odd length", mobile, homeAgent, UnknownMessage{MessageType: 77, Body: long[:9]}, nil},
		{"unknown message too long", mobile, homeAgent, UnknownMessage{MessageType: 77, Body: make([]byte, 2050)}, ErrTooLong},
		{"two care-of addresses", mobile, homeAgent, vectorUpdate(AlternateCareOf{Addr: careOf}, AlternateCareOf{Addr: careOf}), ErrDuplicate},
		{"authorization data not last", mobile, homeAgent, vectorUpdate(AuthorizationData{}, RefreshAdvice{}), ErrOptionOrder},
		{"MN-AAA before MN-HA", mobile, homeAgent, vectorUpdate(Authentication{Subtype: 2}, Authentication{Subtype: 1}), ErrOptionOrder},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := AppendMessage([]byte("before"), c.src, c.dst, c.message)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if string(b) != "before" {
				t.Errorf("returned %q", b)
			}
		})
	}
	// The longest header that there is.
	b, err := AppendMessage(nil, mobile, homeAgent, UnknownMessage{MessageType: 77, Body: make([]byte, 2042)})
	if err != nil || len(b) != 2048 {
		t.Errorf("%d octets, %v", len(b), err)
	}
	many := make([]Option, 8) // 12 + 8 × 257 octets
	for i := range many {
		many[i] = UnknownOption{Type: 200, Data: long[:255]}
	}
	if _, err := AppendMessage(nil, mobile, homeAgent, vectorUpdate(many...)); !errors.Is(err, ErrTooLong) {
		t.Errorf("options of 2056 octets: %v", err)
	}
}
