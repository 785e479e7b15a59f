package mip6

import (
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The octets of this file were laid out by hand from the figures of the RFCs;
// checksums and authenticators were computed by another implementation.

var (
	mobile        = netip.MustParseAddr("2001:db8:1::10") // home address
	careOf        = netip.MustParseAddr("2001:db8:2::20")
	homeAgent     = netip.MustParseAddr("2001:db8:1::1")
	correspondent = netip.MustParseAddr("2001:db8:3::30")
)

// octets reads hexadecimal with white space between the groups.
func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatalf("test vector: %v", err)
	}
	return b
}

var messageVectors = []struct {
	name     string
	src, dst netip.Addr
	message  Message
	wire     string
}{
	{
		"RFC 6275 §6.1.2 binding refresh request", homeAgent, mobile,
		BindingRefreshRequest{},
		"3b000000 68eb 0000",
	},
	{
		"RFC 6275 §6.1.3 home test init", mobile, correspondent,
		HomeTestInit{Cookie: Cookie{1, 2, 3, 4, 5, 6, 7, 8}},
		"3b010100 579d 0000 0102030405060708",
	},
	{
		"RFC 6275 §6.1.4 care-of test init", careOf, correspondent,
		CareOfTestInit{Cookie: Cookie{0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18}},
		"3b010200 164c 0000 1112131415161718",
	},
	{
		"RFC 6275 §6.1.5 home test", correspondent, mobile,
		HomeTest{
			NonceIndex: 7,
			Cookie:     Cookie{1, 2, 3, 4, 5, 6, 7, 8},
			Token:      KeygenToken{0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8},
		},
		"3b020300 c2f6 0007 0102030405060708 a1a2a3a4a5a6a7a8",
	},
	{
		"RFC 6275 §6.1.6 care-of test", correspondent, careOf,
		CareOfTest{
			NonceIndex: 9,
			Cookie:     Cookie{0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18},
			Token:      KeygenToken{0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8},
		},
		"3b020400 4163 0009 1112131415161718 b1b2b3b4b5b6b7b8",
	},
	{
		// "If no options are present in this message, 4 octets of padding are
		// necessary and the Header Len field will be set to 1."
		"RFC 6275 §6.1.7 binding update without options", mobile, homeAgent,
		BindingUpdate{Sequence: 0x1234, Flags: UpdateAcknowledge | UpdateHome, Lifetime: 10},
		"3b010500 90a1 1234 c000 000a 01020000",
	},
	{
		"RFC 6275 §6.2.5, RFC 3963 §4.1 and §4.3 binding update of a mobile router", mobile, homeAgent,
		BindingUpdate{
			Sequence: 0xfffe,
			Flags:    UpdateAcknowledge | UpdateHome | UpdateLinkLocal | UpdateMobileRouter,
			Lifetime: 150,
			Options: []Option{
				AlternateCareOf{Addr: careOf},
				MobileNetworkPrefix{Prefix: netip.MustParsePrefix("2001:db8:aaaa::/48")},
			},
		},
		`3b060500 6d8c fffe e400 0096
		 0100 0310 20010db8000200000000000000000020
		 01020000 06120030 20010db8aaaa00000000000000000000`,
	},
	{
		"RFC 6275 §6.1.8 and §6.2.4 binding acknowledgement", homeAgent, mobile,
		BindingAcknowledgement{
			Flags:    AckKeyManagement | AckMobileRouter,
			Sequence: 0xfffe,
			Lifetime: 75,
			Options:  []Option{RefreshAdvice{Interval: 25}},
		},
		"3b010600 5fbd 00c0 fffe 004b 0202 0019",
	},
	{
		"RFC 6275 §6.1.8 refusal", homeAgent, mobile,
		BindingAcknowledgement{Status: StatusSequenceOutOfWindow, Sequence: 0x1233},
		"3b010600 c8ac 8700 1233 0000 01020000",
	},
	{
		"RFC 6275 §6.1.9 binding error", correspondent, careOf,
		BindingError{Status: BindingErrorUnknownBinding, Home: mobile},
		"3b020700 32cd 0100 20010db8000100000000000000000010",
	},
	{
		"RFC 6275 §9.2 unknown MH type", careOf, correspondent,
		UnknownMessage{MessageType: 13, Body: []byte{0xbe, 0xef, 1, 2, 3, 4, 5, 6, 7, 8}},
		"3b010d00 8c9c beef 0102030405060708",
	},
	{
		"RFC 6275 §6.2.4 binding refresh advice", mobile, homeAgent,
		vectorUpdate(RefreshAdvice{Interval: 60}),
		"3b010500 a198 0001 c000 000a 0202 003c",
	},
	{
		"RFC 6275 §6.2.5 alternate care-of address", mobile, homeAgent,
		vectorUpdate(AlternateCareOf{Addr: careOf}),
		"3b030500 71d9 0001 c000 000a 0100 0310 20010db8000200000000000000000020",
	},
	{
		"RFC 6275 §6.2.6 and §6.2.7 nonce indices and authorization data", mobile, correspondent,
		BindingUpdate{
			Sequence: 1, Flags: UpdateAcknowledge, Lifetime: 10,
			Options: []Option{
				NonceIndices{Home: 3, CareOf: 5},
				AuthorizationData{Authenticator: [12]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
			},
		},
		"3b030500 bc57 0001 8000 000a 0404 0003 0005 050c 000102030405060708090a0b",
	},
	{
		"RFC 3963 §4.3 mobile network prefix", mobile, homeAgent,
		vectorUpdate(MobileNetworkPrefix{Prefix: netip.MustParsePrefix("2001:db8:aaaa:bbbb::/64")}),
		"3b030500 0953 0001 c000 000a 0612 0040 20010db8aaaabbbb0000000000000000",
	},
	{
		"RFC 4283 §3 mobile node identifier", mobile, homeAgent,
		vectorUpdate(MobileNodeID{Subtype: 1, Identifier: []byte("mn@ex.a")}),
		"3b020500 973e 0001 c000 000a 0808 01 6d6e4065782e61 0100",
	},
	{
		"RFC 4285 §5 authentication", mobile, homeAgent,
		vectorUpdate(Authentication{
			Subtype: AuthenticationMNHA, SPI: 1024,
			Data: []byte{0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb},
		}),
		"3b030500 ec11 0001 c000 000a 00 0911 01 00000400 c0c1c2c3c4c5c6c7c8c9cacb",
	},
	{
		"RFC 4285 §6 replay protection", mobile, homeAgent,
		vectorUpdate(ReplayProtection{Timestamp: 0xe5b1c3d280000000}),
		"3b030500 6e31 0001 c000 000a 010400000000 0a08 e5b1c3d280000000 01020000",
	},
	{
		"RFC 6275 §6.2.1 unknown option", mobile, homeAgent,
		vectorUpdate(UnknownOption{Type: 200, Data: []byte{0xab, 0xcd}}),
		"3b010500 3006 0001 c000 000a c802 abcd",
	},
}

func vectorUpdate(options ...Option) BindingUpdate {
	return BindingUpdate{Sequence: 1, Flags: UpdateAcknowledge | UpdateHome, Lifetime: 10, Options: options}
}

// RFC 6275 §6.1, §6.2: every message, octet for octet.
//
// Covers: A1, A2.
func TestMessageVectors(t *testing.T) {
	for _, v := range messageVectors {
		t.Run(v.name, func(t *testing.T) {
			wire := octets(t, v.wire)
			got, err := AppendMessage([]byte("before"), v.src, v.dst, v.message)
			if err != nil {
				t.Fatal(err)
			}
			if want := "before" + string(wire); string(got) != want {
				t.Errorf("encoded\n%x, want\n%x", got[6:], wire)
			}
			m, err := ParseMessage(v.src, v.dst, wire)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(m, v.message) {
				t.Errorf("decoded\n%#v, want\n%#v", m, v.message)
			}
		})
	}
}

// RFC 6275 §6.1: reserved bits are zero when sent and ignored when received;
// §6.2.3: the content of padding is ignored.
//
// Covers: A1, A2.
func TestReservedBitsIgnored(t *testing.T) {
	plain := octets(t, "3b010500 0000 1234 c000 000a 01020000")
	noisy := octets(t, "3b0105ff 0000 1234 c0ff 000a 0102abcd")
	for _, b := range [][]byte{plain, noisy} {
		sum := checksum(mobile, homeAgent, ProtocolMobility, b, checksumOffset)
		b[4], b[5] = byte(sum>>8), byte(sum)
	}
	want, err := ParseMessage(mobile, homeAgent, plain)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseMessage(mobile, homeAgent, noisy)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %#v, want %#v", got, want)
	}
	sent, err := AppendMessage(nil, mobile, homeAgent, BindingUpdate{Sequence: 0x1234, Flags: 0xc0ff, Lifetime: 10})
	if err != nil {
		t.Fatal(err)
	}
	if string(sent) != string(plain) {
		t.Errorf("sent %x, want %x", sent, plain)
	}
}

// The prefix's host bits mean nothing (RFC 3963 §4.3), so they do not make two
// prefixes of one.
func TestMobileNetworkPrefixIsMasked(t *testing.T) {
	host := MobileNetworkPrefix{Prefix: netip.MustParsePrefix("2001:db8:aaaa:bbbb::1/64")}
	want := MobileNetworkPrefix{Prefix: host.Prefix.Masked()}
	sent, err := AppendMessage(nil, mobile, homeAgent, vectorUpdate(host))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseMessage(mobile, homeAgent, sent)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := Find[MobileNetworkPrefix](m); got != want {
		t.Errorf("sent %v, want %v", got, want)
	}
	mh := octets(t, "3b030500 0000 0001 c000 000a 0612 0040 20010db8aaaabbbb0000000000000001")
	if m, err = ParseMessage(mobile, homeAgent, summed(mh, mobile, homeAgent)); err != nil {
		t.Fatal(err)
	}
	if got, _ := Find[MobileNetworkPrefix](m); got != want {
		t.Errorf("received %v, want %v", got, want)
	}
}

// summed returns mh with its checksum filled in.
func summed(mh []byte, src, dst netip.Addr) []byte {
	sum := checksum(src, dst, ProtocolMobility, mh, checksumOffset)
	mh[4], mh[5] = byte(sum>>8), byte(sum)
	return mh
}

func TestFindAndAll(t *testing.T) {
	a := MobileNetworkPrefix{Prefix: netip.MustParsePrefix("2001:db8:a::/48")}
	b := MobileNetworkPrefix{Prefix: netip.MustParsePrefix("2001:db8:b::/48")}
	u := vectorUpdate(AlternateCareOf{Addr: careOf}, a, b)
	if got, ok := Find[MobileNetworkPrefix](u); !ok || got != a {
		t.Errorf("Find = %v, %v", got, ok)
	}
	if got := All[MobileNetworkPrefix](u); !reflect.DeepEqual(got, []MobileNetworkPrefix{a, b}) {
		t.Errorf("All = %v", got)
	}
	if _, ok := Find[RefreshAdvice](u); ok {
		t.Error("found an option that is not there")
	}
	if got := All[RefreshAdvice](u); got != nil {
		t.Errorf("All = %v, want nil", got)
	}
}

// RFC 6275 §9.5.1.
//
// Covers: A6.
func TestSequenceAfter(t *testing.T) {
	for _, c := range []struct {
		s, t Sequence
		want bool
	}{
		{1, 0, true}, {0, 0, false}, {0, 1, false}, {0, 0xffff, true}, {0x7fff, 0, true}, {0x8000, 0, false},
		{15, 0xffff, true}, {0xffff, 15, false},
	} {
		if got := c.s.After(c.t); got != c.want {
			t.Errorf("%d.After(%d) = %v", c.s, c.t, got)
		}
	}
}

func TestLifetimeFrom(t *testing.T) { // RFC 6275 §6.1.7: units of four seconds
	for d, want := range map[time.Duration]Lifetime{
		-time.Second: 0, 0: 0, 3999 * time.Millisecond: 0, 4 * time.Second: 1, 7 * time.Second: 1,
		262140 * time.Second: MaxLifetime, 262144 * time.Second: MaxLifetime, 1 << 62: MaxLifetime,
	} {
		if got := LifetimeFrom(d); got != want {
			t.Errorf("LifetimeFrom(%v) = %d, want %d", d, got, want)
		}
	}
}

func TestTimestamp(t *testing.T) { // RFC 4285 §6, RFC 1305
	at := time.Date(2026, 1, 2, 3, 4, 5, 500_000_000, time.UTC)
	ts := TimestampFrom(at)
	if want := Timestamp(0xed01_b425_8000_0000); ts != want {
		t.Errorf("TimestampFrom = %#x, want %#x", uint64(ts), uint64(want))
	}
	wrap := time.Date(2036, 2, 7, 6, 28, 15, 0, time.UTC) // the last second of the era
	if got := TimestampFrom(wrap.Add(3 * time.Second)).Sub(TimestampFrom(wrap)); got != 3*time.Second {
		t.Errorf("across the wrap: %v", got)
	}
	for _, at := range []time.Time{at, wrap, wrap.Add(time.Second)} {
		if got := TimestampFrom(at).Time(); !got.Equal(at) {
			t.Errorf("%v became %v", at, got)
		}
	}
	if got := ts.Sub(TimestampFrom(at.Add(1500 * time.Millisecond))); got != -1500*time.Millisecond {
		t.Errorf("backwards: %v", got)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{TypeBindingUpdate.String(), "binding update"},
		{MessageType(99).String(), "MH type 99"},
		{OptionAlternateCareOf.String(), "alternate care-of address"},
		{OptionType(99).String(), "mobility option 99"},
		{StatusSequenceOutOfWindow.String(), "sequence number out of window (135)"},
		{Status(2).String(), "accepted, status 2"},
		{Status(250).String(), "rejected, status 250"},
		{(UpdateAcknowledge | UpdateHome | UpdateMobileRouter).String(), "AHR"},
		{UpdateFlags(0xffff).String(), "AHLKMRPF"},
		{UpdateFlags(0).String(), ""},
		{AckFlags(0xff).String(), "KRP"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	// No two statuses, types or reasons share a name, and none is empty.
	seen := map[string]int{}
	for i := range 256 {
		for _, name := range []string{Status(i).String(), MessageType(i).String(), OptionType(i).String()} {
			if name == "" {
				t.Errorf("value %d has no name", i)
			}
			seen[name]++
		}
	}
	for r := ReasonTruncated; r <= ReasonAddress; r++ {
		if r.String() == "unknown" {
			t.Errorf("reason %d has no name", r)
		}
		seen[r.String()]++
	}
	for name, n := range seen {
		if n > 1 {
			t.Errorf("%d values are called %q", n, name)
		}
	}
}
