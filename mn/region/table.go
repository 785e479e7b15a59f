package region

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/mip6"
)

// Bounds of the table, so that forged advertisements cannot fill memory. Beyond them
// the router that was heard the longest time ago makes room.
const (
	maxSources = 64
	maxOffers  = 16 // of a router
)

// missedAdvertisements without an anchor mean that a router does not advertise it any
// more. One alone does not: options may be spread over several (RFC 4861 §6.2.3). The
// packets of one advertisement, which come within oneAdvertisement, count once: a router
// sends the next one 30 ms later at the earliest (RFC 6275 §7.5).
const (
	missedAdvertisements = 3
	oneAdvertisement     = 15 * time.Millisecond
)

// Source is a router that advertises anchors. Link-local addresses are not unique, so
// that its link-layer address counts, too.
type Source struct {
	Link     int
	Router   netip.Addr
	Ethernet string // octets of the source link-layer address
}

// Offer is an anchor as a router advertises it.
type Offer struct {
	mip6.MobilityAnchorPoint
	Until time.Time // when it ends; zero: never
}

type offer struct {
	Offer
	missed int
}

type source struct {
	Source
	offers []offer
	heard  time.Time
	missed time.Time // when offers were last counted as missed
}

// Table is what was advertised, and with which anchors registration has failed.
type Table struct {
	config   Config
	sources  []*source
	failures []*failure
}

// NewTable returns an empty table. The configuration must be valid.
func NewTable(c Config) *Table { return &Table{config: c} }

// Config is the present configuration.
func (t *Table) Config() Config { return t.config }

// Reconfigure applies a new configuration, and forgives what failed.
func (t *Table) Reconfigure(c Config) {
	t.config = c
	t.failures = nil
}

// Heard takes in the MAP options of an advertisement (RFC 5380 §7.1).
func (t *Table) Heard(now time.Time, from Source, options []mip6.MobilityAnchorPoint) {
	s := t.find(from)
	if s == nil {
		if len(options) == 0 {
			return
		}
		s = t.insert(from)
	}
	s.heard = now
	if now.Sub(s.missed) >= oneAdvertisement {
		s.missed = now
		for i := range s.offers {
			s.offers[i].missed++ // unless it comes now
		}
	}
	for i, m := range options[:min(len(options), maxOffers)] {
		if slices.ContainsFunc(options[:i], func(o mip6.MobilityAnchorPoint) bool { return o.Address == m.Address }) {
			continue
		}
		o := offer{Offer: Offer{m, deadline.Of(now, m.ValidLifetime)}}
		if m.ValidLifetime == 0 {
			o.Until = time.Time{} // it has failed, until the router says otherwise
		}
		at := slices.IndexFunc(s.offers, func(o offer) bool { return o.Address == m.Address })
		switch {
		case at >= 0:
			s.offers[at] = o
		case len(s.offers) < maxOffers:
			s.offers = append(s.offers, o)
		}
	}
	s.offers = slices.DeleteFunc(s.offers, func(o offer) bool { return o.missed >= missedAdvertisements })
}

// LinkGone forgets the routers of an interface that was removed.
func (t *Table) LinkGone(link int) {
	t.sources = slices.DeleteFunc(t.sources, func(s *source) bool { return s.Link == link })
}

// Offers are the anchors that a router advertises, failed ones included.
func (t *Table) Offers(now time.Time, from Source) []Offer {
	s := t.find(from)
	if s == nil {
		return nil
	}
	var all []Offer
	for _, o := range s.offers {
		if !deadline.Due(now, o.Until) {
			all = append(all, o.Offer)
		}
	}
	return all
}

// Offer is one anchor of those that a router advertises.
func (t *Table) Offer(now time.Time, from Source, anchor netip.Addr) (Offer, bool) {
	all := t.Offers(now, from)
	if i := slices.IndexFunc(all, func(o Offer) bool { return o.Address == anchor }); i >= 0 {
		return all[i], true
	}
	return Offer{}, false
}

// Expire forgets what the time has ended.
func (t *Table) Expire(now time.Time) {
	for _, s := range t.sources {
		s.offers = slices.DeleteFunc(s.offers, func(o offer) bool { return deadline.Due(now, o.Until) })
	}
	t.sources = slices.DeleteFunc(t.sources, func(s *source) bool { return len(s.offers) == 0 })
	t.forgive(now)
}

// Next is the earliest time at which the choice may be another one by itself; zero:
// never. Expire is due then.
func (t *Table) Next() time.Time {
	var next time.Time
	for _, s := range t.sources {
		for _, o := range s.offers {
			next = deadline.Earlier(next, o.Until)
		}
	}
	for _, f := range t.failures {
		next = deadline.Earlier(next, deadline.Earlier(f.until, f.forgetAt))
	}
	return next
}

func (t *Table) find(from Source) *source {
	for _, s := range t.sources {
		if s.Source == from {
			return s
		}
	}
	return nil
}

// insert adds a router; of too many the one that was not heard for the longest time
// goes.
func (t *Table) insert(from Source) *source {
	if len(t.sources) == maxSources {
		victim := 0
		for i, s := range t.sources {
			if s.heard.Before(t.sources[victim].heard) {
				victim = i
			}
		}
		t.sources = slices.Delete(t.sources, victim, victim+1)
	}
	s := &source{Source: from}
	t.sources = append(t.sources, s)
	return s
}
