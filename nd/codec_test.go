package nd

import (
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"roam6/mip6"
)

var (
	linkAddr = net.HardwareAddr{2, 0, 0, 0, 0, 0x11}
	router1  = netip.MustParseAddr("fe80::1")
	router2  = netip.MustParseAddr("fe80::2")
	host     = netip.MustParseAddr("fe80::ff")
	target   = netip.MustParseAddr("2001:db8:1::a")
)

func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	// Flags M, H and preference high; router lifetime 3 s; reachable time
	// 30000 ms; retransmission timer 1000 ms.
	plainRA = "86 00 0000 40 a8 0003 00007530 000003e8"
	// Source link-layer address, MTU 1400, prefix 2001:db8:1::1/64 with L, A
	// and R, 3600 s and 1800 s, interval 90 ms, home agent of preference −2
	// and 60 s for mobile routers, and an RDNSS option.
	fullRA = plainRA +
		"01 01 020000000011" +
		"05 01 0000 00000578" +
		"03 04 40 e0 00000e10 00000708 00000000 20010db8000100000000000000000001" +
		"07 01 0000 0000005a" +
		"08 01 8000 fffe 003c" +
		"19 03 0000 0000003c 20010db8000000000000000000000053"
	hexRS  = "85 00 0000 00000000 01 01 020000000011"
	hexDAD = "87 00 0000 00000000 20010db800010000000000000000000a 0e 01 a1a2a3a4a5a6"
	hexNS  = "87 00 0000 00000000 20010db800010000000000000000000a 01 01 020000000011"
	hexNA  = "88 00 0000 e0000000 20010db800010000000000000000000a 02 01 020000000011"
)

func fullAdvertisement() RouterAdvertisement {
	return RouterAdvertisement{
		CurHopLimit: 64, Managed: true, HomeAgent: true, Preference: PreferenceHigh,
		RouterLifetime: 3 * time.Second, ReachableTime: 30 * time.Second, RetransTimer: time.Second,
		SourceLinkAddr: linkAddr, MTU: 1400,
		Prefixes: []mip6.PrefixInformation{{
			Prefix: netip.MustParsePrefix("2001:db8:1::1/64"), OnLink: true, Autonomous: true, RouterAddress: true,
			ValidLifetime: time.Hour, PreferredLifetime: 30 * time.Minute,
		}},
		Interval:      90 * time.Millisecond,
		HomeAgentInfo: &mip6.HomeAgentInformation{Preference: -2, Lifetime: time.Minute, MobileRouter: true},
		DNSServers:    []RecursiveDNS{{Servers: []netip.Addr{netip.MustParseAddr("2001:db8::53")}, Lifetime: time.Minute}},
	}
}

// Byte-exact vectors, both ways (RFC 4861 §4.1–§4.4, RFC 6275 §7, RFC 4191
// §2.2, RFC 7527 §4.1).
func TestVectors(t *testing.T) {
	for name, c := range map[string]struct {
		hex  string
		want Message
	}{
		"router advertisement":   {fullRA, fullAdvertisement()},
		"router solicitation":    {hexRS, RouterSolicitation{SourceLinkAddr: linkAddr}},
		"probe with nonce":       {hexDAD, NeighborSolicitation{Target: target, Nonce: []byte{0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6}}},
		"neighbour solicitation": {hexNS, NeighborSolicitation{Target: target, SourceLinkAddr: linkAddr}},
		"neighbour advertisement": {hexNA, NeighborAdvertisement{Router: true, Solicited: true, Override: true,
			Target: target, TargetLinkAddr: linkAddr}},
	} {
		t.Run(name, func(t *testing.T) {
			b := octets(t, c.hex)
			got, err := parseBare(b)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("parsed %+v, %v, want %+v", got, err, c.want)
			}
			if out := c.want.Append([]byte{9})[1:]; hex.EncodeToString(out) != hex.EncodeToString(b) {
				t.Errorf("appended % x\nwant     % x", out, b)
			}
		})
	}
}

// parseBare is Parse without a header.
func parseBare(b []byte) (Message, error) {
	if len(b) == 0 {
		return nil, &ParseError{Reason: ReasonTruncated}
	}
	switch b[0] {
	case TypeRouterSolicitation:
		return ParseRouterSolicitation(b)
	case TypeRouterAdvertisement:
		return ParseRouterAdvertisement(b)
	case TypeNeighborSolicitation:
		return ParseNeighborSolicitation(b)
	default:
		return ParseNeighborAdvertisement(b)
	}
}

// RFC 4861 §6.1.2: what is unknown or malformed in itself does no harm to the
// rest.
func TestTolerance(t *testing.T) {
	prefix := "03 04 40 c0 00000e10 00000708 00000000 20010db8000100000000000000000000"
	long := "c8 28" + strings.Repeat("00", 40*8-2) // 320 octets
	for name, c := range map[string]struct {
		options   string
		malformed int
		others    int
	}{
		"unknown option":                 {"fe 01 000000000000" + prefix, 0, 1},
		"option of 320 octets":           {long + prefix, 0, 1},
		"prefix option too long":         {"03 05" + strings.Repeat("00", 38) + prefix, 1, 0},
		"prefix option too short":        {"03 01 000000000000" + prefix, 1, 0},
		"prefix length 129":              {strings.Replace(prefix, "03 04 40", "03 04 81", 1) + prefix, 1, 0},
		"MTU option too long":            {"05 02" + strings.Repeat("00", 14) + prefix, 1, 0},
		"interval option too long":       {"07 02" + strings.Repeat("00", 14) + prefix, 1, 0},
		"home agent option too long":     {"08 02" + strings.Repeat("00", 14) + prefix, 1, 0},
		"options of other messages":      {"0e 01 a1a2a3a4a5a6 02 01 020000000011" + prefix, 0, 2},
		"second link-layer address":      {"01 01 020000000011 01 01 020000000099" + prefix, 0, 0},
		"more unknown options than kept": {strings.Repeat("fe 01 000000000000", maxRawOptions+3) + prefix, 3, maxRawOptions},
	} {
		t.Run(name, func(t *testing.T) {
			ra, err := ParseRouterAdvertisement(octets(t, plainRA+c.options))
			if err != nil {
				t.Fatal(err)
			}
			if len(ra.Prefixes) != 1 || ra.Malformed != c.malformed || len(ra.Others) != c.others {
				t.Errorf("%d prefixes, %d malformed, %d others; want 1, %d, %d", len(ra.Prefixes), ra.Malformed, len(ra.Others), c.malformed, c.others)
			}
			if ra.SourceLinkAddr != nil && ra.SourceLinkAddr.String() != linkAddr.String() {
				t.Errorf("link-layer address %v", ra.SourceLinkAddr)
			}
		})
	}
}

// RFC 4191 §2.2.
func TestPreference(t *testing.T) {
	for flags, want := range map[byte]Preference{0: PreferenceMedium, 0x08: PreferenceHigh, 0x18: PreferenceLow, 0x10: PreferenceMedium} {
		b := octets(t, plainRA)
		b[5] = flags
		if ra, err := ParseRouterAdvertisement(b); err != nil || ra.Preference != want {
			t.Errorf("flags %#x: %v, %v; want %v", flags, ra.Preference, err, want)
		}
		b[6], b[7] = 0, 0
		if ra, err := ParseRouterAdvertisement(b); err != nil || ra.Preference != PreferenceMedium {
			t.Errorf("flags %#x without lifetime: %v, %v", flags, ra.Preference, err)
		}
	}
	b := RouterAdvertisement{Preference: PreferenceLow}.Append(nil)
	if b[5] != 0 {
		t.Errorf("flags %#x sent with a lifetime of zero", b[5])
	}
	if b := (RouterAdvertisement{Preference: PreferenceLow, RouterLifetime: time.Second}).Append(nil); b[5] != 0x18 {
		t.Errorf("flags %#x, want 0x18", b[5])
	}
}

// Values beyond a field's range are limited, never wrapped.
func TestLimits(t *testing.T) {
	ra := RouterAdvertisement{
		RouterLifetime: 100 * time.Hour, ReachableTime: -time.Second, RetransTimer: 1 << 62, Interval: time.Microsecond,
		SourceLinkAddr: make(net.HardwareAddr, maxOptionData+1),
		Others:         []RawOption{{Type: 3, Data: make([]byte, 6)}, {Type: 200}, {Type: 201, Data: []byte{1}}},
	}
	got, err := ParseRouterAdvertisement(ra.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := RouterAdvertisement{
		RouterLifetime: 65535 * time.Second, RetransTimer: 0xffffffff * time.Millisecond,
		Others: []RawOption{{Type: 201, Data: []byte{1, 0, 0, 0, 0, 0}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// RFC 4861 §6.1.1, §6.1.2, §7.1.1, §7.1.2: each check of each message.
//
// Covers: Attack: rogue router.
func TestValidity(t *testing.T) {
	unspecified := netip.IPv6Unspecified()
	global := netip.MustParseAddr("2001:db8:1::5")
	ok := NumReasons
	for name, c := range map[string]struct {
		hex              string
		from, to         netip.Addr
		change           func(h *Header, b []byte) []byte
		changeAfterwards bool // the checksum is of the octets before
		want             Reason
	}{
		"router advertisement":                        {hex: fullRA, from: router1, to: AllNodes(), want: ok},
		"router advertisement from a global address":  {hex: fullRA, from: global, to: AllNodes(), want: ReasonSource},
		"router advertisement from no address":        {hex: fullRA, from: unspecified, to: AllNodes(), want: ReasonSource},
		"router advertisement too short":              {hex: plainRA[:len(plainRA)-2], from: router1, to: AllNodes(), want: ReasonTruncated},
		"option of length zero":                       {hex: plainRA + "01 00 020000000011", from: router1, to: AllNodes(), want: ReasonOptionLength},
		"option beyond the end":                       {hex: plainRA + "01 02 020000000011", from: router1, to: AllNodes(), want: ReasonOptionLength},
		"one octet of an option":                      {hex: plainRA + "01", from: router1, to: AllNodes(), want: ReasonOptionLength},
		"code 1":                                      {hex: "86 01" + plainRA[5:], from: router1, to: AllNodes(), want: ReasonCode},
		"hop limit":                                   {hex: fullRA, from: router1, to: AllNodes(), want: ReasonHopLimit, change: func(h *Header, b []byte) []byte { h.HopLimit = 254; return b }},
		"checksum":                                    {hex: fullRA, from: router1, to: AllNodes(), want: ReasonChecksum, changeAfterwards: true, change: func(_ *Header, b []byte) []byte { b[4]++; return b }},
		"checksum of an odd length":                   {hex: plainRA + "00", from: router1, to: AllNodes(), want: ReasonOptionLength},
		"multicast source":                            {hex: fullRA, from: AllNodes(), to: AllNodes(), want: ReasonSource},
		"IPv4-mapped source":                          {hex: hexNS, from: netip.MustParseAddr("::ffff:192.0.2.1"), to: host, want: ReasonSource},
		"loopback source":                             {hex: hexNS, from: netip.IPv6Loopback(), to: host, want: ReasonSource},
		"unspecified destination":                     {hex: hexNS, from: host, to: unspecified, want: ReasonDestination},
		"other ICMPv6 type":                           {hex: "80 00 0000 00000000", from: host, to: router1, want: ReasonType},
		"nothing":                                     {hex: "", from: host, to: router1, changeAfterwards: true, want: ReasonTruncated},
		"router solicitation":                         {hex: hexRS, from: host, to: AllRouters(), want: ok},
		"router solicitation from no address":         {hex: hexRS[:19], from: unspecified, to: AllRouters(), want: ok},
		"router solicitation with address of nobody":  {hex: hexRS, from: unspecified, to: AllRouters(), want: ReasonSourceLinkAddr},
		"router solicitation too short":               {hex: hexRS[:17], from: host, to: AllRouters(), want: ReasonTruncated},
		"neighbour solicitation":                      {hex: hexNS, from: host, to: SolicitedNode(target), want: ok},
		"neighbour solicitation by unicast":           {hex: hexNS, from: host, to: target, want: ok},
		"neighbour solicitation too short":            {hex: hexNS[:50], from: host, to: target, want: ReasonTruncated},
		"probe":                                       {hex: hexDAD, from: unspecified, to: SolicitedNode(target), want: ok},
		"probe by unicast":                            {hex: hexDAD, from: unspecified, to: target, want: ReasonDestination},
		"probe to all nodes":                          {hex: hexDAD, from: unspecified, to: AllNodes(), want: ReasonDestination},
		"probe with a link-layer address":             {hex: hexNS, from: unspecified, to: SolicitedNode(target), want: ReasonSourceLinkAddr},
		"multicast target":                            {hex: hexNS, from: host, to: target, want: ReasonTarget, change: func(_ *Header, b []byte) []byte { b[8] = 0xff; return b }},
		"neighbour advertisement":                     {hex: hexNA, from: host, to: router1, want: ok},
		"neighbour advertisement from nobody":         {hex: hexNA, from: unspecified, to: router1, want: ReasonSource},
		"neighbour advertisement too short":           {hex: hexNA[:50], from: host, to: router1, want: ReasonTruncated},
		"solicited neighbour advertisement to all":    {hex: hexNA, from: host, to: AllNodes(), want: ReasonSolicited},
		"unsolicited neighbour advertisement to all":  {hex: hexNA, from: host, to: AllNodes(), want: ok, change: func(_ *Header, b []byte) []byte { b[4] = 0xa0; return b }},
		"neighbour advertisement of multicast target": {hex: hexNA, from: host, to: router1, want: ReasonTarget, change: func(_ *Header, b []byte) []byte { b[8] = 0xff; return b }},
	} {
		t.Run(name, func(t *testing.T) {
			h, b := Header{Source: c.from, Destination: c.to, HopLimit: HopLimit}, octets(t, c.hex)
			if c.change != nil && !c.changeAfterwards {
				b = c.change(&h, b)
			}
			if len(b) >= 4 {
				Seal(h.Source, h.Destination, b)
			}
			if c.change != nil && c.changeAfterwards {
				b = c.change(&h, b)
			}
			m, err := Parse(h, b)
			var invalid *ParseError
			switch {
			case c.want == ok && (err != nil || m == nil):
				t.Errorf("refused: %v", err)
			case c.want != ok && (!errors.As(err, &invalid) || invalid.Reason != c.want || m != nil):
				t.Errorf("parsed %+v, %v; want %v", m, err, c.want)
			}
		})
	}
	seen := map[string]bool{}
	for r := range NumReasons {
		if s := r.String(); s == "unknown" || seen[s] {
			t.Errorf("reason %d has the label %q", r, s)
		} else {
			seen[s] = true
		}
	}
}

// RFC 4291 §2.7.1.
func TestGroups(t *testing.T) {
	if g := SolicitedNode(netip.MustParseAddr("4037::01:800:200e:8c6c")); g.String() != "ff02::1:ff0e:8c6c" {
		t.Errorf("solicited-node group %v", g)
	}
	if AllNodes().String() != "ff02::1" || AllRouters().String() != "ff02::2" {
		t.Error(AllNodes(), AllRouters())
	}
}

// What was parsed is appended and parsed again without a change.
func fixedPoint(t *testing.T, m Message) {
	t.Helper()
	if ra, ok := m.(RouterAdvertisement); ok {
		ra.Malformed = 0
		m = ra
	}
	b := m.Append(nil)
	again, err := parseBare(b)
	if err != nil || !reflect.DeepEqual(again, m) {
		t.Fatalf("%+v became %+v, %v", m, again, err)
	}
}

func fuzz[M Message](f *testing.F, parse func([]byte) (M, error), seeds ...string) {
	for _, s := range seeds {
		f.Add(octets(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parse(b); err == nil {
			fixedPoint(t, m)
		}
	})
}

func FuzzRouterAdvertisement(f *testing.F) {
	fuzz(f, ParseRouterAdvertisement, plainRA, fullRA, plainRA+"01 00 020000000011", plainRA+"03 01 000000000000", plainRA+"fe 01 000000000000")
}
func FuzzRouterSolicitation(f *testing.F) { fuzz(f, ParseRouterSolicitation, hexRS, hexRS[:19]) }
func FuzzNeighborSolicitation(f *testing.F) {
	fuzz(f, ParseNeighborSolicitation, hexNS, hexDAD)
}
func FuzzNeighborAdvertisement(f *testing.F) { fuzz(f, ParseNeighborAdvertisement, hexNA) }

// Parse with the right checksum, so that the checks behind it are reached.
func FuzzParse(f *testing.F) {
	for _, s := range []string{fullRA, hexRS, hexNS, hexDAD, hexNA} {
		f.Add(router1.AsSlice(), target.AsSlice(), uint8(255), octets(f, s))
	}
	f.Fuzz(func(t *testing.T, from, to []byte, hopLimit uint8, b []byte) {
		source, ok1 := netip.AddrFromSlice(from)
		destination, ok2 := netip.AddrFromSlice(to)
		if !ok1 || !ok2 || len(b) < 4 {
			return
		}
		Seal(source, destination, b)
		if m, err := Parse(Header{Source: source, Destination: destination, HopLimit: hopLimit}, b); err == nil {
			fixedPoint(t, m)
		}
	})
}
