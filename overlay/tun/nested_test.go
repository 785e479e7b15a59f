package tun

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/overlay"
)

// Addresses of the tests of tunnels in tunnels: an outer mobile router whose
// network is network, and in it an inner one, whose care-of address is there.
var (
	innerCareOf  = netip.MustParseAddr("2001:db8:5::77")
	innerAgent   = netip.MustParseAddr("2001:db8:b::1")
	innerHome    = netip.MustParseAddr("2001:db8:bb::5")
	innerNetwork = netip.MustParsePrefix("2001:db8:6::/64")
	innerNode    = netip.MustParseAddr("2001:db8:6::2")
)

// innerBench has the tunnel of the inner router or of its home agent.
func innerBench(t testing.TB, side overlay.Side) *bench {
	t.Helper()
	b := newBench(t, side)
	b.table.side(side).remove(network)
	u := &tunnel{key: overlay.Key{Home: innerHome, Side: side}, home: addressOf(innerHome)}
	p := overlay.Path{Local: innerAgent, Remote: innerCareOf}
	if side == overlay.MobileSide {
		p = overlay.Path{Local: innerCareOf, Remote: innerAgent, Link: 7}
	}
	u.paths.Store(u.paths.Load().swap([]*path{newPath(p, DefaultPathMTU)}, 0, DefaultGrace))
	b.table.side(side).insert(innerNetwork, u)
	return b
}

// takeError gives an ICMPv6 message, such as reply returns, to whom it is
// addressed, and returns what that one tells the source of the inner packet.
func (b *bench) takeError(t *testing.T, reply []byte, now time.Duration) []byte {
	t.Helper()
	packet := reply[virtioLength:]
	e, ok := parseTunnelError(packet[headerLength:])
	if !ok {
		t.Fatalf("%x is not taken for an error about a tunnel packet", packet)
	}
	u, p, r, ok := b.table.received(&e, now)
	if !ok {
		return nil
	}
	return b.encapsulator.errors.reply(e.inner, u.errorSource(p), r.kind, r.code, r.parameter, now)
}

// RFC 2473 §7.1, §8.2, RFC 8201 §4: a sender behind two tunnels finds the path MTU
// by itself, whichever side it is on. What it sends is too large for the outer
// tunnel, the inner tunnel's beginning is told so, and that tells the sender: 40
// octets for one tunnel, and 48 for one that has another in it (§4.1.1 (d)). What
// was learned is forgotten after ten minutes, and learned again.
func TestNestedPathMTU(t *testing.T) {
	const oneTunnel, twoTunnels = 1500 - 40, 1500 - 48 - 40
	for _, side := range []overlay.Side{overlay.MobileSide, overlay.AgentSide} {
		inner, outer := innerBench(t, side), newBench(t, side)
		from, to := innerNode, correspondent
		if side == overlay.AgentSide {
			from, to = to, from
		}
		// discover sends as a host does until a packet gets through both tunnels.
		discover := func(now time.Duration) (size, tries int) {
			for size = 1500; tries < 10; tries++ {
				packet := udp(from, to, text(size-48))
				out, reply := inner.send(packet, virtioHeader{}, now)
				if reply == nil && len(out) == 1 {
					nested := out[0]
					if out, reply = outer.send(nested, virtioHeader{}, now); reply == nil && len(out) == 1 {
						if len(out[0]) > 1500 || !bytes.HasSuffix(out[0], packet) {
							t.Fatalf("a packet of %d octets leaves both tunnels as one of %d", size, len(out[0]))
						}
						return size, tries
					}
					if reply = inner.takeError(t, reply, now); reply == nil {
						t.Fatalf("of a packet of %d octets the sender hears nothing", size)
					}
				}
				if m := reply[virtioLength+headerLength:]; m[0] != icmpPacketTooBig || destination(reply[virtioLength:]) != addressOf(from) {
					t.Fatalf("a packet of %d octets: %x", size, m[:8])
				} else {
					size = int(binary.BigEndian.Uint32(m[4:]))
				}
			}
			return 0, tries
		}
		for _, step := range []struct {
			now         time.Duration
			size, tries int
		}{
			{0, twoTunnels, 2},                            // 1500, 1460
			{9 * time.Minute, twoTunnels, 1},              // the inner tunnel knows
			{learnedMTULifetime + 1, twoTunnels, 2},       // it has forgotten
			{learnedMTULifetime + 2, twoTunnels, 1},       // and learned
			{3 * learnedMTULifetime, twoTunnels, 2},       //
			{3*learnedMTULifetime + 1<<20, twoTunnels, 1}, //
		} {
			if size, tries := discover(step.now); size != step.size || tries != step.tries {
				t.Errorf("side %v after %v: %d octets after %d tries, want %d after %d", side, step.now, size, tries, step.size, step.tries)
			}
		}
		// The inner one leaves the outer one's network: another path, and one tunnel.
		u := inner.table.side(side).get(innerNetwork)
		p := overlay.Path{Local: innerAgent, Remote: newCareOf}
		if side == overlay.MobileSide {
			p = overlay.Path{Local: newCareOf, Remote: innerAgent, Link: 7}
		}
		u.paths.Store(u.paths.Load().swap([]*path{newPath(p, DefaultPathMTU)}, time.Hour, DefaultGrace))
		if out, _ := inner.send(udp(from, to, text(oneTunnel-48)), virtioHeader{}, time.Hour); len(out) != 1 || len(out[0]) != 1500 {
			t.Errorf("side %v: outside, a packet of %d octets leaves as %d", side, oneTunnel, len(out))
		}
	}
}

// RFC 2473 §7.1 (b): where the path takes no more than the minimum MTU, packets of
// that size pass two tunnels in fragments, and larger ones are refused with a
// Packet Too Big of the minimum, not less.
func TestNestedAtTheMinimum(t *testing.T) {
	inner, outer := innerBench(t, overlay.MobileSide), newBench(t, overlay.MobileSide)
	for _, b := range []struct {
		*bench
		prefix netip.Prefix
	}{{inner, innerNetwork}, {outer, network}} {
		if !b.table.mobile.get(b.prefix).paths.Load().preferred().tooBig(minimumMTU, 0) {
			t.Fatal("the minimum is not believed")
		}
	}
	packet := udp(innerNode, correspondent, text(minimumMTU-48))
	out, reply := inner.send(packet, virtioHeader{}, 0)
	if len(out) != 2 || reply != nil {
		t.Fatalf("%d packets, reply %x, drops %v", len(out), reply, inner.dropped())
	}
	var whole []byte
	for _, fragment := range out {
		outside, reply := outer.send(fragment, virtioHeader{}, 0)
		if reply != nil || len(outside) == 0 {
			t.Fatalf("a fragment of %d octets: %d packets, reply %x, drops %v", len(fragment), len(outside), reply, outer.dropped())
		}
		var got []byte
		for _, o := range outside {
			if len(o) > minimumMTU {
				t.Errorf("%d octets leave", len(o))
			}
			got = append(got, o[headerLength:]...)
			if len(outside) > 1 {
				n := len(got) - (len(o) - headerLength)
				got = slices.Delete(got, n, n+fragmentLength)
			}
		}
		// The first fragment shows that it is of a tunnel packet, and the second not.
		if !bytes.HasSuffix(got, fragment) || len(got) != len(fragment) && len(got) != len(fragment)+limitLength {
			t.Errorf("a fragment of %d octets comes out as another one", len(fragment))
		}
		whole = append(whole, fragment[headerLength+fragmentLength:]...)
	}
	if !bytes.Equal(whole, packet) {
		t.Error("the fragments are not those of the packet")
	}
	_, reply = inner.send(udp(innerNode, correspondent, text(minimumMTU-47)), virtioHeader{}, 0)
	if m := icmpReply(t, reply, innerHome, innerNode); m[0] != icmpPacketTooBig || binary.BigEndian.Uint32(m[4:]) != minimumMTU {
		t.Errorf("one octet more: %x", m[:8])
	}
}

// RFC 8201 §4, §6: forged messages do not stop the inner tunnel, do not raise its
// path MTU, and cannot be about a packet of somebody else's tunnel.
func TestNestedForgedTooBig(t *testing.T) {
	quoted := ipv6(innerCareOf, innerAgent, protocolIPv6, udp(innerNode, correspondent, text(1412-48)))
	message := func(mtu uint32, packet []byte) []byte {
		return slices.Concat([]byte{icmpPacketTooBig, 0, 0, 0}, binary.BigEndian.AppendUint32(nil, mtu), packet[:min(len(packet), 1232)])
	}
	stranger := netip.MustParseAddr("2001:db8:ffff::1")
	for _, test := range []struct {
		name string
		mtu  uint32
		from netip.Addr // of the quoted packet
		want int        // of the path
		tell bool
	}{
		{"true", 1420, innerCareOf, 1420, true},
		{"the minimum", 1280, innerCareOf, 1280, true},
		{"less than the minimum", 1279, innerCareOf, 1500, false},
		{"nothing", 0, innerCareOf, 1500, false},
		{"of a packet that was not sent", 1400, stranger, 1500, false},
		{"larger than the path's", 1 << 31, innerCareOf, 1500, false},
	} {
		b := innerBench(t, overlay.MobileSide)
		packet := slices.Clone(quoted)
		addressOf(test.from).put(packet[offsetSource:])
		told := false
		if e, ok := parseTunnelError(message(test.mtu, packet)); ok {
			_, _, _, told = b.table.received(&e, 0)
		}
		p := b.table.mobile.get(innerNetwork).paths.Load().preferred()
		if p.mtu(0) != test.want || told != test.tell {
			t.Errorf("%s: path MTU %d, sender told %t; want %d, %t", test.name, p.mtu(0), told, test.want, test.tell)
		}
		if p.mtu(learnedMTULifetime) != 1500 {
			t.Errorf("%s: not forgotten", test.name)
		}
	}
}

// RFC 2473 §4.1.1, §6.6: of two mobile routers each in the other's network, a packet
// goes round until the encapsulation limit ends it, and no longer; what it is
// answered with goes back as it came, header by header, and ends as well.
func TestLoopOfMobileRouters(t *testing.T) {
	// Each has the other's care-of address in its network.
	a, b := newBench(t, overlay.MobileSide), innerBench(t, overlay.MobileSide)
	p := overlay.Path{Local: netip.MustParseAddr("2001:db8:6::66"), Remote: agent, Link: 7} // in innerNetwork
	u := a.table.mobile.get(network)
	u.paths.Store(u.paths.Load().swap([]*path{newPath(p, DefaultPathMTU)}, 0, DefaultGrace))

	const most = 2 + defaultNesting // a tunnel without a limit, and those with 4 to 0
	packet, rounds := udp(innerNode, correspondent, text(100)), 0
	at, next := b, a
	var reply []byte
	for ; ; rounds++ {
		var out [][]byte
		if out, reply = at.send(packet, virtioHeader{}, 0); len(out) == 0 {
			break
		}
		if len(out) != 1 || rounds > most {
			t.Fatalf("after %d rounds it goes on: %d packets of %d octets", rounds, len(out), len(out[0]))
		}
		packet = out[0]
		at, next = next, at
	}
	if rounds != most || !slices.Equal(at.dropped(), []overlay.DropReason{overlay.DropNesting}) {
		t.Errorf("it went round %d times, want %d", rounds, most)
	}
	// The error is for the one that sent it last, which tells the source of what was
	// within, and so on to the node where it began.
	errors := 0
	for ; reply != nil; errors++ {
		if errors > most {
			t.Fatal("errors beget errors without end")
		}
		if destination(reply[virtioLength:]) == addressOf(innerNode) {
			break
		}
		at, next = next, at
		reply = slices.Clone(at.takeError(t, reply, 0))
	}
	if reply == nil || errors != most {
		t.Errorf("the sender is told after %d errors: %x", errors, reply)
	} else if m := reply[virtioLength+headerLength:]; m[0] != icmpUnreachable {
		t.Errorf("the sender is told %x", m[:8])
	}
}
