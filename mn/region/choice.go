package region

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
)

// Obstacle is why an anchor is not used.
type Obstacle uint8

// Obstacles, in the order in which they are looked for.
const (
	None      Obstacle = iota
	Failed             // valid lifetime zero (RFC 5380 §7.1)
	Allocates          // it allocates addresses by IKEv2 (flag R), which is not supported
	NoKey              // no key is configured
	OnLink             // the node is on its link, where a regional address is an on-link one
	Drained            // preference zero: not for new bindings
	Avoided            // it did not answer, or refused, a moment ago
)

func (o Obstacle) String() string {
	switch o {
	case None:
		return "none"
	case Failed:
		return "failed"
	case Allocates:
		return "allocates addresses by IKEv2"
	case NoKey:
		return "no key"
	case OnLink:
		return "on this link"
	case Drained:
		return "not for new bindings"
	case Avoided:
		return "avoided"
	default:
		return "unknown"
	}
}

// Query asks for the anchor to use at a place.
type Query struct {
	From   Source
	OnLink netip.Addr // the on-link care-of address
	// Serving is the anchor in use, or the one that is about to be; invalid: none.
	Serving netip.Addr
	// Holds reports whether there is a binding with an anchor.
	Holds func(anchor netip.Addr) bool
	// Barred are anchors that the node cannot use whatever they are, such as those of
	// its own network.
	Barred func(anchor netip.Addr) bool
}

// Obstacle is why an offer is not used at a place.
func (t *Table) Obstacle(now time.Time, q Query, o Offer) Obstacle {
	switch {
	case o.ValidLifetime == 0:
		return Failed
	case o.Allocated:
		return Allocates
	case !t.config.permits(o.Address):
		return NoKey
	case Regional(o.Address).Contains(q.OnLink):
		return OnLink
	case o.Preference == 0 && !q.Holds(o.Address):
		return Drained
	case t.avoided(now, o.Address, q.OnLink):
		return Avoided
	}
	return None
}

// Select returns the anchor to use; ok is false where there is none, and then mobility
// is not hierarchical (RFC 5380 §7.1).
func (t *Table) Select(now time.Time, q Query) (best Offer, ok bool) {
	if !t.config.Enabled {
		return Offer{}, false
	}
	all := slices.DeleteFunc(t.Offers(now, q.From), func(o Offer) bool {
		return q.Barred(o.Address) || t.Obstacle(now, q, o) != None
	})
	if len(all) == 0 {
		return Offer{}, false
	}
	best = slices.MinFunc(all, t.compare)
	at := slices.IndexFunc(all, func(o Offer) bool { return o.Address == q.Serving })
	if at >= 0 && all[at].Preference >= best.Preference {
		best = all[at]
	}
	return best, true
}

// compare orders offers, the best first. One that is drained comes behind all others
// (RFC 5380 §9.1: the next in the list is selected).
func (t *Table) compare(a, b Offer) int {
	if x, y := a.Preference == 0, b.Preference == 0; x != y {
		if x {
			return 1
		}
		return -1
	}
	preference, distance := cmp.Compare(b.Preference, a.Preference), cmp.Compare(b.Distance, a.Distance)
	switch t.config.Selection {
	case Preferred:
		return cmp.Or(preference, distance, a.Address.Compare(b.Address))
	case Furthest:
		return cmp.Or(distance, preference, a.Address.Compare(b.Address))
	case Nearest:
		return cmp.Or(-distance, preference, a.Address.Compare(b.Address))
	}
	return 0
}

// How long an anchor is left alone after it has failed: a time that doubles with each
// failure, and that is forgotten when nothing has failed for as long as the longest.
const (
	leastAvoidance = 10 * time.Second
	mostAvoidance  = 5 * time.Minute
	maxFailures    = 32
)

// failure is an anchor that is left alone, at all places or for care-of addresses of
// one prefix.
type failure struct {
	anchor    netip.Addr
	prefix    netip.Prefix // invalid: all
	avoidance time.Duration
	until     time.Time // zero: over
	forgetAt  time.Time
}

// Failed notes that an anchor did not answer or refused. onLink, when valid, is the
// care-of address that it refused: it may serve others.
func (t *Table) Failed(now time.Time, anchor, onLink netip.Addr) {
	prefix := netip.Prefix{}
	if onLink.IsValid() {
		prefix = netip.PrefixFrom(onLink, 64).Masked()
	}
	at := slices.IndexFunc(t.failures, func(f *failure) bool { return f.anchor == anchor && f.prefix == prefix })
	if at < 0 {
		if len(t.failures) == maxFailures {
			t.failures = slices.Delete(t.failures, 0, 1)
		}
		at = len(t.failures)
		t.failures = append(t.failures, &failure{anchor: anchor, prefix: prefix})
	}
	f := t.failures[at]
	f.avoidance = min(max(2*f.avoidance, leastAvoidance), mostAvoidance)
	f.until = now.Add(f.avoidance)
	f.forgetAt = f.until.Add(mostAvoidance)
}

// avoided reports whether an anchor is to be left alone for a care-of address.
func (t *Table) avoided(now time.Time, anchor, onLink netip.Addr) bool {
	return slices.ContainsFunc(t.failures, func(f *failure) bool {
		return f.anchor == anchor && now.Before(f.until) && (!f.prefix.IsValid() || f.prefix.Contains(onLink))
	})
}

// forgive ends avoidances and forgets old ones.
func (t *Table) forgive(now time.Time) {
	t.failures = slices.DeleteFunc(t.failures, func(f *failure) bool {
		if deadline.Due(now, f.until) {
			f.until = time.Time{}
		}
		return deadline.Due(now, f.forgetAt)
	})
}
