package tun

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 300 {
		for _, fill := range []func() byte{func() byte { return byte(r.Uint32()) }, func() byte { return 0xff }, func() byte { return 0 }} {
			b := make([]byte, n)
			for i := range b {
				b[i] = fill()
			}
			p := ipv6(nodeBehind, correspondent, protocolTCP, b)
			got := fold(sum(p[headerLength:], pseudoSum(p[offsetSource:], n, protocolTCP)))
			want := slowChecksum(p, headerLength, protocolTCP)
			if networkOrder(got) != want {
				t.Fatalf("%d octets %x: sum %04x, want %04x", n, b, networkOrder(got), want)
			}
		}
	}
}

// RFC 6040 §4.2, figure 4.
func TestDecapsulateECN(t *testing.T) {
	const drop = 0xff
	want := map[byte][4]byte{ // by inner, then outer in the order Not-ECT, ECT(1), ECT(0), CE
		ecnNotECT: {ecnNotECT, ecnNotECT, ecnNotECT, drop},
		ecnECT0:   {ecnECT0, ecnECT1, ecnECT0, ecnCE},
		ecnECT1:   {ecnECT1, ecnECT1, ecnECT1, ecnCE},
		ecnCE:     {ecnCE, ecnCE, ecnCE, ecnCE},
	}
	for inner, row := range want {
		for outer, result := range row {
			const dscp = 0b101110 << 2
			p := udp(nodeBehind, correspondent, nil)
			class := byte(dscp | inner)
			p[0], p[1] = 0x60|class>>4, class<<4|0xa
			ok := decapsulateECN(p, byte(outer))
			switch {
			case ok != (result != drop):
				t.Errorf("inner %02b, outer %02b: kept %v", inner, outer, ok)
			case ok && trafficClass(p) != dscp|result:
				t.Errorf("inner %02b, outer %02b: %02b, want %02b", inner, outer, trafficClass(p)&ecnMask, result)
			case p[1]&0xf != 0xa || p[0]>>4 != 6:
				t.Errorf("inner %02b, outer %02b: other bits changed", inner, outer)
			}
		}
	}
}

// RFC 6438 §3: the same flow has the same label, and others mostly another.
func TestFlowLabel(t *testing.T) {
	seen := map[uint32]bool{}
	for i := range 100 {
		p := udp(nodeBehind, correspondent, text(i))
		p[headerLength+1] = byte(i)
		l := flowLabel(p)
		if l>>20 != 0 {
			t.Fatalf("label %x has more than 20 bits", l)
		}
		if again := flowLabel(p[:headerLength+8]); again != l {
			t.Fatalf("label %x, with less payload %x", l, again)
		}
		seen[l] = true
	}
	if len(seen) < 95 {
		t.Errorf("100 flows have %d labels", len(seen))
	}
}

// RFC 2473 §4.1.1 (a).
func TestNesting(t *testing.T) {
	inner := udp(nodeBehind, correspondent, nil)
	limit := func(n byte) []byte { return []byte{protocolIPv6, 0, 4, 1, n, 1, 1, 0} }
	hop := []byte{protocolDestinationOptions, 0, 1, 4, 0, 0, 0, 0}
	late := []byte{protocolIPv6, 1, 0, 0x80, 2, 9, 9, 4, 1, 5, 1, 4, 0, 0, 0, 0}
	for _, test := range []struct {
		name string
		next uint8
		rest []byte
		want nesting
	}{
		{"UDP", protocolUDP, nil, nesting{}},
		{"tunnel packet", protocolIPv6, inner, nesting{tunnelled: true}},
		{"limit", protocolDestinationOptions, slices.Concat(limit(3), inner), nesting{true, 44}},
		{"limit behind hop-by-hop options", protocolHopByHop, slices.Concat(hop, limit(3), inner), nesting{true, 52}},
		{"limit behind padding and another option", protocolDestinationOptions, slices.Concat(late, inner), nesting{true, 49}},
		{"other destination option", protocolDestinationOptions, slices.Concat([]byte{protocolUDP, 0, 0x80, 4, 0, 0, 0, 0}), nesting{}},
		{"option beyond the header", protocolDestinationOptions, []byte{protocolIPv6, 0, 4, 9, 1, 1, 1, 0}, nesting{tunnelled: true}},
		{"later fragment", protocolFragment, []byte{protocolIPv6, 0, 1, 0, 0, 0, 0, 0}, nesting{}},
		{"first fragment", protocolFragment, []byte{protocolIPv6, 0, 0, 1, 0, 0, 0, 0}, nesting{tunnelled: true}},
		{"cut off", protocolDestinationOptions, []byte{protocolIPv6, 3, 4, 1, 1, 1, 1, 0}, nesting{}},
		{"ESP", 50, text(60), nesting{}},
	} {
		if got := nestingOf(ipv6(nodeBehind, correspondent, test.next, test.rest)); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

// An aggregate is cut into the packets that it was made of.
func TestAggregateCut(t *testing.T) {
	options := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2} // timestamps
	for _, test := range []struct{ length, segment int }{{1, 100}, {100, 100}, {101, 100}, {1428 * 40, 1428}, {63_000, 1208}} {
		for _, withOptions := range [][]byte{nil, options} {
			t.Run(fmt.Sprintf("%d by %d, %d octets of options", test.length, test.segment, len(withOptions)), func(t *testing.T) {
				const fin, psh, cwr = 0x01, 0x08, 0x80
				data := text(test.length)
				whole := tcp(tcpOptions{sequence: 0xffffff00, flags: tcpAck | fin | psh | cwr, options: withOptions}, data)
				whole, h := partial(whole)
				h.gso, h.segment = gsoTCP6|gsoECN, uint16(test.segment)
				a, ok := aggregateOf(whole, h)
				if !ok {
					t.Fatal("not an aggregate")
				}
				n := a.segments(whole)
				if want := (test.length + test.segment - 1) / test.segment; n != want {
					t.Fatalf("%d packets, want %d", n, want)
				}
				for i := range n {
					headers := make([]byte, a.payload)
					payload := a.cut(whole, i, headers)
					from := i * test.segment
					to := min(from+test.segment, len(data))
					flags := uint8(tcpAck)
					if i == 0 {
						flags |= cwr
					}
					if i == n-1 {
						flags |= fin | psh
					}
					want := tcp(tcpOptions{sequence: 0xffffff00 + uint32(from), flags: flags, options: withOptions}, data[from:to])
					if got := slices.Concat(headers, payload); !bytes.Equal(got, want) {
						t.Fatalf("packet %d:\n%x, want\n%x", i, got[:headerLength+20], want[:headerLength+20])
					}
				}
			})
		}
	}
	t.Run("UDP", func(t *testing.T) {
		data := text(2500)
		whole, h := partial(udp(nodeBehind, correspondent, data))
		h.gso, h.segment = gsoUDP, 1000
		a, ok := aggregateOf(whole, h)
		if !ok || a.segments(whole) != 3 {
			t.Fatalf("%+v %v", a, ok)
		}
		for i, part := range [][]byte{data[:1000], data[1000:2000], data[2000:]} {
			headers := make([]byte, a.payload)
			payload := a.cut(whole, i, headers)
			if got, want := slices.Concat(headers, payload), udp(nodeBehind, correspondent, part); !bytes.Equal(got, want) {
				t.Errorf("packet %d: %x, want %x", i, got[:48], want[:48])
			}
		}
	})
}

// What the device cannot have meant is refused.
func TestAggregateRefused(t *testing.T) {
	whole, good := partial(tcp(tcpOptions{}, text(3000)))
	good.gso, good.segment = gsoTCP6, 1000
	if _, ok := aggregateOf(whole, good); !ok {
		t.Fatal("the good one is refused")
	}
	for name, change := range map[string]func(*virtioHeader){
		"IPv4":                func(h *virtioHeader) { h.gso = 1 },
		"unknown kind":        func(h *virtioHeader) { h.gso = 77 },
		"no segment":          func(h *virtioHeader) { h.segment = 0 },
		"checksum done":       func(h *virtioHeader) { h.flags = 0 },
		"start in the header": func(h *virtioHeader) { h.start = 12 },
		"start beyond":        func(h *virtioHeader) { h.start = 60000 },
		"other field":         func(h *virtioHeader) { h.offset = 2 },
		"headers too long":    func(h *virtioHeader) { h.start = 300 },
	} {
		h := good
		change(&h)
		if a, ok := aggregateOf(whole, h); ok {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
