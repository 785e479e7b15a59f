package mip6

import (
	"encoding/hex"
	"errors"
	"reflect"
	"testing"
)

var (
	testNodeKey = NodeKey{0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9,
		0xea, 0xeb, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf2, 0xf3}
	testHomeNonce   = Nonce{0, 1, 2, 3, 4, 5, 6, 7}
	testCareOfNonce = Nonce{8, 9, 10, 11, 12, 13, 14, 15}
)

// RFC 6275 §5.2.5; the values were computed by another implementation.
//
// Covers: C5.
func TestReturnRoutabilityKeys(t *testing.T) {
	home := testNodeKey.HomeToken(mobile, testHomeNonce)
	away := testNodeKey.CareOfToken(careOf, testCareOfNonce)
	binding := NewBindingKey(home, away)
	deletion := NewDeregistrationKey(home)
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"home keygen token", "d719e1f2c6e5ce8a", home[:]},
		{"care-of keygen token", "0219afbf27f2094b", away[:]},
		{"Kbm", "595f04894deada6c2d3b563832b3fe3e79cfb414", binding[:]},
		{"Kbm of a deletion", "efd8b3cc0f7f99df1bd38eb83f0d52a5e9c03e6e", deletion[:]},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s %s, want %s", c.name, got, c.want)
		}
	}
	if testNodeKey.HomeToken(mobile, testHomeNonce) == testNodeKey.CareOfToken(mobile, testHomeNonce) {
		t.Error("home and care-of token of one address are the same")
	}
}

// RFC 6275 §5.2.6 and §6.2.7; the octets were computed by another
// implementation.
//
// Covers: C5.
func TestAuthorizationVectors(t *testing.T) {
	home := testNodeKey.HomeToken(mobile, testHomeNonce)
	binding := NewBindingKey(home, testNodeKey.CareOfToken(careOf, testCareOfNonce))
	for _, c := range []struct {
		name    string
		key     BindingKey
		message Message
		update  bool // sent by the mobile node
		delete  bool
		wire    string
	}{
		{
			"binding update", binding,
			BindingUpdate{Sequence: 7, Flags: UpdateAcknowledge, Lifetime: 105, Options: []Option{NonceIndices{Home: 3, CareOf: 5}}},
			true, false,
			"3b030500 bdff 0007 8000 0069 0404 0003 0005 050c 1eae888b08bf229a5faae9d9",
		},
		{
			"binding acknowledgement", binding,
			BindingAcknowledgement{Sequence: 7, Lifetime: 105},
			false, false,
			"3b030600 aac0 0000 0007 0069 010400000000 050c d2edfaaacbbc1eaef2b306a7",
		},
		{
			"deletion", NewDeregistrationKey(home),
			BindingUpdate{Sequence: 8, Flags: UpdateAcknowledge, Options: []Option{NonceIndices{Home: 3}}},
			true, true,
			"3b030500 5a1b 0008 8000 0000 0404 0003 0000 050c 9a92db5f53575d47e4ab752b",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			registered := careOf
			if c.delete {
				registered = mobile // RFC 6275 §6.2.7
			}
			sealed, err := c.key.SealAuthorization(c.message, registered, correspondent)
			if err != nil {
				t.Fatal(err)
			}
			src, dst := mobile, correspondent
			if !c.update {
				src, dst = dst, src
			}
			wire := octets(t, c.wire)
			got, err := AppendMessage(nil, src, dst, sealed)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(wire) {
				t.Errorf("sealed\n%x, want\n%x", got, wire)
			}
			again, err := c.key.SealAuthorization(sealed, registered, correspondent)
			if err != nil || !reflect.DeepEqual(again, sealed) {
				t.Errorf("sealed again: %#v, %v", again, err)
			}
			if err := c.key.VerifyAuthorization(wire, registered, correspondent); err != nil {
				t.Error(err)
			}
			if err := c.key.VerifyAuthorization(wire, registered, homeAgent); !errors.Is(err, ErrBadAuthenticator) {
				t.Errorf("another correspondent: %v", err)
			}
			if err := c.key.VerifyAuthorization(wire, homeAgent, correspondent); !errors.Is(err, ErrBadAuthenticator) {
				t.Errorf("another care-of address: %v", err)
			}
			for bit := range len(wire) * 8 {
				bad := append([]byte(nil), wire...)
				bad[bit/8] ^= 1 << (bit % 8)
				err := c.key.VerifyAuthorization(bad, registered, correspondent)
				if inChecksum := bit/8 == 4 || bit/8 == 5; inChecksum != (err == nil) {
					t.Errorf("bit %d wrong: %v", bit, err)
				}
			}
		})
	}
}

func TestVerifyAuthorizationRejects(t *testing.T) {
	key := BindingKey{1}
	plain, err := AppendMessage(nil, mobile, correspondent, vectorUpdate(NonceIndices{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := key.VerifyAuthorization(plain, careOf, correspondent); !errors.Is(err, ErrNoAuthentication) {
		t.Errorf("no option: %v", err)
	}
	// RFC 6275 §6.2: the last option, without trailing padding.
	followed := octets(t, "3b040500 0000 0001 8000 000a 0404 0003 0005 050c 000102030405060708090a0b 0106000000000000")
	if err := key.VerifyAuthorization(followed, careOf, correspondent); !errors.Is(err, ErrNoAuthentication) {
		t.Errorf("followed by padding: %v", err)
	}
	var perr *ParseError
	short := octets(t, "3b010500 0000 0001 8000 000a 0502 0001")
	if err := key.VerifyAuthorization(short, careOf, correspondent); !errors.As(err, &perr) {
		t.Errorf("of length 2: %v", err)
	}
	if err := key.VerifyAuthorization(plain[:8], careOf, correspondent); !errors.As(err, &perr) {
		t.Errorf("cut short: %v", err)
	}
	if err := key.VerifyAuthorization(octets(t, "3b000000 0000 0000"), careOf, correspondent); err == nil {
		t.Error("a binding refresh request verifies")
	}
	if _, err := key.SealAuthorization(HomeTest{}, careOf, correspondent); err == nil {
		t.Error("a home test can be sealed")
	}
}
