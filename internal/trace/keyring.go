package trace

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"

	"roam6/cn"
	"roam6/ha"
	"roam6/internal/binding"
	"roam6/internal/esp"
	anchor "roam6/map"
	"roam6/mip6"
	"roam6/mn"
	"roam6/mn/region"
)

// keyring has the keys of one role: in the recorder the real ones, in the player those
// that stand in for them. It finds whether a message is authentic, or makes it so.
//
// Those of the configuration are shared with home agent, mobiles or anchors. Those of
// route optimisation are made of keygen tokens (RFC 6275 §5.2.5) and change with every
// move: the keyring sees the tokens come and the updates go that use them, and so knows
// the key of each update that a correspondent may acknowledge. The correspondent's own
// side is not in the keyring: the role itself knows by what an update is authentic.
type keyring struct {
	// find returns the association that a message with an SPI must be of; nil: none.
	find func(p mip6.Packet) *mip6.SecurityAssociation
	// anchors are the keys of a mobile for anchors, former ones too: it uses one as long as
	// it takes leave of the anchor.
	anchors []region.Key
	tokens  map[tokenOf]mip6.KeygenToken
	keys    map[updateTo]authorization
	// correspondent is the role where it is one; nil: it is another.
	correspondent *cn.Correspondent
}

// tokenOf names a keygen token: by whom it is given, by which nonce, and what for.
type tokenOf struct {
	peer   netip.Addr
	index  uint16
	careOf bool
}

// updateTo names a binding update to a correspondent.
type updateTo struct {
	peer     netip.Addr
	sequence mip6.Sequence
}

// authorization is what such an update was sealed with.
type authorization struct {
	key    mip6.BindingKey
	careOf netip.Addr
}

// maxTokens bounds what a keyring remembers of each; it begins anew beyond.
const maxTokens = 4096

func newKeyring() *keyring {
	none := func(mip6.Packet) *mip6.SecurityAssociation { return nil }
	return &keyring{find: none, tokens: make(map[tokenOf]mip6.KeygenToken), keys: make(map[updateTo]authorization)}
}

// maxAnchors bounds the keys for anchors, configured and former.
const maxAnchors = 64

// mobile takes over the keys of a configuration.
func (k *keyring) mobile(c mn.Config) {
	keys := c.Hierarchy.Keys
	for _, former := range k.anchors {
		if len(keys) < maxAnchors && !slices.ContainsFunc(keys, func(k region.Key) bool { return k.Anchors == former.Anchors }) {
			keys = append(slices.Clip(keys), former)
		}
	}
	k.anchors, c.Hierarchy.Keys = keys, keys
	k.find = mobileAssociation(c)
}

// received takes in what a message brings.
func (k *keyring) received(p mip6.Packet) {
	if len(k.tokens) >= maxTokens {
		clear(k.tokens)
	}
	switch m := p.Message.(type) {
	case mip6.HomeTest:
		k.tokens[tokenOf{p.Source, m.NonceIndex, false}] = m.Token
	case mip6.CareOfTest:
		k.tokens[tokenOf{p.Source, m.NonceIndex, true}] = m.Token
	}
}

// sent takes in what the role has sent.
func (k *keyring) sent(p mip6.Packet) {
	u, ok := p.Message.(mip6.BindingUpdate)
	if !ok {
		return
	}
	indices, ok := mip6.Find[mip6.NonceIndices](u)
	if !ok {
		return
	}
	if len(k.keys) >= maxTokens {
		clear(k.keys)
	}
	home := k.tokens[tokenOf{p.Destination, indices.Home, false}]
	a := authorization{key: mip6.NewDeregistrationKey(home), careOf: p.From()}
	if u.Lifetime != 0 {
		a = authorization{key: mip6.NewBindingKey(home, k.tokens[tokenOf{p.Destination, indices.CareOf, true}]), careOf: p.Source}
	}
	k.keys[updateTo{p.Destination, u.Sequence}] = a
}

// authentic reports whether a message that was received now has an authenticator that
// verifies.
func (k *keyring) authentic(now time.Time, p mip6.Packet) bool {
	switch m := p.Message.(type) {
	case mip6.BindingUpdate:
		if k.correspondent != nil {
			key, careOf, ok := k.correspondent.Authorization(now, p)
			// Some seal a deletion over their care-of address: see package cn.
			return ok && (key.VerifyAuthorization(p.MH, careOf, p.Destination) == nil ||
				m.Lifetime == 0 && key.VerifyAuthorization(p.MH, careOfUpdate(p, m), p.Destination) == nil)
		}
		if sa := k.find(p); sa != nil {
			_, err := binding.Verify(*sa, p.MH, careOfUpdate(p, m), p.Source, p.From())
			return err == nil
		}
	case mip6.BindingAcknowledgement:
		if a, ok := k.keys[updateTo{p.Source, m.Sequence}]; ok {
			err := a.key.VerifyAuthorization(p.MH, a.careOf, p.Source)
			if !errors.Is(err, mip6.ErrNoAuthentication) {
				return err == nil
			}
		}
		if sa := k.find(p); sa != nil {
			return sa.Verify(p.MH, p.Destination, p.To()) == nil
		}
	}
	return false
}

// seal makes a message one that authentic reports true of. What cannot be sealed stays
// as it is.
func (k *keyring) seal(now time.Time, p mip6.Packet) mip6.Packet {
	message := p.Message
	var err error
	switch m := p.Message.(type) {
	case mip6.BindingUpdate:
		if k.correspondent != nil {
			if key, careOf, ok := k.correspondent.Authorization(now, p); ok {
				message, err = key.SealAuthorization(m, careOf, p.Destination)
			}
		} else if sa := k.find(p); sa != nil {
			message, err = sa.Seal(m, careOfUpdate(p, m), p.From())
		}
	case mip6.BindingAcknowledgement:
		if _, proven := mip6.Find[mip6.AuthorizationData](m); proven {
			if a, ok := k.keys[updateTo{p.Source, m.Sequence}]; ok {
				message, err = a.key.SealAuthorization(m, a.careOf, p.Source)
			}
		} else if sa := k.find(p); sa != nil {
			message, err = sa.Seal(m, p.Destination, p.To())
		}
	}
	if err != nil {
		return p
	}
	p.Message = message
	return asReceived(p)
}

// asReceived is a packet as it would be decoded after it was sent.
func asReceived(p mip6.Packet) mip6.Packet {
	b, err := p.Append(nil)
	if err != nil {
		return p
	}
	if q, err := mip6.ParsePacket(b); err == nil {
		return q
	}
	return p
}

// careOfUpdate is the care-of address that an update asks for.
func careOfUpdate(p mip6.Packet, u mip6.BindingUpdate) netip.Addr {
	if alternate, ok := mip6.Find[mip6.AlternateCareOf](u); ok {
		return alternate.Addr
	}
	return p.Source
}

// mobileAssociation finds the association of a message for a mobile: that with an anchor,
// or that with its home agents.
func mobileAssociation(c mn.Config) func(mip6.Packet) *mip6.SecurityAssociation {
	return func(p mip6.Packet) *mip6.SecurityAssociation {
		if p.To() == c.HomeAddress {
			return c.SA
		}
		k, _ := c.Hierarchy.KeyOf(p.Source)
		return k.SA
	}
}

// agent takes over the keys of a home agent's configuration. The association of a message
// is that of the mobile with the home address, under whatever home prefix.
func (k *keyring) agent(c ha.Config) {
	exact := make(map[netip.Addr]*mip6.SecurityAssociation, len(c.Mobiles))
	interfaces := make(map[[8]byte]*mip6.SecurityAssociation, len(c.Mobiles))
	for _, m := range c.Mobiles {
		exact[m.HomeAddress], interfaces[interfaceID(m.HomeAddress)] = m.SA, m.SA
	}
	k.find = func(p mip6.Packet) *mip6.SecurityAssociation {
		if sa, ok := exact[p.From()]; ok {
			return sa
		}
		return interfaces[interfaceID(p.From())]
	}
}

// anchor takes over the keys of an anchor's configuration: an update says by its SPI which
// visitor it is of.
func (k *keyring) anchor(c anchor.Config) {
	visitors := make(map[uint32]*mip6.SecurityAssociation, len(c.Visitors))
	for _, v := range c.Visitors {
		if v.SA != nil {
			visitors[v.SA.SPI] = v.SA
		}
	}
	k.find = func(p mip6.Packet) *mip6.SecurityAssociation {
		option, _ := mip6.AuthenticationOf(p.Message)
		return visitors[option.SPI]
	}
}

func interfaceID(a netip.Addr) [8]byte {
	b := a.As16()
	return [8]byte(b[8:])
}

// standIn is the key that takes the place of a real one in a player. Everybody knows it.
func standIn(spi uint32) *mip6.SecurityAssociation {
	sum := sha256.Sum256(binary.BigEndian.AppendUint32([]byte("roam6 trace"), spi))
	return &mip6.SecurityAssociation{SPI: spi, Key: mip6.SharedKey(sum[:])}
}

// standInESP is that of IPsec, of which a role knows no more than that it is there.
func standInESP(spi uint32) *esp.Association {
	sum := sha256.Sum256(binary.BigEndian.AppendUint32([]byte("roam6 trace ESP"), spi))
	const algorithm = esp.AESGCM
	return &esp.Association{SPI: spi, Algorithm: algorithm, Key: esp.Key(sum[:algorithm.KeyLengths()[0]])}
}

// standInSecrets takes the place of the secrets of a correspondent in a player: they differ
// from each other, and everybody knows them.
func standInSecrets() func([]byte) {
	var drawn uint64
	return func(b []byte) {
		for len(b) > 0 {
			drawn++
			sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("roam6 trace secret"), drawn))
			b = b[copy(b, sum[:]):]
		}
	}
}

// veil takes out of messages what must not be in a file.
type veil struct{ secret [32]byte }

// packet returns a message without authenticators, and with other keygen tokens, of which
// nobody learns the real ones: the same ones for the same.
func (v *veil) packet(p mip6.Packet) mip6.Packet {
	switch m := p.Message.(type) {
	case mip6.BindingUpdate:
		m.Options = withoutAuthenticators(m.Options)
		p.Message = m
	case mip6.BindingAcknowledgement:
		m.Options = withoutAuthenticators(m.Options)
		p.Message = m
	default:
		p.Message = withToken(m, v.token)
	}
	return p
}

func (v *veil) token(t mip6.KeygenToken) mip6.KeygenToken {
	h := hmac.New(sha256.New, v.secret[:])
	h.Write(t[:])
	return mip6.KeygenToken(h.Sum(nil))
}

func withoutAuthenticators(options []mip6.Option) []mip6.Option {
	out := slices.Clone(options)
	for i, o := range out {
		switch o := o.(type) {
		case mip6.Authentication:
			o.Data = make([]byte, len(o.Data))
			out[i] = o
		case mip6.AuthorizationData:
			out[i] = mip6.AuthorizationData{}
		}
	}
	return out
}
