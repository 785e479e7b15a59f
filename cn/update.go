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
	home, careOf := c.secrets(c.now, u)
	if home == nil || careOf == nil {
		return expired(u, home != nil, careOf != nil)
	}
	if !c.updates.allow(c.now, u.source) {
		c.drop(role.DropRateLimited, u.source)
		return unauthentic
	}
	u.authorize(home, careOf)
	if err := u.verify(p.MH); err != nil {
		reason := role.DropUnauthenticated
		if errors.Is(err, mip6.ErrBadAuthenticator) {
			reason = role.DropBadAuthenticator
		}
		c.drop(reason, u.source)
		return unauthentic
	}
	return c.fresh(u)
}

// secrets are those that the nonces of an update name; nil: not known (any more).
func (c *Correspondent) secrets(now time.Time, u *update) (home, careOf *secret) {
	home = c.nonces.find(now, u.nonces.Home)
	if u.deletes() {
		return home, home // RFC 6275 §9.5.1: the other index is ignored in a deletion
	}
	return home, c.nonces.find(now, u.nonces.CareOf)
}

// Authorization tells how a binding update is to be sealed to be authentic at the given
// time (RFC 6275 §5.2.6): by which key, and over which care-of address. It is not ok where
// the nonces of the update are not known, or nothing could make it a good one. It changes
// nothing, and is for the trace of a correspondent: a recorder learns whether an update is
// authentic without the secrets, and a player makes it so for the secrets of the play.
func (c *Correspondent) Authorization(now time.Time, p mip6.Packet) (key mip6.BindingKey, careOf netip.Addr, ok bool) {
	bu, ok := p.Message.(mip6.BindingUpdate)
	if !ok {
		return key, careOf, false
	}
	u, reason := read(p, bu)
	if reason != 0 {
		return key, careOf, false
	}
	home, other := c.secrets(now, &u)
	if home == nil || other == nil {
		return key, careOf, false
	}
	u.authorize(home, other)
	return u.key, u.sealed, true
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

// authorize notes how the update has to be sealed. A registration is sealed over the
// care-of address it asks for, a deletion over the home address (RFC 6275 §6.2.7).
func (u *update) authorize(home, careOf *secret) {
	token := home.key.HomeToken(u.home, home.nonce)
	if u.deletes() {
		u.key, u.sealed, u.until = mip6.NewDeregistrationKey(token), u.home, home.expires()
		return
	}
	u.key = mip6.NewBindingKey(token, careOf.key.CareOfToken(u.careOf, careOf.nonce))
	u.sealed, u.until = u.careOf, deadline.Earlier(home.expires(), careOf.expires())
}

// verify verifies the authenticator. RFC 6275 §11.7.2 sets the care-of address of a
// deletion to the current one of a mobile that is away, and some seal it over that. The
// answer is sealed over the same.
func (u *update) verify(mh []byte) error {
	err := u.key.VerifyAuthorization(mh, u.sealed, u.peer)
	if u.deletes() && errors.Is(err, mip6.ErrBadAuthenticator) && u.careOf != u.home {
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
