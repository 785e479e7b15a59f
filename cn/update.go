package cn

import (
	"errors"
	"net/netip"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
	"roam6/mip6"
)

// update is a binding update as the correspondent reads it: who asks for what.
type update struct {
	pair
	source   netip.Addr // of the packet: where the answer goes
	careOf   netip.Addr // the one to bind
	flags    mip6.UpdateFlags
	sequence mip6.Sequence
	lifetime mip6.Lifetime
	nonces   mip6.NonceIndices

	// Known once it is authentic: the key, the care-of address that the
	// authenticator covers, and until when the nonces are good.
	key    mip6.BindingKey
	sealed netip.Addr
	until  time.Time
}

// deletes tells that the update asks to delete the binding: by its lifetime
// (RFC 6275 §9.5.1), or by a care-of address that is the home address, as older
// mobiles do (RFC 3775 §9.5.1).
func (u *update) deletes() bool { return u.lifetime == 0 || u.careOf == u.home }

// update takes a binding update through the gates.
func (c *Correspondent) update(p mip6.Packet, bu mip6.BindingUpdate) {
	u, reason := read(p, bu)
	if reason != 0 {
		c.drop(reason, p.Source)
		return
	}
	status := c.authenticate(p, &u)
	switch {
	case status == unauthentic:
	case !status.Accepted():
		c.refuse(&u, status)
	case u.deletes():
		c.delete(&u)
	case c.loops(&u):
		c.refuse(&u, mip6.StatusInvalidCareOfAddress)
	default:
		c.register(&u)
	}
}

// read is the first gate: what can be checked in the packet alone. It returns the
// reason to drop it silently, or zero.
func read(p mip6.Packet, bu mip6.BindingUpdate) (update, role.DropReason) {
	u := update{
		pair:     pair{home: p.From(), peer: p.Destination},
		source:   p.Source,
		careOf:   p.Source,
		flags:    bu.Flags,
		sequence: bu.Sequence,
		lifetime: bu.Lifetime,
	}
	if reason := misplaced(p); reason != 0 {
		return u, reason
	}
	if alternate, ok := mip6.Find[mip6.AlternateCareOf](p.Message); ok {
		u.careOf = alternate.Addr // RFC 6275 §9.5.1
	}
	// RFC 6275 §6.1.7, §9.5.1.
	if !mip6.Routable(u.careOf) || !mip6.Routable(u.home) || u.home == u.peer {
		return u, role.DropUnroutable
	}
	// RFC 6275 §9.5.1. That the authorization data is the last option is a matter
	// of decoding.
	indices, ok := mip6.Find[mip6.NonceIndices](p.Message)
	if _, sealed := mip6.Find[mip6.AuthorizationData](p.Message); !ok || !sealed {
		return u, role.DropUnauthenticated
	}
	u.nonces = indices
	return u, 0
}

// unauthentic is the status of an update that is not answered.
const unauthentic mip6.Status = 255

// authenticate is the second gate: whether the sender has received the tokens for
// its home and care-of address, not too long ago, and whether this is its newest
// update. It returns the status to answer with, or unauthentic for an update that
// it has dropped and counted.
//
// The nonces come first, since there is no key without them, and the sequence
// number last: it is told only to who is authentic, or anybody could learn it.
func (c *Correspondent) authenticate(p mip6.Packet, u *update) mip6.Status {
	home := c.nonces.find(c.now, u.nonces.Home)
	careOf := home
	if !u.deletes() { // RFC 6275 §9.5.1: ignored in a deletion
		careOf = c.nonces.find(c.now, u.nonces.CareOf)
	}
	if home == nil || careOf == nil {
		return expired(u, home != nil, careOf != nil)
	}
	if !c.updates.allow(c.now, u.source) {
		c.drop(role.DropRateLimited, u.source)
		return unauthentic
	}
	if err := u.verify(p.MH, home, careOf); err != nil {
		reason := role.DropUnauthenticated
		if errors.Is(err, mip6.ErrBadAuthenticator) {
			reason = role.DropBadAuthenticator
		}
		c.drop(reason, u.source)
		return unauthentic
	}
	return c.fresh(u)
}

// expired is the status that tells which nonces are not known (any more): RFC 6275
// §9.5.1.
func expired(u *update, home, careOf bool) mip6.Status {
	switch {
	case home:
		return mip6.StatusExpiredCareOfNonce
	case careOf, u.deletes():
		return mip6.StatusExpiredHomeNonce
	default:
		return mip6.StatusExpiredNonces
	}
}

// verify verifies the authenticator. A registration is sealed over the care-of
// address it asks for; a deletion over the home address (RFC 6275 §6.2.7), but
// §11.7.2 sets its care-of address to the current one of a mobile that is away,
// and some seal it over that. The answer is sealed over the same.
func (u *update) verify(mh []byte, home, careOf *secret) error {
	token := home.key.HomeToken(u.home, home.nonce)
	if !u.deletes() {
		u.key = mip6.NewBindingKey(token, careOf.key.CareOfToken(u.careOf, careOf.nonce))
		u.sealed, u.until = u.careOf, deadline.Earlier(home.expires(), careOf.expires())
		return u.key.VerifyAuthorization(mh, u.sealed, u.peer)
	}
	u.key, u.sealed, u.until = mip6.NewDeregistrationKey(token), u.home, home.expires()
	err := u.key.VerifyAuthorization(mh, u.sealed, u.peer)
	if errors.Is(err, mip6.ErrBadAuthenticator) && u.careOf != u.home {
		u.sealed = u.careOf
		err = u.key.VerifyAuthorization(mh, u.sealed, u.peer)
	}
	return err
}

// fresh checks an authentic update against what is remembered of the mobile, and
// remembers it. Without an entry any sequence number is good (RFC 6275 §9.5.1).
func (c *Correspondent) fresh(u *update) mip6.Status {
	e := c.bindings.entries[u.pair]
	if e == nil {
		return mip6.StatusAccepted
	}
	if !u.sequence.After(e.sequence) {
		return mip6.StatusSequenceOutOfWindow
	}
	e.sequence, e.guarded = u.sequence, later(e.guarded, u.until)
	if !e.active {
		c.bindings.deadlines.Set(e, e.guarded)
	}
	// RFC 6275 §9.5.3: not the same nonces again for a binding that was deleted.
	// Another care-of test is the cheapest way to other ones.
	if e.revoked && !u.deletes() && e.nonces == u.nonces && e.careOf == u.careOf {
		return mip6.StatusExpiredCareOfNonce
	}
	return mip6.StatusAccepted
}

// loops reports whether the care-of address leads back here: to this node itself,
// or to a home address that is bound, which RFC 6275 §15.1 calls a routing loop.
// So no chain of bindings has a next link when it is made, and none can close.
func (c *Correspondent) loops(u *update) bool {
	return u.careOf == u.peer || c.bindings.active(pair{home: u.careOf, peer: u.peer}) != nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
