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

// timerSlack is how late timers mostly are at most. Intervals end so much before the
// longest one, where there is room, that what is sent so late is still in time.
const timerSlack = time.Millisecond

// maxReplies bounds the delayed answers to solicitations.
const maxReplies = 64

// Transmission is one advertisement to send: to all nodes, or to one. What does not
// fit one packet comes as several, one after the other.
type Transmission struct {
	Destination   netip.Addr
	Advertisement RouterAdvertisement // to be read only
	// Gap is the time since the last unsolicited or multicast advertisement: of the
	// first packet of each but the first. It is zero in answers to one node.
	Gap time.Duration
	// Late is how much later than it was due the advertisement was made.
	Late time.Duration
}

// AdvertiserStatistics are the totals since NewAdvertiser. An advertisement that
// takes several packets counts once, but for Packets.
type AdvertiserStatistics struct {
	Multicast     uint64 // advertisements to all nodes
	Unicast       uint64 // advertisements to one node
	Packets       uint64
	Solicitations uint64 // received
	// Missed counts the advertisements that came so late that the time since the one
	// before was beyond the maximum interval by more than a tenth of it, or 20 ms if
	// that is less: mobiles may have taken the router for gone.
	Missed uint64
	// Refused counts the solicitations of nodes that are not among the clients, or
	// have no address where nothing is sent to all nodes.
	Refused uint64
	// Solicitations that were not answered by unicast: too many from one source, too
	// many on the link, more delayed answers than are remembered. After the latter two
	// an advertisement to all follows as soon as one may, where there are such: whoever
	// floods the link with solicitations keeps nobody else from hearing the router.
	LimitedBySource, LimitedByLink, Overflowed uint64
}

// Advertiser decides when router advertisements are sent on one link, and what
// they hold (RFC 4861 §6.2, RFC 6275 §7). It does no I/O. The first is due as
// soon as it is made.
type Advertiser struct {
	config AdvertiserConfig
	ra     RouterAdvertisement      // what config makes
	expiry []Expiry                 // of prefixes in it
	told   []mip6.PrefixInformation // to all, at last
	random *rand.Rand

	next    time.Time // to all; zero after the last one, and where nothing is sent unasked
	last    time.Time // to all
	begun   time.Time // of the gap that the next one ends; zero: there is none
	limit   time.Time // the next one is missed if it is later; zero: it cannot be
	initial int       // of the burst still to be sent
	final   int       // before the end still to be sent
	stopped bool

	withdrawn []withdrawal // oldest first
	replies   []reply
	limiter   replyLimiter
	stats     AdvertiserStatistics
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
	a := &Advertiser{random: random, initial: initialRAs}
	a.configure(c)
	a.soon(now)
	return a, nil
}

// configure takes a configuration, of which it makes copies.
func (a *Advertiser) configure(c AdvertiserConfig) {
	c.Clients = slices.Clone(c.Clients)
	a.config, a.ra, a.expiry = c, c.advertisement(), slices.Clone(c.Expiring)
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
		return a.round(now)
	}
	var out []Transmission
	kept := a.replies[:0]
	for _, r := range a.replies {
		if deadline.Due(now, r.at) {
			out = append(out, a.unicast(now, r.to)...)
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
	from = from.WithZone("")
	named := from.IsValid() && !from.IsUnspecified() && !from.IsMulticast()
	if a.config.UnicastOnly && !named || len(a.config.Clients) > 0 && !slices.Contains(a.config.Clients, from) {
		a.stats.Refused++
		return nil
	}
	var delay time.Duration
	if a.config.SolicitedDelay > 0 {
		delay = time.Duration(a.random.Int64N(int64(a.config.SolicitedDelay) + 1))
	}
	if !named || !a.config.SolicitedUnicast && !a.config.UnicastOnly && len(a.config.Clients) == 0 {
		return a.answerAll(now, delay)
	}
	if delay > 0 && !a.next.IsZero() && !now.Add(delay).Before(a.next) {
		return nil // the one to all comes first
	}
	if slices.ContainsFunc(a.replies, func(r reply) bool { return r.to == from }) {
		return nil
	}
	switch ok, bySource := a.limiter.allow(now, from); {
	case bySource:
		a.stats.LimitedBySource++
	case !ok:
		a.stats.LimitedByLink++
		return a.answerUnserved(now, delay)
	case delay == 0:
		return a.unicast(now, from)
	case len(a.replies) == maxReplies:
		a.stats.Overflowed++
		return a.answerUnserved(now, delay)
	default:
		a.replies = append(a.replies, reply{to: from, at: now.Add(delay)})
	}
	return nil
}

// answerAll answers a solicitation by an advertisement to all nodes (RFC 4861 §6.2.6).
func (a *Advertiser) answerAll(now time.Time, delay time.Duration) []Transmission {
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

// answerUnserved answers to all what cannot be answered to each, if anything is sent
// to all.
func (a *Advertiser) answerUnserved(now time.Time, delay time.Duration) []Transmission {
	if a.config.UnicastOnly || len(a.config.Clients) > 0 {
		return nil
	}
	return a.answerAll(now, delay)
}

// Reconfigure replaces the configuration. Prefixes, routes, DNS servers and domains,
// NAT64 prefixes, contexts and anchors that are not in it any more are withdrawn by
// lifetimes of zero; the hosts learn of the change by a burst as at the beginning
// (RFC 4861 §6.2.4). Without a change there is none, and where only Expiring has
// changed not before the hosts need to know. After an error the old configuration
// holds.
func (a *Advertiser) Reconfigure(now time.Time, c AdvertiserConfig) ([]Transmission, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if a.stopped {
		return nil, nil
	}
	if a.config.sameButExpiring(c) {
		a.configure(c)
		a.refresh(now)
		return a.Expire(now), nil
	}
	old := a.ra
	old.Prefixes = counted(now, a.ra.Prefixes, a.expiry)
	a.configure(c)
	a.replaced(now, old, a.ra)
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
// zero, as far apart as multicast ones have to be (RFC 4861 §6.2.5), to those who got
// the others. It returns the first if that may be sent at once. With KeepOnExit, or
// where nothing is sent unasked, there is none.
func (a *Advertiser) Stop(now time.Time) []Transmission {
	if a.stopped {
		return nil
	}
	a.stopped, a.replies = true, nil
	if a.config.KeepOnExit || a.config.UnicastOnly {
		a.next = time.Time{}
		return nil
	}
	a.final = finalRAs
	a.soon(now)
	return a.Expire(now)
}

// soon makes the next unsolicited advertisement due as early as it may be.
func (a *Advertiser) soon(now time.Time) {
	if a.config.UnicastOnly {
		a.next, a.begun, a.limit = time.Time{}, time.Time{}, time.Time{}
		return
	}
	a.next = now
	if least := a.last.Add(a.config.MinDelay); !a.last.IsZero() && least.After(now) {
		a.next = least
	}
}

// round makes the advertisement to all nodes, or to each client, and schedules the
// next one from when this one was due, not from when it was made: delays of the
// caller's do not add up. The least interval is kept all the same; it is one between
// advertisements, of however many packets.
func (a *Advertiser) round(now time.Time) []Transmission {
	out := a.transmissions(now)
	out[0].Late = now.Sub(a.next)
	if !a.begun.IsZero() {
		out[0].Gap = now.Sub(a.begun)
	}
	if !a.limit.IsZero() && now.After(a.limit) {
		a.stats.Missed++
	}
	for i := range a.withdrawn {
		a.withdrawn[i].sent++
	}
	a.forget(now, withdrawRAs)
	a.told = counted(now, a.ra.Prefixes, a.expiry)
	base := a.next
	a.last, a.begun, a.limit = now, now, now.Add(a.config.MaxInterval+min(a.config.MaxInterval/10, intervalSlack))
	a.replies = a.replies[:0] // all have been answered
	if a.stopped {
		if a.final--; a.final == 0 {
			a.next = time.Time{}
			return out
		}
		a.next = now.Add(a.config.MinDelay)
		return out
	}
	interval := a.config.MinInterval
	if spread := a.config.MaxInterval - a.config.MinInterval; spread > 0 {
		spread -= min(timerSlack, spread/40)
		interval += time.Duration(a.random.Int64N(int64(spread) + 1))
	}
	if a.initial = max(a.initial-1, 0); a.initial > 0 {
		interval = min(interval, maxInitialInterval)
	}
	a.next = base.Add(interval)
	if least := now.Add(max(min(a.config.MinInterval, interval), a.config.MinDelay)); a.next.Before(least) {
		a.next = least
	}
	return out
}

// transmissions are the advertisement to all nodes, or to each client.
func (a *Advertiser) transmissions(now time.Time) []Transmission {
	if len(a.config.Clients) == 0 {
		a.stats.Multicast++
		return a.to(AllNodes(), a.build(now))
	}
	var out []Transmission
	packets := a.build(now)
	for _, client := range a.config.Clients {
		a.stats.Unicast++
		out = append(out, a.to(client, packets)...)
	}
	return out
}

func (a *Advertiser) unicast(now time.Time, to netip.Addr) []Transmission {
	a.stats.Unicast++
	if a.config.UnicastOnly {
		a.forget(now, 0)
	}
	return a.to(to, a.build(now))
}

func (a *Advertiser) to(destination netip.Addr, packets []RouterAdvertisement) []Transmission {
	out := make([]Transmission, len(packets))
	for i, p := range packets {
		out[i] = Transmission{Destination: destination, Advertisement: p}
	}
	a.stats.Packets += uint64(len(packets))
	return out
}

// build makes the packets of the advertisement that is sent now.
func (a *Advertiser) build(now time.Time) []RouterAdvertisement {
	ra := a.ra
	ra.Prefixes = counted(now, ra.Prefixes, a.expiry)
	if a.stopped {
		ra = a.config.Farewell.apply(ra)
	}
	a.takeBack(now, &ra)
	return ra.packets()
}

// counted are prefixes with the lifetimes that are to be sent now; to be read only.
func counted(now time.Time, prefixes []mip6.PrefixInformation, expiry []Expiry) []mip6.PrefixInformation {
	if len(expiry) == 0 {
		return prefixes
	}
	prefixes = slices.Clone(prefixes)
	for i := range prefixes {
		p := &prefixes[i]
		if j := slices.IndexFunc(expiry, func(e Expiry) bool { return e.Prefix == p.Prefix.Masked() }); j >= 0 {
			p.ValidLifetime = min(p.ValidLifetime, deadline.Remaining(now, expiry[j].Valid))
			p.PreferredLifetime = min(p.PreferredLifetime, deadline.Remaining(now, expiry[j].Preferred), p.ValidLifetime)
		}
	}
	return prefixes
}
