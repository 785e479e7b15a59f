package anchor

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/internal/limit"
	"roam6/mip6"
)

// Limits of a visitor: how many addresses it can have bound at once, those that are
// being probed included, and of how many its sequence number is remembered. There is
// always one of the latter that is not bound.
const (
	maxBound      = 4
	maxRemembered = 2 * maxBound
)

// endedMemory is how long a de-registration is remembered, so that a repeated one
// gets the same answer (RFC 6275 §12, MAX_DELETE_BCE_TIMEOUT).
const endedMemory = 10 * time.Second

// visitor is a configured visitor and what the anchor remembers of it; or, with neither
// key nor IPsec, all who are served without.
type visitor struct {
	Visitor
	addresses []*regional // not of the anonymous
	// forgot tells that a sequence number is not remembered any more.
	forgot bool
	// newest is the timestamp that was accepted last; zero: none.
	newest mip6.Timestamp

	refusals limit.Limiter
	failures limit.Limiter
	events   limit.Limiter
}

func (v *visitor) anonymous() bool { return v.SA == nil && v.ESP == nil }

// regional is a regional care-of address that a visitor has or had, and what is
// remembered of it with or without a binding.
type regional struct {
	visitor *visitor
	addr    netip.Addr
	fresh   binding.Freshness
	used    time.Time // the last authentic and fresh update
	ended   time.Time // de-registration; zero: none since the last binding

	probe         *probe // while duplicate address detection runs
	announcements binding.Announcements
	requests      binding.RefreshRequests // since the last update
}

// regionalOf finds what is remembered of a visitor's address; nil: nothing.
func (a *Anchor) regionalOf(v *visitor, addr netip.Addr) *regional {
	if r := a.held[addr]; r != nil && r.visitor == v {
		return r
	}
	for _, r := range v.addresses {
		if r.addr == addr {
			return r
		}
	}
	return nil
}

// bound counts the addresses that a visitor has bound or that are being probed for
// it.
func (a *Anchor) bound(v *visitor) (n int) {
	for _, r := range v.addresses {
		if a.held[r.addr] == r {
			n++
		}
	}
	return n
}

// remember keeps an address of a visitor, in place of the one that has not been used
// for the longest time where there are too many. Those without authentication are
// remembered as long as they are bound: there is no end of them.
func (a *Anchor) remember(r *regional) {
	v := r.visitor
	if v.anonymous() {
		return
	}
	if len(v.addresses) < maxRemembered {
		v.addresses = append(v.addresses, r)
		return
	}
	oldest := -1
	for i, o := range v.addresses {
		if a.held[o.addr] != o && (oldest < 0 || o.used.Before(v.addresses[oldest].used)) {
			oldest = i
		}
	}
	v.addresses = append(slices.Delete(v.addresses, oldest, oldest+1), r)
	v.forgot = true
}

// take judges whether an authentic update is fresh, and remembers it if so. What it
// returns belongs to the visitor only then.
//
// Timestamps increase over all addresses of a visitor (RFC 4285 §6), sequence numbers
// for each. Of an address that is not known any more the sequence number of before is
// not known either, so that without a timestamp nobody can tell a fresh update from a
// recorded one. That is so under ESP, too: it has numbers of its own, which begin anew
// with each start of the mobile.
func (a *Anchor) take(v *visitor, u *update) (*regional, mip6.Status) {
	r := a.regionalOf(v, u.home)
	known := r != nil
	if !known {
		r = &regional{visitor: v, addr: u.home}
	}
	if !v.anonymous() {
		if status := v.permits(u.proof, known, a.now, a.config.ReplayWindow); !status.Accepted() {
			return r, status
		}
	}
	status := r.fresh.Take(u.proof, a.now, a.config.ReplayWindow, v.RequireTimestamp)
	if !status.Accepted() {
		return r, status
	}
	if u.proof.Timestamped {
		v.newest = u.proof.Timestamp
	}
	r.used = a.now
	if !known {
		a.remember(r)
	}
	return r, status
}

// permits judges what concerns all addresses of a visitor. A newest timestamp beyond
// the window in the future was accepted before the time of day was set back, and then
// what is known of the address decides (binding.Freshness.CheckTimestamp).
func (v *visitor) permits(p binding.Proof, known bool, now time.Time, window time.Duration) mip6.Status {
	unknown := !known && v.forgot
	switch {
	case !p.Timestamped && unknown:
		return mip6.StatusMessageIDRequired
	case !p.Timestamped || v.newest == 0 || int64(p.Timestamp-v.newest) > 0:
		return mip6.StatusAccepted
	case v.newest.Sub(mip6.TimestampFrom(now)) > window && !unknown:
		return mip6.StatusAccepted
	default:
		return mip6.StatusIDMismatch
	}
}

// configureVisitors makes the table of visitors. What is remembered of one stays as
// long as it is the same: by its name, or by its key.
func (a *Anchor) configureVisitors(configured []Visitor) {
	byName, byKey := make(map[string]*visitor), make(map[credentials]*visitor)
	for _, known := range []map[uint32]*visitor{a.visitors, a.protected} {
		for _, v := range known {
			byName[v.Name], byKey[v.credentials()] = v, v
		}
	}
	a.visitors, a.protected = make(map[uint32]*visitor, len(configured)), make(map[uint32]*visitor)
	taken := make(map[*visitor]bool)
	adopt := func(c Visitor, was *visitor) {
		if was == nil || taken[was] {
			was = &visitor{}
		}
		taken[was] = true
		was.Visitor = c
		if c.SA != nil {
			a.visitors[c.SA.SPI] = was
		}
		if c.ESP != nil {
			a.protected[c.ESP.SPI] = was
		}
	}
	var renamed []Visitor
	for _, c := range configured {
		if was := byName[c.Name]; was != nil && c.Name != "" {
			adopt(c, was)
		} else {
			renamed = append(renamed, c)
		}
	}
	for _, c := range renamed {
		adopt(c, byKey[c.credentials()])
	}
	a.counts.Visitors = len(configured)
}
