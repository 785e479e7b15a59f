package nd

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
)

// Routers of a link that lost its carrier are remembered: should the link be
// the same one when it returns, a router of before says so with one neighbour
// advertisement, and its prefixes and our addresses serve again without waiting
// for its next router advertisement (RFC 6059).
const (
	maxRemembered = 6                // of a link (RFC 6059 §5.5.3)
	memory        = 10 * time.Minute // of a router; its lifetimes may be shorter
)

// LinkDown forgets the routers of a link, without a Change: whoever is there
// when it comes back has to say so. They are remembered for Recall.
func (t *Routers) LinkDown(now time.Time, link int) {
	for _, r := range t.On(link) {
		t.remember(now, link, r)
	}
	delete(t.links, link)
}

// LinkGone forgets all about a link, what was remembered too.
func (t *Routers) LinkGone(link int) {
	delete(t.links, link)
	delete(t.remembered, link)
}

// remember keeps a router that is not on its link any more. One whose place on
// the link was taken by another one with the same address is told apart by its
// link-layer address.
func (t *Routers) remember(now time.Time, link int, r *Router) {
	t.unremember(link, r.Addr, r.RA.SourceLinkAddr)
	r.left = now
	list := append(t.remembered[link], r)
	if len(list) > maxRemembered {
		list = slices.Delete(list, 0, len(list)-maxRemembered)
	}
	t.remembered[link] = list
}

// unremember ends the memory of a router; a nil link-layer address is that of
// any.
func (t *Routers) unremember(link int, addr netip.Addr, linkAddr []byte) {
	list := slices.DeleteFunc(t.remembered[link], func(r *Router) bool {
		return r.Addr == addr && (linkAddr == nil || bytes.Equal(r.RA.SourceLinkAddr, linkAddr))
	})
	if len(list) == 0 {
		delete(t.remembered, link)
		return
	}
	t.remembered[link] = list
}

// Remembered returns the routers that were on a link and may be asked whether
// it is the same link, the last one first. They have a link-layer address and
// at least one valid prefix (RFC 6059 §5.5.2).
func (t *Routers) Remembered(now time.Time, link int) []*Router {
	list := slices.DeleteFunc(t.remembered[link], func(r *Router) bool {
		if !now.Before(r.left.Add(memory)) || len(r.RA.SourceLinkAddr) == 0 {
			return true
		}
		r.Prefixes = slices.DeleteFunc(r.Prefixes, func(p Prefix) bool { return deadline.Due(now, p.ValidUntil) })
		return len(r.Prefixes) == 0
	})
	if len(list) == 0 {
		delete(t.remembered, link)
		return nil
	}
	t.remembered[link] = list
	out := slices.Clone(list)
	slices.Reverse(out)
	return out
}

// Recall says that a remembered router answered a unicast solicitation: it is on
// the link again with what remains of its lifetimes. Where an advertisement of
// it was heard since the link returned, that is definitive and nothing changes
// (RFC 6059 §5.7.3). The result is valid until the next call.
func (t *Routers) Recall(now time.Time, link int, r *Router) []Change {
	t.out = t.out[:0]
	if !slices.Contains(t.remembered[link], r) || t.find(link, r.Addr) != nil {
		return nil
	}
	t.unremember(link, r.Addr, r.RA.SourceLinkAddr)
	at := t.insert(now, link, r.Addr)
	*at = *r
	at.Since, at.alive, at.patience, at.lost, at.left = now, now, 0, false, time.Time{}
	if deadline.Due(now, at.LifetimeEnds) {
		at.LifetimeEnds, at.RA.RouterLifetime = time.Time{}, 0
	}
	for i := range at.Prefixes {
		p := &at.Prefixes[i]
		if deadline.Due(now, p.PreferredUntil) {
			p.Info.PreferredLifetime = 0
		}
	}
	return t.out
}
