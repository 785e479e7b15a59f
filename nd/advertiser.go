package nd

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/mip6"
)

// Protocol constants of routers (RFC 4861 §10).
const (
	maxInitialInterval = 16 * time.Second
	initialRAs         = 3
	finalRAs           = 3
)

// A withdrawn prefix is advertised until no host can have it any more, and at
// least this often. Only the latest are.
const (
	withdrawRAs  = 3
	maxWithdrawn = 16
)

// maxReplies bounds the delayed answers to solicitations.
const maxReplies = 64

// Transmission is one advertisement to send: to all nodes, or to one that
// solicited it.
type Transmission struct {
	Destination   netip.Addr
	Advertisement RouterAdvertisement // to be read only
}

// AdvertiserStatistics are the totals since NewAdvertiser.
type AdvertiserStatistics struct {
	Multicast     uint64 // advertisements to all nodes
	Unicast       uint64 // advertisements to one node
	Solicitations uint64 // received
	// Solicitations that were not answered: too many from one source, too many
	// on the link, more delayed answers than are remembered. The next
	// multicast advertisement serves their senders.
	LimitedBySource, LimitedByLink, Overflowed uint64
}

// Advertiser decides when router advertisements are sent on one link, and what
// they hold (RFC 4861 §6.2, RFC 6275 §7). It does no I/O. The first is due as
// soon as it is made.
type Advertiser struct {
	config AdvertiserConfig
	ra     RouterAdvertisement // what config makes
	expiry []Expiry            // of prefixes in it
	random *rand.Rand

	next    time.Time // multicast; zero after the last one
	last    time.Time // multicast
	initial int       // of the burst still to be sent
	final   int       // before the end still to be sent
	stopped bool

	withdrawn []withdrawal // oldest first
	replies   []reply
	limiter   replyLimiter
	stats     AdvertiserStatistics
}

// withdrawal is a prefix that is not advertised any more.
type withdrawal struct {
	info mip6.PrefixInformation
	ends time.Time // of the valid lifetime
	sent int
}

// reply is a delayed answer.
type reply struct {
	to netip.Addr
	at time.Time
}

// NewAdvertiser returns the advertiser of a link. random is used by it alone.
func NewAdvertiser(now time.Time, c AdvertiserConfig, random *rand.Rand) (*Advertiser, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Advertiser{config: c, ra: c.advertisement(), expiry: slices.Clone(c.Expiring), random: random, next: now, initial: initialRAs}, nil
}

// Next is when Expire is to be called; zero: never again.
func (a *Advertiser) Next() time.Time {
	next := a.next
	for _, r := range a.replies {
		next = deadline.Earlier(next, r.at)
	}
	return next
}

// Done reports whether the final advertisements after Stop have been sent.
func (a *Advertiser) Done() bool { return a.stopped && a.final == 0 }

// Statistics returns a snapshot.
func (a *Advertiser) Statistics() AdvertiserStatistics { return a.stats }

// Expire returns what is due.
func (a *Advertiser) Expire(now time.Time) []Transmission {
	if deadline.Due(now, a.next) {
		return []Transmission{a.multicast(now)}
	}
	var out []Transmission
	kept := a.replies[:0]
	for _, r := range a.replies {
		if deadline.Due(now, r.at) {
			out = append(out, a.unicast(now, r.to))
			continue
		}
		kept = append(kept, r)
	}
	a.replies = kept
	return out
}

// Solicited takes in a valid router solicitation from an address, which may be
// the unspecified one (RFC 4861 §6.2.6).
func (a *Advertiser) Solicited(now time.Time, from netip.Addr) []Transmission {
	a.stats.Solicitations++
	if a.stopped {
		return nil
	}
	var delay time.Duration
	if a.config.SolicitedDelay > 0 {
		delay = time.Duration(a.random.Int64N(int64(a.config.SolicitedDelay) + 1))
	}
	if !a.config.SolicitedUnicast || !from.IsValid() || from.IsUnspecified() || from.IsMulticast() {
		at := now.Add(delay)
		if least := a.last.Add(a.config.MinDelay); !a.last.IsZero() && at.Before(least) {
			at = least.Add(delay)
		}
		a.next = deadline.Earlier(a.next, at)
		if deadline.Due(now, a.next) {
			return a.Expire(now)
		}
		return nil
	}
	if delay > 0 && !now.Add(delay).Before(a.next) {
		return nil // the multicast one comes first
	}
	from = from.WithZone("")
	if slices.ContainsFunc(a.replies, func(r reply) bool { return r.to == from }) {
		return nil
	}
	switch ok, bySource := a.limiter.allow(now, from); {
	case bySource:
		a.stats.LimitedBySource++
	case !ok:
		a.stats.LimitedByLink++
	case delay == 0:
		return []Transmission{a.unicast(now, from)}
	case len(a.replies) == maxReplies:
		a.stats.Overflowed++
	default:
		a.replies = append(a.replies, reply{to: from, at: now.Add(delay)})
	}
	return nil
}

// Reconfigure replaces the configuration. Prefixes that are not in it any more
// are withdrawn; the hosts learn of the change by a burst as at the beginning
// (RFC 4861 §6.2.4). After an error the old configuration holds.
func (a *Advertiser) Reconfigure(now time.Time, c AdvertiserConfig) ([]Transmission, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if a.stopped {
		return nil, nil
	}
	for _, p := range a.prefixes(now) {
		if prefix := p.Prefix.Masked(); !c.advertises(prefix) {
			a.withdraw(now, p)
		}
	}
	a.withdrawn = slices.DeleteFunc(a.withdrawn, func(w withdrawal) bool { return c.advertises(w.info.Prefix) })
	a.config, a.ra, a.expiry = c, c.advertisement(), slices.Clone(c.Expiring)
	a.initial = initialRAs
	a.soon(now)
	return a.Expire(now), nil
}

// SetPrefixes is a Reconfigure that changes nothing but the prefixes.
func (a *Advertiser) SetPrefixes(now time.Time, prefixes []mip6.PrefixInformation) ([]Transmission, error) {
	c := a.config
	c.Advertisement.Prefixes = prefixes
	return a.Reconfigure(now, c)
}

// Stop begins the end: three final advertisements with a router lifetime of
// zero, as far apart as multicast ones have to be (RFC 4861 §6.2.5). It returns
// the first if that may be sent at once.
func (a *Advertiser) Stop(now time.Time) []Transmission {
	if a.stopped {
		return nil
	}
	a.stopped, a.final, a.replies = true, finalRAs, nil
	a.soon(now)
	return a.Expire(now)
}

// soon makes the next multicast advertisement due as early as it may be.
func (a *Advertiser) soon(now time.Time) {
	a.next = now
	if least := a.last.Add(a.config.MinDelay); !a.last.IsZero() && least.After(now) {
		a.next = least
	}
}

// multicast makes the advertisement to all nodes and schedules the next one
// from when this one was due, not from when it was made: delays of the caller's
// do not add up. The least interval is kept all the same.
func (a *Advertiser) multicast(now time.Time) Transmission {
	ra, withdrawn := a.build(now)
	t := Transmission{Destination: AllNodes(), Advertisement: ra}
	for i := range withdrawn {
		a.withdrawn[len(a.withdrawn)-1-i].sent++
	}
	base := a.next
	a.last = now
	a.replies = a.replies[:0] // all have been answered
	a.stats.Multicast++
	kept := a.withdrawn[:0]
	for _, w := range a.withdrawn {
		if w.sent < withdrawRAs || now.Before(w.ends) {
			kept = append(kept, w)
		}
	}
	a.withdrawn = kept
	if a.stopped {
		if a.final--; a.final == 0 {
			a.next = time.Time{}
			return t
		}
		a.next = now.Add(a.config.MinDelay)
		return t
	}
	interval := a.config.MinInterval
	if spread := a.config.MaxInterval - a.config.MinInterval; spread > 0 {
		interval += time.Duration(a.random.Int64N(int64(spread) + 1))
	}
	if a.initial = max(a.initial-1, 0); a.initial > 0 {
		interval = min(interval, maxInitialInterval)
	}
	a.next = base.Add(interval)
	if least := now.Add(max(min(a.config.MinInterval, interval), a.config.MinDelay)); a.next.Before(least) {
		a.next = least
	}
	return t
}

func (a *Advertiser) unicast(now time.Time, to netip.Addr) Transmission {
	a.stats.Unicast++
	ra, _ := a.build(now)
	return Transmission{Destination: to, Advertisement: ra}
}

// build makes the advertisement that is sent now. Withdrawn prefixes, the
// latest first, take what room there is; it tells how many had room.
func (a *Advertiser) build(now time.Time) (ra RouterAdvertisement, withdrawn int) {
	ra = a.ra
	ra.Prefixes = a.prefixes(now)
	if a.stopped {
		// Whoever keeps a list of home agents strikes us off it (RFC 6275
		// §10.5.1); there will be no further advertisement to wait for.
		ra.RouterLifetime, ra.HomeAgent, ra.HomeAgentInfo, ra.Interval = 0, false, nil, 0
	}
	if len(a.withdrawn) == 0 {
		return ra, 0
	}
	room := (maxAdvertisement - len(ra.Append(nil))) / len(mip6.PrefixInformation{}.Append(nil))
	withdrawn = min(room, len(a.withdrawn))
	ra.Prefixes = slices.Clone(ra.Prefixes)
	for i := range withdrawn {
		w := a.withdrawn[len(a.withdrawn)-1-i]
		w.info.ValidLifetime = deadline.Remaining(now, w.ends)
		ra.Prefixes = append(ra.Prefixes, w.info)
	}
	return ra, withdrawn
}

// prefixes are those of the configuration with the lifetimes that are to be sent
// now; to be read only.
func (a *Advertiser) prefixes(now time.Time) []mip6.PrefixInformation {
	if len(a.expiry) == 0 {
		return a.ra.Prefixes
	}
	prefixes := slices.Clone(a.ra.Prefixes)
	for i := range prefixes {
		p := &prefixes[i]
		if j := slices.IndexFunc(a.expiry, func(e Expiry) bool { return e.Prefix == p.Prefix.Masked() }); j >= 0 {
			p.ValidLifetime = min(p.ValidLifetime, deadline.Remaining(now, a.expiry[j].Valid))
			p.PreferredLifetime = min(p.PreferredLifetime, deadline.Remaining(now, a.expiry[j].Preferred), p.ValidLifetime)
		}
	}
	return prefixes
}

// withdraw begins to advertise a prefix as deprecated. More than two hours of
// valid lifetime would only keep it longer; less is not believed by hosts that
// had more (RFC 4862 §5.5.3 e).
func (a *Advertiser) withdraw(now time.Time, p mip6.PrefixInformation) {
	p.Prefix, p.RouterAddress, p.PreferredLifetime = p.Prefix.Masked(), false, 0
	if slices.ContainsFunc(a.withdrawn, func(w withdrawal) bool { return w.info.Prefix == p.Prefix }) {
		return
	}
	if len(a.withdrawn) == maxWithdrawn {
		a.withdrawn = slices.Delete(a.withdrawn, 0, 1)
	}
	a.withdrawn = append(a.withdrawn, withdrawal{info: p, ends: now.Add(min(p.ValidLifetime, trustedLifetime))})
}
