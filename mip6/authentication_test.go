package mip6

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

var testAssociation = SecurityAssociation{
	SPI: 1024,
	Key: SharedKey{0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f},
}

// RFC 4285 §5.1: the authenticators of the packet vectors were computed by
// another implementation.
func TestSealAndVerifyVectors(t *testing.T) {
	for _, v := range packetVectors[:2] {
		t.Run(v.name, func(t *testing.T) {
			want := v.packet.Message
			options := want.MobilityOptions()
			unsealed, err := withOptions(want, options[:len(options)-1])
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range []Message{unsealed, want} { // without one, and replacing one
				sealed, err := testAssociation.Seal(m, careOf, mobile)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(sealed, want) {
					t.Errorf("sealed %#v, want %#v", sealed, want)
				}
			}
			if n := len(unsealed.MobilityOptions()); n != len(options)-1 {
				t.Errorf("the original has %d options now", n)
			}
			p, err := ParsePacket(octets(t, v.wire))
			if err != nil {
				t.Fatal(err)
			}
			if err := testAssociation.Verify(p.MH, careOf, mobile); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerifyRejects(t *testing.T) {
	p, err := ParsePacket(octets(t, packetVectors[0].wire))
	if err != nil {
		t.Fatal(err)
	}
	other := testAssociation
	other.Key[15] ^= 1
	if err := other.Verify(p.MH, careOf, mobile); !errors.Is(err, ErrBadAuthenticator) {
		t.Errorf("another key: %v", err)
	}
	other = testAssociation
	other.SPI++
	if err := other.Verify(p.MH, careOf, mobile); !errors.Is(err, ErrUnknownSPI) {
		t.Errorf("another SPI: %v", err)
	}
	for name, pair := range map[string][2]netip.Addr{
		"another care-of address": {homeAgent, mobile},
		"another home address":    {careOf, homeAgent},
		"addresses swapped":       {mobile, careOf},
	} {
		if err := testAssociation.Verify(p.MH, pair[0], pair[1]); !errors.Is(err, ErrBadAuthenticator) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := testAssociation.Verify(p.MH, netip.MustParseAddr("192.0.2.1"), mobile); !errors.Is(err, ErrNotIPv6) {
		t.Errorf("IPv4: %v", err)
	}
	var perr *ParseError
	if err := testAssociation.Verify(p.MH[:16], careOf, mobile); !errors.As(err, &perr) {
		t.Errorf("cut short: %v", err)
	}
	// Every bit of the message is protected; only the checksum is not.
	for bit := range len(p.MH) * 8 {
		bad := append([]byte(nil), p.MH...)
		bad[bit/8] ^= 1 << (bit % 8)
		err := testAssociation.Verify(bad, careOf, mobile)
		if inChecksum := bit/8 == 4 || bit/8 == 5; inChecksum != (err == nil) {
			t.Errorf("bit %d wrong: %v", bit, err)
		}
	}
}

func TestVerifyPlacement(t *testing.T) {
	seal := func(options ...Option) []byte {
		t.Helper()
		m, err := testAssociation.Seal(vectorUpdate(), careOf, mobile)
		if err != nil {
			t.Fatal(err)
		}
		own, _ := AuthenticationOf(m)
		b, err := AppendMessage(nil, mobile, homeAgent, vectorUpdate(append([]Option{own}, options...)...))
		if err != nil {
			t.Fatal(err)
		}
		// What follows is not covered, but the Header Len is: seal again by hand.
		at, err := findAuthentication(b)
		if err != nil {
			t.Fatal(err)
		}
		mac, err := authenticator(testAssociation.Key[:], careOf, mobile, b[:at.covered])
		if err != nil {
			t.Fatal(err)
		}
		copy(b[at.covered:], mac[:])
		return b
	}
	if err := testAssociation.Verify(seal(), careOf, mobile); err != nil {
		t.Errorf("alone: %v", err)
	}
	// RFC 4285 §5.1: the last option, if it is the only one of its kind; §5:
	// MN-HA before MN-AAA.
	aaa := Authentication{Subtype: AuthenticationMNAAA, SPI: 3, Data: make([]byte, 20)}
	if err := testAssociation.Verify(seal(aaa), careOf, mobile); err != nil {
		t.Errorf("with an MN-AAA option behind it: %v", err)
	}
	for _, o := range []Option{
		RefreshAdvice{Interval: 1},
		UnknownOption{Type: 200},
		MobileNetworkPrefix{Prefix: netip.MustParsePrefix("2001:db8::/32")},
		Authentication{Subtype: 3, SPI: 3},
	} {
		if err := testAssociation.Verify(seal(o), careOf, mobile); !errors.Is(err, ErrBadAuthenticator) {
			t.Errorf("%v option behind it: %v", o.OptionType(), err)
		}
	}
	if err := testAssociation.Verify(seal(aaa, RefreshAdvice{}), careOf, mobile); !errors.Is(err, ErrBadAuthenticator) {
		t.Errorf("an option behind the MN-AAA option: %v", err)
	}
}

func TestVerifyWithoutAuthentication(t *testing.T) {
	plain, err := AppendMessage(nil, mobile, homeAgent, vectorUpdate(RefreshAdvice{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := testAssociation.Verify(plain, careOf, mobile); !errors.Is(err, ErrNoAuthentication) {
		t.Errorf("no option: %v", err)
	}
	aaa, err := AppendMessage(nil, mobile, homeAgent, vectorUpdate(Authentication{Subtype: AuthenticationMNAAA, SPI: 1024, Data: make([]byte, 12)}))
	if err != nil {
		t.Fatal(err)
	}
	if err := testAssociation.Verify(aaa, careOf, mobile); !errors.Is(err, ErrNoAuthentication) {
		t.Errorf("only MN-AAA: %v", err)
	}
	request, err := AppendMessage(nil, homeAgent, mobile, BindingRefreshRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := testAssociation.Verify(request, careOf, mobile); err == nil {
		t.Error("a binding refresh request verifies")
	}
	if _, err := testAssociation.Seal(BindingRefreshRequest{}, careOf, mobile); err == nil {
		t.Error("a binding refresh request can be sealed")
	}
	if _, err := testAssociation.Seal(vectorUpdate(AuthorizationData{}), careOf, mobile); !errors.Is(err, ErrOptionOrder) {
		t.Errorf("with authorization data: %v", err)
	}
	if _, err := testAssociation.Seal(vectorUpdate(), netip.Addr{}, mobile); !errors.Is(err, ErrNotIPv6) {
		t.Errorf("without care-of address: %v", err)
	}
}

func TestAuthenticationOf(t *testing.T) {
	aaa := Authentication{Subtype: AuthenticationMNAAA, SPI: 3}
	own := Authentication{Subtype: AuthenticationMNHA, SPI: 1024}
	if _, ok := AuthenticationOf(vectorUpdate(aaa)); ok {
		t.Error("took the MN-AAA option")
	}
	if got, ok := AuthenticationOf(vectorUpdate(own, aaa)); !ok || got.SPI != 1024 {
		t.Errorf("got %v, %v", got, ok)
	}
}

// A key shows itself nowhere.
func TestKeysAreRedacted(t *testing.T) {
	key := testAssociation.Key
	type holder struct {
		Association SecurityAssociation
		Node        NodeKey
		Nonce       Nonce
		Binding     BindingKey
	}
	h := holder{testAssociation, NodeKey(make([]byte, 20)), Nonce{}, BindingKey{}}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", key, "association", testAssociation, "holder", h)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key, "association", testAssociation, "holder", h)
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{"slog": log.String(), "json": string(text)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q", "%b"} {
		shown[verb] = fmt.Sprintf(verb+verb+verb, key, testAssociation, h)
	}
	shown["%v of pointers"] = fmt.Sprintf("%v %+v", &key, &testAssociation)
	for how, s := range shown {
		if !strings.Contains(s, redacted) {
			t.Errorf("%s: %q", how, s)
		}
		for _, secret := range []string{"16 17 18", "0x10", "101112", "17,18", "0 0 0 0", "0, 0, 0", "10001"} {
			if strings.Contains(s, secret) {
				t.Errorf("%s shows a key: %q", how, s)
			}
		}
	}
}
