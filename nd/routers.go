package nd

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/mip6"
)

// Bounds of the table, so that forged advertisements cannot fill memory. Beyond
// them the router or prefix that gave no sign of life for the longest time makes
// room.
const (
	maxRouters        = 32 // of a link
	maxRouterPrefixes = 32 // of a router
)

// A router that tells its interval is lost when it was silent for missed
// intervals; lateness is for the timers of both ends. Intervals below those
// that RFC 6275 §7.5 permits are forged or mistaken.
const (
	missedIntervals = 3
	lateness        = 10 * time.Millisecond
	leastInterval   = 70 * time.Millisecond
	maxPatience     = 6
	// missedAdvertisements without a prefix end its use.
	missedAdvertisements = 3
)

// Routers is what a node knows of the routers on its links, from their
// advertisements: the Default Router List and the Prefix List of RFC 4861
// §5.1, and whether a router has become silent (RFC 6275 §11.5.1).
type Routers struct {
	links      map[int][]*Router // in order of appearance
	remembered map[int][]*Router // that were there before the link went down, the last one last
	out        []Change
}

// NewRouters returns an empty table.
func NewRouters() *Routers {
	return &Routers{links: make(map[int][]*Router), remembered: make(map[int][]*Router)}
}

// Heard takes in an advertisement that passed the checks of Parse, and tells
// what it changed. The result is valid until the next call.
func (t *Routers) Heard(now time.Time, link int, from netip.Addr, ra RouterAdvertisement) []Change {
	t.out = t.out[:0]
	from = from.WithZone("")
	r := t.find(link, from)
	switch {
	case r == nil:
		t.unremember(link, from, ra.SourceLinkAddr)
		if !useful(ra) {
			return nil
		}
		r = t.insert(now, link, from)
	case replaced(r, ra):
		// RFC 6275 §11.5.1: link-local addresses are not unique, so this is
		// another router on another link.
		gone := *r
		t.remember(now, link, &gone)
		*r = Router{Addr: from, Since: now}
		t.changed(RouterAppeared, link, r, netip.Prefix{})
	case r.lost:
		r.lost, r.Since = false, now
		t.changed(RouterAppeared, link, r, netip.Prefix{})
	case flagsDiffer(r.RA, ra):
		t.changed(RouterChanged, link, r, netip.Prefix{})
	}
	r.Heard, r.alive, r.patience = now, now, 0
	r.LifetimeEnds = time.Time{}
	if ra.RouterLifetime > 0 {
		r.LifetimeEnds = now.Add(ra.RouterLifetime)
	}
	if ra.Interval == 0 {
		ra.Interval = r.RA.Interval
	}
	if ra.SourceLinkAddr == nil {
		ra.SourceLinkAddr = r.RA.SourceLinkAddr
	}
	if ra.HomeAgentInfo == nil && ra.HomeAgent {
		ra.HomeAgentInfo = r.RA.HomeAgentInfo
	}
	r.RA = ra
	prefixes := ra.Prefixes[:min(len(ra.Prefixes), 2*maxRouterPrefixes)]
	for i, p := range prefixes {
		// The router address of a prefix may come as an option of its own.
		if !p.RouterAddress && slices.ContainsFunc(prefixes, func(q mip6.PrefixInformation) bool {
			return q.RouterAddress && q.Prefix.Masked() == p.Prefix.Masked()
		}) {
			continue
		}
		if slices.ContainsFunc(prefixes[:i], func(q mip6.PrefixInformation) bool {
			return q.RouterAddress == p.RouterAddress && q.Prefix.Masked() == p.Prefix.Masked()
		}) {
			continue
		}
		t.prefixHeard(now, link, r, p)
	}
	if len(prefixes) > 0 {
		t.prefixesMissed(now, link, r)
	}
	return t.out
}

// prefixesMissed deprecates prefixes that a router did not name in several
// advertisements in a row, although it named others: it ceased to advertise
// them (RFC 6059 §5.10), or is the same router on another link, with the same
// link-local and link-layer address there (RFC 6275 §11.5.1).
func (t *Routers) prefixesMissed(now time.Time, link int, r *Router) {
	for i := range r.Prefixes {
		p := &r.Prefixes[i]
		if p.heard.Equal(now) {
			continue
		}
		p.missed++
		if p.missed >= missedAdvertisements && p.Info.PreferredLifetime > 0 {
			p.Info.PreferredLifetime = 0
			t.changed(PrefixDeprecated, link, r, p.Info.Prefix.Masked())
		}
	}
}

// prefixHeard takes in one prefix of an advertisement.
func (t *Routers) prefixHeard(now time.Time, link int, r *Router, p mip6.PrefixInformation) {
	prefix := p.Prefix.Masked()
	if a := prefix.Addr(); !a.Is6() || a.IsLinkLocalUnicast() || a.IsMulticast() {
		return // RFC 4861 §6.3.4, RFC 4862 §5.5.3 b
	}
	if p.PreferredLifetime > p.ValidLifetime {
		return // RFC 4862 §5.5.3 c
	}
	i := slices.IndexFunc(r.Prefixes, func(q Prefix) bool { return q.Info.Prefix.Masked() == prefix })
	if i < 0 {
		if p.ValidLifetime == 0 {
			return
		}
		if len(r.Prefixes) == maxRouterPrefixes && !t.makeRoom(now, link, r) {
			return
		}
		r.Prefixes = append(r.Prefixes, newPrefix(now, p))
		t.changed(PrefixAppeared, link, r, prefix)
		return
	}
	q := &r.Prefixes[i]
	if p.Autonomous || q.Info.Autonomous {
		p.ValidLifetime = ValidLifetime(deadline.Remaining(now, q.ValidUntil), p.ValidLifetime)
	}
	switch wasPreferred := q.Info.PreferredLifetime > 0; {
	case p.ValidLifetime == 0:
		t.changed(PrefixExpired, link, r, prefix)
		r.Prefixes = slices.Delete(r.Prefixes, i, i+1)
		return
	case p.PreferredLifetime == 0 && wasPreferred:
		t.changed(PrefixDeprecated, link, r, prefix)
	case p.PreferredLifetime > 0 && !wasPreferred:
		t.changed(PrefixAppeared, link, r, prefix)
	case p.OnLink != q.Info.OnLink || p.Autonomous != q.Info.Autonomous || p.Prefix != q.Info.Prefix:
		t.changed(RouterChanged, link, r, netip.Prefix{})
	}
	*q = newPrefix(now, p)
}

func newPrefix(now time.Time, p mip6.PrefixInformation) Prefix {
	return Prefix{Info: p, PreferredUntil: deadline.Of(now, p.PreferredLifetime), ValidUntil: deadline.Of(now, p.ValidLifetime), heard: now}
}

// makeRoom removes the prefix that was not heard for the longest time. It does
// not when all come from this very advertisement.
func (t *Routers) makeRoom(now time.Time, link int, r *Router) bool {
	victim := 0
	for i, p := range r.Prefixes {
		if p.heard.Before(r.Prefixes[victim].heard) {
			victim = i
		}
	}
	if !r.Prefixes[victim].heard.Before(now) {
		return false
	}
	t.changed(PrefixExpired, link, r, r.Prefixes[victim].Info.Prefix.Masked())
	r.Prefixes = slices.Delete(r.Prefixes, victim, victim+1)
	return true
}

// Confirm says that a router is there although it is not heard: it answered a
// neighbour solicitation. One that was lost is shown again, as a default router
// only if its lifetime has not run out, and may be silent for twice as long as
// before; being heard ends the leniency. Confirm reports whether the table knows
// the router.
func (t *Routers) Confirm(now time.Time, link int, router netip.Addr) bool {
	r := t.find(link, router)
	if r == nil {
		return false
	}
	r.alive = now
	if r.lost {
		r.lost = false
		r.patience = min(r.patience+1, maxPatience)
	}
	return true
}

// Expire tells what the time has ended. The result is valid until the next
// call.
func (t *Routers) Expire(now time.Time) []Change {
	t.out = t.out[:0]
	for _, link := range t.sortedLinks() {
		routers := t.links[link]
		kept := routers[:0]
		for _, r := range routers {
			if t.expireRouter(now, link, r) {
				kept = append(kept, r)
			}
		}
		clear(routers[len(kept):])
		if len(kept) == 0 {
			delete(t.links, link)
			continue
		}
		t.links[link] = kept
	}
	return t.out
}

// expireRouter reports whether the router is kept.
func (t *Routers) expireRouter(now time.Time, link int, r *Router) bool {
	lost := deadline.Due(now, r.silenceEnds())
	if deadline.Due(now, r.LifetimeEnds) {
		r.LifetimeEnds, r.RA.RouterLifetime = time.Time{}, 0
		lost = true
	}
	told := !lost && !r.lost
	valid := r.Prefixes[:0]
	for _, p := range r.Prefixes {
		prefix := p.Info.Prefix.Masked()
		if deadline.Due(now, p.ValidUntil) {
			if told {
				t.changed(PrefixExpired, link, r, prefix)
			}
			continue
		}
		if p.Info.PreferredLifetime > 0 && deadline.Due(now, p.PreferredUntil) {
			p.Info.PreferredLifetime = 0
			if told {
				t.changed(PrefixDeprecated, link, r, prefix)
			}
		}
		valid = append(valid, p)
	}
	r.Prefixes = valid
	kept := !r.LifetimeEnds.IsZero() || len(r.Prefixes) > 0
	if !r.lost && (lost || !kept) {
		r.lost = true
		t.changed(RouterLost, link, r, netip.Prefix{})
	}
	return kept
}

// Next is the earliest time at which Expire has something to do; zero: never.
func (t *Routers) Next() time.Time {
	var next time.Time
	for _, routers := range t.links {
		for _, r := range routers {
			next = deadline.Earlier(next, deadline.Earlier(r.LifetimeEnds, r.silenceEnds()))
			for _, p := range r.Prefixes {
				next = deadline.Earlier(next, p.ValidUntil)
				if p.Info.PreferredLifetime > 0 {
					next = deadline.Earlier(next, p.PreferredUntil)
				}
			}
		}
	}
	return next
}

// silenceEnds is when the router is lost if it is not heard before; zero where
// it told no interval or is lost already.
func (r *Router) silenceEnds() time.Time {
	if r.RA.Interval == 0 || r.lost {
		return time.Time{}
	}
	return r.alive.Add(missedIntervals*max(r.RA.Interval, leastInterval)<<r.patience + lateness)
}

// On returns the routers of a link that are believed to be there, in the order
// of their appearance. They belong to the table: the caller only reads them,
// and not beyond the next call.
func (t *Routers) On(link int) []*Router {
	var on []*Router
	for _, r := range t.links[link] {
		if !r.lost {
			on = append(on, r)
		}
	}
	return on
}

// Get returns one router of those that On returns.
func (t *Routers) Get(link int, router netip.Addr) (*Router, bool) {
	r := t.find(link, router)
	return r, r != nil && !r.lost
}

// Forget removes a router that does not answer, without a Change. It is
// remembered for Recall.
func (t *Routers) Forget(now time.Time, link int, router netip.Addr) {
	routers := t.links[link]
	if i := slices.IndexFunc(routers, func(r *Router) bool { return r.Addr == router }); i >= 0 {
		t.remember(now, link, routers[i])
		t.links[link] = slices.Delete(routers, i, i+1)
	}
}

func (t *Routers) find(link int, addr netip.Addr) *Router {
	for _, r := range t.links[link] {
		if r.Addr == addr {
			return r
		}
	}
	return nil
}

// insert adds a router. Where the table is full a lost one makes room, or the
// one without a sign of life for the longest time.
func (t *Routers) insert(now time.Time, link int, addr netip.Addr) *Router {
	routers := t.links[link]
	if len(routers) == maxRouters {
		victim := 0
		for i, r := range routers {
			v := routers[victim]
			if r.lost && !v.lost || r.lost == v.lost && r.alive.Before(v.alive) {
				victim = i
			}
		}
		if !routers[victim].lost {
			t.changed(RouterLost, link, routers[victim], netip.Prefix{})
		}
		routers = slices.Delete(routers, victim, victim+1)
	}
	r := &Router{Addr: addr, Since: now}
	t.links[link] = append(routers, r)
	t.changed(RouterAppeared, link, r, netip.Prefix{})
	return r
}

func (t *Routers) changed(k ChangeKind, link int, r *Router, p netip.Prefix) {
	c := Change{Kind: k, Link: link, Router: r.Addr, Prefix: p}
	// An advertisement may change many things of one router: told once.
	if k == RouterChanged && (slices.Contains(t.out, c) ||
		slices.Contains(t.out, Change{Kind: RouterAppeared, Link: link, Router: r.Addr})) {
		return
	}
	t.out = append(t.out, c)
}

func (t *Routers) sortedLinks() []int {
	links := make([]int, 0, len(t.links))
	for l := range t.links {
		links = append(links, l)
	}
	slices.Sort(links)
	return links
}

// useful reports whether an advertisement tells of anything worth remembering.
func useful(ra RouterAdvertisement) bool {
	return ra.RouterLifetime > 0 ||
		slices.ContainsFunc(ra.Prefixes, func(p mip6.PrefixInformation) bool { return p.ValidLifetime > 0 })
}

// replaced reports whether an advertisement is of another router with the same
// link-local address: other link-layer address, and no prefix in common.
func replaced(r *Router, ra RouterAdvertisement) bool {
	if ra.SourceLinkAddr == nil || r.RA.SourceLinkAddr == nil || bytes.Equal(ra.SourceLinkAddr, r.RA.SourceLinkAddr) {
		return false
	}
	for _, p := range ra.Prefixes {
		for _, q := range r.Prefixes {
			if p.Prefix.Masked() == q.Info.Prefix.Masked() {
				return false
			}
		}
	}
	return len(ra.Prefixes) > 0 && len(r.Prefixes) > 0
}

func flagsDiffer(old, ra RouterAdvertisement) bool {
	return old.HomeAgent != ra.HomeAgent || old.Managed != ra.Managed || old.OtherConfig != ra.OtherConfig ||
		old.Preference != ra.Preference || (old.RouterLifetime > 0) != (ra.RouterLifetime > 0) ||
		ra.SourceLinkAddr != nil && !bytes.Equal(old.SourceLinkAddr, ra.SourceLinkAddr) ||
		ra.HomeAgentInfo != nil && (old.HomeAgentInfo == nil || *old.HomeAgentInfo != *ra.HomeAgentInfo)
}
