package cn

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// What is secret is drawn where it is to be, and nothing of it elsewhere; the role tells by
// what an update is authentic, for as long as its nonces are good.
func TestAuthorization(t *testing.T) {
	var known, secret []byte
	fill := func(into *[]byte, with byte) func([]byte) {
		return func(b []byte) {
			for i := range b {
				b[i] = with + byte(len(*into)+i)
			}
			*into = append(*into, b...)
		}
	}
	c := New(Config{Optimise: true, Random: fill(&known, 0), Secret: fill(&secret, 100)})
	const seeds, index, nodeKey, nonce = 4 * 16, 2, 20, 8
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	home, careOf, node := netip.MustParseAddr("2001:db8:10::100"), netip.MustParseAddr("2001:db8:a1::7"), netip.MustParseAddr("2001:db8:5::1")
	out := c.Handle(now, role.MessageReceived{Packet: mip6.Packet{Source: home, Destination: node, Message: mip6.HomeTestInit{}}})
	if len(known) != seeds+index || len(secret) != nodeKey+nonce {
		t.Errorf("%d octets drawn, %d of them for secrets", len(known)+len(secret), len(secret))
	}
	test := out[0].(role.Send).Packet.Message.(mip6.HomeTest)
	token := mip6.NodeKey(secret[:nodeKey]).HomeToken(home, mip6.Nonce(secret[nodeKey:]))
	if test.Token != token {
		t.Error("the token is not made of the secrets")
	}
	careOfToken := mip6.NodeKey(secret[:nodeKey]).CareOfToken(careOf, mip6.Nonce(secret[nodeKey:]))
	update := func(lifetime mip6.Lifetime, nonces ...mip6.Option) mip6.Packet {
		return mip6.Packet{Source: careOf, Destination: node, HomeAddress: home, Message: mip6.BindingUpdate{Lifetime: lifetime, Options: append(nonces, mip6.AuthorizationData{})}}
	}
	good := mip6.NonceIndices{Home: test.NonceIndex, CareOf: test.NonceIndex}
	for name, tt := range map[string]struct {
		packet mip6.Packet
		at     time.Time
		key    mip6.BindingKey // zero: none
		careOf netip.Addr
	}{
		"registration":       {update(9, good), now, mip6.NewBindingKey(token, careOfToken), careOf},
		"deletion":           {update(0, good), now, mip6.NewDeregistrationKey(token), home},
		"nonces too old":     {update(9, good), now.Add(maxNonceLifetime), mip6.BindingKey{}, netip.Addr{}},
		"nonces of nobody":   {update(9, mip6.NonceIndices{Home: test.NonceIndex, CareOf: test.NonceIndex + 1}), now, mip6.BindingKey{}, netip.Addr{}},
		"no nonces":          {update(9), now, mip6.BindingKey{}, netip.Addr{}},
		"something else":     {mip6.Packet{Source: home, Destination: node, Message: mip6.HomeTestInit{}}, now, mip6.BindingKey{}, netip.Addr{}},
		"for somebody else":  {mip6.Packet{Source: careOf, Destination: node, RouteHome: home, Message: update(9, good).Message}, now, mip6.BindingKey{}, netip.Addr{}},
		"until the last one": {update(9, good), now.Add(maxNonceLifetime - 1), mip6.NewBindingKey(token, careOfToken), careOf},
	} {
		key, over, ok := c.Authorization(tt.at, tt.packet)
		if ok != (tt.key != mip6.BindingKey{}) || key != tt.key || over != tt.careOf {
			t.Errorf("%s: ok %t, over %v", name, ok, over)
		}
	}
}
