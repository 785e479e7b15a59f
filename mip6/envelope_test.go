package mip6

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"
)

// RFC 3776 §3.1: an envelope is opened at its payload and closed again, with the
// payload in something else or as it was.
func TestEnvelope(t *testing.T) {
	home, careOf, agent := netip.MustParseAddr("2001:db8:10::100"), netip.MustParseAddr("2001:db8:a1::7"), netip.MustParseAddr("2001:db8:10::1")
	for _, p := range []Packet{
		{Source: careOf, Destination: agent, HomeAddress: home, Message: BindingUpdate{Sequence: 7}},
		{Source: agent, Destination: careOf, RouteHome: home, Message: BindingAcknowledgement{Sequence: 7}},
		{Source: careOf, Destination: agent, HomeAddress: home, RouteHome: agent, Message: BindingUpdate{Sequence: 7}},
		{Source: home, Destination: agent, Message: BindingUpdate{Sequence: 7}},
	} {
		packet, err := p.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		e, err := ParseEnvelope(append(slices.Clone(packet), "padding of the frame"...))
		if err != nil || e.Protocol != ProtocolMobility || e.From() != p.From() || e.To() != p.To() ||
			e.Source != p.Source || e.Destination != p.Destination || !bytes.HasSuffix(packet, e.Payload) {
			t.Fatalf("%+v (%v)", e, err)
		}
		hidden := append(e.AppendHeaders([]byte("before"), ProtocolESP), "hidden"...)[len("before"):]
		if err := SetPayloadLength(hidden); err != nil {
			t.Fatal(err)
		}
		f, err := ParseEnvelope(hidden)
		if err != nil || f.Protocol != ProtocolESP || string(f.Payload) != "hidden" || f.From() != e.From() || f.To() != e.To() {
			t.Errorf("%x: %+v (%v)", hidden, f, err)
		}
		again := append(f.AppendHeaders(nil, e.Protocol), e.Payload...)
		if err := SetPayloadLength(again); err != nil || !bytes.Equal(again, packet) {
			t.Errorf("%x, want %x (%v)", again, packet, err)
		}
		for n := range packet {
			_, err := ParseEnvelope(packet[:n])
			var perr *ParseError
			if !errors.As(err, &perr) {
				t.Errorf("%d octets: %v", n, err)
			}
		}
	}
	tunnel, err := AppendTunnelHeader(nil, careOf, agent, ProtocolESP)
	if err != nil || len(tunnel) != 40 {
		t.Fatalf("%x (%v)", tunnel, err)
	}
	if e, err := ParseEnvelope(tunnel); err != nil || e.Protocol != ProtocolESP || e.Source != careOf || e.Destination != agent || len(e.Payload) != 0 {
		t.Errorf("%+v (%v)", e, err)
	}
	if b, err := AppendTunnelHeader([]byte("b"), netip.MustParseAddr("192.0.2.1"), agent, ProtocolESP); !errors.Is(err, ErrNotIPv6) || string(b) != "b" {
		t.Errorf("%q, %v", b, err)
	}
	tunnel[6] = 17
	if _, err := ParseEnvelope(tunnel); !errors.Is(err, ErrNotMobility) {
		t.Error(err)
	}
	if err := SetPayloadLength(make([]byte, 40+1<<16)); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
}
