package anchor

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/binding"
	"roam6/internal/limit"
	"roam6/internal/role"
	"roam6/mip6"
)

// Limits of a visitor: how many addresses it can have bound at once, those that are
// being probed included, and of how many its sequence number is remembered. There is
// always one of the latter that is not bound.
const (
	maxBound      = 4
	maxRemembered = 2 * maxBound
)

// visitor is a configured visitor and what the anchor remembers of it; or, with neither
// key nor IPsec, all who are served without.
type visitor struct {
	Visitor
	addresses []*regional // not of the anonymous
	// forgot tells that a sequence number is not remembered any more, and forgotten is
	// the newest timestamp of such an address; zero: none.
	forgot    bool
	forgotten mip6.Timestamp

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
	v.forget(v.addresses[oldest].fresh.Timestamp())
	v.addresses = append(slices.Delete(v.addresses, oldest, oldest+1), r)
	a.do(role.Remember{Memory: v.forgetfulness()})
}

// take judges whether an authentic update is fresh, and remembers it if so. What it
// returns belongs to the visitor only then.
//
// Timestamps (RFC 4285 §6) and sequence numbers increase for each address, not over all
// of a visitor: several mobiles may have one key, and send at the same moment. Of an
// address that is not known any more the sequence number of before is not known either,
// so that without a timestamp nobody can tell a fresh update from a recorded one; with one
// it has to be later than all of the addresses that were forgotten. That is so under ESP,
// too: it has numbers of its own, which begin anew with each start of the mobile.
func (a *Anchor) take(v *visitor, u *update) (*regional, mip6.Status) {
	r := a.regionalOf(v, u.home)
	known := r != nil
	if !known {
		r = &regional{visitor: v, addr: u.home}
	}
	if !known && v.forgot {
		if v.setBack(a.now, a.config.ReplayWindow) {
			a.do(role.Remember{Memory: v.forgetfulness()})
		}
		if status := v.permits(u.proof); !status.Accepted() {
			return r, status
		}
	}
	before := r.fresh
	status := r.fresh.Take(u.proof, a.now, a.config.ReplayWindow, v.RequireTimestamp)
	if !status.Accepted() {
		if r.fresh != before {
			if !known {
				r.used = a.now
				a.remember(r)
			}
			a.keep(r)
		}
		return r, status
	}
	r.used = a.now
	if !known {
		a.remember(r)
	}
	return r, status
}

// forget notes that an address is forgotten of which this timestamp was the newest; zero:
// it had none.
func (v *visitor) forget(newest mip6.Timestamp) {
	v.forgot = true
	if v.forgotten == 0 || newest != 0 && newest.After(v.forgotten) {
		v.forgotten = newest
	}
}

// setBack mends what is remembered of forgotten addresses where the time of day was set
// back since, and reports whether it was: to insist on that would keep the visitor away
// until that time comes again.
func (v *visitor) setBack(now time.Time, window time.Duration) bool {
	if v.forgotten == 0 || v.forgotten.Sub(mip6.TimestampFrom(now)) <= window {
		return false
	}
	v.forgotten = mip6.TimestampFrom(now.Add(-window))
	return true
}

// permits judges an update for an address that may be one of those that were forgotten.
func (v *visitor) permits(p binding.Proof) mip6.Status {
	switch {
	case !p.Timestamped:
		return mip6.StatusMessageIDRequired
	case v.forgotten != 0 && !p.Timestamp.After(v.forgotten):
		return mip6.StatusIDMismatch
	default:
		return mip6.StatusAccepted
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
