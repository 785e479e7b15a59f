package mip6

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

var homeAgentsAnycast = netip.MustParseAddr("2001:db8:1:0:fdff:ffff:ffff:fffe")

var icmpVectors = []struct {
	name     string
	src, dst netip.Addr
	message  ICMPMessage
	wire     string
}{
	{
		"RFC 6275 §6.5 and RFC 3963 §7.1 discovery request", careOf, homeAgentsAnycast,
		HomeAgentRequest{Identifier: 0x1234, MobileRouter: true},
		"9000 83f4 1234 8000",
	},
	{
		"RFC 6275 §6.6 and RFC 3963 §7.2 discovery reply", homeAgent, careOf,
		HomeAgentReply{
			Identifier: 0x1234, MobileRouter: true,
			HomeAgents: []netip.Addr{homeAgent, netip.MustParseAddr("2001:db8:1::2")},
		},
		"9100 255b 1234 8000 20010db8000100000000000000000001 20010db8000100000000000000000002",
	},
	{
		"RFC 6275 §6.7 mobile prefix solicitation", mobile, homeAgent,
		PrefixSolicitation{Identifier: 0xbeef},
		"9200 5348 beef 0000",
	},
	{
		"RFC 6275 §6.8 mobile prefix advertisement", homeAgent, mobile,
		PrefixAdvertisement{
			Identifier: 0xbeef, Managed: true, OtherConfig: true,
			Prefixes: []PrefixInformation{{
				Prefix: netip.MustParsePrefix("2001:db8:1::1/64"),
				OnLink: true, Autonomous: true, RouterAddress: true,
				ValidLifetime: 86400 * time.Second, PreferredLifetime: 14400 * time.Second,
			}},
		},
		"9300 96c6 beef c000 0304 40e0 00015180 00003840 00000000 20010db8000100000000000000000001",
	},
}

func TestICMPVectors(t *testing.T) {
	for _, v := range icmpVectors {
		t.Run(v.name, func(t *testing.T) {
			wire := octets(t, v.wire)
			got, err := AppendICMP([]byte("before"), v.src, v.dst, v.message)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != "before"+string(wire) {
				t.Errorf("encoded\n%x, want\n%x", got[6:], wire)
			}
			if !ICMPChecksumOK(v.src, v.dst, wire) || ICMPChecksumOK(v.dst, correspondent, wire) || ICMPChecksumOK(v.src, v.dst, wire[:3]) {
				t.Error("ICMPChecksumOK is wrong")
			}
			m, err := ParseICMP(v.src, v.dst, wire)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(m, v.message) {
				t.Errorf("decoded\n%#v, want\n%#v", m, v.message)
			}
		})
	}
}

func TestICMPPacketVectors(t *testing.T) {
	for _, v := range []struct {
		name   string
		packet ICMPPacket
		wire   string
	}{
		{
			"RFC 6275 §6.7 solicitation with Home Address option",
			ICMPPacket{Source: careOf, Destination: homeAgent, HomeAddress: mobile, HopLimit: 64, Message: icmpVectors[2].message},
			`60000000 0020 3c 40 20010db8000200000000000000000020 20010db8000100000000000000000001
			 3a 02 01020000 c910 20010db8000100000000000000000010
			 9200 5348 beef 0000`,
		},
		{
			"RFC 6275 §6.8 advertisement with type 2 routing header",
			ICMPPacket{Source: homeAgent, Destination: careOf, RouteHome: mobile, HopLimit: 64, Message: icmpVectors[3].message},
			`60000000 0040 2b 40 20010db8000100000000000000000001 20010db8000200000000000000000020
			 3a 02 02 01 00000000 20010db8000100000000000000000010
			 9300 96c6 beef c000 0304 40e0 00015180 00003840 00000000 20010db8000100000000000000000001`,
		},
	} {
		t.Run(v.name, func(t *testing.T) {
			wire := octets(t, v.wire)
			got, err := v.packet.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(wire) {
				t.Errorf("encoded\n%x, want\n%x", got, wire)
			}
			p, err := ParseICMPPacket(wire)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(p, v.packet) {
				t.Errorf("decoded\n%#v, want\n%#v", p, v.packet)
			}
			wire[len(wire)-1] ^= 1
			p, err = ParseICMPPacket(wire)
			wantParseError(t, p, err, 66, ReasonChecksum, -1, "checksum")
		})
	}
}

// RFC 6275 §6.7, §6.8: options that are not known are ignored.
func TestICMPUnknownOptions(t *testing.T) {
	for wire, want := range map[string]ICMPMessage{
		"9200 0000 beef 0000 fe01 000000000000":                   PrefixSolicitation{Identifier: 0xbeef},
		"9300 0000 beef 3fff fe01 000000000000 0101 000000000000": PrefixAdvertisement{Identifier: 0xbeef},
	} {
		b := summedICMP(octets(t, wire))
		if m, err := ParseICMP(mobile, homeAgent, b); err != nil || !reflect.DeepEqual(m, want) {
			t.Errorf("%s: decoded %#v, %v", wire, m, err)
		}
	}
}

// summedICMP fills in the checksum of a message from mobile to home agent.
func summedICMP(b []byte) []byte {
	if len(b) >= icmpHeaderLen {
		sum := checksum(mobile, homeAgent, ProtocolICMPv6, b, icmpChecksumOffset)
		b[2], b[3] = byte(sum>>8), byte(sum)
	}
	return b
}

func TestParseICMPRejects(t *testing.T) {
	for _, c := range []struct {
		name   string
		wire   string
		offset int
		reason ParseReason
		text   string
	}{
		{"empty", "", 0, ReasonTruncated, "ICMPv6 message needs 8 octets"},
		{"cut short", "9000 0000 1234 00", 0, ReasonTruncated, "home agent address discovery request needs 8 octets, 7"},
		{"code", "9001 0000 1234 0000", 1, ReasonCode, "has code 1"},
		{"half an address", "9100 0000 1234 0000 20010db8000100000000000000000001 2001", 24, ReasonTruncated, "home agent address needs 16 octets, 2"},
		{"RFC 4861 §6.1.2 option of length zero", "9300 0000 1234 0000 0300 000000000000", 9, ReasonOptionLength, "has length 0"},
		{"option beyond the end", "9300 0000 1234 0000 0304 000000000000", 8, ReasonTruncated, "needs 32 octets, 8"},
		{"part of an option", "9200 0000 1234 0000 0304 0000", 8, ReasonTruncated, "needs 8 octets, 4"},
		{"prefix of length 1", "9300 0000 1234 0000 0301 000000000000", 10, ReasonOptionLength, "Prefix Information option has length 6, want 30"},
		{"prefix longer than 128", "9300 0000 1234 0000 0304 81e0 00015180 00003840 00000000 20010db8000100000000000000000001", 10, ReasonOptionValue, "prefix length has value 129"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := ParseICMP(mobile, homeAgent, summedICMP(octets(t, c.wire)))
			wantParseError(t, m, err, c.offset, c.reason, -1, c.text)
		})
	}
	if m, err := ParseICMP(mobile, homeAgent, octets(t, "8000 0000 0000 0000")); !errors.Is(err, ErrNotMobility) {
		t.Errorf("echo request: %#v, %v", m, err)
	}
}

func TestAppendICMPRejects(t *testing.T) {
	four := netip.MustParseAddr("192.0.2.1")
	for name, m := range map[string]ICMPMessage{
		"no message":      nil,
		"IPv4 home agent": HomeAgentReply{HomeAgents: []netip.Addr{four}},
		"no prefix":       PrefixAdvertisement{Prefixes: []PrefixInformation{{}}},
	} {
		if b, err := AppendICMP([]byte("before"), mobile, homeAgent, m); err == nil || string(b) != "before" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	many := HomeAgentReply{HomeAgents: make([]netip.Addr, 4096)}
	for i := range many.HomeAgents {
		many.HomeAgents[i] = homeAgent
	}
	p := ICMPPacket{Source: homeAgent, Destination: careOf, Message: many}
	if b, err := p.Append([]byte("before")); !errors.Is(err, ErrTooLong) || string(b) != "before" {
		t.Errorf("65,544 octets: %d octets, %v", len(b), err)
	}
}

// RFC 2526 §2, §4: the anycast identifier 126 below bits that are one; in an
// interface identifier of 64 bits the universal/local bit is zero.
// Covers: H12.
func TestHomeAgentsAnycast(t *testing.T) {
	for prefix, want := range map[string]string{
		"2001:db8:1:2::/64":      "2001:db8:1:2:fdff:ffff:ffff:fffe",
		"2001:db8:1:2::1/64":     "2001:db8:1:2:fdff:ffff:ffff:fffe",
		"2001:db8:1::/48":        "2001:db8:1:ffff:ffff:ffff:ffff:fffe",
		"2001:db8:1:2:3::/80":    "2001:db8:1:2:3:ffff:ffff:fffe",
		"2001:db8:1:2:3::/120":   "2001:db8:1:2:3::fe",
		"2001:db8:1:2:3::80/121": "2001:db8:1:2:3::fe",
		"2001:db8:1:2:3::/121":   "2001:db8:1:2:3::7e",
	} {
		if got := HomeAgentsAnycast(netip.MustParsePrefix(prefix)); got.String() != want {
			t.Errorf("%s: %v, want %s", prefix, got, want)
		}
	}
	for _, prefix := range []netip.Prefix{{}, netip.MustParsePrefix("2001:db8::/122"), netip.MustParsePrefix("10.0.0.0/8")} {
		if got := HomeAgentsAnycast(prefix); got.IsValid() {
			t.Errorf("%v: %v", prefix, got)
		}
	}
}
