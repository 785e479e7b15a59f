package dhcpconn

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"net/netip"
	"slices"
	"testing"

	"roam6/internal/role"
)

var (
	relayEnd  = netip.MustParseAddrPort("[2001:db8:10::100]:547")
	serverEnd = netip.MustParseAddrPort("[2001:db8:10::1]:547")
)

// RFC 768, RFC 8200 §8.1: datagrams as a kernel makes them. The one here was captured
// from a UDP socket.
func TestDatagram(t *testing.T) {
	message := []byte("\x0c\x01relay")
	b, err := AppendDatagram([]byte("before"), relayEnd, serverEnd, message)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(b), hex.EncodeToString([]byte("before"))+"02230223000f3b2f0c0172656c6179"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	got, err := ParseDatagram(b[len("before"):], relayEnd.Addr(), serverEnd.Addr())
	if want := (role.DHCPReceived{From: relayEnd, To: serverEnd}); err != nil || got.From != want.From || got.To != want.To || got.Link != 0 || !bytes.Equal(got.Message, message) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Every length, odd and even, and every sum: there is no checksum of zero.
func TestDatagramChecksum(t *testing.T) {
	for n := leastMessage; n < 80; n++ {
		message := bytes.Repeat([]byte{0xff, byte(n)}, n)[:n]
		for last := range 256 {
			message[n-1] = byte(last)
			b, err := AppendDatagram(nil, relayEnd, serverEnd, message)
			if err != nil || b[offsetChecksum] == 0 && b[offsetChecksum+1] == 0 {
				t.Fatalf("%d octets: %x, %v", n, b, err)
			}
			if got, err := ParseDatagram(b, relayEnd.Addr(), serverEnd.Addr()); err != nil || !bytes.Equal(got.Message, message) {
				t.Fatalf("%d octets: %+v, %v", n, got, err)
			}
			b[8+n/2] ^= 0x40
			if _, err := ParseDatagram(b, relayEnd.Addr(), serverEnd.Addr()); !errors.Is(err, ErrChecksum) {
				t.Fatalf("%d octets, damaged: %v", n, err)
			}
		}
	}
	// The sum of which the complement is zero is sent as its other form.
	message := []byte{0, 0, 0, 0}
	b, err := AppendDatagram(nil, relayEnd, serverEnd, message)
	if err != nil {
		t.Fatal(err)
	}
	copy(message, b[offsetChecksum:offsetChecksum+2])
	if b, err = AppendDatagram(nil, relayEnd, serverEnd, message); err != nil || b[offsetChecksum] != 0xff || b[offsetChecksum+1] != 0xff {
		t.Errorf("%x, %v", b, err)
	}
	if _, err := ParseDatagram(b, relayEnd.Addr(), serverEnd.Addr()); err != nil {
		t.Error(err)
	}
}

// What is no datagram of a message is not taken, nor made.
//
// Covers: Attack: malformed options.
func TestDatagramRejects(t *testing.T) {
	good, err := AppendDatagram(nil, relayEnd, serverEnd, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	edited := func(edit func([]byte) []byte) []byte { return edit(slices.Clone(good)) }
	long, err := AppendDatagram(nil, relayEnd, serverEnd, make([]byte, maxMessage+1))
	if err != nil {
		t.Fatal(err)
	}
	from, to := relayEnd.Addr(), serverEnd.Addr()
	for name, test := range map[string]struct {
		datagram []byte
		from, to netip.Addr
		want     error
	}{
		"right":                    {good, from, to, nil},
		"nothing":                  {nil, from, to, ErrLength},
		"a header":                 {good[:8], from, to, ErrLength},
		"cut off":                  {good[:len(good)-1], from, to, ErrLength},
		"longer than it says":      {append(slices.Clone(good), 0), from, to, ErrLength},
		"too long":                 {long, from, to, ErrLength},
		"no checksum":              {edited(func(b []byte) []byte { b[6], b[7] = 0, 0; return b }), from, to, ErrChecksum},
		"damaged":                  {edited(func(b []byte) []byte { b[10] ^= 1; return b }), from, to, ErrChecksum},
		"from another address":     {good, from.Next(), to, ErrChecksum},
		"from port zero":           {edited(func(b []byte) []byte { b[0], b[1] = 0, 0; return b }), from, to, ErrAddress},
		"from a group":             {good, netip.MustParseAddr("ff02::1"), to, ErrAddress},
		"from nowhere":             {good, netip.Addr{}, to, ErrAddress},
		"to an address of IPv4":    {good, from, netip.MustParseAddr("192.0.2.1"), ErrAddress},
		"from the unspecified one": {good, netip.IPv6Unspecified(), to, ErrAddress},
	} {
		if got, err := ParseDatagram(test.datagram, test.from, test.to); !errors.Is(err, test.want) || (got.Message != nil) != (test.want == nil) {
			t.Errorf("%s: %+v, %v, want %v", name, got, err, test.want)
		}
	}
	for name, test := range map[string]struct {
		from, to netip.AddrPort
		message  []byte
		want     error
	}{
		"from nowhere":    {netip.AddrPort{}, serverEnd, []byte("message"), ErrAddress},
		"to IPv4":         {relayEnd, netip.MustParseAddrPort("192.0.2.1:547"), []byte("message"), ErrAddress},
		"to port zero":    {relayEnd, netip.AddrPortFrom(to, 0), []byte("message"), ErrAddress},
		"no message":      {relayEnd, serverEnd, nil, ErrLength},
		"a giant message": {relayEnd, serverEnd, make([]byte, math.MaxUint16-7), ErrLength},
	} {
		if b, err := AppendDatagram([]byte("b"), test.from, test.to, test.message); !errors.Is(err, test.want) || string(b) != "b" {
			t.Errorf("%s: %q, %v, want %v", name, b, err, test.want)
		}
	}
}

// What is read can be written, and is the same then.
func FuzzParseDatagram(f *testing.F) {
	good, err := AppendDatagram(nil, relayEnd, serverEnd, []byte("message"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:9])
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseDatagram(b, relayEnd.Addr(), serverEnd.Addr())
		if err != nil || m.To.Port() == 0 {
			return
		}
		if again, err := AppendDatagram(nil, m.From, m.To, m.Message); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x (%v)", b, again, err)
		}
	})
}
