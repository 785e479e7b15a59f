package nd

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/order"
	"roam6/mip6"
)

// Bounds of an AnchorRelay, so that forged advertisements cannot fill memory or the
// advertisements that repeat them.
const (
	maxAnchorSources  = 64 // options that are remembered of one link
	maxRouterAnchors  = 16 // of one router
	maxRelayedAnchors = 16 // that are advertised
	maxAnchorDistance = 15 // RFC 5380 §5
)

// failureMemory is how long it is passed on that an anchor failed, and how long
// routers further away are not believed that it has not: they may not have heard.
const failureMemory = time.Minute

// A router that advertises without an anchor so many times in a row does not have it
// any more (RFC 5380 §9), whatever its lifetime was; it may leave out options for
// some time (RFC 4861 §6.2.3). The packets of one advertisement count once.
const (
	missedAnchor     = 10
	oneAdvertisement = MinDelayOfRAs / 2
)

// AnchorRelay remembers the mobility anchor points that the routers upstream
// advertise, so that this router can advertise them a hop further away (RFC 5380
// §5, §7). It does no I/O. The zero value is ready for use.
type AnchorRelay struct {
	sources []anchorSource
	refused uint64
}

// anchorSource is the latest option of a router for an anchor.
type anchorSource struct {
	link   int
	router netip.Addr
	info   mip6.MobilityAnchorPoint // as heard; its lifetime is zero if it failed
	since  time.Time                // it works, or has failed
	ends   time.Time                // of the anchor's lifetime, or of the memory of its failure
	gone   time.Time                // the router, unless it is heard again
	heard  time.Time                // the option, or its lack
	missed int                      // advertisements in a row without the option
}

func (s *anchorSource) failed() bool { return s.info.ValidLifetime == 0 }

func (s *anchorSource) next() time.Time {
	if s.failed() {
		return s.ends
	}
	return deadline.Earlier(s.ends, s.gone)
}

// Heard takes in an advertisement, heard on an upstream link, that passed the checks
// of Parse. It reports whether Anchors may have changed; then all of it is to be
// advertised at once. A lifetime that is only somewhat shorter or longer than before
// is no change: some routers count it down. The anchors of a router that is no default
// router (any more) are forgotten, unless they failed.
func (r *AnchorRelay) Heard(now time.Time, link int, router netip.Addr, ra RouterAdvertisement) (changed bool) {
	router = router.WithZone("")
	of := func(s anchorSource) bool { return s.link == link && s.router == router }
	if ra.RouterLifetime == 0 {
		changed = r.remove(func(s anchorSource) bool { return of(s) && !s.failed() })
	}
	for i := range r.sources {
		if s := &r.sources[i]; of(*s) {
			s.gone = now.Add(ra.RouterLifetime)
			if now.Sub(s.heard) >= oneAdvertisement {
				s.heard = now
				s.missed++ // unless it comes now
			}
		}
	}
	for _, m := range ra.Anchors {
		if m.ValidLifetime > 0 && ra.RouterLifetime == 0 {
			continue
		}
		if m.Distance >= maxAnchorDistance { // it goes no further
			changed = r.remove(func(s anchorSource) bool { return of(s) && s.info.Address == m.Address }) || changed
			continue
		}
		heard := anchorSource{link: link, router: router, info: m, since: now, ends: deadline.Of(now, m.ValidLifetime), gone: now.Add(ra.RouterLifetime), heard: now}
		if heard.failed() {
			heard.ends = now.Add(failureMemory)
		}
		i := slices.IndexFunc(r.sources, func(s anchorSource) bool { return of(s) && s.info.Address == m.Address })
		if i >= 0 {
			changed = r.sources[i].update(heard) || changed
			continue
		}
		own, there := 0, 0
		for _, s := range r.sources {
			if of(s) {
				own++
			}
			if s.link == link {
				there++
			}
		}
		if there >= maxAnchorSources || own >= maxRouterAnchors {
			r.refused++
			continue
		}
		r.sources = append(r.sources, heard)
		changed = true
	}
	return r.remove(func(s anchorSource) bool { return of(s) && !s.failed() && s.missed >= missedAnchor }) || changed
}

// update takes in a later option for the same anchor, and reports whether it differs.
func (s *anchorSource) update(heard anchorSource) bool {
	old := *s
	*s = heard
	if old.failed() == heard.failed() {
		s.since = old.since
	}
	if heard.failed() { // as near as its word was believed before
		s.info.Distance = min(old.info.Distance, heard.info.Distance)
	}
	before, after := old.info.ValidLifetime, heard.info.ValidLifetime
	if before > 0 && after >= before-before/4 && after <= before+before/3 {
		s.info.ValidLifetime = before
	}
	return s.info != old.info
}

// LinkGone forgets what was heard on a link, and reports whether Anchors may have
// changed.
func (r *AnchorRelay) LinkGone(link int) bool {
	return r.remove(func(s anchorSource) bool { return s.link == link })
}

// RouterGone forgets what a router that is not there any more said, but for failures,
// and reports whether Anchors may have changed.
func (r *AnchorRelay) RouterGone(link int, router netip.Addr) bool {
	router = router.WithZone("")
	return r.remove(func(s anchorSource) bool { return s.link == link && s.router == router && !s.failed() })
}

// Expire forgets what the time has ended, and reports whether Anchors may have
// changed.
func (r *AnchorRelay) Expire(now time.Time) bool {
	return r.remove(func(s anchorSource) bool { return deadline.Due(now, s.next()) })
}

func (r *AnchorRelay) remove(which func(anchorSource) bool) bool {
	before := len(r.sources)
	r.sources = slices.DeleteFunc(r.sources, which)
	return len(r.sources) != before
}

// Next is the earliest time at which Expire has something to do; zero: never.
func (r *AnchorRelay) Next() time.Time {
	var next time.Time
	for i := range r.sources {
		next = deadline.Earlier(next, r.sources[i].next())
	}
	return next
}

// Refused counts the options that were not remembered because there were too many.
func (r *AnchorRelay) Refused() uint64 { return r.refused }

// Anchors are the options to advertise: own, those configured for the link, and after
// them what was heard on the upstream links, with a distance of one more, unless own
// names the same anchor. Of what several routers say of an anchor the nearest counts;
// of two equally near ones the latest change between working and failed. The nearest
// anchors come first. One that failed has a lifetime of zero. Of more than can be
// advertised each upstream link has its share: who forges anchors on one link does not
// keep those of another from being heard.
func (r *AnchorRelay) Anchors(own []mip6.MobilityAnchorPoint, upstream ...int) []mip6.MobilityAnchorPoint {
	best := make(map[netip.Addr]*anchorSource)
	for i := range r.sources {
		s := &r.sources[i]
		if !slices.Contains(upstream, s.link) ||
			slices.ContainsFunc(own, func(m mip6.MobilityAnchorPoint) bool { return m.Address == s.info.Address }) {
			continue
		}
		if b := best[s.info.Address]; b == nil || s.better(b) {
			best[s.info.Address] = s
		}
	}
	type ranked struct {
		mip6.MobilityAnchorPoint
		link, rank int // rank is the place among those of the link
	}
	relayed := make([]ranked, 0, len(best))
	for _, s := range best {
		m := s.info
		m.Distance++
		relayed = append(relayed, ranked{m, s.link, 0})
	}
	nearest := func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.Distance, b.Distance), cmp.Compare(b.Preference, a.Preference), a.Address.Compare(b.Address))
	}
	order.Sort(relayed, nearest)
	if len(relayed) > maxRelayedAnchors {
		of := make(map[int]int)
		for i := range relayed {
			relayed[i].rank = of[relayed[i].link]
			of[relayed[i].link]++
		}
		order.SortStable(relayed, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
		relayed = relayed[:maxRelayedAnchors]
		order.Sort(relayed, nearest)
	}
	out := slices.Clone(own)
	for _, m := range relayed {
		out = append(out, m.MobilityAnchorPoint)
	}
	return out
}

// better reports whether s is to be believed more than b of the same anchor.
func (s *anchorSource) better(b *anchorSource) bool {
	if s.info.Distance != b.info.Distance {
		return s.info.Distance < b.info.Distance
	}
	if s.failed() != b.failed() {
		return s.since.After(b.since) || s.since.Equal(b.since) && s.failed()
	}
	if s.info.Preference != b.info.Preference {
		return s.info.Preference > b.info.Preference
	}
	return cmp.Or(cmp.Compare(s.link, b.link), s.router.Compare(b.router)) < 0
}
