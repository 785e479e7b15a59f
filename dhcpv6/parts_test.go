package dhcpv6

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
)

// RFC 6276 §3.1.2, §3.1.3: hop-count 1, the home address as link- and peer-address.
//
// Covers: D1.
func TestRelay(t *testing.T) {
	home := netip.MustParseAddr("2001:db8::5")
	inner := []byte{1, 2, 3, 4, 0, 8, 0, 2, 0, 0}
	octets, err := RelayForward(home, inner)
	if err != nil {
		t.Fatal(err)
	}
	m, err := wire.RelayMessageFromBytes(octets)
	if err != nil {
		t.Fatal(err)
	}
	if m.MessageType != wire.MessageTypeRelayForward || m.HopCount != 1 ||
		!bytes.Equal(m.LinkAddr, home.AsSlice()) || !bytes.Equal(m.PeerAddr, home.AsSlice()) ||
		!bytes.Equal(m.Options.RelayMessage().ToBytes(), inner) {
		t.Errorf("%v", m.Summary())
	}
	for _, a := range []string{"::", "1.2.3.4", "::ffff:1.2.3.4", "ff02::1", "fe80::1%eth0"} {
		if _, err := RelayForward(netip.MustParseAddr(a), inner); !errors.Is(err, ErrHomeAddress) {
			t.Errorf("%s: %v", a, err)
		}
	}
	if _, err := RelayForward(netip.Addr{}, inner); !errors.Is(err, ErrHomeAddress) {
		t.Error(err)
	}
	if _, err := RelayForward(home, nil); !errors.Is(err, ErrNoMessage) {
		t.Error(err)
	}
	if _, err := RelayForward(home, make([]byte, 1<<16)); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}

	octets[0] = byte(wire.MessageTypeRelayReply)
	if got, err := RelayedReply(octets); err != nil || !bytes.Equal(got, inner) {
		t.Errorf("%x, %v", got, err)
	}
	for i := range octets {
		if _, err := RelayedReply(octets[:i]); err == nil {
			t.Errorf("%d of %d octets make a reply", i, len(octets))
		}
	}
	octets[0] = byte(wire.MessageTypeRelayForward)
	if _, err := RelayedReply(octets); !errors.Is(err, ErrNotReply) {
		t.Error(err)
	}
	empty := append([]byte{13, 0}, make([]byte, 32)...)
	if _, err := RelayedReply(empty); !errors.Is(err, ErrNoMessage) {
		t.Error(err)
	}
}

// RFC 8415 §18.2.10.1, RFC 4291 §2.5.4.
func TestSubnets(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want []string
	}{
		{"2001:db8:f00::/56", 3, []string{"2001:db8:f00::/64", "2001:db8:f00:1::/64", "2001:db8:f00:2::/64"}},
		{"2001:db8:f00:ff::1/63", 9, []string{"2001:db8:f00:fe::/64", "2001:db8:f00:ff::/64"}},
		{"2001:db8::/64", 2, []string{"2001:db8::/64"}},
		{"2001:db8::/65", 2, nil},
		{"2001:db8::/48", 0, nil},
		{"2001:db8::/48", -1, nil},
		{"1.2.3.0/24", 2, nil},
		{"2001::/16", 1, []string{"2001::/64"}},
	} {
		var got []string
		for _, p := range Subnets(netip.MustParsePrefix(c.in), c.n) {
			got = append(got, p.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d of %s: %v", c.n, c.in, got)
		}
	}
	if Subnets(netip.Prefix{}, 1) != nil {
		t.Error("subnets of nothing")
	}
}

// RFC 8415 §11.5, RFC 6355, RFC 4122 §4.4.
func TestDUID(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	fill := func(b []byte) { r.Read(b) }
	a, b := NewDUID(fill), NewDUID(fill)
	if bytes.Equal(a, b) || len(a) != 18 || a[0] != 0 || a[1] != 4 {
		t.Errorf("%x, %x", a, b)
	}
	if a[8]>>4 != 4 || a[10]>>6 != 2 {
		t.Errorf("%x is not a random UUID", a)
	}
	if d, err := wire.DUIDFromBytes(a); err != nil || d.DUIDType() != wire.DUID_UUID {
		t.Errorf("%v, %v", d, err)
	}
}

func TestValidate(t *testing.T) {
	if err := testConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{Link: -1, MaxSolicits: -1, Hints: []netip.Prefix{{}, netip.MustParsePrefix("::/0"), netip.MustParsePrefix("1.2.3.0/24")}}
	if err := bad.Validate(); err == nil || len(strings.Split(err.Error(), "\n")) != 7 {
		t.Error(err)
	}
}

// RFC 8415 §12: the same after every restart, so the value is written down here.
func TestIAID(t *testing.T) {
	if got := IAIDOf("wan"); got != 0x2be2e301 || got == IAIDOf("wwan") {
		t.Errorf("%#x", got)
	}
}
