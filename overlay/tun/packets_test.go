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

// Addresses of the tests: a correspondent, an agent, a mobile away.
var (
	correspondent = netip.MustParseAddr("2001:db8:c::1")
	agent         = netip.MustParseAddr("2001:db8:a::1")
	careOf        = netip.MustParseAddr("2001:db8:1::2")
	newCareOf     = netip.MustParseAddr("2001:db8:2::2")
	home          = netip.MustParseAddr("2001:db8:aa::5")
	nodeBehind    = netip.MustParseAddr("2001:db8:5::2")
	network       = netip.MustParsePrefix("2001:db8:5::/64")
)

// ipv6 builds a packet.
func ipv6(from, to netip.Addr, next uint8, payload []byte) []byte {
	b := []byte{0x60, 0, 0, 0, 0, 0, next, 63}
	binary.BigEndian.PutUint16(b[offsetPayloadLength:], uint16(len(payload)))
	return slices.Concat(b, from.AsSlice(), to.AsSlice(), payload)
}

// slowChecksum is the Internet checksum of a transport packet, pair by pair.
func slowChecksum(packet []byte, transport int, protocol uint8) uint16 {
	var s uint32
	add := func(b []byte) {
		for i := 0; i < len(b); i += 2 {
			if i+1 < len(b) {
				s += uint32(b[i])<<8 | uint32(b[i+1])
			} else {
				s += uint32(b[i]) << 8
			}
			s = s>>16 + s&0xffff
		}
	}
	add(packet[offsetSource:headerLength])
	add(binary.BigEndian.AppendUint32(nil, uint32(len(packet)-transport)))
	add([]byte{0, 0, 0, protocol})
	add(packet[transport:])
	return uint16(s>>16 + s&0xffff)
}

// correct reports whether the checksum of a transport packet is.
func correct(packet []byte) bool {
	return slowChecksum(packet, headerLength, packet[offsetNextHeader]) == 0xffff
}

type tcpOptions struct {
	from, to       netip.Addr
	sequence       uint32
	flags          uint8
	options        []byte
	acknowledgment uint32
}

// tcp builds a TCP packet with a correct checksum.
func tcp(o tcpOptions, payload []byte) []byte {
	if !o.from.IsValid() {
		o.from = nodeBehind
	}
	if !o.to.IsValid() {
		o.to = correspondent
	}
	if o.flags == 0 {
		o.flags = tcpAck
	}
	t := []byte{0x12, 0x34, 0, 80}
	t = binary.BigEndian.AppendUint32(t, o.sequence)
	t = binary.BigEndian.AppendUint32(t, o.acknowledgment)
	t = append(t, byte(20+len(o.options))<<2, o.flags, 0x20, 0, 0, 0, 0, 0)
	t = slices.Concat(t, o.options, payload)
	p := ipv6(o.from, o.to, protocolTCP, t)
	binary.BigEndian.PutUint16(p[headerLength+offsetTCPChecksum:], ^slowChecksum(p, headerLength, protocolTCP))
	return p
}

// udp builds a UDP packet with a correct checksum.
func udp(from, to netip.Addr, payload []byte) []byte {
	u := []byte{0x12, 0x34, 0, 53}
	u = binary.BigEndian.AppendUint16(u, uint16(8+len(payload)))
	p := ipv6(from, to, protocolUDP, slices.Concat(u, []byte{0, 0}, payload))
	binary.BigEndian.PutUint16(p[headerLength+offsetUDPChecksum:], ^slowChecksum(p, headerLength, protocolUDP))
	return p
}

// partial turns a packet with a correct checksum into what the kernel hands
// over when the checksum is left to do.
func partial(p []byte) ([]byte, virtioHeader) {
	h := virtioHeader{flags: virtioNeedsChecksum, start: headerLength, offset: offsetTCPChecksum}
	if p[offsetNextHeader] == protocolUDP {
		h.offset = offsetUDPChecksum
	}
	field := p[headerLength+int(h.offset):]
	binary.NativeEndian.PutUint16(field, fold(pseudoSum(p[offsetSource:], len(p)-headerLength, p[offsetNextHeader])))
	return p, h
}

// text is payload that shows where it is cut.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// bench is a table with one tunnel on each side, and an encapsulator that
// collects what it sends.
type bench struct {
	table table
	encapsulator
	sent [][]byte
}

// newBench has the tunnel of a mobile on the given side.
func newBench(t testing.TB, side overlay.Side) *bench {
	t.Helper()
	b := &bench{}
	b.encapsulator = encapsulator{
		table: &b.table, errors: &errorSender{limit: newBucket(10, 10)}, watch: &watcher{reporter: newReporter(Config{})}, pathMTU: DefaultPathMTU,
		wayOut: func(address, address) (int, bool) { return 9, true },
	}
	b.out = newBatch(4, func(all []datagram) {
		for _, d := range all {
			b.sent = append(b.sent, slices.Concat(d.headers[:d.length], d.payload))
		}
	})
	b.add(side, 0)
	return b
}

// add installs the tunnel, or swaps its path to the i-th care-of address.
func (b *bench) add(side overlay.Side, now time.Duration, careOfAddresses ...netip.Addr) *tunnel {
	if len(careOfAddresses) == 0 {
		careOfAddresses = []netip.Addr{careOf}
	}
	trie := b.table.side(side)
	u := trie.get(network)
	if u == nil {
		u = &tunnel{key: overlay.Key{Home: home, Side: side}, home: addressOf(home)}
		trie.insert(network, u)
		trie.insert(netip.PrefixFrom(home, 128), u)
	}
	var paths []*path
	for _, a := range careOfAddresses {
		p := overlay.Path{Local: agent, Remote: a}
		if side == overlay.MobileSide {
			p = overlay.Path{Local: a, Remote: agent, Link: 7}
		}
		paths = append(paths, newPath(p, DefaultPathMTU))
	}
	u.paths.Store(u.paths.Load().swap(paths, now, DefaultGrace))
	return u
}

// arrivals is for what receives.
func (b *bench) arrivals() arrivals { return arrivals{&b.table, b.watch} }

// send puts a packet through the encapsulator and returns the outer packets.
func (b *bench) send(packet []byte, h virtioHeader, now time.Duration) (outer [][]byte, reply []byte) {
	b.sent = nil
	reply = b.packet(packet, h, now)
	b.out.send()
	return b.sent, reply
}

// dropped returns the reasons counted since the last call.
func (b *bench) dropped() (reasons []overlay.DropReason) {
	for _, r := range overlay.DropReasons() {
		if b.table.drops[r].Swap(0) != 0 {
			reasons = append(reasons, r)
		}
	}
	return reasons
}

// icmpReply checks an ICMPv6 error and returns it without its IPv6 header.
func icmpReply(t *testing.T, reply []byte, from, to netip.Addr) []byte {
	t.Helper()
	if len(reply) < virtioLength+headerLength+icmpHeaderLength {
		t.Fatalf("reply of %d octets", len(reply))
	}
	if !bytes.Equal(reply[:virtioLength], make([]byte, virtioLength)) {
		t.Errorf("virtio header %x", reply[:virtioLength])
	}
	p, ok := trim(reply[virtioLength:])
	if !ok || len(p) != len(reply)-virtioLength {
		t.Fatalf("reply %x is not a whole packet", reply)
	}
	if len(p) > minimumMTU {
		t.Errorf("reply of %d octets", len(p))
	}
	if source(p) != addressOf(from) || destination(p) != addressOf(to) || p[offsetNextHeader] != protocolICMPv6 || !correct(p) {
		t.Errorf("reply %x", p)
	}
	return p[headerLength:]
}
