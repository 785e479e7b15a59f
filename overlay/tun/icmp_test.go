package tun

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

// RFC 4443 §2.4 (e).
func TestMayAnswer(t *testing.T) {
	group := netip.MustParseAddr("ff0e::1")
	icmp := func(kind byte) []byte {
		return ipv6(nodeBehind, correspondent, protocolICMPv6, []byte{kind, 0, 0, 0, 0, 0, 0, 0})
	}
	behind := func(next byte, rest ...byte) []byte {
		return ipv6(nodeBehind, correspondent, protocolDestinationOptions, slices.Concat([]byte{next, 0, 1, 4, 0, 0, 0, 0}, rest))
	}
	for _, test := range []struct {
		name   string
		packet []byte
		kind   uint8
		want   bool
	}{
		{"UDP", udp(nodeBehind, correspondent, nil), icmpUnreachable, true},
		{"echo request", icmp(128), icmpUnreachable, true},
		{"ICMPv6 error", icmp(1), icmpPacketTooBig, false},
		{"ICMPv6 error behind options", behind(protocolICMPv6, 3), icmpPacketTooBig, false},
		{"echo request behind options", behind(protocolICMPv6, 129), icmpPacketTooBig, true},
		{"cut off before the type", behind(protocolICMPv6), icmpPacketTooBig, false},
		{"to a group", udp(nodeBehind, group, nil), icmpUnreachable, false},
		{"to a group, too big", udp(nodeBehind, group, nil), icmpPacketTooBig, true},
		{"from a group", udp(group, correspondent, nil), icmpPacketTooBig, false},
		{"from nowhere", udp(netip.IPv6Unspecified(), correspondent, nil), icmpPacketTooBig, false},
		{"later fragment", ipv6(nodeBehind, correspondent, protocolFragment, []byte{protocolICMPv6, 0, 1, 0, 0, 0, 0, 0}), icmpPacketTooBig, true},
	} {
		if got := mayAnswer(test.packet, test.kind); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// RFC 4443 §2.4 (f).
func TestErrorsAreLimited(t *testing.T) {
	b := newBucket(10, 5)
	count := func(now time.Duration) (n int) {
		for b.take(now) {
			n++
		}
		return n
	}
	for _, step := range []struct {
		now  time.Duration
		want int
	}{{time.Hour, 5}, {time.Hour + 99*time.Millisecond, 0}, {time.Hour + 100*time.Millisecond, 1}, {time.Hour + 350*time.Millisecond, 2}, {time.Hour + 400*time.Millisecond, 1}, {9 * time.Hour, 5}} {
		if got := count(step.now); got != step.want {
			t.Errorf("at %v: %d, want %d", step.now, got, step.want)
		}
	}
}

// RFC 2473 §8: errors from within the tunnel.
//
// Covers: H9.
func TestTunnelErrors(t *testing.T) {
	inner := udp(nodeBehind, correspondent, text(1352)) // 1400 octets
	small := udp(nodeBehind, correspondent, text(100))
	outside := ipv6(careOf, agent, protocolIPv6, inner)
	stranger := netip.MustParseAddr("2001:db8:ffff::1")
	limited := ipv6(careOf, agent, protocolDestinationOptions, slices.Concat([]byte{protocolIPv6, 0, 4, 1, 0, 1, 1, 0}, inner))
	fragment := func(offset byte) []byte {
		return ipv6(careOf, agent, protocolFragment, slices.Concat([]byte{protocolIPv6, 0, offset, 1, 0, 0, 0, 7}, inner))
	}
	unreachable := &relay{icmpUnreachable, icmpCodeAddressUnreachable, 0}
	for _, test := range []struct {
		name       string
		kind, code uint8
		parameter  uint32
		quoted     []byte
		relay      *relay
		mtu        int // of the path afterwards
	}{
		{"too big", icmpPacketTooBig, 0, 1400, outside, &relay{icmpPacketTooBig, 0, 1360}, 1400},
		{"too big, for a packet of the minimum", icmpPacketTooBig, 0, 1400, ipv6(careOf, agent, protocolIPv6, small), nil, 1400},
		{"too big, the minimum", icmpPacketTooBig, 0, 1280, outside, &relay{icmpPacketTooBig, 0, 1280}, 1280},
		{"too big, below the minimum: forged (RFC 8201 §4)", icmpPacketTooBig, 0, 1279, outside, nil, 1500},
		{"too big, larger than the packet", icmpPacketTooBig, 0, 9000, outside, nil, 1500},
		{"too big, of a first fragment", icmpPacketTooBig, 0, 1400, fragment(0), &relay{icmpPacketTooBig, 0, 1360}, 1400},
		{"too big, of a later fragment", icmpPacketTooBig, 0, 1400, fragment(1), nil, 1500},
		{"no route", icmpUnreachable, 0, 0, outside, unreachable, 1500},
		{"address unreachable", icmpUnreachable, 3, 0, outside, unreachable, 1500},
		{"port unreachable, from a tunnel driver", icmpUnreachable, 4, 0, outside, nil, 1500},
		{"hop limit", icmpTimeExceeded, 0, 0, outside, unreachable, 1500},
		{"reassembly time", icmpTimeExceeded, 1, 0, outside, nil, 1500},
		{"encapsulation limit", icmpParameterProblem, 0, headerLength + 4, limited, unreachable, 1500},
		{"other parameter", icmpParameterProblem, 0, headerLength + 20, limited, nil, 1500},
		{"unknown next header", icmpParameterProblem, 1, 6, outside, nil, 1500},
		{"somebody else's tunnel", icmpPacketTooBig, 0, 1400, ipv6(stranger, agent, protocolIPv6, inner), nil, 1500},
		{"to another end", icmpPacketTooBig, 0, 1400, ipv6(careOf, stranger, protocolIPv6, inner), nil, 1500},
		{"not a tunnel packet", icmpPacketTooBig, 0, 1400, udp(careOf, agent, text(100)), nil, 1500},
		{"quotes too little", icmpPacketTooBig, 0, 1400, outside[:70], nil, 1500},
		{"echo request", 128, 0, 0, outside, nil, 1500},
	} {
		b := newBench(t, overlay.MobileSide)
		p := b.table.mobile.get(network).paths.Load().preferred()
		message := []byte{test.kind, test.code, 0, 0}
		message = binary.BigEndian.AppendUint32(message, test.parameter)
		message = append(message, test.quoted[:min(len(test.quoted), 1232)]...)
		var got *relay
		if e, ok := parseTunnelError(message); ok {
			if u, _, r, ok := b.table.received(&e, 0); ok {
				got = &r
				reply := b.encapsulator.errors.reply(e.inner, u.errorSource(p), r.kind, r.code, r.parameter, 0)
				icmpReply(t, reply, home, nodeBehind)
			}
		}
		if (got == nil) != (test.relay == nil) || got != nil && *got != *test.relay {
			t.Errorf("%s: relays %+v, want %+v", test.name, got, test.relay)
		}
		if m := p.mtu(0); m != test.mtu {
			t.Errorf("%s: path MTU %d, want %d", test.name, m, test.mtu)
		}
	}
}
