package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// file builds capture files in a byte order.
type file struct {
	binary.AppendByteOrder
	bytes.Buffer
}

func (f *file) u16(v ...uint16) {
	for _, v := range v {
		f.Write(f.AppendUint16(nil, v))
	}
}

func (f *file) u32(v ...uint32) {
	for _, v := range v {
		f.Write(f.AppendUint32(nil, v))
	}
}

// header begins a pcap file.
func (f *file) header(magic uint32, link uint32) {
	f.u32(magic)
	f.u16(2, 4)
	f.u32(0, 0, 65535, link)
}

func (f *file) record(seconds, fraction uint32, data []byte) {
	f.u32(seconds, fraction, uint32(len(data)), uint32(len(data)))
	f.Write(data)
}

// block adds a pcapng block around a body, which build writes.
func (f *file) block(kind uint32, build func(*file)) {
	body := &file{AppendByteOrder: f.AppendByteOrder}
	build(body)
	for body.Len()%4 != 0 {
		body.WriteByte(0)
	}
	length := uint32(body.Len() + 12)
	f.u32(kind, length)
	f.Write(body.Bytes())
	f.u32(length)
}

func (f *file) section() {
	f.block(blockSectionHeader, func(b *file) {
		b.u32(byteOrderMagic)
		b.u16(1, 0)
		b.u32(0xffffffff, 0xffffffff)
	})
}

// iface describes an interface; options are in octets, padded.
func (f *file) iface(link uint16, snap uint32, options ...byte) {
	f.block(blockInterface, func(b *file) {
		b.u16(link, 0)
		b.u32(snap)
		b.Write(options)
	})
}

func (f *file) enhanced(index uint32, stamp uint64, data []byte) {
	f.block(blockEnhancedPacket, func(b *file) {
		b.u32(index, uint32(stamp>>32), uint32(stamp), uint32(len(data)), uint32(len(data)))
		b.Write(data)
		if pad := -len(data) & 3; pad != 0 {
			b.Write(make([]byte, pad))
		}
		b.u16(1, 3) // a comment, to be skipped
		b.WriteString("abc\x00")
	})
}

func (f *file) simple(data []byte) {
	f.block(blockSimplePacket, func(b *file) {
		b.u32(uint32(len(data)))
		b.Write(data)
	})
}

// ip returns an IPv6 packet of 41 octets, told apart by its last.
func ip(n byte) []byte {
	b := make([]byte, 41)
	b[0], b[40] = 0x60, n
	return b
}

func ethernet(etherType ...byte) []byte { return append(make([]byte, 12), etherType...) }

// list reads a capture to its end: one line per packet.
func list(in io.Reader) (string, error) {
	r, err := NewReader(in)
	if err != nil {
		return "", err
	}
	var lines strings.Builder
	for {
		p, err := r.Next()
		if err == io.EOF {
			fmt.Fprintf(&lines, "skipped %d", r.Skipped())
			return lines.String(), nil
		}
		if err != nil {
			return lines.String(), err
		}
		at := "never"
		if !p.Time.IsZero() {
			at = p.Time.Format(time.RFC3339Nano)
		}
		fmt.Fprintf(&lines, "%d %s %d octets, last %d\n", p.Number, at, len(p.Data), p.Data[len(p.Data)-1])
	}
}

func orders() map[string]binary.AppendByteOrder {
	return map[string]binary.AppendByteOrder{"little-endian": binary.LittleEndian, "big-endian": binary.BigEndian}
}

func TestClassic(t *testing.T) {
	for name, order := range orders() {
		for magic, want := range map[uint32]string{
			magicMicro: "1 2023-11-14T22:13:20.000005Z 41 octets, last 1\n3 2038-01-19T03:14:08Z 41 octets, last 3\nskipped 1",
			magicNano:  "1 2023-11-14T22:13:20.000000005Z 41 octets, last 1\n3 2038-01-19T03:14:08Z 41 octets, last 3\nskipped 1",
		} {
			f := &file{AppendByteOrder: order}
			f.header(magic, 101)
			f.record(1700000000, 5, ip(1))
			f.record(1700000001, 0, []byte{0x45, 0, 0, 0})
			f.record(1<<31, 0, ip(3))
			if got, err := list(iotest.OneByteReader(f)); err != nil || got != want {
				t.Errorf("%s %#x: got\n%s, want\n%s (%v)", name, magic, got, want, err)
			}
		}
	}
}

func TestNG(t *testing.T) {
	const want = `1 2023-11-14T22:13:20.000005Z 41 octets, last 1
2 2023-11-14T22:13:20.000000005Z 41 octets, last 2
3 2023-11-14T22:13:30.25Z 41 octets, last 3
5 never 41 octets, last 5
6 2023-11-14T22:13:20.000005Z 41 octets, last 6
skipped 1`
	for name, order := range orders() {
		f := &file{AppendByteOrder: order}
		f.section()
		f.iface(101, 0)
		f.iface(101, 0, append(order.AppendUint16(order.AppendUint16(nil, 9), 1), 9, 0, 0, 0)...) // nanoseconds
		offset := append(order.AppendUint16(order.AppendUint16(nil, 9), 1), 0x82, 0, 0, 0)        // quarters of a second
		offset = order.AppendUint64(order.AppendUint16(order.AppendUint16(offset, 14), 8), 10)    // and 10 s more
		f.iface(101, 0, append(offset, 0, 0, 0, 0)...)
		f.iface(147, 0)                                              // not supported
		f.block(0x0bad, func(b *file) { b.Write(make([]byte, 16)) }) // an unknown block
		f.enhanced(0, 1700000000_000005, ip(1))
		f.enhanced(1, 1700000000_000000005, ip(2))
		f.enhanced(2, 1700000000*4+1, ip(3))
		f.enhanced(3, 0, ip(4))
		f.simple(ip(5))
		// Another section, of the other byte order and with interfaces of its own.
		other := &file{AppendByteOrder: binary.BigEndian}
		if name == "big-endian" {
			other.AppendByteOrder = binary.LittleEndian
		}
		other.section()
		other.iface(1, 0)
		other.enhanced(0, 1700000000_000005, append(ethernet(0x86, 0xdd), ip(6)...))
		got, err := list(io.MultiReader(f, other))
		if err != nil || got != want {
			t.Errorf("%s: got\n%s, want\n%s (%v)", name, got, want, err)
		}
	}
}

// A simple packet is cut at the snapshot length of the first interface.
func TestNGSimplePacketSnap(t *testing.T) {
	f := &file{AppendByteOrder: binary.LittleEndian}
	f.section()
	f.iface(101, 20)
	f.block(blockSimplePacket, func(b *file) {
		b.u32(41)
		b.Write(ip(1)[:20])
	})
	if got, err := list(f); err != nil || !strings.Contains(got, "1 never 20 octets") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLinkTypes(t *testing.T) {
	packet := ip(7)
	cooked2 := append([]byte{0x86, 0xdd}, make([]byte, 18)...)
	for _, c := range []struct {
		name  string
		link  linkType
		frame []byte
		want  bool
	}{
		{"Ethernet", linkEthernet, append(ethernet(0x86, 0xdd), packet...), true},
		{"Ethernet, IPv4", linkEthernet, append(ethernet(0x08, 0x00), packet...), false},
		{"Ethernet, VLAN", linkEthernet, append(ethernet(0x81, 0, 0, 1, 0x86, 0xdd), packet...), true},
		{"Ethernet, two VLANs", linkEthernet, append(ethernet(0x88, 0xa8, 0, 1, 0x81, 0, 0, 1, 0x86, 0xdd), packet...), true},
		{"Ethernet, old double tag", linkEthernet, append(ethernet(0x91, 0, 0, 1, 0x86, 0xdd), packet...), true},
		{"Ethernet, VLAN without end", linkEthernet, ethernet(0x81, 0, 0, 1, 0x81, 0, 0, 1), false},
		{"Ethernet, VLAN cut short", linkEthernet, ethernet(0x81, 0, 0, 1), false},
		{"Ethernet, empty", linkEthernet, ethernet(0x86, 0xdd), false},
		{"Ethernet, runt", linkEthernet, []byte{1, 2, 3}, false},
		{"raw", linkRaw, packet, true},
		{"raw, IPv4", linkRaw, []byte{0x45}, false},
		{"raw, empty", linkRaw, nil, false},
		{"IPv6", linkIPv6, packet, true},
		{"IPv4", linkIPv4, packet, false},
		{"SLL", linkSLL, append(append(make([]byte, 14), 0x86, 0xdd), packet...), true},
		{"SLL, ARP", linkSLL, append(append(make([]byte, 14), 0x08, 0x06), packet...), false},
		{"SLL2", linkSLL2, append(cooked2, packet...), true},
		{"SLL2, empty", linkSLL2, cooked2, false},
		{"NULL, little-endian", linkNull, append([]byte{30, 0, 0, 0}, packet...), true},
		{"NULL, big-endian", linkNull, append([]byte{0, 0, 0, 24}, packet...), true},
		{"NULL, IPv4", linkNull, append([]byte{2, 0, 0, 0}, packet...), false},
		{"NULL, empty", linkNull, []byte{30, 0, 0, 0}, false},
		{"LOOP", linkLoop, append([]byte{0, 0, 0, 28}, packet...), true},
		{"another", 147, packet, false},
	} {
		got := c.link.ipv6(c.frame)
		if c.want && !bytes.Equal(got, packet) || !c.want && got != nil {
			t.Errorf("%s: %x", c.name, got)
		}
	}
}

func TestRejects(t *testing.T) {
	le := func(build func(*file)) []byte {
		f := &file{AppendByteOrder: binary.LittleEndian}
		build(f)
		return f.Bytes()
	}
	ng := func(build func(*file)) []byte {
		return le(func(f *file) {
			f.section()
			f.iface(101, 0)
			build(f)
		})
	}
	for _, c := range []struct {
		name, want string
		input      []byte
	}{
		{"empty", "neither pcap nor pcapng", nil},
		{"short", "neither pcap nor pcapng", []byte{0xd4, 0xc3, 0xb2}},
		{"text", "neither pcap nor pcapng", []byte("6000 0000")},
		{"header cut short", "octet 10: unexpected EOF", le(func(f *file) { f.header(magicMicro, 1) })[:10]},
		{"link type", "link type 147 is not supported", le(func(f *file) { f.header(magicMicro, 147) })},
		{"record header cut short", "octet 32: unexpected EOF", le(func(f *file) { f.header(magicMicro, 1); f.u32(0, 0) })},
		{"record cut short", "octet 50: unexpected EOF", le(func(f *file) { f.header(magicMicro, 1); f.u32(0, 0, 20, 20); f.Write(make([]byte, 10)) })},
		{"huge record", "octet 40: record of 4294967295 octets is longer than the 262144", le(func(f *file) { f.header(magicMicro, 1); f.u32(0, 0, 0xffffffff, 0) })},
		{"section of length 12", "section header block at octet 0: length 12 is not possible", le(func(f *file) { f.u32(blockSectionHeader, 12, byteOrderMagic) })},
		{"huge section", "section header block at octet 0", le(func(f *file) { f.u32(blockSectionHeader, 0xfffffffc, byteOrderMagic) })},
		{"byte order", "byte order magic 0x1020304 is unknown", le(func(f *file) { f.u32(blockSectionHeader, 28, 0x01020304) })},
		{"version", "version 2 is not supported", le(func(f *file) {
			f.u32(blockSectionHeader, 28, byteOrderMagic, 2, 0, 0, 28)
		})},
		{"section lengths", "begins with length 28 and ends with 32", le(func(f *file) {
			f.u32(blockSectionHeader, 28, byteOrderMagic, 1, 0, 0, 32)
		})},
		{"block length odd", "length 13 is not possible", ng(func(f *file) { f.u32(6, 13) })},
		{"block length 8", "length 8 is not possible", ng(func(f *file) { f.u32(6, 8) })},
		{"huge block", "longer than", ng(func(f *file) { f.u32(6, 0x7ffffffc) })},
		{"huge unknown block", "unexpected EOF", ng(func(f *file) { f.u32(0x0bad, 0xfffffffc, 0) })},
		{"block lengths", "begins with length 12 and ends with 16", ng(func(f *file) { f.u32(6, 12, 16) })},
		{"packet block too short", "packet block at octet 48: 0 octets are too short", ng(func(f *file) { f.u32(6, 12, 12) })},
		{"packet longer than its block", "packet of 100 octets in a block with room for 0", ng(func(f *file) {
			f.block(6, func(b *file) { b.u32(0, 0, 0, 100, 100) })
		})},
		{"no such interface", "interface 1 was not described", ng(func(f *file) { f.enhanced(1, 0, ip(1)) })},
		{"interface too short", "interface description block at octet 48: 4 octets", ng(func(f *file) {
			f.block(blockInterface, func(b *file) { b.u32(1) })
		})},
		{"option too long", "option 9 of 100 octets does not fit", ng(func(f *file) { f.iface(1, 0, 9, 0, 100, 0) })},
		{"resolution 10^-20", "time resolution 0x14", ng(func(f *file) { f.iface(1, 0, 9, 0, 1, 0, 20, 0, 0, 0) })},
		{"resolution 2^-64", "time resolution 0xc0", ng(func(f *file) { f.iface(1, 0, 9, 0, 1, 0, 0xc0, 0, 0, 0) })},
		{"too many interfaces", "more than 4096 interfaces", ng(func(f *file) {
			for range maxInterfaces {
				f.iface(101, 0)
			}
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := list(bytes.NewReader(c.input))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, error %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("broken")
	if _, err := NewReader(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

// FuzzReader: whatever comes, it ends, and nothing is read beyond a packet.
func FuzzReader(f *testing.F) {
	for _, order := range orders() {
		classic := &file{AppendByteOrder: order}
		classic.header(magicNano, 1)
		classic.record(1700000000, 5, append(ethernet(0x81, 0, 0, 1, 0x86, 0xdd), ip(1)...))
		f.Add(classic.Bytes())
		ng := &file{AppendByteOrder: order}
		ng.section()
		ng.iface(276, 65535, append(order.AppendUint16(order.AppendUint16(nil, 9), 1), 0x8a, 0, 0, 0)...)
		ng.enhanced(0, 1700000000_000005, append(append([]byte{0x86, 0xdd}, make([]byte, 18)...), ip(2)...))
		ng.simple(ip(3))
		f.Add(ng.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		total := 0
		for {
			p, err := r.Next()
			if err != nil {
				break
			}
			if total += len(p.Data); total > len(b) || len(p.Data) == 0 {
				t.Fatalf("%d octets of packets in %d octets of file", total, len(b))
			}
		}
		if cap(r.buffer) > maxRecord || len(r.interfaces) > maxInterfaces {
			t.Fatalf("buffer of %d octets, %d interfaces", cap(r.buffer), len(r.interfaces))
		}
	})
}
