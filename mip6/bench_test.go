package mip6

import (
	"net/netip"
	"testing"
)

var benchmarkPacket = func() Packet {
	p := packetVectors[0].packet
	u := p.Message.(BindingUpdate)
	u.Flags |= UpdateMobileRouter
	u.Options = append([]Option{
		AlternateCareOf{Addr: careOf},
		MobileNetworkPrefix{Prefix: netip.MustParsePrefix("2001:db8:aaaa::/48")},
	}, u.Options[1])
	p.Message = u
	return p
}()

func sealedPacket(b *testing.B) (Packet, []byte) {
	b.Helper()
	p := benchmarkPacket
	m, err := testAssociation.Seal(p.Message, careOf, mobile)
	if err != nil {
		b.Fatal(err)
	}
	p.Message = m
	wire, err := p.Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	return p, wire
}

func BenchmarkDecodeBindingUpdate(b *testing.B) {
	_, wire := sealedPacket(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePacket(wire); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeBindingUpdate(b *testing.B) {
	p, wire := sealedPacket(b)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if wire, err = p.Append(wire[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := testAssociation.Seal(benchmarkPacket.Message, careOf, mobile); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	_, wire := sealedPacket(b)
	p, err := ParsePacket(wire)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := testAssociation.Verify(p.MH, careOf, mobile); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeGarbage(b *testing.B) {
	_, wire := sealedPacket(b)
	wire[68] ^= 1 // a bad checksum, as a flood would have
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePacket(wire); err == nil {
			b.Fatal("decoded")
		}
	}
}
