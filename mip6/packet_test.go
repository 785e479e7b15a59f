package mip6

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
)

// packetVectors join an IPv6 header to the messages of RFC 4285 and RFC 6275
// with what Mobile IPv6 puts between.
var packetVectors = []struct {
	name   string
	packet Packet
	mhAt   int
	wire   string
}{
	{
		"RFC 6275 §6.3 binding update with Home Address option",
		Packet{
			Source: careOf, Destination: homeAgent, HomeAddress: mobile, HopLimit: 64,
			Message: BindingUpdate{
				Sequence: 0x0102, Flags: UpdateAcknowledge | UpdateHome, Lifetime: 150,
				Options: []Option{
					AlternateCareOf{Addr: careOf},
					ReplayProtection{Timestamp: 0xe5b1c3d280000000},
					Authentication{Subtype: AuthenticationMNHA, SPI: 1024, Data: []byte{
						0x75, 0xcf, 0x67, 0xd7, 0xc9, 0x43, 0x4e, 0xcc, 0xf2, 0xb4, 0x98, 0x63,
					}},
				},
			},
		},
		64,
		`60000000 0058 3c 40 20010db8000200000000000000000020 20010db8000100000000000000000001
		 87 02 01020000 c910 20010db8000100000000000000000010
		 3b070500 a5c1 0102 c000 0096
		 0100 0310 20010db8000200000000000000000020
		 0100 0a08 e5b1c3d280000000
		 00 0911 01 00000400 75cf67d7c9434eccf2b49863`,
	},
	{
		"RFC 6275 §6.4 binding acknowledgement with type 2 routing header",
		Packet{
			Source: homeAgent, Destination: careOf, RouteHome: mobile, HopLimit: 64,
			Message: BindingAcknowledgement{
				Flags: AckMobileRouter, Sequence: 0x0102, Lifetime: 75,
				Options: []Option{
					RefreshAdvice{Interval: 25},
					ReplayProtection{Timestamp: 0xe5b1c3d280000000},
					Authentication{Subtype: AuthenticationMNHA, SPI: 1024, Data: []byte{
						0x52, 0xc4, 0x80, 0x99, 0x66, 0xf5, 0x67, 0x3b, 0x17, 0x64, 0x39, 0x09,
					}},
				},
			},
		},
		64,
		`60000000 0048 2b 40 20010db8000100000000000000000001 20010db8000200000000000000000020
		 87 02 02 01 00000000 20010db8000100000000000000000010
		 3b050600 2383 0040 0102 004b 0202 0019
		 0100 0a08 e5b1c3d280000000
		 00 0911 01 00000400 52c4809966f5673b17643909`,
	},
	{
		"RFC 6275 §6.3 both, the option after the routing header",
		Packet{
			Source: careOf, Destination: homeAgent, HomeAddress: mobile, RouteHome: correspondent, HopLimit: 64,
			Message: BindingUpdate{Sequence: 0x1234, Flags: UpdateAcknowledge | UpdateHome, Lifetime: 10},
		},
		88,
		`60000000 0040 2b 40 20010db8000200000000000000000020 20010db8000100000000000000000001
		 3c 02 02 01 00000000 20010db8000300000000000000000030
		 87 02 01020000 c910 20010db8000100000000000000000010
		 3b010500 9070 1234 c000 000a 01020000`,
	},
	{
		"neither",
		Packet{Source: homeAgent, Destination: mobile, HopLimit: 64, Message: BindingRefreshRequest{}},
		40,
		`60000000 0008 87 40 20010db8000100000000000000000001 20010db8000100000000000000000010
		 3b000000 68eb 0000`,
	},
}

func TestPacketVectors(t *testing.T) {
	for _, v := range packetVectors {
		t.Run(v.name, func(t *testing.T) {
			wire := octets(t, v.wire)
			got, err := v.packet.Append([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			if want := "before" + string(wire); string(got) != want {
				t.Errorf("encoded\n%x, want\n%x", got[6:], wire)
			}
			want := v.packet
			want.MH = wire[v.mhAt:]
			captured := append(append([]byte(nil), wire...), 0, 0) // as padded by Ethernet
			p, err := ParsePacket(captured)
			if err != nil {
				t.Fatal(err)
			}
			clear(captured) // nothing decoded may look at the buffer
			if !reflect.DeepEqual(p, want) {
				t.Errorf("decoded\n%#v, want\n%#v", p, want)
			}
		})
	}
}

func TestPacketDefaultHopLimit(t *testing.T) {
	p := packetVectors[3].packet
	p.HopLimit = 0
	b, err := p.Append(nil)
	if err != nil || b[7] != 64 {
		t.Errorf("hop limit %d, %v", b[7], err)
	}
}

func TestLogicalAddresses(t *testing.T) { // RFC 6275 §6.3, §6.4
	p := Packet{Source: careOf, Destination: homeAgent}
	if p.From() != careOf || p.To() != homeAgent {
		t.Errorf("from %v to %v", p.From(), p.To())
	}
	p.HomeAddress, p.RouteHome = mobile, correspondent
	if p.From() != mobile || p.To() != correspondent {
		t.Errorf("from %v to %v", p.From(), p.To())
	}
}

// extension is an extension header: its protocol, and its octets, of which the
// first is replaced by the protocol of what follows.
type extension struct {
	protocol byte
	octets   string
}

const (
	homeOption  = "00 02 01020000 c910 20010db8000100000000000000000010"
	routeHeader = "00 02 02 01 00000000 20010db8000300000000000000000030"
)

// join builds an IPv6 packet from care-of address to home agent.
func join(t *testing.T, protocol byte, payload []byte, extensions ...extension) []byte {
	t.Helper()
	next := protocol
	body := payload
	for i := len(extensions) - 1; i >= 0; i-- {
		h := octets(t, extensions[i].octets)
		h[0] = next
		next = extensions[i].protocol
		body = append(h, body...)
	}
	b := []byte{0x60, 0, 0, 0, byte(len(body) >> 8), byte(len(body)), next, 64}
	b = append16(append16(b, careOf), homeAgent)
	return append(b, body...)
}

func TestParsePacketExtensionHeaders(t *testing.T) {
	mh := func(src, dst netip.Addr) []byte {
		b, err := AppendMessage(nil, src, dst, vectorUpdate())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	plain := mh(careOf, homeAgent)
	home := extension{60, homeOption}
	route := extension{43, routeHeader}
	for _, c := range []struct {
		name       string
		payload    []byte
		home, to   netip.Addr
		extensions []extension
	}{
		{"hop-by-hop options", plain, netip.Addr{}, homeAgent, []extension{{0, "00 00 05020000 0100"}}},
		{"an option to skip", plain, netip.Addr{}, homeAgent, []extension{{60, "00 00 1e01ff 00 0100"}}},
		{"option among others", mh(mobile, homeAgent), mobile, homeAgent,
			[]extension{{60, "00 03 0104000000001e 02 0000 0100 c910 20010db8000100000000000000000010"}}},
		{"atomic fragment", plain, netip.Addr{}, homeAgent, []extension{{44, "00 00 0000 12345678"}}},
		{"used-up routing header of another type", plain, netip.Addr{}, homeAgent, []extension{{43, "00 00 00 00 00000000"}}},
		{"RFC 6275 §6.3 order", mh(mobile, correspondent), mobile, correspondent, []extension{route, home}},
		{"option before the routing header", mh(mobile, correspondent), mobile, correspondent, []extension{home, route}},
		{"two destination options headers, one with it", mh(mobile, homeAgent), mobile, homeAgent,
			[]extension{{60, "00 00 010400000000"}, home}},
		{"everything", mh(mobile, correspondent), mobile, correspondent,
			[]extension{{0, "00 00 05020000 0100"}, {60, "00 00 010400000000"}, route, home, {44, "00 00 0000 12345678"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ParsePacket(join(t, ProtocolMobility, c.payload, c.extensions...))
			if err != nil {
				t.Fatal(err)
			}
			if p.HomeAddress != c.home || p.To() != c.to || !reflect.DeepEqual(p.Message, vectorUpdate()) {
				t.Errorf("decoded %#v", p)
			}
		})
	}
}

// RFC 6275 §6.3, §6.4 and RFC 8200 §4: packets that must not be read.
//
// Covers: A7, Attack: malformed options.
func TestParsePacketRejects(t *testing.T) {
	mh, err := AppendMessage(nil, careOf, homeAgent, vectorUpdate())
	if err != nil {
		t.Fatal(err)
	}
	home := extension{60, homeOption}
	route := extension{43, routeHeader}
	manyDestinations := join(t, ProtocolMobility, mh, extension{60, "00 00 fe 04 00000000"})
	manyDestinations[24] = 0xff
	fewDestinations := join(t, ProtocolMobility, mh, extension{60, "00 00 be 04 00000000"})
	fewDestinations[24] = 0xff
	whole := join(t, ProtocolMobility, mh)
	ipv4 := append([]byte{0x45}, whole[1:]...)
	badSum := append([]byte(nil), whole...)
	badSum[44] ^= 1
	for _, c := range []struct {
		name   string
		packet []byte
		offset int
		reason ParseReason
		code   int
		text   string
	}{
		{"empty", nil, 0, ReasonTruncated, -1, "IPv6 header needs 40 octets"},
		{"half a header", whole[:39], 0, ReasonTruncated, -1, "39 are there"},
		{"IPv4", ipv4, 0, ReasonVersion, -1, "IP version 4"},
		{"cut short", whole[:len(whole)-1], 4, ReasonTruncated, -1, "IPv6 packet needs 56 octets, 55 are there"},
		{"payload cut short", join(t, ProtocolMobility, mh[:8]), 41, ReasonTruncated, -1, "Mobility Header needs 16 octets"},
		{"no payload", join(t, ProtocolMobility, nil), 40, ReasonTruncated, -1, "Mobility Header needs 8 octets"},
		{"checksum", badSum, 44, ReasonChecksum, -1, "checksum"},
		{"extension header cut short", join(t, ProtocolDestination, []byte{135, 1, 1, 4, 0, 0, 0, 0}), 40, ReasonTruncated, -1, "extension header needs 16 octets"},
		{"extension header of 4 octets", join(t, ProtocolDestination, []byte{135, 0, 1, 0}), 40, ReasonTruncated, -1, "extension header needs 8 octets"},
		{"RFC 8200 §4.1 hop-by-hop not first", join(t, ProtocolMobility, mh, home, extension{0, "00 00 010400000000"}), 64, ReasonExtensionHeader, -1, "hop-by-hop"},
		{"fragment", join(t, ProtocolMobility, mh, extension{44, "00 00 0001 12345678"}), 40, ReasonFragment, -1, "fragment"},
		{"last fragment", join(t, ProtocolMobility, mh, extension{44, "00 00 0010 12345678"}), 40, ReasonFragment, -1, "fragment"},
		{"RFC 6275 §6.3 two Home Address options", join(t, ProtocolMobility, mh, home, home), 70, ReasonHomeAddress, -1, "second Home Address option"},
		{"RFC 6275 §6.3 two in one header", join(t, ProtocolMobility, mh, extension{60, "00 05 01020000 c910 20010db8000100000000000000000010 0104 00000000 c910 20010db8000100000000000000000010"}), 70, ReasonHomeAddress, -1, "second Home Address option"},
		{"Home Address option of length 4", join(t, ProtocolMobility, mh, extension{60, "00 00 c904 20010db8"}), 43, ReasonHomeAddress, -1, "not of length 16"},
		{"option beyond its header", join(t, ProtocolMobility, mh, extension{60, "00 00 1e05 00000000"}), 42, ReasonTruncated, -1, "destination option needs 7 octets, 6 are there"},
		{"option without length", join(t, ProtocolMobility, mh, extension{60, "00 00 0103000000 1e"}), 47, ReasonTruncated, -1, "destination option needs 2 octets"},
		{"RFC 8200 §4.2 option 01: discard", join(t, ProtocolMobility, mh, extension{60, "00 00 5e04 00000000"}), 42, ReasonDestinationOption, -1, "unknown option"},
		{"RFC 8200 §4.2 option 10: tell", join(t, ProtocolMobility, mh, extension{60, "00 00 9e04 00000000"}), 42, ReasonDestinationOption, 2, "unknown option"},
		{"RFC 8200 §4.2 option 10 to many: tell", fewDestinations, 42, ReasonDestinationOption, 2, "unknown option"},
		{"RFC 8200 §4.2 option 11: tell", join(t, ProtocolMobility, mh, extension{60, "00 00 de04 00000000"}), 42, ReasonDestinationOption, 2, "unknown option"},
		{"RFC 8200 §4.2 option 11 to many: do not", manyDestinations, 42, ReasonDestinationOption, -1, "unknown option"},
		{"Home Address among hop-by-hop options", join(t, ProtocolMobility, mh, extension{0, homeOption}), 46, ReasonDestinationOption, 2, "unknown option"},
		{"RFC 6275 §6.4.1 segments left 0", join(t, ProtocolMobility, mh, extension{43, "00 02 02 00 00000000 20010db8000300000000000000000030"}), 43, ReasonRoutingHeader, -1, "segment"},
		{"RFC 6275 §6.4.1 segments left 2", join(t, ProtocolMobility, mh, extension{43, "00 02 02 02 00000000 20010db8000300000000000000000030"}), 43, ReasonRoutingHeader, -1, "segment"},
		{"RFC 6275 §6.4.1 length 0", join(t, ProtocolMobility, mh, extension{43, "00 00 02 01 00000000"}), 41, ReasonRoutingHeader, -1, "not of length 2"},
		{"RFC 6275 §6.4.1 length 4", join(t, ProtocolMobility, mh, extension{43, "00 04 02 01 00000000 20010db8000300000000000000000030 20010db8000300000000000000000030"}), 41, ReasonRoutingHeader, -1, "not of length 2"},
		{"two type 2 routing headers", join(t, ProtocolMobility, mh, route, route), 64, ReasonRoutingHeader, -1, "second type 2"},
		{"RFC 8200 §4.4 unknown routing header", join(t, ProtocolMobility, mh, extension{43, "00 02 00 01 00000000 20010db8000300000000000000000030"}), 42, ReasonRoutingHeader, 0, "unknown type"},
		{"RFC 6275 §9.2 pointer counts from the IPv6 header", join(t, ProtocolMobility, summed([]byte{17, 1, 5, 0, 0, 0, 0, 1, 0xc0, 0, 0, 10, 1, 2, 0, 0}, mobile, homeAgent), home), 64, ReasonPayloadProto, 0, "payload proto"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ParsePacket(c.packet)
			wantParseError(t, p, err, c.offset, c.reason, c.code, c.text)
		})
	}
}

func TestParsePacketNotMobility(t *testing.T) {
	for name, b := range map[string][]byte{
		"TCP":                             join(t, 6, make([]byte, 20)),
		"ESP":                             join(t, 50, make([]byte, 20)),
		"no next header":                  join(t, 59, nil),
		"UDP behind an option to discard": join(t, 17, make([]byte, 8), extension{60, "00 00 5e04 00000000"}),
		"TCP cut short":                   join(t, 6, make([]byte, 20))[:50],
		"fragment of UDP":                 join(t, 17, make([]byte, 8), extension{44, "00 00 0010 12345678"}),
	} {
		if p, err := ParsePacket(b); !errors.Is(err, ErrNotMobility) {
			t.Errorf("%s: decoded %#v, %v", name, p, err)
		}
	}
}

func TestPacketAppendRejects(t *testing.T) {
	four := netip.MustParseAddr("192.0.2.1")
	good := packetVectors[2].packet
	for name, change := range map[string]func(*Packet){
		"source":      func(p *Packet) { p.Source = four },
		"destination": func(p *Packet) { p.Destination = netip.Addr{} },
		"home":        func(p *Packet) { p.HomeAddress = four },
		"route":       func(p *Packet) { p.RouteHome = four },
	} {
		p := good
		change(&p)
		b, err := p.Append([]byte("before"))
		if !errors.Is(err, ErrNotIPv6) || string(b) != "before" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	p := good
	p.Message = nil
	if b, err := p.Append([]byte("before")); err == nil || string(b) != "before" {
		t.Errorf("no message: %q, %v", b, err)
	}
}
