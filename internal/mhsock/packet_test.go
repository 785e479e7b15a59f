package mhsock

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"
)

// Packets are built by hand here: what the wire brings is not what a codec
// would make.

var (
	homeAddress = netip.MustParseAddr("2001:db8:c910:c910::9") // bytes that look like the option's head
	mobilityMsg = []byte{59, 1, 5, 0, 0, 0, 0, 1, 0xc0, 0, 0, 10, 1, 2, 0, 0}
)

// header is an extension header without its next header field's value.
type header struct {
	protocol byte
	octets   []byte // from the length field on
}

// homeAddressOption is a destination options header with the option at offset
// 6 + 8·place of the header.
func homeAddressOption(place int) header {
	h := []byte{byte(2 + place)}
	for range place { // an option to skip (experimental, RFC 4727 §4), of 8 octets
		h = append(h, 0x1e, 6, 0, 0, 0, 0, 0, 0)
	}
	h = append(h, 1, 2, 0, 0, 0xc9, 16)
	return header{60, append(h, homeAddress.AsSlice()...)}
}

func routing(kind byte, home netip.Addr) header {
	return header{43, append([]byte{2, kind, 1, 0, 0, 0, 0}, home.AsSlice()...)}
}

// build joins an IPv6 header, extension headers and a payload.
func build(source, destination netip.Addr, payloadProtocol byte, payload []byte, headers ...header) []byte {
	var body []byte
	for i, h := range headers {
		next := payloadProtocol
		if i+1 < len(headers) {
			next = headers[i+1].protocol
		}
		body = append(append(body, next), h.octets...)
	}
	body = append(body, payload...)
	first := payloadProtocol
	if len(headers) > 0 {
		first = headers[0].protocol
	}
	p := []byte{0x60, 0, 0, 0, 0, 0, first, 64}
	binary.BigEndian.PutUint16(p[4:], uint16(len(body)))
	p = append(p, source.AsSlice()...)
	p = append(p, destination.AsSlice()...)
	return append(p, body...)
}

func TestFilter(t *testing.T) {
	vm, err := bpf.NewVM(signallingOnly(false, false, nil))
	if err != nil {
		t.Fatal(err)
	}
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	encapsulationLimit := header{60, []byte{0, 4, 1, 4, 1, 1, 0}} // RFC 2473 §4.1.1
	for _, tt := range []struct {
		name   string
		packet []byte
		accept bool
	}{
		{"mobility header", build(a, b, 135, mobilityMsg), true},
		{"home address option", build(a, b, 135, mobilityMsg, homeAddressOption(0)), true}, // RFC 6275 §6.3
		{"home address option after others", build(a, b, 135, mobilityMsg, homeAddressOption(3)), true},
		{"other destination option", build(a, b, 135, mobilityMsg, encapsulationLimit), true},
		{"type 2 routing header", build(a, b, 135, mobilityMsg, routing(2, homeAddress)), true}, // RFC 6275 §6.4
		{"both", build(a, b, 135, mobilityMsg, routing(2, homeAddress), homeAddressOption(0)), true},
		{"both in the other order", build(a, b, 135, mobilityMsg, homeAddressOption(1), routing(2, homeAddress)), true},
		{"data with home address option", build(a, b, 17, make([]byte, 64), homeAddressOption(0)), false},
		{"data with type 2 routing header", build(a, b, 17, make([]byte, 64), routing(2, homeAddress)), false},
		{"data with both", build(a, b, 17, make([]byte, 64), routing(2, homeAddress), homeAddressOption(0)), false},
		{"type 0 routing header", build(a, b, 135, mobilityMsg, routing(0, homeAddress)), false}, // RFC 5095
		{"type 4 routing header", build(a, b, 135, mobilityMsg, routing(4, homeAddress)), false},
		{"tunnel", build(a, b, 41, make([]byte, 64), encapsulationLimit), false},
		{"udp", build(a, b, 17, make([]byte, 64)), false},
		{"cut in the option header", build(a, b, 135, mobilityMsg, homeAddressOption(0))[:40], false},
		{"cut in the first of two headers", build(a, b, 135, mobilityMsg, homeAddressOption(1), routing(2, homeAddress))[:60], false},
		{"cut in the header", build(a, b, 135, mobilityMsg)[:5], false},
		{"empty", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := vm.Run(tt.packet)
			if err != nil {
				t.Fatal(err)
			}
			if got := n != 0; got != tt.accept {
				t.Errorf("accepted %v, want %v", got, tt.accept)
			}
			if tt.accept && n < len(tt.packet) {
				t.Errorf("cut to %d octets", n)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	us, peer := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	anycast := netip.MustParseAddr("2001:db8::fdff:ffff:ffff:fffe")
	local := func(a netip.Addr) bool {
		return a == us || a.IsLoopback() || a.IsMulticast() || a.IsUnspecified()
	}
	good := build(peer, us, 135, mobilityMsg)
	version4 := append([]byte{0x45}, good[1:]...)
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		name   string
		packet []byte
		want   verdict
	}{
		{"good", good, deliverable},
		{"padded frame", append(good[:len(good):len(good)], 0, 0, 0), deliverable},
		{"link-local", build(addr("fe80::1"), us, 135, mobilityMsg), deliverable},
		{"truncated", good[:len(good)-1], malformed},
		{"no header", good[:39], malformed},
		{"version 4", version4, malformed},
		{"empty", nil, malformed},
		{"forwarded", build(us, peer, 135, mobilityMsg), notLocal},
		{"source multicast", build(addr("ff02::1"), us, 135, mobilityMsg), martian}, // RFC 4291 §2.7
		{"source unspecified", build(netip.IPv6Unspecified(), us, 135, mobilityMsg), martian},
		{"source loopback", build(netip.IPv6Loopback(), us, 135, mobilityMsg), martian}, // RFC 4291 §2.5.3
		{"source mapped", build(addr("::ffff:192.0.2.1"), us, 135, mobilityMsg), martian},
		{"destination loopback", build(peer, netip.IPv6Loopback(), 135, mobilityMsg), martian},
		{"destination multicast", build(peer, addr("ff02::1"), 135, mobilityMsg), martian},
		{"ICMPv6 to an anycast address", build(peer, anycast, 58, mobilityMsg), deliverable}, // RFC 6275 §10.5
		{"mobility header to an anycast address", build(peer, anycast, 135, mobilityMsg), notLocal},
		{"destination unspecified", build(peer, netip.IPv6Unspecified(), 135, mobilityMsg), martian},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, v := check(tt.packet, local, func(a netip.Addr) bool { return a == anycast })
			if v != tt.want {
				t.Fatalf("verdict %d, want %d", v, tt.want)
			}
			if v == deliverable && len(p) != len(good) {
				t.Errorf("%d octets, want %d", len(p), len(good))
			}
		})
	}
}

func FuzzCheck(f *testing.F) {
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	f.Add(build(a, b, 135, mobilityMsg))
	f.Add(build(a, b, 135, mobilityMsg, routing(2, homeAddress), homeAddressOption(0)))
	f.Add([]byte{0x60})
	f.Fuzz(func(t *testing.T, packet []byte) {
		p, v := check(packet, func(netip.Addr) bool { return true }, func(netip.Addr) bool { return false })
		if v == deliverable && (len(p) > len(packet) || len(p) != 40+int(binary.BigEndian.Uint16(p[4:]))) {
			t.Errorf("delivered %d of %d octets", len(p), len(packet))
		}
	})
}
