package mip6

import (
	"net/netip"
	"testing"
	"time"
)

func TestPrefixInformation(t *testing.T) {
	for _, c := range []struct {
		name   string
		option PrefixInformation
		wire   string
	}{
		{
			"RFC 6275 §7.2 with R the whole address",
			PrefixInformation{
				Prefix: netip.MustParsePrefix("2001:db8:1::1/64"), OnLink: true, Autonomous: true, RouterAddress: true,
				ValidLifetime: 86400 * time.Second, PreferredLifetime: 14400 * time.Second,
			},
			"0304 40e0 00015180 00003840 00000000 20010db8000100000000000000000001",
		},
		{
			"RFC 4861 §4.6.2 infinite",
			PrefixInformation{
				Prefix: netip.MustParsePrefix("2001:db8:1::/48"), OnLink: true,
				ValidLifetime: InfiniteLifetime, PreferredLifetime: InfiniteLifetime,
			},
			"0304 3080 ffffffff ffffffff 00000000 20010db8000100000000000000000000",
		},
		{
			"RFC 9762 §4 with P",
			PrefixInformation{
				Prefix: netip.MustParsePrefix("2001:db8:1::/64"), OnLink: true, PreferDelegation: true,
				ValidLifetime: 86400 * time.Second, PreferredLifetime: 14400 * time.Second,
			},
			"0304 4090 00015180 00003840 00000000 20010db8000100000000000000000000",
		},
		{
			"all flags",
			PrefixInformation{
				Prefix: netip.MustParsePrefix("2001:db8:1::1/64"), OnLink: true, Autonomous: true, RouterAddress: true, PreferDelegation: true,
			},
			"0304 40f0 00000000 00000000 00000000 20010db8000100000000000000000001",
		},
		{
			"the whole space",
			PrefixInformation{Prefix: netip.MustParsePrefix("::/0"), Autonomous: true},
			"0304 0040 00000000 00000000 00000000 00000000000000000000000000000000",
		},
	} {
		wire := octets(t, c.wire)
		if got := c.option.Append([]byte("before")); string(got) != "before"+string(wire) {
			t.Errorf("%s: encoded\n%x, want\n%x", c.name, got[6:], wire)
		}
		if got, err := ParsePrefixInformation(wire[2:]); err != nil || got != c.option {
			t.Errorf("%s: decoded\n%v, want\n%v (%v)", c.name, got, c.option, err)
		}
	}
}

// RFC 4861 §4.6.2: without the R bit, the bits behind the prefix are zero when
// sent and ignored when received; so are the reserved bits.
func TestPrefixInformationHostBits(t *testing.T) {
	want := PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), OnLink: true}
	noisy := octets(t, "408f 00000000 00000000 ffffffff 20010db8000100000000000000000001")
	if got, err := ParsePrefixInformation(noisy); err != nil || got != want {
		t.Errorf("decoded %v, %v", got, err)
	}
	host := PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8:1::1/64"), OnLink: true}
	if got := host.Append(nil); string(got) != string(want.Append(nil)) {
		t.Errorf("encoded %x", got)
	}
	none := PrefixInformation{}.Append(nil)
	if got, err := ParsePrefixInformation(none[2:]); err != nil || got.Prefix != netip.MustParsePrefix("::/0") {
		t.Errorf("no prefix decoded as %v, %v", got, err)
	}
}

func TestAdvertisementInterval(t *testing.T) { // RFC 6275 §7.3
	for interval, wire := range map[time.Duration]string{
		70 * time.Millisecond:      "0701 0000 00000046",
		600 * time.Second:          "0701 0000 000927c0",
		0xffffffff * 1_000_000:     "0701 0000 ffffffff",
		0xffffffff * 1_000_000_000: "", // limited
		-time.Second:               "", // limited
	} {
		b := AdvertisementInterval{interval}.Append(nil)
		got, err := ParseAdvertisementInterval(b[2:])
		if err != nil {
			t.Fatal(err)
		}
		if wire == "" {
			if want := min(max(interval, 0), 0xffffffff*time.Millisecond); got.Interval != want {
				t.Errorf("%v decoded as %v, want %v", interval, got.Interval, want)
			}
			continue
		}
		if string(b) != string(octets(t, wire)) || got.Interval != interval {
			t.Errorf("%v encoded as %x, decoded as %v", interval, b, got.Interval)
		}
	}
	if got, err := ParseAdvertisementInterval(octets(t, "ffff 00000046")); err != nil || got.Interval != 70*time.Millisecond {
		t.Errorf("reserved bits: %v, %v", got, err)
	}
}

func TestHomeAgentInformation(t *testing.T) { // RFC 6275 §7.4, RFC 3963 §7.3
	for _, c := range []struct {
		option HomeAgentInformation
		wire   string
	}{
		{HomeAgentInformation{Preference: 10, Lifetime: 1800 * time.Second}, "0801 0000 000a 0708"},
		{HomeAgentInformation{Preference: -1, Lifetime: 65535 * time.Second, MobileRouter: true}, "0801 8000 ffff ffff"},
	} {
		wire := octets(t, c.wire)
		if got := c.option.Append(nil); string(got) != string(wire) {
			t.Errorf("encoded %x, want %x", got, wire)
		}
		if got, err := ParseHomeAgentInformation(wire[2:]); err != nil || got != c.option {
			t.Errorf("decoded %v, want %v (%v)", got, c.option, err)
		}
	}
	if got, err := ParseHomeAgentInformation(octets(t, "7fff 0000 0001")); err != nil || got != (HomeAgentInformation{Lifetime: time.Second}) {
		t.Errorf("reserved bits: %v, %v", got, err)
	}
}

func TestNDOptionLengths(t *testing.T) {
	for n := range 40 {
		data := make([]byte, n)
		if _, err := ParsePrefixInformation(data); (err == nil) != (n == 30) {
			t.Errorf("prefix information of %d octets: %v", n, err)
		}
		if _, err := ParseAdvertisementInterval(data); (err == nil) != (n == 6) {
			t.Errorf("advertisement interval of %d octets: %v", n, err)
		}
		if _, err := ParseHomeAgentInformation(data); (err == nil) != (n == 6) {
			t.Errorf("home agent information of %d octets: %v", n, err)
		}
	}
	data := make([]byte, 30)
	data[0] = 129
	p, err := ParsePrefixInformation(data)
	wantParseError(t, p, err, 0, ReasonOptionValue, -1, "prefix length has value 129")
}

// RFC 5380 §5: type 23, length 3, distance of at least one; a lifetime of zero is the
// failure of the anchor and as good as any other value.
//
// Covers: P1
func TestMobilityAnchorPoint(t *testing.T) {
	anchor := netip.MustParseAddr("2001:db8:a::1")
	for name, c := range map[string]struct {
		option MobilityAnchorPoint
		wire   string
	}{
		"on the link": {MobilityAnchorPoint{Address: anchor, Distance: 1, Preference: 10, ValidLifetime: time.Hour},
			"1703 1a00 00000e10 20010db8000a00000000000000000001"},
		"the furthest, preferred, with flag R, for ever": {MobilityAnchorPoint{Address: anchor, Distance: 15, Preference: 15, Allocated: true, ValidLifetime: InfiniteLifetime},
			"1703 ff80 ffffffff 20010db8000a00000000000000000001"},
		"not for new bindings": {MobilityAnchorPoint{Address: anchor, Distance: 2, ValidLifetime: time.Second},
			"1703 2000 00000001 20010db8000a00000000000000000001"},
		"failed": {MobilityAnchorPoint{Address: anchor, Distance: 3, Preference: 1},
			"1703 3100 00000000 20010db8000a00000000000000000001"},
	} {
		wire := octets(t, c.wire)
		if got := c.option.Append([]byte("before")); string(got) != "before"+string(wire) {
			t.Errorf("%s: encoded\n%x, want\n%x", name, got[6:], wire)
		}
		if got, err := ParseMobilityAnchorPoint(wire[2:]); err != nil || got != c.option {
			t.Errorf("%s: decoded\n%v, want\n%v (%v)", name, got, c.option, err)
		}
	}
	if got, err := ParseMobilityAnchorPoint(octets(t, "1a7f 00000e10 20010db8000a00000000000000000001")); err != nil || got.Allocated || got.Distance != 1 {
		t.Errorf("reserved bits: %v, %v", got, err)
	}
	for name, c := range map[string]struct {
		sent MobilityAnchorPoint
		want MobilityAnchorPoint
	}{
		"beyond the fields": {MobilityAnchorPoint{Address: anchor, Distance: 16, Preference: 200, ValidLifetime: 1 << 62},
			MobilityAnchorPoint{Address: anchor, Distance: 15, Preference: 15, ValidLifetime: InfiniteLifetime}},
		"below them": {MobilityAnchorPoint{Address: anchor, ValidLifetime: -time.Second}, MobilityAnchorPoint{Address: anchor, Distance: 1}},
	} {
		if got, err := ParseMobilityAnchorPoint(c.sent.Append(nil)[2:]); err != nil || got != c.want {
			t.Errorf("%s: sent %v, want %v (%v)", name, got, c.want, err)
		}
	}
}

// Covers: P1
func TestMobilityAnchorPointRefused(t *testing.T) {
	for n := range 40 {
		data := append([]byte{0x11}, make([]byte, 39)...)
		copy(data[6:], octets(t, "20010db8000a00000000000000000001"))
		if _, err := ParseMobilityAnchorPoint(data[:n]); (err == nil) != (n == 22) {
			t.Errorf("MAP option of %d octets: %v", n, err)
		}
	}
	for address, offset := range map[string]int{
		"fe800000000000000000000000000001": 6, "ff020000000000000000000000000001": 6, "00000000000000000000000000000000": 6,
		"00000000000000000000000000000001": 6, "00000000000000000000ffffc0000201": 6,
	} {
		m, err := ParseMobilityAnchorPoint(octets(t, "1100 00000e10"+address))
		wantParseError(t, m, err, offset, ReasonOptionValue, -1, "MAP option address")
	}
	m, err := ParseMobilityAnchorPoint(octets(t, "0f00 00000e10 20010db8000a00000000000000000001"))
	wantParseError(t, m, err, 0, ReasonOptionValue, -1, "MAP option distance has value 0")
}

// Covers: P1
func FuzzMobilityAnchorPoint(f *testing.F) {
	f.Add(octets(f, "1a00 00000e10 20010db8000a00000000000000000001"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMobilityAnchorPoint(data)
		if err != nil {
			return
		}
		if m.Distance == 0 || !Routable(m.Address) {
			t.Fatalf("accepted %+v", m)
		}
		if again, err := ParseMobilityAnchorPoint(m.Append(nil)[2:]); err != nil || again != m {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
